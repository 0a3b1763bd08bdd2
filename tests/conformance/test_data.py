"""Datasets, samplers, loaders beside PyTorch's: values, errors, warnings, the random state left behind."""

import collections
import warnings

import numpy as np
import pytest
import torch

import facula

Point = collections.namedtuple("Point", "x y")
VALUES = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32)


class Marked(dict):
    """A dict with a further attribute and another constructor."""

    def __init__(self, a, b):
        super().__init__()
        self.a = a


class Side:
    """One framework: `t` is its namespace, `m` its data module."""

    def __init__(self, t):
        self.t, self.m = t, t.utils.data

    def data(self):
        return self.m.TensorDataset(self.t.from_numpy(VALUES.copy()), self.t.arange(23))

    def stream(self, n=10, length=None):
        class Stream(self.m.IterableDataset):
            def __iter__(self):
                return iter(range(n))

        if length is not None:
            Stream.__len__ = lambda self: length
        return Stream()

    def generator(self):
        return self.t.Generator().manual_seed(3)

    def __getattr__(self, name):
        return getattr(self.m, name)


def plain(value):
    """What is compared: tensors by dtype, values and whether they have a history."""
    if hasattr(value, "tolist") and hasattr(value, "requires_grad"):
        return "tensor", str(value.dtype), tuple(value.shape), value.tolist(), value.grad_fn is not None
    if isinstance(value, BaseException):
        return type(value), str(value).split("\n")[0]
    if isinstance(value, np.ndarray):
        return "array", value.tolist()
    if isinstance(value, dict):
        return type(value), [(key, plain(item)) for key, item in value.items()], getattr(value, "a", None)
    if isinstance(value, list | tuple | collections.deque):
        kind = list if isinstance(value, list) else type(value)  # indices of `random_split` are of a subclass
        return kind, [plain(item) for item in value]
    return value


def outcome(scenario, t):
    side = Side(t)
    t.manual_seed(7)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = scenario(side)
        except Exception as error:
            result = error
    return plain(result), [str(w.message) for w in caught], t.get_rng_state().tolist()


SCENARIOS = {
    "shuffle2": lambda m: [list(loader) for loader in [m.DataLoader(m.data(), 4, shuffle=True)] for _ in range(2)],
    "drop": lambda m: list(m.DataLoader(m.data(), 4, shuffle=True, drop_last=True)),
    "gen": lambda m: list(m.DataLoader(m.data(), 4, shuffle=True, generator=m.generator())),
    "seq": lambda m: list(m.DataLoader(m.data(), 5)),
    "none": lambda m: list(m.DataLoader(m.data(), None)),
    "none np": lambda m: list(m.DataLoader([np.arange(3), (1, np.float32(2)), {"a": np.zeros(2)}, "x"], None)),
    "split": lambda m: [s.indices for s in m.random_split(m.data(), [20, 3])],
    "splitf": lambda m: [s.indices for s in m.random_split(m.data(), [0.5, 0.3, 0.2])],
    "splitg": lambda m: [s.indices for s in m.random_split(m.data(), [0.5, 0.3, 0.2], generator=m.generator())],
    "split0": lambda m: [s.indices for s in m.random_split(range(3), [0.9, 0.1, 0.0])],
    "splitbad": lambda m: m.random_split(range(3), [2, 2]),
    "splitbad2": lambda m: m.random_split(range(3), [1.5, -0.5]),
    "subsetloader": lambda m: list(m.DataLoader(m.random_split(m.data(), [20, 3])[0], 6, shuffle=True)),
    "subsubset": lambda m: list(m.DataLoader(m.Subset(m.Subset(m.data(), [5, 4, 3, -1, 9]), [0, 2, 3]), 2)),
    "subset oob": lambda m: list(m.DataLoader(m.Subset(m.data(), [5, 99]), 2)),
    "rs repl": lambda m: list(m.RandomSampler(range(10), True, 70)),
    "rs num": lambda m: list(m.RandomSampler(range(10), num_samples=25)),
    "rs num small": lambda m: [list(m.RandomSampler(range(10), num_samples=3)) for _ in range(2)],
    "rs gen": lambda m: list(m.RandomSampler(range(10), generator=m.generator())),
    "rs bad": lambda m: m.RandomSampler(range(10), replacement=1),
    "rs bad2": lambda m: m.RandomSampler([]),
    "rs bad3": lambda m: m.RandomSampler([1], num_samples=0),
    "srs": lambda m: list(m.SubsetRandomSampler([5, 6, 7, 8])),
    "wrs": lambda m: list(m.WeightedRandomSampler([0.1, 0.5, 0.4], 10)),
    "wrs2": lambda m: list(m.WeightedRandomSampler([0.1, 0.5, 0.4], 2, False)),
    "wrs bad": lambda m: m.WeightedRandomSampler([[0.1]], 2),
    "wrs bad2": lambda m: m.WeightedRandomSampler([0.1], True),
    "wrs bad3": lambda m: m.WeightedRandomSampler([0.1], 2, 3),
    "bs": lambda m: (
        [list(m.BatchSampler(range(10), 3, d)) for d in (True, False)]
        + [len(m.BatchSampler(range(10), 3, d)) for d in (True, False)]
    ),
    "bs bad": lambda m: m.BatchSampler(range(3), 0, False),
    "bs bad2": lambda m: m.BatchSampler(range(3), 1, 2),
    "bs bad3": lambda m: m.BatchSampler(range(3), True, True),
    "bsl": lambda m: list(m.DataLoader(m.data(), batch_sampler=[[1, 2], [0], [-1, 5]])),
    "bsl tuple": lambda m: list(m.DataLoader(m.data(), batch_sampler=[(1, 2), (0,)])),
    "bsl tensor": lambda m: list(m.DataLoader(m.data(), batch_sampler=[m.t.tensor([1, 2])])),
    "bsl empty": lambda m: list(m.DataLoader(m.data(), batch_sampler=[[]])),
    "sampler": lambda m: list(m.DataLoader(m.data(), 3, sampler=m.SubsetRandomSampler([1, 2, 9, 8, 0]))),
    "oob": lambda m: list(m.DataLoader(m.data(), 3, sampler=[50])),
    "concat": lambda m: list(m.DataLoader(m.data() + m.data(), 7, shuffle=True)),
    "concat neg": lambda m: (
        [m.ConcatDataset([[1, 2], [3]])[i] for i in (-1, -3, 0, 2)] + [m.ConcatDataset([[1, 2], [3]]).cumulative_sizes]
    ),
    "concat neg2": lambda m: m.ConcatDataset([[1, 2], [3]])[-4],
    "concat e": lambda m: m.ConcatDataset([]),
    "concat it": lambda m: m.ConcatDataset([m.stream()]),
    "chain": lambda m: list(m.stream() + m.stream(3)),
    "chain len": lambda m: len(m.ChainDataset([m.stream(5, 5), m.stream(3, 3)])),
    "chain bad": lambda m: list(m.ChainDataset([[1]])),
    "stack": lambda m: [
        m.StackDataset([1, 2], [3, 4])[1],
        m.StackDataset(a=[1, 2], b=[3, 4])[0],
        len(m.StackDataset([1, 2])),
        list(m.DataLoader(m.StackDataset(a=m.data(), b=range(23)), 4)),
    ],
    "stack bad": lambda m: m.StackDataset(),
    "stack bad1": lambda m: m.StackDataset([1], a=[1]),
    "stack bad2": lambda m: m.StackDataset([1], [1, 2]),
    "it": lambda m: [
        list(m.DataLoader(m.stream(), 3)),
        list(m.DataLoader(m.stream(), 3, drop_last=True)),
        list(m.DataLoader(m.stream(), 5)),
        list(m.DataLoader(m.stream(), None)),
    ],
    "it len": lambda m: [
        len(m.DataLoader(m.stream(10, 7), 3)),
        len(m.DataLoader(m.stream(10, 7), 3, drop_last=True)),
        len(m.DataLoader(m.stream(10, 7), None)),
    ],
    "it nolen": lambda m: len(m.DataLoader(m.stream(), 3)),
    "it sh": lambda m: m.DataLoader(m.stream(), shuffle=True),
    "it sa": lambda m: m.DataLoader(m.stream(), sampler=[1]),
    "it bs": lambda m: m.DataLoader(m.stream(), batch_sampler=[[1]]),
    "it shF": lambda m: list(m.DataLoader(m.stream(), shuffle=False)),
    "ex1": lambda m: m.DataLoader(m.data(), sampler=[1], shuffle=True),
    "ex2": lambda m: m.DataLoader(m.data(), batch_sampler=[[1]], batch_size=2),
    "ex3": lambda m: m.DataLoader(m.data(), batch_size=None, drop_last=True),
    "ex4": lambda m: m.DataLoader(m.data(), num_workers=-1),
    "ex5": lambda m: m.DataLoader(m.data(), timeout=-1),
    "ex6": lambda m: m.DataLoader(m.data(), prefetch_factor=2),
    "ex7": lambda m: m.DataLoader(m.data(), persistent_workers=True),
    "ex8": lambda m: m.DataLoader(m.data(), multiprocessing_context="spawn"),
    "ex9": lambda m: m.DataLoader(m.data(), 0),
    "ex10": lambda m: setattr(m.DataLoader(m.data()), "batch_size", 3),
    "ex11": lambda m: m.DataLoader([], shuffle=True),
    "ex12": lambda m: iter(m.DataLoader(m.data(), timeout=1)),
    "lens": lambda m: (
        [len(m.DataLoader(m.data(), b, drop_last=d)) for b in (1, 5, 23, 30) for d in (True, False)]
        + [len(m.DataLoader(m.data(), None)), len(iter(m.DataLoader(m.data(), 4)))]
    ),
    "collate_fn": lambda m: list(m.DataLoader(m.data(), 9, collate_fn=len)),
    "pin": lambda m: list(m.DataLoader(m.data(), 9, pin_memory=True)),
    "req grad": lambda m: list(m.DataLoader(m.TensorDataset(m.t.ones(9, 2).requires_grad_()), 9)),
    "mismatch": lambda m: m.TensorDataset(m.t.ones(3), m.t.ones(2)),
    "notimpl": lambda m: m.Dataset()[0],
    "worker": lambda m: m.get_worker_info(),
    "subset override": lambda m: type("S", (m.Subset,), {"__getitem__": lambda s, i: 1})(range(3), [1]),
    "sparse": lambda m: list(m.DataLoader([m.t.eye(3).to_sparse()] * 2, 2)),
    "subset list": lambda m: m.Subset(np.arange(9), [3, 4, 5])[[0, 2]],
}


def samples(t) -> list:
    """Batches to collate."""
    return [
        [1, 2],
        [1.5, 2],
        [2, 1.5],
        [True, False],
        ["a", "b"],
        [b"a", b"b"],
        [(1, 2.0), (3, 4.0)],
        [[1, 2], [3, 4]],
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        [Point(1, 2), Point(3, 4)],
        [np.arange(3), np.arange(3)],
        [np.float32(1), np.float32(2)],
        [np.int8(1), np.int8(2)],
        [np.bool_(1), np.bool_(0)],
        [np.array(["a"])],
        [t.ones(2), t.zeros(2)],
        [t.ones(2), t.zeros(3)],
        [(1, 2), (1,)],
        [None],
        [{1, 2}],
        [range(3), range(3)],
        [collections.OrderedDict(a=1)],
        [collections.defaultdict(int, a=1)],
        [Marked(1, 2)],
        [],
        [np.array([None], object)],
        [2**40, 1],
        [2**70],
        [collections.deque([1, 2])],
        [bytearray(b"ab")],
        [(t.ones(1), {"a": [np.ones(2)]})] * 2,
        [1, "a"],
        [np.str_("x")],
        [collections.Counter("aa")],
        [np.datetime64(3, "s")],
    ]


for i in range(len(samples(torch))):
    SCENARIOS[f"collate {i}"] = lambda m, i=i: m.default_collate(samples(m.t)[i])
    SCENARIOS[f"convert {i}"] = lambda m, i=i: m.default_convert(samples(m.t)[i])


@pytest.mark.parametrize("name", SCENARIOS)
def test_same(name):
    assert outcome(SCENARIOS[name], facula) == outcome(SCENARIOS[name], torch)
