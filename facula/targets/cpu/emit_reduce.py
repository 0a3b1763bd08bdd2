"""States of reductions and scans: what they start from, how a value joins, how states and lanes are combined."""

import math

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir.expr import Expr

from .emit_code import Code, literal, register, vector
from .emit_ops import OPERATIONS, cast, constant, select

__all__ = [
    "combine", "components", "identity", "prefix", "scan_state", "scans_in_lanes", "shrink", "update",
]  # fmt: skip

_OPERATION = {
    "sum": "add", "growth": "add", "prod": "mul", "max": "maximum", "min": "minimum", "any": "or", "all": "and",
    "xor": "xor",
}  # fmt: skip


def _lowest(t: dtype) -> bool | int | float:
    return (
        False if t.kind == "b" else -math.inf if t.kind == "f" else 0 if t.kind == "u" else -(1 << t.itemsize * 8 - 1)
    )


def _highest(t: dtype) -> bool | int | float:
    bits = t.itemsize * 8
    return {"b": True, "f": math.inf, "u": (1 << bits) - 1, "i": (1 << bits - 1) - 1}[t.kind]


def identity(kind: str, t: dtype) -> bool | int | float:
    """What changes nothing."""
    match kind:
        case "sum" | "growth" | "any" | "xor":
            return False if kind == "any" else -0.0 if t.kind == "f" else 0
        case "prod" | "all":
            return kind == "all" or 1
        case "max" | "argmax":
            return _lowest(t)
    return _highest(t)


def components(kind: str, t: dtype) -> list[tuple[dtype, bool | int | float]]:
    """The parts of a state: dtype, and what it starts from.

    The position in argmax and argmin starts as 0: a lane that nothing has beaten holds the worst value, and when that
    is the answer, all elements are equal and the first one is meant.
    """
    if kind == "cprod":  # of complex numbers, as pairs
        return [(t, 1.0), (t, 0.0)]
    own = dt.bool_ if kind in ("any", "all") else t
    parts = [(own, identity(kind, t))]
    return [*parts, (dt.int64, 0)] if kind.startswith("arg") else parts


def update(
    c: Code,
    kind: str,
    t: dtype,
    lanes: int,
    state: list[str],
    values: list[str],
    position: str | None,
    mask: str | None,
) -> list[str]:
    """The state after `values` (at `position`) have joined in the lanes of `mask`."""
    if kind == "cprod":
        if mask is not None:
            ty, first = vector(register(t), lanes), components(kind, t)
            values = [select(c, mask, ty, lanes, v, constant(one, t, lanes)) for v, (_, one) in zip(values, first)]
        return combine(c, kind, t, lanes, state, values)
    (value,) = values
    ty, i1 = vector(register(t), lanes), vector("i1", lanes)
    if kind.startswith("arg"):
        assert position is not None
        word = "gt" if kind == "argmax" else "lt"
        if t.kind == "f":
            better = c.let(f"fcmp u{word} {ty} {value}, {state[0]}")
            better = c.let(f"and {i1} {better}, {c.let(f'fcmp ord {ty} {state[0]}, {state[0]}')}")
        else:
            better = c.let(f"icmp {'s' if t.kind == 'i' else 'u'}{word} {ty} {value}, {state[0]}")
        if mask is not None:
            better = c.let(f"and {i1} {better}, {mask}")
        return [
            select(c, better, ty, lanes, value, state[0]),
            select(c, better, vector("i64", lanes), lanes, position, state[1]),
        ]
    if kind in ("any", "all"):
        value, t = cast(c, value, t, dt.bool_, lanes), dt.bool_
        ty = i1
    if mask is not None:
        value = select(c, mask, ty, lanes, value, constant(identity(kind, t), t, lanes))
    return [OPERATIONS[_OPERATION[kind]](c, t, ty, lanes, [state[0], value])]


def combine(c: Code, kind: str, t: dtype, lanes: int, a: list[str], b: list[str]) -> list[str]:
    """Two states as one; of equal extremes the first position counts."""
    if kind == "cprod":
        ty = vector(register(t), lanes)

        def product(i: int, j: int) -> str:
            return c.let(f"fmul {ty} {a[i]}, {b[j]}")

        re = c.let(f"fsub {ty} {product(0, 0)}, {product(1, 1)}")
        return [re, c.let(f"fadd {ty} {product(0, 1)}, {product(1, 0)}")]
    if not kind.startswith("arg"):
        t = dt.bool_ if kind in ("any", "all") else t
        return [OPERATIONS[_OPERATION[kind]](c, t, vector(register(t), lanes), lanes, [a[0], b[0]])]
    ty, i1, i64 = vector(register(t), lanes), vector("i1", lanes), vector("i64", lanes)
    word = "gt" if kind == "argmax" else "lt"
    sooner = c.let(f"icmp slt {i64} {b[1]}, {a[1]}")
    if t.kind == "f":
        a_nan, b_nan = (c.let(f"fcmp uno {ty} {x[0]}, {x[0]}") for x in (a, b))
        better = c.let(f"fcmp o{word} {ty} {b[0]}, {a[0]}")
        better = c.let(f"or {i1} {better}, {b_nan}")
        better = c.let(f"and {i1} {better}, {c.let(f'xor {i1} {a_nan}, {constant(True, dt.bool_, lanes)}')}")
        equal = c.let(f"fcmp oeq {ty} {a[0]}, {b[0]}")
        equal = c.let(f"or {i1} {equal}, {c.let(f'and {i1} {a_nan}, {b_nan}')}")
    else:
        better = c.let(f"icmp {'s' if t.kind == 'i' else 'u'}{word} {ty} {b[0]}, {a[0]}")
        equal = c.let(f"icmp eq {ty} {a[0]}, {b[0]}")
    better = c.let(f"or {i1} {better}, {c.let(f'and {i1} {equal}, {sooner}')}")
    return [select(c, better, ty, lanes, b[0], a[0]), select(c, better, i64, lanes, b[1], a[1])]


def shrink(c: Code, kind: str, t: dtype, lanes: int, to: int, state: list[str]) -> list[str]:
    """The lanes combined, halves with halves, until `to` are left."""
    types = [register(part) for part, _ in components(kind, t)]
    while lanes > to:
        low = [c.half(v, ty, lanes, False) for v, ty in zip(state, types)]
        high = [c.half(v, ty, lanes, True) for v, ty in zip(state, types)]
        lanes //= 2
        state = combine(c, kind, t, lanes, low, high)
    return state


def starts(kind: str, t: dtype, lanes: int) -> list[str]:
    """The first state, in all lanes."""
    return [
        literal(v, part) if lanes == 1 else f"splat ({register(part)} {literal(v, part)})"
        for part, v in components(kind, t)
    ]


def scan_state(node: Expr) -> dtype:
    """What a scan adds or multiplies in: float32 in float64, as PyTorch does."""
    t = node.args[0].dtype
    return dt.float64 if t.code == "f32" and node.value in ("sum", "prod", "growth") else t


def scans_in_lanes(node: Expr) -> bool:
    """Whether the order of the operations of a scan does not matter.

    It does for float64, where partial sums or products might overflow that the whole ones do not; sums of what is not
    negative cannot.
    """
    if node.value in ("max", "min", "growth"):
        return True
    return node.value != "cprod" and node.args[0].dtype.code != "f64"


def prefix(c: Code, kind: str, t: dtype, lanes: int, value: str, mask: str | None) -> tuple[str, str]:
    """Each lane of a vector combined with those before it, and all lanes together."""
    scalar = register(t)
    ty, nothing = vector(scalar, lanes), constant(identity(kind, t), t, lanes)
    if mask is not None:
        value = select(c, mask, ty, lanes, value, nothing)
    step = 1
    while step < lanes:
        picks = ", ".join(f"i32 {lanes + i if i < step else i - step}" for i in range(lanes))
        moved = c.let(f"shufflevector {ty} {value}, {ty} {nothing}, <{lanes} x i32> <{picks}>")
        (value,) = combine(c, kind, t, lanes, [moved], [value])
        step *= 2
    return value, c.let(f"extractelement {ty} {value}, i64 {lanes - 1}")
