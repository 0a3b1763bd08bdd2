"""A pool of native threads that kernels share: `void facula_parallel(ptr task, ptr context, i64 blocks)`.

The task, `void(ptr context, i64 block)`, is called once for each block, on any thread, the caller's included. The
cutting into blocks is the caller's, so that results do not depend on the number of threads. Workers never touch
Python. There is one job at a time: a call made while another is under way (from another Python thread, or from inside
a task) runs its blocks by itself. Each thread begins with a span of the blocks that is always the same part of them,
so that a kernel finds what the one before it wrote in the cache of its own core.
"""

import ctypes
import os
import sys
from collections.abc import Callable

from facula.config import settings, usable_cores
from facula.errors import fail
from facula.native import jit

__all__ = ["get_num_threads", "set_num_threads"]

MOST = 4096  # threads
SPANS = 64  # parts of a job that threads begin with

_DARWIN = sys.platform == "darwin"
_CLOCK_MONOTONIC = 6 if _DARWIN else 1
_SIG_BLOCK = 1 if _DARWIN else 0
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
    "arm64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
_MACHINE = os.uname().machine if hasattr(os, "uname") else ""
_STACK = 8 << 20
_CPU_SET = 1024  # bytes; the kernel takes any length
_GETTID = {"x86_64": 186, "aarch64": 178}
# Linux may wake a worker on the very processor that its caller runs on, and leave both there for milliseconds (some
# virtual machines pack threads on purpose). The caller is going to work too, so its processor is the one place where a
# worker does not belong: before waking them it takes that processor from the workers' masks, when it has changed.
_SPREAD = f"""
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare i64 @syscall(i64, ...)

define internal void @sign_in(i64 %index) nounwind {{
  %id = call i64 (i64, ...) @syscall(i64 {_GETTID.get(_MACHINE)})
  %at = getelementptr i64, ptr @ids, i64 %index
  store atomic i64 %id, ptr %at seq_cst, align 8
  store atomic i64 -1, ptr @avoided seq_cst, align 8
  ret void
}}

define internal void @spread_out() nounwind {{
entry:
  %mask = alloca [{_CPU_SET} x i8], align 16
  %cpu32 = call i32 @sched_getcpu()
  %cpu = sext i32 %cpu32 to i64
  %avoided = load atomic i64, ptr @avoided seq_cst, align 8
  %moved = icmp ne i64 %cpu, %avoided
  %room = load atomic i64, ptr @spread monotonic, align 8
  %wanted = icmp ne i64 %room, 0
  %inside = icmp ult i64 %cpu, {_CPU_SET * 8}
  %both = and i1 %moved, %wanted
  %go = and i1 %both, %inside
  br i1 %go, label %mend, label %leave
mend:
  store atomic i64 %cpu, ptr @avoided seq_cst, align 8
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 {_CPU_SET}, i1 false)
  call i32 @sched_getaffinity(i32 0, i64 {_CPU_SET}, ptr %mask)
  %byte = lshr i64 %cpu, 3
  %bit = and i64 %cpu, 7
  %at = getelementptr i8, ptr %mask, i64 %byte
  %old = load i8, ptr %at
  %bit8 = trunc i64 %bit to i8
  %one = shl i8 1, %bit8
  %others = xor i8 %one, -1
  %new = and i8 %old, %others
  store i8 %new, ptr %at
  %most = load atomic i64, ptr @limit seq_cst, align 8
  br label %loop
loop:
  %i = phi i64 [1, %mend], [%j, %next]
  %in = icmp ult i64 %i, %most
  br i1 %in, label %look, label %leave
look:
  %slot = getelementptr i8, ptr @slots, i64 %i
  %used = load atomic i8, ptr %slot seq_cst, align 1
  %id.at = getelementptr i64, ptr @ids, i64 %i
  %id = load atomic i64, ptr %id.at seq_cst, align 8
  %id32 = trunc i64 %id to i32
  %runs = icmp ne i8 %used, 0
  %known = icmp ne i64 %id, 0
  %valid = and i1 %runs, %known
  br i1 %valid, label %set, label %next
set:
  ; An empty mask (the caller may use one processor only) is refused, which is right.
  call i32 @sched_setaffinity(i32 %id32, i64 {_CPU_SET}, ptr %mask)
  br label %next
next:
  %j = add i64 %i, 1
  br label %loop
leave:
  ret void
}}
"""
_NO_SPREAD = """
define internal void @sign_in(i64 %index) nounwind {
  ret void
}
define internal void @spread_out() nounwind {
  ret void
}
"""


def _text() -> str:
    """The pool.

    A job's blocks lie in as many spans as there are threads. A span's ticket holds the job's number (high half) and the
    span's next block to hand out (low half). A thread takes blocks by comparing and swapping a ticket, of its own span
    first, then of the others: where that succeeds, what it read of the job before belonged to that ticket, because a
    new job is written only while all tickets are closed, and opened under another number. Nobody can open one before
    all blocks taken are counted in `done`, so a thread that holds blocks sees a job that stands still.
    """
    declare_pause, pause = _PAUSE.get(_MACHINE, ("", ""))
    return f"""
{declare_pause}
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setdetachstate(ptr, i32)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @clock_gettime(i32, ptr)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
{_SPREAD if sys.platform == "linux" and _MACHINE in _GETTID else _NO_SPREAD}
; Each group has cache lines of its own.
@tickets = internal global [{SPANS} x [16 x i64]] zeroinitializer, align 128
@number = internal global i64 0, align 128
@blocks = internal global i64 0, align 128
@spans = internal global i64 1
@base = internal global i64 0
@task = internal global ptr null
@context = internal global ptr null
@done = internal global i64 0, align 128
@busy = internal global i64 0, align 128
@limit = internal global i64 1, align 128
@spin = internal global i64 0
@spread = internal global i64 0
@avoided = internal global i64 -1
@ids = internal global [{MOST} x i64] zeroinitializer, align 128
@running = internal global i64 0
@sleepers = internal global i64 0
@waiting = internal global i64 0
@mutex = internal global [128 x i8] zeroinitializer, align 128
@work = internal global [128 x i8] zeroinitializer, align 128
@finished = internal global [128 x i8] zeroinitializer, align 128
@slots = internal global [{MOST} x i8] zeroinitializer, align 128

define internal i64 @now() nounwind {{
  %time = alloca [2 x i64]
  call i32 @clock_gettime(i32 {_CLOCK_MONOTONIC}, ptr %time)
  %s = load i64, ptr %time
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %whole = mul i64 %s, 1000000000
  %sum = add i64 %whole, %ns
  ret i64 %sum
}}

; Where a span ends, of so many.
define internal i64 @border(i64 %span, i64 %spans, i64 %n) nounwind alwaysinline {{
  %behind = add i64 %span, 1
  %all = mul i64 %behind, %n
  %end = udiv i64 %all, %spans
  ret i64 %end
}}

; Whether there may be a block to take.
define internal i1 @open() nounwind {{
entry:
  %n = load atomic i64, ptr @blocks monotonic, align 8
  %spans = load atomic i64, ptr @spans monotonic, align 8
  br label %look
look:
  %span = phi i64 [0, %entry], [%more, %on]
  %ticket = getelementptr [16 x i64], ptr @tickets, i64 %span
  %t = load atomic i64, ptr %ticket seq_cst, align 8
  %next = and i64 %t, 4294967295
  %end = call i64 @border(i64 %span, i64 %spans, i64 %n)
  %some = icmp ult i64 %next, %end
  br i1 %some, label %yes, label %on
on:
  %more = add i64 %span, 1
  %left = icmp ult i64 %more, %spans
  br i1 %left, label %look, label %no
yes:
  ret i1 1
no:
  ret i1 0
}}

; Lets blocks be taken from all spans, or from none; the caller's own opens last, when all others find theirs open.
define internal void @announce(i64 %spans, i64 %number, i1 %opens, i64 %n) nounwind {{
entry:
  br label %loop
loop:
  %behind = phi i64 [%spans, %entry], [%span, %loop]
  %span = sub i64 %behind, 1
  %ticket = getelementptr [16 x i64], ptr @tickets, i64 %span
  %before = sub i64 %span, 1
  %first = call i64 @border(i64 %before, i64 %spans, i64 %n)
  %next = select i1 %opens, i64 %first, i64 {CLOSED}
  %t = or i64 %number, %next
  store atomic i64 %t, ptr %ticket seq_cst, align 8
  %left = icmp ne i64 %span, 0
  br i1 %left, label %loop, label %leave
leave:
  ret void
}}

; Takes and runs blocks while there are any, those of the thread's own span first.
define internal void @take(i64 %index) nounwind {{
entry:
  br label %again
again:
  %total = phi i64 [0, %entry], [%total, %try], [%more, %ran], [%total, %pass]
  %passed = phi i64 [0, %entry], [%passed, %try], [%passed, %ran], [%one.more, %pass]
  %now.spans = load atomic i64, ptr @spans monotonic, align 8
  %turn = add i64 %index, %passed
  %span = urem i64 %turn, %now.spans
  %ticket = getelementptr [16 x i64], ptr @tickets, i64 %span
  %t = load atomic i64, ptr %ticket acquire, align 8
  %next = and i64 %t, 4294967295
  %n = load atomic i64, ptr @blocks monotonic, align 8
  %spans = load atomic i64, ptr @spans monotonic, align 8
  %from = load atomic i64, ptr @base monotonic, align 8
  %call = load atomic ptr, ptr @task monotonic, align 8
  %with = load atomic ptr, ptr @context monotonic, align 8
  %end = call i64 @border(i64 %span, i64 %spans, i64 %n)
  %some = icmp ult i64 %next, %end
  br i1 %some, label %try, label %pass
pass:
  %one.more = add i64 %passed, 1
  %others = icmp ult i64 %one.more, %spans
  br i1 %others, label %again, label %none
try:
  ; Large bites first, single blocks at the end.
  %rest = sub i64 %end, %next
  %share = lshr i64 %rest, 2
  %step = call i64 @llvm.umax.i64(i64 %share, i64 1)
  %after = add i64 %t, %step
  %swap = cmpxchg ptr %ticket, i64 %t, i64 %after acq_rel monotonic, align 8
  %mine = extractvalue {{i64, i1}} %swap, 1
  br i1 %mine, label %took, label %again
took:
  %stop = add i64 %next, %step
  br label %run
run:
  %i = phi i64 [%next, %took], [%j, %run]
  %block = add i64 %from, %i
  call void %call(ptr %with, i64 %block)
  %j = add i64 %i, 1
  %left = icmp ult i64 %j, %stop
  br i1 %left, label %run, label %ran
ran:
  %more = add i64 %total, %step
  br label %again
none:
  %worked = icmp ne i64 %total, 0
  br i1 %worked, label %report, label %leave
report:
  %before = atomicrmw add ptr @done, i64 %total seq_cst
  %now = add i64 %before, %total
  %last = icmp eq i64 %now, %n
  br i1 %last, label %ended, label %leave
ended:
  %asleep = load atomic i64, ptr @waiting seq_cst, align 8
  %wake = icmp ne i64 %asleep, 0
  br i1 %wake, label %signal, label %leave
signal:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @finished)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %leave
leave:
  ret void
}}

define internal ptr @worker(ptr %number) nounwind {{
entry:
  %signals = alloca [128 x i8], align 16
  call i32 @sigfillset(ptr %signals)
  call i32 @pthread_sigmask(i32 {_SIG_BLOCK}, ptr %signals, ptr null)
  %index = ptrtoint ptr %number to i64
  call void @sign_in(i64 %index)
  br label %loop
loop:
  call void @take(i64 %index)
  %started = call i64 @now()
  br label %look
look:
  %k = phi i64 [0, %loop], [%k1, %rest], [0, %time]
  %some = call i1 @open()
  br i1 %some, label %loop, label %rest
rest:
  {pause}
  %k1 = add i64 %k, 1
  %often = icmp ult i64 %k1, 16
  br i1 %often, label %look, label %time
time:
  %present = call i64 @now()
  %passed = sub i64 %present, %started
  %patience = load atomic i64, ptr @spin monotonic, align 8
  %on = icmp slt i64 %passed, %patience
  br i1 %on, label %look, label %sleep
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @sleepers, i64 1 seq_cst
  br label %check
check:
  %most = load atomic i64, ptr @limit seq_cst, align 8
  %surplus = icmp uge i64 %index, %most
  br i1 %surplus, label %wake, label %check.work
check.work:
  %come = call i1 @open()
  br i1 %come, label %wake, label %wait
wait:
  call i32 @pthread_cond_wait(ptr @work, ptr @mutex)
  br label %check
wake:
  atomicrmw sub ptr @sleepers, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br i1 %surplus, label %leave, label %loop
leave:
  %slot = getelementptr i8, ptr @slots, i64 %index
  %id.at = getelementptr i64, ptr @ids, i64 %index
  store atomic i64 0, ptr %id.at seq_cst, align 8
  store atomic i8 0, ptr %slot seq_cst, align 1
  atomicrmw sub ptr @running, i64 1 seq_cst
  ret ptr null
}}

; Starts threads until `wanted` run; where the system refuses, those that run do the work.
define internal void @spawn(i64 %wanted) nounwind cold {{
entry:
  %settings = alloca [256 x i8], align 16
  %thread = alloca i64
  call i32 @pthread_attr_init(ptr %settings)
  call i32 @pthread_attr_setdetachstate(ptr %settings, i32 {2 if _DARWIN else 1})
  call i32 @pthread_attr_setstacksize(ptr %settings, i64 {_STACK})
  %most = load atomic i64, ptr @limit seq_cst, align 8
  br label %loop
loop:
  %index = phi i64 [1, %entry], [%next, %skip]
  %inside = icmp ult i64 %index, %most
  br i1 %inside, label %look, label %leave
look:
  %have = load atomic i64, ptr @running seq_cst, align 8
  %few = icmp ult i64 %have, %wanted
  br i1 %few, label %slot, label %leave
slot:
  %at = getelementptr i8, ptr @slots, i64 %index
  %used = load atomic i8, ptr %at seq_cst, align 1
  %free = icmp eq i8 %used, 0
  br i1 %free, label %create, label %skip
create:
  store atomic i8 1, ptr %at seq_cst, align 1
  atomicrmw add ptr @running, i64 1 seq_cst
  %number = inttoptr i64 %index to ptr
  %refused = call i32 @pthread_create(ptr %thread, ptr %settings, ptr @worker, ptr %number)
  %started = icmp eq i32 %refused, 0
  br i1 %started, label %skip, label %undo
undo:
  store atomic i8 0, ptr %at seq_cst, align 1
  atomicrmw sub ptr @running, i64 1 seq_cst
  br label %leave
skip:
  %next = add i64 %index, 1
  br label %loop
leave:
  call i32 @pthread_attr_destroy(ptr %settings)
  ret void
}}

; One job of at most 2**31 blocks.
define internal void @job(ptr %task, ptr %context, i64 %base, i64 %n, i64 %threads) nounwind {{
entry:
  %number = load i64, ptr @number
  %bumped = add i64 %number, 4294967296
  store i64 %bumped, ptr @number
  %spans = call i64 @llvm.umin.i64(i64 %threads, i64 {SPANS})
  store atomic i64 %n, ptr @blocks monotonic, align 8
  store atomic i64 %spans, ptr @spans monotonic, align 8
  store atomic i64 %base, ptr @base monotonic, align 8
  store atomic ptr %task, ptr @task monotonic, align 8
  store atomic ptr %context, ptr @context monotonic, align 8
  store atomic i64 0, ptr @done monotonic, align 8
  call void @announce(i64 %spans, i64 %bumped, i1 1, i64 %n)
  %idle = load atomic i64, ptr @sleepers seq_cst, align 8
  %others = sub i64 %n, 1
  %calls = call i64 @llvm.umin.i64(i64 %idle, i64 %others)
  %any = icmp ne i64 %calls, 0
  br i1 %any, label %lock, label %work
lock:
  call void @spread_out()
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %wake
wake:
  %left = phi i64 [%calls, %lock], [%less, %wake]
  call i32 @pthread_cond_signal(ptr @work)
  %less = sub i64 %left, 1
  %on = icmp ne i64 %less, 0
  br i1 %on, label %wake, label %unlock
unlock:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %work
work:
  call void @take(i64 0)
  %first = load atomic i64, ptr @done acquire, align 8
  %ready = icmp eq i64 %first, %n
  br i1 %ready, label %leave, label %spin
spin:
  %started = call i64 @now()
  br label %look
look:
  %k = phi i64 [0, %spin], [%k1, %rest], [0, %time]
  %count = load atomic i64, ptr @done acquire, align 8
  %all = icmp eq i64 %count, %n
  br i1 %all, label %leave, label %rest
rest:
  {pause}
  %k1 = add i64 %k, 1
  %often = icmp ult i64 %k1, 16
  br i1 %often, label %look, label %time
time:
  %present = call i64 @now()
  %passed = sub i64 %present, %started
  %patience = load atomic i64, ptr @spin monotonic, align 8
  %again = icmp slt i64 %passed, %patience
  br i1 %again, label %look, label %sleep
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @waiting seq_cst, align 8
  br label %check
check:
  %late = load atomic i64, ptr @done seq_cst, align 8
  %complete = icmp eq i64 %late, %n
  br i1 %complete, label %awake, label %wait
wait:
  call i32 @pthread_cond_wait(ptr @finished, ptr @mutex)
  br label %check
awake:
  store atomic i64 0, ptr @waiting seq_cst, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %leave
leave:
  call void @announce(i64 %spans, i64 %bumped, i1 0, i64 %n)
  ret void
}}

define void @facula_parallel(ptr %task, ptr %context, i64 %n) nounwind {{
entry:
  %most = load atomic i64, ptr @limit monotonic, align 8
  %threads = call i64 @llvm.umin.i64(i64 %most, i64 %n)
  %several = icmp sgt i64 %threads, 1
  %some = icmp sgt i64 %n, 0
  %useful = and i1 %several, %some
  br i1 %useful, label %claim, label %start
claim:
  %swap = cmpxchg ptr @busy, i64 0, i64 1 acq_rel monotonic, align 8
  %mine = extractvalue {{i64, i1}} %swap, 1
  br i1 %mine, label %pool, label %start
pool:
  %wanted = sub i64 %threads, 1
  %have = load atomic i64, ptr @running monotonic, align 8
  %few = icmp ult i64 %have, %wanted
  br i1 %few, label %grow, label %share
grow:
  call void @spawn(i64 %wanted)
  br label %share
share:
  %base = phi i64 [0, %pool], [0, %grow], [%past, %share]
  %left = sub i64 %n, %base
  %part = call i64 @llvm.umin.i64(i64 %left, i64 2147483648)
  call void @job(ptr %task, ptr %context, i64 %base, i64 %part, i64 %threads)
  %past = add i64 %base, %part
  %more = icmp ult i64 %past, %n
  br i1 %more, label %share, label %free
free:
  store atomic i64 0, ptr @busy release, align 8
  ret void
start:
  br i1 %some, label %alone, label %leave
alone:
  %i = phi i64 [0, %start], [%j, %alone]
  call void %task(ptr %context, i64 %i)
  %j = add i64 %i, 1
  %on = icmp slt i64 %j, %n
  br i1 %on, label %alone, label %leave
leave:
  ret void
}}

; A pool without threads; also what a child of fork() has.
define void @facula_threads_reset() nounwind {{
  %number = load i64, ptr @number
  call void @announce(i64 {SPANS}, i64 %number, i1 0, i64 0)
  store atomic i64 0, ptr @blocks seq_cst, align 8
  store atomic i64 0, ptr @running seq_cst, align 8
  store atomic i64 0, ptr @sleepers seq_cst, align 8
  store atomic i64 0, ptr @waiting seq_cst, align 8
  call void @llvm.memset.p0.i64(ptr @slots, i8 0, i64 {MOST}, i1 false)
  call void @llvm.memset.p0.i64(ptr @ids, i8 0, i64 {MOST * 8}, i1 false)
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @work, ptr null)
  call i32 @pthread_cond_init(ptr @finished, ptr null)
  store atomic i64 0, ptr @busy seq_cst, align 8
  ret void
}}

define void @facula_threads_set(i64 %limit, i64 %spin, i64 %spread) nounwind {{
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 %limit, ptr @limit seq_cst, align 8
  store atomic i64 %spin, ptr @spin seq_cst, align 8
  store atomic i64 %spread, ptr @spread seq_cst, align 8
  call i32 @pthread_cond_broadcast(ptr @work)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}}

define i64 @facula_threads_running() nounwind {{
  %have = load atomic i64, ptr @running seq_cst, align 8
  ret i64 %have
}}
"""


CLOSED = 0xFFFFFFFF  # as the next block: more than any job has
_NAMES = ("facula_parallel", "facula_threads_reset", "facula_threads_set", "facula_threads_running")
_SIGNATURES = {
    "reset": (None,),
    "set": (None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),
    "running": (ctypes.c_int64,),
}
_native: dict[str, Callable[..., int]] = {}
_count = min(settings.num_threads, MOST)


def _set(count: int) -> None:
    _native["set"](count, settings.spin_us * 1000, 1 < count <= usable_cores())


def _start() -> None:
    addresses = jit.load(_text(), _NAMES, optimize="clean")
    for name, types in _SIGNATURES.items():
        _native[name] = ctypes.CFUNCTYPE(*types)(addresses[f"facula_threads_{name}"])
    jit.define("facula_parallel", addresses["facula_parallel"])
    _native["reset"]()
    _set(_count)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_native["reset"])  # threads do not survive a fork, and locks may be held


jit.provide(["facula_parallel"], _start)


def set_num_threads(count: int) -> None:
    """Let kernels use `count` threads, the calling one included.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    global _count
    if not isinstance(count, int) or isinstance(count, bool):
        fail(TypeError, f"set_num_threads expects an int, but got {type(count).__name__}")
    if not 0 < count <= MOST:
        fail(RuntimeError, "set_num_threads expects a positive integer", expected=f"1 to {MOST}", got=count)
    _count = count
    if _native:
        _set(count)


def get_num_threads() -> int:
    """How many threads a kernel may use; by default one for each core that the process may run on."""
    return _count


def running() -> int:
    """How many worker threads there are at this moment."""
    return _native["running"]() if _native else 0
