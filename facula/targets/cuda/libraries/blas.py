"""Matrix products by cuBLASLt: what is asked for once for each shape, settings and alignment, and then only called.

`operation` says how operands are given to the library; `product` is for what the library does not do.
"""

import ctypes
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache as remembered
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from facula.core import dtype as dt
from facula.core import precision
from facula.core.dtype import dtype
from facula.core.precision import Products
from facula.ir import expr as ir
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, TRANSPOSED, Access, Input, Kernel, Result

from .. import driver, launcher
from ..code import Code
from ..routines import dots
from ..routines import product as generated
from . import cublaslt as lt
from . import direct
from .cublaslt import Descriptor
from .operation import Operand, Operation, Way, operation, orientations, stored, way

__all__ = [
    "Kind", "Mixed", "Product", "bind_activated_product", "bind_product", "bind_product_and_sums", "mixed_product",
    "product",
]  # fmt: skip

ALIGNED = 256  # bytes: what is better aligned than this is of no use to the library

Run = Callable[[int, int, int, int], None]  # c, a, b, bias


def workspace_limit(gpu: driver.Device) -> int:
    """Bytes that a product may use besides its operands: what NVIDIA advises, and PyTorch takes."""
    return 32 << 20 if gpu.capability >= (9, 0) else 4 << 20


class Kind(NamedTuple):
    """What is multiplied and what comes out, beside sizes and strides."""

    a: dtype
    b: dtype
    result: dtype
    epilogue: int = lt.EPILOGUE_DEFAULT  # besides the bias
    scales: int | None = None  # of 8-bit floats: one for each operand, or one for each row of A and column of B
    fast: bool = False  # 8-bit floats: sums are not put into wider ones now and then
    summed: str = ""  # the operand whose sums along k are a second result: those of rows of "a", or of columns of "b"

    @staticmethod
    def plain(element: dtype) -> "Kind":
        """All of one dtype."""
        return Kind(element, element, element)

    def turned(self) -> "Kind":
        """That of the transposed matrices."""
        return self._replace(a=self.b, b=self.a, summed={"a": "b", "b": "a"}.get(self.summed, ""))

    @property
    def added(self) -> dtype:
        """The dtype of what is added to the product: 8-bit floats are not."""
        return dt.bfloat16 if self.result.itemsize == 1 else self.result


def computing(kind: Kind, allowed: Products) -> tuple[int, dtype, int]:
    """The type of sums, the dtype of factors, and how parts of sums may be put together."""
    element = kind.a
    if element is dt.float16 or element is dt.bfloat16:
        narrow, parts = allowed.fp16_reduced if element is dt.float16 else allowed.bf16_reduced
        reduce = lt.REDUCE_ANY if narrow else lt.REDUCE_WIDE if parts else lt.REDUCE_NOT
        if element is dt.float16 and allowed.fp16_accumulation and kind.result is element:
            return lt.COMPUTE_16F, dt.float16, reduce
        return lt.COMPUTE_32F, dt.float32, reduce
    if element is dt.float32 or element is dt.complex64:
        return lt.COMPUTE_FAST_TF32 if allowed.tf32 else lt.COMPUTE_32F, element, lt.REDUCE_ANY
    if element is dt.int8:
        return lt.COMPUTE_32I, dt.int32, lt.REDUCE_ANY
    if element.itemsize == 1:
        return lt.COMPUTE_32F, dt.float32, lt.REDUCE_ANY
    return lt.COMPUTE_64F, element, lt.REDUCE_ANY


ELEMENTS = (dt.float32, dt.float64, dt.float16, dt.bfloat16, dt.complex64, dt.complex128)
WITH_EPILOGUES = (dt.float32, dt.float16, dt.bfloat16)  # of which there is more than a product and a bias


# Copies ---------------------------------------------------------------------------------------------------------------

_OF_SIZE = {2: dt.uint16, 4: dt.uint32, 8: dt.uint64, 16: dt.complex128}  # what is copied as it is


@remembered
def _copy_code(unit: dtype, dims: int, letters: tuple[str, str], gpu: driver.Device) -> Code:
    kernel = Kernel("matrix_copy", (Input("input", unit),), (Result("out", unit, ir.load("input", unit)),))
    return Code(kernel, Access(dims, 0, letters))


def copying(itemsize: int, sizes: Sequence[int], to: Operand, start: Operand) -> Callable[[int, int], None]:
    """What copies a batch of matrices to another address, where they lie otherwise."""
    dims = sorted((d for d in range(4) if sizes[d] > 1 and to[d]), key=lambda d: -abs(to[d])) or [3]
    values, letters = [sizes[d] for d in dims], []
    for x in (to, start):
        steps = [x[d] if sizes[d] > 1 else 1 for d in dims]
        letter = {1: CONTIGUOUS, 0: BROADCAST}.get(steps[-1], STRIDED)
        if letter == STRIDED and steps[-2:-1] == [1]:
            letter = TRANSPOSED
        told = {STRIDED: None, TRANSPOSED: len(steps) - 2}.get(letter, len(steps) - 1)
        values += [step for d, step in enumerate(steps) if d != told]
        letters.append(letter)
    code = _copy_code(_OF_SIZE[itemsize], len(dims), (letters[0], letters[1]), driver.gpu())
    return lambda to, start: code(to, start, *values)


# Calls ----------------------------------------------------------------------------------------------------------------


class Call:
    """One call of the library, of operands that lie as `op` says (in the library's orientation)."""

    __slots__ = (
        "algorithm", "descriptor", "factors", "gpu", "handle", "layouts", "library", "lock", "named", "other", "places",
        "row", "seen", "treat", "turned", "words", "workspace",
    )  # fmt: skip

    def __init__(
        self, op: Operation, kind: Kind, turned: bool, treat: str, allowed: Products, aligned: dict[str, int],
        pointers: tuple[int, ...],
    ):  # fmt: skip
        self.gpu = driver.gpu()
        self.gpu.enter()
        self.library, self.handle = lt.library(), lt.handle(self.gpu)
        self.turned, self.treat, self.lock = turned, treat, threading.Lock()
        self.row = treat in ("vector", "sums")  # the bias, or what is in its place, is the descriptor's
        self.other = kind.added is not kind.result  # C cannot be where the result is
        compute, factor, reduce = computing(kind, allowed)
        a, b, c = (stored(*op.shape(name)[2:], getattr(op, name)) for name in "abc")
        assert a is not None and b is not None and c is not None and not c.transposed
        self.descriptor = Descriptor(
            "MatmulDesc", compute, lt.TYPES[factor], TRANSA=int(a.transposed), TRANSB=int(b.transposed)
        )
        # Addresses that are the descriptor's, and not arguments of the call.
        self.named = ("BIAS_POINTER",) * self.row
        if kind.scales is not None:
            self.named += ("B_SCALE_POINTER", "A_SCALE_POINTER") if turned else ("A_SCALE_POINTER", "B_SCALE_POINTER")
            self.descriptor.set("FAST_ACCUM", int(kind.fast))
            if kind.scales != lt.SCALE_ONE:
                self._scale_by(kind.scales)
        self.seen: tuple[int, ...] = ()
        self.words: Any = None  # for machine code, where there is nothing but a call
        self._point(pointers if self.row else pointers[1:])
        bits = (kind.epilogue & ~lt.EPILOGUE_DEFAULT) | (lt.EPILOGUE_BIAS if treat == "vector" else 0)
        bits |= {"a": lt.EPILOGUE_SUM_A, "b": lt.EPILOGUE_SUM_B}.get(kind.summed, 0)
        if bits:
            self.descriptor.set("EPILOGUE", bits)
        if treat == "vector":
            if op.bias.batch:
                self.descriptor.set("BIAS_BATCH_STRIDE", op.bias.batch)
            if self.other:
                self.descriptor.set("BIAS_DATA_TYPE", lt.TYPES[kind.added])
        self.layouts = [
            _layout(kind.a, op.batch, a[1:], op.a.batch), _layout(kind.b, op.batch, b[1:], op.b.batch),
            _layout(kind.result, op.batch, c[1:], op.c.batch),
        ]  # fmt: skip
        added = self.layouts[2]
        if treat == "matrix":
            added = _layout(kind.added, op.batch, (op.m, op.n, op.bias.col if op.n > 1 else op.m), op.bias.batch)
        elif self.other:
            added = _layout(kind.added, op.batch, c[1:], op.c.batch)
        self.layouts.insert(2, added)
        self.factors = np.array([op.alpha, 1 if treat in ("matrix", "copied") else op.beta], factor.numpy)
        preference = Descriptor(
            "MatmulPreference", MAX_WORKSPACE_BYTES=workspace_limit(self.gpu), REDUCTION_SCHEME_MASK=reduce,
            MIN_ALIGNMENT_A_BYTES=aligned["b" if turned else "a"],
            MIN_ALIGNMENT_B_BYTES=aligned["a" if turned else "b"],
            MIN_ALIGNMENT_C_BYTES=aligned["bias" if treat == "matrix" else "c"], MIN_ALIGNMENT_D_BYTES=aligned["c"],
        )  # fmt: skip
        self.algorithm, count = lt.Heuristic(), ctypes.c_int()
        status = self.library.cublasLtMatmulAlgoGetHeuristic(
            self.handle, self.descriptor.address, *(x.address for x in self.layouts), preference.address, 1,
            ctypes.addressof(self.algorithm), ctypes.addressof(count),
        )  # fmt: skip
        if status not in (0, lt.INVALID_VALUE, lt.NOT_SUPPORTED):
            lt.good(status, "cublasLtMatmulAlgoGetHeuristic")
        if status != 0 or count.value == 0 or self.algorithm.state != 0:
            raise LookupError("no algorithm")
        self.workspace = self.algorithm.workspace
        first = self.factors.ctypes.data
        self.places: tuple[Any, ...] = (
            self.descriptor.address, first, first + self.factors.itemsize, *(x.address for x in self.layouts),
            ctypes.addressof(self.algorithm),
        )  # fmt: skip
        if not self.other and kind.scales is None and treat != "copied":
            names = ("descriptor", "alpha", "beta", "of_a", "of_b", "of_c", "of_d", "algorithm")
            self.words = direct.record(
                function=lt.address("cublasLtMatmul"), set=lt.address("cublasLtMatmulDescSetAttribute"), busy=0,
                handle=self.handle or 0, turned=turned, seen=pointers[0], matrix=treat == "matrix", row=self.row,
                workspace=self.workspace, bytes=id(self.workspace), **dict(zip(names, self.places)),
            )  # fmt: skip

    def _scale_by(self, mode: int) -> None:
        try:
            self.descriptor.set("A_SCALE_MODE", mode)
            self.descriptor.set("B_SCALE_MODE", mode)
        except RuntimeError:  # libraries before 12.9 know of one scale alone
            raise LookupError("no algorithm") from None

    def _point(self, pointers: tuple[int, ...]) -> None:
        for name, address in zip(self.named, pointers, strict=True):
            self.descriptor.set(name, address)
        self.seen = pointers

    def __call__(self, c: int, a: int, b: int, bias: int, *scales: int) -> None:
        if self.turned:
            a, b = b, a
        if not self.named:
            self._start(c, a, b, bias if self.treat == "matrix" else c)
            return
        pointers = (bias, *scales) if self.row else scales
        added = bias if self.treat == "matrix" else 0 if self.other else c
        with self.lock:  # one descriptor for all threads
            if self.words is None:
                if pointers != self.seen:
                    self._point(pointers)
                self._start(c, a, b, added)
                return
            self.words[_BUSY] = 1  # machine code leaves the descriptor alone while the library reads it
            try:
                self.words[_SEEN] = 0
                self._point(pointers)
                self.words[_SEEN] = bias
                self._start(c, a, b, added)
            finally:
                self.words[_BUSY] = 0

    def _start(self, c: int, a: int, b: int, added: int) -> None:
        gpu, size = self.gpu, self.workspace
        block = launcher.taken(size) if size else None  # later work of this stream alone takes it again
        gpu.enter()  # now: to take memory may ask events of other GPUs
        space = block.ptr if block is not None else 0
        descriptor, alpha, beta, of_a, of_b, of_c, of_d, algorithm = self.places
        with gpu.relaxed():  # the first call loads kernels
            status = self.library.cublasLtMatmul(
                self.handle, descriptor, alpha, a, of_a, b, of_b, beta, added, of_c, c, of_d, algorithm, space, size,
                gpu.stream.key,
            )  # fmt: skip
        if status:
            lt.good(status, "cublasLtMatmul")


_BUSY, _SEEN = direct.WORDS.index("busy"), direct.WORDS.index("seen")


def _layout(element: dtype, batch: int, sizes: Sequence[int], step: int) -> Descriptor:
    """How a batch of matrices lies: sizes are rows, columns, and the distance of columns."""
    made = Descriptor("MatrixLayout", lt.TYPES[element], *sizes)
    if batch > 1:
        made.set("BATCH_COUNT", batch)
        made.set("STRIDED_BATCH_OFFSET", step)
    return made


def _biases(op: Operation) -> Iterator[str]:
    """The ways in which the bias of an oriented operation may be added, the best first.

    vector: after the product, one element a row; matrix: in the place of C, beta being 1; copied: to C before.
    """
    if not op.biased:
        yield "none"
        return
    across, along = op.bias.row, op.bias.col  # from row to row, from column to column
    if op.element.kind != "c" and (across == 1 or op.m == 1) and (along == 0 or op.n == 1):
        yield "vector"
    if op.beta != 0:
        return
    own = op.batch == 1 or op.bias.batch != 0
    if own and (across == 1 or op.m == 1) and (along >= op.m or op.n == 1):
        yield "matrix"
    yield "copied"


def alignment(address: int) -> int:
    """The largest power of two that divides an address, at most 256."""
    low = address | ALIGNED
    return low & -low


class Several:
    """A product that takes more than one call: operands are copied, items of the outer dim follow each other."""

    __slots__ = ("added", "call", "copies", "offsets")

    def __init__(self, found: Way, call: Call):
        op, size = found.op, found.op.element.itemsize
        self.call, self.added = call, None
        self.copies: list[tuple[str, int, Callable[[int, int], None]]] = []  # name, bytes, copy
        for name, sizes, old, new, count in found.packed:
            to, start = (old, new) if name == "c" else (new, old)
            self.copies.append((name, count * size, copying(size, sizes, to, start)))
        if call.treat == "copied":
            self.added = copying(size, op.shape("c"), op.c, op.bias)
        steps = (op.c.outer, op.a.outer, op.b.outer, op.bias.outer)
        self.offsets = [tuple(i * step * size for step in steps) for i in range(op.outer)]

    def __call__(self, c: int, a: int, b: int, bias: int) -> None:
        at, blocks = {"a": a, "b": b, "c": c}, []
        for name, size, copy in self.copies:
            blocks.append(launcher.taken(size))
            if name != "c":
                copy(blocks[-1].ptr, at[name])
            at[name] = blocks[-1].ptr
        if self.added is not None:
            self.added(at["c"], bias)
        for to, left, right, row in self.offsets:
            self.call(at["c"] + to, at["a"] + left, at["b"] + right, bias + row)
        for name, _, copy in self.copies:
            if name == "c":
                copy(c, at[name])


def settle(op: Operation, kind: Kind, allowed: Products, addresses: dict[str, int]) -> tuple[Way, Call] | None:
    """What does a product by the library, for operands as well aligned as those; None where it does not do it.

    After the addresses of `a`, `b`, `c` and `bias` come those of scales.
    """
    found = way(op)
    if found is None or kind.summed and computing(kind, allowed)[0] != lt.COMPUTE_32F:
        return None  # sums may be as exact as products: they are to be float32's
    size, one = op.element.itemsize, found.op._replace(outer=1)
    aligned = {name: alignment(addresses[name] | getattr(found.op, name).outer * size) for name in STRIDED_OPERANDS}
    aligned |= {packed.name: alignment(packed.new.outer * size) for packed in found.packed}
    pointers = tuple(at for name, at in addresses.items() if name not in "abc")
    for oriented in orientations(one):
        turned = oriented is not one
        for treat in ("sums",) if kind.summed else _biases(oriented):
            try:
                return found, Call(
                    oriented, kind.turned() if turned else kind, turned, treat, allowed, aligned, pointers
                )
            except LookupError:
                continue
    return None


def alone(found: Way, call: Call) -> bool:
    """Whether one call is all."""
    return not found.packed and found.op.outer == 1 and call.treat != "copied"


STRIDED_OPERANDS = ("a", "b", "c", "bias")


# Routines -------------------------------------------------------------------------------------------------------------


class Product:
    """The product with everything but the addresses settled: `function(c, a, b, bias)`; 0 for no bias.

    With sums along k of an operand, `summed`, that is `function(c, sums, a, b)`.
    """

    __slots__ = ("allowed", "fields", "function", "kind", "known", "runs", "slow", "table")
    tail = ()

    def __init__(self, kind: Kind, fields: dict[str, Any], slow: Run):
        self.kind, self.fields, self.slow = kind, fields, slow
        self.known: dict[tuple, Run] = {}  # settings, alignments -> what does it
        self.allowed: Products | None = None  # the settings of `runs`
        self.runs: list[Run | None] = [None, None]  # of well aligned operands: without and with a bias
        self.table = direct.Table()  # the same for machine code
        slowly = (lambda c, sums, a, b: self._slowly(c, a, b, sums)) if kind.summed else self._slowly
        order = ("c", "bias", "a", "b") if kind.summed else direct.ORDER
        self.function = self.table.builtin(slowly, driver.gpu().where, order)

    def __call__(self, c: int, a: int, b: int, bias: int = 0) -> None:
        self.function(c, a, b, bias)

    def ready(self) -> bool:
        """Whether the library has an algorithm for addresses that are aligned well, as settings are now."""
        return self._found(precision.NOW.products, dict.fromkeys(("c", "a", "b", "bias"), ALIGNED)) is not self.slow

    def _slowly(self, c: int, a: int, b: int, bias: int = 0) -> None:
        run = self.runs[bias != 0]
        if run is None or precision.NOW.products is not self.allowed or (a | b | c | bias) & (ALIGNED - 1):
            run = self._run(c, a, b, bias)
        run(c, a, b, bias)

    def _run(self, c: int, a: int, b: int, bias: int) -> Run:
        settings, allowed = direct.settings(), precision.NOW.products
        run = self._found(allowed, {"c": c, "a": a, "b": b, "bias": bias})
        if not (a | b | c | bias) & (ALIGNED - 1):
            if allowed is not self.allowed:
                self.runs = [None, None]
                self.table.clear(settings)
            self.allowed, self.runs[bias != 0] = allowed, run
            if isinstance(run, Call) and run.words is not None:
                self.table.know(bias != 0, run.words)
        return run

    def _found(self, allowed: Products, addresses: dict[str, int]) -> Run:
        """What does it for addresses that are aligned so; asked for once."""
        bias = addresses["bias"]
        key = (allowed, bias != 0, *map(alignment, addresses.values()))
        run = self.known.get(key)
        if run is None:
            op = operation(self.kind.a, self.fields, bias != 0 and not self.kind.summed)
            made = settle(op, self.kind, allowed, addresses)
            if self.kind.summed and made is not None and not alone(*made):
                made = None
            elif made is None and way(op) is not None and self.kind == Kind.plain(self.kind.a):
                shape = f"{op.outer * op.batch} x ({op.m} x {op.k}) @ ({op.k} x {op.n})"
                said = "a slower kernel is used"
                warnings.warn(f"cuBLASLt has no algorithm for {op.element} {shape}: {said}", stacklevel=2)
            run = self.slow if made is None else made[1] if alone(*made) else Several(*made)
            self.known[key] = run
        return run


precision.NOW.when_changed(direct.settings_changed)


@lru_cache(8192)
def _bound(gpu: driver.Device, kind: Kind, *fields: tuple[str, Any]) -> Product:
    return Product(kind, given := dict(fields), (_apart if kind.summed else _generated)(kind, given))


def _generated(kind: Kind, fields: dict[str, Any]) -> Run:
    made = generated.BoundProduct(kind.a, fields)
    return lambda *addresses: made.function(*addresses)  # of which mostly nothing is needed


def _apart(kind: Kind, fields: dict[str, Any]) -> Run:
    """A product, then sums of an operand along k: for addresses and settings for which the library has no algorithm."""
    element, summed, made = kind.a, kind.summed, bind_product(kind.a, **fields)
    count, across = ("m", "row") if summed == "a" else ("n", "col")
    sums = dots.Sums(element, fields[count], fields["k"], fields[f"{summed}_{across}"], fields[f"{summed}_k"])

    def run(c: int, a: int, b: int, out: int) -> None:
        made(c, a, b, 0)
        sums(out, a if summed == "a" else b)

    return run


def bind_product(element: dtype, **fields: int | float | complex) -> Any:
    """A product to call with addresses alone; `targets/cpu/matmul.py`, `bind`, documents the fields."""
    gpu = driver.gpu()
    if element not in ELEMENTS or lt.handle(gpu) is None:
        made: Any = generated.bind_product(element, **fields)
    else:
        made = _bound(gpu, Kind.plain(element), *fields.items())
    return dots.Dot(element, fields, made.function) if dots.fits(element, fields) else made


def bind_product_and_sums(element: dtype, summed: str, **fields: int | float) -> Product | None:
    """`bind_product` of matrices, and sums along k of one of them: `function(c, sums, a, b)`.

    `summed` is "a", each row of which has a sum, or "b", each column of which has one; sums lie side by side. None
    where the library does not do both at once.
    """
    gpu, op = driver.gpu(), operation(element, fields, False)
    if element not in WITH_EPILOGUES or op.outer * op.batch != 1 or op.m == op.n == 1 or lt.handle(gpu) is None:
        return None
    found = way(op)
    if found is None or found.packed or not any(_sums_fit(one, one is not op, summed) for one in orientations(op)):
        return None
    made = _bound(gpu, Kind.plain(element)._replace(summed=summed), *fields.items())
    return made if made.ready() else None


def _sums_fit(op: Operation, turned: bool, summed: str) -> bool:
    """Whether the library sums along k in this orientation: of A it reads columns, of B rows."""
    name = {"a": "b", "b": "a"}[summed] if turned else summed
    lies = stored(*op.shape(name)[2:], getattr(op, name))
    return lies is not None and lies.transposed == (name == "b")


_EPILOGUES = {"relu": lt.EPILOGUE_RELU, "gelu": lt.EPILOGUE_GELU}


def bind_activated_product(
    element: dtype, activation: str, apart: Callable[[int], Any], **fields: int | float
) -> Product | None:
    """`bind_product` whose result, the bias added, goes through "relu" or "gelu" (by tanh).

    None where the library does not do both at once. `apart(c)` does it to a product in memory: for operands that are
    aligned less well, for which the library may have no algorithm, and after a change of settings.
    """
    if element not in WITH_EPILOGUES or lt.handle(driver.gpu()) is None:
        return None
    made = bind_product(element, **fields)

    def slow(c: int, a: int, b: int, bias: int) -> None:
        made(c, a, b, bias)
        apart(c)

    whole = Product(Kind.plain(element)._replace(epilogue=_EPILOGUES[activation]), dict(fields), slow)
    return whole if whole.ready() else None


def product(element: dtype) -> Callable[..., None]:
    """`C[i] = alpha * A[i] @ B[i] + beta * C[i] + bias`; `targets/cpu/matmul.py` documents the arguments."""
    return generated.unbound(element, bind_product)


class Mixed:
    """A product whose result has another dtype than its operands, or that is scaled: one call, or nothing.

    `function(c, a, b, bias, *scales)` says whether it was done.
    """

    def __init__(self, kind: Kind, fields: dict[str, Any]):
        self.kind, self.fields = kind, fields
        self.known: dict[tuple, Call | None] = {}  # settings, alignments -> what does it

    def __call__(self, c: int, a: int, b: int, bias: int = 0, *scales: int) -> bool:
        allowed = precision.NOW.products
        addresses = {"c": c, "a": a, "b": b, "bias": bias, **dict(zip(("left", "right"), scales))}
        key = (allowed, bias != 0, *map(alignment, addresses.values()))
        if key not in self.known:
            made = settle(operation(self.kind.a, self.fields, bias != 0), self.kind, allowed, addresses)
            self.known[key] = made[1] if made is not None and alone(*made) else None
        call = self.known[key]
        if call is not None:
            call(c, a, b, bias, *scales)
        return call is not None


_SCALES = {"": None, "one": lt.SCALE_ONE, "rows": lt.SCALE_ROWS}


@lru_cache(1024)
def _mixed(gpu: driver.Device, kind: Kind, *fields: tuple[str, Any]) -> Mixed:
    return Mixed(kind, dict(fields))


def mixed_product(
    a: dtype, b: dtype, result: dtype, *, scales: str = "", fast: bool = False, **fields: Any
) -> Mixed | None:
    """A product that `bind_product` has no words for, None where there is no library.

    Parameters
    ----------
    a, b, result : dtype
        8-bit integers to int32, 16-bit floats to float32, scaled 8-bit floats to any.
    scales : str
        "one" for each operand, or for each of the "rows" of A and columns of B: two more addresses of float32.
    fast : bool
        Sums of 8-bit floats may be less exact.
    fields
        Sizes and strides as of `bind_product`.
    """
    gpu = driver.gpu()
    if lt.handle(gpu) is None:
        return None
    return _mixed(gpu, Kind(a, b, result, scales=_SCALES[scales], fast=fast), *fields.items())
