"""What a worker of a DataLoader runs, as a process or as a thread, and what it is told about itself."""

import contextlib
import multiprocessing
import os
import pickle
import queue
import random
import select
import threading
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from facula._utils import ExceptionWrapper
from facula.core.generator import Generator

from . import outbox
from .fetch import create_fetcher

__all__ = ["Orders", "WorkerInfo", "get_worker_info", "run_process", "run_thread"]

PATIENCE = 0.5  # seconds between looks at whether the parent of a worker that is busy still lives


@dataclass(frozen=True, slots=True)
class _RNG:
    """The generators of a worker that is a thread: those of the process belong to all threads."""

    random_generator: random.Random
    torch_generator: Generator
    numpy_generator: object | None = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker knows of itself.

    Attributes
    ----------
    id : int
        0 to `num_workers` - 1.
    num_workers : int
    seed : int
        With which `random` and `torch` were seeded.
    dataset : Dataset
        Of a process, its copy of it.
    rng : object
        Of a thread, its own generators, as the global ones belong to all threads.
    worker_method : str
        "multiprocessing" or "thread".
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: _RNG | None = None
    worker_method: str | None = "multiprocessing"


class _Local(threading.local):
    info: WorkerInfo | None = None


_local = _Local()
_of_process: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker of a DataLoader, what it knows of itself: `id`, `num_workers`, `seed`, `dataset`; elsewhere None.

    Examples
    --------
    >>> get_worker_info() is None
    True
    """
    return _local.info or _of_process


def _generate_state(base_seed: int, worker_id: int) -> list[int]:
    """Four words to seed NumPy with, which are not those that `random` is seeded with.

    The mixing is that of O'Neill's seed_seq, with the constants of `numpy.random.SeedSequence`, as PyTorch has it.
    """
    mask = 0xFFFFFFFF
    hashing = 0x43B0D7E5

    def mixed_in(value: int) -> int:
        nonlocal hashing
        value = (value ^ hashing) & mask
        hashing = (hashing * 0x931E8875) & mask
        value = (value * hashing) & mask
        return (value ^ (value >> 16)) & mask

    def mix(x: int, y: int) -> int:
        result = (0xCA01F9DD * x - 0x4973F715 * y) & mask
        return (result ^ (result >> 16)) & mask

    pool = [mixed_in(value) for value in (worker_id, base_seed & mask, base_seed >> 32, 0)]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mix(pool[target], mixed_in(pool[source]))
    state, hashing = [], 0x8B51F9DD
    for value in pool:
        value = (value ^ hashing) & mask
        hashing = (hashing * 0x58F38DED) & mask
        value = (value * hashing) & mask
        state.append((value ^ (value >> 16)) & mask)
    return state


class Orders(NamedTuple):
    """What a worker is told when it starts."""

    iterable: bool
    dataset: Any
    auto_collation: bool
    collate_fn: Any
    drop_last: bool
    base_seed: int
    init_fn: Any
    worker_id: int
    num_workers: int

    def fetcher(self):
        """What gets the data."""
        return create_fetcher(self.iterable, self.dataset, self.auto_collation, self.collate_fn, self.drop_last)


class Ended(NamedTuple):
    """In the place of data: this worker's iterable dataset has no more."""

    worker_id: int


def _work(orders: Orders, receive, send, where: str) -> None:
    """Answer messages until there are no more: (pass, task, index) with (pass, task, slowest), data.

    A message of another pass than the one before it begins that pass.
    """
    fetcher: Any = None
    failure = None
    ended = False
    try:
        if orders.init_fn is not None:
            orders.init_fn(orders.worker_id)
        fetcher = orders.fetcher()
    except Exception:
        failure = ExceptionWrapper(where=where)
    current = 0
    while (message := receive()) is not None:
        number, task, index = message
        if number != current:
            current, ended = number, False
            if failure is None:
                try:
                    fetcher = orders.fetcher()
                except Exception:
                    failure = ExceptionWrapper(where=where)
        if ended:  # asked before it was known that there is nothing more
            continue
        data: Any
        if failure is not None or fetcher is None:
            data = failure
        else:
            try:
                data = fetcher.fetch(index)
            except Exception as error:
                if isinstance(error, StopIteration) and orders.iterable:
                    data, ended = Ended(orders.worker_id), True
                else:
                    data = ExceptionWrapper(where=where)
        slowest = fetcher.slowest if fetcher is not None else (0.0, None)
        if fetcher is not None:
            fetcher.slowest = (0.0, None)
        send((number, task, slowest), data)
        del data, message, index  # memory


def run_process(orders: Orders, end: Any, parent: int) -> None:
    """What a worker process runs.

    Parameters
    ----------
    orders : Orders
    end : socket
        To the loader.
    parent : int
        The number of the loader's process.
    """
    global _of_process
    channel = outbox.Channel(end)
    threading.Thread(target=_watch, args=(end.fileno(), parent), name="facula-watch", daemon=True).start()
    try:
        _seed(orders)
        _of_process = WorkerInfo(
            orders.worker_id, orders.num_workers, orders.base_seed + orders.worker_id, orders.dataset
        )
        box = outbox.current = outbox.Outbox()
        where = f"in DataLoader worker process {orders.worker_id}"

        def receive():
            try:
                payload, _ = channel.receive()
            except EOFError:
                return None
            message, released, forgotten = pickle.loads(payload)
            box.let_go(released, forgotten)
            return message

        def send(head: tuple, data: Any) -> None:
            try:
                box.send(channel, head, data)
            except OSError as error:
                if isinstance(error, BrokenPipeError | ConnectionResetError):
                    raise EOFError from None
                box.send(channel, head, ExceptionWrapper(where=where))
            except Exception:  # what cannot be pickled
                box.send(channel, head, ExceptionWrapper(where=where))

        _work(orders, receive, send, where)
    except (KeyboardInterrupt, EOFError):
        pass  # the loader's process has it too, or is through with this worker
    finally:
        with contextlib.suppress(OSError):
            channel.close()


def _seed(orders: Orders) -> None:
    from facula.random import manual_seed
    from facula.threads import set_num_threads

    with contextlib.suppress(OSError):
        from facula.multiprocessing import _set_thread_name

        _set_thread_name("pt_data_worker")
    set_num_threads(1)
    seed = orders.base_seed + orders.worker_id
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(_generate_state(orders.base_seed, orders.worker_id))


def _watch(descriptor: int, parent: int) -> None:
    """End this process soon after the loader's has ended, whatever the main thread is busy with."""
    poll = select.poll()
    poll.register(descriptor, 0)  # reports that the other end is closed, and nothing else
    own_parent = os.getppid()
    above = multiprocessing.parent_process()
    poll.poll()
    while True:
        time.sleep(PATIENCE)  # the main thread sees it as well, and leaves in order
        if os.getppid() != own_parent or (own_parent != parent and above is not None and not above.is_alive()):
            os._exit(1)


def run_thread(orders: Orders, inbox: "queue.SimpleQueue", results: "queue.SimpleQueue") -> None:
    """What a worker thread runs; None in its queue ends it."""
    seed = orders.base_seed + orders.worker_id
    generator = Generator()
    generator.manual_seed(seed)
    numbers = np.random.RandomState(_generate_state(orders.base_seed, orders.worker_id))
    _local.info = WorkerInfo(
        orders.worker_id,
        orders.num_workers,
        seed,
        orders.dataset,
        _RNG(random.Random(seed), generator, numbers),
        "thread",
    )

    def send(head: tuple, data: Any) -> None:
        results.put((orders.worker_id, head, data))

    try:
        _work(orders, inbox.get, send, f"in DataLoader worker thread {orders.worker_id}")
    except BaseException as error:  # what ends a process: SystemExit, KeyboardInterrupt
        results.put((orders.worker_id, None, error))
