"""Derivatives of scalar expressions: a table of rules and the reverse sweep that applies it.

Complex numbers follow PyTorch's convention: the gradient is the conjugate Wirtinger derivative, so that
`x - lr * grad` descends.
"""

import math
from collections.abc import Callable, Iterable

from . import expr as ir
from .expr import Expr, cast, const, reduce, walk

__all__ = ["RULES", "adjoints", "is_row_level", "trigamma"]

Rule = Callable[..., tuple]


def _conj(x: Expr) -> Expr:
    return ir.conj(x) if x.dtype.kind == "c" else x


def _zero(x: Expr) -> Expr:
    return const(0, x.dtype)


def _where(condition: Expr, g: Expr) -> Expr:
    return ir.select(condition, g, const(0, g.dtype))


def _either(g: Expr, first: Expr) -> tuple[Expr, Expr]:
    """To the first of two operands where `first` holds, else to the second."""
    return _where(first, g), _where(ir.not_(first), g)


def _extreme(g: Expr, a: Expr, b: Expr, out: Expr) -> tuple[Expr, Expr]:
    """Of maximum and minimum: to the chosen operand, shared evenly when both are equal."""
    half = ir.select(ir.eq(a, b), g * 0.5, g)
    # NaN wins: the operand that is NaN is the chosen one.
    chose_a = ir.or_(ir.eq(a, out), ir.isnan(a))
    chose_b = ir.or_(ir.eq(b, out), ir.isnan(b))
    return _where(chose_a, half), _where(chose_b, half)


def _pow(g: Expr, out: Expr, a: Expr, b: Expr):
    zero = ir.eq(b, _zero(b))
    for_a = ir.select(zero, _zero(a), g * _conj(b * ir.pow(a, b - 1)))
    log_a = ir.log(a)
    at_zero = ir.and_(ir.eq(a, _zero(a)), ir.ge(b, 0) if b.dtype.kind != "c" else ir.ge(ir.real(b), 0))
    for_b = ir.select(at_zero, _zero(b), g * _conj(out * log_a))
    return for_a, for_b


def _abs(g: Expr, out: Expr, a: Expr):
    if a.dtype.kind != "c":
        return (g * ir.sign(a),)
    scale = ir.select(ir.eq(out, _zero(out)), _zero(out), g / out)
    return (ir.complex(ir.real(a) * scale, ir.imag(a) * scale),)


def trigamma(x: Expr) -> Expr:
    """The derivative of `digamma`: reflected below 1/2, then moved up by 6 to an asymptotic series."""
    low = ir.lt(x, 0.5)
    turned = math.pi / ir.sin(x * math.pi)
    x = ir.select(low, 1.0 - x, x)
    total = ir.select(low, -(turned * turned), _zero(x))
    for _ in range(6):
        total = total + 1.0 / (x * x)
        x = x + 1.0
    y = 1.0 / (x * x)
    series = 1.0 + 1.0 / (x * 2.0) + y * (1.0 / 6 - y * (1.0 / 30 - y * (1.0 / 42)))
    total = total + series / x
    return ir.select(low, -total, total)


def _cast(g: Expr, out: Expr, a: Expr):
    if a.dtype.kind not in "fc":
        return (None,)
    if g.dtype.kind == "c" and a.dtype.kind != "c":
        g = ir.real(g)
    return (cast(g, a.dtype),)


def _angle(g: Expr, out: Expr, a: Expr):
    if a.dtype.kind != "c":
        return (_zero(a),)
    re, im = ir.real(a), ir.imag(a)
    square = re * re + im * im
    scale = ir.select(ir.eq(square, _zero(square)), _zero(square), g / square)
    return (ir.complex(-im * scale, re * scale),)


TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
ONE_OVER_SQRT_TWO_PI = 1 / math.sqrt(2 * math.pi)
LN2, LN10 = math.log(2), math.log(10)

# Each rule: (gradient of the result, result, *operands) -> gradient of each operand, None where there is none.
RULES: dict[str, Rule] = {
    "add": lambda g, out, a, b: (g, g),
    "sub": lambda g, out, a, b: (g, -g),
    "mul": lambda g, out, a, b: (g * _conj(b), g * _conj(a)),
    "div": lambda g, out, a, b: (g / _conj(b), -g * _conj(out / b)),
    "neg": lambda g, out, a: (-g,),
    "fma": lambda g, out, a, b, c: (g * b, g * a, g),
    "floordiv": lambda g, out, a, b: (None, None),
    "truncdiv": lambda g, out, a, b: (None, None),
    "remainder": lambda g, out, a, b: (g, -g * ir.floordiv(a, b)),
    "fmod": lambda g, out, a, b: (g, -g * ir.truncdiv(a, b)),
    "abs": _abs,
    "sign": lambda g, out, a: (_zero(a),),
    "maximum": lambda g, out, a, b: _extreme(g, a, b, out),
    "minimum": lambda g, out, a, b: _extreme(g, a, b, out),
    "fmax": lambda g, out, a, b: _either(g, ir.or_(ir.ge(a, b), ir.isnan(b))),
    "fmin": lambda g, out, a, b: _either(g, ir.or_(ir.le(a, b), ir.isnan(b))),
    "floor": lambda g, out, a: (_zero(a),),
    "ceil": lambda g, out, a: (_zero(a),),
    "trunc": lambda g, out, a: (_zero(a),),
    "round": lambda g, out, a: (_zero(a),),
    "copysign": lambda g, out, a, b: (ir.select(ir.eq(a, _zero(a)), _zero(a), g * ir.sign(a) * ir.sign(out)), _zero(b)),
    "select": lambda g, out, c, a, b: (None, _where(c, g), ir.select(c, _zero(g), g)),
    "sqrt": lambda g, out, a: (g / _conj(out * 2),),
    "rsqrt": lambda g, out, a: (g * _conj(out * out * out) * -0.5,),
    "cbrt": lambda g, out, a: (g / (out * out * 3),),
    "exp": lambda g, out, a: (g * _conj(out),),
    "exp2": lambda g, out, a: (g * out * LN2,),
    "expm1": lambda g, out, a: (g * (out + 1),),
    "log": lambda g, out, a: (g / _conj(a),),
    "log2": lambda g, out, a: (g / (a * LN2),),
    "log10": lambda g, out, a: (g / (a * LN10),),
    "log1p": lambda g, out, a: (g / (a + 1),),
    "pow": _pow,
    "sigmoid": lambda g, out, a: (g * _conj((1 - out) * out),),
    "sin": lambda g, out, a: (g * _conj(ir.cos(a)),),
    "cos": lambda g, out, a: (g * _conj(-ir.sin(a)),),
    "tan": lambda g, out, a: (g * _conj(out * out + 1),),
    "asin": lambda g, out, a: (g * _conj(ir.rsqrt(1 - a * a)),),
    "acos": lambda g, out, a: (g * _conj(-ir.rsqrt(1 - a * a)),),
    "atan": lambda g, out, a: (g / _conj(a * a + 1),),
    "atan2": lambda g, out, a, b: (g * b / (a * a + b * b), -g * a / (a * a + b * b)),
    "sinh": lambda g, out, a: (g * _conj(ir.cosh(a)),),
    "cosh": lambda g, out, a: (g * _conj(ir.sinh(a)),),
    "tanh": lambda g, out, a: (g * _conj(1 - out * out),),
    "asinh": lambda g, out, a: (g * _conj(ir.rsqrt(a * a + 1)),),
    "acosh": lambda g, out, a: (g * _conj(ir.rsqrt(a - 1) * ir.rsqrt(a + 1)),),
    "atanh": lambda g, out, a: (g / _conj(1 - a * a),),
    "hypot": lambda g, out, a, b: (g * (a / out), g * (b / out)),
    "erf": lambda g, out, a: (g * ir.exp(-a * a) * TWO_OVER_SQRT_PI,),
    "erfc": lambda g, out, a: (g * ir.exp(-a * a) * -TWO_OVER_SQRT_PI,),
    "erfinv": lambda g, out, a: (g * ir.exp(out * out) * (1 / TWO_OVER_SQRT_PI),),
    "ndtr": lambda g, out, a: (g * ir.exp(a * a * -0.5) * ONE_OVER_SQRT_TWO_PI,),
    "nextafter": lambda g, out, a, b: (_where(ir.ne(a, b), g), _zero(g)),
    "lgamma": lambda g, out, a: (g * ir.digamma(a),), "digamma": lambda g, out, a: (g * trigamma(a),),
    "real": lambda g, out, a: (ir.complex(g, _zero(g)),),
    "imag": lambda g, out, a: (ir.complex(_zero(g), g),),
    "complex": lambda g, out, a, b: (ir.real(g), ir.imag(g)),
    "conj": lambda g, out, a: (ir.conj(g),),
    "angle": _angle,
    "cast": _cast,
}  # fmt: skip


def is_row_level(nodes: Iterable[Expr], row_loads: frozenset[str]) -> dict[Expr, bool]:
    """For each node whether it is one number a row: made of reductions, parameters, constants, per-row inputs."""
    level: dict[Expr, bool] = {}
    for node in nodes:
        if node.op == "load":
            level[node] = node.value[0] in row_loads and all(level[a] for a in node.args)
        elif node.op in ("index", "row_index", "scan"):
            level[node] = False
        else:
            level[node] = node.op == "reduce" or all(level[a] for a in node.args)
    return level


def _reduce_rule(g: Expr, out: Expr, kind: str, value: Expr) -> Expr | None:
    """The gradient of a reduction's operand at each element, from `g`, that of the row's result."""
    if kind == "sum":
        return g
    if kind in ("max", "min"):
        hit = ir.or_(ir.eq(value, out), ir.isnan(value)) if value.dtype.kind == "f" else ir.eq(value, out)
        ones = cast(hit, g.dtype)
        return ones * (g / reduce("sum", ones))  # ties share evenly
    if kind == "prod":
        # Exact with zeros: the product of the others is out / value, or the product of the non-zeros at a single zero.
        zero = ir.eq(value, _zero(value))
        zeros = reduce("sum", cast(zero, value.dtype))
        others = reduce("prod", ir.select(zero, const(1, value.dtype), value))
        one_zero = ir.select(ir.eq(zeros, const(1, value.dtype)), others, _zero(value))
        each = ir.select(zero, one_zero, ir.select(ir.eq(zeros, _zero(zeros)), out / value, _zero(value)))
        return g * _conj(each)
    return None


def adjoints(
    outputs: Iterable[tuple[Expr, Expr]], wrt: Iterable[Expr], row_loads: frozenset[str] = frozenset()
) -> dict[Expr, Expr | None]:
    """The gradient of each node of `wrt`, given pairs (output, its gradient).

    `row_loads` names inputs that hold one number a row; a gradient that flows from elements to such a value, or to a
    reduction, is summed over the row.
    """
    outputs = list(outputs)
    nodes = walk(*(out for out, _ in outputs), *(g for _, g in outputs))
    level = is_row_level(nodes, row_loads)
    wanted = set(wrt)
    reaches: set[Expr] = set()
    order = walk(*(out for out, _ in outputs))
    for node in order:
        if node in wanted or any(a in reaches for a in node.args):
            reaches.add(node)
    total: dict[Expr, Expr] = {}
    spread: dict[Expr, Expr] = {}

    def is_row(e: Expr) -> bool:
        if e not in level:
            level.update(is_row_level(walk(e), row_loads))
        return level[e]

    def give(node: Expr, g: Expr | None) -> None:
        if g is None or node not in reaches or node.dtype.kind not in "fc":
            return
        if g.dtype.kind == "c" and node.dtype.kind != "c":
            g = ir.real(g)
        elif node.dtype.kind == "c" and g.dtype.kind != "c":
            g = ir.complex(g, _zero(g))
        where = spread if is_row(node) and not is_row(g) else total
        where[node] = g if node not in where else where[node] + g

    for out, g in outputs:
        give(out, g)
    for node in reversed(order):
        if node in spread:  # what comes from elements to a number of the row
            g = reduce("sum", spread[node])
            total[node] = g if node not in total else total[node] + g
        g = total.get(node)
        if g is None:
            continue
        if node.op == "reduce":
            give(node.args[0], _reduce_rule(g, node, node.value, node.args[0]))
        elif node.args and node.op not in ("load", "scan", "bitcast"):
            rule = RULES.get(node.op)
            if rule is None:
                continue  # comparisons, bits: no gradient
            for arg, part in zip(node.args, rule(g, node, *node.args)):
                give(arg, part)
        elif node.op == "scan" and node in reaches:
            raise NotImplementedError(f"derivative of scan {node.value!r}: give the operator a gradient")
    return {node: total.get(node) for node in wanted}
