"""The thread pool: every block once, whoever calls, through forks, nesting and the interpreter's end."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from facula.native import builtins
from facula.targets.cpu import threads

TEXT = """
declare void @facula_parallel(ptr, ptr, i64)
declare i64 @pthread_self()

define internal void @mark(ptr %counts, i64 %block) {
  %at = getelementptr i64, ptr %counts, i64 %block
  %old = atomicrmw add ptr %at, i64 1 monotonic
  ret void
}
define void @count(ptr %counts, i64 %blocks) {
  call void @facula_parallel(ptr @mark, ptr %counts, i64 %blocks)
  ret void
}

define internal void @inner(ptr %counts, i64 %block) {
  call void @facula_parallel(ptr @mark, ptr %counts, i64 10)
  ret void
}
define void @nest(ptr %counts, i64 %blocks) {
  call void @facula_parallel(ptr @inner, ptr %counts, i64 %blocks)
  ret void
}

define internal void @burn(ptr %who, i64 %block) {
entry:
  %at = getelementptr i64, ptr %who, i64 %block
  %self = call i64 @pthread_self()
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  %j = add i64 %i, 1
  store volatile i64 %self, ptr %at
  %on = icmp ult i64 %j, 30000
  br i1 %on, label %loop, label %done
done:
  ret void
}

; Numbers the blocks as they begin; the first block waits for the second one to begin.
define internal void @number(ptr %order, i64 %block) {
entry:
  %at = getelementptr i64, ptr %order, i64 %block
  %next = getelementptr i64, ptr %order, i64 400
  %before = atomicrmw add ptr %next, i64 1 seq_cst
  %own = add i64 %before, 1
  store volatile i64 %own, ptr %at
  br label %look
look:
  %tries = phi i64 [0, %entry], [%again, %look]
  %again = add i64 %tries, 1
  %begun = load volatile i64, ptr %next
  %alone = icmp eq i64 %begun, 1
  %early = icmp ult i64 %again, 2000000000
  %on = and i1 %alone, %early
  br i1 %on, label %look, label %done
done:
  ret void
}
define void @meet(ptr %order, i64 %blocks) {
  call void @facula_parallel(ptr @number, ptr %order, i64 %blocks)
  ret void
}
define void @work(ptr %who, i64 %blocks) {
  call void @facula_parallel(ptr @burn, ptr %who, i64 %blocks)
  ret void
}
"""
count = builtins.build(TEXT, "count", ["ptr", "i64"], work=(1,), cost=1e3)
nest = builtins.build(TEXT, "nest", ["ptr", "i64"], work=(1,), cost=1e6)
work = builtins.build(TEXT, "work", ["ptr", "i64"], work=(1,), cost=1e6)
meet = builtins.build(TEXT, "meet", ["ptr", "i64"], work=(1,), cost=1e6)


@pytest.fixture(autouse=True)
def number_of_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("number", [1, 2, 4, 64])
def test_every_block_runs_once(number):
    threads.set_num_threads(number)
    assert threads.get_num_threads() == number
    counts = np.zeros(3000, np.int64)
    expected = np.zeros_like(counts)
    for blocks in [0, 1, 2, 3, 7, 100, 3000, -5] * 10:
        count(counts.ctypes.data, blocks)
        expected[: max(blocks, 0)] += 1
    np.testing.assert_array_equal(counts, expected)
    assert threads.running() <= max(number - 1, 63)


def test_each_thread_begins_with_its_own_part():
    """What one kernel wrote, the next one reads on the same core."""
    threads.set_num_threads(2)
    end = time.monotonic() + 10
    while threads.running() > 1 and time.monotonic() < end:  # those of other tests are about to leave
        time.sleep(0.001)
    for _ in range(5):
        order = np.zeros(401, np.int64)  # the last one counts
        time.sleep(0.005)  # a thread that is just looking for more of the last job may begin anywhere
        meet(order.ctypes.data, 400)
        assert sorted(order[:400].tolist()) == list(range(1, 401))
        assert {int(order[0]), int(order[200])} == {1, 2}


def test_several_threads_do_the_work():
    threads.set_num_threads(2)
    who = np.zeros(400, np.int64)
    for _ in range(20):  # the system may be slow to start a thread
        work(who.ctypes.data, who.size)
        if len(set(who.tolist())) == 2:
            break
    assert len(set(who.tolist())) == 2
    threads.set_num_threads(1)
    work(who.ctypes.data, who.size)
    assert len(set(who.tolist())) == 1


def test_workers_start_late_and_leave():
    threads.set_num_threads(1)
    for _ in range(200):
        if threads.running() == 0:
            break
        time.sleep(0.01)
    assert threads.running() == 0
    threads.set_num_threads(5)
    assert threads.running() == 0
    counts = np.zeros(100, np.int64)
    count(counts.ctypes.data, 3)
    assert threads.running() == 2  # as many as there are blocks for
    count(counts.ctypes.data, 100)
    assert threads.running() == 4
    assert counts.sum() == 103


def test_nested_calls():
    threads.set_num_threads(4)
    counts = np.zeros(10, np.int64)
    for _ in range(20):
        nest(counts.ctypes.data, 50)
    np.testing.assert_array_equal(counts, 1000)


def test_four_python_threads_hammer():
    threads.set_num_threads(4)
    counts = np.zeros(1000, np.int64)

    def hammer():
        for _ in range(300):
            count(counts.ctypes.data, 1000)

    callers = [threading.Thread(target=hammer) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(50):  # and the number changes under their feet
        threads.set_num_threads(1 + _ % 5)
        time.sleep(0.0005)
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive()
    np.testing.assert_array_equal(counts, 1200)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_while_the_pool_is_busy():
    threads.set_num_threads(3)
    who = np.zeros(3000, np.int64)
    caller = threading.Thread(target=lambda: [work(who.ctypes.data, who.size) for _ in range(4)])
    caller.start()
    for _ in range(3):
        time.sleep(0.003)
        child = os.fork()
        if child == 0:
            counts = np.zeros(500, np.int64)
            for _ in range(20):
                count(counts.ctypes.data, 500)
            mine, tries = np.zeros(400, np.int64), 0
            while len(set(mine.tolist())) < 2 and tries < 100:  # the child has workers of its own
                work(mine.ctypes.data, mine.size)
                tries += 1
            os._exit(0 if (counts == 20).all() and threads.running() == 2 and tries < 100 else 1)
        ended, status = 0, 0
        for _ in range(3000):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.01)
        if not ended:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended and status == 0
    caller.join()
    counts = np.zeros(500, np.int64)
    count(counts.ctypes.data, 500)
    assert (counts == 1).all()


DAEMON = """
def forever():
    while True:
        work(ctypes.addressof(memory), 2000)

threading.Thread(target=forever, daemon=True).start()
time.sleep(0.02)
"""
END = """
import ctypes, threading, time
from facula.native import builtins
from facula.targets.cpu import threads
threads.set_num_threads(4)
text = {text!r}
work = builtins.build(text, "work", ["ptr", "i64"], work=(1,), cost=1e6)
memory = (ctypes.c_int64 * 2000)()
work(ctypes.addressof(memory), 100)
{last}
"""


@pytest.mark.parametrize(
    "last",
    [
        "",
        DAEMON,
        "raise SystemExit(0)",
        "time.sleep(0.05)",
    ],
)
def test_interpreter_ends_cleanly(last):
    environ = dict(os.environ, FACULA_SPIN_US="200000")  # workers still spin at the end
    code = END.format(text=TEXT, last=last)
    done = subprocess.run([sys.executable, "-c", code], env=environ, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "number, kind", [(0, RuntimeError), (-1, RuntimeError), (10**6, RuntimeError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_numbers(number, kind):
    with pytest.raises(kind, match="set_num_threads expects"):
        threads.set_num_threads(number)


def test_environment_sets_the_number():
    code = "from facula.targets.cpu import threads; print(threads.get_num_threads())"
    environ = dict(os.environ, FACULA_NUM_THREADS="7")
    assert subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True).stdout == "7\n"
