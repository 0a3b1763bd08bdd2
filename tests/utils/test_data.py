"""Loading data: orders recorded from PyTorch 2.13 for a seed, batches, the fast path, errors."""

import collections
import itertools
import pickle
import time

import numpy as np
import pytest

import facula as torch
from facula.utils import data
from facula.utils.data import collate, dataloader, fetch, rows

SEED = 42


def generator():
    return torch.Generator().manual_seed(3)


# (what is done after manual_seed(42), what PyTorch gives)
RECORDED = {
    "RandomSampler": (lambda: list(data.RandomSampler(range(10))), [4, 2, 8, 9, 1, 7, 0, 3, 5, 6]),
    "two epochs": (
        lambda: (lambda loader: [b.tolist() for _ in range(2) for b in loader])(
            data.DataLoader(range(7), 3, shuffle=True)
        ),
        [[1, 2, 3], [6, 4, 5], [0], [4, 6, 1], [2, 0, 3], [5]],
    ),
    "replacement": (
        lambda: list(data.RandomSampler(range(10), True, 40)),
        [
            4,
            8,
            8,
            6,
            4,
            2,
            0,
            3,
            3,
            8,
            0,
            0,
            1,
            7,
            3,
            1,
            1,
            2,
            6,
            3,
            1,
            8,
            9,
            5,
            5,
            8,
            6,
            1,
            8,
            2,
            7,
            7,
            8,
            9,
            5,
            8,
            3,
            9,
            9,
            4,
        ],
    ),
    "more than there are": (
        lambda: list(data.RandomSampler(range(10), num_samples=13)),
        [4, 2, 8, 9, 1, 7, 0, 3, 5, 6, 8, 3, 0],
    ),
    "own generator": (
        lambda: list(data.RandomSampler(range(10), generator=generator())),
        [6, 0, 3, 7, 8, 5, 1, 9, 2, 4],
    ),
    "SubsetRandomSampler": (lambda: list(data.SubsetRandomSampler([5, 6, 7, 8])), [7, 8, 5, 6]),
    "WeightedRandomSampler": (
        lambda: list(data.WeightedRandomSampler([0.1, 0.5, 0.4], 10)),
        [0, 0, 1, 0, 1, 1, 2, 2, 0, 1],
    ),
    "weights without replacement": (
        lambda: list(data.WeightedRandomSampler([0.1, 0.5, 0.4, 0.2], 3, False)),
        [1, 3, 2],
    ),
    "random_split": (
        lambda: [s.indices for s in data.random_split(range(10), [7, 3])],
        [[2, 6, 1, 8, 4, 5, 0], [9, 3, 7]],
    ),
    "fractions": (
        lambda: [s.indices for s in data.random_split(range(10), [0.5, 0.25, 0.25], generator=generator())],
        [[6, 0, 3, 7, 8, 5], [1, 9], [2, 4]],
    ),
    "draws of a pass in order": (
        lambda: list(data.DataLoader(range(7), 3)) and [torch.rand(1).item(), torch.randint(100, (3,)).tolist()],
        [0.38286375999450684, [14, 26, 35]],
    ),
    "draws of a shuffled pass": (
        lambda: (
            list(data.DataLoader(range(7), 3, shuffle=True))
            and [torch.rand(1).item(), torch.randint(100, (3,)).tolist()]
        ),
        [0.3904482126235962, [35, 20, 24]],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded(name):
    run, expected = RECORDED[name]
    torch.manual_seed(SEED)
    assert run() == expected


def pairs(n=23):
    return data.TensorDataset(torch.arange(4 * n).reshape(n, 4).to(torch.float32), torch.arange(n))


def stream(n=10, length=None):
    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(n))

    if length is not None:
        Stream.__len__ = lambda self: length
    return Stream()


def values(batches):
    return [[t.tolist() for t in batch] for batch in batches]


def slow(batch):
    """Another function than `default_collate`, so that the fast path is not taken."""
    return data.default_collate(batch)


SAMPLERS = {
    "in order": lambda d: {},
    "shuffled": lambda d: {"shuffle": True},
    "drop_last": lambda d: {"shuffle": True, "drop_last": True},
    "with replacement": lambda d: {"sampler": data.RandomSampler(d, True, 70, generator=generator())},
    "more than there are": lambda d: {"sampler": data.RandomSampler(d, num_samples=2 * len(d) + 5)},
    "some": lambda d: {"sampler": data.SubsetRandomSampler([0, 3, 2, 6])},
    "some of an array": lambda d: {"sampler": data.SubsetRandomSampler(np.array([0, 3, 2, 6]))},
    "weighted": lambda d: {"sampler": data.WeightedRandomSampler([1.0] * len(d), 30)},
    "distributed": lambda d: {"sampler": data.DistributedSampler(d, 3, 1)},
    "list": lambda d: {"sampler": [3, 1, 1, 6]},
    "negative": lambda d: {"sampler": [3, -1, -2, 6]},
    "lists": lambda d: {"batch_sampler": [[3, 1], [-1, 2], [0]], "batch_size": 1},
}
DATASETS = {
    "plain": lambda d: d,
    "range": lambda d: data.Subset(d, range(22, 2, -2)),
    "split": lambda d: data.random_split(d, [20, 3])[0],
    "list": lambda d: data.Subset(d, [5, 9, 2, 2, 0, 22, -1, 7]),
    "tuple": lambda d: data.Subset(d, (5, 9, 2, 2, 0, 22, 7)),
    "array": lambda d: data.Subset(d, np.array([5, 9, 2, 2, 0, 22, 7])),
    "tensor": lambda d: data.Subset(d, torch.tensor([5, 9, 2, 2, 0, 22, 7])),
    "twice": lambda d: data.Subset(data.random_split(d, [20, 3])[0], [1, 0, 5, 7, 7, 3, 2]),
    "strided": lambda d: data.TensorDataset(torch.arange(92).reshape(4, 23).t(), torch.arange(46)[::2]),
    "of rows": lambda d: data.TensorDataset(torch.arange(23 * 6).reshape(23, 2, 3).transpose(1, 2)),
}


@pytest.mark.parametrize("order", SAMPLERS)
@pytest.mark.parametrize("kind", DATASETS)
def test_one_copy_gives_what_single_samples_give(kind, order, monkeypatch):
    taken = []
    original = rows.take_rows
    for module in (dataloader, rows, fetch):
        if hasattr(module, "take_rows"):
            monkeypatch.setattr(module, "take_rows", lambda *args: taken.append(original(*args)) or taken[-1])
    results, states = [], []
    for function in (None, slow):
        torch.manual_seed(SEED)
        dataset = DATASETS[kind](pairs())
        options = SAMPLERS[order](dataset)
        loader = data.DataLoader(dataset, **{"batch_size": 4, "collate_fn": function, **options})
        results.append([[(t.dtype, t.stride(), t.tolist()) for t in b] for _ in range(2) for b in loader])
        states.append(torch.get_rng_state().tolist())
    assert results[0] == results[1] and states[0] == states[1]
    copied = [batch for batch in taken if batch is not None]
    if order not in ("negative", "lists") and kind != "list":  # there are no negative indices
        assert len(copied) == len(results[0])


def test_draws_are_as_late_as_they_were():
    """What a program draws between batches comes from the same place of the stream."""
    found = []
    for function in (None, slow):
        own = generator()
        loader = data.DataLoader(
            pairs(), 5, sampler=data.RandomSampler(pairs(), num_samples=50, generator=own), collate_fn=function
        )
        found.append([(b[1].tolist(), torch.randint(1000, (1,), generator=own).item()) for b in loader])
    assert found[0] == found[1]


def test_indices_of_a_split_are_a_list():
    part, _ = data.random_split(pairs(), [20, 3], generator=generator())
    before = list(part.indices)
    assert (
        isinstance(part.indices, list) and part.indices == before and pickle.loads(pickle.dumps(part)).indices == before
    )
    assert type(pickle.loads(pickle.dumps(part.indices))) is list
    batches = iter(data.DataLoader(part, 2))
    assert next(batches)[1].tolist() == before[:2]
    part.indices[2:4] = [7, 8]  # in the middle of a pass
    part.indices.reverse()
    assert next(batches)[1].tolist() == part.indices[2:4]
    part.indices.append(1)
    assert [b[1].item() for b in data.DataLoader(part)][-1] == 1


class Doubled(data.TensorDataset):
    def __getitem__(self, index):
        return tuple(2 * t for t in super().__getitem__(index))


def test_who_means_something_else_gets_it(monkeypatch):
    assert values(data.DataLoader(Doubled(torch.arange(3)), 3)) == [[[0, 2, 4]]]
    assert values(data.DataLoader(data.Subset(Doubled(torch.arange(3)), [2, 1]), 2)) == [[[4, 2]]]

    class Backwards(data.SequentialSampler):
        def __iter__(self):
            return iter(range(len(self.data_source) - 1, -1, -1))

    dataset = data.TensorDataset(torch.arange(3))
    assert values(data.DataLoader(dataset, 3, sampler=Backwards(dataset))) == [[[2, 1, 0]]]

    class Twos(data.BatchSampler):
        def __iter__(self):
            yield from ([i, i] for i in range(2))

    twos = Twos(data.SequentialSampler(dataset), 2, False)
    assert values(data.DataLoader(dataset, batch_sampler=twos)) == [[[0, 0]], [[1, 1]]]
    dataset.__getitems__ = lambda indices: [(torch.tensor(-1),)] * len(indices)
    assert values(data.DataLoader(dataset, 3)) == [[[-1, -1, -1]]]
    del dataset.__getitems__
    monkeypatch.setitem(collate.default_collate_fn_map, torch.Tensor, lambda batch, *, collate_fn_map=None: len(batch))
    assert list(data.DataLoader(dataset, 2)) == [[2], [1]]
    monkeypatch.undo()
    monkeypatch.setattr(data.TensorDataset, "__getitem__", lambda self, index: (torch.tensor(index + 10),))
    assert values(data.DataLoader(dataset, 3)) == [[[10, 11, 12]]]
    monkeypatch.undo()
    monkeypatch.setattr(data.SequentialSampler, "__iter__", lambda self: iter([1, 1]))
    assert values(data.DataLoader(dataset, 3)) == [[[1, 1]]]


def test_sizes_that_change_in_a_pass():
    dataset = data.TensorDataset(torch.arange(6))
    batches = iter(data.DataLoader(dataset, 2))
    assert next(batches)[0].tolist() == [0, 1]
    dataset.tensors = (torch.arange(10, 13),)
    with pytest.raises(IndexError):
        list(batches)
    dataset = data.TensorDataset(torch.arange(6))
    batches = iter(data.DataLoader(dataset, 2))
    dataset.tensors[0].add_(100)
    assert next(batches)[0].tolist() == [100, 101]
    with torch.no_grad():
        assert values(data.DataLoader(dataset, 6)) == [[[100, 101, 102, 103, 104, 105]]]


def test_a_report_of_waiting():
    class Slow(data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            time.sleep(0.03 if index == 3 else 0)
            return index

    loader = data.DataLoader(Slow(), 2)
    assert loader.report().batches == 0 and loader.report().share == 0
    for _ in loader:
        time.sleep(0.01)
    report = loader.report()
    assert report.batches == 3 and report.slowest_batch[0] == 1 and report.slowest_batch[1] >= 0.03
    assert report.slowest_item[0] == 3 and report.slowest_item[1] >= 0.03
    assert 0.03 <= report.waited < report.elapsed and 0 < report.share < 1 and report.elapsed >= 0.06
    lines = str(report).split("\n")
    assert lines[0].startswith("3 batches, no workers: waited ") and "number 1" in lines[1] and "dataset[3]" in lines[2]
    list(data.DataLoader(pairs(), 4))
    streaming = data.DataLoader(stream(5), 2)
    list(streaming)
    assert streaming.report().batches == 3 and streaming.report().slowest_item[0] in range(5)
    tensors = data.DataLoader(pairs(), 4)
    list(tensors)
    assert tensors.report().slowest_item is None, "there are no single items"


def test_fast_path_copies_and_stands_back():
    dataset = pairs()
    (batch, _) = next(iter(data.DataLoader(dataset, 4)))
    batch.fill_(0)
    assert dataset.tensors[0].sum().item() > 0
    weights = torch.ones(6, 2).requires_grad_()
    batch = next(iter(data.DataLoader(data.TensorDataset(weights), 4)))[0]
    batch.sum().backward()
    assert weights.grad.tolist() == [[1, 1]] * 4 + [[0, 0]] * 2
    assert values(data.DataLoader(dataset, batch_sampler=[[-1, 0]])) == [[[[88, 89, 90, 91], [0, 1, 2, 3]], [22, 0]]]
    with pytest.raises(IndexError):
        list(data.DataLoader(dataset, sampler=[23]))


def test_lengths():
    dataset = pairs()
    assert [len(data.DataLoader(dataset, b, drop_last=d)) for b in (5, 23, 30) for d in (True, False)] == [
        4,
        5,
        1,
        1,
        0,
        1,
    ]
    assert len(data.DataLoader(dataset, None)) == 23 and len(iter(data.DataLoader(dataset, 4))) == 6
    assert len(data.DataLoader(stream(10, 7), 3)) == 3 and len(data.DataLoader(stream(10, 7), 3, drop_last=True)) == 2
    with pytest.raises(TypeError):
        len(data.DataLoader(stream(), 3))


def test_streams():
    batches = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert [b.tolist() for b in data.DataLoader(stream(), 3)] == batches
    assert [b.tolist() for b in data.DataLoader(stream(), 3, drop_last=True)] == batches[:-1]
    assert list(data.DataLoader(stream(), None)) == list(range(10))
    assert list(stream(2) + stream(3)) == [0, 1, 0, 1, 2] and len(data.ChainDataset([stream(2, 2), stream(3, 3)])) == 5
    loader = data.DataLoader(stream(10, 2), 3)
    assert len(loader) == 1
    with pytest.warns(UserWarning, match="Length of IterableDataset .* was reported to be 2"):
        list(loader)


def test_datasets():
    both = data.ConcatDataset([[1, 2], [3]])
    assert [both[i] for i in (-1, -3, 0, 2)] == [3, 1, 1, 3] and both.cumulative_sizes == [2, 3]
    assert data.StackDataset([1, 2], "ab")[1] == (2, "b") and data.StackDataset(a=[1, 2], b="ab")[0] == {
        "a": 1,
        "b": "a",
    }
    assert len(pairs() + pairs()) == 46
    nested = data.StackDataset(x=data.Subset([1, 2, 3], [2, 1]), y="ab")
    assert nested.__getitems__([1, 0]) == [{"x": 2, "y": "b"}, {"x": 3, "y": "a"}]


Point = collections.namedtuple("Point", "x y")


def test_collate():
    assert data.default_collate([{"a": (1, 2.0), "b": ["x"]}] * 2)["b"] == [("x", "x")]
    point = data.default_collate([Point(1, 2.5), Point(3, 4.5)])
    assert type(point) is Point and point.x.tolist() == [1, 3] and point.y.dtype is torch.float64
    assert data.default_collate([np.float32(1), np.float32(2)]).dtype is torch.float32
    assert data.default_collate([True, False]).dtype is torch.bool
    assert data.default_collate([np.arange(3), np.arange(3)]).tolist() == [[0, 1, 2]] * 2
    assert data.default_convert((np.arange(2), "x", {"a": 1}))[0].tolist() == [0, 1]
    kept = collections.OrderedDict(a=1)
    assert type(data.default_collate([kept])) is collections.OrderedDict
    with pytest.raises(TypeError, match="batch must contain tensors, numpy arrays, numbers, dicts or lists; found"):
        data.default_collate([None])
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        data.default_collate([(1, 2), (1,)])
    with pytest.raises(TypeError, match="found <U1"):
        data.default_collate([np.array(["a"])])


def loader(**options):
    return data.DataLoader(options.pop("dataset", range(10)), **options)


BAD = [
    ({"num_workers": -1}, ValueError, "num_workers option should be non-negative"),
    ({"timeout": -1}, ValueError, "timeout option should be non-negative"),
    ({"prefetch_factor": 2}, ValueError, "prefetch_factor option could only be specified in multiprocessing"),
    ({"persistent_workers": True}, ValueError, "persistent_workers option needs num_workers > 0"),
    ({"multiprocessing_context": "spawn"}, ValueError, "multiprocessing_context can only be used with"),
    ({"sampler": [1], "shuffle": True}, ValueError, "sampler option is mutually exclusive with shuffle"),
    ({"batch_sampler": [[1]], "batch_size": 2}, ValueError, "batch_sampler option is mutually exclusive"),
    ({"batch_size": None, "drop_last": True}, ValueError, "batch_size=None option disables auto-batching"),
    ({"batch_size": 0}, ValueError, "batch_size should be a positive integer value, but got batch_size=0"),
    ({"dataset": [], "shuffle": True}, ValueError, "num_samples should be a positive integer value"),
    ({"dataset": stream(), "shuffle": True}, ValueError, "expected unspecified shuffle option, but got shuffle=True"),
    ({"dataset": stream(), "sampler": [1]}, ValueError, "expected unspecified sampler option"),
    ({"dataset": stream(), "batch_sampler": [[1]]}, ValueError, "expected unspecified batch_sampler option"),
    ({"num_workers": 2, "multiprocessing_context": "none"}, ValueError, "should specify a valid start method in"),
    ({"num_workers": 2, "multiprocessing_context": 3}, TypeError, "should be a valid context object or a string"),
    ({"num_workers": 1, "prefetch_factor": -1}, ValueError, "prefetch_factor option should be non-negative"),
]


@pytest.mark.parametrize("options, kind, text", BAD, ids=lambda value: str(value)[:40])
def test_refused_options(options, kind, text):
    with pytest.raises(kind, match=text):
        loader(**options)


def test_other_errors():
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader().batch_size = 3
    with pytest.raises(AssertionError, match="requires timeout == 0"):
        iter(loader(timeout=1))
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        data.TensorDataset(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="Sum of input lengths does not equal"):
        data.random_split(range(3), [2, 2])
    with pytest.raises(NotImplementedError, match="overrides __getitem__ but not __getitems__"):
        type("Mine", (data.Subset,), {"__getitem__": lambda self, i: 1})(range(3), [1])
    with pytest.raises(NotImplementedError, match="Subclasses of Dataset should implement __getitem__"):
        data.Dataset()[0]
    with pytest.warns(UserWarning, match="no accelerator is found"):
        iter(loader(pin_memory=True))
    with pytest.raises(ValueError, match="absolute value of index"):
        data.ConcatDataset([[1]])[-2]


def test_batch_sampler_over_an_endless_sampler():
    batches = iter(data.BatchSampler(itertools.count(), 2, True))
    assert [next(batches) for _ in range(2)] == [[0, 1], [2, 3]]


def test_data_pipes_say_that_they_are_not_there():
    for name in data.PIPES:
        with pytest.raises(NotImplementedError, match=f"torch.utils.data.{name} is not implemented"):
            getattr(data, name)()
    with pytest.raises(NotImplementedError, match="IterDataPipe is not implemented"):
        type("Mine", (data.IterDataPipe,), {})
    assert not isinstance(pairs(), data.MapDataPipe)


def test_distributed_sampler():
    parts = [list(data.DistributedSampler(range(7), 3, rank, shuffle=False)) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    dropped = [list(data.DistributedSampler(range(7), 3, rank, shuffle=False, drop_last=True)) for rank in range(3)]
    assert dropped == [[0, 3], [1, 4], [2, 5]]
    sampler = data.DistributedSampler(range(10), 2, 0, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first and len(sampler) == 5
    other = data.DistributedSampler(range(10), 2, 1, seed=3)
    assert sorted(first + list(other)) == list(range(10))
    assert list(data.DistributedSampler(range(2), 5, 4, shuffle=False)) == [0]
    with pytest.raises(ValueError, match=r"Invalid rank 2, rank should be in the interval \[0, 1\]"):
        data.DistributedSampler(range(3), 2, 2)
