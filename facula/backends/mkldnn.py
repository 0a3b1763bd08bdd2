"""oneDNN, which facula does not call: what is set here is kept, and CPUs compute in full precision all the same."""

import warnings
from contextlib import AbstractContextManager
from typing import Any

from facula.core.switches import Switches

from .switches import Precision, change, during, flag, float32, install, kept

__all__ = ["conv", "flags", "is_available", "matmul", "rnn", "set_flags"]

_switches = Switches(enabled=True, deterministic=False)
matmul, conv, rnn = (Precision("mkldnn", name) for name in ("matmul", "conv", "rnn"))


def is_available() -> bool:
    """Whether oneDNN is called."""
    return False


def _allow_tf32(value: Any) -> None:
    flag(value, "_set_onednn_allow_tf32")
    warnings.warn(
        "TF32 acceleration on top of oneDNN is available for Intel GPUs. The current Torch version does not have Intel "
        "GPU Support.",
        stacklevel=3,
    )


_SWITCHES = {
    "enabled": kept(_switches, "enabled", "set_enabled_mkldnn"),
    "deterministic": kept(_switches, "deterministic", "set_deterministic_mkldnn"),
    "allow_tf32": (lambda: None, _allow_tf32),
    "fp32_precision": float32("mkldnn", "all"),
}


def set_flags(_enabled=None, _deterministic=None, _allow_tf32=None, _fp32_precision="none") -> tuple:
    """Set those that are not None; returns what they were."""
    return change(_SWITCHES.values(), (_enabled, _deterministic, _allow_tf32, _fp32_precision))


def flags(enabled=False, deterministic=False, allow_tf32=True, fp32_precision="none") -> AbstractContextManager[None]:
    """Switches for the time of a block."""
    return during(set_flags, enabled, deterministic, allow_tf32, fp32_precision)


# As an attribute it sets that of all libraries, in PyTorch too.
install(__name__, {**_SWITCHES, "fp32_precision": float32("mkldnn", "all", also=("generic", "all"))})
