"""The stage that turns complex numbers into pairs of real expressions; targets only load, store and multiply up pairs.

After it, a complex number is left in three places: `load` (of which `part(0, ...)` and `part(1, ...)` take the halves),
the value of a complex result (always a `complex(re, im)`), and the reduction or scan `cprod`, a product of pairs.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir import expr as ir
from facula.ir.expr import Expr, apply, cast, const, param, rebuild, walk
from facula.ir.kernel import Kernel, Param

__all__ = ["RULES", "split_complex"]

Pair = tuple[Expr, Expr]


def _zero(like: Expr) -> Expr:
    return const(0.0, like.dtype)


def add(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


def sub(a: Pair, b: Pair) -> Pair:
    return a[0] - b[0], a[1] - b[1]


def mul(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def neg(a: Pair) -> Pair:
    return -a[0], -a[1]


def times_i(a: Pair) -> Pair:
    return -a[1], a[0]


def over_i(a: Pair) -> Pair:
    return a[1], -a[0]


def conj(a: Pair) -> Pair:
    return a[0], -a[1]


def scale(a: Pair, by: float) -> Pair:
    return a[0] * by, a[1] * by


def choose(condition: Expr, a: Pair, b: Pair) -> Pair:
    return ir.select(condition, a[0], b[0]), ir.select(condition, a[1], b[1])


def div(a: Pair, b: Pair) -> Pair:
    """Smith's method, which does not overflow halfway; by 0 each part is divided by 0."""
    flat = apply("ge", abs(b[0]), abs(b[1]))
    large, small = choose(flat, b, (b[1], b[0]))
    ratio = small / large
    factor = 1.0 / (large + small * ratio)
    re = ir.select(flat, a[0] + a[1] * ratio, a[0] * ratio + a[1]) * factor
    im = ir.select(flat, a[1] - a[0] * ratio, a[1] * ratio - a[0]) * factor
    nothing = ir.and_(ir.eq(b[0], 0.0), ir.eq(b[1], 0.0))
    return choose(nothing, (a[0] / abs(b[0]), a[1] / abs(b[1])), (re, im))


def modulus(a: Pair) -> Expr:
    return apply("hypot", a[0], a[1])


def sqrt(a: Pair) -> Pair:
    """The principal root, without cancellation."""
    huge = ir.gt(ir.maximum(abs(a[0]), abs(a[1])), const(1e38 if a[0].dtype is dt.float32 else 1e307, a[0].dtype))
    factor = ir.select(huge, const(0.25, a[0].dtype), const(1.0, a[0].dtype))
    x, y = a[0] * factor, a[1] * factor
    t = ir.sqrt((abs(x) + modulus((x, y))) * 0.5) * ir.select(huge, const(2.0, x.dtype), const(1.0, x.dtype))
    other = a[1] / (t * 2.0)
    right = choose(ir.ge(a[0], 0.0), (t, other), (abs(other), ir.copysign(t, a[1])))
    zero = ir.and_(ir.eq(a[0], 0.0), ir.eq(a[1], 0.0))
    right = choose(zero, (_zero(t), a[1]), right)
    return choose(ir.isinf(a[1]), (abs(a[1]), a[1]), right)


def exp(a: Pair) -> Pair:
    r = ir.exp(a[0])
    return r * ir.cos(a[1]), ir.select(ir.eq(a[1], 0.0), a[1], r * ir.sin(a[1]))


def _times(a: Expr, b: Expr) -> Expr:
    """A product in which 0 wins over infinity and NaN."""
    product = a * b
    nothing = ir.and_(ir.isnan(product), ir.or_(ir.eq(a, 0.0), ir.eq(b, 0.0)))
    return ir.select(nothing, ir.copysign(_zero(a), a) * ir.copysign(const(1.0, b.dtype), b), product)


def _beyond(a: Pair) -> Expr:
    """Whether a part is infinite."""
    return ir.or_(ir.isinf(a[0]), ir.isinf(a[1]))


def log(a: Pair) -> Pair:
    """Near the unit circle the real part is log1p(|a|^2 - 1) / 2, which keeps its digits."""
    x, y = ir.maximum(abs(a[0]), abs(a[1])), ir.minimum(abs(a[0]), abs(a[1]))
    near = ir.and_(ir.gt(x, 0.7), ir.lt(x, 1.4))
    close = ir.log1p((x - 1.0) * (x + 1.0) + y * y) * 0.5
    return ir.select(near, close, ir.log(modulus(a))), ir.atan2(a[1], a[0])


def power(a: Pair, b: Pair) -> Pair:
    general = exp(mul(b, log(a)))
    zero = ir.and_(ir.eq(a[0], 0.0), ir.eq(a[1], 0.0))
    none = ir.and_(ir.eq(b[0], 0.0), ir.eq(b[1], 0.0))
    one = const(1.0, a[0].dtype)
    at_zero = ir.select(none, one, ir.select(ir.gt(b[0], 0.0), _zero(one), general[0]))
    return choose(
        zero, (at_zero, ir.select(ir.gt(b[0], 0.0), _zero(one), ir.select(none, _zero(one), general[1]))), general
    )


def sin(a: Pair) -> Pair:
    return _times(ir.sin(a[0]), ir.cosh(a[1])), _times(ir.cos(a[0]), ir.sinh(a[1]))


def cos(a: Pair) -> Pair:
    return ir.cos(a[0]) * ir.cosh(a[1]), -_times(ir.sin(a[0]), ir.sinh(a[1]))


def tan(a: Pair) -> Pair:
    """(tan x + i tanh y) / (1 - i tan x tanh y), which cannot overflow."""
    t, h = ir.tan(a[0]), ir.tanh(a[1])
    return div((t, h), (const(1.0, t.dtype), -(t * h)))


def sinh(a: Pair) -> Pair:
    return over_i(sin(times_i(a)))


def cosh(a: Pair) -> Pair:
    return cos(times_i(a))


def tanh(a: Pair) -> Pair:
    return over_i(tan(times_i(a)))


def _one(like: Expr) -> Pair:
    return const(1.0, like.dtype), _zero(like)


def asin(a: Pair) -> Pair:
    """Kahan, "Branch cuts for complex elementary functions"."""
    one = _one(a[0])
    below, above = sqrt((one[0] - a[0], -a[1])), sqrt((one[0] + a[0], a[1]))
    near = ir.atan2(a[0], mul(below, above)[0]), ir.asinh(mul(conj(below), above)[1])
    far = ir.atan2(a[0], abs(a[1])), ir.copysign(const(math.inf, a[1].dtype), a[1])
    return choose(_beyond(a), far, near)


def acos(a: Pair) -> Pair:
    one = _one(a[0])
    below, above = sqrt((one[0] - a[0], -a[1])), sqrt((one[0] + a[0], a[1]))
    near = ir.atan2(below[0], above[0]) * 2.0, ir.asinh(mul(conj(above), below)[1])
    far = ir.atan2(abs(a[1]), a[0]), ir.copysign(const(math.inf, a[1].dtype), -a[1])
    return choose(_beyond(a), far, near)


def acosh(a: Pair) -> Pair:
    below, above = sqrt((a[0] - 1.0, a[1])), sqrt((a[0] + 1.0, a[1]))
    near = ir.asinh(mul(conj(below), above)[0]), ir.atan2(below[1], above[0]) * 2.0
    return choose(_beyond(a), (const(math.inf, a[0].dtype), ir.atan2(a[1], a[0])), near)


def atanh(a: Pair) -> Pair:
    x, y = abs(a[0]), a[1]  # the real part is odd in x, and exact digits are lost for x < 0
    rest = 1.0 - x
    re = ir.log1p(x * 4.0 / (rest * rest + y * y)) * 0.25
    re = ir.select(ir.eq(x, 0.0), x, re)
    near = ir.copysign(re, a[0]), ir.atan2(y * 2.0, rest * (1.0 + x) - y * y) * 0.5
    return choose(_beyond(a), (ir.copysign(_zero(x), a[0]), ir.copysign(const(math.pi / 2, y.dtype), y)), near)


def asinh(a: Pair) -> Pair:
    return over_i(asin(times_i(a)))


def atan(a: Pair) -> Pair:
    return over_i(atanh(times_i(a)))


def reciprocal(a: Pair) -> Pair:
    return div(_one(a[0]), a)


def sigmoid(a: Pair) -> Pair:
    e = exp(neg(a))
    return reciprocal((e[0] + 1.0, e[1]))


# Operations on complex numbers: from pairs to a pair, or to a real expression.
RULES: dict[str, Callable[..., Pair | Expr]] = {
    "add": add, "sub": sub, "mul": mul, "div": div, "neg": neg, "conj": conj, "abs": modulus,
    "real": lambda a: a[0], "imag": lambda a: a[1], "angle": lambda a: ir.atan2(a[1], a[0]),
    "eq": lambda a, b: ir.and_(ir.eq(a[0], b[0]), ir.eq(a[1], b[1])),
    "ne": lambda a, b: ir.or_(ir.ne(a[0], b[0]), ir.ne(a[1], b[1])),
    "isnan": lambda a: ir.or_(ir.isnan(a[0]), ir.isnan(a[1])),
    "sqrt": sqrt, "rsqrt": lambda a: reciprocal(sqrt(a)), "exp": exp, "log": log, "pow": power, "sigmoid": sigmoid,
    "sin": sin, "cos": cos, "tan": tan, "asin": asin, "acos": acos, "atan": atan,
    "sinh": sinh, "cosh": cosh, "tanh": tanh, "asinh": asinh, "acosh": acosh, "atanh": atanh,
}  # fmt: skip


def _real_angle(x: Expr) -> Expr:
    turned = ir.select(ir.lt(x, 0.0), const(math.pi, x.dtype), _zero(x))
    return ir.select(ir.isnan(x), x, turned)


def _part(whole: Expr, number: int) -> Expr:
    return ir._node("part", (whole,), whole.dtype.to_real(), number)


class _Split:
    """One kernel's expressions, real ones as they are, complex ones as pairs."""

    def __init__(self):
        self.new: dict[Expr, Expr | Pair] = {}

    def __call__(self, root: Expr) -> Expr | Pair:
        for node in walk(root):
            if node not in self.new:
                self.new[node] = self.split(node)
        return self.new[root]

    def real(self, root: Expr) -> Expr:
        """What has become of an expression that is real."""
        found = self(root)
        assert isinstance(found, Expr)
        return found

    def split(self, node: Expr) -> Expr | Pair:
        args: tuple[Any, ...] = tuple(self.new[a] for a in node.args)  # Expr or Pair, as each operation has them
        t = node.dtype
        real = t.to_real()
        if t.kind != "c" and not any(a.dtype.kind == "c" for a in node.args):
            return _real_angle(args[0]) if node.op == "angle" else rebuild(node, args)
        match node.op:
            case "const":
                return const(node.value.real, real), const(node.value.imag, real)
            case "param":
                return param(f"{node.value}.re", real), param(f"{node.value}.im", real)
            case "load":
                whole = rebuild(node, args)
                return _part(whole, 0), _part(whole, 1)
            case "complex":
                return args[0], args[1]
            case "cast":
                return self.cast(args[0], node.args[0].dtype, t)
            case "select":
                return choose(*args)
            case "reduce" | "scan":
                re, im = args[0]
                if node.value in ("any", "all"):
                    return ir.reduce(node.value, ir.or_(ir.ne(re, 0.0), ir.ne(im, 0.0)))
                if node.value == "sum":
                    make = ir.reduce if node.op == "reduce" else ir.scan
                    return make("sum", re), make("sum", im)
                whole = ir._node(node.op, (re, im), t, "cprod")
                return _part(whole, 0), _part(whole, 1)
        return RULES[node.op](*args)

    def cast(self, value: Any, source: dtype, target: dtype) -> Expr | Pair:
        if source.kind != "c":
            re = cast(value, target.to_real())
            return re, _zero(re)
        if target.kind == "b":
            re, im = (cast(part, dt.float32) if source is dt.complex32 else part for part in value)
            return ir.or_(ir.ne(re, 0.0), ir.ne(im, 0.0))
        if target.kind == "c":
            return cast(value[0], target.to_real()), cast(value[1], target.to_real())
        return cast(value[0], target)


def split_complex(kernel: Kernel) -> Kernel:
    """`kernel` in real arithmetic; complex params become two, `name.re` and `name.im`."""
    split = _Split()
    results = []
    for r in kernel.results:
        value: Any = split(r.value)
        if r.dtype.kind == "c" or r.value.dtype.kind == "c":
            value = split.cast(value, r.value.dtype, r.dtype)
            if r.dtype.kind == "c":
                value = ir._node("complex", value, r.dtype)
        results.append(
            replace(
                r,
                value=value,
                offset=None if r.offset is None else split.real(r.offset),
                where=None if r.where is None else split.real(r.where),
            )
        )
    checks = tuple(replace(c, holds=split.real(c.holds), value=split.real(c.value)) for c in kernel.checks)
    params = []
    for p in kernel.params:
        parts = ("re", "im") if p.dtype.kind == "c" else ()
        params += [Param(f"{p.name}.{part}", p.dtype.to_real()) for part in parts] or [p]
    return replace(kernel, results=tuple(results), checks=checks, params=tuple(params))
