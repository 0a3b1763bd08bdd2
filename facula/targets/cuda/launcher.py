"""Launches from machine code: the driver's `cuLaunchKernel` called through its address, in the thread's current stream.

What changes from thread to thread stands in `driver.HERE`, for the thread that asked last: machine code looks whether
that is its own, and has `_enter` called where it is not. All of it runs under the GIL, which launches keep.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cache as remembered
from typing import Any, NamedTuple

from facula.errors import fail
from facula.native import apply, builtins, jit, records
from facula.native.entry import Entry
from facula.native.text import Value

from . import driver, tickets
from .memory import chunks, leases, pool

__all__ = [
    "MOST", "NUMBER", "WAYS", "Part", "Room", "Settled", "Word", "caller", "chain", "given", "known", "launch",
    "nothing", "place", "settled_of", "started", "starter", "taken", "ticket", "words",
]  # fmt: skip

MOST = 160  # arguments of a function
WAYS = 64  # places of a table of sizes that were met
_MIX = -7046029254386353131
INT, DOUBLE, FLOAT = range(3)  # how an argument is given, in 8 bytes each
_KINDS = {"float": FLOAT, "double": DOUBLE}  # of C++ types; all others: INT

# Words of what is known of a function: its handle, how many arguments it takes, the address of the `torch.device` that
# it was loaded on, how each argument is given.
HANDLE, COUNT, DEVICE, KINDS = 0, 8, 16, 24
# Words of one launch: the function (0: nothing is to be done), grid, block, the launch after it; of the first of many
# what keeps it alive, bytes of scratch memory as a Python int, the kernel whose checks may fail (0: none of these), the
# launch instead of it where a given address is odd, a bit for each address that counts, how many words are given with
# each call; where two words for each argument stand (0: these are the words that are given, in order): how it comes,
# and what of that; whether a graph that records it must keep it alive.
FUNCTION, GRID, BLOCK, NEXT, OWNER, SCRATCH, CHECKED, INSTEAD, WHICH, GIVEN, ARGUMENTS, LASTS, BYTES = (
    0, 8, 24, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112,
)  # fmt: skip
_GIVEN, _VALUE, _PLACE, _NUMBER = range(4)  # a word that is given, by its position; a word; memory; a launch's number
ALIGNED = 16  # bytes: addresses that are no multiple are odd

_DECLARATIONS = f"""
{records.DECLARATIONS}
@facula_cuda_here = external global [{len(driver.HERE)} x i64]
@facula_cuda_ring = external global i64
{apply.LINES}
declare i64 @facula_as_i64(ptr)
declare double @facula_as_f64(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Occurred()
declare ptr @PyThreadState_Get()
declare i64 @PyThreadState_GetID(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
"""


def _word(f: Entry, name: str, type: str = "ptr") -> Value:
    """A word of `driver.HERE`."""
    return f.load(type, f.at(f.symbol_value("facula_cuda_here"), 8 * driver.WORDS.index(name)))


def _ready() -> str:
    """`facula_cuda_ready(device)`: the words are this thread's, for a GPU; -1 where they cannot be: an error is set."""
    f: Any = Entry("facula_cuda_ready", "ptr device", "i32", linkage="")
    f.branch("look")
    f.label("look")
    f.leave(f.value("i1", f"icmp ne ptr {f.device.name}, {_word(f, 'device').name}"), "tell")
    own = f.call("i64", "@PyThreadState_GetID", f.call("ptr", "@PyThreadState_Get"))
    f.leave(own.eq(_word(f, "thread", "i64")), "ready")
    f.branch("tell")
    f.label("tell")
    told = f.call("ptr", "@PyObject_CallOneArg", _word(f, "enter"), f.device)
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
    table, values = f.alloca("ptr", MOST), f.alloca("i64", MOST)
    none, null = f.constant("i32", 0), f.constant("ptr", 0)
    first = f.slot(f.launch, FUNCTION)
    f.leave(f.null(first), "nothing")
    owner, scratch = f.variable("ptr", null), f.variable("ptr", null)
    launch, status = f.variable("ptr", f.launch), f.variable("i32", 0)
    address, number = f.variable("i64", 0), f.variable("i64", 0)
    device = f.slot(first, DEVICE)
    which = f.load("i64", f.at(f.launch, WHICH))
    with f.when(which.ne(0)):
        seen = f.variable("i64", 0)
        with f.loop(0, f.load("i64", f.at(f.launch, GIVEN))) as loop:
            counts = f.constant("i64", 0) - ((which >> loop.index) & 1)  # all bits, or none
            seen.set(seen.get() | (f.load("i64", f.item(f.words, loop.index)) & counts))
        with f.when((seen.get() & (ALIGNED - 1)).ne(0)):
            launch.set(f.slot(f.launch, INSTEAD))
    start = launch.get()
    owner.set(f.slot(start, OWNER))
    f.leave(f.null(owner.get()), "begin")
    f.count(owner.get())  # Python may run before the launch, and forget it
    wanted = f.slot(start, SCRATCH)
    with f.when(_some(f, wanted)):
        scratch.set(f.call("ptr", "@facula_cuda_take", wanted, f.symbol_value("_Py_NoneStruct"), device))
        f.leave(f.null(scratch.get()), "failed")
        place = f.call("ptr", "@facula_cuda_address", scratch.get())
        f.leave(f.null(place), "failed")
        address.set(f.call("i64", "@facula_as_i64", place))
        f.call("void", "@Py_DecRef", place)
    checked = f.slot(start, CHECKED)
    with f.when(_some(f, checked)):
        number.set(f.call("i64", "@facula_cuda_ticket", checked, device))
        f.leave(number.get().eq(0), "failed")
    with f.when(f.load("i64", f.at(start, LASTS)).ne(0)):
        f.leave(f.call("i32", "@facula_cuda_ready", device).ne(0), "failed")
        with f.when(_word(f, "capture", "i64").ne(0)):
            told = f.call("ptr", "@PyObject_CallOneArg", _word(f, "keep"), owner.get())
            f.leave(f.null(told), "failed")
            f.call("void", "@Py_DecRef", told)
    f.branch("begin")
    f.label("begin")
    # No Python runs between here and the last launch.
    f.leave(f.call("i32", "@facula_cuda_ready", device).ne(0), "failed")
    f.branch("next")
    f.label("next")
    now = launch.get()
    function, arguments = f.slot(now, FUNCTION), f.slot(now, ARGUMENTS)
    ordered = f.null(arguments)
    how, value = f.variable("i64", 0), f.variable("i64", 0)
    with f.loop(0, f.load("i64", f.at(function, COUNT))) as loop:
        how.set(_GIVEN)
        value.set(loop.index)
        with f.when(f.value("i1", f"xor i1 {ordered.name}, true")):
            pair = f.item(arguments, loop.index * 2)
            how.set(f.load("i64", pair))
            value.set(f.load("i64", f.at(pair, 8)))
        name = f.fresh("argument")
        f.emit(
            f"switch i64 {how.get().name}, label %{name}.known [i64 {_GIVEN}, label %{name}.given  "
            f"i64 {_PLACE}, label %{name}.memory  i64 {_NUMBER}, label %{name}.number]"
        )
        f.label(f"{name}.given")
        word = f.item(f.words, value.get())
        with f.either(f.load("i64", f.item(function, loop.index, KINDS)).eq(FLOAT)) as single:
            narrow = f.value("float", f"fptrunc double {f.load('double', word).name} to float")
            bits = f.value("i32", f"bitcast float {narrow.name} to i32")
            value.set(f.value("i64", f"zext i32 {bits.name} to i64"))
            single.otherwise()
            value.set(f.load("i64", word))
        f.branch(f"{name}.known")
        f.label(f"{name}.memory")
        value.set(value.get() + address.get())
        f.branch(f"{name}.known")
        f.label(f"{name}.number")
        value.set(number.get())
        f.branch(f"{name}.known")
        f.label(f"{name}.known")
        place = f.item(values, loop.index)
        f.store(value.get(), place)
        f.store(place, f.item(table, loop.index))
    sizes = [f.load("i32", f.at(now, offset)) for offset in (GRID, GRID + 8, BLOCK, BLOCK + 8)]
    one = f.constant("i32", 1)
    status.set(
        f.call(
            "i32",
            _word(f, "launch").name,
            f.slot(function, HANDLE),
            *sizes[:2],
            one,
            *sizes[2:],
            one,
            none,
            _word(f, "stream"),
            table,
            null,
        )  # fmt: skip
    )
    f.leave(status.get().ne(0), "refused")
    launch.set(f.slot(now, NEXT))
    f.leave(_some(f, launch.get()), "next")
    f.leave(f.null(owner.get()), "nothing")
    _drop(f, scratch.get(), owner.get())
    f.branch("nothing")
    f.label("nothing")
    f.done(none)
    f.label("refused")
    said = f.call("ptr", "@PyLong_FromLongLong", f.value("i64", f"sext i32 {status.get().name} to i64"))
    f.leave(f.null(said), "failed")
    f.call("ptr", "@PyObject_CallOneArg", _word(f, "refused"), said)  # which raises
    f.call("void", "@Py_DecRef", said)
    f.branch("failed")
    f.label("failed")
    _drop(f, scratch.get(), owner.get())
    f.done(f.constant("i32", -1))
    return f.text()


def _some(f: Entry, pointer: Value) -> Value:
    return f.value("i1", f"icmp ne ptr {pointer.name}, null")


def _drop(f: Any, *objects: Value) -> None:
    """Lets go of objects; some may be null."""
    for one in objects:
        with f.when(_some(f, one)):
            f.call("void", "@Py_DecRef", one)


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
    words, launch = f.alloca("i64", MOST), f.alloca("i64", BYTES // 8)
    function = f.address(f.context(0))
    count = f.load("i64", f.at(function, COUNT))
    f.leave((count + 4).ne(f.given), "misfit")
    f.store(function, f.at(launch, FUNCTION))
    for i in range(4):
        f.store(f.call("i64", "@facula_as_i64", f.load("ptr", f.item(f.args, i))), f.at(launch, GRID + 8 * i))
    for offset in (NEXT, OWNER, SCRATCH, CHECKED, INSTEAD, WHICH, GIVEN, ARGUMENTS, LASTS):
        f.store(f.constant("i64", 0), f.at(launch, offset))
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
    # No Python runs between here and the launch.
    f.leave(f.call("i32", "@facula_cuda_ready", f.slot(function, DEVICE)).ne(0), "failed")
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


def _settled() -> str:
    """`settled(*words)` starts what is known but for these, whole numbers; its context: a `Settled`."""
    f: Any = Entry("settled", "ptr self, ptr args, i64 given", "ptr", linkage="")
    words, launch = f.alloca("i64", MOST), f.address(f.context(0))
    f.leave(f.null(f.slot(launch, FUNCTION)), "nothing")
    count = f.load("i64", f.at(launch, GIVEN))
    f.leave(count.ne(f.given), "misfit")
    with f.loop(0, count) as loop:
        f.store(f.call("i64", "@facula_as_i64", f.load("ptr", f.item(f.args, loop.index))), f.item(words, loop.index))
    f.leave(_erred(f), "failed")
    f.leave(f.call("i32", "@facula_cuda_run", words, launch).ne(0), "failed")
    f.branch("nothing")
    f.label("nothing")
    f.emit(builtins.NONE.strip())
    f.label("misfit")
    f.done(f.call("ptr", "@facula_bad_count", f.symbol_value("title"), count, f.given))
    f.label("failed")
    f.emit("ret ptr null")
    return f.text()


def _launch() -> str:
    """`launch(launch, function, *words)`: the same by addresses; words are read as the arguments of a function are."""
    f: Any = Entry("launch", "ptr self, ptr args, i64 given", "ptr", linkage="")
    words = f.alloca("i64", MOST)
    launch, function = (f.address(f.load("ptr", f.item(f.args, i))) for i in range(2))
    _read(f, function, words, start=2, count=f.given - 2)
    f.leave(_erred(f), "failed")
    f.leave(f.call("i32", "@facula_cuda_run", words, launch).ne(0), "failed")
    f.emit(builtins.NONE.strip())
    f.label("failed")
    f.emit("ret ptr null")
    return f.text()


def _taken() -> str:
    """`taken(nbytes, device)`: memory for the current stream of a GPU; later work on it is that one's, too."""
    f: Any = Entry("taken", "ptr self, ptr args, i64 given", "ptr", linkage="")
    f.leave(f.given.ne(2), "misfit")
    nbytes, device = (f.load("ptr", f.item(f.args, i)) for i in range(2))
    f.done(f.call("ptr", "@facula_cuda_take", nbytes, f.symbol_value("_Py_NoneStruct"), device))
    f.label("misfit")
    f.done(f.call("ptr", "@facula_bad_count", f.symbol_value("title"), f.constant("i64", 2), f.given))
    return f.text()


_NAMES = ("facula_cuda_ready", "facula_cuda_run", *leases.NAMES)
_BUILTINS = {"start": _start, "call": _call, "settled": _settled, "launch": _launch, "taken": _taken}
_loaded: dict[str, int] = {}
_lock = threading.Lock()


def _addresses() -> dict[str, int]:
    if not _loaded:
        jit.define("facula_cuda_here", ctypes.addressof(driver.HERE))
        jit.define("facula_cuda_ring", ctypes.addressof(tickets.RING))
        own = [_ready(), _run(), *[make() for make in _BUILTINS.values()]]
        own += [leases.text(_word, chunks.Chunk), tickets.text(_word)]
        lines = apply.user_line(tickets.INSIDE.encode())
        text = "\n".join([_DECLARATIONS, builtins.string("title", "a launch"), lines, *own])
        loaded = jit.load(text, [*_NAMES[:2], *_BUILTINS, "ticket", *leases.SYMBOLS], optimize="clean")
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


@remembered
def _builtin(name: str) -> Callable[..., Any]:
    return builtins.make(_addresses()[name], name)


def taken(nbytes: int) -> Any:
    """Memory for work of the current stream, with its address as `ptr`; none of another stream may use it."""
    return _builtin("taken")(nbytes, driver.gpu().where)


def launch(settled: "Settled", function: Any, *values: float) -> None:
    """Start launches; the words that are given are read as the first arguments of a function, given by its words."""
    _builtin("launch")(settled.address, ctypes.addressof(function), *values)


def ticket(kernel: Any) -> int:
    """The number of a launch whose checks may fail."""
    return _builtin("ticket")(kernel, driver.gpu().where)


# What machine code calls ----------------------------------------------------------------------------------------------

_thread = ctypes.pythonapi.PyThreadState_GetID
_state = ctypes.pythonapi.PyThreadState_Get
_thread.argtypes, _thread.restype = [ctypes.c_void_p], ctypes.c_uint64
_state.argtypes, _state.restype = [], ctypes.c_void_p


_takers: dict[pool.Pool, Callable[..., pool.Block]] = {}  # the same object each time: machine code keeps its address


def _enter(where: Any) -> None:
    """Make the words those of this thread, in the context of a GPU."""
    gpu = driver.gpu(where.index)
    gpu.enter()
    own = pool.pool(gpu)
    values = [_thread(_state()), gpu.stream.key, driver.address("cuLaunchKernel"), id(_enter), id(_refused)]
    values += [id(_takers.setdefault(own, own.take)), own.table(gpu.stream).address]
    values += [gpu.stream.capture is not None, id(tickets.record), id(_keep), id(_NAME), id(where)]
    driver.HERE[:] = values  # at once: another thread may be here, too


def _refused(status: int) -> None:
    driver.good((status,), "cuLaunchKernel")


def _keep(owner: Any) -> None:
    driver.entered().stream.capture.keep(owner)  # the GPU that machine code has made ready


_NAME = "__name__"
driver.HERE[driver.WORDS.index("enter")], driver.HERE[driver.WORDS.index("refused")] = id(_enter), id(_refused)


# Functions and launches -----------------------------------------------------------------------------------------------


def words(handle: int, takes: Sequence[str], where: Any) -> Any:
    """The words of a function that takes arguments of these C++ types, and was loaded on a device."""
    if len(takes) > MOST:
        fail(TypeError, f"a function of {len(takes)} arguments", expected=f"at most {MOST}")
    kinds = [_KINDS.get(kind, INT) for kind in takes]
    return (ctypes.c_int64 * (KINDS // 8 + len(kinds)))(handle, len(kinds), id(where), *kinds)


def starter(function: Any, name: str) -> Callable[..., None]:
    """The builtin that starts a function: (grid x, grid y, block x, block y, *arguments)."""
    return builtins.make(_addresses()["start"], name, None, (ctypes.addressof(function), function))


class Word(NamedTuple):
    """How an argument comes with each call."""

    how: int
    value: int

    def later(self, nbytes: int) -> "Word":
        """An address so many bytes on."""
        return self._replace(value=self.value + nbytes)


def given(position: int) -> Word:
    """A word that is given."""
    return Word(_GIVEN, position)


def known(bits: int) -> Word:
    """The same in all calls."""
    return Word(_VALUE, bits)


class Room:
    """Scratch memory of launches as it is laid out: `size` bytes so far."""

    __slots__ = ("size",)

    def __init__(self):
        self.size = 0

    def take(self, nbytes: int) -> Word:
        """The address of some of it."""
        start, self.size = self.size, -(-(self.size + nbytes) // leases.GRAIN) * leases.GRAIN
        return Word(_PLACE, start)


NUMBER = Word(_NUMBER, 0)  # that of the call, by which a failing check is told


class Part(NamedTuple):
    """One launch: its function's words, grid, block, and how each argument comes; None: as given, in order."""

    function: Any
    grid: tuple[int, int]
    block: tuple[int, int]
    arguments: Sequence[Word] | None = None


class Settled(NamedTuple):
    """Launches with everything known but what is given with each call: what a builtin of these is made with."""

    address: int  # of the words of the first launch
    given: int  # how many
    owner: Any  # what must live as long as somebody has the address


def nothing() -> Settled:
    """Nothing is to be done."""
    record = (ctypes.c_int64 * (BYTES // 8))()
    return Settled(ctypes.addressof(record), 0, record)


def chain(
    parts: Sequence[Part], given: int, scratch: int = 0, checked: Any = None, instead: Settled | None = None,
    which: int = 0, held: Any = None,
) -> Settled:  # fmt: skip
    """Launches that follow each other.

    Parameters
    ----------
    parts : sequence
    given : int
        How many words are given with each call.
    scratch : int
        Bytes of memory that all of them use.
    checked : object, optional
        The kernel whose checks may fail.
    instead : Settled, optional
        The launches where an address that `which` has a bit for is odd.
    held : object, optional
        What lives as long, and as long as a graph that records them: memory that they read.
    """
    if not parts:
        return nothing()
    made, lasts, held = [], held is not None, [held, instead, scratch, checked]
    for part in parts:
        words = [word for argument in part.arguments or () for word in argument]
        pairs = (ctypes.c_int64 * len(words))(*words)
        where = ctypes.addressof(pairs) if part.arguments is not None else 0
        record = (ctypes.c_int64 * (BYTES // 8))(ctypes.addressof(part.function), *part.grid, *part.block)
        record[GIVEN // 8], record[ARGUMENTS // 8] = given, where
        made.append(record)
        held += [part.function, pairs]
    for one, after in zip(made, made[1:]):
        one[NEXT // 8] = ctypes.addressof(after)
    owner, first = (*made, *held), made[0]
    if scratch or checked is not None or lasts:
        first[OWNER // 8], first[LASTS // 8], first[SCRATCH // 8] = id(owner), lasts, id(scratch) if scratch else 0
        first[CHECKED // 8] = 0 if checked is None else id(checked)
    if instead is not None:
        first[INSTEAD // 8], first[WHICH // 8] = instead.address, which
    return Settled(ctypes.addressof(first), given, owner)


def started(settled: Settled, name: str) -> Callable[..., None]:
    """The builtin that takes what is not settled and starts the launches; `settled_of` gives these again."""
    return builtins.make(_addresses()["settled"], name, None, settled)


def settled_of(function: Any) -> Settled | None:
    """What a builtin of `started` starts; None for all others."""
    made = getattr(function, "__self__", None)
    return made if type(made) is Settled else None


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
