"""Small blocks of the pool that machine code keeps and gives out again, so that they cost no Python.

A `Lease` is an object without Python's making that holds a `Block` of the pool. Where its last reference goes it stays,
in the list of its stream and size, until a block of that size is asked for in that stream, or until `flush` has the
pool take back what is kept. The pool counts kept blocks as in use: `Table.counts` says how many these are.
"""

import ctypes
from typing import Any

from facula.native import layout, objects
from facula.native.entry import Entry
from facula.native.text import Value

__all__ = ["GRAIN", "LARGEST", "NAMES", "SYMBOLS", "Counts", "Table", "begin", "block_of", "detach", "text"]

GRAIN = 512  # bytes: sizes that round up to the same multiple share a list
LARGEST = 1 << 20  # bytes of a lease; larger blocks are the pool's alone
LISTS = LARGEST // GRAIN
# Of a lease: reference count, type, the next free one, its list (0: it is not kept), address as a Python int, block,
# bytes, where its table's counts are.
NEXT, LIST, ADDRESS, BLOCK, SIZE, COUNTS, BYTES = 16, 24, 32, 40, 48, 56, 64
NAMES = ("facula_cuda_take", "facula_cuda_address")  # what other texts call
_OWN = ("facula_cuda_give", "facula_cuda_flush", "facula_cuda_lease")
COUNTED = ("bytes", "blocks", "least_bytes", "least_blocks")

SYMBOLS = (*NAMES, *_OWN)
_DECLARATIONS = """
@facula_cuda_lease = global ptr null
declare ptr @malloc(i64)
declare void @free(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyObject_GetAttrString(ptr, ptr)
@ptr.text = private constant [4 x i8] c"ptr\\00"
@size.text = private constant [5 x i8] c"size\\00"
"""


def _count(f: Any, counts: Value, size: Value, more: bool) -> None:
    """One more or one less block is kept; what is least is noted."""
    for i, change in enumerate((size, f.constant("i64", 1))):
        at = f.item(counts, i)
        now = f.load("i64", at) + change if more else f.load("i64", at) - change
        f.store(now, at)
        if not more:
            least = f.item(counts, i + 2)
            f.store(f.least(now, f.load("i64", least)), least)


def _take(word: Any) -> str:
    """`facula_cuda_take(nbytes, spec)`: a lease, or a block of the pool, for the current stream."""
    f: Any = Entry("facula_cuda_take", "ptr nbytes, ptr spec", "ptr", linkage="")
    arguments = f.alloca("ptr", 2)
    f.leave(f.call("i32", "@facula_cuda_ready").ne(0), "failed")
    size, table = f.call("i64", "@facula_as_i64", f.nbytes), word(f, "table")
    small = f.value("i1", f"icmp ule i64 {(size - 1).name}, {LARGEST - 1}")
    there = f.value("i1", f"icmp ne ptr {table.name}, null")
    kept = f.value("i1", f"and i1 {small.name}, {there.name}")
    f.emit(f"br i1 {kept.name}, label %look, label %ask")
    f.label("look")
    place = f.item(table, (size - 1) >> (GRAIN.bit_length() - 1), 8)
    found = f.load("ptr", place)
    f.leave(f.null(found), "ask")
    f.store(f.slot(found, NEXT), place)
    f.store(f.constant("i64", 1), found)
    _count(f, f.slot(found, COUNTS), f.load("i64", f.at(found, SIZE)), more=False)
    f.done(found)
    f.label("ask")
    f.store(f.nbytes, arguments)
    f.store(f.spec, f.item(arguments, 1))
    two, none = f.constant("i64", 2), f.constant("ptr", 0)
    block = f.call("ptr", "@PyObject_Vectorcall", word(f, "take"), arguments, two, none)
    f.leave(f.null(block), "failed")
    f.emit(f"br i1 {kept.name}, label %hold, label %large")
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
    own = f.item(table, (size - 1) >> (GRAIN.bit_length() - 1), 8)
    f.store(f.constant("i64", 1), made)
    type = f.load("ptr", f.symbol_value("facula_cuda_lease"))
    values = {layout.TYPE: type, NEXT: none, LIST: own, ADDRESS: address, BLOCK: block, SIZE: whole,
              COUNTS: f.load("ptr", table)}  # fmt: skip
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


def _give() -> str:
    """`facula_cuda_give(lease)`: the last reference has gone."""
    f: Any = Entry("facula_cuda_give", "ptr lease", "void", linkage="")
    place = f.slot(f.lease, LIST)
    with f.either(f.null(place)) as lost:
        _end(f, f.lease)
        lost.otherwise()
        f.store(f.load("ptr", place), f.at(f.lease, NEXT))
        f.store(f.lease, place)
        _count(f, f.slot(f.lease, COUNTS), f.load("i64", f.at(f.lease, SIZE)), more=True)
    f.done()
    return f.text()


def _flush() -> str:
    """`facula_cuda_flush(table)`: what is kept goes back to the pool."""
    f: Any = Entry("facula_cuda_flush", "ptr table", "void", linkage="")
    with f.loop(0, f.constant("i64", LISTS)) as loop:
        place, name = f.item(f.table, loop.index, 8), f.fresh("list")
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


def text(word: Any) -> str:
    """LLVM text of `SYMBOLS`; `word(f, name)` reads one of `driver.HERE`."""
    return "\n".join([_DECLARATIONS, _take(word), _address(), _give(), _flush()])


Lease: Any = None  # the type, once there is machine code


def begin(loaded: dict[str, int]) -> None:
    """Make the type of leases, given the addresses of `SYMBOLS`."""
    global Lease
    members = {"ptr": ADDRESS, "block": BLOCK}
    doc = "A small block of the pool, kept for reuse when the last reference goes."
    Lease = objects.opaque("facula.targets.cuda.leases.Lease", BYTES, loaded["facula_cuda_give"], doc, members)
    ctypes.c_int64.from_address(loaded["facula_cuda_lease"]).value = id(Lease)
    _natives["flush"] = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(loaded["facula_cuda_flush"])  # keeps the GIL


_natives: dict[str, Any] = {}
_tables: list["Table"] = []


class Counts:
    """How many bytes and blocks are kept for a pool, and the least of both since the pool looked (`COUNTED`)."""

    __slots__ = ("words",)

    def __init__(self):
        self.words = (ctypes.c_int64 * len(COUNTED))()


class Table:
    """The lists of one stream; lives as long as the process, since leases point at it."""

    __slots__ = ("counts", "words")

    def __init__(self, counts: Counts):
        self.counts = counts
        self.words = (ctypes.c_int64 * (1 + LISTS))(ctypes.addressof(counts.words))
        _tables.append(self)

    @property
    def address(self) -> int:
        """Where machine code sees it."""
        return ctypes.addressof(self.words)

    def flush(self) -> None:
        """Give what is kept back to the pool."""
        if _natives:
            _natives["flush"](self.address)


def block_of(owner: Any) -> Any:
    """The block that an owner of memory is, or holds."""
    return owner.block if type(owner) is Lease else owner


def detach(owner: Any) -> None:
    """Have the pool take back the block of an owner when the last reference goes: others than its stream use it."""
    if type(owner) is Lease:
        ctypes.c_int64.from_address(id(owner) + LIST).value = 0
