"""A driver without a GPU: it keeps a record of all calls, its memory is the host's, kernels run in the emulator.

It has the functions of `cuda.bindings.driver` that facula calls, with their arguments and results, and refuses what the
driver refuses: addresses and handles that it has not given out, a second free, a launch without a context.
"""

import ctypes
import functools
import itertools
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from facula import launch
from facula.operators import convolution as convolutions
from facula.operators import override, promotion
from facula.operators.embedding import _PLANS as ROWS
from facula.operators.indexing import _PLANS as INDEXED
from facula.operators.kernels import _BOUND
from facula.operators.loss import _check_code
from facula.operators.matmul import _PLANS
from facula.optim import rule
from facula.targets.cuda import code, driver, functions, tickets
from facula.targets.cuda.libraries import cublaslt
from facula.targets.cuda.memory import leases, pool
from facula.targets.cuda.memory.chunks import Chunk
from facula.targets.cuda.routines import convolution
from facula.targets.cuda.texts.emit import Program
from tests.targets.cuda.emulator import CHECKED, Emulator

GOOD, INVALID, NO_MEMORY, NO_CONTEXT, NO_HANDLE, NOT_FOUND, FAILED = 0, 1, 2, 201, 400, 500, 999
NOT_READY, UNSUPPORTED, INVALIDATED, UNJOINED, ISOLATION = 600, 900, 901, 904, 905
CAPTURED_EVENT, WRONG_THREAD = 907, 908
TEXTS = {
    INVALID: b"invalid argument", NO_MEMORY: b"out of memory", NO_CONTEXT: b"invalid device context",
    NO_HANDLE: b"invalid resource handle", NOT_FOUND: b"named symbol not found",
    UNSUPPORTED: b"operation not permitted when stream is capturing",
    INVALIDATED: b"operation failed due to a previous error during capture",
    UNJOINED: b"capturing stream has unjoined work",
    ISOLATION: b"dependency created on uncaptured work in another stream",
    CAPTURED_EVENT: b"operation not permitted on an event last recorded in a capturing stream",
    WRONG_THREAD: b"attempt to terminate a thread-local capture sequence from another thread",
}  # fmt: skip
RELAXED = 2
# cuLaunchKernel of cuda.h: function, grid, block, shared memory, stream, arguments, extra
LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint] * 7, *[ctypes.c_void_p] * 3)
FUNCTIONS: dict[int, Program] = {}  # by handle; those of a driver that is gone are known to later ones


class Capture:
    """Work that is being recorded: of the stream that it began on, and of those that joined by events."""

    def __init__(self, origin: int, mode: int):
        self.origin, self.mode, self.thread = origin, mode, threading.get_ident()
        self.nodes: list[Callable[[], None]] = []
        self.streams = {origin}
        self.unjoined: dict[int, int] = {}  # stream -> nodes that the origin does not wait for yet
        self.failed = False


def _watch(what: str, start: int, size: int) -> None:
    """Tell the address sanitizer that memory must not be touched ("poison"), or may be ("unpoison")."""
    getattr(ctypes.CDLL(None), f"__asan_{what}_memory_region")(ctypes.c_void_p(start), ctypes.c_size_t(size))


@functools.cache
def _bound(body: str) -> int:
    """The most threads of a block, as the text says."""
    found = re.search(r"__launch_bounds__\((\d+)", body)
    return int(found[1]) if found else 1024


class FakeDriver:
    """GPUs with `memory` bytes together; work of the streams in `slow` is done only when somebody waits for it."""

    CUdevice_attribute = CUstreamCaptureMode = CUpointer_attribute = CUresult = int
    version = 99000  # the newest CUDA that the driver is for
    multiprocessors, resident = 132, 2048  # threads of a multiprocessor

    def __init__(
        self, emulator: Emulator | None = None, memory: int = 1 << 30, capability: tuple[int, int] = (9, 0),
        strict: bool = False, gpus: int = 1,
    ):  # fmt: skip
        self.gpus = gpus
        self.owners: dict[int, int] = {}  # address of a block, handle of a stream or event -> number of its GPU
        self.peers: set[tuple[int, int]] = set()  # GPUs that may use each other's memory
        self.emulator, self.memory, self.capability = emulator, memory, capability
        self.calls: list[tuple] = []  # name, then arguments
        self.blocks: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.programs: dict[str, Program] = {}
        self.contexts = threading.local()  # `current`: of each thread
        self.launched = LAUNCH(self._launched)  # what cuGetProcAddress finds
        self.trouble = ""  # what a kernel did wrong
        self.handles = itertools.count(16)  # 1 and 2 mean default streams
        self.living: set[int] = set()  # handles of streams and events
        self.slow: set[int] = set()
        self.queues: dict[int, list[Callable[[], None]]] = {}  # of slow streams
        self.recorded: dict[int, tuple[int, int]] = {}  # event -> stream, how much of its work is before it
        self.finished: dict[int, int] = {}  # stream -> how much of its work is done
        self.captures: list[Capture] = []
        self.captured_events: dict[int, tuple[Capture, int]] = {}  # event -> capture, stream
        self.modes = threading.local()
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.order = 0
        self.strict = strict  # whether kernels are refused addresses of the host's memory, as by a GPU

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not name.startswith("cu"):
            return found

        def recorded(*args):
            self.calls.append((name, *args))
            return found(*args)

        return recorded

    def named(self, name: str) -> list[tuple]:
        """The arguments of all calls of one function."""
        return [args for called, *args in self.calls if called == name]

    # Work in streams: done at once, kept in the queue of a slow stream, or recorded

    def _capture_of(self, stream: int) -> Capture | None:
        return next((c for c in self.captures if stream in c.streams), None)

    def _give(self, stream: int, work: Callable[[], None]) -> tuple:
        capture = self._capture_of(stream)
        if capture is not None:
            if capture.failed:
                return (INVALIDATED,)
            capture.nodes.append(work)
            if stream != capture.origin:
                capture.unjoined[stream] = len(capture.nodes)
        elif stream in self.slow or self.queues.get(stream):
            self.queues.setdefault(stream, []).append(work)
        else:
            work()
            self.finished[stream] = self.finished.get(stream, 0) + 1
        return (GOOD,)

    def _so_far(self, stream: int) -> int:
        return self.finished.get(stream, 0) + len(self.queues.get(stream, ()))

    def finish(self, stream: int, upto: int | None = None) -> None:
        """Do what a slow stream was given, all of it or its first pieces."""
        queue = self.queues.get(stream, [])
        while queue and (upto is None or self.finished.get(stream, 0) < upto):
            queue.pop(0)()
            self.finished[stream] = self.finished.get(stream, 0) + 1

    def _unsafe(self) -> int:
        """What is refused while work is recorded, unless this thread says that it need not be seen."""
        for capture in self.captures:
            mine = capture.mode == 0 or (capture.mode == 1 and capture.thread == threading.get_ident())
            if mine and getattr(self.modes, "mode", 0) != RELAXED:
                capture.failed = True
                return UNSUPPORTED
        return GOOD

    def _waits(self, stream: int | None) -> int:
        """What is refused because the host would wait for work that only a replay does."""
        for capture in self.captures:
            if stream is None or stream in capture.streams:
                capture.failed = True
                return UNSUPPORTED
        return GOOD

    def used(self) -> int:
        """Bytes that are allocated."""
        return sum(len(block) for block in self.blocks.copy().values())  # a collection may free some meanwhile

    # Devices and contexts

    def cuInit(self, flags):
        return (GOOD,)

    def cuDriverGetVersion(self):
        return GOOD, self.version

    def cuGetErrorString(self, status):
        return GOOD, TEXTS.get(int(status), self.trouble.encode() or b"unknown error")

    def cuGetProcAddress(self, name, version, flags):
        if name != b"cuLaunchKernel" or not 4000 <= version:
            return GOOD, 0, 1
        return GOOD, ctypes.cast(self.launched, ctypes.c_void_p).value, 0

    @property
    def context(self):
        return getattr(self.contexts, "current", None)

    @property
    def gpu(self) -> int:
        """The number of the GPU whose context is the thread's."""
        return int(self.context.partition(" ")[2] or 0) if self.context else 0

    def _here(self, what: int) -> bool:
        """Whether a block, stream or event is of the GPU whose context is the thread's."""
        return self.owners.get(what, self.gpu) == self.gpu

    def cuDeviceGetCount(self):
        return GOOD, self.gpus

    def cuDeviceGet(self, number):
        return (GOOD, number) if 0 <= number < self.gpus else (INVALID, None)

    def cuDeviceGetAttribute(self, attribute, device):
        known = {driver.MAJOR: self.capability[0], driver.MINOR: self.capability[1], driver.RESIDENT: self.resident}
        return GOOD, known.get(attribute, self.multiprocessors)

    def cuDeviceGetName(self, size, device):
        return GOOD, b"Emulated GPU\0\0\0"

    def cuDeviceGetUuid(self, device):
        return GOOD, types.SimpleNamespace(bytes=bytes([device]) * 16)

    def cuProfilerStart(self):
        return (GOOD if self.context else NO_CONTEXT,)

    cuProfilerStop = cuProfilerStart

    def cuDeviceTotalMem(self, device):
        return GOOD, self.memory

    def cuDevicePrimaryCtxRetain(self, device):
        return GOOD, f"context {device}" if device else "context"

    def cuCtxSetCurrent(self, context):
        self.contexts.current = context
        return (GOOD,)

    def cuCtxSynchronize(self):
        if not self.context:
            return (NO_CONTEXT,)
        if self._waits(None):
            return (UNSUPPORTED,)
        for stream in list(self.queues):
            self.finish(stream)
        return (GOOD,)

    # Memory

    def cuMemAlloc(self, size):
        if not self.context and self.gpus > 1:
            return NO_CONTEXT, None
        if self._unsafe():
            return UNSUPPORTED, None
        if self.used() + size > self.memory:
            return NO_MEMORY, None
        block = np.full(size + 256, 0xA5, np.uint8)  # nobody may take it for zeros
        start = block.ctypes.data + -block.ctypes.data % 256
        if CHECKED:  # what lies before and behind must not be touched
            behind = start + -(-size // 8) * 8
            _watch("poison", block.ctypes.data, start - block.ctypes.data)
            _watch("poison", behind, block.ctypes.data + len(block) - behind)
        self.blocks[start], self.owners[start] = block[start - block.ctypes.data :][:size], self.gpu
        return GOOD, start

    def cuMemAllocManaged(self, size, flags):
        return self.cuMemAlloc(size)

    def cuMemFree(self, ptr):
        if self._unsafe():
            return (UNSUPPORTED,)
        if not self._here(ptr):
            return (INVALID,)
        block = self.blocks.pop(ptr, None)
        self.owners.pop(ptr, None)
        if CHECKED and block is not None:
            whole = block.base
            _watch("unpoison", whole.ctypes.data, whole.nbytes)
        return (GOOD if block is not None else INVALID,)

    def cuMemGetInfo(self):
        return GOOD, self.memory - self.used(), self.memory

    def cuMemHostAlloc(self, size, flags):
        if self._unsafe():
            return UNSUPPORTED, None
        made = np.full(size, 0xA5, np.uint8)
        self.pinned[made.ctypes.data] = made
        return GOOD, made.ctypes.data

    def cuMemFreeHost(self, ptr):
        if self._unsafe():
            return (UNSUPPORTED,)
        return (GOOD if self.pinned.pop(ptr, None) is not None else INVALID,)

    def _is_pinned(self, ptr: int) -> bool:
        return any(start <= ptr < start + len(made) for start, made in self.pinned.copy().items())

    def cuPointerGetAttribute(self, attribute, ptr):
        if attribute == 9:  # the number of the GPU
            found = [gpu for gpu in range(self.gpus) if self._inside(ptr, 1, gpu)]
            return (GOOD, found[0]) if found else (INVALID, None)
        if attribute != 2:
            return INVALID, None
        return (GOOD, 1) if self._is_pinned(ptr) else (GOOD, 2) if self._inside(ptr, 1) else (INVALID, None)

    def _inside(self, ptr: int, size: int, gpu: int | None = None) -> bool:
        """Whether memory is that of a GPU, or of the one in use."""
        gpu = self.gpu if gpu is None else gpu
        blocks = self.blocks.copy().items()
        return any(
            start <= ptr and ptr + size <= start + len(block) and self.owners[start] == gpu for start, block in blocks
        )

    def cuDeviceCanAccessPeer(self, device, other):
        return GOOD, int(device != other)

    def cuCtxEnablePeerAccess(self, context, flags):
        pair = self.gpu, int(context.partition(" ")[2] or 0)
        if pair[0] == pair[1] or flags:
            return (INVALID,)
        if pair in self.peers:
            return (704,)
        self.peers.add(pair)
        return (GOOD,)

    def cuMemcpyPeerAsync(self, to, to_context, start, context, size, stream):
        numbers = [int(c.partition(" ")[2] or 0) for c in (to_context, context)]
        right = self._inside(to, size, numbers[0]) and self._inside(start, size, numbers[1])
        if not right or not self._is_stream(stream):
            return (INVALID,)
        return self._give(stream, lambda: ctypes.memmove(to, start, size))

    def cuMemcpyHtoDAsync(self, to, start, size, stream):
        if not self._inside(to, size) or not self._is_stream(stream):
            return (INVALID,)
        return self._give(stream, lambda: ctypes.memmove(to, start, size))  # even where it is not page-locked

    def cuMemcpyDtoHAsync(self, to, start, size, stream):
        if not self._inside(start, size) or not self._is_stream(stream):
            return (INVALID,)
        answer = self._give(stream, lambda: ctypes.memmove(to, start, size))
        if not self._is_pinned(to) and not self._capture_of(stream):
            self.finish(stream)
        return answer

    def cuMemcpyDtoDAsync(self, to, start, size, stream):
        if not self._inside(to, size) or not self._inside(start, size) or not self._is_stream(stream):
            return (INVALID,)
        return self._give(stream, lambda: ctypes.memmove(to, start, size))

    # Modules and launches

    def cuModuleLoadData(self, code):
        return (UNSUPPORTED, None) if self._unsafe() else (GOOD, self.programs[code.decode()])

    def cuModuleGetFunction(self, module, name):
        if module.name != name.decode():
            return NOT_FOUND, None
        handle = id(module) + self.gpu  # which `FUNCTIONS` keeps
        FUNCTIONS[handle] = module
        self.owners[handle] = self.gpu
        return GOOD, handle

    def _launched(self, handle, gx, gy, gz, bx, by, bz, shared, stream, table, extra):
        """What C calls: what it may not raise is what the status says."""
        try:
            return self.cuLaunchKernel(handle, gx, gy, gz, bx, by, bz, shared, stream or 0, table, extra or 0)[0]
        except BaseException as error:  # of the emulator
            self.trouble = f"{type(error).__name__}: {error}"
            return FAILED

    def cuLaunchKernel(self, handle, gx, gy, gz, bx, by, bz, shared, stream, table, extra):
        if not self.context:
            return (NO_CONTEXT,)
        if handle not in FUNCTIONS:
            return (NO_HANDLE,)
        function = FUNCTIONS[handle]
        if not self._here(handle):
            return (NO_HANDLE,)
        fits = 0 < gx < 2**31 and 0 < gy < 2**16 and gz == bz == 1 and 0 < bx * by <= _bound(function.body)
        if not fits or not self._is_stream(stream):
            return (INVALID,)
        if (self.strict or self.gpus > 1) and (foreign := self._foreign(function, table)):
            raise AssertionError(f"{function.name} is given addresses of other memory: {', '.join(foreign)}")
        assert self.emulator is not None
        self.emulator.build([function])
        emulator, count = self.emulator, len(function.takes)
        pointers = (ctypes.c_void_p * count).from_address(table)
        values = ctypes.create_string_buffer(b"".join(ctypes.string_at(p, 8) for p in pointers), 8 * count)

        def run() -> None:
            self.order ^= 1  # threads and blocks run forward and backward in turn
            start = ctypes.addressof(values)
            own = (ctypes.c_void_p * count)(*(start + 8 * k for k in range(count)))
            dims = (ctypes.c_uint * 4)(gx, gy, bx, by)
            trouble = emulator.entries[function.text](dims, ctypes.c_void_p(ctypes.addressof(own)), self.order)
            assert trouble is None, f"{function.name}: {trouble.decode()}"

        return self._give(stream, run)

    def _foreign(self, function: Program, table: int) -> list[str]:
        """The pointers among what a kernel takes that point to no memory of the GPU."""
        found = []
        places = (ctypes.c_void_p * len(function.takes)).from_address(table)
        for (kind, name), place in zip(function.takes, places):
            address = ctypes.c_int64.from_address(place).value if kind.endswith("*") else 0
            own = [(start, block) for start, block in self.blocks.copy().items() if self._here(start)]
            near = any(-4096 <= address - start <= len(block) for start, block in own)
            if address and not near and not self._is_pinned(address):  # windows may begin before an operand
                found.append(name)
        return found

    # Streams and events

    def _is_stream(self, handle: int) -> bool:
        return handle == 0 or (handle in self.living and self._here(handle))

    def _made(self) -> int:
        handle = next(self.handles)
        self.living.add(handle)
        self.owners[handle] = self.gpu
        return handle

    def _gone(self, handle: int) -> tuple:
        if handle not in self.living:
            return (INVALID,)
        self.living.discard(handle)
        return (GOOD,)

    def cuStreamCreateWithPriority(self, flags, priority):
        return (GOOD, self._made()) if flags == 1 and -5 <= priority <= 0 else (INVALID, None)

    def cuStreamSynchronize(self, stream):
        if self._waits(stream):
            return (UNSUPPORTED,)
        self.finish(stream)
        return (GOOD,)

    def cuStreamQuery(self, stream):
        return (self._waits(stream) or (NOT_READY if self.queues.get(stream) else GOOD),)

    def cuStreamWaitEvent(self, stream, event, flags):
        if event not in self.living or not self._is_stream(stream):
            return (INVALID,)
        capture, own = self.captured_events.get(event, (None, None)), self._capture_of(stream)
        if capture[0] in self.captures:
            if own not in (None, capture[0]):
                return (ISOLATION,)
            capture[0].streams.add(stream)
            if stream == capture[0].origin:
                capture[0].unjoined.pop(capture[1], None)
            elif own is None:
                capture[0].unjoined.setdefault(stream, 0)
        elif own is not None:
            own.failed = True
            return (ISOLATION,)
        elif event in self.recorded:
            self._give(stream, lambda: self.finish(*self.recorded[event]))
        return (GOOD,)

    def cuEventCreate(self, flags):
        return GOOD, self._made()

    def cuEventDestroy(self, event):
        return self._gone(event)

    def cuEventRecord(self, event, stream):
        if event not in self.living or not self._here(event) or not self._is_stream(stream):
            return (INVALID,)
        capture = self._capture_of(stream)
        if capture is not None:
            self.captured_events[event] = capture, stream
        else:
            self.captured_events.pop(event, None)
            self.recorded[event] = stream, self._so_far(stream)
        return (GOOD,)

    def _event(self, event: int) -> int:
        if event not in self.living:
            return INVALID
        if event in self.captured_events:
            self.captured_events[event][0].failed = True
            return CAPTURED_EVENT
        return self._unsafe()

    def cuEventQuery(self, event):
        refused = self._event(event)
        stream, before = self.recorded.get(event, (0, 0))
        return (refused or (NOT_READY if self.finished.get(stream, 0) < before else GOOD),)

    def cuEventSynchronize(self, event):
        refused = self._event(event)
        if not refused and event in self.recorded:
            self.finish(*self.recorded[event])
        return (refused,)

    def cuEventElapsedTime(self, start, end):
        """Each piece of work takes 1.5 ms."""
        return GOOD, 1.5 * (self.recorded[end][1] - self.recorded[start][1])

    # Graphs

    def cuThreadExchangeStreamCaptureMode(self, mode):
        before, self.modes.mode = getattr(self.modes, "mode", 0), mode
        return GOOD, before

    def cuStreamBeginCapture(self, stream, mode):
        if stream == 0 or not self._is_stream(stream) or self._capture_of(stream):
            return (UNSUPPORTED,)
        self.captures.append(Capture(stream, mode))
        return (GOOD,)

    def cuStreamEndCapture(self, stream):
        capture = self._capture_of(stream)
        if capture is None or capture.origin != stream:
            return INVALID, None
        if capture.mode != RELAXED and capture.thread != threading.get_ident():
            return WRONG_THREAD, None
        self.captures.remove(capture)
        if capture.failed:
            return INVALIDATED, None
        if capture.unjoined:
            return UNJOINED, None
        handle = next(self.handles)
        self.graphs[handle] = capture.nodes
        return GOOD, handle

    def cuGraphGetNodes(self, graph, count=0):
        return (GOOD, [], len(self.graphs[graph])) if graph in self.graphs else (INVALID, None, None)

    def cuGraphInstantiate(self, graph, flags):
        if graph not in self.graphs:
            return INVALID, None
        handle = next(self.handles)
        self.executables[handle] = list(self.graphs[graph])
        return GOOD, handle

    def cuGraphLaunch(self, executable, stream):
        if executable not in self.executables or not self._is_stream(stream):
            return (INVALID,)
        nodes = self.executables[executable]

        def run() -> None:
            for node in nodes:
                node()

        return self._give(stream, run)

    def cuGraphDebugDotPrint(self, graph, path, flags):
        if graph not in self.graphs:
            return (INVALID,)
        with open(path, "w") as file:
            file.write("digraph {}")
        return (GOOD,)

    def cuGraphDestroy(self, graph):
        return (GOOD if self.graphs.pop(graph, None) is not None else INVALID,)

    def cuGraphExecDestroy(self, executable):
        return (GOOD if self.executables.pop(executable, None) is not None else INVALID,)


def _take(own: pool.Pool, nbytes: int, spec: Any = None) -> pool.Block:
    """A pool whose blocks are allocations of their own sizes."""
    ptr = int(driver.good(driver.api().cuMemAlloc(max(1, nbytes)), "cuMemAlloc"))
    arena = own._arena(own.gpu.stream)
    chunk = Chunk(arena, own.tallies[1], ptr, max(1, nbytes))
    own.bytes += chunk.size
    return pool.Block(own, chunk)


def _give_back(own: pool.Pool, block: pool.Block) -> None:
    """A pool that keeps nothing."""
    with own.lock:
        own.bytes -= block.size
        driver.good(driver.api().cuMemFree(block.ptr), "cuMemFree")


def _forget() -> None:
    """Nothing of an earlier driver is used again."""
    launch._target.cache_clear()
    launch.allocator.cache_clear()
    launch.offered.cache_clear()
    for table in (launch._COMPILED, launch._EMPTY, launch._MANY):
        for key in [k for k in table if "cuda" in str(k[-1] if isinstance(k, tuple) else k)]:
            del table[key]
    for memory in promotion._MADE_FOR:  # calls that operators know
        memory.clear()
    tables = convolution._KEPT  # in the GPU's memory
    known = convolutions._PLANS, convolutions._SETTINGS
    for plans in (_PLANS, ROWS, INDEXED, _BOUND, *known, tables, convolution.Table.retired, rule._PLANS, rule._MANY):
        plans.clear()
    _check_code.cache_clear()


def python_calls(body) -> list[str]:
    """The functions of facula in Python that run meanwhile, but for what asks subclasses once some test made one."""
    found = []

    def told(frame, event, argument):
        of = frame.f_code
        if event == "call" and "facula" in of.co_filename and "tests" not in of.co_filename:
            if of is not override.called.__code__:
                found.append(of.co_name)

    sys.setprofile(told)
    try:
        body()
    finally:
        sys.setprofile(None)
    return found


@contextmanager
def installed(fake: FakeDriver, monkeypatch, blas: Any = None) -> Iterator[FakeDriver]:
    """`fake` in the place of the driver, `blas` (none) in that of cuBLASLt, and texts in that of machine code."""

    def machine_code(p: Program, gpu: driver.Device) -> bytes:
        fake.programs[p.text] = p
        return p.text.encode()

    monkeypatch.setattr(functions, "machine_code", machine_code)
    if CHECKED:  # each block is an allocation of its own size
        monkeypatch.setattr(pool.Pool, "take", _take)
        monkeypatch.setattr(pool.Pool, "put_back", _give_back)
        monkeypatch.setattr(leases.Table, "address", 0)  # machine code keeps nothing
    pools = dict(pool._POOLS)
    _forget()
    driver.use(fake)
    cublaslt.use(blas)
    try:
        yield fake
    finally:
        driver.use(None)
        cublaslt.use(None, really=True)
        code._statuses.clear()
        tickets.RING[0] = 0
        tickets._recorded.clear()  # graphs of a driver that is gone may live on
        pool._POOLS.clear()
        pool._POOLS.update(pools)
        _forget()
