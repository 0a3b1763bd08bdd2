"""Transcendental functions as branch-free expressions of arithmetic, comparisons, selects and bits, for any target.

Functions take and return float32 or float64 expressions (all of one dtype). float16 and bfloat16 are computed in
float32 and complex numbers as pairs by the stages before; powers of integers are the emitter's.

Errors are below 1 ulp but for: sigmoid 2.4 (PyTorch's has as much), rsqrt 1.5 (rounded twice, as PyTorch's), atan and
atan2 1.06 (float32) and 1.25 (float64), erfc 1.2 (float64), erfinv 2.5 and 1.8, lgamma 2.7 (float64, x > 0). lgamma
and digamma keep an absolute error of about 1e-15 times their terms where these cancel: the zeros of lgamma below 0,
those of digamma.
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
    **_table(special, "erf erfc erfinv ndtr lgamma digamma"),
    **_table(division, "fmod remainder floordiv"),
}

# Short forms of what many machines have, for those that have not.
COMPOSITES: dict[str, Expansion] = _table(division, "truncdiv sign rsqrt nextafter fmax fmin isnan isinf signbit")

# Operations that must stay a call of the C library: none is left.
LIBM: dict[str, str] = {}
