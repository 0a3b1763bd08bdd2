"""States of reductions and scans: a struct a pass, what it starts from, how values and other states join it."""

import math
from dataclasses import dataclass

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir.expr import Expr

from .operations import OPERATIONS, Use, cast
from .types import literal, register

__all__ = ["PART", "State", "has_part", "nothing", "scan_dtype", "structure"]

PART = 64  # additions of float32 before the sum is put away in a float64 total

_OPERATION = {
    "sum": "add", "growth": "add", "prod": "mul", "max": "maximum", "min": "minimum", "any": "or", "all": "and",
    "xor": "xor",
}  # fmt: skip


def _worst(kind: str, t: dtype) -> bool | int | float:
    """What every element beats."""
    high = "max" not in kind
    if t.kind == "b":
        return high
    if t.kind == "f":
        return math.inf if high else -math.inf
    bits = t.itemsize * 8
    if t.kind == "u":
        return (1 << bits) - 1 if high else 0
    return (1 << bits - 1) - 1 if high else -(1 << bits - 1)


def _identity(kind: str, t: dtype) -> bool | int | float:
    if kind in ("sum", "growth", "xor"):
        return -0.0 if t.kind == "f" else 0
    if kind in ("any", "all"):
        return kind == "all"
    return 1 if kind == "prod" else _worst(kind, t)


def nothing(combine: str, t: dtype) -> bool | int | float:
    """What changes nothing when a result's `combine` joins it."""
    return _identity(next(kind for kind, operation in _OPERATION.items() if operation == combine), t)


@dataclass(frozen=True)
class State:
    """The state of one reduction or scan among the fields of a struct."""

    node: Expr
    kind: str
    element: dtype  # of the operands
    total: dtype  # of the first field
    fields: tuple[tuple[str, dtype, bool | int | float], ...]  # name, dtype, what it starts from

    @property
    def part(self) -> bool:
        """Whether values are first summed in float32."""
        return has_part(self)


def has_part(state: State) -> bool:
    """Whether a reduction adds float32 to a float64 total."""
    return state.node.op == "reduce" and state.kind == "sum" and state.element.code == "f32"


def scan_dtype(node: Expr) -> dtype:
    """What a scan adds or multiplies in: float32 in float64, as PyTorch does."""
    t = node.args[0].dtype
    return dt.float64 if t.code == "f32" and node.value in ("sum", "prod", "growth") else t


def state_of(node: Expr, number: int) -> State:
    """The state of a reduction or scan, as field number `number` of its pass."""
    kind, t = node.value, node.args[0].dtype
    if kind == "cprod":  # of complex numbers, as pairs
        return State(node, kind, t, t, ((f"s{number}", t, 1.0), (f"i{number}", t, 0.0)))
    own = dt.bool_ if kind in ("any", "all") else scan_dtype(node) if node.op == "scan" else t
    if node.op == "reduce" and kind == "sum" and t.code == "f32":
        own = dt.float64
    fields = [(f"s{number}", own, _identity(kind, own))]
    if kind.startswith("arg"):
        # A thread that nothing has beaten holds the worst value at position 0: when that is the answer, all elements
        # are equal and the first one is meant.
        fields = [(f"s{number}", own, _worst(kind, own)), (f"i{number}", dt.int64, 0)]
    return State(node, kind, t, own, tuple(fields))


def structure(name: str, states: list[State], use: Use) -> str:
    """The struct of a pass with `start` and `join`."""
    fields = "\n".join(f"  {register(t)} {field};" for s in states for field, t, _ in s.fields)
    begin = "\n".join(f"  s.{field} = {literal(value, t)};" for s in states for field, t, value in s.fields)
    joined = "\n".join(_join(s, use) for s in states)
    return f"""struct alignas(8) {name} {{
{fields}
}};
__device__ __forceinline__ void start({name}& s) {{
{begin}
}}
__device__ __forceinline__ void join({name}& a, const {name}& b) {{
{joined}
}}"""


def _join(s: State, use: Use) -> str:
    """Two states as one; of equal extremes the first position counts."""
    a, b = f"a.{s.fields[0][0]}", f"b.{s.fields[0][0]}"
    if s.kind == "cprod":
        i, j = f"a.{s.fields[1][0]}", f"b.{s.fields[1][0]}"
        return f"""  {{
    const {register(s.total)} re = {a} * {b} - {i} * {j};
    {i} = {a} * {j} + {i} * {b};
    {a} = re;
  }}"""
    if not s.kind.startswith("arg"):
        return f"  {a} = {OPERATIONS[_OPERATION[s.kind]](use, s.total, [a, b])};"
    i, j = f"a.{s.fields[1][0]}", f"b.{s.fields[1][0]}"
    sign = ">" if s.kind == "argmax" else "<"
    if s.total.kind == "f":
        better = f"({a} == {a} && ({b} {sign} {a} || {b} != {b}))"
        equal = f"({a} == {b} || ({a} != {a} && {b} != {b}))"
    else:
        better, equal = f"({b} {sign} {a})", f"({a} == {b})"
    return f"  if ({better} || ({equal} && {j} < {i})) {{ {a} = {b}; {i} = {j}; }}"


def update(s: State, place: str, values: list[str], position: str, use: Use) -> list[str]:
    """The statements by which an element's values join a state: `place` is the struct, or the variable of a part."""
    if s.part:
        return [f"{place} += {values[0]};"]
    a = f"{place}.{s.fields[0][0]}"
    if s.kind == "cprod":
        i, t = f"{place}.{s.fields[1][0]}", register(s.total)
        re = f"{a} * {values[0]} - {i} * {values[1]}"
        return [f"{{ const {t} re = {re}; {i} = {a} * {values[1]} + {i} * {values[0]}; {a} = re; }}"]
    if s.kind.startswith("arg"):
        sign = "<=" if s.kind == "argmax" else ">="
        known = f" && {a} == {a}" if s.total.kind == "f" else ""
        return [
            f"if (!({values[0]} {sign} {a}){known}) {{ {a} = {values[0]}; {place}.{s.fields[1][0]} = {position}; }}"
        ]
    value = cast(use, values[0], s.element, s.total)
    return [f"{a} = {OPERATIONS[_OPERATION[s.kind]](use, s.total, [a, value])};"]
