"""What a row of the samples table is, and how its plain data become tensors of facula, PyTorch or arrays of NumPy.

`samples.py` has the rows; further files `samples_<family>.py` beside it are read too. Nothing here asserts anything.
"""

import importlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

FLOATS = ("float32", "float64", "float16", "bfloat16")
KINDS = {
    "b": ("bool",), "u": ("uint8",), "i": ("int64", "int32", "int16", "int8"), "f": FLOATS,
    "c": ("complex64", "complex128"),
}  # fmt: skip
ALL = tuple(name for kind in "fcuib" for name in KINDS[kind])
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
NUMPY = {**{n: n for n in ALL}, "bfloat16": "float32"}
LAYOUTS = ("dense", "transposed", "strided", "offset")


@dataclass(frozen=True)
class T:
    """A tensor to be made: numbers drawn from [low, high), or `values`; dtype None is that of the run."""

    shape: tuple[int, ...] = ()
    dtype: str | None = None
    low: float = -2.0
    high: float = 2.0
    values: Any = None
    grad: bool = True  # differentiate by it, where its dtype allows
    away: float = 0.0  # numbers are at least so far from 0
    distinct: bool = False  # all numbers differ by much: no ties
    fixed: bool = False  # always laid out densely
    kink: bool = False  # its numbers sit where the function has no slope


@dataclass(frozen=True)
class Sample:
    """The arguments of one call."""

    args: tuple
    kwargs: dict


@dataclass(frozen=True)
class Bad:
    """A call that must fail: the exception and the first words of its message."""

    args: tuple
    kwargs: dict
    error: type[BaseException]
    words: str


@dataclass(frozen=True)
class Row:
    """All that the generic checks know about one public operator."""

    name: str  # "add": torch.add; "Tensor.view", "nn.functional.relu", "linalg.norm"
    samples: tuple[Sample, ...]
    kinds: str = "buifc"  # of dtypes for the run
    grad: bool = True  # whether it is differentiable
    second: bool = True  # whether second derivatives are checked
    numpy: Callable | None = None  # the same function of NumPy arrays
    errors: tuple[Bad, ...] = ()
    covers: tuple[str, ...] = ()  # internal operators (names in OPERATORS) that it drives
    tolerance: dict[str, tuple[float, float]] = field(default_factory=dict)  # dtype -> (rtol, atol), looser than usual
    refused: tuple[str, ...] = ()  # dtypes of `kinds` that it does not take all the same
    more: tuple[str, ...] = ()  # dtypes that facula takes though PyTorch does not: docs/differences.md
    lacks: tuple[str, ...] = ()  # dtypes that PyTorch takes and facula refuses: docs/differences.md
    out: bool = True  # whether it has out=
    strides: bool = True  # whether the result's strides are those of PyTorch
    method: bool = True  # whether Tensor has it too (where the first argument is a tensor)
    slopes: bool = (
        True  # whether gradients are slopes (not so: running statistics change, padding has none by definition)
    )
    blind: tuple[str, ...] = ()  # dtypes whose values differ in the last place by nature: only shapes are compared
    compare: bool = True  # whether its values are defined (not those of empty)
    layouts: bool = True

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(d for d in ALL if KIND_OF[d] in self.kinds and d not in self.refused)


ROWS: dict[str, Row] = {}


def row(name: str, samples: Iterable[Sample] | Sample, kinds: str = "buifc", **options) -> Row:
    """Add a row to the table."""
    if name in ROWS:
        raise ValueError(f"two rows of samples for {name}")
    samples = (samples,) if isinstance(samples, Sample) else tuple(samples)
    options["errors"] = tuple(options.get("errors", ()))
    ROWS[name] = found = Row(name, samples, kinds, **options)
    return found


def t(*shape: int, **options) -> T:
    """A tensor of this shape."""
    return T(tuple(shape), **options)


def index(*shape: int, below: int, **options) -> T:
    """An int64 tensor of indices from 0 to before `below`."""
    return T(tuple(shape), "int64", 0, below, grad=False, **options)


def mask(*shape: int, **options) -> T:
    """A bool tensor."""
    return T(tuple(shape), "bool", grad=False, **options)


def s(*args, **kwargs) -> Sample:
    """A call with these arguments."""
    return Sample(args, kwargs)


def bad(error: type[BaseException], words: str, *args, **kwargs) -> Bad:
    """A call that must fail so."""
    return Bad(args, kwargs, error, words)


# --- plain data to tensors ----------------------------------------------------------------------------------------


def array_of(what: T, dtype: str, seed: int) -> np.ndarray:
    """The numbers of a tensor; bfloat16 as float32."""
    name = what.dtype or dtype
    kind = KIND_OF[name]
    if what.values is not None and kind == "c" and not np.isfinite(np.array(what.values)).all():
        # Infinities and NaN as parts of complex numbers are the C library's business: ordinary numbers there.
        rng = np.random.default_rng(seed)
        shape = np.shape(what.values)
        return (rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)).astype(name)
    if what.values is not None:
        return np.array(what.values).astype(NUMPY[name]).reshape(what.shape or np.shape(what.values))
    rng = np.random.default_rng(seed)
    n = int(np.prod(what.shape))
    if what.distinct:
        step = (what.high - what.low) / max(n, 1)
        found = what.low + (rng.permutation(n) + 0.25 + 0.5 * rng.random(n)) * step
        if kind in "ui":
            found = rng.permutation(n) % 100
        return (
            found.reshape(what.shape).astype(NUMPY[name])
            if kind != "b"
            else rng.integers(0, 2, what.shape).astype(bool)
        )
    if kind == "b":
        return rng.integers(0, 2, what.shape).astype(bool)
    if kind in "ui":
        low, high = int(np.floor(what.low)), int(np.ceil(what.high))
        if (low, high) == (-2, 2):
            low, high = -5, 6
        low = max(low, 0) if kind == "u" else low
        found = rng.integers(low, max(high, low + 1), what.shape)
        if what.away:
            found = np.where(found == 0, 1, found)
        return found.astype(name)
    found = rng.uniform(what.low, what.high, what.shape)
    if kind == "c":
        found = found + 1j * rng.uniform(what.low, what.high, what.shape)
    if what.away:
        found = np.where(np.abs(found) < what.away, found + what.away * np.where(found.real < 0, -2, 2), found)
    return np.asarray(found).astype(NUMPY[name])


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in other memory: transposed, every second one, or behind some others."""
    if layout == "dense" or (array.ndim == 0 and layout != "offset"):
        return array
    if layout == "transposed":
        return np.ascontiguousarray(array.T).T
    if layout == "strided":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 0] = array
        return wide[..., 0]
    room = np.zeros(array.size + 3, array.dtype)
    room[3:] = array.reshape(-1)
    return room[3:].reshape(array.shape)


def seed_of(name: str, number: int, position: int) -> int:
    return zlib.crc32(f"{name}/{number}/{position}".encode())


class Maker:
    """Makes the arguments of a sample for one framework (the module `torch` or `facula`), dtype and layout."""

    def __init__(self, torch, dtype: str, layout: str = "dense", requires_grad: bool = False):
        self.torch, self.dtype, self.layout, self.requires_grad = torch, dtype, layout, requires_grad

    def call(self, name: str, number: int, sample: Sample | Bad) -> tuple[tuple, dict, list]:
        """(args, kwargs, the tensors that were made, in order)."""
        self.made: list = []
        self.key = (name, number)
        args = tuple(self.value(a) for a in sample.args)
        kwargs = {k: self.value(v) for k, v in sample.kwargs.items()}
        return args, kwargs, self.made

    def value(self, x):
        if isinstance(x, T):
            return self.tensor(x)
        if isinstance(x, (list, tuple)):
            return type(x)(self.value(y) for y in x)
        if isinstance(x, D):
            return getattr(self.torch, self.dtype if x.name is None else x.name)
        return x

    def tensor(self, what: T):
        array = array_of(what, self.dtype, seed_of(*self.key, len(self.made)))
        name = what.dtype or self.dtype
        layout = "dense" if what.fixed or name == "bfloat16" else self.layout
        made = self.torch.from_numpy(laid_out(array, layout))
        if name == "bfloat16":
            made = made.to(self.torch.bfloat16)
        if self.requires_grad and what.grad and KIND_OF[name] in "fc":
            made.requires_grad_()
        self.made.append(made)
        return made


class Arrays(Maker):
    """Makes NumPy arrays in place of tensors; `wide`: float64 ones."""

    wide = False

    def __init__(self, dtype: str):
        super().__init__(np, dtype)

    def tensor(self, what: T):
        made = array_of(what, self.dtype, seed_of(*self.key, len(self.made)))
        if self.wide:
            made = made.astype(np.float64)
        self.made.append(made)
        return made


@dataclass(frozen=True)
class D:
    """A dtype as an argument: by name, or (None) that of the run."""

    name: str | None = None


def resolve(torch, name: str) -> Callable:
    """`torch.<name>`, also with dots."""
    found = torch
    for part in name.split("."):
        if part in ("nn", "functional", "linalg", "special", "fft"):
            found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


def flat(result) -> list:
    """All tensors and numbers of a result."""
    if isinstance(result, (list, tuple)) and type(result).__name__ != "Size":
        return [y for x in result for y in flat(x)]
    return [result]


def load_all() -> dict[str, Row]:
    """The whole table, with the rows of all families."""
    here = Path(__file__).parent
    for file in sorted(here.glob("samples*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
    return ROWS


def without(row: Row, **changes) -> Row:
    """A row with some fields changed."""
    return replace(row, **changes)
