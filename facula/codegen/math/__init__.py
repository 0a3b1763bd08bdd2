"""Transcendental functions as expressions of add, mul, fma, compare, select and bit operations: branch-free, for any target.

Functions take and return float32 or float64 expressions (all of one dtype). float16 and bfloat16 are computed in
float32 and complex numbers as pairs by the stages before; powers of integers are the emitter's.

Errors are below 1 ulp, but for sqrt-like rounding twice: atan and atan2 (1.06 float32, 1.2 float64), float64 erfc and
erfinv (1.2, 1.7) and the gamma family (lgamma 2.7 for x > 0; absolute errors near zeros of lgamma and digamma).
"""

from collections.abc import Callable

from facula.ir.expr import Expr

from . import division, exponential, special, trigonometric

__all__ = ["COMPOSITES", "EXPANSIONS", "LIBM"]

Expansion = Callable[..., Expr]


def _table(module, names: str) -> dict[str, Expansion]:
    return {name: getattr(module, name) for name in names.split()}


# What no machine has an instruction for.
EXPANSIONS: dict[str, Expansion] = {
    **_table(exponential, "exp exp2 expm1 log log2 log10 log1p sinh cosh tanh asinh acosh atanh sigmoid cbrt hypot"),
    "pow": exponential.power,
    **_table(trigonometric, "sin cos tan asin acos atan atan2"),
    **_table(special, "erf erfc erfinv lgamma digamma"),
    **_table(division, "fmod remainder floordiv"),
}

# Short forms of what many machines have, for those that have not.
COMPOSITES: dict[str, Expansion] = _table(division, "truncdiv sign rsqrt nextafter fmax fmin isnan isinf signbit")

# Operations that must stay a call of the C library: none is left.
LIBM: dict[str, str] = {}
