"""Interprets kernels with NumPy: the oracle of the code generators and the example to copy when adding a machine.

Every node becomes an array that broadcasts over the whole iteration space (outer dims, then row dims); nothing is
fused, blocked or fast. Memory is read and written through raw addresses, as compiled kernels do.
"""

import copy
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from facula.core import dtype as dt
from facula.core import float8
from facula.core.dtype import dtype
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.ir.expr import Expr
from facula.ir.kernel import Access, Kernel, Result, arguments, known_step

from .memory import bits, decode, encode, memory

__all__ = ["compile", "empty", "new_storage", "run"]


# Casts ----------------------------------------------------------------------------------------------------------------


def _truncate(x: np.ndarray, t: np.dtype) -> np.ndarray:
    """Float to int32 or int64 as x86's cvtt: whatever does not fit becomes the lowest integer."""
    low = np.iinfo(t).min
    fits = (x >= float(low)) & (x < -float(low))
    return np.where(fits, np.where(fits, x, 0).astype(t), low)


def _cast(x: np.ndarray, source: dtype, target: dtype) -> np.ndarray:
    if source.kind == "c" and target.kind not in "cb":
        x, source = np.real(x), source.to_real()
    if target is dt.complex32:
        return x.astype("c8")[..., None].view("f4").astype("f2").astype("f4").view("c8")[..., 0]
    if target in dt.FLOAT8:
        return float8.decode(float8.encode(x.astype("f4"), target), target)
    if target.numpy is None:  # round to nearest even, keep NaN
        bits = np.ascontiguousarray(x, "f4").view("u4")
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return np.where(np.isnan(x), np.uint32(0x7FC00000), rounded).astype("u4").view("f4")
    if target.kind == "b":
        return x != 0
    if source.kind == "f" and target.kind in "ui":
        if target is dt.uint64:
            large = x >= 2.0**63
            return _truncate(np.where(large, x - 2.0**63, x), np.dtype("i8")).view("u8") ^ (large.astype("u8") << 63)
        wide = np.dtype("i8" if target.itemsize == 8 or target.kind == "u" and target.itemsize != 2 else "i4")
        return _truncate(x, wide).astype(target.numpy)
    if target.name == "float16":
        x = x.astype("f4")
    return x.astype(target.numpy)


# Operations -----------------------------------------------------------------------------------------------------------


def _is_int(x: np.ndarray) -> bool:
    return x.dtype.kind in "ui"


def _fma(a, b, c):
    """Exact for float32: the sum of doubles is rounded to odd, then rounded once more; float64 in the widest type."""
    if a.dtype != "f4":
        return a.astype("g") * b + c
    product, c = a.astype("f8") * b, c.astype("f8")
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)
    even = np.ascontiguousarray(total).view("i8") & 1 == 0
    odd = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    return np.where((lost != 0) & even & np.isfinite(total), odd, total)


def _divisor(b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, b.dtype.type(1), b)


def _remainder(a, b):
    if _is_int(a):
        return np.where(b == 0, 0, np.remainder(a, _divisor(b)))
    mod = np.fmod(a, b)
    return np.where((mod != 0) & ((b < 0) != (mod < 0)), mod + b, mod)


def _floordiv(a, b):
    if _is_int(a):
        return np.where(b == 0, 0, np.floor_divide(a, _divisor(b)))
    mod = np.fmod(a, b)
    div = (a - mod) / b
    div = np.where((mod != 0) & ((b < 0) != (mod < 0)), div - 1, div)
    floor = np.floor(div)
    floor = np.where(div - floor > 0.5, floor + 1, floor)
    return np.where(b == 0, a / b, np.where(div == 0, np.copysign(a.dtype.type(0), a / b), floor))


def _truncdiv(a, b):
    if not _is_int(a):
        return np.trunc(a / b)
    q = np.floor_divide(a, _divisor(b))
    inexact = (q * b != a) & ((a < 0) != (b < 0))
    return np.where(b == 0, 0, q + inexact.astype(a.dtype))


def _fmod(a, b):
    return np.where(b == 0, 0, np.fmod(a, _divisor(b))) if _is_int(a) else np.fmod(a, b)


def _pow(a, b):
    if not _is_int(a):
        return np.power(a, b)
    a, b = np.broadcast_arrays(a, b)
    result, base, left = np.ones_like(a), a.copy(), b.copy()
    while (left > 0).any():
        result = np.where((left > 0) & (left & 1 == 1), result * base, result)
        base, left = base * base, left >> 1
    sign = np.where(a == 1, 1, np.where(a.astype("i8") == -1, np.where(b & 1 == 0, 1, -1), 0))
    return np.where(b < 0, sign.astype(a.dtype), result)


def _shl(a, b):
    bits = a.dtype.itemsize * 8
    return np.where((b < 0) | (b >= bits), 0, a << np.clip(b, 0, bits - 1).astype(a.dtype))


def _shr(a, b):
    bits = a.dtype.itemsize * 8
    out = (b < 0) | (b >= bits)
    shifted = a >> np.where(out, bits - 1, b).astype(a.dtype)
    return np.where(out, 0, shifted) if a.dtype.kind == "u" else shifted


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _angle(x):
    return (
        np.angle(x) if x.dtype.kind == "c" else np.where(np.isnan(x), x, np.where(np.signbit(x) & (x != 0), np.pi, 0.0))
    )


def _map(function: Callable[[float], float]) -> Callable:
    """A function of Python floats on arrays."""
    return lambda x: np.vectorize(function, otypes=["f8"])(x.astype("f8")) if x.size else x


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


def _digamma(x: float) -> float:
    if x == 0:
        return math.copysign(math.inf, -x)
    if math.isinf(x) or math.isnan(x):
        return x if x > 0 else math.nan
    if x < 0:
        return math.nan if x == math.floor(x) else _digamma(1 - x) - math.pi / math.tan(math.pi * math.fmod(x, 1))
    shift = 0.0
    while x < 10:
        shift, x = shift - 1 / x, x + 1
    y = 1 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    return shift + math.log(x) - 0.5 / x - series


def _erfinv(x: float) -> float:
    if not abs(x) < 1:
        return math.copysign(math.inf, x) if abs(x) == 1 else math.nan
    y = x * math.sqrt(math.pi) / 2
    if 1e-3 < abs(x) < 1 - 1e-16:
        y = NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)
    for _ in range(3):  # Newton's steps; far out with erfc, which keeps its digits there
        error = math.erf(y) - x if abs(y) < 1 else math.copysign(1 - abs(x) - math.erfc(abs(y)), y)
        y -= error * math.sqrt(math.pi) / 2 * math.exp(y * y)
    return y


FUNCTIONS: dict[str, Callable] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "fma": _fma, "floordiv": _floordiv, "remainder": _remainder,
    "truncdiv": _truncdiv, "fmod": _fmod, "abs": np.abs, "sign": lambda x: np.where(np.isnan(x), 0, np.sign(x)),
    "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint,
    "copysign": np.copysign, "nextafter": np.nextafter,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "isnan": np.isnan, "isinf": np.isinf, "signbit": lambda x: x < 0 if _is_int(x) else np.signbit(x),
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert, "shl": _shl, "shr": _shr,
    "select": np.where,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "pow": _pow, "sigmoid": _sigmoid,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "hypot": np.hypot,
    "erf": _map(math.erf), "erfc": _map(math.erfc), "erfinv": _map(_erfinv),
    "ndtr": _map(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5))),
    "lgamma": _map(_lgamma), "digamma": _map(_digamma),
    "real": np.real, "imag": np.imag, "complex": lambda a, b: a + 1j * b, "conj": np.conj, "angle": _angle,
}  # fmt: skip


def _complex(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    re, im = np.broadcast_arrays(re, im)
    out = np.empty(re.shape, np.result_type(re, 1j))
    out.real, out.imag = re, im
    return out


FUNCTIONS["complex"] = _complex

TRANSCENDENTAL = frozenset(
    "cbrt exp exp2 expm1 log log2 log10 log1p pow sigmoid sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh "
    "atanh hypot erf erfc erfinv ndtr lgamma digamma rsqrt".split()
)


# Reductions and scans, along axis -1 of the flattened row ------------------------------------------------------------


def _lowest(t: np.dtype):
    return False if t.kind == "b" else -np.inf if t.kind == "f" else np.iinfo(t).min


def _highest(t: np.dtype):
    return True if t.kind == "b" else np.inf if t.kind == "f" else np.iinfo(t).max


def _wide(x: np.ndarray) -> np.dtype:
    return {"f": np.dtype("f8"), "c": np.dtype("c16")}.get(x.dtype.kind, x.dtype)


REDUCTIONS: dict[str, Callable] = {
    "sum": lambda x: x.sum(-1, dtype=_wide(x)),
    "prod": lambda x: x.prod(-1, dtype=_wide(x)),
    "xor": lambda x: np.bitwise_xor.reduce(x, -1),
    "max": lambda x: x.max(-1, initial=_lowest(x.dtype)),
    "min": lambda x: x.min(-1, initial=_highest(x.dtype)),
    "any": lambda x: (x != 0).any(-1),
    "all": lambda x: (x != 0).all(-1),
    "argmax": lambda x: x.argmax(-1) if x.shape[-1] else np.zeros(x.shape[:-1], "i8"),
    "argmin": lambda x: x.argmin(-1) if x.shape[-1] else np.zeros(x.shape[:-1], "i8"),
}
SCANS: dict[str, Callable] = {
    "sum": lambda x: x.cumsum(-1, dtype=_wide(x)),
    "growth": lambda x: x.cumsum(-1, dtype=_wide(x)),
    "prod": lambda x: x.cumprod(-1, dtype=_wide(x)),
    "max": lambda x: np.maximum.accumulate(x, -1),
    "min": lambda x: np.minimum.accumulate(x, -1),
}


# The interpreter ------------------------------------------------------------------------------------------------------


class _Run:
    """One run of a kernel: where operands lie, and the value of each node so far."""

    def __init__(self, kernel: Kernel, outer: tuple[int, ...], row: tuple[int, ...], pointers, strides, params):
        self.outer, self.row, self.shape = outer, row, outer + row
        self.place = {o.name: (p, tuple(s), o) for o, p, s in zip(kernel.operands, pointers, strides)}
        self.params = {
            p.name: np.asarray(v).astype(p.dtype.numpy or ("c8" if p.dtype.kind == "c" else "f4"))
            for p, v in zip(kernel.params, params)
        }
        self.known: dict[Expr, np.ndarray] = {}
        self.allowed: np.ndarray | np.bool = np.True_  # where gathers and scatters may go: all checks so far hold

    def coordinate(self, dim: int) -> np.ndarray:
        """The index along `dim`, shaped to broadcast over the iteration space."""
        return np.arange(self.shape[dim]).reshape([-1 if d == dim else 1 for d in range(len(self.shape))])

    def positions(self, strides: tuple[int, ...]) -> np.ndarray:
        moving = [self.coordinate(d) * s for d, s in enumerate(strides) if s]
        return sum(moving, np.zeros((1,) * len(self.shape), "i8"))

    def value(self, node: Expr) -> np.ndarray:
        if node not in self.known:
            self.known[node] = self.evaluate(node)
        return self.known[node]

    def evaluate(self, node: Expr) -> np.ndarray:
        match node.op:
            case "const":
                return np.asarray(node.value, node.dtype.numpy or ("c8" if node.dtype.kind == "c" else "f4"))
            case "param":
                return self.params[node.value]
            case "index":
                return self.coordinate(node.value)
            case "extent":
                return np.asarray(self.shape[node.value])
            case "row_index":
                return np.arange(math.prod(self.row)).reshape((1,) * len(self.outer) + self.row)
            case "count":
                return np.asarray(math.prod(self.row))
            case "load":
                return self.load(node)
            case "cast":
                return _cast(self.value(node.args[0]), node.args[0].dtype, node.dtype)
            case "bitcast":
                source = node.args[0].dtype
                value = np.ascontiguousarray(self.value(node.args[0]))
                value = value if source.numpy is not None else encode(value, source)
                return decode(value.view(bits(node.dtype)), node.dtype)
            case "reduce":
                rows = self.rows(node.args[0])
                return REDUCTIONS[node.value](rows).astype(node.dtype.numpy).reshape(self.outer + (1,) * len(self.row))
            case "scan":
                rows = self.rows(node.args[0])
                return SCANS[node.value](rows).astype(node.dtype.numpy).reshape(self.shape)
            case "loop":
                return self.loop(node)
        args = [self.value(a) for a in node.args]
        if node.op in TRANSCENDENTAL and node.dtype.code == "f32":  # rounded once, at the end
            args = [a.astype("f8") for a in args]
        result = FUNCTIONS[node.op](*args)
        return np.asarray(result).astype(node.dtype.numpy)

    def loop(self, node: Expr) -> np.ndarray:
        of, inner = node.value, copy.copy(self)
        held = [np.asarray(x) for x in np.broadcast_arrays(*(self.value(a) for a in node.args))]
        while True:
            inner.known = dict(zip(of.variables, held))
            more = np.broadcast_to(inner.value(of.more), held[0].shape)
            if not more.any():
                return inner.value(of.found)
            changed = [np.where(more, inner.value(step), old) for step, old in zip(of.steps, held)]
            held[: len(changed)] = changed

    def rows(self, node: Expr) -> np.ndarray:
        return np.broadcast_to(self.value(node), self.shape).reshape(self.outer + (math.prod(self.row),))

    def load(self, node: Expr) -> np.ndarray:
        name, has_offset, has_where = node.value
        ptr, strides, operand = self.place[name]
        positions = self.positions(strides)
        where = self.value(node.args[-1]) if has_where else np.True_
        if has_offset:
            positions = positions + self.value(node.args[0])
            where = where & self.allowed
        positions, where = np.broadcast_arrays(positions, where)
        raw = np.zeros(positions.shape, bits(operand.dtype))
        if where.any():
            block, inside = memory(ptr, positions[where], operand.dtype)
            raw[where] = block[inside]
        return decode(raw, operand.dtype)

    def store(self, result: Result) -> None:
        ptr, strides, _ = self.place[result.name]
        shape = self.outer + (1,) * len(self.row) if result.per_row else self.shape
        positions = self.positions(strides)
        where = np.True_ if result.where is None else self.value(result.where)
        if result.offset is not None:
            positions = positions + self.value(result.offset)
            where = where & self.allowed
        positions, where, value = (np.broadcast_to(x, shape) for x in (positions, where, self.value(result.value)))
        if not where.any():
            return
        positions, value = positions[where], value[where]  # flat, in row-major order
        block, inside = memory(ptr, positions, result.dtype)
        if result.combine == "set":
            block[inside] = encode(_cast(value, result.value.dtype, result.dtype), result.dtype)
            return
        join = FUNCTIONS[result.combine]
        for at, more in zip(inside, value):  # one by one: each result is rounded to the type in memory
            before = decode(block[at : at + 1], result.dtype)
            after = _cast(join(before.astype(value.dtype), more), result.value.dtype, result.dtype)
            block[at : at + 1] = encode(after, result.dtype)


def run(
    kernel: Kernel,
    extents: tuple[Sequence[int], Sequence[int]],
    pointers: Sequence[int],
    strides: Sequence[Sequence[int]],
    params: Sequence[Any] = (),
) -> int | tuple[int, int] | None:
    """Interpret `kernel`.

    Parameters
    ----------
    extents : sizes of the outer dims and of the row dims
    pointers : an address for each of `kernel.operands`
    strides : for each operand, in elements, for every dim of the iteration (per_row results: the outer dims)
    params : a number for each of `kernel.params`

    Returns
    -------
    None, or the `value` of the first failing check: its first failing element in row-major order. Kernels with
    several checks return (number of the check, value).

    Examples
    --------
    >>> import numpy as np
    >>> from facula.core import dtype as dt
    >>> from facula.ir.expr import load
    >>> from facula.ir.kernel import Input, Kernel, Result
    >>> x = load("x", dt.float32)
    >>> kernel = Kernel("double", (Input("x", dt.float32),), (Result("out", dt.float32, x + x),))
    >>> a, out = np.arange(3, dtype="f4"), np.empty(3, "f4")
    >>> run(kernel, ((3,), ()), (out.ctypes.data, a.ctypes.data), ((1,), (1,)))
    >>> out
    array([0., 2., 4.], dtype=float32)
    """
    outer, row = map(tuple, extents)
    if math.prod(outer) == 0:
        return None
    failed = None
    with np.errstate(all="ignore"):
        state = _Run(kernel, outer, row, pointers, strides, params)
        for number, check in enumerate(kernel.checks):
            holds = np.broadcast_to(state.value(check.holds), state.shape)
            if failed is None and not holds.all():
                first = np.unravel_index(int(np.argmin(holds)), state.shape)
                value = int(np.broadcast_to(state.value(check.value), state.shape)[first])
                failed = value if len(kernel.checks) == 1 else (number, value)
            state.allowed = state.allowed & holds
        for result in kernel.results:  # all reads come before all writes: a result may be an input
            for node in (result.value, result.offset, result.where):
                if node is not None:
                    state.value(node)
        for result in kernel.results:
            state.store(result)
    return failed


def compile(kernel: Kernel, access: Access) -> Callable:
    """A function with the arguments of a compiled kernel (`facula.ir.kernel.arguments`) that interprets it."""
    names = arguments(kernel, access)
    dims = access.outer + access.row

    def stride(given: dict[str, Any], name: str, letters: str, d: int) -> int:
        known = known_step(access.outer, access.row, letters, d)
        return given[f"{name}.s{d}"] if known is None else known

    def call(*values):
        given = dict(zip(names, values, strict=True))
        sizes = [given[f"n{d}"] for d in range(dims)]
        strides = []
        for operand, letters in zip(kernel.operands, access.inner):
            last = access.outer if isinstance(operand, Result) and operand.per_row else dims
            strides.append([stride(given, operand.name, letters, d) for d in range(last)])
        pointers = [given[f"{o.name}.ptr"] for o in kernel.operands]
        extents = (sizes[: access.outer], sizes[access.outer :])
        params = [
            complex(given[f"{p.name}.re"], given[f"{p.name}.im"]) if p.dtype.kind == "c" else given[p.name]
            for p in kernel.params
        ]
        return run(kernel, extents, pointers, strides, params)

    return call


def new_storage(nbytes: int) -> Storage:
    """Uninitialised memory, held by a NumPy array."""
    block = np.empty(nbytes + 64, np.uint8)
    return Storage(block.ctypes.data + -block.ctypes.data % 64, nbytes, block)


def empty(spec: Spec) -> Tensor:
    """An uninitialised tensor of a dense spec."""
    out = object.__new__(Tensor)
    out.spec, out.storage = spec, new_storage(spec.nbytes)
    out.ptr = out.storage.ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out
