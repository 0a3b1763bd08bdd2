"""How many threads kernels use: `torch.set_num_threads` and its kin."""

from facula import launch
from facula.errors import fail

__all__ = ["get_num_interop_threads", "get_num_threads", "set_num_interop_threads", "set_num_threads"]


def set_num_threads(count: int, /) -> None:
    """Let kernels use so many threads; results do not depend on it."""
    if not isinstance(count, int) or isinstance(count, bool):
        fail(TypeError, f"set_num_threads expects an int, but got {type(count).__name__}")
    if count <= 0:
        fail(RuntimeError, "set_num_threads expects a positive integer", got=count)
    launch.threads().set_num_threads(count)


def get_num_threads() -> int:
    """How many threads kernels may use."""
    return launch.threads().get_num_threads()


def set_num_interop_threads(count: int, /) -> None:
    """Accepted: facula runs one operator at a time in each Python thread."""
    if count <= 0:
        fail(RuntimeError, "set_num_interop_threads expects a positive integer", got=count)


def get_num_interop_threads() -> int:
    """Always 1: facula runs one operator at a time in each Python thread."""
    return 1
