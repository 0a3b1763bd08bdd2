"""A driver without a GPU: it keeps a record of all calls, its memory is the host's, kernels run in the emulator.

It has the functions of `cuda.bindings.driver` that facula calls, with their arguments and results, and refuses what the
driver refuses: addresses and handles that it has not given out, a second free, a launch without a context.
"""

import ctypes
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from facula import launch
from facula.operators import promotion
from facula.operators.matmul import _PLANS
from facula.targets.cuda import code, cublaslt, driver, functions, leases, pool
from facula.targets.cuda.emit import Program
from tests.targets.cuda.emulator import CHECKED, Emulator

GOOD, INVALID, NO_MEMORY, NO_CONTEXT, NO_HANDLE, NOT_FOUND, FAILED = 0, 1, 2, 201, 400, 500, 999
TEXTS = {
    INVALID: b"invalid argument", NO_MEMORY: b"out of memory", NO_CONTEXT: b"invalid device context",
    NO_HANDLE: b"invalid resource handle", NOT_FOUND: b"named symbol not found",
}  # fmt: skip
# cuLaunchKernel of cuda.h: function, grid, block, shared memory, stream, arguments, extra
LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint] * 7, *[ctypes.c_void_p] * 3)
FUNCTIONS: dict[int, Program] = {}  # by handle; those of a driver that is gone are known to later ones


def _watch(what: str, start: int, size: int) -> None:
    """Tell the address sanitizer that memory must not be touched ("poison"), or may be ("unpoison")."""
    getattr(ctypes.CDLL(None), f"__asan_{what}_memory_region")(ctypes.c_void_p(start), ctypes.c_size_t(size))


class FakeDriver:
    """One GPU with `memory` bytes."""

    CUdevice_attribute = int
    multiprocessors, resident = 132, 2048  # threads of a multiprocessor

    def __init__(
        self, emulator: Emulator | None = None, memory: int = 1 << 30, capability: tuple[int, int] = (9, 0),
        strict: bool = False,
    ):  # fmt: skip
        self.emulator, self.memory, self.capability = emulator, memory, capability
        self.calls: list[tuple] = []  # name, then arguments
        self.blocks: dict[int, np.ndarray] = {}
        self.pinned: list[np.ndarray] = []
        self.programs: dict[str, Program] = {}
        self.contexts = threading.local()  # `current`: of each thread
        self.launched = LAUNCH(self._launched)  # what cuGetProcAddress finds
        self.trouble = ""  # what a kernel did wrong
        self.handles = itertools.count(1)
        self.living: set[int] = set()  # handles of streams and events
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

    def used(self) -> int:
        """Bytes that are allocated."""
        return sum(len(block) for block in self.blocks.values())

    # Devices and contexts

    def cuInit(self, flags):
        return (GOOD,)

    def cuGetErrorString(self, status):
        return GOOD, TEXTS.get(int(status), self.trouble.encode() or b"unknown error")

    def cuGetProcAddress(self, name, version, flags):
        if name != b"cuLaunchKernel" or not 4000 <= version:
            return GOOD, 0, 1
        return GOOD, ctypes.cast(self.launched, ctypes.c_void_p).value, 0

    @property
    def context(self):
        return getattr(self.contexts, "current", None)

    def cuDeviceGetCount(self):
        return GOOD, 1

    def cuDeviceGet(self, number):
        return (GOOD, number) if number == 0 else (INVALID, None)

    def cuDeviceGetAttribute(self, attribute, device):
        known = {driver.MAJOR: self.capability[0], driver.MINOR: self.capability[1], driver.RESIDENT: self.resident}
        return GOOD, known.get(attribute, self.multiprocessors)

    def cuDeviceGetName(self, size, device):
        return GOOD, b"Emulated GPU\0\0\0"

    def cuDeviceTotalMem(self, device):
        return GOOD, self.memory

    def cuDevicePrimaryCtxRetain(self, device):
        return GOOD, "context"

    def cuCtxSetCurrent(self, context):
        self.contexts.current = context
        return (GOOD,)

    def cuCtxSynchronize(self):
        return (GOOD if self.context else NO_CONTEXT,)

    # Memory

    def cuMemAlloc(self, size):
        if self.used() + size > self.memory:
            return NO_MEMORY, None
        block = np.full(size + 256, 0xA5, np.uint8)  # nobody may take it for zeros
        start = block.ctypes.data + -block.ctypes.data % 256
        if CHECKED:  # what lies before and behind must not be touched
            behind = start + -(-size // 8) * 8
            _watch("poison", block.ctypes.data, start - block.ctypes.data)
            _watch("poison", behind, block.ctypes.data + len(block) - behind)
        self.blocks[start] = block[start - block.ctypes.data :][:size]
        return GOOD, start

    def cuMemAllocManaged(self, size, flags):
        return self.cuMemAlloc(size)

    def cuMemFree(self, ptr):
        block = self.blocks.pop(ptr, None)
        if CHECKED and block is not None:
            whole = block.base
            _watch("unpoison", whole.ctypes.data, whole.nbytes)
        return (GOOD if block is not None else INVALID,)

    def cuMemGetInfo(self):
        return GOOD, self.memory - self.used(), self.memory

    def cuMemHostAlloc(self, size, flags):
        self.pinned.append(np.full(size, 0xA5, np.uint8))
        return GOOD, self.pinned[-1].ctypes.data

    def _inside(self, ptr: int, size: int) -> bool:
        return any(start <= ptr and ptr + size <= start + len(block) for start, block in self.blocks.items())

    def cuMemcpyHtoDAsync(self, to, start, size, stream):
        if not self._inside(to, size) or not self._is_stream(stream):
            return (INVALID,)
        ctypes.memmove(to, start, size)
        return (GOOD,)

    def cuMemcpyDtoHAsync(self, to, start, size, stream):
        if not self._inside(start, size) or not self._is_stream(stream):
            return (INVALID,)
        ctypes.memmove(to, start, size)
        return (GOOD,)

    def cuMemcpyDtoDAsync(self, to, start, size, stream):
        if not self._inside(to, size) or not self._inside(start, size) or not self._is_stream(stream):
            return (INVALID,)
        ctypes.memmove(to, start, size)
        return (GOOD,)

    # Modules and launches

    def cuModuleLoadData(self, code):
        return GOOD, self.programs[code.decode()]

    def cuModuleGetFunction(self, module, name):
        if module.name != name.decode():
            return NOT_FOUND, None
        handle = id(module)  # which `FUNCTIONS` keeps
        FUNCTIONS[handle] = module
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
        fits = 0 < gx < 2**31 and 0 < gy < 2**16 and gz == bz == 1 and 0 < bx * by <= 1024
        if not fits or not self._is_stream(stream):
            return (INVALID,)
        if self.strict and (foreign := self._foreign(function, table)):
            raise AssertionError(f"{function.name} is given addresses of the host's memory: {', '.join(foreign)}")
        assert self.emulator is not None
        self.emulator.build([function])
        dims = (ctypes.c_uint * 4)(gx, gy, bx, by)
        self.order ^= 1  # threads and blocks run forward and backward in turn
        trouble = self.emulator.entries[function.text](dims, ctypes.c_void_p(table), self.order)
        assert trouble is None, f"{function.name}: {trouble.decode()}"
        return (GOOD,)

    def _foreign(self, function: Program, table: int) -> list[str]:
        """The pointers among what a kernel takes that point to no memory of the GPU."""
        found = []
        places = (ctypes.c_void_p * len(function.takes)).from_address(table)
        for (kind, name), place in zip(function.takes, places):
            address = ctypes.c_int64.from_address(place).value if kind.endswith("*") else 0
            near = any(-4096 <= address - start <= len(block) for start, block in self.blocks.items())
            if address and not near and not self._is_pinned(address):  # windows may begin before an operand
                found.append(name)
        return found

    def _is_pinned(self, address: int) -> bool:
        return any(0 <= address - block.ctypes.data < len(block) for block in self.pinned)

    # Streams and events

    def _is_stream(self, handle: int) -> bool:
        return handle == 0 or handle in self.living

    def _made(self) -> int:
        handle = next(self.handles)
        self.living.add(handle)
        return handle

    def _gone(self, handle: int) -> tuple:
        if handle not in self.living:
            return (INVALID,)
        self.living.discard(handle)
        return (GOOD,)

    def cuStreamCreate(self, flags):
        return GOOD, self._made()

    def cuStreamDestroy(self, stream):
        return self._gone(stream)

    def cuStreamSynchronize(self, stream):
        return (GOOD,)

    def cuStreamQuery(self, stream):
        return (GOOD,)

    def cuStreamWaitEvent(self, stream, event, flags):
        return (GOOD if event in self.living else INVALID,)

    def cuEventCreate(self, flags):
        return GOOD, self._made()

    def cuEventDestroy(self, event):
        return self._gone(event)

    def cuEventRecord(self, event, stream):
        return (GOOD if event in self.living else INVALID,)

    def cuEventQuery(self, event):
        return (GOOD,)

    def cuEventSynchronize(self, event):
        return (GOOD,)

    def cuEventElapsedTime(self, start, end):
        return GOOD, 1.5


def _give_back(own: pool.Pool, block: pool.Block) -> None:
    """A pool that keeps nothing."""
    with own.lock:
        own.counts["allocated"] -= block.size
        own.counts["blocks"] -= 1
        own.counts["reserved"] -= own.large.pop(block.ptr)
        driver.good(driver.api().cuMemFree(block.ptr), "cuMemFree")


def _forget() -> None:
    """Nothing of an earlier driver is used again."""
    launch._target.cache_clear()
    launch.allocator.cache_clear()
    for table in (launch._COMPILED, launch._EMPTY, launch._MANY):
        for key in [k for k in table if "cuda" in str(k[-1] if isinstance(k, tuple) else k)]:
            del table[key]
    for memory in promotion._MADE_FOR:  # calls that operators know
        memory.clear()
    _PLANS.clear()


@contextmanager
def installed(fake: FakeDriver, monkeypatch, blas: Any = None) -> Iterator[FakeDriver]:
    """`fake` in the place of the driver, `blas` (none) in that of cuBLASLt, and texts in that of machine code."""

    def machine_code(p: Program, gpu: driver.Device) -> bytes:
        fake.programs[p.text] = p
        return p.text.encode()

    monkeypatch.setattr(functions, "machine_code", machine_code)
    if CHECKED:  # each block is an allocation of its own size
        monkeypatch.setattr(pool, "rounded", lambda nbytes: max(1, nbytes))
        monkeypatch.setattr(pool, "SMALL", -1)
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
        code._status_of.cache_clear()
        code._tickets[0] = 0
        code._launched.clear()
        pool._POOLS.clear()
        pool._POOLS.update(pools)
        _forget()
