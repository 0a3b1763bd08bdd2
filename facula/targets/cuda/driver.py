"""The driver: whether there is a GPU, its context, modules, streams, events, launches; one place raises its errors.

Everything goes through `api()`, the module `cuda.bindings.driver` or what tests put in its place. Which of several GPUs
a thread uses says `core.device.CURRENT`: `gpu()` gives that one, `current` changes it for a block.
"""

import ctypes
import itertools
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache as remembered
from importlib import import_module
from typing import Any

from facula.core import device as places
from facula.errors import AcceleratorError, fail

__all__ = [
    "HERE", "WORDS", "Device", "Event", "Stream", "address", "api", "count", "current", "entered", "forked", "good",
    "gpu", "marks", "reason", "started", "use",
]  # fmt: skip

_IN_PLACE: list[Any] = []  # what tests use in place of the driver
_lock = threading.RLock()
_started: dict[int, "Device"] = {}  # by number: one each, whoever asks first
OUT_OF_MEMORY, NOT_READY = 2, 600  # of CUresult
MAJOR, MINOR, MULTIPROCESSORS, RESIDENT = 75, 76, 16, 39  # of CUdevice_attribute; threads of a multiprocessor
OLDEST = (8, 0)  # the texts use instructions from this compute capability on
PORTABLE, MAPPED = 1, 2  # of the flags of cuMemHostAlloc
BLOCKING_SYNC, NO_TIMING, NON_BLOCKING = 1, 2, 1  # flags of events (the first two) and of streams
RELAXED = 2  # of CUstreamCaptureMode: calls that a capture does not see are allowed
PRIORITIES, STREAMS = 4, 32  # streams are shared by those who ask for more than so many of a priority, as PyTorch's
# What machine code sees (`launcher`): the number of the Python thread that the rest is for, 0 for none; its stream; the
# address of cuLaunchKernel; objects to call for another thread or GPU, after a refused launch, for memory; its free
# blocks; whether the stream is recorded, what then numbers launches with checks, and what has the graph keep something;
# the name of what frames are told apart by; the address of the `torch.device` whose context, stream and memory these
# are.
WORDS = (
    "thread", "stream", "launch", "enter", "refused", "take", "table", "capture", "record", "keep", "name", "device",
)  # fmt: skip
HERE = (ctypes.c_int64 * len(WORDS))()


def use(driver: Any) -> None:
    """Put something with the functions of `cuda.bindings.driver` in its place; None: the driver itself again."""
    _IN_PLACE[:] = [] if driver is None else [driver]
    for known in (address, api, _found, count):
        known.cache_clear()
    _started.clear()
    places.CURRENT.index, _entered.device = 0, None
    HERE[0] = 0


@remembered
def api() -> Any:
    """The bindings of the driver."""
    if _IN_PLACE:
        return _IN_PLACE[0]
    return import_module("cuda.bindings.driver")


def good(answer: tuple, call: str) -> Any:
    """What a call returned besides its status; AcceleratorError in PyTorch's words where that is none of success."""
    status, *found = answer
    if int(status) != 0:
        text, number = None, int(status)  # from machine code it is a number
        try:
            status = api().CUresult(number)
            _, text = api().cuGetErrorString(status)
        except ValueError:  # the driver is newer than the bindings
            pass
        text = text.decode() if isinstance(text, bytes) else f"error {number}"
        fail(AcceleratorError, f"CUDA error: {text}", got=f"{getattr(status, 'name', number)} from {call}")
    return found[0] if len(found) == 1 else tuple(found) if found else None


@remembered
def address(name: str) -> int:
    """Where a function of the driver is in memory, as it was in CUDA 11."""
    found, _ = good(api().cuGetProcAddress(name.encode(), 11000, 0), "cuGetProcAddress")
    if not found:
        fail(RuntimeError, f"the NVIDIA driver has no function {name}")
    return int(found)


@remembered
def _found() -> str:
    """Why there is no GPU to use; "" where there is one."""
    from . import nvrtc

    try:
        (status,) = api().cuInit(0)
        if int(status) != 0:
            return f"the NVIDIA driver says {getattr(status, 'name', int(status))}"
        if good(api().cuDeviceGetCount(), "cuDeviceGetCount") == 0:
            return "the NVIDIA driver finds no GPU"
        capability = _capability(good(api().cuDeviceGet(0), "cuDeviceGet"))
        if capability < OLDEST:
            return f"the GPU has compute capability {capability[0]}.{capability[1]}, and 8.0 is needed"
        nvrtc.architecture(capability)
        newest, (major, minor) = good(api().cuDriverGetVersion(), "cuDriverGetVersion"), nvrtc.version()
        if newest // 1000 < major:  # within a major version, older drivers take machine code of newer compilers
            own = f"{newest // 1000}.{newest % 1000 // 10}"
            return f"the NVIDIA driver on this system is too old: it is for CUDA {own}, and NVRTC for {major}.{minor}"
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "cuda":
            return "the package cuda-bindings is not installed: pip install 'facula[cuda]'"
        return " ".join(str(error).split())
    except (ImportError, OSError, RuntimeError) as error:  # pathfinder's DynamicLibNotFoundError is a RuntimeError
        return str(error).splitlines()[0]
    return ""


def reason() -> str:
    """Why no GPU can be used, or "": asked once a process, and nothing is started where there is none."""
    return _found()


def _capability(handle: Any) -> tuple[int, int]:
    kinds = api().CUdevice_attribute
    ask = api().cuDeviceGetAttribute
    return (
        good(ask(kinds(MAJOR), handle), "cuDeviceGetAttribute"),
        good(ask(kinds(MINOR), handle), "cuDeviceGetAttribute"),
    )


class _Entered(threading.local):
    """Whose context is a thread's."""

    device: "Device | None" = None


_entered = _Entered()


def entered() -> Any:
    """The GPU whose context is the thread's."""
    return _entered.device


class _Thread(threading.local):
    """What is a thread's own on a GPU: its stream, the private pool that it takes from."""

    def __init__(self, stream: "Stream"):
        self.stream, self.private = stream, None


class Device:
    """A GPU, with its primary context, which other libraries in the process share."""

    started = _started  # of the class: here when names of the module are gone, as at the end of the process
    __slots__ = (
        "architecture", "capability", "captures", "context", "default", "handle", "index", "memory", "multiprocessors",
        "name", "peers", "resident", "shared", "thread", "where",
    )  # fmt: skip

    def __init__(self, index: int):
        from . import nvrtc

        self.index, self.where = index, places.device("cuda", index)
        self.handle = good(api().cuDeviceGet(index), "cuDeviceGet")
        self.capability = _capability(self.handle)
        self.architecture = nvrtc.architecture(self.capability)
        name = good(api().cuDeviceGetName(256, self.handle), "cuDeviceGetName")
        self.name = name.split(b"\0")[0].decode()
        self.memory = good(api().cuDeviceTotalMem(self.handle), "cuDeviceTotalMem")
        kinds, ask = api().CUdevice_attribute, api().cuDeviceGetAttribute
        self.multiprocessors = good(ask(kinds(MULTIPROCESSORS), self.handle), "cuDeviceGetAttribute")
        self.resident = good(ask(kinds(RESIDENT), self.handle), "cuDeviceGetAttribute")
        self.context = good(api().cuDevicePrimaryCtxRetain(self.handle), "cuDevicePrimaryCtxRetain")
        self.default = Stream(self, 0)
        self.thread = _Thread(self.default)
        self.shared: dict[int, tuple[Iterator[int], list[Stream]]] = {}  # priority -> whose turn it is, streams
        self.captures: list[Any] = []  # of `graphs.Graph`: those that are being recorded
        self.peers: dict[int, bool] = {}  # number of another GPU -> whether its memory is in reach
        self.enter()

    @property
    def current(self) -> bool:
        """Whether it is one of those in use: tests put other drivers in its place, and a forked process has none."""
        return self.started.get(self.index) is self

    @property
    def stream(self) -> "Stream":
        """The stream that this thread's work is given to."""
        return self.thread.stream

    @stream.setter
    def stream(self, stream: "Stream") -> None:
        private = self.thread.private
        self.thread.stream = stream if private is None else stream.taking(private)
        HERE[0] = 0

    def shared_stream(self, priority: int = 0) -> "Stream":
        """One of the streams of a priority, in turn: none is ever given back, so that its memory can be used again."""
        priority = -min(max(-priority, 0), PRIORITIES - 1)
        with _lock:
            turns, streams = self.shared.setdefault(priority, (itertools.count(), []))
            turn = next(turns)
            if turn < STREAMS:
                streams.append(Stream(self, priority=priority))
            return streams[turn % STREAMS]

    def enter(self) -> None:
        """Make the context this thread's."""
        if _entered.device is not self:
            good(api().cuCtxSetCurrent(self.context), "cuCtxSetCurrent")
            _entered.device = self
            HERE[0] = 0  # what machine code knows may be of another GPU

    def attribute(self, number: int) -> int:
        """A number that the driver knows of it, by CUdevice_attribute."""
        return good(api().cuDeviceGetAttribute(api().CUdevice_attribute(number), self.handle), "cuDeviceGetAttribute")

    def reaches(self, other: "Device") -> bool:
        """Whether its kernels and copies may use memory of another GPU."""
        answer = api().cuDeviceCanAccessPeer(self.handle, other.handle)
        return other is not self and bool(good(answer, "cuDeviceCanAccessPeer"))

    def synchronize(self) -> None:
        """Wait for all work."""
        self.enter()
        good(api().cuCtxSynchronize(), "cuCtxSynchronize")

    @contextmanager
    def relaxed(self) -> Iterator[None]:
        """Calls in the block are allowed while a graph is recorded: it need not see them."""
        self.enter()
        if not self.captures:
            yield
            return
        mode = api().CUstreamCaptureMode
        before = good(api().cuThreadExchangeStreamCaptureMode(mode(RELAXED)), "cuThreadExchangeStreamCaptureMode")
        try:
            yield
        finally:
            good(api().cuThreadExchangeStreamCaptureMode(before), "cuThreadExchangeStreamCaptureMode")

    def host_memory(self, nbytes: int, flags: int) -> int:
        """The address of page-locked memory of the host."""
        with self.relaxed():
            return int(good(api().cuMemHostAlloc(nbytes, flags), "cuMemHostAlloc"))

    def load(self, code: bytes, name: str) -> Any:
        """A function of machine code; its module stays loaded."""
        with self.relaxed():
            module = good(api().cuModuleLoadData(code), "cuModuleLoadData")
            return good(api().cuModuleGetFunction(module, name.encode()), "cuModuleGetFunction")


class Stream:
    """Work in order, beside that of other streams: the device's, another library's, or (no handle) a new one."""

    __slots__ = ("arena", "capture", "device", "handle", "key", "own", "priority", "private")

    def __init__(self, device: Device, handle: Any = None, priority: int = 0):
        self.device, self.priority = device, priority
        self.arena: Any = None  # where `pool` takes memory for it; None: not known yet
        self.capture: Any = None  # the graph that records it
        self.private: Any = None  # the private pool that it takes from although no graph records it
        self.own = handle is None
        if self.own:
            device.enter()
            handle = good(api().cuStreamCreateWithPriority(NON_BLOCKING, priority), "cuStreamCreateWithPriority")
        self.handle, self.key = handle, int(handle)

    def taking(self, private: Any) -> "Stream":
        """The same stream, whose memory comes from a private pool."""
        other = Stream(self.device, self.handle, self.priority)
        other.private, other.capture = private, self.capture
        return other

    def synchronize(self) -> None:
        """Wait for its work."""
        self.device.enter()
        good(api().cuStreamSynchronize(self.handle), "cuStreamSynchronize")

    def query(self) -> bool:
        """Whether its work is done."""
        self.device.enter()
        (status,) = api().cuStreamQuery(self.handle)
        if int(status) == NOT_READY:
            return False
        good((status,), "cuStreamQuery")
        return True

    def wait(self, event: "Event") -> None:
        """Later work waits for what `event` marks; where that is recorded into a graph, so is this stream."""
        self.device.enter()
        good(api().cuStreamWaitEvent(self.handle, event.handle, 0), "cuStreamWaitEvent")
        capture = event.capture
        if capture is not None and self.capture is None and capture in self.device.captures:
            capture.join(self)


class Event:
    """A mark in a stream."""

    __slots__ = ("capture", "destroy", "device", "handle")

    def __init__(self, device: Device, timing: bool = False, blocking: bool = False):
        self.device, self.destroy = device, api().cuEventDestroy
        self.capture: Any = None  # the graph that it was last recorded into
        device.enter()
        flags = (0 if timing else NO_TIMING) | (BLOCKING_SYNC if blocking else 0)
        self.handle = good(api().cuEventCreate(flags), "cuEventCreate")

    def record(self, stream: Stream) -> None:
        """Mark what the stream has been given so far."""
        self.device.enter()
        good(api().cuEventRecord(self.handle, stream.handle), "cuEventRecord")
        self.capture = stream.capture

    def query(self) -> bool:
        """Whether what it marks is done."""
        with self.device.relaxed():
            (status,) = api().cuEventQuery(self.handle)
        if int(status) == NOT_READY:
            return False
        good((status,), "cuEventQuery")
        return True

    def synchronize(self) -> None:
        """Wait for what it marks."""
        self.device.enter()
        good(api().cuEventSynchronize(self.handle), "cuEventSynchronize")

    def elapsed(self, end: "Event") -> float:
        """Milliseconds from this mark to another one."""
        return good(api().cuEventElapsedTime(self.handle, end.handle), "cuEventElapsedTime")

    def __del__(self):
        if hasattr(self, "handle") and self.device.current:
            self.device.enter()  # whichever thread collects garbage
            self.destroy(self.handle)


def marks(streams: Iterable["Stream"]) -> list[Event]:
    """A mark in each stream, behind what it has been given so far."""
    events = []
    for stream in streams:
        events.append(Event(stream.device))
        events[-1].record(stream)
    return events


@remembered
def count() -> int:
    """How many GPUs there are to use: from the first on, as far as facula can use them; 0 where `reason` says why."""
    if reason():
        return 0
    found = good(api().cuDeviceGetCount(), "cuDeviceGetCount")
    for index in range(found):
        if _capability(good(api().cuDeviceGet(index), "cuDeviceGet")) < OLDEST:
            return index
    return found


def gpu(index: int | None = None) -> Device:
    """A GPU, or the one that the thread uses, started when first asked for; AssertionError where there is none."""
    number = places.CURRENT.index if index is None else index
    return _started.get(number) or _start(number)


def _start(index: int) -> Device:
    from facula.targets import no_cuda

    with _lock:
        if _forked:
            fail(RuntimeError, "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you "
                 "must use the 'spawn' start method")  # fmt: skip
        why = reason()
        if why:
            no_cuda(why)
        if not 0 <= index < count():
            names = "cuda:0" if count() == 1 else f"cuda:0 to cuda:{count() - 1}"
            fail(AcceleratorError, "CUDA error: invalid device ordinal", got=f"cuda:{index}", expected=names)
        if index not in _started:
            _started[index] = Device(index)
        return _started[index]


@contextmanager
def current(device: Device) -> Iterator[None]:
    """The thread uses a GPU in the block."""
    here = places.CURRENT
    before, here.index = here.index, device.index
    device.enter()
    try:
        yield
    finally:
        here.index = before


def started() -> bool:
    """Whether a GPU was asked for."""
    return bool(_started)


_forked: list[bool] = []  # not empty: the GPUs belong to the process that this one was forked from


def forked() -> bool:
    """Whether a GPU was started before this process was forked: it cannot be used here."""
    return bool(_forked)


def _forget_in_child() -> None:
    """The driver does not work in a forked process; nothing is given back to it there."""
    global _lock
    _lock = threading.RLock()  # another thread may have held it
    if _started:
        _forked.append(True)
        _started.clear()
    HERE[0] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
