"""Tools around training: `data` feeds batches, `checkpoint` trades memory for time, `tensorboard` writes its files."""

from facula.alias import getattr_for

__getattr__ = getattr_for(
    __name__,
    ("_pytree", "benchmark", "checkpoint", "collect_env", "data", "dlpack", "hooks", "serialization", "tensorboard"),
)
