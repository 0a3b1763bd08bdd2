"""The names by which programs say how much float32 may be rounded, beside PyTorch: what each then says."""

import itertools
import warnings

import pytest
import torch

import facula
from tests.test_backends import STEPS, seen, switches  # noqa: F401  a fixture

SET = [
    ("cudnn.allow_tf32", False), ("cudnn.allow_tf32", True), ("cudnn.conv.fp32_precision", "ieee"),
    ("cudnn.rnn.fp32_precision", "ieee"), ("cudnn.conv.fp32_precision", "none"), ("cudnn.fp32_precision", "tf32"),
    ("cudnn.rnn.fp32_precision", "none"), ("cudnn.fp32_precision", "ieee"), ("cudnn.allow_tf32", False),
    ("fp32_precision", "tf32"), ("cudnn.fp32_precision", "none"), ("cudnn.fp32_precision", "bf16"),
    ("cudnn.conv.fp32_precision", "x"), ("cudnn.conv.foo", 1), ("fp32_precision", "bf16"), ("fp32_precision", None),
    ("mkldnn.fp32_precision", "tf32"), ("mkldnn.conv.fp32_precision", "bf16"), ("mkldnn.rnn.fp32_precision", "ieee"),
    ("mkldnn.allow_tf32", False), ("mkldnn.allow_tf32", 1), ("mkldnn.enabled", 1), ("mkldnn.deterministic", 0),
    ("fp32_precision", "none"), ("mkldnn.matmul.fp32_precision", "tf32"), ("fp32_precision", "ieee"),
    ("cudnn.allow_tf32", 1), ("cudnn.enabled", 1), ("cudnn.benchmark", 1), ("cudnn.deterministic", None),
    ("cudnn.depthwise_kernel", "x"), ("cudnn.depthwise_kernel", "native"), ("cudnn.depthwise_kernel", "auto"),
    ("cuda.matmul.fp32_precision", "tf32"), ("cuda.matmul.allow_tf32", False), ("fp32_precision", "none"),
    ("cuda.matmul.fp32_precision", "none"), ("cudnn.fp32_precision", "none"), ("mkldnn.matmul.fp32_precision", "none"),
    ("mkldnn.conv.fp32_precision", "none"), ("mkldnn.rnn.fp32_precision", "none"), ("cudnn.allow_tf32", True),
    ("cudnn.enabled", True),
]  # fmt: skip
READ = (
    "cudnn.allow_tf32", "cudnn.fp32_precision", "cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision",
    "cudnn.depthwise_kernel", "mkldnn.fp32_precision", "mkldnn.matmul.fp32_precision", "mkldnn.conv.fp32_precision",
    "mkldnn.rnn.fp32_precision", "mkldnn.allow_tf32", "mkldnn.enabled",
)  # fmt: skip


def outcome(call, *given) -> str:
    """What comes of a call, or the first line of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch tells of its older names
        try:
            return repr(call(*given))
        except (AttributeError, RuntimeError, TypeError) as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def place(module, path: str):
    """The object that has a switch, and its name there."""
    *way, name = path.split(".")
    at = module.backends
    for part in way:
        at = getattr(at, part)
    return at, name


def all_seen(module) -> list[str]:
    return [outcome(lambda: getattr(*place(module, path))) for path in READ] + seen(module)  # noqa: B023


@pytest.fixture
def both(switches, monkeypatch):  # noqa: F811
    """Both frameworks as in a fresh process."""
    # PyTorch's own tests, whose records other files read, forbid to set switches outside of blocks.
    monkeypatch.setitem(torch.backends.flags_frozen.__globals__, "__allow_nonbracketed_mutation_flag", True)
    yield torch, facula
    for module, (path, value) in itertools.product((torch, facula), SET[-8:]):
        setattr(*place(module, path), value)


def test_names_of_the_precision_of_convolutions(both):
    for path, value in SET:
        theirs, ours = (outcome(setattr, *place(module, path), value) for module in both)
        assert ours == theirs, (path, value)
        assert all_seen(facula) == all_seen(torch), (path, value)


def test_names_of_the_precision_of_products(both):
    for number, (step, wanted) in enumerate(STEPS):
        for module in both:
            outcome(step, module)
            assert seen(module) == wanted, number


def mixed(backends) -> None:
    """Two names that say different things, of which the end of the block complains."""
    with backends.cudnn.flags(allow_tf32=False, fp32_precision="tf32"):
        backends.cudnn.conv.fp32_precision = "tf32"


def test_what_blocks_set_and_give_back(both):
    found = []
    for module in both:
        backends, made = module.backends, []
        with backends.cudnn.flags(enabled=True, allow_tf32=False, depthwise_kernel="cudnn"):
            made.append(all_seen(module))
        with backends.flags(fp32_precision="tf32"), backends.mkldnn.flags(allow_tf32=None):
            made.append(all_seen(module))
        made += [all_seen(module), backends.set_flags(), backends.mkldnn.set_flags()]
        made.append(outcome(mixed, backends))
        made.append(outcome(lambda: backends.cudnn.set_flags()))  # noqa: B023
        backends.cudnn.allow_tf32 = True
        made.append(all_seen(module))
        found.append(made)
    assert found[0] == found[1]
