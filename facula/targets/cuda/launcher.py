"""Launches from machine code: the driver's `cuLaunchKernel` called through its address, in the thread's current stream.

What changes from thread to thread stands in `driver.HERE`, for the thread that asked last: machine code looks whether
that is its own, and has `_enter` called where it is not. All of it runs under the GIL, which launches keep.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

from facula.errors import fail
from facula.native import builtins, jit, records
from facula.native.entry import Entry
from facula.native.text import Value

from . import driver, leases, pool

__all__ = ["MOST", "WAYS", "caller", "place", "record", "starter", "words"]

MOST = 160  # arguments of a function
WAYS = 64  # places of a table of sizes that were met
_MIX = -7046029254386353131
INT, DOUBLE, FLOAT = range(3)  # how an argument is given, in 8 bytes each
_KINDS = {"float": FLOAT, "double": DOUBLE}  # of C++ types; all others: INT

# Words of what is known of a function: its handle, how many arguments it takes, how each is given.
HANDLE, COUNT, KINDS = 0, 8, 16
# Words of one launch: the function (0: nothing is to be done), grid, block, how many arguments follow those that are
# given with each call, and these.
FUNCTION, GRID, BLOCK, EXTRAS, EXTRA = 0, 8, 24, 40, 48

_DECLARATIONS = f"""
{records.DECLARATIONS}
@facula_cuda_here = external global [{len(driver.HERE)} x i64]
declare i64 @facula_as_i64(ptr)
declare double @facula_as_f64(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Occurred()
declare void @PyErr_Clear()
declare ptr @PyThreadState_Get()
declare i64 @PyThreadState_GetID(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
"""


def _word(f: Entry, name: str, type: str = "ptr") -> Value:
    """A word of `driver.HERE`."""
    return f.load(type, f.at(f.symbol_value("facula_cuda_here"), 8 * driver.WORDS.index(name)))


def _ready() -> str:
    """`facula_cuda_ready()`: the words are this thread's; -1 where they cannot be, with the error set."""
    f: Any = Entry("facula_cuda_ready", "", "i32", linkage="")
    f.branch("look")
    f.label("look")
    own = f.call("i64", "@PyThreadState_GetID", f.call("ptr", "@PyThreadState_Get"))
    f.leave(own.eq(_word(f, "thread", "i64")), "ready")
    told = f.call("ptr", "@PyObject_CallNoArgs", _word(f, "enter"))
    f.leave(f.null(told), "failed")
    f.call("void", "@Py_DecRef", told)
    f.branch("look")  # Python may have gone on in another thread meanwhile
    f.label("ready")
    f.done(f.constant("i32", 0))
    f.label("failed")
    f.done(f.constant("i32", -1))
    return f.text()


def _run() -> str:
    """`facula_cuda_run(words, launch)`: starts a function with arguments of a word each; -1: an error is set."""
    f: Any = Entry("facula_cuda_run", "ptr words, ptr launch", "i32", linkage="")
    table = f.alloca("ptr", MOST)
    function = f.slot(f.launch, FUNCTION)
    f.leave(f.null(function), "nothing")
    f.leave(f.call("i32", "@facula_cuda_ready").ne(0), "failed")
    count, extras = f.load("i64", f.at(function, COUNT)), f.load("i64", f.at(f.launch, EXTRAS))
    with f.loop(0, extras) as loop:
        f.store(f.load("i64", f.item(f.launch, loop.index, EXTRA)), f.item(f.words, count - extras + loop.index))
    with f.loop(0, count) as loop:
        at = f.item(f.words, loop.index)
        with f.when(f.load("i64", f.item(function, loop.index, KINDS)).eq(FLOAT)):
            f.store(f.value("float", f"fptrunc double {f.load('double', at).name} to float"), at)
        f.store(at, f.item(table, loop.index))
    sizes = [f.load("i32", f.at(f.launch, offset)) for offset in (GRID, GRID + 8, BLOCK, BLOCK + 8)]
    one, none = f.constant("i32", 1), f.constant("i32", 0)
    status = f.call(
        "i32", _word(f, "launch").name, f.slot(function, HANDLE), *sizes[:2], one, *sizes[2:], one, none,
        _word(f, "stream"), table, f.constant("ptr", 0),
    )  # fmt: skip
    f.leave(status.ne(0), "refused")
    f.branch("nothing")
    f.label("nothing")
    f.done(none)
    f.label("refused")
    number = f.call("ptr", "@PyLong_FromLongLong", f.value("i64", f"sext i32 {status.name} to i64"))
    f.leave(f.null(number), "failed")
    f.call("ptr", "@PyObject_CallOneArg", _word(f, "refused"), number)  # which raises
    f.call("void", "@Py_DecRef", number)
    f.branch("failed")
    f.label("failed")
    f.done(f.constant("i32", -1))
    return f.text()


def _read(f: Any, function: Value, words: Value, start: int = 0, count: Value | None = None) -> None:
    """Reads arguments from `start` on into words, by their kinds; where one is no such number, an error is set."""
    with f.loop(0, f.load("i64", f.at(function, COUNT)) if count is None else count) as loop:
        given, at = f.load("ptr", f.item(f.args, loop.index, 8 * start)), f.item(words, loop.index)
        with f.either(f.load("i64", f.item(function, loop.index, KINDS)).eq(INT)) as whole:
            f.store(f.call("i64", "@facula_as_i64", given), at)
            whole.otherwise()
            f.store(f.call("double", "@facula_as_f64", given), at)


def _erred(f: Any) -> Value:
    return f.value("i1", f"icmp ne ptr {f.call('ptr', '@PyErr_Occurred').name}, null")


def _start() -> str:
    """`start(grid x, grid y, block x, block y, *arguments)`; its context: the address of a function's words."""
    f: Any = Entry("start", "ptr self, ptr args, i64 given", "ptr", linkage="")
    words, launch = f.alloca("i64", MOST), f.alloca("i64", EXTRA // 8)
    function = f.address(f.context(0))
    count = f.load("i64", f.at(function, COUNT))
    f.leave((count + 4).ne(f.given), "misfit")
    f.store(function, f.at(launch, FUNCTION))
    for i in range(4):
        f.store(f.call("i64", "@facula_as_i64", f.load("ptr", f.item(f.args, i))), f.at(launch, GRID + 8 * i))
    f.store(f.constant("i64", 0), f.at(launch, EXTRAS))
    _read(f, function, words, start=4)
    f.leave(_erred(f), "failed")
    f.leave(f.call("i32", "@facula_cuda_run", words, launch).ne(0), "failed")
    f.emit(builtins.NONE.strip())
    f.label("misfit")
    f.done(f.call("ptr", "@facula_bad_count", f.symbol_value("title"), count + 4, f.given))
    f.label("failed")
    f.emit("ret ptr null")
    return f.text()


def _call() -> str:
    """`call(*arguments)` of a kernel: its launch by its sizes; in others Python is asked.

    Its context: the address of a function's words, how many arguments come before the sizes and strides, how many these
    are, the address of the table of launches (`place`, `record`), and what does calls that are not in it.
    """
    f: Any = Entry("call", "ptr self, ptr args, i64 given", "ptr", linkage="")
    words = f.alloca("i64", MOST)
    function, ways = f.address(f.context(0)), f.address(f.context(3))
    head, tail = (f.call("i64", "@facula_as_i64", f.context(i)) for i in (1, 2))
    f.leave((head + tail).ne(f.given), "slow")
    _read(f, function, words, count=f.given)
    f.leave(_erred(f), "odd")
    f.leave(f.call("i32", "@facula_cuda_ready").ne(0), "failed")  # no Python runs between here and the launch
    sizes = f.item(words, head)
    mixed = f.variable("i64", 0)
    with f.loop(0, tail) as loop:
        word = f.load("i64", f.item(sizes, loop.index))
        mixed.set(f.value("i64", f"xor i64 {word.name}, {mixed.get().name}") * _MIX)
    found = f.load("ptr", f.item(ways, mixed.get() >> (64 - WAYS.bit_length() + 1)))
    f.leave(f.null(found), "slow")
    with f.loop(0, tail) as loop:
        same = f.load("i64", f.item(sizes, loop.index)).eq(f.load("i64", f.item(found, loop.index, 8)))
        f.leave(f.value("i1", f"xor i1 {same.name}, true"), "slow")
    f.leave(f.call("i32", "@facula_cuda_run", words, f.slot(found, 0)).ne(0), "failed")
    f.emit(builtins.NONE.strip())
    f.label("odd")
    f.call("void", "@PyErr_Clear")  # Python says it better
    f.branch("slow")
    f.label("slow")
    f.done(f.call("ptr", "@PyObject_Vectorcall", f.context(4), f.args, f.given, f.constant("ptr", 0)))
    f.label("failed")
    f.emit("ret ptr null")
    return f.text()


_NAMES = ("facula_cuda_ready", "facula_cuda_run", *leases.NAMES)
_BUILTINS = {"start": _start, "call": _call}
_loaded: dict[str, int] = {}
_lock = threading.Lock()


def _addresses() -> dict[str, int]:
    if not _loaded:
        jit.define("facula_cuda_here", ctypes.addressof(driver.HERE))
        own = [_ready(), _run(), *[make() for make in _BUILTINS.values()], leases.text(_word)]
        text = "\n".join([_DECLARATIONS, builtins.string("title", "a launch"), *own])
        loaded = jit.load(text, [*_NAMES[:2], *_BUILTINS, *leases.SYMBOLS], optimize="clean")
        for name in _NAMES:
            jit.define(name, loaded[name])
        with _lock:  # in which nothing waits for the lock of `jit`
            if not _loaded:
                leases.begin(loaded)
                _loaded.update(loaded)
    return _loaded


jit.provide(_NAMES, _addresses)


def run_address() -> int:
    """Of `facula_cuda_run`."""
    return _addresses()["facula_cuda_run"]


# What machine code calls ----------------------------------------------------------------------------------------------

_thread = ctypes.pythonapi.PyThreadState_GetID
_state = ctypes.pythonapi.PyThreadState_Get
_thread.argtypes, _thread.restype = [ctypes.c_void_p], ctypes.c_uint64
_state.argtypes, _state.restype = [], ctypes.c_void_p


_takers: dict[pool.Pool, Callable[..., pool.Block]] = {}  # the same object each time: machine code keeps its address


def _enter() -> None:
    """Make the words those of this thread, in the context of the GPU."""
    gpu = driver.gpu()
    gpu.enter()
    own = pool.pool()
    values = [_thread(_state()), gpu.stream.key, driver.address("cuLaunchKernel"), id(_enter), id(_refused)]
    values += [id(_takers.setdefault(own, own.take)), own.table(gpu.stream).address]
    driver.HERE[:] = values  # at once: another thread may be here, too


def _refused(status: int) -> None:
    driver.good((status,), "cuLaunchKernel")


driver.HERE[driver.WORDS.index("enter")], driver.HERE[driver.WORDS.index("refused")] = id(_enter), id(_refused)


# Functions and launches -----------------------------------------------------------------------------------------------


def words(handle: int, takes: Sequence[str]) -> Any:
    """The words of a function that takes arguments of these C++ types."""
    if len(takes) > MOST:
        fail(TypeError, f"a function of {len(takes)} arguments", expected=f"at most {MOST}")
    kinds = [_KINDS.get(kind, INT) for kind in takes]
    return (ctypes.c_int64 * (KINDS // 8 + len(kinds)))(handle, len(kinds), *kinds)


def starter(function: Any, name: str) -> Callable[..., None]:
    """The builtin that starts a function: (grid x, grid y, block x, block y, *arguments)."""
    return builtins.make(_addresses()["start"], name, None, (ctypes.addressof(function), function))


def record(function: Any, grid: tuple[int, int], block: tuple[int, int], extras: Sequence[int] = ()) -> Any:
    """The words of one launch; `extras` are its last arguments. Without a function nothing is done."""
    at = 0 if function is None else ctypes.addressof(function)
    return (ctypes.c_int64 * (EXTRA // 8 + len(extras)))(at, *grid, *block, len(extras), *extras)


def place(sizes: Sequence[int]) -> int:
    """Where in the table of `caller` sizes and strides stand."""
    mixed = 0
    for size in sizes:
        mixed = (size % (1 << 64) ^ mixed) * (_MIX % (1 << 64)) % (1 << 64)
    return mixed >> (64 - WAYS.bit_length() + 1)


def caller(function: Any, head: int, tail: int, ways: Any, slow: Callable[..., None], name: str) -> Callable[..., None]:
    """The builtin of a kernel; `ways` is its table: addresses of a launch's address and the sizes that it is for."""
    context = (ctypes.addressof(function), head, tail, ctypes.addressof(ways), slow, function, ways)
    return builtins.make(_addresses()["call"], name, None, context)
