"""The stages between an operator's kernel and a target's text, in order: kernel in, kernel out.

>>> from facula.core import dtype as dt
>>> from facula.ir import expr as ir
>>> from facula.ir.kernel import Input, Kernel, Result
>>> x = ir.load("x", dt.float32)
>>> kernel = Kernel("twice", (Input("x", dt.float32),), (Result("out", dt.float32, x * 2.0 * 1.0),))
>>> print(after(kernel)["simplify"])
kernel twice
  in x: f32
  %0 = load(x):f32
  %1 = mul(%0, 2.0:f32):f32
  out out: f32 set %1
"""

from collections.abc import Callable

from facula.ir.kernel import Kernel
from facula.ir.printer import show

from .complex import split_complex
from .expand import expand
from .guard import guard
from .legal import check
from .simplify import simplify

__all__ = ["STAGES", "after", "prepare"]

STAGES: tuple[tuple[str, Callable[[Kernel], Kernel]], ...] = (
    ("check", check),  # what every target may rely on; changes nothing
    ("guard", guard),  # accesses are made only where the checks hold
    ("simplify", simplify),  # constants folded, neutral operations dropped
    ("complex", split_complex),  # complex numbers as pairs of reals
    ("expand", expand),  # functions that targets lack, as polynomials
    ("tidy", simplify),  # what the two stages before left to fold
)

_PREPARED: dict[tuple[Kernel, frozenset[str]], Kernel] = {}
NONE: frozenset[str] = frozenset()


def prepare(kernel: Kernel, own: frozenset[str] = NONE) -> Kernel:
    """`kernel` after all stages; the functions in `own` are the target's, and stay."""
    found = _PREPARED.get((kernel, own))
    if found is None:
        found = kernel
        for _, stage in STAGES:
            found = stage(found) if stage is not expand else expand(found, own)
        _PREPARED[kernel, own] = found
    return found


def after(kernel: Kernel) -> dict[str, str]:
    """The text of `kernel` after each stage, for people."""
    texts = {"kernel": show(kernel)}
    for name, stage in STAGES:
        kernel = stage(kernel)
        texts[name] = show(kernel)
    return texts
