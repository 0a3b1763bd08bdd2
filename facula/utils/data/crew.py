"""The workers of a pass over a loader: started, given messages, listened to, ended; as processes or as threads."""

import atexit
import contextlib
import errno
import os
import pickle
import queue
import select
import signal
import socket
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from .inbox import Envelope, Inbox
from .outbox import HEADER, Channel, packed
from .worker import Orders, run_process, run_thread

__all__ = ["ProcessCrew", "ThreadCrew"]

PATIENCE = 5.0  # seconds that workers have to end by themselves
LAST_PATIENCE = 0.5  # the same at the end of the program

_TOO_MANY = (
    "Too many open files. Communication with the workers is no longer possible. Please increase the limit using "
    "`ulimit -n` in the shell or change the sharing strategy by calling "
    "`torch.multiprocessing.set_sharing_strategy('file_system')` at the beginning of your code"
)


class ProcessCrew:
    """Workers as processes, each at the other end of a socket."""

    def __init__(self, context: Any, orders: Sequence[Orders]):
        self.pid = os.getpid()
        self.interrupted = False
        self.processes: list[Any] = []
        self.ends: list[socket.socket] = []
        self.channels: list[Channel] = []
        self.inboxes: list[Inbox] = []
        self.waiting: list[deque[memoryview]] = []  # bytes that a worker's socket does not take yet
        self.ready: deque[tuple[int, Envelope]] = deque()
        self.poll = select.poll()
        self.numbers: dict[int, tuple[int, bool]] = {}  # descriptor: (worker, whether it is the socket)
        _crews.add(self)
        for order in orders:
            own, theirs = socket.socketpair()
            self.ends.append(own)  # before the fork, which closes it in the child
            try:
                process = context.Process(target=run_process, args=(order, theirs, self.pid))
                process.daemon = True
                process.start()
            except BaseException as error:
                self.ends.pop().close()
                if isinstance(error, TypeError | AttributeError | pickle.PicklingError):
                    warnings.warn(
                        "Got pickle error when attempting to start a worker Process. This might be because the worker "
                        "Process arguments are not picklable. Python 3.14+ changed the multiprocessing start method in "
                        "non-Mac POSIX platforms to 'forkserver', which requires the worker Process arguments to be "
                        "picklable. You can also try multiprocessing.set_start_method('fork').",
                        stacklevel=5,
                    )
                self.stop()
                raise
            finally:
                theirs.close()
            number = len(self.processes)
            self.processes.append(process)
            self.channels.append(Channel(own))
            self.inboxes.append(Inbox())
            self.waiting.append(deque())
            for descriptor, is_socket in ((own.fileno(), True), (process.sentinel, False)):
                self.numbers[descriptor] = number, is_socket
                self.poll.register(descriptor, select.POLLIN)

    # to workers

    def send(self, worker: int, message: Any) -> None:
        """Give a worker a message; what its socket does not take now is sent while waiting for data."""
        payload = packed((message, *self.inboxes[worker].news()))
        self.waiting[worker].append(memoryview(HEADER.pack(len(payload), 0) + payload))
        self._flush(worker)

    def _flush(self, worker: int) -> None:
        waiting, end = self.waiting[worker], self.ends[worker]
        try:
            while waiting:
                sent = end.send(waiting[0], socket.MSG_DONTWAIT)
                if sent == len(waiting[0]):
                    waiting.popleft()
                else:
                    waiting[0] = waiting[0][sent:]
        except BlockingIOError:
            pass
        except OSError:  # it is gone, which `receive` finds out
            waiting.clear()
        if end.fileno() in self.numbers:
            self.poll.modify(end.fileno(), select.POLLIN | (select.POLLOUT if waiting else 0))

    # from workers

    def receive(self, timeout: float | None, busy: list[bool]) -> tuple[int, Envelope] | None:
        """The next message of any worker, and whose it is; None after `timeout` seconds.

        Raises
        ------
        RuntimeError
            A worker that was `busy`, and is no more, has ended.
        """
        if self.interrupted:
            raise RuntimeError("this pass over a DataLoader was interrupted while data came in: start another one")
        until = None if timeout is None else time.monotonic() + timeout
        while not self.ready:
            left = None if until is None else max(0.0, until - time.monotonic()) * 1000
            events = self.poll.poll(left)
            if not events:
                return None
            gone = []
            for descriptor, event in events:
                worker, is_socket = self.numbers[descriptor]
                if not is_socket:
                    gone.append(worker)
                    continue
                if event & select.POLLOUT:
                    self._flush(worker)
                if event & select.POLLIN:
                    self._read(worker)
                elif event & (select.POLLHUP | select.POLLERR):
                    self._ignore(descriptor)
            if gone and not self.ready:
                self._check(gone, busy)
        return self.ready.popleft()

    def _read(self, worker: int) -> None:
        try:
            payload, descriptors = self.channels[worker].receive()
        except EOFError:
            self._ignore(self.ends[worker].fileno())
            return
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise RuntimeError(_TOO_MANY) from None
            raise
        except KeyboardInterrupt:  # half of a message is read
            self.interrupted = True
            raise
        self.ready.append((worker, self.inboxes[worker].open(payload, descriptors)))

    def _ignore(self, descriptor: int) -> None:
        if self.numbers.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)

    def _check(self, gone: list[int], busy: list[bool]) -> None:
        """RuntimeError if a worker has ended that still had something to do."""
        failed = []
        for worker in gone:
            process = self.processes[worker]
            process.join()
            if process.sentinel in self.numbers and busy[worker]:
                failed.append(process)
                busy[worker] = False
            self._ignore(process.sentinel)
        if failed:
            names = ", ".join(str(process.pid) for process in failed)
            raise RuntimeError(f"DataLoader worker (pid(s) {names}) exited unexpectedly") from _cause(failed[0])

    # the end

    def finish(self, worker: int) -> None:
        """There will be nothing more for this worker."""
        with contextlib.suppress(OSError):
            self.ends[worker].shutdown(socket.SHUT_WR)

    def stop(self, patience: float = PATIENCE) -> None:
        """End all workers, and wait until they have ended."""
        if os.getpid() != self.pid:  # a copy in a process that was forked from the loader's
            return
        _crews.discard(self)
        for end in self.ends:
            end.close()
        until = time.monotonic() + patience
        for process in self.processes:
            process.join(max(0.0, until - time.monotonic()))
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        for process in self.processes:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()


_crews: "weakref.WeakSet[ProcessCrew]" = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """At the end of the program: passes that were not gone through to the end."""
    for crew in list(_crews):
        crew.stop(LAST_PATIENCE)


def _leave_to_parent() -> None:
    """In a forked child: the other ends of sockets are the parent's alone, so that its workers see when it ends."""
    for crew in list(_crews):
        for end in crew.ends:
            with contextlib.suppress(OSError):
                end.close()


os.register_at_fork(after_in_child=_leave_to_parent)


def _cause(process: Any) -> RuntimeError:
    """What became of a worker, in PyTorch's words."""
    code = process.exitcode
    if code is not None and code < 0:
        text = f"DataLoader worker (pid {process.pid}) is killed by signal: {signal.strsignal(-code)}. "
        if -code == getattr(signal, "SIGBUS", None):
            text += (
                "It is possible that dataloader's workers are out of shared memory. Please try to raise your shared "
                "memory limit."
            )
        return RuntimeError(text)
    return RuntimeError(
        f"DataLoader worker (pid {process.pid}) exited unexpectedly with exit code {code}. Details are lost due to "
        "multiprocessing. Rerunning with num_workers=0 may give better error trace."
    )


class _Opened:
    """Data of a thread, which needs no unpacking."""

    def __init__(self, head: tuple, data: Any):
        self.head, self.data = head, data

    def unpack(self) -> Any:
        return self.data

    def discard(self) -> None:
        pass


class ThreadCrew:
    """Workers as threads of this process: nothing is copied, and Python code of two of them never runs at once."""

    def __init__(self, orders: Sequence[Orders]):
        self.pid = os.getpid()
        self.results: queue.SimpleQueue = queue.SimpleQueue()
        self.inboxes: list[queue.SimpleQueue] = [queue.SimpleQueue() for _ in orders]
        self.processes = [
            threading.Thread(target=run_thread, args=(order, inbox, self.results), name=f"pt_data_worker {number}")
            for number, (order, inbox) in enumerate(zip(orders, self.inboxes))
        ]
        for thread in self.processes:
            thread.daemon = True
            thread.start()

    def send(self, worker: int, message: Any) -> None:
        """Give a worker a message."""
        self.inboxes[worker].put(message)

    def receive(self, timeout: float | None, busy: list[bool]) -> tuple[int, _Opened] | None:
        """The next message of any worker, and whose it is; None after `timeout` seconds."""
        try:
            worker, head, data = self.results.get(timeout=timeout)
        except queue.Empty:
            return None
        if head is None:
            raise RuntimeError(f"DataLoader worker thread {worker} exited unexpectedly") from data
        return worker, _Opened(head, data)

    def finish(self, worker: int) -> None:
        """There will be nothing more for this worker."""
        self.inboxes[worker].put(None)

    def stop(self) -> None:
        """End all workers, and wait until they have ended."""
        if os.getpid() != self.pid:
            return
        for inbox in self.inboxes:
            with contextlib.suppress(queue.Empty):
                while True:
                    inbox.get_nowait()
            inbox.put(None)
        until = time.monotonic() + PATIENCE
        for thread in self.processes:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
