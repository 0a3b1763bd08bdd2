"""Whole steps of training on 'cuda', on the fake driver: right, waiting for nothing, and the same from a graph."""

import inspect
from importlib.util import find_spec

import numpy as np
import pytest

import facula
from facula import nn
from facula.core import dtype as dt
from facula.operators import many
from facula.optim import rule as rules
from facula.optim.rule import Held
from facula.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from facula.targets.cuda.many import many_program
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.examples import drawn_on_the_host
from tests.targets.cuda.fake_blas import FakeBlas
from tests.targets.cuda.fake_dnn import FakeDnn, in_place
from tests.targets.cuda.fake_driver import FakeDriver, installed
from tests.targets.cuda.models import MODELS
from tests.targets.cuda.programs import complaints, kernels, texts
from tests.targets.cuda.table import exact

cuda = facula.cuda
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")
WAITS = {"cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize", "cuMemcpyDtoHAsync", "cuMemAlloc"}
# Launches of a step with AdamW and clipping: what is computed, with no more copies than there are changes of layout.
MOST = {"layers": 16, "convolutions": 20, "residual": 27, "recurrent": 53, "attentive": 53,
        "attentive in bfloat16": 79, "attentive in float16": 88}  # fmt: skip

NAMED: list = []
SCALE = 2.0**20  # of which float16 bears a sixteenth: the last of five steps is the first good one


def adamw(parameters, **options) -> facula.optim.Optimizer:
    return facula.optim.AdamW(parameters, lr=0.01, eps=1e-4, **options)  # gradients that are but rounding move nothing


def scales(name: str) -> bool:
    """Whether a model is trained with a `GradScaler`."""
    return name.endswith(" float16")


def state_of(model: nn.Module, optimizer) -> list[np.ndarray]:
    """Parameters, buffers and the optimizer's state."""
    found = [*model.parameters(), *model.buffers()]
    for state in optimizer.state_dict()["state"].values():
        found += [v if isinstance(v, facula.Tensor) else facula.tensor(v) for v in state.values()]
    return [x.detach().cpu().float().numpy() for x in found]


def train(name: str, where: str, steps: int = 3, fake: FakeDriver | None = None) -> tuple[list[float], list, list]:
    """Losses, `state_of` after the steps, and what the driver was called with in the last of them."""
    facula.manual_seed(3)
    model, loss_of, data = MODELS[name](where)
    optimizer = adamw(model.parameters(), fused=scales(name))
    scaler = facula.amp.GradScaler(where, enabled=scales(name))
    schedule = facula.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    losses, calls = [], []
    for _ in range(steps):
        before = len(fake.calls) if fake is not None else 0
        optimizer.zero_grad()
        loss = loss_of(model, *data)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        losses.append(loss.detach())
        calls = fake.calls[before:] if fake is not None else []
    return [x.item() for x in losses], state_of(model, optimizer), calls


@pytest.fixture(scope="module")
def host():
    """What the CPU makes of each model; `NAMED` has its kernels."""
    before = set(kernels())
    made = {name: train(name, "cpu") for name in MODELS}
    NAMED[:] = [k for k in kernels() if k not in before]
    return made


@pytest.fixture(scope="module")
def built(host, emulator):
    """The emulator with the kernels that the CPU was given for the models, compiled together."""
    emulator.build_all(texts(NAMED), 24)
    return emulator


@pytest.fixture
def gpu(built, monkeypatch):
    fake = FakeDriver(built, memory=8 << 30, strict=True)
    with installed(fake, monkeypatch, FakeBlas(fake)), in_place(FakeDnn(fake)), exact():
        yield fake


@pytest.mark.parametrize("name", MODELS)
def test_steps(name, host, gpu):
    """Losses, parameters and states are the CPU's, and after the first steps the host waits for nothing."""
    with drawn_on_the_host():
        losses, state, calls = train(name, "cuda", fake=gpu)
    wanted, wanted_state, _ = host[name]
    near = 2e-2 if name.endswith("16") else 1e-4
    np.testing.assert_allclose(losses, wanted, rtol=near)
    for one, other in zip(state, wanted_state, strict=True):
        if name.startswith("attentive in"):  # what rounding to 16 bits makes of the gradients of keys' biases does
            assert np.abs(one - other).mean() < near
        else:
            np.testing.assert_allclose(one, other, rtol=near, atol=1e-5)
    names = [call[0] for call in calls]
    assert not WAITS & set(names), names
    assert names.count("cuLaunchKernel") <= MOST[name], names.count("cuLaunchKernel")


def _repeated(name: str, captured: bool) -> tuple[list[float], float, float]:
    """Losses of two steps and of three more, these from a graph or not; steps that were counted, and the scale.

    Dropout draws the GPU's numbers.
    """
    facula.manual_seed(3)
    model, loss_of, data = MODELS[name]("cuda")
    optimizer = adamw(model.parameters(), capturable=True, fused=scales(name))
    scaler = facula.amp.GradScaler("cuda", SCALE, enabled=scales(name))

    def step():
        optimizer.zero_grad()
        loss = loss_of(model, *data)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        losses = [step().item() for _ in range(2)]
    cuda.current_stream().wait_stream(side)
    if not captured:
        losses += [step().item() for _ in range(3)]
    else:
        graph = cuda.CUDAGraph()
        optimizer.zero_grad()
        with cuda.graph(graph):
            loss = step()
        for _ in range(3):
            graph.replay()
            losses.append(loss.item())
    return losses, optimizer.state_dict()["state"][0]["step"].item(), scaler.get_scale()


@pytest.mark.parametrize("name", MODELS)
def test_captured_steps(name, gpu):
    """Replays give the losses of steps that are not recorded, bit for bit, with new random numbers each time."""
    eager = losses, steps, scale = _repeated(name, captured=False)
    assert _repeated(name, captured=True) == eager and len(set(losses)) == 5
    assert (steps, scale) == ((1, SCALE / 16) if scales(name) else (5, 1.0))  # steps that overflow are not made
    assert len(gpu.named("cuGraphLaunch")) == 3


@pytest.mark.parametrize("name", ["layers", "residual", "attentive"])
def test_graphed_modules(name, gpu):
    """`make_graphed_callables`: the optimizer runs outside; losses are those without graphs."""
    found = []
    for graphed in (False, True):
        facula.manual_seed(3)
        model, loss_of, (x, y) = MODELS[name]("cuda")
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # warming up draws, too
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 0.0  # and moves these
        run = cuda.make_graphed_callables(model, (x.clone(),)) if graphed else model
        optimizer = adamw(model.parameters())
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = loss_of(run, x, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append(losses)
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert len(gpu.named("cuGraphLaunch")) == 6


def test_batch_norm_is_one_launch(gpu):
    """Result and running statistics of rows in one piece; the count of batches is a number of its own."""
    found = []
    for where in ("cpu", "cuda"):
        facula.manual_seed(0)
        norm, x = nn.BatchNorm2d(3).to(where), facula.randn(4, 3, 20, 9).to(where)
        for some in (x, x.to(memory_format=facula.channels_last), x[:, :, :2]):
            norm(some)
            before = len(gpu.calls)
            norm(some)
        found.append(state_of(norm, adamw(norm.parameters())))
    assert [call[0] for call in gpu.calls[before:]].count("cuLaunchKernel") == 2
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_pools_keep_channels_innermost(gpu):
    """As on the CPU: what a convolution takes next lies as what the last one made."""
    for pool in (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 2, 1)):
        found = []
        for where in ("cpu", "cuda"):
            facula.manual_seed(0)
            x = facula.randn(2, 6, 7, 8).to(where).to(memory_format=facula.channels_last).requires_grad_()
            y = pool(x)
            y.square().sum().backward()
            assert all(t.is_contiguous(memory_format=facula.channels_last) for t in (y, x.grad))
            found.append((y.detach().cpu(), x.grad.cpu()))
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9}, "Adam": {}, "AdamW": {}, "Adamax": {}, "NAdam": {}, "RAdam": {},
    "Adagrad": {}, "Adadelta": {}, "RMSprop": {"momentum": 0.5}, "Rprop": {}, "ASGD": {}, "Adafactor": {},
}  # fmt: skip
FORMS = [{}, {"foreach": True}, {"fused": True}, {"capturable": True}]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizers(kind, gpu):
    """Each form's steps are the CPU's; after the first the host waits for nothing, and all tensors share a launch."""
    make = getattr(facula.optim, kind)
    taken = inspect.signature(make).parameters
    for form in FORMS:
        if not set(form) <= set(taken):
            continue
        results = []
        for where in ("cpu", "cuda"):
            facula.manual_seed(0)
            parameters = [facula.randn(*s).to(where).requires_grad_() for s in ((3, 4), (5,), (2, 3))]
            options = {k: v for k, v in form.items() if k != "capturable" or where == "cuda"}
            optimizer = make(parameters, **OPTIMIZERS[kind], **options)
            for step in range(3):
                for x in parameters:
                    x.grad = facula.full(x.shape, 0.5 - step).to(where)
                before = len(gpu.calls)
                optimizer.step()
                calls = [call[0] for call in gpu.calls[before:]]
            results.append([x.detach().cpu().numpy() for x in parameters])
        assert not WAITS & set(calls) or kind == "Adafactor", (form, calls)  # PyTorch's, too, reads norms
        most = {"Adafactor": 99, "NAdam": 2 + 3, "ASGD": 2 + 3}.get(kind, 2)  # a number of each parameter's state
        assert calls.count("cuLaunchKernel") <= most, (form, calls)
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6, err_msg=str(form))


def test_replays_follow_rates_and_leave_out_what_overflows(gpu):
    """Rates of later replays, a step that is not counted, and steps without a graph or a scaler after them."""
    found = []
    for captured in (False, True):
        weight, factor = facula.ones(5, device="cuda").requires_grad_(), facula.ones((), device="cuda")
        optimizer = facula.optim.Adam([weight], lr=0.1, fused=True, capturable=True)
        (group,), scaler = optimizer.param_groups, facula.amp.GradScaler("cuda", 8.0)

        def step(optimizer=optimizer, scaler=scaler, weight=weight, factor=factor):
            optimizer.zero_grad()
            scaler.scale((weight * weight * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()

        def plain(optimizer=optimizer, weight=weight):
            weight.grad = facula.ones(5, device="cuda")
            optimizer.step()

        step()
        plain()
        run = step
        if captured:
            graph = cuda.CUDAGraph()
            optimizer.zero_grad()
            with cuda.graph(graph):
                step()
            run = graph.replay
        for number in range(4):
            factor.fill_(float("inf") if number == 1 else 1.0)
            group["lr"] = 0.1 / (number + 1)
            run()
            plain()
        step()
        found.append((weight.tolist(), optimizer.state[weight]["step"].item(), scaler.get_scale()))
    assert found[0] == found[1] and found[0][1:] == (10.0, 4.0)


@pytest.mark.parametrize(("kind", "options"), [("Adam", {"capturable": True}), ("SGD", {"fused": True})])
def test_rates_that_are_tensors_of_the_gpu(kind, options, gpu):
    """They are read by the kernel: steps do not wait, and replays see what is written to them."""
    found = []
    for where in ("cpu", "cuda"):
        weight, rate = facula.ones(5).to(where).requires_grad_(), facula.tensor(0.5).to(where)
        given = {key: value for key, value in options.items() if where == "cuda" or key == "fused"}
        optimizer = getattr(facula.optim, kind)([weight], lr=rate, **given)

        def step(weight=weight, optimizer=optimizer):
            weight.grad.copy_(weight)
            optimizer.step()

        weight.grad = facula.ones(5).to(where)
        run = step
        for number in range(5):
            rate.fill_(0.5 / (number + 1))
            before = len(gpu.calls)
            run()
            if number == 1:
                assert not WAITS & {call[0] for call in gpu.calls[before:]}
                if where == "cuda" and kind == "Adam":
                    graph = cuda.CUDAGraph()
                    with cuda.graph(graph):
                        step()
                    run = graph.replay
        found.append(weight.detach().cpu().numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_scalers_wait_for_what_is_not_fused(gpu):
    """A step that itself cannot leave out what overflowed is asked for: one number comes back."""
    parameter = facula.ones(3, device="cuda", requires_grad=True)
    waited = []
    for fused in (False, True):
        optimizer, scaler = facula.optim.SGD([parameter], lr=0.5, fused=fused), facula.amp.GradScaler("cuda")
        for _ in range(2):
            optimizer.zero_grad()
            scaler.scale(parameter.sum()).backward()
            before = len(gpu.calls)
            scaler.step(optimizer)
            scaler.update()
        waited.append([call[0] for call in gpu.calls[before:] if call[0] in WAITS])
    assert waited == [["cuMemcpyDtoHAsync", "cuStreamSynchronize"], []]
    assert parameter.tolist() == [-1.0] * 3


def _rate(numbers, step):
    return {"weight_decay": 0 * step, "rate": numbers["lr"] / step, "eps": 1e-10 * step}


@pytest.mark.skipif(find_spec("cuda") is None, reason="no cuda-bindings here: facula[cuda]")
def test_texts_of_many():
    """NVRTC takes the texts whose factor lies in memory."""
    wanted = [(many._unscale(kind), (0, None, 0, ~1)) for kind in (dt.float32, dt.float64)]
    wanted += [(many._scale(kind), (0, 0, ~1)) for kind in (dt.float32, dt.float64)]
    held = Held(("found_inf", "grad_scale", "step"), facula.optim.Adagrad, _rate)
    specs = (facula.zeros(3).spec,) * 3
    rule = rules._kernel(facula.optim.Adagrad.rule, {"maximize": False, "decay": False}, ("lr",), specs, held)
    wanted.append((rule, (0, 2, 1, 0, 1, 2, ~3, ~4, ~5)))
    programs = [many_program(*kernel, late=late) for kernel in wanted for late in (False, True)]
    assert not complaints(programs, "sm_80") and not complaints(programs, "sm_90")


def test_averages_and_schedules(gpu):
    """An average of the parameters, and learning rates that are tensors, are not waited for either."""
    results = []
    for where in ("cpu", "cuda"):
        facula.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(where)
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        optimizer = adamw(model.parameters())
        schedule = facula.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
        x = facula.ones(2, 3).to(where)
        for _ in range(3):
            before = len(gpu.calls)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(model)
            calls = [call[0] for call in gpu.calls[before:]]
        results.append([x.detach().cpu().numpy() for x in averaged.parameters()])
    assert not WAITS & set(calls), calls
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
