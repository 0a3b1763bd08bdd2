"""The memory of tensors: blocks of 64-byte aligned memory that are kept for reuse when nobody refers to them any more.

A block is a Python object of type `Block` whose header is the 64 bytes before its data, so taking one is popping a
list, and giving it back is what happens when its last reference goes. All of it runs under the GIL.
"""

import ctypes
import sys
from typing import Any

from facula.config import settings
from facula.core.device import CPU
from facula.core.storage import Storage
from facula.native import builtins, jit, layout, objects, records

__all__ = ["Block", "HEADER", "empty_cache", "memory_stats", "new_storage", "set_pool_bytes", "storage_text"]

HEADER = 64  # bytes before the data: reference count, type, class, bytes asked for, next free block, mapped bytes
CLASSES = 384
SMALL = 16 << 10  # data of at most this size is cut from chunks that are never returned
CHUNK = 1 << 20
MAPPED = 4 << 20  # data of at least this size is mapped by itself, in huge pages where the system has them
_HUGE = 2 << 20
_LARGEST = 1 << 46
_LINUX = sys.platform == "linux"

_COUNTERS = (  # all in one cache line; fresh blocks came from the system, returned ones went back to it
    "bytes_in_use", "bytes_held", "bytes_peak", "blocks_in_use", "blocks_taken", "blocks_fresh",
    "bytes_peak_with_held", "blocks_returned",
)  # fmt: skip

# Of the data sizes in units of 64 bytes: classes 0-7 are 1 to 8 units, then each doubling has eight steps.
_SYSTEM = (
    f"""
declare ptr @mmap(ptr, i64, i32, i32, i32, i64)
declare i32 @munmap(ptr, i64)
declare i32 @madvise(ptr, i64, i32)

; At least `size` bytes, aligned for huge pages; null where there are none.
define internal ptr @map(i64 %size) nounwind {{
entry:
  %all = add i64 %size, {_HUGE}
  %got = call ptr @mmap(ptr null, i64 %all, i32 3, i32 34, i32 -1, i64 0)
  %address = ptrtoint ptr %got to i64
  %failed = icmp eq i64 %address, -1
  br i1 %failed, label %none, label %trim
none:
  ret ptr null
trim:
  %up = add i64 %address, {_HUGE - 1}
  %start = and i64 %up, {-_HUGE}
  %before = sub i64 %start, %address
  %head = icmp ne i64 %before, 0
  br i1 %head, label %cut.head, label %tail
cut.head:
  call i32 @munmap(ptr %got, i64 %before)
  br label %tail
tail:
  %after = sub i64 {_HUGE}, %before
  %end = add i64 %start, %size
  %end.ptr = inttoptr i64 %end to ptr
  %rest = icmp ne i64 %after, 0
  br i1 %rest, label %cut.tail, label %advise
cut.tail:
  call i32 @munmap(ptr %end.ptr, i64 %after)
  br label %advise
advise:
  %block = inttoptr i64 %start to ptr
  call i32 @madvise(ptr %block, i64 %size, i32 14)
  ret ptr %block
}}
"""
    if _LINUX
    else """
define internal ptr @map(i64 %size) nounwind {
  ret ptr null
}
define internal i32 @munmap(ptr %block, i64 %size) nounwind {
  ret i32 -1
}
"""
)

# PyTorch's words.
_NO_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate %lld bytes. Error code 12 (Cannot allocate memory)"
)
_NEGATIVE = (
    "[enforce fail at alloc_cpu.cpp:98] ((ptrdiff_t)nbytes) >= 0. "
    "alloc_cpu() seems to have been called with negative number: %llu"
)

_TEXT = f"""
declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare ptr @PyErr_Format(ptr, ptr, ...)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.umax.i64(i64, i64)
@PyExc_RuntimeError = external global ptr
{builtins.string("memory.text", _NO_MEMORY)}
{builtins.string("negative.text", _NEGATIVE)}

@free.lists = internal global [{CLASSES} x ptr] zeroinitializer, align 64
@block.type = internal global ptr null
@bump = internal global i64 0
@bump.end = internal global i64 0
@bound = internal global i64 0
; See _COUNTERS.
@facula_pool_counters = global [{len(_COUNTERS)} x i64] zeroinitializer, align 64
{_SYSTEM}
define internal i64 @class.of(i64 %bytes) nounwind alwaysinline {{
  %least = call i64 @llvm.umax.i64(i64 %bytes, i64 1)
  %below = sub i64 %least, 1
  %units1 = lshr i64 %below, 6 ; units - 1
  %some = or i64 %units1, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %some, i1 true)
  %log = sub i64 63, %zeros
  %more = icmp ugt i64 %log, 3
  %shift0 = sub i64 %log, 3
  %shift = select i1 %more, i64 %shift0, i64 0
  %step = lshr i64 %units1, %shift
  %eight = shl i64 %shift, 3
  %class = add i64 %eight, %step
  ret i64 %class
}}

define internal i64 @size.of(i64 %class) nounwind alwaysinline {{
  %few = icmp ult i64 %class, 8
  %plain = add i64 %class, 1
  %low = and i64 %class, 7
  %steps = add i64 %low, 9
  %octave = lshr i64 %class, 3
  %shift1 = sub i64 %octave, 1
  %shift = select i1 %few, i64 0, i64 %shift1
  %scaled = shl i64 %steps, %shift
  %units = select i1 %few, i64 %plain, i64 %scaled
  %size = shl i64 %units, 6
  ret i64 %size
}}

define internal void @count(i64 %which, i64 %change) nounwind alwaysinline {{
  %at = getelementptr i64, ptr @facula_pool_counters, i64 %which
  %old = load i64, ptr %at
  %new = add i64 %old, %change
  store i64 %new, ptr %at
  ret void
}}

; Returns a block to the system.
define internal void @release(ptr %block) nounwind {{
  call void @count(i64 7, i64 1)
  %mapped.at = getelementptr i8, ptr %block, i64 40
  %mapped = load i64, ptr %mapped.at
  %is = icmp ne i64 %mapped, 0
  br i1 %is, label %unmap, label %plain
unmap:
  call i32 @munmap(ptr %block, i64 %mapped)
  ret void
plain:
  call void @free(ptr %block)
  ret void
}}

; Returns all free blocks to the system but the small ones, which are parts of chunks.
define void @facula_pool_trim() nounwind {{
entry:
  %first = call i64 @class.of(i64 {SMALL + 1})
  br label %loop
loop:
  %class = phi i64 [%first, %entry], [%next, %empty]
  %list = getelementptr ptr, ptr @free.lists, i64 %class
  %size = call i64 @size.of(i64 %class)
  %minus = sub i64 0, %size
  br label %pop
pop:
  %block = load ptr, ptr %list
  %none = icmp eq ptr %block, null
  br i1 %none, label %empty, label %drop
drop:
  %next.at = getelementptr i8, ptr %block, i64 32
  %after = load ptr, ptr %next.at
  store ptr %after, ptr %list
  call void @count(i64 1, i64 %minus)
  call void @release(ptr %block)
  br label %pop
empty:
  %next = add i64 %class, 1
  %more = icmp ult i64 %next, {CLASSES}
  br i1 %more, label %loop, label %done
done:
  ret void
}}

; A block of that class from the system, or null.
define internal ptr @fresh(i64 %class) nounwind noinline {{
entry:
  %got = alloca ptr
  %size = call i64 @size.of(i64 %class)
  %whole = add i64 %size, {HEADER}
  %small = icmp ule i64 %size, {SMALL}
  br i1 %small, label %cut, label %large
cut:
  %start = load i64, ptr @bump
  %end = load i64, ptr @bump.end
  %past = add i64 %start, %whole
  %fits = icmp ule i64 %past, %end
  br i1 %fits, label %take, label %chunk
take:
  store i64 %past, ptr @bump
  %piece = inttoptr i64 %start to ptr
  br label %good
chunk:
  %bad = call i32 @posix_memalign(ptr %got, i64 64, i64 {CHUNK})
  %refused = icmp ne i32 %bad, 0
  br i1 %refused, label %none, label %begin
begin:
  %new = load ptr, ptr %got
  %new.int = ptrtoint ptr %new to i64
  %new.end = add i64 %new.int, {CHUNK}
  store i64 %new.int, ptr @bump
  store i64 %new.end, ptr @bump.end
  br label %cut
large:
  %big = icmp uge i64 %size, {MAPPED}
  br i1 %big, label %map, label %heap
map:
  %round = add i64 %whole, 4095
  %pages = and i64 %round, -4096
  %region = call ptr @map(i64 %pages)
  %no = icmp eq ptr %region, null
  br i1 %no, label %heap, label %good
heap:
  %bad2 = call i32 @posix_memalign(ptr %got, i64 64, i64 %whole)
  %refused2 = icmp ne i32 %bad2, 0
  br i1 %refused2, label %none, label %heaped
heaped:
  %memory = load ptr, ptr %got
  br label %good
good:
  %block = phi ptr [%piece, %take], [%region, %map], [%memory, %heaped]
  %mapped = phi i64 [0, %take], [%pages, %map], [0, %heaped]
  %class.at = getelementptr i8, ptr %block, i64 16
  store i64 %class, ptr %class.at
  %mapped.at = getelementptr i8, ptr %block, i64 40
  store i64 %mapped, ptr %mapped.at
  call void @count(i64 5, i64 1)
  ret ptr %block
none:
  ret ptr null
}}

; A block with room for so many bytes and one reference, or null with the error set.
define ptr @facula_pool_take(i64 %bytes) nounwind {{
entry:
  %sane = icmp ule i64 %bytes, {_LARGEST}
  br i1 %sane, label %find, label %refuse
find:
  %wanted = call i64 @class.of(i64 %bytes)
  %list = getelementptr ptr, ptr @free.lists, i64 %wanted
  %first = load ptr, ptr %list
  %found = icmp ne ptr %first, null
  br i1 %found, label %pop, label %miss
miss:
  %small = icmp ule i64 %bytes, {SMALL}
  br i1 %small, label %system, label %near1
near1:
  ; a held block that is a little too large is better than new pages
  %wanted1 = add i64 %wanted, 1
  %list1 = getelementptr ptr, ptr @free.lists, i64 %wanted1
  %first1 = load ptr, ptr %list1
  %found1 = icmp ne ptr %first1, null
  br i1 %found1, label %pop, label %near2
near2:
  %wanted2 = add i64 %wanted, 2
  %list2 = getelementptr ptr, ptr @free.lists, i64 %wanted2
  %first2 = load ptr, ptr %list2
  %found2 = icmp ne ptr %first2, null
  br i1 %found2, label %pop, label %system
pop:
  %held = phi ptr [%first, %find], [%first1, %near1], [%first2, %near2]
  %from = phi ptr [%list, %find], [%list1, %near1], [%list2, %near2]
  %held.class = phi i64 [%wanted, %find], [%wanted1, %near1], [%wanted2, %near2]
  %next.at = getelementptr i8, ptr %held, i64 32
  %next = load ptr, ptr %next.at
  store ptr %next, ptr %from
  %held.size = call i64 @size.of(i64 %held.class)
  %minus = sub i64 0, %held.size
  call void @count(i64 1, i64 %minus)
  br label %give
system:
  %new = call ptr @fresh(i64 %wanted)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %retry, label %made
retry:
  call void @facula_pool_trim()
  %again = call ptr @fresh(i64 %wanted)
  %hopeless = icmp eq ptr %again, null
  br i1 %hopeless, label %refuse, label %made
made:
  %made.block = phi ptr [%new, %system], [%again, %retry]
  %made.size = call i64 @size.of(i64 %wanted)
  ; all bytes together grow here only
  %held.at = getelementptr i64, ptr @facula_pool_counters, i64 1
  %held.now = load i64, ptr %held.at
  %used.now = load i64, ptr @facula_pool_counters
  %both = add i64 %held.now, %used.now
  %all = add i64 %both, %made.size
  %all.peak.at = getelementptr i64, ptr @facula_pool_counters, i64 6
  %all.peak = load i64, ptr %all.peak.at
  %all.most = call i64 @llvm.umax.i64(i64 %all, i64 %all.peak)
  store i64 %all.most, ptr %all.peak.at
  br label %give
give:
  %block = phi ptr [%held, %pop], [%made.block, %made]
  %size = phi i64 [%held.size, %pop], [%made.size, %made]
  call void @count(i64 0, i64 %size)
  call void @count(i64 3, i64 1)
  call void @count(i64 4, i64 1)
  %used = load i64, ptr @facula_pool_counters
  %peak.at = getelementptr i64, ptr @facula_pool_counters, i64 2
  %peak = load i64, ptr %peak.at
  %most = call i64 @llvm.umax.i64(i64 %used, i64 %peak)
  store i64 %most, ptr %peak.at
  store i64 1, ptr %block
  %type = load ptr, ptr @block.type
  %type.at = getelementptr i8, ptr %block, i64 {layout.TYPE}
  store ptr %type, ptr %type.at
  %bytes.at = getelementptr i8, ptr %block, i64 24
  store i64 %bytes, ptr %bytes.at
  ret ptr %block
refuse:
  %kind = load ptr, ptr @PyExc_RuntimeError
  %negative = icmp slt i64 %bytes, 0
  %text = select i1 %negative, ptr @negative.text, ptr @memory.text
  %none = call ptr (ptr, ptr, ...) @PyErr_Format(ptr %kind, ptr %text, i64 %bytes)
  ret ptr null
}}

; tp_dealloc of Block. The type is never counted: it lives forever.
define void @facula_pool_give(ptr %block) nounwind {{
entry:
  %class.at = getelementptr i8, ptr %block, i64 16
  %class = load i64, ptr %class.at
  %size = call i64 @size.of(i64 %class)
  %minus = sub i64 0, %size
  call void @count(i64 0, i64 %minus)
  call void @count(i64 3, i64 -1)
  %small = icmp ule i64 %size, {SMALL}
  br i1 %small, label %keep, label %large
large:
  %most = load i64, ptr @bound
  %held.at = getelementptr i64, ptr @facula_pool_counters, i64 1
  %held = load i64, ptr %held.at
  %with = add i64 %held, %size
  %fits = icmp ule i64 %with, %most
  br i1 %fits, label %keep, label %full
full:
  ; Sizes that are no longer asked for must not fill the pool forever.
  call void @facula_pool_trim()
  %left = load i64, ptr %held.at
  %then = add i64 %left, %size
  %room = icmp ule i64 %then, %most
  br i1 %room, label %keep, label %drop
drop:
  call void @release(ptr %block)
  ret void
keep:
  %list = getelementptr ptr, ptr @free.lists, i64 %class
  %first = load ptr, ptr %list
  %next.at = getelementptr i8, ptr %block, i64 32
  store ptr %first, ptr %next.at
  store ptr %block, ptr %list
  call void @count(i64 1, i64 %size)
  ret void
}}

define void @facula_pool_start(ptr %type, i64 %bound) nounwind {{
  store ptr %type, ptr @block.type
  store i64 %bound, ptr @bound
  ret void
}}
"""

_NAMES = (
    "facula_pool_take", "facula_pool_give", "facula_pool_trim", "facula_pool_start", "facula_pool_counters",
)  # fmt: skip


_native = jit.load(_TEXT, _NAMES, optimize="loops")
jit.define("facula_pool_take", _native["facula_pool_take"])
# Only `facula_pool_take` makes instances.
Block: type = objects.opaque(
    "facula.targets.cpu.pool.Block", HEADER, _native["facula_pool_give"],
    "Memory of the pool; given back when the last reference goes.",
)  # fmt: skip
# PYFUNCTYPE keeps the GIL, under which all of the pool runs.
_trim = ctypes.PYFUNCTYPE(None)(_native["facula_pool_trim"])
_set = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(_native["facula_pool_start"])
_set(id(Block), settings.pool_bytes)
_counters = (ctypes.c_int64 * len(_COUNTERS)).from_address(_native["facula_pool_counters"])


def memory_stats() -> dict[str, int]:
    """The counters of the pool by their names in `_COUNTERS`; `facula.memory` says what they mean.

    >>> memory_stats()["bytes_in_use"] >= 0
    True
    """
    return dict(zip(_COUNTERS, _counters))


def reset_peak() -> None:
    """Let the highest numbers of bytes start again from those of now."""
    _counters[2] = _counters[0]
    _counters[6] = _counters[0] + _counters[1]


def empty_cache() -> None:
    """Return the memory that is held for reuse to the system (blocks of at most 16 KiB are kept)."""
    _trim()


def set_pool_bytes(count: int) -> None:
    """How many bytes may be held for reuse."""
    if count < 0:
        raise ValueError(f"the pool cannot hold {count} bytes: expected 0 or more")
    _set(id(Block), count)
    if _counters[1] > count:
        _trim()


def storage_text() -> str:
    """LLVM text of `native.records.text`, and of what makes a Storage of new memory.

    `@storage(Storage, zero, bytes, bytes as a Python object, device)`: null where there is none, with the error set.
    """
    return f"""
{records.text()}
declare ptr @facula_pool_take(i64)
define internal ptr @storage(ptr %class, ptr %zero, i64 %bytes, ptr %count, ptr %device) nounwind alwaysinline {{
  %block = call ptr @facula_pool_take(i64 %bytes)
  %none = icmp eq ptr %block, null
  br i1 %none, label %failed, label %number
number:
  %start = ptrtoint ptr %block to i64
  %data = add i64 %start, {HEADER}
  %address = call ptr @PyLong_FromLongLong(i64 %data)
  %none2 = icmp eq ptr %address, null
  br i1 %none2, label %drop.block, label %record
record:
  %made = call ptr @keep(ptr %class, ptr %zero, ptr %address, ptr %count, ptr %block, ptr %device)
  %none3 = icmp eq ptr %made, null
  br i1 %none3, label %drop.both, label %done
done:
  ret ptr %made
drop.both:
  call void @Py_DecRef(ptr %address)
  br label %drop.block
drop.block:
  call void @Py_DecRef(ptr %block)
  br label %failed
failed:
  ret ptr null
}}
"""


def _new_storage() -> Any:
    text = f"""
{storage_text()}
declare i64 @facula_as_i64(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Occurred()
{builtins.string("title", "new_storage")}
define ptr @new_storage(ptr %self, ptr %args, i64 %count) nounwind {{
  %one = icmp eq i64 %count, 1
  br i1 %one, label %read, label %misfit
misfit:
  %raised = call ptr @facula_bad_count(ptr @title, i64 1, i64 %count)
  ret ptr null
read:
  %object = load ptr, ptr %args
  %bytes = call i64 @facula_as_i64(ptr %object)
  %odd = icmp eq i64 %bytes, -1
  br i1 %odd, label %check, label %make
check:
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %make, label %failed
failed:
  ret ptr null
make:
  %class.at = getelementptr i8, ptr %self, i64 {layout.TUPLE_ITEMS}
  %class = load ptr, ptr %class.at
  %zero.at = getelementptr i8, ptr %self, i64 {layout.TUPLE_ITEMS + 8}
  %zero = load ptr, ptr %zero.at
  %device.at = getelementptr i8, ptr %self, i64 {layout.TUPLE_ITEMS + 16}
  %device = load ptr, ptr %device.at
  %made = call ptr @storage(ptr %class, ptr %zero, i64 %bytes, ptr %object, ptr %device)
  ret ptr %made
}}
"""
    address = jit.load(text, ["new_storage"], optimize="clean")["new_storage"]
    return builtins.make(
        address,
        "new_storage",
        "new_storage(nbytes): a Storage of so many bytes of uninitialised memory.",
        (Storage, 0, CPU),
    )


new_storage = _new_storage()
