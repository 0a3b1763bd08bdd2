"""Scalar expressions: what a kernel computes for one element. Made by running Python on symbols.

An `Expr` is immutable and interned: equal expressions are one object, so shared work is shared by itself.
Arithmetic is on bool, integers, float32, float64, complex64, complex128; smaller floats and complex32 exist only in
memory (`load`, the dtype of a kernel's result) and are `cast` before any arithmetic, as PyTorch's "opmath" does.
"""

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facula.core import dtype as dt
from facula.core.dtype import dtype

__all__ = [
    "OPS", "Expr", "Loop", "Op", "cast", "const", "count", "extent", "index", "load", "loop", "param", "reduce",
    "row_index", "scan",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Op:
    """A row of the table of operations: how many operands, and which dtype comes out."""

    name: str
    arity: int
    result: str = "same"  # same (as the operands), bool, real (the parts' type), complex
    takes: str = "buifc"  # kinds of dtype that it is defined on


def _table(*rows: Op) -> dict[str, Op]:
    return {row.name: row for row in rows}


# Every operation that an expression can hold. `codegen` expands those that a target has no instruction for.
OPS = _table(
    # arithmetic; integers wrap around, floats follow IEEE 754
    Op("add", 2), Op("sub", 2, takes="uifc"), Op("mul", 2), Op("div", 2, takes="fc"), Op("neg", 1, takes="uifc"),
    Op("fma", 3, takes="f"),  # a * b + c, rounded once
    Op("floordiv", 2, takes="uif"), Op("remainder", 2, takes="uif"),  # Python's // and %: towards minus infinity
    Op("truncdiv", 2, takes="uif"), Op("fmod", 2, takes="uif"),  # C's: towards zero
    Op("abs", 1, "real", "uifc"), Op("sign", 1, takes="uif"),
    Op("maximum", 2, takes="buif"), Op("minimum", 2, takes="buif"),  # NaN wins
    Op("fmax", 2, takes="f"), Op("fmin", 2, takes="f"),  # NaN loses
    Op("floor", 1, takes="f"), Op("ceil", 1, takes="f"), Op("trunc", 1, takes="f"),
    Op("round", 1, takes="f"),  # half to even
    Op("copysign", 2, takes="f"), Op("nextafter", 2, takes="f"),
    # comparison; float comparisons with NaN are false but for ne
    Op("eq", 2, "bool"), Op("ne", 2, "bool"), Op("lt", 2, "bool", "buif"), Op("le", 2, "bool", "buif"),
    Op("gt", 2, "bool", "buif"), Op("ge", 2, "bool", "buif"), Op("isnan", 1, "bool", "fc"), Op("isinf", 1, "bool", "f"),
    Op("signbit", 1, "bool", "uif"),
    # logic and bits; on bool these are the logical ones
    Op("and", 2, takes="bui"), Op("or", 2, takes="bui"), Op("xor", 2, takes="bui"), Op("not", 1, takes="bui"),
    Op("shl", 2, takes="ui"), Op("shr", 2, takes="ui"),  # shr is arithmetic on signed types
    # select(condition: bool, a, b): dtype of a and b
    Op("select", 3),
    # roots, exponentials, logarithms
    Op("sqrt", 1, takes="fc"), Op("rsqrt", 1, takes="fc"), Op("cbrt", 1, takes="f"),
    Op("exp", 1, takes="fc"), Op("exp2", 1, takes="f"), Op("expm1", 1, takes="f"),
    Op("log", 1, takes="fc"), Op("log2", 1, takes="f"), Op("log10", 1, takes="f"), Op("log1p", 1, takes="f"),
    Op("pow", 2, takes="uifc"), Op("sigmoid", 1, takes="fc"),
    # trigonometric and hyperbolic
    Op("sin", 1, takes="fc"), Op("cos", 1, takes="fc"), Op("tan", 1, takes="fc"),
    Op("asin", 1, takes="fc"), Op("acos", 1, takes="fc"), Op("atan", 1, takes="fc"), Op("atan2", 2, takes="f"),
    Op("sinh", 1, takes="fc"), Op("cosh", 1, takes="fc"), Op("tanh", 1, takes="fc"),
    Op("asinh", 1, takes="fc"), Op("acosh", 1, takes="fc"), Op("atanh", 1, takes="fc"), Op("hypot", 2, takes="f"),
    # special functions
    Op("erf", 1, takes="f"), Op("erfc", 1, takes="f"), Op("erfinv", 1, takes="f"),
    Op("ndtr", 1, takes="f"),  # P(X <= x) for a standard normal X, to absolute accuracy
    Op("lgamma", 1, takes="f"), Op("digamma", 1, takes="f"),
    # complex numbers
    Op("real", 1, "real", "c"), Op("imag", 1, "real", "c"), Op("complex", 2, "complex", "f"), Op("conj", 1, takes="c"),
    Op("angle", 1, "real", "fc"),
    # the same bits as another type of the same size: `value` of the node's dtype
    Op("bitcast", 1, "given", "uif"),
)  # fmt: skip

# Reductions over a row. State and combination of each are spelled out in `codegen` and `targets/reference/`.
REDUCTIONS = {
    "sum": "same", "prod": "same", "max": "same", "min": "same",  # NaN wins in max and min
    "any": "bool", "all": "bool", "xor": "same",
    "argmax": "index", "argmin": "index",  # row_index of the first extreme; the first NaN wins
}  # fmt: skip
SCANS = ("sum", "prod", "max", "min", "growth")  # growth: the sum of what is not negative, in any order


class Expr:
    """A node: operation, operands, dtype, and for leaves a value. Use the functions of this module to make one."""

    __slots__ = ("args", "dtype", "op", "value")

    op: str
    args: tuple["Expr", ...]
    dtype: dtype
    value: Any

    def __repr__(self) -> str:
        from .printer import show_expr

        return show_expr(self)

    def __reduce__(self):
        return (_node, (self.op, self.args, self.dtype, self.value))

    def __add__(self, other):
        return apply("add", self, other)

    def __radd__(self, other):
        return apply("add", other, self)

    def __sub__(self, other):
        return apply("sub", self, other)

    def __rsub__(self, other):
        return apply("sub", other, self)

    def __mul__(self, other):
        return apply("mul", self, other)

    def __rmul__(self, other):
        return apply("mul", other, self)

    def __truediv__(self, other):
        return apply("div", self, other)

    def __rtruediv__(self, other):
        return apply("div", other, self)

    def __floordiv__(self, other):
        return apply("floordiv", self, other)

    def __mod__(self, other):
        return apply("remainder", self, other)

    def __pow__(self, other):
        return apply("pow", self, other)

    def __rpow__(self, other):
        return apply("pow", other, self)

    def __neg__(self):
        return apply("neg", self)

    def __abs__(self):
        return apply("abs", self)

    def __invert__(self):
        return apply("not", self)

    def __and__(self, other):
        return apply("and", self, other)

    def __rand__(self, other):
        return apply("and", other, self)

    def __or__(self, other):
        return apply("or", self, other)

    def __ror__(self, other):
        return apply("or", other, self)

    def __xor__(self, other):
        return apply("xor", self, other)

    def __lshift__(self, other):
        return apply("shl", self, other)

    def __rshift__(self, other):
        return apply("shr", self, other)

    def __lt__(self, other):
        return apply("lt", self, other)

    def __le__(self, other):
        return apply("le", self, other)

    def __gt__(self, other):
        return apply("gt", self, other)

    def __ge__(self, other):
        return apply("ge", self, other)

    # == and != stay identity: expressions are dictionary keys. Use eq() and ne().


_KNOWN: dict[tuple, Expr] = {}


def _node(op: str, args: tuple[Expr, ...], dtype: dtype, value: Any = None) -> Expr:
    key = (op, args, dtype, type(value), repr(value) if type(value) is float else value)  # 0.0 is not -0.0
    found = _KNOWN.get(key)
    if found is None:
        found = Expr()
        found.op, found.args, found.dtype, found.value = op, args, dtype, value
        _KNOWN[key] = found
    return found


_CONVERT: dict[str, Callable] = {"b": bool, "u": int, "i": int, "f": float, "c": builtins.complex}  # by kind


def const(value: bool | int | float | complex, dtype: dtype) -> Expr:
    """A number known when the kernel is made."""
    return _node("const", (), dtype, _CONVERT[dtype.kind](value))


def param(name: str, dtype: dtype) -> Expr:
    """A number known when the kernel is called, the same for all elements."""
    return _node("param", (), dtype, name)


def load(name: str, dtype: dtype, offset: Expr | None = None, where: Expr | None = None) -> Expr:
    """The element of input `name` at the current position.

    `offset` (int64, in elements) is added to that position, for gathers; where `where` (bool) is false nothing is
    read and the value is 0. Gathers must be in bounds wherever `where` holds: see `Kernel.checks`.
    """
    return _node(
        "load", tuple(x for x in (offset, where) if x is not None), dtype, (name, offset is not None, where is not None)
    )


def index(dim: int) -> Expr:
    """The current coordinate (int64) in dimension `dim` of the iteration space: outer dims first, then row dims."""
    return _node("index", (), dt.int64, dim)


def extent(dim: int) -> Expr:
    """The size (int64) of dimension `dim` of the iteration space."""
    return _node("extent", (), dt.int64, dim)


def row_index() -> Expr:
    """The current position (int64) in the row, counted in row-major order."""
    return _node("row_index", (), dt.int64)


def count() -> Expr:
    """The number (int64) of elements in the row."""
    return _node("count", (), dt.int64)


def reduce(kind: str, value: Expr) -> Expr:
    """`value` over the whole row, one number a row; itself usable in further expressions."""
    result = {"same": value.dtype, "bool": dt.bool_, "index": dt.int64}[REDUCTIONS[kind]]
    return _node("reduce", (value,), result, kind)


def scan(kind: str, value: Expr) -> Expr:
    """`value` combined over the row's elements up to and with the current one."""
    if kind not in SCANS:
        raise ValueError(f"no scan {kind!r}: one of {SCANS}")
    return _node("scan", (value,), value.dtype, kind)


@dataclass(frozen=True, slots=True)
class Loop:
    """What a node "loop" does with its operands: expressions of its variables, which stand for these operands alone."""

    variables: tuple[Expr, ...]  # those that steps change, then those that stay
    more: Expr  # whether there is another step
    steps: tuple[Expr, ...]
    found: Expr  # of the variables at the end

    def __str__(self) -> str:
        return f"while {self.more!r}: {', '.join(map(repr, self.steps))}; {self.found!r}".replace("\n", "; ")

    def rewritten(self, change: Callable[[Expr], Expr]) -> "Loop":
        """The loop with each of its expressions changed; its variables must stay."""
        return Loop(self.variables, change(self.more), tuple(map(change, self.steps)), change(self.found))


def loop(
    state: tuple[Expr, ...], more: Callable, step: Callable, found: Callable, given: tuple[Expr, ...] = ()
) -> Expr:
    """`while more(*state, *given): state = step(*state, *given)`, then `found(*state, *given)`, element by element.

    The functions see their arguments, constants and nothing else of the kernel. There is no derivative.
    """
    variables = tuple(_node("variable", (), x.dtype, i) for i, x in enumerate((*state, *given)))
    steps = tuple(step(*variables))
    if [x.dtype for x in steps] != [x.dtype for x in state]:
        raise TypeError(f"a loop's state of {[x.dtype.code for x in state]} becomes {[x.dtype.code for x in steps]}")
    made = Loop(variables, more(*variables), steps, found(*variables))
    return _node("loop", (*state, *given), made.found.dtype, made)


def cast(value: Expr, dtype: dtype) -> Expr:
    """`value` converted as PyTorch does: float to integer truncates, to bool is `!= 0`, complex to real is `.real`."""
    if value.dtype is dtype:
        return value
    if value.op == "const" and not (value.dtype.kind in "fc" and dtype.kind in "ui"):
        if dtype.kind == "b":
            return const(value.value != 0, dtype)
        return const(value.value if dtype.kind == "c" else value.value.real, dtype)
    return _node("cast", (value,), dtype)


def bitcast(value: Expr, dtype: dtype) -> Expr:
    """The bits of `value` read as another type of the same size."""
    return _node("bitcast", (value,), dtype)


def apply(name: str, *args: Expr | bool | int | float | complex) -> Expr:
    """Operation `name` on expressions; Python numbers take the dtype of the expression beside them."""
    op = OPS[name]
    if len(args) != op.arity:
        raise TypeError(f"{name} takes {op.arity} operands, got {len(args)}")
    values = args[1:] if name == "select" else args
    dtype = next((x.dtype for x in values if isinstance(x, Expr)), None)
    if dtype is None:
        raise TypeError(f"{name} of Python numbers alone: make one of them a const")
    operands = tuple(x if isinstance(x, Expr) else const(x, dtype) for x in values)
    if any(x.dtype is not dtype for x in operands):
        raise TypeError(f"{name} of different dtypes ({', '.join(x.dtype.code for x in operands)}): cast them first")
    if dtype.kind not in op.takes or dtype in dt.STORED_ONLY:
        raise TypeError(f"{name} is not defined on {dtype.code}")
    if name == "select":
        condition = args[0]
        if not isinstance(condition, Expr) or condition.dtype is not dt.bool_:
            raise TypeError("the condition of select must be a bool expression")
        operands = (condition, *operands)
    result = {"same": dtype, "bool": dt.bool_, "real": dtype.to_real(), "complex": dtype.to_complex()}[op.result]
    return _node(name, operands, result)


def walk(*roots: Expr) -> list[Expr]:
    """All nodes below `roots`, operands before users, each once."""
    order: list[Expr] = []
    done: set[Expr] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))
    return order


def rebuild(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """The same operation on other operands."""
    return node if args == node.args else _node(node.op, args, node.dtype, node.value)


def with_loop(node: Expr, args: tuple[Expr, ...], value: Loop) -> Expr:
    """A loop with other operands, and other steps."""
    return _node("loop", args, node.dtype, value)


def substitute(roots: tuple[Expr, ...], change) -> tuple[Expr, ...]:
    """`roots` with each node replaced by `change(node)`, from the leaves up; None keeps the node."""
    new: dict[Expr, Expr] = {}
    for node in walk(*roots):
        kept = rebuild(node, tuple(new[a] for a in node.args))
        changed = change(kept)
        new[node] = kept if changed is None else changed
    return tuple(new[root] for root in roots)


def _named(name: str):
    def function(*args):
        return apply(name, *args)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The operation {name!r} of OPS."
    return function


# The operations as functions: ir.exp(x), ir.select(c, a, b); those that are Python keywords get a trailing underscore.
FUNCTIONS = {(name + "_" if name in ("and", "or", "not") else name): _named(name) for name in OPS if name != "bitcast"}
globals().update(FUNCTIONS)
if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Expr]: ...


__all__ += [*FUNCTIONS, "apply", "bitcast", "rebuild", "substitute", "walk", "with_loop"]
