"""The launch and memory layers against a recorded fake of the driver; kernels run in the emulator."""

import gc

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.core.device import device
from facula.core.spec import dense
from facula.ir.kernel import Access, arguments
from facula.targets.cuda import code, driver, transfers
from facula.targets.cuda.memory import pool
from facula.targets.cuda.nvrtc import architecture
from tests.targets.cpu import test_emit as cases
from tests.targets.cuda import device as device_checks
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FakeDriver, installed
from tests.targets.cuda.kernels import add, reduction, scaled, take
from tests.targets.kernels import access, check_kernel

GPU = device("cuda", 0)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


def whole(error: BaseException) -> str:
    """The text of an error with its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


# --- without a GPU ------------------------------------------------------------------------------------------------


def test_without_a_gpu_there_is_a_reason():
    if facula.cuda.is_available():
        pytest.skip("there is a GPU")
    assert facula.cuda.device_count() == 0 and facula.cuda.reason()
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled") as found:
        facula.empty(2, device="cuda")
    assert facula.cuda.reason() in whole(found.value)
    assert facula.cuda.memory_allocated() == 0 and not facula.cuda.is_initialized()


def test_an_old_gpu_is_not_used(monkeypatch):
    with installed(FakeDriver(capability=(7, 5)), monkeypatch):
        assert "compute capability 7.5" in facula.cuda.reason() and not facula.cuda.is_available()


def test_the_cpu_imports_none_of_it():
    import subprocess
    import sys

    program = """
import sys
import facula as torch
x = torch.randn(4, requires_grad=True)
(x * 2).sum().backward()
loaded = [name for name in sys.modules if name.startswith(("cuda", "facula.targets.cuda"))]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- the driver ---------------------------------------------------------------------------------------------------


def test_errors_have_pytorchs_words(fake):
    given = np.zeros(8, np.uint8)
    with pytest.raises(RuntimeError, match="^CUDA error: invalid argument") as found:
        transfers.from_host(12345, given.ctypes.data, 8)
    assert "from cuMemcpyHtoDAsync" in whole(found.value)


def test_the_gpu_is_started_once(fake):
    gpu = driver.gpu()
    assert driver.gpu() is gpu and len(fake.named("cuDevicePrimaryCtxRetain")) == 1
    assert (gpu.name, gpu.architecture, gpu.capability) == ("Emulated GPU", "sm_90", (9, 0))
    gpu.enter()
    gpu.enter()
    assert len(fake.named("cuCtxSetCurrent")) == 1


def test_texts_are_compiled_for_what_a_gpu_runs():
    known = [architecture(capability) for capability in ((8, 0), (8, 9), (9, 0), (9, 5))]
    assert known == ["sm_80", "sm_89", "sm_90", "sm_90"], "machine code of an older one of the same major version"
    assert architecture((99, 0)).startswith("compute_"), "the driver compiles for GPUs that NVRTC does not know"


def test_streams_and_events(fake):
    stream = facula.cuda.Stream()
    event = stream.record_event()
    facula.cuda.current_stream().wait_event(event)
    assert event.query() and stream.query()
    stream.synchronize()
    assert fake.named("cuStreamWaitEvent") == [[0, event.cuda_event, 0]]
    with facula.cuda.stream(stream):
        assert facula.cuda.current_stream() == stream
    assert facula.cuda.current_stream() == facula.cuda.default_stream()
    streams = {stream.cuda_stream}
    del stream, event
    gc.collect()
    assert fake.living == streams, "events that are gone are given back; streams are kept and shared"


# --- launches -----------------------------------------------------------------------------------------------------


@needs_compiler
def test_arguments_reach_the_kernel(fake):
    check_kernel(on_gpu(fake), add(), (1000,))
    check_kernel(on_gpu(fake), add(dt.bfloat16), (30, 50), strides=[None, (0, 1), (1, 0)])
    check_kernel(on_gpu(fake), reduction("sum"), (2,), (100_000,), plain=True, tolerance=4.0, least=1000.0)
    grids = [(args[1], args[2], args[-1] is not None) for args in fake.named("cuLaunchKernel")]
    assert grids[0] == (1, 1, True) and any(gy > 1 for _, gy, _ in grids), "long rows are cut in pieces"


def on_gpu(fake: FakeDriver):
    """A `compile` for `check_kernel`, whose operands are in the host's memory, which is this GPU's, too."""
    return lambda kernel, how: code.compile(kernel, how)


@needs_compiler
def test_sizes_are_settled_once(fake):
    kernel = add()
    how = access(kernel, (8,), (), [(1,)] * 3)
    function = code.Code(kernel, how)
    x = np.ones(8, "f4")
    for _ in range(3):
        function(x.ctypes.data, x.ctypes.data, x.ctypes.data, 8)
    assert len(fake.named("cuLaunchKernel")) == 3 and len(function.settled) == 1
    assert len(fake.named("cuModuleLoadData")) == 1 and x[0] == 8
    assert "typedef long long Index" in function.text((1 << 31,)).program.body  # another text
    assert len(fake.named("cuModuleLoadData")) == 2


@needs_compiler
def test_wrong_arguments(fake):
    function = code.compile(add(), Access(1, 0, ("1", "1", "1")))
    with pytest.raises(TypeError, match="add"):
        function(1, 2)
    with pytest.raises(TypeError, match="add"):
        function("a", 0, 0, 1)
    with pytest.raises(OverflowError):
        function(2**63, 0, 0, 1)


@needs_compiler
def test_failing_checks_are_raised_at_the_next_synchronisation(fake):
    kernel = take()
    how = Access(1, 0, ("1", "1", "0"))
    function = code.compile(kernel, how)
    i, x, out = np.array([0, 2, 7, 1, 9]), np.arange(3, dtype="f4"), np.zeros(5, "f4")
    given = {"out.ptr": out.ctypes.data, "i.ptr": i.ctypes.data, "x.ptr": x.ctypes.data, "size": 3, "n0": 5}
    values = [given[name] for name in arguments(kernel, how)]
    assert function(*values) is None
    assert out.tolist() == [0, 2, 0, 1, 0], "what fails reads nothing"
    function(*values)  # later ones do not hide the first
    with pytest.raises(RuntimeError, match="^CUDA error: device-side assert triggered") as found:
        transfers.synchronize()
    assert "take: index 7 is out of bounds, at element 2" in whole(found.value)
    assert "test_driver.py:" in whole(found.value)
    transfers.synchronize()  # the context stays usable
    i[:] = 1
    function(*values)
    transfers.synchronize()


# --- tensors ------------------------------------------------------------------------------------------------------


@needs_compiler
def test_tensors_on_the_gpu(fake):
    x = facula.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda", requires_grad=True)
    assert x.device == facula.device("cuda:0") and x.is_cuda and fake._inside(x.data_ptr(), 16)
    y = (x.exp() * 2 + x.t()).softmax(-1).sum(0)
    y[0].backward()
    here = facula.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    wanted = (here.exp() * 2 + here.t()).softmax(-1).sum(0)
    wanted[0].backward()
    np.testing.assert_allclose(y.detach().cpu().numpy(), wanted.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(x.grad.cpu().numpy(), here.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert x.cpu().tolist() == [[1.0, 2.0], [3.0, 4.0]] and y[1].item() == pytest.approx(wanted[1].item())
    assert repr(facula.arange(3, device="cuda")) == "tensor([0, 1, 2], device='cuda:0')"


@needs_compiler
def test_devices_are_not_mixed(fake):
    x = facula.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        x + facula.ones(3)
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    assert (x + facula.tensor(2.0)).tolist() == [3.0] * 3, "numbers on the CPU go with any"
    with pytest.raises(RuntimeError, match="CUDA error: invalid device ordinal"):
        facula.empty(2, device="cuda:1")


@needs_compiler
def test_products(fake):
    """Sizes beside those of tiles, both orders of operands, batches, a bias, a factor."""
    facula.manual_seed(0)
    for kind in (facula.float32, facula.bfloat16, facula.int64, facula.complex64, facula.float64):
        tolerance = {facula.bfloat16: 2e-2}.get(kind, 1e-5)
        x, y = ((facula.randn(*s) * 4).to(kind) for s in ((70, 19), (19, 65)))
        for a, b in ((x, y), (y.t(), x.t())):
            found = (a.to("cuda") @ b.to("cuda")).cpu()
            np.testing.assert_allclose(*(z.to(facula.complex64).numpy() for z in (found, a @ b)), tolerance, tolerance)
    x, y, z = facula.randn(2, 3, 5, 4), facula.randn(3, 4, 6), facula.randn(6)
    np.testing.assert_allclose((x.cuda() @ y.cuda()).cpu().numpy(), (x @ y).numpy(), 1e-5, 1e-5)
    wanted = facula.addmm(z, x[0, 0], y[0], beta=0.5, alpha=2.0)
    found = facula.addmm(z.cuda(), x[0, 0].cuda(), y[0].cuda(), beta=0.5, alpha=2.0)
    np.testing.assert_allclose(found.cpu().numpy(), wanted.numpy(), 1e-5, 1e-5)


@needs_compiler
def test_rows_of_tables(fake):
    for kind, width in ((facula.float32, 5), (facula.bfloat16, 4), (facula.uint8, 3)):
        table = (facula.arange(7 * width) % 50).reshape(7, width).to(kind)
        for index in (facula.tensor([[6, 0], [3, 3]]), facula.tensor([5, 1, 2], dtype=facula.int32)):
            found = facula.nn.functional.embedding(index.cuda(), table.cuda()).cpu()
            assert found.float().tolist() == facula.nn.functional.embedding(index, table).float().tolist()
    facula.nn.functional.embedding(facula.tensor([1, 7], device="cuda"), table.cuda())
    with pytest.raises(RuntimeError, match="device-side assert") as found:
        facula.cuda.synchronize()
    assert "embedding: index 7 is out of range" in whole(found.value)


@needs_compiler
def test_choosing_by_mask(fake):
    x = facula.arange(700).reshape(7, 10, 10)
    mask = x % 3 == 1
    assert x.cuda()[mask.cuda()].tolist() == x[mask].tolist()
    assert mask.cuda().nonzero().tolist() == mask.nonzero().tolist()
    nothing = facula.zeros(3, dtype=facula.bool, device="cuda")
    assert nothing.nonzero().shape == (0, 1) and facula.ones(0, device="cuda").nonzero().shape == (0, 1)


@needs_compiler
def test_search(fake):
    row = facula.tensor([-1.0, 0.0, 0.0, 2.0, float("nan")])
    values = facula.tensor([0.0, -5.0, 1.0, 3.0, float("nan")])
    for kind in (facula.float32, facula.float16):
        for right in (False, True):
            found = facula.searchsorted(row.to(kind).cuda(), values.to(kind).cuda(), right=right, out_int32=right)
            assert found.tolist() == facula.searchsorted(row.to(kind), values.to(kind), right=right).tolist()


@needs_compiler
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_optimizers_step_all_tensors_in_one_launch(fake, name):
    """Tensors of several sizes, one of them larger than a share, one without elements."""
    results = []
    for where in "cpu", "cuda":
        facula.manual_seed(0)
        start = [facula.randn(n) for n in (3, 0, 20_000, 17)]
        parameters = [p.detach().to(where).requires_grad_() for p in start]
        options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
        optimizer = getattr(facula.optim, name)(parameters, **options)
        for step in range(2):
            optimizer.zero_grad()
            for p in parameters:
                p.grad = p.detach() * 0.5 + 1.0
            norm = facula.nn.utils.clip_grad_norm_(parameters, 5.0)
            before = len(fake.named("cuLaunchKernel"))
            optimizer.step()
            launched = len(fake.named("cuLaunchKernel")) - before
            assert step == 0 or launched == (where == "cuda"), "its state is there in the second step"
        results.append([norm.cpu().numpy(), *(p.detach().cpu().numpy() for p in parameters)])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_no_memory_for_no_elements(fake):
    assert pool.empty(dense(dt.float32, (0, 3), GPU)).storage.nbytes == 0
    assert not fake.named("cuMemAlloc")


@needs_compiler
def test_training_has_the_losses_of_the_cpu(fake):
    """A classifier of bags of words: embedding, normalization, products, cross-entropy, AdamW; moved by `.to`."""
    nn, results = facula.nn, []
    for where in "cpu", "cuda":
        facula.manual_seed(0)
        model = nn.Sequential(nn.Embedding(20, 12), nn.LayerNorm(12), nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 3))
        words, labels = facula.randint(20, (8, 5)), facula.randint(3, (8,))
        model, words, labels = model.to(where), words.to(where), labels.to(where)
        optimizer, losses = facula.optim.AdamW(model.parameters(), lr=0.05), []
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(words).mean(1), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        results.append(losses)
    assert results[0][2] < results[0][0]
    np.testing.assert_allclose(*results, rtol=1e-4)


@needs_compiler
def test_what_sessions_with_a_gpu_run(fake, capsys):
    """`device.py` on the fake: a family that agrees, one that does not, speeds of small tensors."""
    fake.memory = 1 << 30

    def gathers():
        cases.test_checks()

    def wrong():
        check_kernel(cases.compile, scaled(), (100,), params=(1.0, 2, True))
        raise AssertionError("on purpose")

    gathers.__name__, wrong.__name__ = "_gathers", "_wrong"
    assert device_checks.run_cases([gathers, wrong]) == 1
    device_checks.run_speeds(3000, 100)
    device_checks.run_tiles(40, [facula.bfloat16])
    said = capsys.readouterr().out
    assert said.count("generated ") == 6
    assert "gathers, " in said and "agrees with the reference target" in said and "on purpose" in said
    assert "of the copy" in said and "TFLOP/s" in said
