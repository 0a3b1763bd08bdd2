"""cuDNN without a GPU: it keeps descriptors, refuses what cuDNN refuses, and computes graphs with NumPy.

It has the functions of the library that facula calls, with the C arguments; what a graph means is read from its
descriptors alone, and tensors from raw memory by their strides.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from facula.core import dtype as dt
from facula.operators import attention, convolution
from facula.targets.cuda.libraries import dnn_api, dnn_attend, dnn_graph
from facula.targets.cuda.libraries.dnn_api import KINDS
from facula.targets.reference.memory import read, write
from tests.targets.cuda.fake_blas import tf32
from tests.targets.cuda.fake_driver import FakeDriver

BAD_PARAM, NOT_FINAL, WRONG_TYPE, NOT_SUPPORTED, FAILED = 2000, 2004, 2010, 3000, 5001
NAMES = {BAD_PARAM: b"CUDNN_STATUS_BAD_PARAM", NOT_SUPPORTED: b"CUDNN_STATUS_NOT_SUPPORTED"}
DTYPES = {number: getattr(dt, "bool_" if name == "bool" else name) for name, number in dnn_api.DATA_TYPES.items()}
POINTWISE = {number: name for name, number in dnn_graph.POINTWISE.items()}
REDUCTIONS = {number: name for name, number in dnn_graph.REDUCTIONS.items()}
KIND_NAMES = {kind.number: name for name, kind in KINDS.items()}
OPTIONAL = {
    "pointwise": {"axis"}, "pointwise_operation": {"b", "t"}, "tensor": {"virtual", "by_value"}, "pack": {"workspace"},
    "heuristics": {"properties"}, "plan": {"properties"},
}  # fmt: skip
GIVEN = {"engine": {"notes"}, "config": {"engine"}, "heuristics": {"results"}, "plan": {"workspace"}}  # by the library
WORKSPACE = 1000
TAKES = {
    "cudnnSetStream": 2, "cudnnBackendCreateDescriptor": 2, "cudnnBackendSetAttribute": 5, "cudnnBackendFinalize": 1,
    "cudnnBackendExecute": 3, "cudnnBackendDestroyDescriptor": 1,
}  # fmt: skip


class Refused(Exception):
    """A status, and why."""

    def __init__(self, status: int, why: str):
        self.status, self.why = status, why


def demand(holds: Any, why: str, status: int = BAD_PARAM) -> None:
    if not holds:
        raise Refused(status, why)


class Record:
    """A descriptor."""

    def __init__(self, kind: str):
        self.kind, self.values, self.final = kind, {}, False

    def __getattr__(self, name: str) -> Any:
        found = self.values.get(name)
        return found[0] if isinstance(found, list) and len(found) == 1 and name not in LISTS else found


LISTS = ("sizes", "strides", "operations", "ids", "pointers", "notes", "results", "before", "after", "dilations")


class FakeDnn:
    """The library beside a fake driver; `engines`: what ran, by number."""

    def __init__(self, driver: FakeDriver, version: int = 91200):
        self.driver, self.version = driver, version
        self.records: dict[int, Record] = {}
        self.numbers = itertools.count(0x1000, 16)
        self.handles: dict[int, int] = {}  # handle -> stream
        self.natives: dict[str, Any] = {}
        self.why = ""
        self.calls: list[str] = []
        self.engines: list[int] = []

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not name.startswith("cudnn") or name.startswith("cudnnGet"):
            return found

        def guarded(*args):
            self.calls.append(name)
            try:
                found(*args)
            except Refused as error:
                self.why = error.why
                return error.status
            return 0

        return guarded

    def address(self, name: str) -> int:
        """What machine code calls."""
        if name not in self.natives:
            takes = [ctypes.c_size_t] * TAKES[name]  # addresses as numbers: none are None
            self.natives[name] = ctypes.CFUNCTYPE(ctypes.c_int, *takes)(getattr(self, name))
        return ctypes.cast(self.natives[name], ctypes.c_void_p).value or 0

    # the library itself

    def cudnnGetVersion(self) -> int:
        return self.version

    def cudnnGetErrorString(self, status: int) -> bytes:
        return NAMES.get(status, b"CUDNN_STATUS_%d" % status)

    def cudnnGetLastErrorString(self, address: int, size: int) -> None:
        said = self.why.encode()[: size - 1] + b"\0"
        ctypes.memmove(address, said, len(said))

    def cudnnCreate(self, address: int) -> None:
        demand(self.driver.context, "no context", FAILED)
        handle = next(self.numbers)
        self.handles[handle] = 0
        ctypes.c_void_p.from_address(address).value = handle

    def cudnnSetStream(self, handle: int, stream: int) -> None:
        demand(handle in self.handles and self.driver._is_stream(stream), "no such handle or stream")
        self.handles[handle] = stream

    # descriptors

    def _record(self, address: int) -> Record:
        demand(address in self.records, "no such descriptor")
        return self.records[address]

    def cudnnBackendCreateDescriptor(self, kind: int, address: int) -> None:
        demand(kind in KIND_NAMES, "no such kind of descriptor")
        made = next(self.numbers)
        self.records[made] = Record(KIND_NAMES[kind])
        ctypes.c_void_p.from_address(address).value = made

    def cudnnBackendDestroyDescriptor(self, address: int) -> None:
        self._record(address)
        del self.records[address]

    def _attribute(self, record: Record, number: int, type: int) -> tuple[str, Any]:
        known = {n: (name, kind) for name, (n, kind) in KINDS[record.kind].attributes.items()}
        demand(number in known, f"{record.kind} has no attribute {number}")
        name, kind = known[number]
        demand(kind.number == type, f"{name} has another type", WRONG_TYPE)
        return name, kind.element

    def cudnnBackendSetAttribute(self, address: int, number: int, type: int, count: int, array: int) -> None:
        record = self._record(address)
        name, element = self._attribute(record, number, type)
        demand(not record.final, "it is final", 1001)
        demand(name not in GIVEN.get(record.kind, ()), f"{name} is read only")
        values = list((element * count).from_address(array))
        if element is ctypes.c_void_p and type == dnn_api.DESCRIPTOR.number:
            values = [self._record(value) for value in values]
            demand(all(value.final for value in values), "a descriptor is not final", NOT_FINAL)
        record.values[name] = values

    def cudnnBackendGetAttribute(
        self, address: int, number: int, type: int, count: int, found: int, array: int
    ) -> None:
        record = self._record(address)
        name, element = self._attribute(record, number, type)
        demand(record.final, "it is not final", NOT_FINAL)
        values = record.values.get(name, [])
        ctypes.c_int64.from_address(found).value = len(values)
        room = (element * count).from_address(array)
        for place, value in zip(range(count), values):
            if isinstance(value, Record):
                target = self._record(room[place])
                demand(target.kind == value.kind, "a descriptor of another kind")
                target.values, target.final = value.values, True
            else:
                room[place] = value

    def cudnnBackendFinalize(self, address: int) -> None:
        record = self._record(address)
        demand(not record.final, "it is final already")
        missing = set(KINDS[record.kind].attributes) - set(record.values) - OPTIONAL.get(record.kind, set())
        missing -= GIVEN.get(record.kind, set())
        demand(not missing, f"{record.kind} lacks {sorted(missing)}")
        check = getattr(self, f"_final_{record.kind}", None)
        if check is not None:
            check(record)
        record.final = True

    def _final_tensor(self, t: Record) -> None:
        demand(4 <= len(t.sizes) == len(t.strides) <= 8, "four to eight dims, as many strides")
        demand(min(t.sizes) > 0 and min(t.strides) > 0, "sizes and strides are above 0")
        demand(t.alignment > 0 and t.alignment & (t.alignment - 1) == 0, "alignments are powers of two")
        demand(t.type in DTYPES, "no such type", NOT_SUPPORTED)

    def _final_convolution(self, c: Record) -> None:
        settings = [c.values[name] for name in ("strides", "before", "after", "dilations")]
        demand(all(len(values) == c.dims for values in settings), "a number a dim")
        demand(min(c.values["strides"]) > 0 and min(c.dilations) > 0 and min(c.before) >= 0, "settings out of range")

    def _convolution(self, record: Record) -> None:
        x, w, y, c = record.x, record.w, record.y, record.convolution
        demand(len(x.sizes) == len(w.sizes) == len(y.sizes) == c.dims + 2, "ranks differ")
        demand(x.type == w.type == y.type or y.virtual, "types differ")
        demand(x.sizes[0] == y.sizes[0] and y.sizes[1] == w.sizes[0] and x.sizes[1] % w.sizes[1] == 0, "channels")
        demand(y.sizes[1] % (x.sizes[1] // w.sizes[1]) == 0, "groups")
        strides = c.values["strides"]
        for n, k, m, s, p, q, d in zip(x.sizes[2:], w.sizes[2:], y.sizes[2:], strides, c.before, c.after, c.dilations):
            demand((n + p + q - d * (k - 1) - 1) // s + 1 == m, "is_valid_spatial_dim")

    _final_convolution_forward = _final_convolution_input = _final_convolution_weight = _convolution

    def _final_pointwise_operation(self, record: Record) -> None:
        for part in (record.b, record.t):
            if part is not None:
                fits = all(a in (1, n) for a, n in zip(part.sizes, record.y.sizes))
                demand(len(part.sizes) == len(record.y.sizes) and fits, "sizes do not broadcast")
        demand(list(record.x.sizes) == list(record.y.sizes), "x and y differ in size")

    def _final_product_operation(self, record: Record) -> None:
        a, b, c = record.a.sizes, record.b.sizes, record.c.sizes
        demand(a[-1] == b[-2] and [*a[:-1], b[-1]] == list(c), "sizes of a product")
        demand(b[0] == a[0] and a[1] % b[1] == 0, "batches of a product")

    def _final_reduction_operation(self, record: Record) -> None:
        demand(all(a % b == 0 for a, b in zip(record.x.sizes, record.y.sizes)), "sizes of a reduction")

    def _final_reshape_operation(self, record: Record) -> None:
        demand(prod(record.x.sizes) == prod(record.y.sizes), "sizes of a reshape")

    def _final_graph(self, graph: Record) -> None:
        demand(graph.handle in self.handles, "no such handle")
        made: list[int] = []
        for operation in graph.operations:
            made.append(result_of(operation).id)
        demand(len({*made}) == len(made), "a tensor is written twice")
        for operation in graph.operations:
            for t in inputs_of(operation):
                demand(not t.virtual or t.id in made, "a virtual tensor comes from nowhere")

    def _final_heuristics(self, record: Record) -> None:
        record.values["results"] = [self._config(record.graph, engine) for engine in self._engines(record)]

    def _config(self, graph: Record, number: int) -> Record:
        engine, config = Record("engine"), Record("config")
        engine.values = {"notes": ENGINES[number], "number": [number], "graph": [graph]}
        config.values = {"engine": [engine]}
        engine.final = config.final = True
        return config

    def _engines(self, record: Record) -> list[int]:
        """What the library has for a graph, the best first."""
        operations = [operation.kind for operation in record.graph.operations]
        io = [t for operation in record.graph.operations for t in (*inputs_of(operation), result_of(operation))]
        if "product_operation" in operations:
            big = [t for t in io if not t.virtual and not t.by_value and t.type != 0]
            ok = all(t.type in (2, 9) and 1 in t.strides[2:] for t in big)
            ok = ok and all(n % 8 == 0 for t in big for n, s in zip(t.sizes[2:], t.strides[2:]) if s == 1)
            return ([3] if ok else []) if record.mode == dnn_graph.A else []
        double = any(t.type == 1 for t in io)
        if double and len(operations) > 1:
            return []
        if record.mode != dnn_graph.A or double:
            return [2]
        return [0, 1, 3, 2] if all(t.type == 0 for t in io) else [0, 1, 2]

    def _final_plan(self, plan: Record) -> None:
        demand(plan.handle in self.handles, "no such handle")
        plan.values["workspace"] = [0 if plan.config.engine.number == 1 else WORKSPACE]

    def _final_pack(self, pack: Record) -> None:
        demand(len(pack.ids) == len(pack.pointers) == len({*pack.ids}), "an address for each tensor")

    # execution

    def cudnnBackendExecute(self, handle: int, plan_address: int, pack_address: int) -> None:
        demand(handle in self.handles, "no such handle")
        demand(self.driver._is_stream(self.handles[handle]), "the stream is gone")
        plan, pack = self._record(plan_address), self._record(pack_address)
        demand(plan.final and pack.final and plan.kind == "plan" and pack.kind == "pack", "not final", NOT_FINAL)
        engine = plan.config.engine
        need = plan.values["workspace"][0]
        demand(not need or self.driver._inside(pack.workspace, need), "the workspace is no memory of the GPU")
        tensors: dict[int, Record] = {}
        for operation in engine.graph.operations:
            for t in (*inputs_of(operation), result_of(operation)):
                known = tensors.setdefault(t.id, t)
                demand(known.values == t.values, "two tensors have one id")
        real = {i for i, t in tensors.items() if not t.virtual}
        demand({*pack.ids} == real, f"addresses for {sorted(pack.ids)}, wanted for {sorted(real)}")
        places = dict(zip(pack.ids, pack.pointers))
        for i in real:
            t = tensors[i]
            if not t.by_value:
                reach = 1 + sum((n - 1) * s for n, s in zip(t.sizes, t.strides))
                demand(places[i] % t.alignment == 0, "misaligned", 2003)
                demand(self.driver._inside(places[i], reach * DTYPES[t.type].itemsize), "no memory of the GPU")
        self.engines.append(engine.number)
        numbers = {i: ctypes.c_float.from_address(places[i]).value for i in real if tensors[i].by_value}
        narrow = 0 in engine.notes  # by tensor cores
        self.driver._give(self.handles[handle], lambda: self._compute(engine.graph.operations, places, numbers, narrow))

    def _compute(
        self, operations: list[Record], places: dict[int, int], numbers: dict[int, float], narrow: bool
    ) -> None:
        values: dict[int, np.ndarray] = {}

        def value(t: Record) -> np.ndarray:
            if t.id not in values:
                kind = DTYPES[t.type]
                if t.by_value:
                    values[t.id] = np.full(t.sizes, numbers[t.id])
                else:
                    values[t.id] = read(places[t.id], kind, tuple(t.sizes), tuple(t.strides)).astype("f8")
            return values[t.id]

        for operation in operations:
            y = result_of(operation)
            multiplied = value if operation.kind[:11] != "convolution" or not narrow else lambda t: rounded(t, value(t))
            with np.errstate(all="ignore"):
                made = COMPUTE[operation.kind](operation, multiplied)
            demand(list(made.shape) == list(y.sizes), f"{operation.kind} gives {made.shape}, not {y.sizes}")
            values[y.id] = made
            if not y.virtual:
                write(places[y.id], DTYPES[y.type], tuple(y.strides), made)


ENGINES = {0: [0, 4], 1: [0, 1], 2: [], 3: [0]}  # numerical notes: tensor cores, nondeterministic, down-converting


def rounded(t: Record, values: np.ndarray) -> np.ndarray:
    """What tensor cores multiply: float32 as TF32."""
    return tf32(values.astype("f4")).astype("f8") if t.type == 0 else values


def result_of(operation: Record) -> Record:
    name = {"convolution_input": "x", "convolution_weight": "w", "product_operation": "c"}.get(operation.kind, "y")
    return operation.values[name][0]


def inputs_of(operation: Record) -> list[Record]:
    result = result_of(operation)
    found = [v for values in operation.values.values() for v in values if isinstance(v, Record) and v.kind == "tensor"]
    return [t for t in found if t is not result]


# --- what operations compute ------------------------------------------------------------------------------------------


def _taps(c: Record, kernel: Sequence[int], outs: Sequence[int]):
    """For each tap of the weights the part of a padded input that it meets."""
    for tap in itertools.product(*(range(k) for k in kernel)):
        starts = [k * d for k, d in zip(tap, c.dilations)]
        yield tap, tuple(slice(a, a + (m - 1) * s + 1, s) for a, m, s in zip(starts, outs, c.values["strides"]))


def _convolve(operation: Record, value: Callable) -> np.ndarray:
    x, w, y, c = operation.x, operation.w, operation.y, operation.convolution
    groups = x.sizes[1] // w.sizes[1]
    batch, outs, kernel = x.sizes[0], y.sizes[2:], w.sizes[2:]
    own, channels = w.sizes[0] // groups, w.sizes[1]
    padded = [n + p + q for n, p, q in zip(x.sizes[2:], c.before, c.after)]
    inside = tuple(slice(p, p + n) for n, p in zip(x.sizes[2:], c.before))
    big = np.zeros((batch, groups, channels, *padded))
    weights = np.zeros((groups, own, channels, *kernel))
    result = np.zeros((batch, groups, own, *outs))
    if operation.kind != "convolution_input":
        big[(..., *inside)] = value(x).reshape(batch, groups, channels, *x.sizes[2:])
    if operation.kind != "convolution_weight":
        weights[:] = value(w).reshape(weights.shape)
    if operation.kind != "convolution_forward":
        result[:] = value(y).reshape(result.shape)
    for tap, part in _taps(c, kernel, outs):
        if operation.kind == "convolution_forward":
            result += np.einsum("goc,ngc...->ngo...", weights[(..., *tap)], big[(..., *part)])
        elif operation.kind == "convolution_input":
            big[(..., *part)] += np.einsum("goc,ngo...->ngc...", weights[(..., *tap)], result)
        else:
            flat = result.reshape(batch, groups, own, -1), big[(..., *part)].reshape(batch, groups, channels, -1)
            weights[(..., *tap)] = np.einsum("ngos,ngcs->goc", *flat)
    made = {"forward": result, "input": big[(..., *inside)], "weight": weights}[operation.kind[12:]]
    return made.reshape(result_of(operation).sizes)


def _index(operation: Record, value: Callable) -> np.ndarray:
    sizes, axis = operation.y.sizes, operation.pointwise.axis
    return np.broadcast_to(np.arange(sizes[axis]).reshape([-1 if d == axis else 1 for d in range(len(sizes))]), sizes)


_PLAIN = {
    "add": np.add, "mul": np.multiply, "div": np.divide, "sub": np.subtract, "exp": np.exp, "log": np.log,
    "identity": np.positive, "greater_equal": np.greater_equal,
    "select": lambda x, b, t: np.where(t, x, b),
}  # fmt: skip


def _pointwise(operation: Record, value: Callable) -> np.ndarray:
    mode = POINTWISE[operation.pointwise.mode]
    if mode == "index":
        return _index(operation, value)
    given = [value(t) for t in (operation.x, operation.b, operation.t) if t is not None]
    return np.broadcast_to(_PLAIN[mode](*given), operation.y.sizes)


def _product(operation: Record, value: Callable) -> np.ndarray:
    a, b = value(operation.a), value(operation.b)
    return a @ np.repeat(b, a.shape[1] // b.shape[1], 1)


def _reduce(operation: Record, value: Callable) -> np.ndarray:
    x, sizes = value(operation.x), operation.y.sizes
    split = [n for a, b in zip(x.shape, sizes) for n in (b, a // b)]
    how = {"sum": np.sum, "max": np.max}[REDUCTIONS[operation.reduction.mode]]
    return how(x.reshape(split), tuple(range(1, len(split), 2)))


def _reshape(operation: Record, value: Callable) -> np.ndarray:
    """The same elements in the same memory: what the strides of both say."""
    x, y = operation.x, operation.y
    flat = np.zeros(1 + sum((n - 1) * s for n, s in zip(x.sizes, x.strides)))
    np.lib.stride_tricks.as_strided(flat, x.sizes, [8 * s for s in x.strides])[...] = value(x)
    return np.lib.stride_tricks.as_strided(flat, y.sizes, [8 * s for s in y.strides]).copy()


COMPUTE = {
    "convolution_forward": _convolve, "convolution_input": _convolve, "convolution_weight": _convolve,
    "pointwise_operation": _pointwise, "product_operation": _product, "reduction_operation": _reduce,
    "reshape_operation": _reshape,
}  # fmt: skip


@contextmanager
def in_place(library: FakeDnn):
    """`library` in the place of cuDNN, and no plan of another one used."""
    dnn_api.use(library)
    try:
        yield library
    finally:
        dnn_graph._library.cache_clear()
        for table in (convolution._PLANS, convolution._SETTINGS, convolution._KNOWN, attention._KNOWN):
            table.clear()
        for known in (dnn_attend._forward, dnn_attend._backward):
            known.cache_clear()
        dnn_api.use(None)
