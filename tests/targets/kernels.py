"""Runs kernels on machine code and on the reference target side by side; the helpers raise where they differ."""

import itertools
import math

import numpy as np

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir import expr as ir
from facula.ir.expr import Expr
from facula.ir.kernel import Access, Input, Kernel, Param, Result, arguments
from facula.targets.reference import interpreter as reference
from facula.targets.reference import memory

MARGIN = 64  # elements before and after each operand that nobody may write

FLOAT_EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -2.5, 2.0, 3.0, -3.0, 7.0, 1e-3, 1e-40, -1e-40, 1e-30, 1e30, -1e30, 100.0,
    -100.0, 65504.0, 65520.0, 255.0, 256.0, -129.0, 2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 3e9, math.inf, -math.inf,
    math.nan,
]  # fmt: skip


def edges(t: dtype) -> np.ndarray:
    """Values at which kernels go wrong, as they lie in memory."""
    if t.kind == "b":
        return np.array([0, 1, 1, 0], "u1").view("?")
    if t.kind in "ui":
        info = np.iinfo(t.numpy)
        values = [0, 1, 2, 3, 5, 7, 8, 31, 33, 63, 64, 100, info.max, info.max - 1, info.min, info.min + 1]
        values += [-1, -2, -3, -7, -100] if t.kind == "i" else []
        return np.array(values, t.numpy)
    with np.errstate(all="ignore"):
        if t.kind == "c":
            wide = t.numpy or np.dtype("c8")
            parts = np.array([0.0, -0.0, 1.0, -1.5, 2.0, 0.25, -30.0, math.inf, -math.inf, math.nan])
            out = np.empty((len(parts), len(parts)), wide)
            out.real, out.imag = parts[:, None], parts[None, :]
            return to_memory(out.ravel(), t)
        if t in dt.FLOAT8:
            return np.arange(256).astype("u1")
        extra = [np.finfo(t.numpy).max, np.finfo(t.numpy).tiny] if t.numpy is not None else [3.38e38, 1.18e-38]
        values = np.array(FLOAT_EDGES + [float(x) for x in extra])
        return to_memory(values, t)


def to_memory(values: np.ndarray, t: dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        if t.numpy is None:
            wide = dt.complex64 if t.kind == "c" else dt.float32
            return memory.encode(reference._cast(values.astype(wide.numpy), wide, t), t)
        return values.astype(t.numpy)


def from_memory(raw: np.ndarray, t: dtype) -> np.ndarray:
    return memory.decode(raw, t) if t.numpy is None else raw


def samples(t: dtype, count: int, seed: int = 0, plain: bool = False) -> np.ndarray:
    """`count` values: the edges (unless plain), then random ones."""
    random = np.random.default_rng(seed)
    if t.kind == "b":
        found = random.integers(0, 2, count).astype("?")
    elif t.kind in "ui":
        info = np.iinfo(t.numpy)
        low, high = (max(info.min, -9), 9) if plain else (info.min, info.max)
        wide = "u8" if t.code == "u64" else "i8"
        found = random.integers(low, high, count, endpoint=True, dtype=wide).astype(t.numpy)
    elif t.kind == "c":
        found = to_memory(random.standard_normal(count) + 1j * random.standard_normal(count), t)
    else:
        found = to_memory(random.standard_normal(count) * (1 if plain else np.exp(random.uniform(-3, 3, count))), t)
    if not plain:
        special = edges(t)[:count]
        found[: len(special)] = special
        random.shuffle(found)
    return found


def dense(shape) -> tuple[int, ...]:
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(reversed(steps))


def layouts(shape) -> dict[str, tuple[int, ...]]:
    """Strides of several kinds for one shape."""
    rank, own = len(shape), dense(shape)
    found = {"dense": own, "step": tuple(2 * s for s in own)}
    if rank:
        found["last still"] = (*dense(shape[:-1]), 0)
        found["backward"] = (*(s for s in own[:-1]), -own[-1])
    if rank > 1:
        turned = dense(shape[::-1])[::-1]
        found["turned"] = turned
        found["first still"] = (0, *dense(shape[1:]))
        found["padded"] = tuple(s if d == rank - 1 else s // max(own[-2], 1) * (own[-2] + 3) for d, s in enumerate(own))
    return found


def access(kernel: Kernel, outer, row, strides) -> Access:
    """The access pattern that a launcher would choose for these strides, dims as they are."""
    letters = []
    for operand, own in zip(kernel.operands, strides):
        step = lambda s: "1" if s == 1 else "0" if s == 0 else "s"  # noqa: E731
        per_row = isinstance(operand, Result) and operand.per_row
        first = step(own[len(outer) - 1])
        if first == "s" and not row and len(outer) > 1 and own[-2] == 1:
            first = "t"
        letters.append(first + ("" if not row else "0" if per_row else step(own[-1])))
    return Access(len(outer), len(row), tuple(letters))


def argument_values(kernel: Kernel, how: Access, outer, row, pointers, strides, params) -> list:
    given = {f"n{d}": n for d, n in enumerate((*outer, *row))}
    for operand, pointer, own in zip(kernel.operands, pointers, strides):
        given[f"{operand.name}.ptr"] = pointer
        given.update({f"{operand.name}.s{d}": s for d, s in enumerate(own)})
    for p, value in zip(kernel.params, params):
        if p.dtype.kind == "c":
            given[f"{p.name}.re"], given[f"{p.name}.im"] = value.real, value.imag
        else:
            given[p.name] = value
    return [given[name] for name in arguments(kernel, how)]


class Place:
    """An operand's memory: a margin, the elements, a margin."""

    def __init__(self, t: dtype, shape, strides, seed: int, plain: bool, values: np.ndarray | None, reach: int = 0):
        reachable = [0, *itertools.accumulate([(n - 1) * s for n, s in zip(shape, strides) if n > 0 and s < 0])]
        low = min(reachable)
        high = sum((n - 1) * s for n, s in zip(shape, strides) if n > 0 and s > 0) + reach
        self.first = MARGIN - low
        self.t = t
        count = high - low + 1 + 2 * MARGIN
        self.data = samples(t, count, seed, plain)
        if values is not None:
            inside = self.data[MARGIN : count - MARGIN]
            inside[: values.size] = values.ravel()[: inside.size]

    def copy(self) -> "Place":
        other = object.__new__(Place)
        other.first, other.t, other.data = self.first, self.t, self.data.copy()
        return other

    @property
    def ptr(self) -> int:
        return self.data.ctypes.data + self.first * self.data.itemsize


def ulps(t: dtype) -> float:
    return {
        "f16": 2.0**-10, "bf16": 2.0**-7, "f32": 2.0**-23, "f64": 2.0**-52, "c32": 2.0**-10, "c64": 2.0**-23,
        "c128": 2.0**-52,
    }.get(t.code, 0)  # fmt: skip


def assert_equal(got: np.ndarray, want: np.ndarray, t: dtype, tolerance: float, what: str, least: float = 0.0) -> None:
    """Elements equal within `tolerance` units in the last place (of numbers not smaller than `least`).

    NaN equals NaN; 0.0 and -0.0 differ where `tolerance` is 0.
    """
    got, want = from_memory(got, t), from_memory(want, t)
    if t.kind == "c" and tolerance:
        with np.errstate(all="ignore"):
            scale = np.maximum(np.abs(want), max(least, float(np.finfo(want.real.dtype).tiny)))
            near = np.abs(got - want) <= tolerance * ulps(t) * scale
            near |= (
                (np.isnan(got.real) == np.isnan(want.real))
                & (np.isnan(got.imag) == np.isnan(want.imag))
                & ~np.isfinite(want)
            )
        bad = ~near
    elif t.kind in "fc":
        parts = [(got, want)] if t.kind == "f" else [(got.real, want.real), (got.imag, want.imag)]
        bad = np.zeros(got.shape, "?")
        with np.errstate(all="ignore"):
            for g, w in parts:
                same = (g == w) & (np.signbit(g) == np.signbit(w)) if tolerance == 0 else g == w
                same |= np.isnan(g) & np.isnan(w)
                if tolerance:
                    floor = float(np.finfo(w.dtype).tiny) if t.numpy is not None else 1e-38
                    same |= np.abs(g - w) <= tolerance * ulps(t) * np.maximum(np.abs(w), max(floor, least))
                bad |= ~same
    else:
        bad = got.view("u1") != want.view("u1") if t.kind == "b" else got != want
    if bad.any():
        at = int(np.argmax(bad))
        raise AssertionError(
            f"{what}: {int(bad.sum())} of {bad.size} differ, first at {at}: got {got[at]!r}, want {want[at]!r}"
        )


def shape_of(operand: Input | Result, outer: tuple, row: tuple) -> tuple:
    return outer if isinstance(operand, Result) and operand.per_row else outer + row


def given_or_dense(kernel: Kernel, outer: tuple, row: tuple, strides=None) -> list[tuple[int, ...]]:
    """The strides of all operands, dense where none were given."""
    given = strides if strides is not None else [None] * len(kernel.operands)
    return [
        tuple(own) if own is not None else dense(shape_of(operand, outer, row))
        for operand, own in zip(kernel.operands, given)
    ]


def check_kernel(
    compile,
    kernel: Kernel,
    outer,
    row=(),
    strides=None,
    params=(),
    *,
    values=None,
    tolerance=0.0,
    plain=False,
    seed=1,
    reach=None,
    least=0.0,
):
    """Runs `kernel` on `compile`'s code and on the reference from equal memory; raises where any byte differs.

    `strides` default to dense ones; `values` gives the contents of operands by name; `reach` how many elements beyond
    its layout an operand's offsets touch. Returns what both returned.
    """
    outer, row = tuple(outer), tuple(row)
    places = []
    strides = given_or_dense(kernel, outer, row, strides)
    for i, operand in enumerate(kernel.operands):
        content = (values or {}).get(operand.name)
        shape = shape_of(operand, outer, row)
        places.append(
            Place(operand.dtype, shape, strides[i], seed + i, plain, content, (reach or {}).get(operand.name, 0))
        )
    expected = [p.copy() for p in places]
    how = access(kernel, outer, row, strides)
    want = reference.run(kernel, (outer, row), [p.ptr for p in expected], strides, params)
    function = compile(kernel, how)
    got = function(*argument_values(kernel, how, outer, row, [p.ptr for p in places], strides, params))
    if got != want:
        raise AssertionError(f"{kernel.name}: returned {got!r}, the reference {want!r}")
    for operand, mine, theirs in zip(kernel.operands, places, expected):
        label = f"{kernel.name} {operand.name} {outer}x{row} {how.inner}"
        exact = isinstance(operand, Input)
        assert_equal(mine.data, theirs.data, operand.dtype, 0.0 if exact else tolerance, label, least)
    return got


def opmath(t: dtype) -> dtype:
    """What a stored dtype is computed in."""
    if t not in dt.STORED_ONLY:
        return t
    return dt.complex64 if t.kind == "c" else dt.float32


def loaded(name: str, t: dtype) -> Expr:
    return ir.cast(ir.load(name, t), opmath(t))


def map_kernel(
    name: str, body, inputs: list[dtype], result: dtype | None = None, params: tuple[Param, ...] = ()
) -> Kernel:
    """The kernel of `body(*loaded inputs)`."""
    names = "xyzw"[: len(inputs)]
    value = body(*(loaded(n, t) for n, t in zip(names, inputs)))
    result = result or (inputs[0] if value.dtype is opmath(inputs[0]) else value.dtype)
    return Kernel(name, tuple(Input(n, t) for n, t in zip(names, inputs)), (Result("out", result, value),), params)
