"""Several GPUs, memory of other libraries, files, and `torch.cuda` around them, on a fake driver with two GPUs."""

import copy
import ctypes
import gc
import io
import os
import pickle
import sys
import threading

import numpy as np
import pytest

import facula
from facula import launch, safetensors
from facula.core.device import CURRENT, device
from facula.operators import dlpack
from facula.targets import cuda as one_gpu
from facula.targets.cuda import driver, transfers
from facula.targets.cuda.devices import On
from facula.targets.cuda.memory import pool
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import NO_HANDLE, FakeDriver, installed
from tests.targets.cuda.test_driver import whole

FIRST, SECOND = device("cuda", 0), device("cuda", 1)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture
def two(emulator, monkeypatch):
    with installed(FakeDriver(emulator, gpus=2), monkeypatch) as found:
        yield found


@pytest.fixture
def one(emulator, monkeypatch):
    with installed(FakeDriver(emulator), monkeypatch) as found:
        yield found


def numbers(where: object = "cuda:1", n: int = 6) -> facula.Tensor:
    return facula.arange(float(n)).reshape(2, -1).to(where)


# --- several GPUs -------------------------------------------------------------------------------------------------


def test_one_gpu_pays_nothing(one):
    assert launch._target(FIRST) is one_gpu
    assert launch.native("to_host", FIRST) is transfers.to_host
    with pytest.raises(facula.AcceleratorError, match="^CUDA error: invalid device ordinal"):
        facula.empty(2, device="cuda:1")


def test_the_fake_tells_gpus_apart(two):
    facula.ones(2, device="cuda:0") + 1, facula.ones(2, device="cuda:1") + 1
    first, second = driver.gpu(0), driver.gpu(1)
    (handle, *rest) = two.named("cuLaunchKernel")[-1]
    second.enter()
    assert two.cuLaunchKernel(handle, *rest) == (0,)
    first.enter()
    assert two.cuLaunchKernel(handle, *rest) == (NO_HANDLE,)
    mine = pool.pool(first).take(8)
    assert two._inside(mine.ptr, 8) and not two._inside(mine.ptr, 8, 1)
    with driver.current(second), pytest.raises(RuntimeError, match="CUDA error: invalid argument"):
        transfers.to_host(ctypes.addressof(ctypes.c_int64()), mine.ptr, 8)


def test_operators_run_where_their_operands_are(two):
    """The thread's GPU is the first one all the time; calls are repeated until machine code does them."""
    for _ in range(4):
        for where in (SECOND, FIRST):
            x = facula.ones(2, 3, device=where) * 2
            assert x.device is where and (x + x).sum().item() == 24 and (x @ x.t()).tolist() == [[12.0] * 2] * 2
    x = numbers().requires_grad_()
    loss = x.softmax(-1)[:, 0].log().sum()
    loss.backward()
    here = numbers("cpu").requires_grad_()
    here.softmax(-1)[:, 0].log().sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), here.grad.numpy(), rtol=1e-5, atol=1e-6)
    assert x.grad.device is SECOND and isinstance(launch._target(SECOND), On)
    assert facula.tensor([3.0, 1.0], device=SECOND).sort().values.tolist() == [1, 3]
    assert x[x > 2].tolist() == [3, 4, 5] and CURRENT.index == 0


def test_training_on_the_second_gpu(two):
    results = []
    for where in ("cpu", "cuda:1", "cuda:0"):
        facula.manual_seed(0)
        model = facula.nn.Sequential(facula.nn.Linear(3, 4), facula.nn.GELU(), facula.nn.Linear(4, 2))
        data, labels = facula.randn(5, 3).to(where), facula.tensor([0, 1, 1, 0, 1], device=where)
        optimizer = facula.optim.AdamW(model.to(where).parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = facula.nn.functional.cross_entropy(model(data), labels)
            loss.backward()
            optimizer.step()
        results.append(loss.item())
    np.testing.assert_allclose(results, results[0], rtol=1e-4)


def test_copies_between_gpus(two):
    x = numbers("cuda:0")
    for y in (x.to("cuda:1"), x.t().to("cuda:1", facula.float64).t(), x.cuda(1), x.cuda(SECOND, non_blocking=True)):
        assert y.device is SECOND and y.tolist() == x.tolist()
    facula.empty(2, 3, device="cuda:1").copy_(x)
    assert two.peers == {(0, 1)} and len(two.named("cuCtxEnablePeerAccess")) == 1
    g = facula.ones(3, device="cuda:0", requires_grad=True)
    ((g * 2).to("cuda:1") * 3).sum().backward()
    assert g.grad.tolist() == [6, 6, 6] and g.grad.device is FIRST


def test_copies_wait_for_both_gpus(two):
    """Nothing is copied before the source is written, nor read before it is copied."""
    slow, other = facula.cuda.Stream(0), facula.cuda.Stream(1)
    two.slow |= {slow.cuda_stream, other.cuda_stream}
    with facula.cuda.stream(other), facula.cuda.stream(slow):
        x = facula.ones(4, device="cuda:0") + 1
        y = x.to("cuda:1")
        assert two.queues[slow.cuda_stream], "not done yet"
    with facula.cuda.stream(other):
        assert y.tolist() == [2, 2, 2, 2]


def test_devices_are_not_mixed(two):
    words = "^Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cuda:1!"
    with pytest.raises(RuntimeError, match=words):
        numbers("cuda:0") + numbers()
    y = numbers().requires_grad_() * 2
    for wrong in ("cpu", "cuda:0"):
        words = f"^invalid gradient at index 0 - expected device cuda:1 but got {wrong}"
        with pytest.raises(RuntimeError, match=words):
            y.backward(numbers(wrong))
    with pytest.raises(facula.AcceleratorError, match="invalid device ordinal") as found:
        facula.empty(2, device="cuda:2")
    assert "cuda:0 to cuda:1" in whole(found.value)


def test_which_gpu_a_thread_uses(two):
    cuda = facula.cuda
    make = lambda: (facula.zeros(3, device="cuda"), facula.rand(3, device="cuda"), facula.ones(3).cuda())  # noqa: E731
    used = lambda: {t.get_device() for t in make()}  # noqa: E731
    assert cuda.device_count() == 2 and cuda.current_device() == 0 and used() == {0} == used()
    with cuda.device(1):
        assert cuda.current_device() == 1 and used() == {1} == used()
        with cuda.device_of(numbers("cuda:0")), cuda.device(None), cuda.device(-1):
            assert used() == {0}
        seen = []
        thread = threading.Thread(target=lambda: seen.append((cuda.current_device(), used())))
        thread.start()
        thread.join()
        assert seen == [(0, {0})] and used() == {1}
    stream = cuda.Stream("cuda:1")
    with cuda.stream(stream):
        assert cuda.current_device() == 1 and cuda.current_stream() == stream and cuda.current_stream(0) != stream
    assert cuda.current_device() == 0 and cuda.current_stream(1) == cuda.default_stream(1)
    cuda.set_device("cuda:1")
    assert used() == {1} and cuda.Stream().device is SECOND and facula.accelerator.current_device_index() == 1
    cuda.set_device(-1)
    assert cuda.current_device() == 1
    with pytest.raises(RuntimeError, match="CUDA error: invalid device ordinal"):
        cuda.set_device(2)
    with pytest.raises(ValueError, match="^Expected a cuda device, but got: cpu"):
        cuda.set_device("cpu")
    facula.set_default_device("cuda")
    try:
        assert facula.zeros(2).device is SECOND is facula.get_default_device()
    finally:
        facula.set_default_device(None)


def test_memory_and_random_numbers_of_each_gpu(two):
    cuda = facula.cuda
    kept = facula.empty(1000, device="cuda:1")
    assert cuda.memory_allocated(1) == 4096 and cuda.memory_allocated(0) == cuda.memory_allocated() == 0
    cuda.manual_seed_all(3)
    a, b = (facula.rand(4, device=where).tolist() for where in (FIRST, SECOND))
    assert a == b
    state = cuda.get_rng_state(1)
    more = facula.rand(4, device="cuda:1").tolist()
    cuda.set_rng_state(state, 1)
    assert facula.rand(4, device="cuda:1").tolist() == more and len(cuda.default_generators) == 2
    del kept
    cuda.empty_cache()


def test_blocks_wait_for_streams_of_other_gpus(two):
    """Default streams of two GPUs have the same handle, and are two streams."""
    x = facula.empty(1 << 20, device="cuda:0")
    x.record_stream(facula.cuda.default_stream(1))
    before = len(two.named("cuEventRecord"))
    del x
    assert len(two.named("cuEventRecord")) == before + 1


def test_what_checks_find_is_the_gpus(two):
    facula.nn.functional.embedding(facula.tensor([1, 7], device="cuda:1"), facula.ones(4, 2, device="cuda:1"))
    facula.cuda.synchronize(0)
    with pytest.raises(RuntimeError, match="device-side assert") as found:
        facula.cuda.synchronize(1)
    assert "embedding: index 7 is out of range" in whole(found.value)


def test_properties(two):
    found = facula.cuda.get_device_properties("cuda:1")
    assert (found.name, found.major, found.minor, found.total_memory) == ("Emulated GPU", 9, 0, 1 << 30)
    assert str(found).startswith("_CudaDeviceProperties(name='Emulated GPU', major=9, minor=0, total_memory=1024MB")
    assert facula.cuda.get_device_capability(1) == (9, 0) and facula.cuda.get_arch_list() == ["sm_90"]
    assert facula.cuda.can_device_access_peer(0, 1) and facula.cuda.is_bf16_supported()
    with pytest.raises(AssertionError, match="^Invalid device id"):
        facula.cuda.get_device_name(2)


def test_waiting_that_a_program_does_not_mean(one):
    x = facula.ones(2, device="cuda")
    facula.cuda.set_sync_debug_mode("error")
    try:
        assert facula.cuda.get_sync_debug_mode() == 2
        with pytest.raises(RuntimeError, match="^called a synchronizing CUDA operation"):
            x.sum().item()
        facula.cuda.set_sync_debug_mode("warn")
        with pytest.warns(UserWarning, match="called a synchronizing CUDA operation"):
            assert x.tolist() == [1, 1]
    finally:
        facula.cuda.set_sync_debug_mode(0)
    with pytest.raises(RuntimeError, match="expected one of `default`, `warn`, `error`"):
        facula.cuda.set_sync_debug_mode("loud")


def test_collectives_of_one_process(two):
    comm = facula.cuda.comm
    x = numbers("cuda:0")
    parts = comm.scatter(x, [0, 1])
    assert [p.device for p in parts] == [FIRST, SECOND] and comm.gather(parts, destination=1).tolist() == x.tolist()
    copies = comm.broadcast(x, (0, 1))
    assert [c.device for c in copies] == [FIRST, SECOND]
    total = comm.reduce_add(copies, 1)
    assert total.device is SECOND and total.tolist() == (x * 2).tolist()


@pytest.mark.filterwarnings("ignore:This process")
def test_after_a_fork(one):
    """A child may not use what its parent has started."""
    x = facula.ones(2, device="cuda")
    child = os.fork()
    if child == 0:
        said = ""
        try:
            x + x
        except RuntimeError as error:
            said = str(error)
        os._exit(0 if said.startswith("Cannot re-initialize CUDA in forked subprocess.") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (x + x).tolist() == [2, 2]


# --- other libraries ----------------------------------------------------------------------------------------------


class Array:
    """What CuPy's arrays are to others: protocols alone."""

    def __init__(self, x: facula.Tensor, versions: bool = True):
        self.x, self.versions, self.asked = x, versions, {}

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()

    def __dlpack__(self, *, stream=None, **more):
        if more and not self.versions:
            raise TypeError("unexpected keyword argument")
        self.asked = {"stream": stream, **more}
        return self.x.__dlpack__(stream=-1, **more)


def test_dlpack_out_and_in(one):
    x = numbers("cuda")
    assert x.__dlpack_device__() == (2, 0)
    for versions in (True, False):
        given = Array(x.t(), versions)
        y = facula.from_dlpack(given)
        assert y.data_ptr() == x.data_ptr() and y.stride() == (1, 3) and y.device is FIRST
        assert y.tolist() == x.t().tolist()
        assert given.asked["stream"] == 1 and ("max_version" in given.asked) is versions
        assert len(dlpack._given) == 1
        del y, given
        gc.collect()
        assert not dlpack._given, "the owner is told"
    capsule = x.__dlpack__()
    del capsule
    assert not dlpack._given, "so it is where nobody took the memory out"
    capsule = facula.to_dlpack(x[1].to(facula.bfloat16))
    y = facula.from_dlpack(capsule)
    assert y.dtype is facula.bfloat16 and y.tolist() == [3, 4, 5]
    with pytest.raises(RuntimeError, match="can be consumed only once"):
        facula.from_dlpack(capsule)
    assert facula.from_dlpack(x, device="cpu").tolist() == x.tolist()
    assert facula.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    with pytest.raises(ValueError, match="without copying"):
        facula.from_dlpack(x, device="cpu", copy=False)
    assert x.__dlpack__(dl_device=(1, 0), max_version=(1, 0)) is not None
    with pytest.raises(BufferError, match="requires? gradient"):
        numbers("cuda").requires_grad_().__dlpack__()


def test_dlpack_hands_over_the_stream(one):
    x, theirs = numbers("cuda"), facula.cuda.Stream()
    before = len(one.named("cuStreamWaitEvent"))
    for stream in (None, 1, -1):
        x.__dlpack__(stream=stream)
    assert len(one.named("cuStreamWaitEvent")) == before, "the current stream is the default one"
    x.__dlpack__(stream=theirs.cuda_stream)
    assert one.named("cuStreamWaitEvent")[before:][0][0] == theirs.cuda_stream
    with pytest.raises(BufferError, match="^per-thread default stream is not supported"):
        x.__dlpack__(stream=2)
    with pytest.raises(TypeError, match="^stream must be"):
        x.__dlpack__(stream="0")
    with facula.cuda.stream(theirs):
        given = Array(x)
        facula.from_dlpack(given)
        assert given.asked["stream"] == theirs.cuda_stream


def test_dlpack_of_another_gpu(two):
    x = numbers()
    with pytest.raises(BufferError, match="^Can't export tensors on a different CUDA device index"):
        x.__dlpack__()
    with facula.cuda.device(1):
        assert facula.from_dlpack(x).device is SECOND


def test_dlpack_of_the_host():
    x = facula.arange(6.0).reshape(2, 3)
    assert x.__dlpack_device__() == (1, 0) and np.from_dlpack(x).tolist() == x.tolist()
    y = facula.from_dlpack(np.arange(6, dtype="i2").reshape(2, 3).T)
    assert y.dtype is facula.int16 and y.stride() == (1, 3)


class Interface:
    """Memory of a GPU by `__cuda_array_interface__`."""

    def __init__(self, **said):
        self.__cuda_array_interface__ = said


def test_array_interface(one):
    x = numbers("cuda")
    said = x.__cuda_array_interface__
    assert said == {"typestr": "<f4", "shape": (2, 3), "strides": None, "data": (x.data_ptr(), False), "version": 2}
    assert x.t().__cuda_array_interface__["strides"] == (4, 12)
    assert not hasattr(facula.ones(2), "__cuda_array_interface__")
    theirs = facula.cuda.Stream()
    before = len(one.named("cuEventRecord"))
    y = facula.as_tensor(Interface(**said, stream=theirs.cuda_stream))
    assert y.data_ptr() == x.data_ptr() and y.tolist() == x.tolist()
    assert one.named("cuEventRecord")[before][1] == theirs.cuda_stream
    z = facula.tensor(Interface(**said), device="cuda")
    assert z.data_ptr() != x.data_ptr() and z.tolist() == x.tolist()


# --- files, processes, older names --------------------------------------------------------------------------------


def test_files(two):
    x, file = numbers(), io.BytesIO()
    facula.save({"a": x, "b": facula.ones(2, device="cuda:0")}, file)
    places = {
        None: ("cuda:1", "cuda:0"), "cpu": ("cpu", "cpu"), FIRST: ("cuda:0", "cuda:0"), "cuda": ("cuda:0", "cuda:0"),
    }  # fmt: skip
    for where, wanted in places.items():
        file.seek(0)
        got = facula.load(file, map_location=where)
        assert (str(got["a"].device), str(got["b"].device)) == wanted and got["a"].tolist() == x.tolist()
    for where in ({"cuda:1": "cuda:0"}, lambda storage, tag: storage.cuda(0) if tag == "cuda:1" else storage):
        file.seek(0)
        assert facula.load(file, map_location=where)["a"].device is FIRST
    y = safetensors.load(safetensors.save({"x": x}))["x"]
    assert y.device.type == "cpu" and y.tolist() == x.tolist()
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert y.device is SECOND and y.tolist() == x.tolist() and y.data_ptr() != x.data_ptr()


def test_files_into_safetensors(two, tmp_path):
    safetensors.save_file({"x": numbers()}, tmp_path / "x")
    assert safetensors.load_file(tmp_path / "x", device="cuda:1")["x"].device is SECOND


def test_graphs_of_the_second_gpu(two):
    graph, x = facula.cuda.CUDAGraph(), facula.ones(4, device="cuda:1")
    x + 1  # compiled before
    with facula.cuda.graph(graph, stream=facula.cuda.Stream(1)):
        y = x + 1
    x.fill_(5)
    graph.replay()
    assert y.tolist() == [6, 6, 6, 6]


def test_files_of_more_gpus_than_there_are(emulator, monkeypatch):
    file = io.BytesIO()
    with installed(FakeDriver(emulator, gpus=2), monkeypatch):
        facula.save(numbers(), file)
    with installed(FakeDriver(emulator), monkeypatch), pytest.raises(RuntimeError, match="on CUDA device 1 but torch"):
        file.seek(0)
        facula.load(file)
    if not facula.cuda.is_available():
        file.seek(0)
        with pytest.raises(RuntimeError, match="^Attempting to deserialize object on a CUDA device but torch.cuda"):
            facula.load(file)


def test_other_processes(one):
    from multiprocessing.reduction import ForkingPickler

    import facula.multiprocessing  # noqa: F401

    with pytest.raises(NotImplementedError, match="memory of a GPU is not shared between processes"):
        ForkingPickler.dumps(numbers("cuda"))
    with pytest.raises(NotImplementedError, match="torch.cuda.ipc_collect"):
        facula.cuda.ipc_collect()


def test_older_names(one):
    x = facula.cuda.FloatTensor([1, 2])
    assert x.device is FIRST and isinstance(x, facula.cuda.FloatTensor) and x.type() == "torch.cuda.FloatTensor"
    with pytest.raises(TypeError, match="^legacy constructor expects device type: cuda but device type: cpu was"):
        facula.cuda.FloatTensor(facula.ones(2))
    with pytest.raises(RuntimeError, match="^Invalid device, must be cuda device"):
        x.cuda("cpu")


def test_names_that_have_no_sense(monkeypatch):
    for package in ("pynvml", "nvtx"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("cudart", "current_blas_handle", "GreenContext"):
        with pytest.raises(NotImplementedError, match=f"^torch.cuda.{name}"):
            getattr(facula.cuda, name)()
    with pytest.raises(AttributeError, match="torch.cuda.nccl is not implemented"):
        facula.cuda.nccl  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match="^pynvml does not seem to be installed"):
        facula.cuda.utilization()
    with pytest.raises(RuntimeError, match="^NVTX functions not installed"):
        facula.cuda.nvtx.range_push("a")
    assert issubclass(facula.cuda.CudaError, RuntimeError) and facula.cuda.check_error(0) is None
