"""Workers of a DataLoader: order, seeds (recorded from PyTorch 2.13), exceptions, lifetimes, memory, threads."""

import collections
import gc
import os
import pickle
import random
import signal
import threading
import time
import warnings
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

import facula as torch
from facula.multiprocessing import reductions
from facula.utils import data
from facula.utils.data import inbox, outbox
from facula.utils.data.worker import _generate_state

METHODS = ("fork", "thread")  # spawned ones: tests/multiprocessing, tests/conformance


@pytest.fixture(autouse=True)
def no_advice():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")
        yield


class Numbers(data.Dataset):
    """`function(index)`, `count` times."""

    def __init__(self, function=lambda index: index, count=8):
        self.function, self.count = function, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.function(index)


class Stream(data.IterableDataset):
    """Each worker has every so-many-th number."""

    def __init__(self, count=10):
        self.count = count

    def __iter__(self):
        info = data.get_worker_info()
        return iter(range(info.id, self.count, info.num_workers))


def plain(batches) -> list:
    return [b.tolist() if isinstance(b, torch.Tensor) else b for b in batches]


def as_it_is(batch):
    return batch


# --- order and seeds


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_order_is_that_without_workers(method, persistent, workers):
    found = []
    for options in ({}, {"num_workers": workers, "multiprocessing_context": method, "persistent_workers": persistent}):
        torch.manual_seed(3)
        loader = data.DataLoader(Numbers(count=11), 2, shuffle=True, **options)
        found.append([plain(loader) for _ in range(3)] + [torch.randint(100, (3,)).tolist()])
    assert found[0][:1] == found[1][:1]
    if not persistent:  # whose later passes draw no base seed
        assert found[0] == found[1]


def test_seeds_of_workers():
    torch.manual_seed(5)
    loader = data.DataLoader(
        Numbers(lambda i: (random.random(), float(np.random.rand()), torch.rand(1).item()), 4), None, num_workers=2
    )
    assert [tuple(row) for row in loader] == RECORDED_SEEDS
    assert _generate_state(123456789012345, 3) == RECORDED_STATE


RECORDED_SEEDS = [
    (0.9732059885921714, 0.48524966518109036, 0.7106006741523743),
    (0.7347412016282042, 0.08072729909407361, 0.2905186414718628),
    (0.09916814881074121, 0.24756875093656816, 0.34830594062805176),
    (0.421098279900221, 0.9242645271423134, 0.5857152342796326),
]
RECORDED_STATE = [3999280408, 2418223825, 1775828080, 3641838301]


def test_what_a_worker_knows():
    assert data.get_worker_info() is None
    dataset = Numbers(lambda i: data.get_worker_info(), 2)
    torch.manual_seed(1)
    for info in data.DataLoader(
        dataset, None, num_workers=2, collate_fn=lambda i: (i.id, i.num_workers, i.worker_method)
    ):
        assert info in ((0, 2, "multiprocessing"), (1, 2, "multiprocessing"))
    loader = data.DataLoader(dataset, None, num_workers=2, multiprocessing_context="thread", collate_fn=as_it_is)
    infos = list(loader)
    assert [info.id for info in infos] == [0, 1] and infos[0].seed + 1 == infos[1].seed
    assert infos[0].dataset is dataset and infos[0].worker_method == "thread"
    assert isinstance(infos[0].rng.random_generator, random.Random)
    assert data.get_worker_info() is None


def test_init_functions():
    marks = []

    def init(number):
        assert data.get_worker_info().id == number
        marks.append(number)
        data.get_worker_info().dataset.function = lambda index: index + 100 * number

    loader = data.DataLoader(Numbers(count=4), None, num_workers=2, worker_init_fn=init)
    assert list(loader) == [0, 101, 2, 103] and marks == [], "a process has a copy"
    threads = data.DataLoader(Numbers(), None, num_workers=1, worker_init_fn=init, multiprocessing_context="thread")
    list(threads)
    assert marks == [0]


@pytest.mark.parametrize("method", METHODS)
def test_streams(method):
    def batches(**options):
        loader = data.DataLoader(Stream(), **{"num_workers": 2, "multiprocessing_context": method, **options})
        return [plain(loader) for _ in range(2)]

    assert batches(batch_size=2) == [[[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]] * 2
    assert batches(batch_size=2, persistent_workers=True) == [[[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]] * 2
    assert batches(batch_size=2, drop_last=True) == [[[0, 2], [1, 3], [4, 6], [5, 7]]] * 2
    assert batches(batch_size=None) == [list(range(10))] * 2
    assert batches(batch_size=4, num_workers=3) == [[[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]] * 2


def test_as_they_are_ready():
    dataset = Numbers(lambda i: (time.sleep(0.3 if i == 0 else 0), i)[1])
    loader = data.DataLoader(dataset, None, num_workers=2, in_order=False)
    found = list(loader)
    assert sorted(found) == list(range(8)) and found[0] != 0


def test_prefetching_is_bounded():
    drawn = []

    def indices():
        for index in range(100):
            drawn.append(index)
            yield index

    class Endless(data.Sampler):
        def __iter__(self):
            return indices()

    batches = iter(data.DataLoader(Numbers(count=100), None, sampler=Endless(), num_workers=2, prefetch_factor=3))
    assert len(drawn) == 6
    next(batches)
    assert len(drawn) == 7


def test_lengths_that_were_promised_wrong():
    class Promising(Stream):
        def __len__(self):
            return 3

    loader = data.DataLoader(Promising(), None, num_workers=1)
    assert len(loader) == 3
    with pytest.warns(
        UserWarning, match="this could be caused by not properly configuring the IterableDataset replica"
    ):
        list(loader)


# --- exceptions


class TwoArguments(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


ERRORS = [
    (ValueError("no"), ValueError), (KeyError("k"), KeyError), (IndexError(3), IndexError),
    (OSError(2, "x"), FileNotFoundError), (TwoArguments(1, 2), RuntimeError),
]  # fmt: skip


@pytest.mark.parametrize("method, where", [("fork", "process"), ("thread", "thread")])
@pytest.mark.parametrize("error, kind", ERRORS, ids=lambda value: str(value)[:20])
def test_an_exception_comes_with_its_type_and_its_traceback(error, kind, method, where):
    def fail(index):
        if index == 3:
            raise error
        return index

    batches = iter(data.DataLoader(Numbers(fail), None, num_workers=2, multiprocessing_context=method))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(kind) as caught:
        next(batches)
    lines = str(caught.value).split("\n")
    assert lines[0] == f"Caught {type(error).__name__} in DataLoader worker {where} 1."
    assert lines[1] == "Original Traceback (most recent call last):" and ", in fail" in str(caught.value)
    assert list(batches) == [4, 5, 6, 7], "the others are not lost"


def test_failing_starts():
    def fail(number):
        raise ValueError("at the start")

    with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process 0"):
        list(data.DataLoader(Numbers(), num_workers=2, worker_init_fn=fail))

    class NoStream(data.IterableDataset):
        def __iter__(self):
            raise ValueError("no iterator")

    loader = data.DataLoader(NoStream(), num_workers=1, persistent_workers=True)
    for _ in range(2):
        with pytest.raises(ValueError, match="no iterator"):
            list(loader)


def test_what_cannot_be_sent():
    with pytest.raises(Exception, match="(?s)in DataLoader worker process 0.*[Pp]ickle"):
        list(data.DataLoader(Numbers(lambda i: lambda: i), None, num_workers=1, collate_fn=as_it_is))
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        list(data.DataLoader(Numbers(lambda i: torch.ones(2, requires_grad=True) * 2), None, num_workers=1))


@pytest.mark.parametrize(
    "end, cause",
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"DataLoader worker \(pid \d+\) is killed by signal: Killed. "),
        (lambda: os._exit(7), r"DataLoader worker \(pid \d+\) exited unexpectedly with exit code 7. Details are lost"),
    ],
    ids=["killed", "exited"],
)
def test_a_worker_that_ends(end, cause):
    def work(index):
        if index == 5:
            end()
        return index

    batches = iter(data.DataLoader(Numbers(work), None, num_workers=2))
    processes = batches._workers
    with pytest.raises(RuntimeError, match=r"^DataLoader worker \(pid\(s\) \d+\) exited unexpectedly$") as caught:
        list(batches)
    assert pytest.raises(RuntimeError, match=cause) and caught.value.__cause__ is not None
    with pytest.raises(RuntimeError, match=cause):
        raise caught.value.__cause__
    del batches
    caught = None
    gc.collect()
    assert not any(process.is_alive() for process in processes)


def test_timeouts():
    dataset = Numbers(lambda i: (time.sleep(1.2 if i == 1 else 0), i)[1])
    for method in METHODS:
        batches = iter(data.DataLoader(dataset, None, num_workers=1, timeout=0.4, multiprocessing_context=method))
        assert next(batches) == 0
        with pytest.raises(RuntimeError, match="^DataLoader timed out after 0.4 seconds$"):
            next(batches)
        del batches
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        iter(data.DataLoader(dataset, num_workers=1, prefetch_factor=0))


# --- lifetimes


def workers_of(batches) -> list:
    return list(batches._workers)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_end(persistent):
    loader = data.DataLoader(Numbers(count=20), 2, num_workers=2, persistent_workers=persistent)
    batches = iter(loader)
    processes = workers_of(batches)
    list(batches)
    assert [process.is_alive() for process in processes] == [persistent] * 2
    assert persistent == (iter(loader) is batches)
    del batches, loader
    gc.collect()
    assert not any(process.is_alive() for process in processes)
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_loop_that_is_left():
    began = time.monotonic()
    for leave in ("break", "raise"):
        loader = data.DataLoader(Numbers(lambda i: torch.zeros(100_000), 1000), 4, num_workers=2)
        batches = iter(loader)
        processes = workers_of(batches)
        try:
            for _ in batches:
                if leave == "raise":
                    raise KeyError
                break
        except KeyError:
            pass
        del batches
        gc.collect()
        assert [process.exitcode for process in processes] == [0, 0]
    assert time.monotonic() - began < 5


def test_persistent_workers_let_go_of_a_pass_that_was_left():
    loader = data.DataLoader(Numbers(count=30), 2, num_workers=2, persistent_workers=True)
    for _ in range(3):
        for batch in loader:
            assert batch.tolist() == [0, 1]
            break
    assert plain(loader) == [[i, i + 1] for i in range(0, 30, 2)]


def test_a_fork_in_a_loop_takes_no_workers_with_it():
    loader = data.DataLoader(Numbers(count=40), 2, num_workers=2)
    batches = iter(loader)
    found = [next(batches)]
    pid = os.fork()
    if pid == 0:
        del batches
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    found += list(batches)
    assert plain(found) == [[i, i + 1] for i in range(0, 40, 2)]


def test_threads_end():
    before = threading.active_count()
    loader = data.DataLoader(Numbers(count=20), 2, num_workers=3, multiprocessing_context="thread")
    for _ in loader:
        break
    gc.collect()
    list(loader)
    assert threading.active_count() == before


# --- what is sent


Point = collections.namedtuple("Point", "x y")


def test_kinds_of_data():
    sample = {
        "big": torch.arange(10_000.0).reshape(100, 100), "small": torch.tensor([1, 2]), "text": "a", "none": None,
        "array": np.arange(30_000), "little": np.arange(3), "point": Point(1, torch.ones(1)),
        "empty": torch.zeros(0, 2),
        "turned": torch.arange(10_000).reshape(100, 100).t(), "half": torch.ones(9_000, dtype=torch.bfloat16),
        "bytes": b"x" * 100_000, "parameter": torch.nn.Parameter(torch.ones(3)),
    }  # fmt: skip
    for found in data.DataLoader(Numbers(lambda i: sample, 3), None, num_workers=1, collate_fn=as_it_is):
        assert list(found) == list(sample)
        for name, value in sample.items():
            if isinstance(value, torch.Tensor):
                assert type(found[name]) is type(value) and found[name].stride() == value.stride()
                assert found[name].dtype is value.dtype and torch.equal(found[name], value)
                found[name].detach().add_(1)  # nobody else's
            elif isinstance(value, np.ndarray):
                assert np.array_equal(found[name], value)
                found[name][0] = 7
            else:
                assert found[name] == value
        assert found["big"].is_shared() and not found["small"].is_shared()


def test_views_are_of_one_memory_or_small():
    whole = torch.zeros(50_000)

    def sample(index):
        other = torch.zeros(40_000)
        return other, other[:], whole[index : index + 3]

    for first, second, part in data.DataLoader(Numbers(sample, 2), None, num_workers=1, collate_fn=as_it_is):
        assert first.storage is second.storage
        assert part.storage.nbytes == 12, "the rest of its memory stays where it is"


def test_shared_data_stays_shared():
    """A dataset in shared memory: what a worker writes there is seen here, in the dataset and in what comes."""
    whole = torch.zeros(20_000).share_memory_()

    def sample(index):
        whole[index] = index + 1.0
        return whole[index:]

    found = list(data.DataLoader(Numbers(sample, 3), None, num_workers=1, collate_fn=as_it_is))
    assert whole[:3].tolist() == [1, 2, 3]
    assert [x[0].item() for x in found] == [1, 2, 3] and all(x.is_shared() for x in found)
    whole[2] = 50
    assert found[0][2].item() == 50


def test_batches_that_are_kept_keep_their_values():
    kept = list(data.DataLoader(Numbers(lambda i: torch.full((3_000,), float(i)), 400), 4, num_workers=2))
    assert [b[0, 0].item() for b in kept] == list(range(0, 400, 4)) and all(b.is_shared() for b in kept)
    for k, batch in enumerate(kept):
        assert batch[3].unique().tolist() == [4 * k + 3]
    array = kept[5].numpy()
    del kept
    gc.collect()
    assert array[0, 0] == 20


def test_memory_is_used_again():
    """Of a loop that lets go of its batches: a few blocks a worker, however long it is; no descriptors stay here."""
    descriptors = len(os.listdir("/proc/self/fd"))
    batches = iter(data.DataLoader(Numbers(lambda i: torch.full((5_000,), float(i)), 400), 2, num_workers=1))
    addresses = set()
    for k, batch in enumerate(batches):
        assert batch[1, 7].item() == 2 * k + 1
        addresses.add(batch.data_ptr())
        del batch
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 4
    assert len(addresses) <= 8 and k == 199
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 4


def test_what_somebody_else_holds_is_not_used_again():
    batches = iter(data.DataLoader(Numbers(lambda i: torch.full((5_000,), float(i)), 60), 2, num_workers=1))
    held = next(batches)
    view, array = held[0][:4], held.numpy()
    shown = held.share_memory_().untyped_storage()
    del held
    again = next(batches)
    sent = ForkingPickler.dumps(again)
    reductions._known.clear()
    received = pickle.loads(sent)  # as by a third process, which has a mapping of its own
    del again
    assert [batch[1, 9].item() for batch in batches] == list(range(5, 60, 2))
    assert view.tolist() == [0] * 4 and array[1, 0] == 1 and shown.nbytes() == 40_000
    assert received[0, 0].item() == 2 and received[1, 4_999].item() == 3


def test_a_forked_process_keeps_what_it_saw():
    batches = iter(data.DataLoader(Numbers(lambda i: torch.full((5_000,), float(i)), 60), 2, num_workers=1))
    batch = next(batches)
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready[1])
        os.read(ready[0], 1)
        os._exit(0 if batch[1].unique().tolist() == [1] else 1)
    del batch
    list(batches)
    os.write(ready[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for end in (*ready, *done):
        os.close(end)


def test_large_indices_do_not_block():
    """Messages in both directions that are larger than what a socket takes."""
    loader = data.DataLoader(
        Numbers(lambda i: "x" * 50, 60_000),
        batch_sampler=[list(range(60_000))] * 4,
        num_workers=1,
        collate_fn="".join,
    )
    assert [len(text) for text in loader] == [3_000_000] * 4


def test_sizes_that_change():
    dataset = Numbers(lambda i: torch.full((20_000 * (1 + i % 7),), float(i)), 60)
    for index, x in enumerate(data.DataLoader(dataset, None, num_workers=2)):
        assert x.shape == (20_000 * (1 + index % 7),) and x.unique().tolist() == [index]


def test_kernels_of_workers():
    """Of the threads that the parent's kernels had none are left in a worker, which uses one."""
    a = torch.randn(300, 300)
    expected = (a @ a).sum().item()
    torch.set_num_threads(2)

    def sample(index):
        return (a @ a).sum().item(), torch.get_num_threads(), torch.exp(torch.ones(2_000_000)).sum().item()

    found = list(data.DataLoader(Numbers(sample, 4), None, num_workers=2, collate_fn=as_it_is))
    assert found == [(expected, 1, torch.exp(torch.ones(2_000_000)).sum().item())] * 4


def test_collating_in_workers():
    def collated(samples, **options):
        (found,) = data.DataLoader(Numbers(samples.__getitem__, len(samples)), len(samples), num_workers=1, **options)
        return found

    big = [torch.full((40, 100), float(i)) for i in range(5)]
    found = collated(big)
    assert found.is_shared() and found.stride() == (4000, 100, 1) and torch.equal(found, torch.stack(big))
    mixed = collated([torch.ones(5000), torch.arange(5000)])
    assert mixed.dtype is torch.float32 and mixed[1, 7] == 7
    turned = [torch.arange(20_000).reshape(100, 200).t() + i for i in range(2)]
    assert torch.equal(collated(turned), torch.stack(turned))
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        collated([torch.ones(9000), torch.ones(9001)])
    rows = data.TensorDataset(torch.arange(60_000).reshape(6, 10_000), torch.arange(6))
    found = list(data.DataLoader(rows, 4, num_workers=2))
    assert [b[1].tolist() for b in found] == [[0, 1, 2, 3], [4, 5]] and torch.equal(found[1][0], rows.tensors[0][4:])


def test_the_way_that_programs_collate_into_shared_memory():
    """Taken from PyTorch's own function, many programs have it."""

    def collated(batch):
        elem = batch[0]
        storage = elem._typed_storage()._new_shared(sum(x.numel() for x in batch), device=elem.device)
        out = elem.new(storage).resize_(len(batch), *elem.size())
        assert out.is_shared() and out.untyped_storage()._new_shared(8).is_shared()
        return torch.stack(batch, 0, out=out)

    dataset = Numbers(lambda i: torch.full((9_000,), float(i)))
    for number, batch in enumerate(data.DataLoader(dataset, 4, num_workers=1, collate_fn=collated)):
        assert batch.is_shared() and batch[:, 5].tolist() == [4 * number + i for i in range(4)]


def test_a_report_of_workers():
    dataset = Numbers(lambda i: (time.sleep(0.05 if i == 3 else 0), i)[1])
    for method in METHODS:
        loader = data.DataLoader(dataset, 2, num_workers=1, multiprocessing_context=method)
        list(loader)
        report = loader.report()
        assert (report.batches, report.num_workers, report.slowest_item[0]) == (4, 1, 3)
        assert report.slowest_item[1] >= 0.05 and report.waited > 0.04


def test_unpicklable_arguments_are_warned_of():
    with pytest.warns(UserWarning, match="Got pickle error when attempting to start a worker Process"):
        with pytest.raises(Exception, match="[Pp]ickle"):
            iter(data.DataLoader(Numbers(lambda i: i), num_workers=1, multiprocessing_context="spawn"))


def test_more_workers_than_cores_are_warned_of():
    most = len(os.sched_getaffinity(0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.DataLoader(Numbers(), num_workers=most + 1)
        data.DataLoader(Numbers(), num_workers=most)
    assert len(caught) == 1 and str(caught[0].message).startswith(
        f"This DataLoader will create {most + 1} worker processes in total. Our suggested max number of worker in "
        f"current system is {most}, which is smaller"
    )


def test_blocks_without_a_process():
    """Both ends in one process: what is let go of comes back, what is forgotten does not."""
    box, end = outbox.Outbox(), inbox.Inbox()
    first = box.take(20_000)
    number = first.owner.number
    del first
    again = box.take(20_000)
    assert again.owner.number == number and box.take(20_000).owner.number != number
    box.let_go([], [number])
    del again
    assert box.take(20_000).owner.number != number
    assert end.news() == ([], [])
