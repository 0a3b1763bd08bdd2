"""What a GPU is asked first: each part of the target once, against the CPU, each part in a process of its own.

python -m tests.targets.cuda.first PART ...            these parts, one after the other; none: all
python -m tests.targets.cuda.first --emulated PART ... on the fake driver (needs g++)

`python -m tests.targets.cuda first costs` starts them side by side, so that a part that breaks the driver's context
takes none of the others with it, then measures.
"""

import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import facula
from facula import nn
from facula.targets.cuda import driver, nvrtc
from facula.targets.cuda.libraries import cublaslt, dnn_api, dnn_attend, dnn_convolution
from facula.targets.cuda.memory import pool
from tests.targets.cuda.table import device

F = nn.functional
PARTS: dict[str, Callable[[bool], None]] = {}  # what is given: whether there is no GPU


def part(check: Callable[[bool], None]) -> Callable[[bool], None]:
    """A check of one part of the target, by its name."""
    PARTS[check.__name__] = check
    return check


def random(*shape: int, dtype: facula.dtype = facula.float32, key: int = 0) -> facula.Tensor:
    """Normal numbers, the same in each process."""
    found = np.random.default_rng(key).standard_normal(shape).astype("f4")
    return facula.from_numpy(found).to(dtype)


def same(found: facula.Tensor, wanted: facula.Tensor, near: float = 1e-5) -> None:
    """AssertionError unless a result of the GPU is that of the CPU."""
    assert found.device.type == "cuda" and found.dtype is wanted.dtype, f"{found.dtype} on {found.device}"
    pair = (x.cpu().double().numpy() for x in (found, wanted))
    np.testing.assert_allclose(*pair, rtol=min(near, 2e-2), atol=near)


def both(function: Callable, *given: facula.Tensor, near: float = 1e-5) -> None:
    """A function and its gradients on the GPU and on the CPU."""
    sides = []
    for where in ("cuda", "cpu"):
        own = [x.detach().to(where).requires_grad_(x.is_floating_point()) for x in given]
        out = function(*own)
        if out.requires_grad:
            out.backward(random(*out.shape, dtype=out.dtype, key=9).to(where))
        sides.append([out.detach(), *(x.grad for x in own if x.grad is not None)])
    for found, wanted in zip(*sides, strict=True):
        same(found, wanted, near)


@contextmanager
def noted(module: ModuleType) -> Iterator[list]:
    """The plans that cuDNN is asked for in the block, None where it has none."""
    asked, found = module.chosen, []

    def chosen(*given: Any) -> Any:
        found.append(asked(*given))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "chosen", chosen)
        yield found
    print(f"  {len(found) - found.count(None)} of {len(found)} graphs have plans")


# --- parts ------------------------------------------------------------------------------------------------------------


@part
def memory(emulated: bool) -> None:
    """The driver, copies from and to memory of all kinds, streams, events, memory that is given back."""
    own = driver.gpu()
    version = driver.good(driver.api().cuDriverGetVersion(), "cuDriverGetVersion")
    print(f"  {own.name}, {own.architecture}, {own.multiprocessors} multiprocessors, {own.memory >> 30} GiB; "
          f"driver for CUDA {version}, NVRTC {nvrtc.version()}")  # fmt: skip
    for n in (1, 1000, 1 << 20):
        x = random(n, key=n)
        assert facula.equal(x.cuda().cpu(), x)
        pinned = x.pin_memory()
        there = pinned.to("cuda", non_blocking=True)
        del pinned  # its memory waits for the copy
        assert facula.equal((there + 1).cpu(), x + 1)
        back = facula.empty(n).pin_memory()
        back.copy_(there, non_blocking=True)
        facula.cuda.synchronize()
        assert facula.equal(back, x)
    assert there[3].item() == x[3].item() and there[:2].tolist() == x[:2].tolist()
    side = facula.cuda.Stream(priority=-1)
    first, last = (facula.cuda.Event(enable_timing=True) for _ in range(2))
    facula.cuda.current_stream().synchronize()
    with facula.cuda.stream(side):
        first.record()
        doubled = there * 2
        last.record()
    facula.cuda.current_stream().wait_stream(side)
    same(doubled + 1, x * 2 + 1)
    side.synchronize()
    assert first.elapsed_time(last) >= 0 and side.query() and last.query()
    try:
        facula.empty(1 << 44, device="cuda")
    except facula.cuda.OutOfMemoryError:
        pass
    else:
        raise AssertionError("64 TiB were found")
    del there, doubled
    facula.cuda.empty_cache()
    same(facula.ones(3, device="cuda") + 1, facula.ones(3) + 1)
    other = facula.from_dlpack(facula.ones(3, device="cuda"))
    same(other, facula.ones(3))


@part
def kernels(emulated: bool) -> None:
    """Texts of all modes: maps, tiles, rows in registers and not, columns, pieces, scans, checks, 16-bit floats."""
    x, y = random(70, 130), random(70, 130, key=1)
    long = random(3, 40_000 if emulated else 3_000_000, key=2)
    both(lambda x, y: F.gelu(x) * y + x.exp(), x, y)
    both(lambda x, y: x.t().contiguous() + y.t(), x, y)
    both(lambda x: F.softmax(x, 1), x)
    both(lambda x, w: F.layer_norm(x, (130,), w), x, y[0])
    both(lambda x: x.sum(0) + x.var(0), x, near=1e-4)
    both(lambda x: x.cumsum(1), x, near=1e-4)
    both(lambda x: x.sum() + x.mean(1).sum() + x.logsumexp(1).sum(), long, near=1e-3)
    for kind in (facula.float16, facula.bfloat16):
        both(lambda x, y: x.sigmoid() * y, x.to(kind), y.to(kind), near=2e-2)
    same((x.cuda() > 0).any(1), (x > 0).any(1))
    same((x.cuda() * 1000).to(facula.int16).argmax(1), (x * 1000).to(facula.int16).argmax(1))
    index = facula.tensor([0, 69, 3], device="cuda")
    same(x.cuda()[index], x[index.cpu()])
    try:
        x.cuda()[index + 1].sum().item()
    except RuntimeError as error:
        assert "device-side assert" in str(error), error
    else:
        raise AssertionError("an index out of range was found by nobody")
    same(x.cuda() + 1, x + 1)  # the context is as it was


@part
def order(emulated: bool) -> None:
    """Sorting short and long rows, selection, writes that meet, choosing by mask."""
    n = 3_000 if emulated else 1_000_000
    for kind in (facula.float32, facula.int64):
        x = (random(5, 100) * 50).to(kind)
        same(x.cuda().sort(1, stable=True)[1], x.sort(1, stable=True)[1])
        x = (random(2, n, key=1) * 50).to(kind)
        same(x.cuda().sort(1, stable=True)[1], x.sort(1, stable=True)[1])
        same(x.cuda().topk(20, 1)[0], x.topk(20, 1)[0])
    index = facula.from_numpy(np.random.default_rng(0).integers(0, 50, n))
    values = random(n)
    zero = facula.zeros(50)
    same(zero.cuda().index_add(0, index.cuda(), values.cuda()), zero.index_add(0, index, values), 1e-3)
    both(lambda table: F.embedding(index.to(table.device), table).sin().sum(0), random(50, 8), near=2e-3)
    same(values.cuda()[values.cuda() > 1], values[values > 1])
    same((values.cuda() > 1).nonzero(), (values > 1).nonzero())


@part
def numbers(emulated: bool) -> None:
    """Random numbers: the same for one seed, spread as they should be, and anew with each replay of a graph."""

    def drawn() -> list[facula.Tensor]:
        facula.manual_seed(3)
        n = 4_000 if emulated else 400_000
        kinds = [facula.rand(n, device="cuda"), facula.randn(n, device="cuda"), facula.randperm(n, device="cuda")]
        return [*kinds, F.dropout(facula.ones(n, device="cuda"), 0.25), facula.randint(9, (n,), device="cuda")]

    first, again = drawn(), drawn()
    assert all(facula.equal(a, b) for a, b in zip(first, again))
    means = [x.double().mean().item() for x in first]
    n = first[0].numel()
    for found, wanted, spread in zip(means, (0.5, 0, (n - 1) / 2, 1, 4), (0.3, 1, 1e-9, 0.6, 2.6)):
        assert abs(found - wanted) < 6 * spread / n**0.5, f"means are {means}"
    assert facula.equal(first[2].sort()[0].cpu(), facula.arange(n))
    assert facula.multinomial(facula.tensor([0.0, 1, 0], device="cuda"), 5, True).tolist() == [1] * 5


@part
def products(emulated: bool) -> None:
    """cuBLASLt, for what it takes, and the generated kernels."""
    if not emulated:
        assert cublaslt.library() is not None, cublaslt.reason()
        print(f"  cuBLASLt {cublaslt.version()}")
    warnings.filterwarnings("error", "cuBLASLt")  # which has no algorithm, or is not there
    for side in (64,) if emulated else (64, 1000):
        for kind, near in ((facula.float32, 1e-3), (facula.float64, 1e-9), (facula.bfloat16, 0.5)):
            a, b, bias = (random(*s, dtype=kind, key=k) for k, s in enumerate(((side, 72), (72, side), (side,))))
            both(lambda a, b: a @ b, a, b, near=near)
            both(lambda a, w, bias: F.linear(a, w, bias), a, b.t().contiguous(), bias, near=near)
            both(lambda a, b: a.expand(3, *a.shape) @ b, a, b, near=4 * near)
    a, b = (facula.complex(random(9, 8, key=k), random(9, 8, key=k + 1)) for k in (0, 2))
    assert facula.allclose((a.cuda() @ b.cuda().mH).cpu(), a @ b.mH, 1e-4, 1e-4)
    numbers = facula.arange(12).view(3, 4)
    same(numbers.cuda() @ numbers.cuda().t(), numbers @ numbers.t())


@part
def convolutions(emulated: bool) -> None:
    """cuDNN, and the generated kernels without it."""
    if not emulated:
        assert not dnn_api.reason(), dnn_api.reason()
        print(f"  cuDNN {dnn_api.version()}")
    for enabled in (True, False):
        with facula.backends.cudnn.flags(enabled=enabled, allow_tf32=False), noted(dnn_convolution) as found:
            for kind, near in ((facula.float32, 1e-3), (facula.bfloat16, 0.3), (facula.float16, 0.1)):
                x, w, b = (random(*s, dtype=kind, key=k) for k, s in enumerate(((2, 16, 9, 9), (8, 16, 3, 3), (8,))))
                both(lambda x, w, b: F.conv2d(x, w, b, padding=1), x, w, b, near=near)
                last = x.to(memory_format=facula.channels_last)
                both(lambda x, w: F.conv2d(x, w, stride=2), last, w, near=near)
                both(lambda x, w: F.conv_transpose2d(x, w), x[:, :8], w, near=near)
        assert any(found) == enabled


@part
def attention(emulated: bool) -> None:
    """cuDNN's kernels, those for matrix units, those of float32; gradients too."""
    kinds = [(facula.float32, 1e-3), (facula.bfloat16, 5e-2), (facula.float16, 2e-2)]
    length = 64 if emulated else 200
    for enabled in (True, False):
        with facula.backends.cudnn.flags(enabled=enabled), noted(dnn_attend) as found:
            for kind, near in kinds:
                q, k, v = (random(2, 4, length, 64, dtype=kind, key=i) for i in range(3))
                both(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v, near=near)
                mask = random(2, 1, length, length, key=5) > 0
                both(
                    lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask.to(q.device)),  # noqa: B023
                    q, k, v, near=near,
                )  # fmt: skip
        assert len(found) == 8 * enabled and None not in found


def _model(where: str) -> tuple[nn.Module, facula.optim.Optimizer, facula.Tensor, facula.Tensor]:
    facula.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 5)).to(where)
    optimizer = facula.optim.AdamW(model.parameters(), lr=1e-2, capturable=where == "cuda")
    return model, optimizer, random(16, 20).to(where), (facula.arange(16) % 5).to(where)


def _stepper(where: str, mixed: bool = False) -> Callable[[], facula.Tensor]:
    model, optimizer, x, y = _model(where)

    def step() -> facula.Tensor:
        optimizer.zero_grad()
        with facula.autocast(where, dtype=facula.bfloat16, enabled=mixed):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        facula.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


@part
def training(emulated: bool) -> None:
    """Steps on the GPU and the CPU, under autocast too, and without a wait."""
    for mixed, near in ((False, 1e-4), (True, 5e-2)):
        steps = [_stepper(where, mixed) for where in ("cuda", "cpu")]
        for _ in range(2 if emulated else 5):
            found, wanted = (step().item() for step in steps)
            assert abs(found - wanted) < near * abs(wanted), f"a loss of {found}, on the CPU {wanted}"
    facula.cuda.set_sync_debug_mode("error")
    try:
        steps[0]()
    finally:
        facula.cuda.set_sync_debug_mode("default")


@part
def graphs(emulated: bool) -> None:
    """Steps and random numbers from recorded graphs."""
    eager, step = _stepper("cpu"), _stepper("cuda")
    side = facula.cuda.Stream()
    side.wait_stream(facula.cuda.current_stream())
    with facula.cuda.stream(side):
        losses = [step().item() for _ in range(3)]
    facula.cuda.current_stream().wait_stream(side)
    graph = facula.cuda.CUDAGraph()
    with facula.cuda.graph(graph):
        loss = step()
        noise = facula.rand(8, device="cuda")
    seen = []
    for _ in range(3):
        graph.replay()
        losses.append(loss.item())
        seen.append(noise.clone())
    wanted = [eager().item() for _ in range(6)]
    np.testing.assert_allclose(losses, wanted, rtol=1e-3)
    assert not facula.equal(seen[0], seen[1]) and not facula.equal(seen[1], seen[2]), "replays draw the same numbers"
    del graph
    facula.cuda.empty_cache()
    same(facula.ones(2, device="cuda") * 2, facula.ones(2) * 2)


@part
def threads(emulated: bool) -> None:
    """Work of several Python threads, each with a stream of its own."""
    x = random(200, 100)
    wanted, wrong = (x * 3).exp().sum(1), []
    if emulated:  # the emulator is asked for a text by one thread
        same((x.cuda() * 3).exp().sum(1), wanted, 1e-3)

    def work() -> None:
        try:
            with facula.cuda.stream(facula.cuda.Stream()):
                for _ in range(2 if emulated else 50):
                    same((x.cuda() * 3).exp().sum(1), wanted, 1e-3)
        except BaseException:
            wrong.append(traceback.format_exc())

    some = [threading.Thread(target=work) for _ in range(4)]
    for one in some:
        one.start()
    for one in some:
        one.join()
    assert not wrong, wrong[0]


@part
def costs(emulated: bool) -> None:
    """What a launch, a wait and a step cost, and how fast memory and products are; nothing is judged."""

    def told(name: str, run: Callable, times: int, unit: str, factor: float) -> None:
        for _ in range(3):
            run()
        facula.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(1 if emulated else times):
            run()
        facula.cuda.synchronize()
        each = (time.perf_counter() - started) / (1 if emulated else times)
        print(f"  {name}: {factor / each if unit[-1] == 's' and unit[0] in 'GT' else each * factor:.4g} {unit}")

    side, count = (64, 1000) if emulated else (8192, 1 << 28)
    small, step = facula.ones(4, device="cuda"), _stepper("cuda")
    told("an addition of 4 numbers", lambda: small + small, 10_000, "us", 1e6)
    told("item()", lambda: small[0].item(), 1000, "us", 1e6)
    host = random(256)
    told("a copy of 1 KiB to the GPU", lambda: host.cuda(), 1000, "us", 1e6)
    told("a step of a small model", step, 200, "us", 1e6)
    many = facula.empty(count, device="cuda")
    told("clone", lambda: many.clone(), 20, "GB/s", 8e-9 * count)
    told("exp", lambda: many.exp(), 20, "GB/s", 8e-9 * count)
    told("sum", lambda: many.sum(), 20, "GB/s", 4e-9 * count)
    for kind in (facula.bfloat16, facula.float32):
        a = random(side, side, dtype=kind).cuda()
        told(f"a product of {side} x {side}, {kind}", lambda a=a: a @ a, 5, "TFLOP/s", 2e-12 * side**3)
    q = random(4, 16, 64 if emulated else 4096, 64, dtype=facula.bfloat16).cuda()
    told("attention", lambda: F.scaled_dot_product_attention(q, q, q), 5, "TFLOP/s", 4e-12 * 64 * 64 * q.shape[2] ** 2)
    told("the driver's memory, then none of it", lambda: (facula.empty(1 << 26, device="cuda"), pool.pool().release()),
         5, "us", 1e6)  # fmt: skip


# --- all of them ------------------------------------------------------------------------------------------------------


def run(names: list[str], emulated: bool) -> int:
    """How many parts fail."""
    bad = 0
    for name in names:
        started = time.perf_counter()
        said = "good"
        try:
            PARTS[name](emulated)
        except Exception:
            said, bad = traceback.format_exc(limit=-3), bad + 1
        print(f"{name}, {time.perf_counter() - started:.1f} s: {said}", flush=True)
    return bad


def main(arguments: list[str]) -> int:
    names = [a for a in arguments if not a.startswith("--")] or [*PARTS]
    with device(arguments, lambda: None):
        return run(names, "--emulated" in arguments)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
