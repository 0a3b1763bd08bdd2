"""Blocks of the pool that machine code keeps and gives out again, so that they cost no Python.

A `Lease` is an object without Python's making that holds a `Block` of the pool. Where its last reference goes it stays,
in the list of its stream and size, until a block of that size is asked for in that stream, or until `flush` has the
pool take back what is kept: large blocks whenever the pool has no free block of the size that it is asked for, so that
they join their neighbours. The pool counts kept blocks as in use: `Table.counts` says how many these are.
"""

import ctypes
from typing import Any

from facula.native import layout, objects
from facula.native.entry import Entry
from facula.native.text import Value

__all__ = ["GRAIN", "NAMES", "SMALL", "SYMBOLS", "Counts", "Table", "begin", "block_of", "detach", "text"]

GRAIN = 512  # bytes: sizes that round up to the same multiple share a list
SMALL = 1 << 20  # bytes: up to here each size has its list; of larger ones those that were met last
LISTS, WAYS = SMALL // GRAIN, 128
# Of a table: where its counts are, the lists of small sizes, then pairs of a large size and its list.
FIRST, PAIRS = 8, 8 + 8 * LISTS
# Of a lease: reference count, type, the next free one, its list (0: it is not kept), address as a Python int, block,
# bytes, where its table's counts are, the size that it was taken for, the block's chunk.
NEXT, LIST, ADDRESS, BLOCK, SIZE, COUNTS, KEY, CHUNK, BYTES = 16, 24, 32, 40, 48, 56, 64, 72, 80
_MIX = -7046029254386353131
NAMES = ("facula_cuda_take", "facula_cuda_address")  # what other texts call
_OWN = ("facula_cuda_give", "facula_cuda_flush", "facula_cuda_lease")
COUNTED = ("bytes", "blocks", "least_bytes", "least_blocks", "large_bytes", "large_blocks")

SYMBOLS = (*NAMES, *_OWN)
_DECLARATIONS = """
@facula_cuda_lease = global ptr null
declare ptr @malloc(i64)
declare void @free(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyObject_GetAttrString(ptr, ptr)
@ptr.text = private constant [4 x i8] c"ptr\\00"
@size.text = private constant [5 x i8] c"size\\00"
@chunk.text = private constant [6 x i8] c"chunk\\00"
"""


def _count(f: Any, counts: Value, size: Value, more: bool) -> None:
    """One more or one less block is kept; what is least is noted."""
    changes = size, f.constant("i64", 1)

    def change(i: int, by: Value) -> Value:
        at = f.item(counts, i)
        now = f.load("i64", at) + by if more else f.load("i64", at) - by
        f.store(now, at)
        return now

    for i, by in enumerate(changes):
        now = change(i, by)
        if not more:
            least = f.item(counts, i + 2)
            f.store(f.least(now, f.load("i64", least)), least)
    with f.when(size > SMALL):
        for i, by in enumerate(changes):
            change(i + 4, by)


def _list(f: Any, table: Value, size: Value) -> tuple[Value, Value]:
    """The list for blocks of so many bytes, null where there is none; the size that its blocks are taken for."""
    key = (size + (GRAIN - 1)) & -GRAIN
    place = f.variable("ptr", f.constant("ptr", 0))
    small = f.value("i1", f"icmp ule i64 {(size - 1).name}, {SMALL - 1}")
    found = f.fresh("list")
    f.emit(f"br i1 {f.null(table).name}, label %{found}, label %{found}.there")
    f.label(f"{found}.there")
    with f.either(small) as either:
        place.set(f.item(table, (size - 1) >> (GRAIN.bit_length() - 1), FIRST))
        either.otherwise()
        f.leave(size < 1, found)
        first = (key * _MIX) >> (64 - WAYS.bit_length() + 1)
        pairs = [f.item(table, way * 2, PAIRS) for way in (first, f.value("i64", f"xor i64 {first.name}, 1"))]
        for pair in pairs:
            own = f.load("i64", pair).eq(key)
            place.set(f.select(own, f.at(pair, 8), place.get(), "ptr"))
        f.leave(f.value("i1", f"icmp ne ptr {place.get().name}, null"), found)
        for pair in pairs:  # what is out for another size will not be kept
            with f.when(f.null(f.slot(pair, 8)) & f.null(place.get())):
                f.store(key, pair)
                place.set(f.at(pair, 8))
    f.branch(found)
    f.label(found)
    return place.get(), key


def _note(f: Any, lease: Value, note_at: int, note: Value) -> None:
    """Has a chunk say what it is used for; takes over the reference."""
    place = f.at(f.slot(lease, CHUNK), note_at)
    old = f.slot(place, 0)
    f.store(note, place)
    f.call("void", "@Py_DecRef", old)


def _take(word: Any, note_at: int) -> str:
    """`facula_cuda_take(nbytes, spec, device)`: a lease, or a block of the pool, for the current stream of a GPU."""
    f: Any = Entry("facula_cuda_take", "ptr nbytes, ptr spec, ptr device", "ptr", linkage="")
    arguments = f.alloca("ptr", 2)
    f.leave(f.call("i32", "@facula_cuda_ready", f.device).ne(0), "failed")
    size, table = f.call("i64", "@facula_as_i64", f.nbytes), word(f, "table")
    place, key = _list(f, table, size)
    f.leave(f.null(place), "ask")
    found = f.load("ptr", place)
    f.leave(f.null(found), "ask")
    with f.when(size > SMALL):
        pair = f.call("ptr", "@PyTuple_New", f.constant("i64", 2))
        f.leave(f.null(pair), "failed")
        line = f.call("ptr", "@user_line", word(f, "name"))
        f.leave(f.null(line), "drop.pair")
        f.store(f.count(f.spec), f.item(pair, 0, layout.TUPLE_ITEMS))
        f.store(line, f.item(pair, 1, layout.TUPLE_ITEMS))
        # To make a tuple may have collected garbage, that is run Python, which may have flushed the list.
        left = f.load("ptr", place)
        f.leave(f.null(left), "flushed")
        f.leave(f.load("i64", f.at(left, KEY)).ne(key), "flushed")
        f.store(pair, arguments)
    lease = f.load("ptr", place)
    f.store(f.slot(lease, NEXT), place)
    f.store(f.constant("i64", 1), lease)
    _count(f, f.slot(lease, COUNTS), f.load("i64", f.at(lease, SIZE)), more=False)
    with f.when(size > SMALL):
        _note(f, lease, note_at, f.load("ptr", arguments))
    f.done(lease)
    f.label("flushed")
    f.call("void", "@Py_DecRef", pair)
    f.branch("ask")
    f.label("drop.pair")
    f.call("void", "@Py_DecRef", pair)
    f.branch("failed")
    f.label("ask")
    f.store(f.nbytes, arguments)
    f.store(f.spec, f.item(arguments, 1))
    two, none = f.constant("i64", 2), f.constant("ptr", 0)
    block = f.call("ptr", "@PyObject_Vectorcall", word(f, "take"), arguments, two, none)
    f.leave(f.null(block), "failed")
    f.emit(f"br i1 {f.null(place).name}, label %large, label %hold")
    f.label("large")
    f.done(block)
    f.label("hold")
    made = f.call("ptr", "@malloc", f.constant("i64", BYTES))
    f.leave(f.null(made), "short")
    address = f.call("ptr", "@PyObject_GetAttrString", block, f.symbol_value("ptr.text"))
    f.leave(f.null(address), "drop")
    number = f.call("ptr", "@PyObject_GetAttrString", block, f.symbol_value("size.text"))
    f.leave(f.null(number), "drop.address")
    whole = f.call("i64", "@facula_as_i64", number)
    f.call("void", "@Py_DecRef", number)
    f.store(f.constant("i64", 1), made)
    chunk = f.call("ptr", "@PyObject_GetAttrString", block, f.symbol_value("chunk.text"))
    f.leave(f.null(chunk), "drop.address")
    f.call("void", "@Py_DecRef", chunk)  # the block holds it
    type = f.load("ptr", f.symbol_value("facula_cuda_lease"))
    values = {layout.TYPE: type, NEXT: none, LIST: place, ADDRESS: address, BLOCK: block, SIZE: whole,
              COUNTS: f.load("ptr", table), KEY: key, CHUNK: chunk}  # fmt: skip
    for offset, value in values.items():
        f.store(value, f.at(made, offset))
    f.done(made)
    f.label("drop.address")
    f.call("void", "@Py_DecRef", address)
    f.branch("drop")
    f.label("drop")
    f.call("void", "@free", made)
    f.call("void", "@Py_DecRef", block)
    f.branch("failed")
    f.label("short")
    f.call("void", "@Py_DecRef", block)
    f.call("ptr", "@PyErr_NoMemory")
    f.branch("failed")
    f.label("failed")
    f.done(none)
    return f.text()


def _address() -> str:
    """`facula_cuda_address(owner)`: of a lease or block, as a Python int."""
    f: Any = Entry("facula_cuda_address", "ptr owner", "ptr", linkage="")
    kept = f.same(f.slot(f.owner, layout.TYPE), f.load("ptr", f.symbol_value("facula_cuda_lease")))
    f.leave(kept, "lease")
    f.done(f.call("ptr", "@PyObject_GetAttrString", f.owner, f.symbol_value("ptr.text")))
    f.label("lease")
    f.done(f.count(f.slot(f.owner, ADDRESS)))
    return f.text()


def _end(f: Any, lease: Value) -> None:
    """Gives the block back to the pool."""
    f.call("void", "@Py_DecRef", f.slot(lease, BLOCK))
    f.call("void", "@Py_DecRef", f.slot(lease, ADDRESS))
    f.call("void", "@free", lease)


def _give(note_at: int) -> str:
    """`facula_cuda_give(lease)`: the last reference has gone."""
    f: Any = Entry("facula_cuda_give", "ptr lease", "void", linkage="")
    place = f.slot(f.lease, LIST)
    f.leave(f.null(place), "end")
    size = f.load("i64", f.at(f.lease, SIZE))
    with f.when(size > SMALL):
        f.leave(f.load("i64", f.at(place, -8)).ne(f.load("i64", f.at(f.lease, KEY))), "end")
    f.store(f.load("ptr", place), f.at(f.lease, NEXT))
    f.store(f.lease, place)
    _count(f, f.slot(f.lease, COUNTS), size, more=True)
    with f.when(size > SMALL):  # last: what a note holds may be freed
        _note(f, f.lease, note_at, f.count(f.symbol_value("_Py_NoneStruct")))
    f.done()
    f.label("end")
    _end(f, f.lease)
    f.done()
    return f.text()


def _flush() -> str:
    """`facula_cuda_flush(first, lists, step)`: what lists that are `step` bytes apart keep goes back to the pool."""
    f: Any = Entry("facula_cuda_flush", "ptr first, i64 lists, i64 step", "void", linkage="")
    with f.loop(0, f.lists) as loop:
        place, name = f.at(f.first, loop.index * f.step), f.fresh("list")
        f.branch(name)
        f.label(name)
        lease = f.load("ptr", place)
        f.leave(f.null(lease), f"{name}.end")
        f.store(f.slot(lease, NEXT), place)
        counts, size = f.slot(lease, COUNTS), f.load("i64", f.at(lease, SIZE))
        _end(f, lease)  # first: what the pool has in use less what is kept is never too much
        _count(f, counts, size, more=False)
        f.branch(name)
        f.label(f"{name}.end")
    f.done()
    return f.text()


def text(word: Any, chunk: type) -> str:
    """LLVM text of `SYMBOLS`; `word(f, name)` reads one of `driver.HERE`. Another text has `user_line`."""
    note_at = layout.slots(chunk)["note"]
    return "\n".join([_DECLARATIONS, _take(word, note_at), _address(), _give(note_at), _flush()])


Lease: Any = None  # the type, once there is machine code


def begin(loaded: dict[str, int]) -> None:
    """Make the type of leases, given the addresses of `SYMBOLS`."""
    global Lease
    members = {"ptr": ADDRESS, "block": BLOCK}
    doc = "A block of the pool, kept for reuse when the last reference goes."
    Lease = objects.opaque("facula.targets.cuda.memory.leases.Lease", BYTES, loaded["facula_cuda_give"], doc, members)
    ctypes.c_int64.from_address(loaded["facula_cuda_lease"]).value = id(Lease)
    flush = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)  # keeps the GIL
    _natives["flush"] = flush(loaded["facula_cuda_flush"])


_natives: dict[str, Any] = {}
_tables: list["Table"] = []


class Counts:
    """How many bytes and blocks are kept for a pool, the least of both since the pool looked, and how much of them are
    large (`COUNTED`).
    """

    __slots__ = ("words",)

    def __init__(self):
        self.words = (ctypes.c_int64 * len(COUNTED))()

    def kinds(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Bytes and blocks that are kept, of small and of large ones."""
        size, count, _, _, large, large_count = self.words
        return (size - large, count - large_count), (large, large_count)


class Table:
    """The lists of one stream; lives as long as the process, since leases point at it."""

    __slots__ = ("counts", "words")

    def __init__(self, counts: Counts):
        self.counts = counts
        self.words = (ctypes.c_int64 * (1 + LISTS + 2 * WAYS))(ctypes.addressof(counts.words))
        _tables.append(self)

    @property
    def address(self) -> int:
        """Where machine code sees it."""
        return ctypes.addressof(self.words)

    def flush(self, small: bool = True) -> None:
        """Give what is kept back to the pool; without `small`, large blocks alone."""
        if _natives:
            start = ctypes.addressof(self.words)
            if small:
                _natives["flush"](start + FIRST, LISTS, 8)
            _natives["flush"](start + PAIRS + 8, WAYS, 16)


def block_of(owner: Any) -> Any:
    """The block that an owner of memory is, or holds."""
    return owner.block if type(owner) is Lease else owner


def detach(owner: Any) -> None:
    """Have the pool take back the block of an owner when the last reference goes: others than its stream use it."""
    if type(owner) is Lease:
        ctypes.c_int64.from_address(id(owner) + LIST).value = 0
