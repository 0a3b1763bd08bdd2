"""Runs that are stopped and go on: the same bits as without a stop, also after SIGKILL at random moments."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import facula as torch
from facula.checkpoint import Checkpoint
from facula.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

RUN = """
import sys, hashlib, random, time
import numpy as np
import facula as torch
from facula.checkpoint import Checkpoint
from facula.utils.data import DataLoader, TensorDataset

path, every = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0); random.seed(0); np.random.seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.BatchNorm1d(32),
                            torch.nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
scaler = torch.amp.GradScaler("cpu", enabled=False)
data = TensorDataset(torch.randn(96, 4), torch.randint(2, (96,)))
loader = DataLoader(data, batch_size=8, shuffle=True)
state = Checkpoint(path, model=model, optimizer=optimizer, scheduler=scheduler, scaler=scaler, loader=loader,
                   seen=[], total=0.0, keep=2)
print("restored" if state.restore() else "new", flush=True)
for epoch in state.epochs(5):
    for x, y in loader:
        noise = random.random() * 0.01 + float(np.random.rand()) * 0.01
        loss = torch.nn.functional.cross_entropy(model(x + noise), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        state.total += float(loss)
        state.seen.append(float(x[0, 0]))
        state.save(every=every)
        time.sleep(0.005)
    state.save()
digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.state_dict().values()))
digest.update(repr((state.seen, state.total, torch.rand(3).tolist(), random.random(), np.random.rand())).encode())
with open(path + ".end", "w") as file:
    file.write(f"{digest.hexdigest()} {len(state.seen)}")
"""


def start(folder: Path, every: int) -> subprocess.Popen:
    (folder / "run.py").write_text(RUN)
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "FACULA_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "run.py"), str(folder / "run.pt"), str(every)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_runs_end_alike(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    process = start(whole, 3)
    assert process.stdout.readline() == "new\n" and process.wait(120) == 0
    expected = (whole / "run.pt.end").read_text()
    assert expected.endswith(" 60")

    choose, kills, restored = random.Random(0), 0, 0
    while not (broken / "run.pt.end").exists():
        process = start(broken, 3)
        restored += process.stdout.readline() == "restored\n"
        while not (broken / "run.pt").exists():
            time.sleep(0.001)
        try:
            assert process.wait(choose.uniform(0, 0.3) if kills < 3 else 120) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert (broken / "run.pt.end").read_text() == expected and kills and restored


def run(loader, path=None, stop: int | None = None, epochs: int = 3, drawn=torch.rand):
    """The batches of a run, each with a random number drawn beside it; saved after `stop` batches, and ended there."""
    state = Checkpoint(path, loader=loader, seen=[]) if path is not None else None
    seen = state.seen if state and state.restore() else []
    seen = state.seen if state else seen
    for _ in state.epochs(epochs) if state else range(epochs):
        for batch in loader:
            seen.append((batch.tolist(), drawn(1).item()))
            if state is not None and stop is not None and len(seen) == stop:
                state.save()
                return seen
    return seen


def loaders(seed: int) -> dict:
    """A new loader of each kind, with the random numbers set back."""
    torch.manual_seed(seed)
    data = torch.arange(10)

    def generator():
        made = torch.Generator()
        made.manual_seed(5)
        return made

    own = generator()
    return {
        "in order": lambda: DataLoader(data, 3),
        "shuffled": lambda: DataLoader(data, 3, shuffle=True),
        "generator": lambda: DataLoader(data, 3, shuffle=True, generator=generator()),
        "replacement": lambda: DataLoader(data, 3, sampler=RandomSampler(data, True, 70)),
        "replacement, own": lambda: DataLoader(data, 3, sampler=RandomSampler(data, True, 70, own)),
        "weighted": lambda: DataLoader(data, 3, sampler=WeightedRandomSampler([1.0] * 10, 9)),
        "subset": lambda: DataLoader(data, 3, sampler=SubsetRandomSampler([1, 2, 5, 6, 8], generator())),
        "batch sampler": lambda: DataLoader(data, batch_sampler=BatchSampler(RandomSampler(data), 4, True)),
        "no batches": lambda: DataLoader(data, batch_size=None, shuffle=True),
        "iterable": lambda: DataLoader(Stream(), 3),
    }


class Stream(IterableDataset):
    def __iter__(self):
        yield from torch.randperm(10)


@pytest.mark.parametrize("kind", loaders(0))
def test_loaders(kind, tmp_path):
    """Stopped after each batch in turn, in a process of the same seed or of another one."""
    make = loaders(0)[kind]
    torch.manual_seed(0)
    whole = run(make())
    for stop in range(1, len(whole), max(1, len(whole) // 12)):
        path = tmp_path / f"{stop}.pt"
        make = loaders(0)[kind]
        torch.manual_seed(0)
        assert run(make(), path, stop) == whole[:stop]
        make = loaders(0)[kind]
        torch.manual_seed(stop)
        assert run(make(), path) == whole


def test_skipped_batches_are_not_loaded(tmp_path):
    class Counting:
        asked = 0

        def __len__(self):
            return 20

        def __getitem__(self, index):
            Counting.asked += 1
            return index

    run(DataLoader(Counting(), 2, shuffle=True), tmp_path / "x.pt", stop=8)
    Counting.asked = 0
    run(DataLoader(Counting(), 2, shuffle=True), tmp_path / "x.pt", epochs=1)
    assert Counting.asked == 4


def test_saved_between_passes(tmp_path):
    """After the batches of an epoch the epoch counts as done; a loop that was left has no place in the data."""
    torch.manual_seed(0)
    loader = DataLoader(torch.arange(6), 2, shuffle=True)
    state = Checkpoint(tmp_path / "x.pt", loader=loader)
    for _ in state.epochs(3):
        list(loader)
        state.save()
    again = Checkpoint(tmp_path / "x.pt", loader=DataLoader(torch.arange(6), 2, shuffle=True))
    assert again.restore() and again.epoch == 3 and list(again.epochs(3)) == []

    for _ in loader:
        break
    state.save()
    again = Checkpoint(tmp_path / "x.pt", loader=(new := DataLoader(torch.arange(6), 2, shuffle=True)))
    again.restore()
    assert len(list(new)) == 3

    iterator = iter(loader)
    next(iterator)
    state.save()
    again.restore()
    assert len(list(new)) == 2 and len(list(new)) == 3
    again.restore()
    again.save()  # before the pass was taken up again, it is still to be
    again.restore()
    assert [b.tolist() for b in new] == [b.tolist() for b in iterator]


def test_epochs_without_passes(tmp_path):
    """Without a loader each save is the end of an epoch; with one, so is a save after a loop that was left early."""
    seen = []
    for stop in (2, 5):
        state = Checkpoint(tmp_path / "x.pt")
        state.restore()
        for epoch in state.epochs(5):
            if epoch == stop:
                break
            seen.append(epoch)
            state.save()
    assert seen == [0, 1, 2, 3, 4]

    seen = []
    for stop in (3, 4):
        state = Checkpoint(tmp_path / "y.pt", loader=(loader := DataLoader(torch.arange(8), 2)))
        state.restore()
        for epoch in state.epochs(4):
            state.save()  # before the batches: they are still to come
            if epoch == stop:
                break
            for batch in loader:
                seen.append((epoch, batch[0].item()))
                if batch[0] == 4:
                    break
            state.save()
    assert seen == [(epoch, first) for epoch in range(4) for first in (0, 2, 4)]


def test_parts(tmp_path):
    """Models and optimizers in lists, generators of all three kinds, values of all kinds."""

    def parts():
        torch.manual_seed(1)
        models = [torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)]
        return {
            "models": models,
            "optimizers": {"sgd": torch.optim.SGD(models[0].parameters(), lr=0.1, momentum=0.9)},
            "generator": torch.Generator(), "numpy": np.random.default_rng(3), "old": np.random.RandomState(4),
            "python": random.Random(5), "best": 1.5, "names": ["a"], "history": {"loss": [torch.ones(2)]},
        }  # fmt: skip

    first = parts()
    state = Checkpoint(tmp_path / "x.pt", **first)
    assert state.best == 1.5 and "best" in repr(state)
    first["models"][0](torch.ones(1, 2)).sum().backward()
    first["optimizers"]["sgd"].step()
    first["models"][1](torch.randn(4, 2))
    first["generator"].manual_seed(9)
    first["numpy"].random(), first["old"].rand(), first["python"].random(), first["python"].gauss(0, 1)
    state.best, state.new = 0.5, "text"
    state.save()

    def draw(p):
        numbers = [torch.rand(1, generator=p["generator"]).item(), p["numpy"].random(), p["old"].rand()]
        return [*numbers, p["python"].random(), p["python"].gauss(0, 1), torch.rand(1).item(), random.random()]

    expected = [*draw(first), np.random.rand()]
    second = parts()
    again = Checkpoint(tmp_path / "x.pt", **second)
    assert again.restore() and [*draw(second), np.random.rand()] == expected
    assert (again.best, again.new, again.names) == (0.5, "text", ["a"])
    for a, b in zip(first["models"], second["models"]):
        for x, y in zip(a.state_dict().values(), b.state_dict().values()):
            assert torch.equal(x, y)
    momentum = [p["optimizers"]["sgd"].state_dict()["state"][0]["momentum_buffer"] for p in (first, second)]
    assert torch.equal(*momentum)


def test_gradients(tmp_path):
    """Between two backwards of one step the gradients are part of the run, where that is asked for."""
    for wanted in (True, False):
        model = torch.nn.Linear(2, 1)
        state = Checkpoint(tmp_path / "x.pt", model=model, gradients=wanted)
        model(torch.ones(1, 2)).backward()
        state.save()
        model.zero_grad()
        state.restore()
        assert (model.weight.grad is not None) == wanted
        if wanted:
            assert model.weight.grad.tolist() == [[1, 1]]


def test_older_files(tmp_path):
    state = Checkpoint(tmp_path / "x.pt", keep=3, step=0)
    for step in range(1, 6):
        state.step = step
        state.save()
    assert sorted(os.listdir(tmp_path)) == ["x.pt", "x.pt.1", "x.pt.2"]
    again = Checkpoint(tmp_path / "x.pt", keep=3, step=0)
    steps = []
    for name in ("x.pt", "x.pt.1", "x.pt.2"):
        again.restore(tmp_path / name)
        steps.append(again.step)
    assert steps == [5, 4, 3]
    whole = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="is damaged, going back to .*x.pt.1"):
        assert again.restore() and again.step == 4
    for name in ("x.pt.1", "x.pt.2"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(EOFError):
        again.restore()


def test_best(tmp_path):
    state = Checkpoint(tmp_path / "x.pt", step=0)
    found = []
    for state.step, metric in enumerate([3.0, 2.0, 2.5, torch.tensor(1.0), float("nan")]):
        found.append(state.save_best(metric))
    assert found == [True, True, False, True, False]
    state.restore(tmp_path / "x.pt.best")
    assert state.step == 3 and state.best_metric == 1.0
    assert state.save_best(2.0, "max") and not state.save_best(1.5, "max")


def test_errors(tmp_path):
    state = Checkpoint(tmp_path / "x.pt", model=torch.nn.Linear(1, 1), step=0)
    assert state.restore() is False
    with pytest.raises(FileNotFoundError):
        state.restore(tmp_path / "none.pt")
    for bad, what in ((np.float64(1), "numpy.float64"), (lambda: 0, "function"), ({"a": [object()]}, "object")):
        state.step = bad
        with pytest.raises(TypeError, match=rf"step.* cannot be kept in a checkpoint: a .*{what}"):
            state.save()
    assert not os.listdir(tmp_path)
    with pytest.raises(AttributeError, match="no value 'other'"):
        print(state.other)
    for name in ("model", "path", "save"):
        with pytest.raises(AttributeError, match="is no value"):
            setattr(state, name, 1)
    with pytest.raises(ValueError, match="name of the checkpoint's own"):
        Checkpoint("x", restore=1)
    with pytest.raises(ValueError, match="at least one file"):
        Checkpoint("x", keep=0)
    with pytest.raises(TypeError, match="both things with a state and plain values"):
        Checkpoint("x", things=[torch.nn.Linear(1, 1), 3])
    state.step = 1
    state.save()
    other = torch.nn.Linear(1, 1)
    with pytest.raises(KeyError, match="a run with other parts"):
        Checkpoint(tmp_path / "x.pt", net=other).restore()
    torch.save({"a": 1}, tmp_path / "y.pt")
    with pytest.raises(RuntimeError, match="not a file of facula.checkpoint"):
        state.restore(tmp_path / "y.pt")
    with pytest.raises(RuntimeError, match="the loader has only 2 batches"):
        loader = DataLoader(torch.arange(8), 2)
        run(loader, tmp_path / "z.pt", stop=3)
        run(DataLoader(torch.arange(4), 2), tmp_path / "z.pt")


def test_nothing_of_the_file_runs(tmp_path):
    class Bad:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"format": 1, "parts": {}, "values": {"x": Bad()}, "random": {}}, tmp_path / "x.pt")
    with pytest.raises(pickle.UnpicklingError):
        Checkpoint(tmp_path / "x.pt").restore()
    assert not (tmp_path / "made").exists()


def test_every(tmp_path):
    state = Checkpoint(tmp_path / "x.pt", step=0)
    assert [state.save(every=3) for _ in range(7)] == [False, False, True, False, False, True, False]


def test_tensor_datasets(tmp_path):
    """Whose batches come by one indexed copy: a way of its own through the loader."""
    data = TensorDataset(torch.arange(10))

    def batches(loader, path, stop=None):
        state = Checkpoint(path, loader=loader, seen=[])
        state.restore()
        for _ in state.epochs(2):
            for (x,) in loader:
                state.seen.append(x.tolist())
                if len(state.seen) == stop:
                    state.save()
                    return state.seen
        return state.seen

    torch.manual_seed(0)
    whole = batches(DataLoader(data, 3, shuffle=True), tmp_path / "whole.pt")
    torch.manual_seed(0)
    assert batches(DataLoader(data, 3, shuffle=True), tmp_path / "x.pt", 6) == whole[:6]
    assert batches(DataLoader(data, 3, shuffle=True), tmp_path / "x.pt") == whole


class Noisy:
    """Samples with random numbers of their own: in a worker those of that worker."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.tensor([index, torch.rand(1).item(), random.random()])


@pytest.mark.parametrize("persistent", [False, True])
def test_workers(tmp_path, persistent):
    """With worker processes too; their random numbers go on as if nothing had happened, except in lasting ones."""

    def loader():
        data = range(12) if persistent else Noisy()
        return DataLoader(data, 2, shuffle=True, num_workers=2, persistent_workers=persistent)

    torch.manual_seed(0)
    whole = run(loader(), epochs=2)
    for stop in (1, 4, 6, 8):
        path = tmp_path / f"{stop}.pt"
        torch.manual_seed(0)
        assert run(loader(), path, stop, epochs=2) == whole[:stop]
        torch.manual_seed(9)
        assert run(loader(), path, epochs=2) == whole
