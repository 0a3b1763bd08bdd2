"""The stage that folds constants and drops operations that change no bit of any result."""

import ctypes
import math
from collections.abc import Callable

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr, apply, cast, const, substitute
from facula.ir.kernel import Kernel

from .rewrite import rewritten

__all__ = ["RULES", "simplify"]

Rule = Callable[..., Expr | None]  # (node, *operands) -> the simpler expression, or None


def _is(x: Expr, value: float) -> bool:
    """Whether `x` is the constant `value`, sign of zero included."""
    return (
        x.op == "const"
        and x.value == value
        and (x.value != 0 or math.copysign(1, x.value.real) == math.copysign(1, value))
    )


def _add(n: Expr, a: Expr, b: Expr) -> Expr | None:
    # x + (-0.0) is x for every float; x + 0.0 is not (-0.0 + 0.0 is 0.0)
    neutral = -0.0 if n.dtype.kind == "f" else 0
    if n.dtype.kind == "c":
        return None
    return a if _is(b, neutral) else b if _is(a, neutral) else None


def _sub(n: Expr, a: Expr, b: Expr) -> Expr | None:
    return a if n.dtype.kind != "c" and _is(b, 0) else None


def _mul(n: Expr, a: Expr, b: Expr) -> Expr | None:
    if n.dtype.kind == "c":
        return None
    return a if _is(b, 1) else b if _is(a, 1) else None


def _div(n: Expr, a: Expr, b: Expr) -> Expr | None:
    if n.dtype.kind != "f" or b.op != "const":
        return None
    mantissa, exponent = math.frexp(b.value) if math.isfinite(b.value) else (0, 0)
    if abs(mantissa) == 0.5 and abs(exponent) < 100:  # by a power of two: the reciprocal is exact
        return apply("mul", a, 1 / b.value)
    return None


def _pow(n: Expr, a: Expr, b: Expr) -> Expr | None:
    """Small constant powers, as PyTorch does them."""
    if b.op != "const" or n.dtype.kind == "c":
        return None
    one = const(1, n.dtype)
    whole: dict[float, Callable[[], Expr]] = {0: lambda: one, 1: lambda: a, 2: lambda: a * a, 3: lambda: a * a * a}
    if n.dtype.kind == "f":
        whole |= {0.5: lambda: ir.sqrt(a), -0.5: lambda: ir.rsqrt(a), -1: lambda: one / a, -2: lambda: one / (a * a)}
    found = whole.get(b.value)
    return None if found is None else found()


def _select(n: Expr, c: Expr, a: Expr, b: Expr) -> Expr | None:
    if a is b:
        return a
    if c.op == "const":
        return a if c.value else b
    return None


def _exact(source: dt.dtype, target: dt.dtype) -> bool:
    """Whether every value of `source` is one of `target`."""
    if source.kind == "b" or source is target:
        return True
    if source.kind == "f" or target.kind == "f":
        if source.kind == target.kind:
            return source.itemsize < target.itemsize
        bits = {1: 0, 2: 8, 4: 24, 8: 53}  # bfloat16's digits stand for both halves
        return source.kind in "ui" and target.kind == "f" and source.itemsize * 8 <= bits[target.itemsize]
    if source.kind in "ui" and target.kind in "ui":
        return source.itemsize < target.itemsize and (source.kind == "u" or target.kind == "i")
    return False


def _cast(n: Expr, a: Expr) -> Expr | None:
    if n.dtype is a.dtype:
        return a
    if a.op == "const":
        folded = cast(a, n.dtype)
        return folded if folded.op == "const" and n.dtype not in dt.STORED_ONLY else None
    if a.op == "cast" and _exact(a.args[0].dtype, a.dtype) and n.dtype.kind != "c" and a.dtype.kind != "c":
        inner = a.args[0]
        # narrow -> wide -> other is narrow -> other, but for floats to integers, whose overflow depends on the width
        if n.dtype is inner.dtype or inner.dtype.kind != "f" or n.dtype.kind in "fb":
            return cast(inner, n.dtype)
    return None


def _same(kind: str) -> Rule:
    """x & x, max(x, x) and the like."""
    return lambda n, a, b: a if a is b else None


def _and(n: Expr, a: Expr, b: Expr) -> Expr | None:
    if a is b:
        return a
    if n.dtype.kind == "b":
        for x, y in ((a, b), (b, a)):
            if x.op == "const":
                return y if x.value else x
    return None


def _or(n: Expr, a: Expr, b: Expr) -> Expr | None:
    if a is b:
        return a
    if n.dtype.kind == "b":
        for x, y in ((a, b), (b, a)):
            if x.op == "const":
                return x if x.value else y
    return None


def _twice(op: str) -> Rule:
    """-(-x), not(not(x))"""
    return lambda n, a: a.args[0] if a.op == op else None


RULES: dict[str, Rule] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "pow": _pow, "select": _select, "cast": _cast,
    "and": _and, "or": _or,
    "maximum": _same("max"), "minimum": _same("min"), "fmax": _same("max"), "fmin": _same("min"),
    "neg": _twice("neg"), "not": _twice("not"), "conj": _twice("conj"),
}  # fmt: skip


def _wrap(value: int, t: dt.dtype) -> int:
    bits = t.itemsize * 8
    value %= 1 << bits
    return value - (1 << bits) if t.kind == "i" and value >> bits - 1 else value


_INTEGERS: dict[str, Callable] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a, "abs": abs,
    "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b, "maximum": max, "minimum": min,
}  # fmt: skip
_FLOATS: dict[str, Callable] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a, "abs": abs,
}  # fmt: skip
_BOOLS: dict[str, Callable] = {
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "xor": lambda a, b: a is not b, "not": lambda a: not a,
}  # fmt: skip
_COMPARISONS: dict[str, Callable] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


def _fold(n: Expr) -> Expr | None:
    """An operation on constants as its result. float32 is left alone where Python's doubles would round otherwise."""
    if not n.args or any(a.op != "const" for a in n.args) or n.args[0].dtype.kind == "c":
        return None
    values = [a.value for a in n.args]
    kind = n.args[0].dtype.kind
    if n.op in _COMPARISONS:
        return const(_COMPARISONS[n.op](*(_rounded(v, n.args[0].dtype) for v in values)), dt.bool_)
    if n.dtype.kind == "c" or n.dtype is not n.args[0].dtype:
        return None
    table = {"b": _BOOLS, "u": _INTEGERS, "i": _INTEGERS, "f": _FLOATS}[kind]
    if n.op not in table:
        return None
    if kind in "ui":
        return const(_wrap(table[n.op](*values), n.dtype), n.dtype)
    if kind == "f":  # one operation on doubles, rounded once more, is the float32 operation
        return const(_rounded(table[n.op](*(_rounded(v, n.dtype) for v in values)), n.dtype), n.dtype)
    return const(table[n.op](*values), n.dtype)


def _rounded(value: float, t: dt.dtype) -> float:
    return ctypes.c_float(value).value if t.code == "f32" else value


def _step(node: Expr) -> Expr | None:
    simpler = _fold(node)
    if simpler is None:
        rule = RULES.get(node.op)
        simpler = rule(node, *node.args) if rule is not None else None
    return simpler


def simplify(kernel: Kernel) -> Kernel:
    """`kernel` without what can be known now."""
    return rewritten(kernel, lambda roots: substitute(roots, _step))
