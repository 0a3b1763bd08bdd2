"""Workers of a DataLoader beside PyTorch's: order, values, random streams, errors; kernels' threads stay out of it."""

import random
import re
import time
import warnings

import numpy as np
import pytest
import torch

import facula

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyTorch's own `__del__`
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.2  # which PyTorch waits, twice, for workers after an exception


class Side:
    """One framework: `t` is its namespace, `m` its data module."""

    def __init__(self, t):
        self.t, self.m = t, t.utils.data

    def numbers(self, function, count=8):
        class Numbers(self.m.Dataset):
            def __len__(self):
                return count

            def __getitem__(self, index):
                return function(index)

        return Numbers()

    def stream(self, count=23, length=None):
        get_worker_info = self.m.get_worker_info

        class Stream(self.m.IterableDataset):
            def __iter__(self):
                info = get_worker_info()
                return iter(range(info.id, count, info.num_workers))

        if length is not None:
            Stream.__len__ = lambda self: length
        return Stream()

    def draws(self, index):
        info = self.m.get_worker_info()
        return index, random.random(), float(np.random.rand()), self.t.rand(2), info.id, info.seed, info.num_workers

    def rows(self):
        return self.m.TensorDataset(self.t.arange(46).reshape(23, 2), self.t.arange(23))

    def generator(self):
        return self.t.Generator().manual_seed(3)

    def load(self, dataset, passes=1, **options):
        loader = self.m.DataLoader(dataset, **{"num_workers": 2, **options})
        found = [list(loader) for _ in range(passes)]
        return found[0] if passes == 1 else found


def plain(value):
    if hasattr(value, "tolist") and hasattr(value, "requires_grad"):
        return "tensor", str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, BaseException):
        return type(value).__name__, re.sub(r"\d+", "N", str(value).split("\n")[0])
    if isinstance(value, np.ndarray):
        return "array", value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value), [plain(item) for item in value] if isinstance(value, list | tuple) else value


def outcome(scenario, t):
    t.manual_seed(7)
    random.seed(1)
    np.random.seed(2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", ".*fork")
        try:
            result = scenario(Side(t))
        except Exception as error:
            result = error
    said = [re.sub(r"<.*? object at .*?>", "it", str(w.message)) for w in caught]
    return plain(result), said, t.get_rng_state().tolist(), random.random(), np.random.rand()


def fail(error):
    def work(index):
        if index == 3:
            raise error
        return index

    return work


class TwoArguments(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


class Message(Exception):
    message = "given"

    def __init__(self, message):
        super().__init__(message)


def bad_start(number):
    raise ValueError("at the start")


def count_up(number):
    random.random()
    np.random.rand()


def as_it_is(batch):
    return batch


def until_the_end(s):
    """What comes after an exception."""
    batches, found = iter(s.m.DataLoader(s.numbers(fail(ValueError("z"))), None, num_workers=2)), []
    while True:
        try:
            found.append(next(batches))
        except ValueError as error:
            found.append(str(error).split("\n")[0])
        except StopIteration:
            return found


def eager_sampler(s):
    """Draws when it is asked for an iterator, and so twice."""

    class Eager(s.m.Sampler):
        def __iter__(self):
            return iter(s.t.randperm(8).tolist())

        def __len__(self):
            return 8

    return [s.load(s.numbers(lambda i: i), sampler=Eager(), batch_size=b) for b in (None, 3)]


def interleaved(s):
    """The sampler's generator is drawn from in the loop as well."""
    own = s.generator()
    loader = s.m.DataLoader(s.rows(), 2, shuffle=True, generator=own, num_workers=2)
    return [(batch, s.t.randint(1000, (2,), generator=own)) for batch in loader]


def promised(s, length):
    loader = s.m.DataLoader(s.stream(9, length), 2, num_workers=1)
    return len(loader), list(loader)


SCENARIOS = {
    "in order": lambda s: s.load(s.numbers(s.draws, 20), batch_size=3),
    "shuffled, two passes": lambda s: s.load(s.numbers(s.draws, 20), 2, batch_size=3, shuffle=True),
    "persistent": lambda s: s.load(s.numbers(s.draws, 20), 3, batch_size=3, shuffle=True, persistent_workers=True),
    "generator": lambda s: s.load(s.numbers(s.draws, 20), 2, shuffle=True, generator=s.generator()),
    "three workers": lambda s: s.load(s.numbers(s.draws, 20), 2, batch_size=4, num_workers=3, drop_last=True),
    "one worker": lambda s: s.load(s.numbers(s.draws, 9), num_workers=1),
    "prefetch": lambda s: s.load(s.numbers(s.draws, 20), prefetch_factor=5),
    "init": lambda s: s.load(s.numbers(s.draws), worker_init_fn=count_up),
    "no batches": lambda s: s.load(s.numbers(s.draws), batch_size=None),
    "not collated": lambda s: s.load(s.numbers(s.draws), batch_size=3, collate_fn=as_it_is),
    "rows": lambda s: s.load(s.rows(), 2, batch_size=4, shuffle=True),
    "split": lambda s: s.load(s.m.random_split(s.rows(), [20, 3])[0], batch_size=6, shuffle=True),
    "batch sampler": lambda s: s.load(s.rows(), batch_sampler=[[1, 2], [0], [-1, 5]]),
    "weighted": lambda s: s.load(s.rows(), sampler=s.m.WeightedRandomSampler([0.1, 0.5, 0.4], 10)),
    "some": lambda s: s.load(s.rows(), batch_size=2, sampler=s.m.SubsetRandomSampler([5, 6, 7, 8])),
    "eager": eager_sampler,
    "interleaved": interleaved,
    "stream": lambda s: s.load(s.stream(), 2, batch_size=4),
    "stream, persistent": lambda s: s.load(s.stream(), 3, batch_size=4, persistent_workers=True),
    "stream, drop_last": lambda s: s.load(s.stream(), 2, batch_size=4, drop_last=True),
    "stream, single": lambda s: s.load(s.stream(), batch_size=None),
    "stream, three": lambda s: s.load(s.stream(5), batch_size=2, num_workers=3),
    "stream, wrong length": lambda s: promised(s, 4),
    "kinds": lambda s: s.load(
        s.numbers(lambda i: {"a": np.arange(3), "b": "x", "c": (1.5, [s.t.ones(2)])}), batch_size=2
    ),
    "pin": lambda s: s.load(s.rows(), pin_memory=True, pin_memory_device="cuda"),
    "bad start": lambda s: s.load(s.rows(), worker_init_fn=bad_start),
    "sizes": lambda s: s.load(s.numbers(lambda i: s.t.ones(i)), batch_size=2),
    "none": lambda s: s.load(s.numbers(lambda i: None)),
    "prefetch 0": lambda s: s.load(s.rows(), prefetch_factor=0),
    "bad method": lambda s: s.load(s.rows(), multiprocessing_context="no"),
    "bad context": lambda s: s.load(s.rows(), multiprocessing_context=3),
    "timeout": lambda s: s.load(s.numbers(lambda i: time.sleep(0.8 * (i == 1))), timeout=0.3, num_workers=1),
    "to the end": until_the_end,
    "too many": lambda s: s.m.DataLoader(s.rows(), num_workers=999) and None,
    "length": lambda s: [len(s.m.DataLoader(s.rows(), b, num_workers=1, drop_last=d)) for b in (2, 5) for d in (0, 1)],
}
for _error in (
    ValueError("no"), KeyError("k"), IndexError(3), OSError(2, "x"), AssertionError(), TwoArguments(1, 2),
    UnicodeDecodeError("utf8", b"a", 0, 1, "bad"), Message("m"), RuntimeError("r"), ZeroDivisionError(),
):  # fmt: skip
    SCENARIOS[f"raises {_error!r}"] = lambda s, error=_error: s.load(s.numbers(fail(error)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_same(name):
    assert outcome(SCENARIOS[name], facula) == outcome(SCENARIOS[name], torch)


def test_traceback_is_that_of_the_worker():
    texts = []
    for t in (torch, facula):
        with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process") as caught:
            side = Side(t)
            side.load(side.numbers(fail(ValueError("no"))))
        texts.append([line for line in str(caught.value).split("\n") if "site-packages" not in line])
    assert texts[0][:2] == texts[1][:2] and texts[0][-3:] == texts[1][-3:]


@pytest.mark.parametrize("seed, number", [(0, 0), (123456789012345, 3), (2**63 - 1, 7), (42, 100)])
def test_state_of_numpy(seed, number):
    from facula.utils.data.worker import _generate_state

    assert _generate_state(seed, number) == torch.utils.data._utils.worker._generate_state(seed, number)


DISTRIBUTED = [
    (shuffle, drop, count, n) for shuffle in (0, 1) for drop in (0, 1) for count in (10, 3, 7) for n in (1, 3, 4)
]


@pytest.mark.parametrize("shuffle, drop_last, count, replicas", DISTRIBUTED)
def test_distributed_sampler(shuffle, drop_last, count, replicas):
    found = []
    for t in (torch, facula):
        rows = []
        for rank in range(replicas):
            sampler = t.utils.data.DistributedSampler(
                range(count), replicas, rank, bool(shuffle), seed=5, drop_last=bool(drop_last)
            )
            rows.append((len(sampler), list(sampler)))
            sampler.set_epoch(3)
            rows.append(list(sampler))
        found.append(rows)
    assert found[0] == found[1]


def test_public_names():
    assert set(torch.utils.data.__all__) - set(dir(facula.utils.data)) == set(facula.utils.data.PIPES)
    assert all(hasattr(facula.utils.data, name) for name in torch.utils.data.__all__)
    names = {name for name in dir(torch.multiprocessing) if not name.startswith("__")}
    assert {name for name in names if not hasattr(facula.multiprocessing, name)} == {"torch", "_RT", "_atfork"}


def test_errors_of_processes():
    found = []
    for t in (torch, facula):
        spawn = t.multiprocessing.spawn
        error = t.multiprocessing.ProcessExitedException("m", 1, 2, -9, "SIGKILL")
        raised = t.multiprocessing.ProcessRaisedException("m", 1, 2)
        parts = error.args, error.error_index, error.error_pid, error.exit_code, error.signal_name
        found.append((parts, raised.args, raised.__reduce__()[1], error.__reduce__()[1], spawn.__name__))
    assert found[0] == found[1]
