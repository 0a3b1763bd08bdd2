"""Transcendental functions as expressions of add, mul, fma, compare, select and bit operations: branch-free, for any target.

`EXPANSIONS` holds, for each operation of `ir.OPS` that need not exist as an instruction, a function of float32 or
float64 expressions (all of one dtype) that returns an expression of primitives alone. float16 and bfloat16 are
computed in float32, complex numbers by the emitter.
"""

from collections.abc import Callable

from facula.ir.expr import Expr

from . import exponential, special, trigonometric

__all__ = ["EXPANSIONS", "LIBM"]

EXPANSIONS: dict[str, Callable[..., Expr]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": exponential.log,
    "sigmoid": exponential.sigmoid,
    "tanh": exponential.tanh,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "erf": special.erf,
}

# Operations that stay a call of the C library: none.
LIBM: dict[str, str] = {}
