"""Rows for loading data: batches of tensors in memory, samples got one by one, workers, tensors sent to processes."""

import atexit

import numpy as np

from .harness import row

SAMPLES = 1_000_000  # of 16 numbers and a label


def loading(name, least=None, **options):
    return row("data", name, least, **options)


def endless(loader):
    """A function that gives the next batch, from pass to pass."""
    batches = iter(loader)

    def run():
        nonlocal batches
        try:
            return next(batches)
        except StopIteration:
            batches = iter(loader)
            return next(batches)

    return run


def rows(torch, samples=SAMPLES):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((samples, 16), dtype=np.float32))
    return torch.utils.data.TensorDataset(x, torch.arange(samples) % 10)


def in_memory(batch, shuffle):
    def make(torch):
        return endless(torch.utils.data.DataLoader(rows(torch), batch, shuffle=shuffle))

    order = "shuffled" if shuffle else "in order"
    loading(f"TensorDataset of 1e6 rows, batch of {batch}, {order}", 10)(make)


for _batch in (64, 1024):
    for _shuffle in (False, True):
        in_memory(_batch, _shuffle)


@loading("random_split of a TensorDataset, batch of 64, shuffled", 10)
def split(torch):
    part, _ = torch.utils.data.random_split(rows(torch), [0.8, 0.2])
    return endless(torch.utils.data.DataLoader(part, 64, shuffle=True))


@loading("whole pass over 1e5 rows, batch of 1024, shuffled", 10)
def whole_pass(torch):
    loader = torch.utils.data.DataLoader(rows(torch, 100_000), 1024, shuffle=True)

    def run():
        batch = None
        for batch in loader:  # noqa: B007
            pass
        return batch

    return run


def listed(torch, shape, samples=4096):
    """A dataset that makes each sample by Python code."""

    class Listed(torch.utils.data.Dataset):
        def __init__(self):
            self.x = torch.ones(*shape)

        def __len__(self):
            return samples

        def __getitem__(self, index):
            return self.x, index

    return Listed()


@loading("dataset in Python, 32 samples of 10, no workers", 1.0)
def python_small(torch):
    return endless(torch.utils.data.DataLoader(listed(torch, (10,)), 32))


@loading("dataset in Python, 32 images of 3x32x32, no workers", 1.0)
def python_images(torch):
    return endless(torch.utils.data.DataLoader(listed(torch, (3, 32, 32)), 32))


def with_workers(name, shape, batch, least):
    def make(torch):
        # Few passes, as each starts its workers anew: `persistent_workers` keeps them.
        dataset = listed(torch, shape, 256 * batch)
        loader = torch.utils.data.DataLoader(dataset, batch, num_workers=1, persistent_workers=True)
        run = endless(loader)
        atexit.register(loader.__dict__.clear)  # workers end before the libraries do
        return run

    loading(f"one worker process, {name}", least)(make)


with_workers("32 samples of 10", (10,), 32, 1.5)
with_workers("32 images of 3x32x32", (3, 32, 32), 32, 1.5)
with_workers("32 images of 3x224x224", (3, 224, 224), 32, 1.0)


@loading("tensor of 4e6 bytes through a queue and back from it", 1.0, compare=False)
def through_a_queue(torch):
    queue = torch.multiprocessing.SimpleQueue()

    def run():
        queue.put(torch.empty(1_000_000))
        return queue.get()

    return run
