"""`fit` does what the loop by hand does, and what is around it: stopping, keeping, clipping, schedules, files."""

import os
import signal
import sys
import types

import numpy as np
import pytest

import facula as torch
from facula import nn
from facula.training import (
    MAE,
    Accuracy,
    Callback,
    EarlyStopping,
    History,
    KeepBest,
    Progress,
    evaluate,
    fit,
    predict,
)

LOSS = nn.CrossEntropyLoss()


def data(n=96, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(n, 6)
    return x, (x[:, 0] + x[:, 1] > 0).long()


def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def loader(n=96, batch_size=16):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data(n)), batch_size)


def assert_same(a, b, **tolerance):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values()):
        np.testing.assert_allclose(x.numpy(), y.numpy(), err_msg=name, **(tolerance or {"rtol": 0}))


def test_the_same_bits_as_by_hand():
    ours, theirs = model(), model()
    history = fit(ours, loader(100), LOSS, torch.optim.Adam(ours.parameters(), lr=0.01), epochs=3, progress=False)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    means = []
    for _ in range(3):
        total = 0.0
        for x, y in loader(100):
            optimizer.zero_grad()
            loss = LOSS(theirs(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        means.append(total / 100)
    assert_same(ours, theirs)
    assert history["loss"] == pytest.approx(means, rel=1e-9)
    assert history["epoch"] == [1, 2, 3]
    assert history.stopped is None


@pytest.mark.parametrize("known", [True, False])
def test_accumulation_is_one_large_batch(known):
    ours, theirs = model(), model()
    small = loader(batch_size=16)  # 6 batches, steps of 4 and of 2
    source = small if known else Unsized(small)
    steps = Count()
    fit(ours, source, LOSS, torch.optim.SGD(ours.parameters(), lr=0.1), accumulate=4, callbacks=[steps], progress=False)
    x, y = data()
    large = [(x[:64], y[:64]), (x[64:], y[64:])]
    fit(theirs, large, LOSS, torch.optim.SGD(theirs.parameters(), lr=0.1), progress=False)
    assert_same(ours, theirs, rtol=1e-4, atol=1e-6)
    assert steps.steps == 2


class Unsized:
    """An iterable that does not know its length."""

    def __init__(self, source):
        self.source = source

    def __iter__(self):
        return iter(self.source)


class Count(Callback):
    """Counts hooks, and ends training after some steps."""

    def __init__(self, stop_at=None):
        self.steps = 0
        self.calls = []
        self.stop_at = stop_at

    def on_start(self, run):
        self.calls.append("start")

    def on_epoch_start(self, run):
        self.calls.append(f"epoch {run.epoch}")

    def on_step(self, run):
        self.steps += 1
        if self.steps == self.stop_at:
            run.stop("enough")

    def on_epoch_end(self, run):
        self.calls.append(f"end {run.epoch}")

    def on_end(self, run):
        self.calls.append("end")


def test_callbacks():
    net, count = model(), Count()
    fit(net, loader(), LOSS, torch.optim.SGD(net.parameters(), lr=0.1), epochs=2, callbacks=[count], progress=False)
    assert count.calls == ["start", "epoch 1", "end 1", "epoch 2", "end 2", "end"]
    assert count.steps == 12
    count = Count(stop_at=3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    history = fit(net, loader(), LOSS, optimizer, epochs=2, callbacks=[count], progress=False)
    assert (count.steps, history.stopped, len(history)) == (3, "enough", 1)


def test_clipping():
    ours, theirs = model(), model()
    optimizer = torch.optim.SGD(ours.parameters(), lr=1.0)
    fit(ours, [data()], LOSS, optimizer, clip_norm=0.01, progress=False)
    loss = LOSS(theirs(data()[0]), data()[1])
    loss.backward()
    nn.utils.clip_grad_norm_(theirs.parameters(), 0.01)
    torch.optim.SGD(theirs.parameters(), lr=1.0).step()
    assert_same(ours, theirs)
    fit(ours, [data()], LOSS, optimizer, clip_value=1e-3, progress=False)
    assert max(p.grad.abs().max().item() for p in ours.parameters()) == pytest.approx(1e-3)


def test_schedules():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    each = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    history = fit(net, loader(), LOSS, optimizer, epochs=3, scheduler=each, progress=False)
    assert history["lr"] == [1.0, 0.5, 0.25]
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    each = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    fit(net, loader(), LOSS, optimizer, scheduler=each, schedule="step", progress=False)
    assert optimizer.param_groups[0]["lr"] == 0.5**6
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.1)
    optimizer.param_groups[0]["lr"] = 0.0
    fit(net, loader(), LOSS, optimizer, epochs=3, scheduler=plateau, progress=False)
    assert plateau.num_bad_epochs == 0 and plateau.last_epoch == 3


def test_it_stops_when_it_has_converged_and_keeps_the_best(tmp_path):
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=30.0)  # it goes up and down
    file = tmp_path / "best.pt"
    history = fit(
        net, loader(), LOSS, optimizer, epochs=100, validation=data(64, 5), metrics=[Accuracy()],
        patience=3, best_file=file, progress=False,
    )  # fmt: skip
    losses = history["validation loss"]
    best = int(np.nanargmin(losses))
    assert history.stopped == "converged: validation loss no better for 3 epochs"
    assert len(history) == best + 4 and history.best_epoch == best + 1
    assert evaluate(net, data(64, 5), LOSS)["loss"] == pytest.approx(losses[best], rel=1e-6)
    assert history["validation accuracy"][best] == evaluate(net, data(64, 5), metrics=[Accuracy()])["accuracy"]
    other = model()
    other.load_state_dict(torch.load(file))
    assert_same(net, other)


def test_a_larger_metric_is_better():
    rows = [0.5, 0.7, 0.6, 0.65, 0.9]
    run = types.SimpleNamespace(monitor="loss", stopped=None, history=History())
    stop = EarlyStopping(2, monitor="accuracy")
    run.stop = lambda reason: setattr(run, "stopped", reason)
    for run.epoch, value in enumerate(rows, 1):
        run.row = {"accuracy": value}
        stop.on_epoch_end(run)
        if run.stopped:
            break
    assert (run.epoch, stop.best, stop.best_epoch) == (4, 0.7, 2)
    run.row = {"loss": 1.0}
    with pytest.raises(KeyError, match="nothing called 'accuracy' to monitor"):
        stop.on_epoch_end(run)


class Interrupt(Callback):
    def __init__(self, at):
        self.at = at

    def on_step(self, run):
        if run.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_cleanly(tmp_path):
    net = model().eval()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    ended = Count()
    history = fit(
        net, loader(), LOSS, optimizer, epochs=10, validation=data(64, 5), history_file=tmp_path / "run.csv",
        callbacks=[Interrupt(15), ended], progress=False,
    )  # fmt: skip
    assert history.stopped == "interrupted" and len(history) == 2
    assert ended.calls[-1] == "end"
    assert not net.training
    best = min(history["validation loss"])
    assert evaluate(net, data(64, 5), LOSS)["loss"] == pytest.approx(best, rel=1e-6)
    assert History.load(tmp_path / "run.csv").rows == history.rows


def test_an_error_is_not_hidden():
    class Fails(Callback):
        def on_step(self, run):
            raise RuntimeError("mine")

    net, ended = model(), Count()
    with pytest.raises(RuntimeError, match="mine"):
        fit(net, loader(), LOSS, torch.optim.SGD(net.parameters(), lr=0.5), callbacks=[Fails(), ended], progress=False)
    assert ended.calls[-1] == "end"


def test_a_loss_that_is_no_number_ends_training():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=float("inf"))
    history = fit(net, loader(), LOSS, optimizer, epochs=9, progress=False)
    assert history.stopped == "the loss is nan" and len(history) == 1


def test_history_goes_on(tmp_path):
    net, file = model(), tmp_path / "run.csv"
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    first = fit(net, loader(), LOSS, optimizer, epochs=2, history_file=file, progress=False)
    lines = file.read_text().splitlines()
    assert lines[0] == "epoch,loss,lr,seconds" and len(lines) == 3
    again = History.load(file)
    assert again.rows == first.rows
    fit(net, loader(), LOSS, optimizer, epochs=1, history=again, history_file=file, progress=False)
    assert History.load(file)["epoch"] == [1, 2, 3]
    assert [p.name for p in tmp_path.iterdir()] == ["run.csv"]


def test_lbfgs_evaluates_its_loss_itself():
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    y = x @ torch.tensor([[1.0], [2.0], [3.0]])
    net = nn.Linear(3, 1)
    history = fit(net, [(x, y)], nn.MSELoss(), torch.optim.LBFGS(net.parameters(), lr=1), epochs=5, progress=False)
    assert history["loss"][-1] < 1e-8
    with pytest.raises(ValueError, match="LBFGS evaluates its loss itself"):
        fit(net, [(x, y)], nn.MSELoss(), torch.optim.LBFGS(net.parameters()), accumulate=2, progress=False)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, a, b):
        return self.layer(torch.cat([a, b], 1))


@pytest.mark.parametrize("form", ["flat", "list", "dict", "unpack"])
def test_models_with_several_inputs(form):
    a, b, y = torch.ones(6, 2), torch.zeros(6, 2), torch.ones(6, 1)
    batch, unpack = {
        "flat": ((a, b, y), None),
        "list": (([a, b], y), None),
        "dict": (({"a": a, "b": b}, y), None),
        "unpack": ({"in": (a, b), "out": y}, lambda batch: (batch["in"], batch["out"])),
    }[form]
    net = Two()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    fit(net, [batch], nn.MSELoss(), optimizer, epochs=60, unpack=unpack, device="cpu", progress=False)
    assert evaluate(net, [batch], nn.MSELoss(), [MAE()], unpack=unpack)["MAE"] < 0.01
    assert predict(net, [batch], unpack=unpack).shape == (6, 1)


def test_what_is_refused():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="data is an iterator"):
        fit(net, iter(loader()), LOSS, optimizer, epochs=2, progress=False)
    with pytest.raises(ValueError, match=r"a batch is no pair \(inputs, target\)"):
        fit(net, [data()[0]], LOSS, optimizer, progress=False)
    with pytest.raises(ValueError, match="schedule"):
        fit(net, [data()], LOSS, optimizer, schedule="batch")
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="looks at what an epoch measured"):
        fit(net, [data()], LOSS, optimizer, scheduler=plateau, schedule="step")
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        fit(net, [data()], LOSS, optimizer, epochs=0)
    with pytest.raises(TypeError, match="data must be gone through"):
        fit(net, 3, LOSS, optimizer)
    with pytest.raises(KeyError, match="nothing called 'accuracy' to monitor"):
        fit(net, [data()], LOSS, optimizer, patience=1, monitor="accuracy", progress=False)


def test_evaluation_changes_nothing():
    net = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    net[1].eval()
    before = {name: x.clone() for name, x in net.state_dict().items()}
    x, y = data()
    state = torch.get_rng_state()
    evaluate(net, (x, y), LOSS, [Accuracy()])
    assert predict(net, x, batch_size=7).shape == (96, 2)
    assert [m.training for m in net.modules()] == [True, True, False, True]
    assert all((net.state_dict()[name] == x).all() for name, x in before.items())
    assert (torch.get_rng_state() == state).all()
    assert predict(net, x).requires_grad is False


def test_progress_reads_the_loss_when_it_draws(capsys):
    net = model()
    fit(net, loader(), LOSS, torch.optim.SGD(net.parameters(), lr=0.1), epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown and "12/12" in shown and "loss=" in shown and "epoch 1: loss" in shown


def test_progress_without_tqdm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    net = model()
    with pytest.raises(ModuleNotFoundError, match=r"needs the package tqdm\n  mend: pip install 'facula\[training\]'"):
        fit(net, loader(), LOSS, torch.optim.SGD(net.parameters(), lr=0.1), progress=True)
    fit(net, loader(), LOSS, torch.optim.SGD(net.parameters(), lr=0.1), callbacks=[KeepBest(), Progress(False)])
