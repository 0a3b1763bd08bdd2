"""What stands for machine code on a machine without memory: nothing is computed; asking for a number is an error."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from facula.core.dtype import bfloat16, dtype, float16, float32, float64
from facula.errors import Unread, fail
from facula.ir.kernel import Access, Kernel

__all__ = ["ATTEND_DTYPES", "ATTEND_WAYS", "RANDOM", "compile", "compile_many", "made", "nothing", "reader", "rows"]


ATTEND_DTYPES = frozenset((float32, float16, bfloat16))
ATTEND_WAYS = dict.fromkeys(("flash", "mem_efficient"), ATTEND_DTYPES | {float64})


def nothing(*_, **__) -> None:
    """What every kernel and routine is here."""


class Bound:
    """A routine whose sizes are settled; `targets.cpu.matmul.BoundProduct`."""

    __slots__ = ()
    function = staticmethod(nothing)
    tail = ()

    def __call__(self, *_) -> None:
        pass


_BOUND = Bound()


def compile(kernel: Kernel, access: Access) -> Callable[..., None]:
    """The code of a kernel, whose checks all hold."""
    return nothing


def made(*_, **__) -> Bound:
    """A routine for given dtypes and sizes."""
    return _BOUND


def rows() -> Callable[..., int]:
    """Rows of a table by index, none of which is wrong."""
    return lambda *_: -1


def compile_many(kernel: Kernel, columns: Sequence[int | None]) -> tuple[None, int]:
    """Kernels on many sets of operands: there is nothing to call, and no table to be made for it."""
    return None, 1 << 62


def reader(element: dtype) -> Callable[[Any], NoReturn]:
    """What reads an element: an error."""
    return _no_item


def _no_item(_) -> NoReturn:
    fail(
        Unread,
        "Tensor.item() cannot be called on meta tensors",
        mend="a meta tensor has a shape and a dtype alone; make it with device='cpu' where its numbers matter",
    )


class _Random:
    """Samplers that draw nothing and leave the generator alone."""

    def __getattr__(self, name: str) -> Callable:
        return nothing

    def sampler(self, name: str, count: int, code: str) -> Callable[..., None]:
        return nothing

    def bernoulli_each(self, *_) -> int:
        return -1


RANDOM = _Random()
