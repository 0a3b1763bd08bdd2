"""NVIDIA's own bindings with facula's arguments: programs run on a libcuda.so.1 of C that refuses what is wrong.

So what bindings convert, handles, the launch by machine code and the end of a process are seen without a GPU; what
kernels compute is not.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.cuda.emulator import COMPILER

ROOT = Path(__file__).parents[3]
there = COMPILER is not None and importlib.util.find_spec("cuda") is not None and sys.platform == "linux"
pytestmark = pytest.mark.skipif(not there, reason="needs Linux, g++ and the package cuda-bindings")
BEGIN = """
import os, sys, threading
import facula as torch
from facula.targets.cuda import driver
from facula.targets.cuda.libraries import cublaslt, dnn_api
cublaslt.use(None)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    headers = [
        Path(p) / "nvidia" / "cu13" / "include" for p in sys.path
    ]  # of nvidia-cuda-runtime, where it is installed
    command = [COMPILER, "-x", "c", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wl,-soname,libcuda.so.1",
               *(f"-I{h}" for h in headers if h.is_dir()), str(Path(__file__).with_name("libcuda.c")),
               "-o", str(folder / "libcuda.so.1"), "-ldl", "-lpthread"]  # fmt: skip
    subprocess.run(command, check=True)
    return folder


def run(library: Path, program: str, **settings: str) -> tuple[str, list[str]]:
    """What a program prints, and the calls that the driver saw; it must end without a word of trouble."""
    log = library / "log"
    log.unlink(missing_ok=True)
    env = os.environ | {"LD_LIBRARY_PATH": str(library), "CUDA_LOG": str(log), "PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run([sys.executable, "-c", BEGIN + program], env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout, log.read_text().splitlines() if log.exists() else []


def named(calls: list[str], name: str) -> list[str]:
    """The numbers of all calls of one function."""
    return [rest for first, _, rest in (call.partition(" ") for call in calls) if first == name]


PROGRAM = """
assert torch.cuda.is_available() and not torch.cuda.is_initialized()
y = torch.tensor([1.0, 2, 3]).to("cuda")
assert y.tolist() == [1.0, 2.0, 3.0] and y[1].item() == 2.0
z = y + y
side = torch.cuda.Stream(priority=-1)
first, second = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True, blocking=True)
first.record()
with torch.cuda.stream(side):
    w = z * 2
    z.record_stream(side)
    second.record()
second.wait()
torch.cuda.current_stream().wait_stream(side)
assert first.elapsed_time(second) == 1.5 and first.query() and not side.query()
pinned = torch.empty(1000).pin_memory()
assert pinned.is_pinned() and not torch.empty(3).is_pinned()
there = pinned.to("cuda", non_blocking=True)
del pinned
back = there.to("cpu", non_blocking=True)
large = torch.empty(3 << 20, device="cuda")
large.record_stream(side)
del large
torch.cuda.empty_cache()
assert torch.cuda.mem_get_info() == (140 << 30, 150 << 30)
graph, other = torch.cuda.CUDAGraph(keep_graph=True), torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    r = y + 1
    s = r * r
graph.debug_dump("graph.dot")
graph.replay()
graph.replay()
with torch.cuda.graph(other):
    t = y * 3
other.replay()
def work():
    return torch.ones(4, device="cuda") + 1
thread = threading.Thread(target=work)
thread.start()
thread.join()
try:
    torch.empty(1 << 31, device="cuda")
except torch.cuda.OutOfMemoryError:
    print("no memory")
from facula.targets.cuda import launcher
for status in (400, 12345):
    try:
        launcher._refused(status)
    except RuntimeError as error:
        print(error, *error.__notes__)
torch.cuda.synchronize()
"""


def test_a_program_on_nvidias_bindings(library):
    said, calls = run(library, PROGRAM)
    handle, unknown = "  got: CUDA_ERROR_INVALID_HANDLE from cuLaunchKernel", "  got: 12345 from cuLaunchKernel"
    assert said.split("\n")[:3] == [
        "no memory", f"CUDA error: invalid resource handle {handle}", f"CUDA error: error 12345 {unknown}"
    ]  # fmt: skip
    refused = [call for call in calls if "->" in call]
    assert [call.split()[0] for call in refused] == ["cuStreamQuery", "cuMemAlloc", "cuMemAlloc"]
    assert len(named(calls, "cuDevicePrimaryCtxRetain")) == 1 and len(named(calls, "cuCtxSetCurrent")) == 2
    assert "1 -1" in named(calls, "cuStreamCreateWithPriority")  # beside the work of the legacy stream
    assert {"0", "1", "2"} <= set(named(calls, "cuEventCreate"))
    assert named(calls, "cuMemHostAlloc") and set(named(calls, "cuModuleLoadData")) == {"cubin"}
    assert named(calls, "cuStreamBeginCapture") == ["0", "0"] and named(calls, "cuGraphInstantiate") == ["9", "9"]
    assert named(calls, "cuGraphDebugDotPrint") == ["graph.dot 1"] and len(named(calls, "cuGraphLaunch")) == 3
    assert len(named(calls, "cuGraphExecDestroy")) == 2 and len(named(calls, "cuGraphDestroy")) == 2
    launches = named(calls, "cuLaunchKernel")
    assert {launch.split()[-1] for launch in launches} == {"0", "1"}  # of the default stream, and of others


REASONS = """
def reason(**settings):
    os.environ.update({f"CUDA_{name}": value for name, value in settings.items()})
    driver.use(None)
    return torch.cuda.reason()
print(reason(INIT="100"))
print(reason(INIT="0", VERSION="12080"))
print(reason(VERSION="99000", CAPABILITY="75"))
print(reason(CAPABILITY="199"))
y = torch.ones(3, device="cuda") + 1
"""


def test_why_there_is_no_gpu_and_a_gpu_of_the_future(library):
    said, calls = run(library, REASONS)
    none, old, weak, good = said.split("\n")[:4]
    assert none == "the NVIDIA driver says CUDA_ERROR_NO_DEVICE"
    assert old.startswith("the NVIDIA driver on this system is too old: it is for CUDA 12.8, and NVRTC for 1")
    assert weak == "the GPU has compute capability 7.5, and 8.0 is needed" and good == ""
    assert set(named(calls, "cuModuleLoadData")) == {"ptx"}  # the driver compiles it for what NVRTC does not know
    assert len(named(calls, "cuDevicePrimaryCtxRetain")) == 1  # nothing is started to say why not


FORK = """
side = torch.cuda.Stream()
x, y = torch.ones(1 << 20, device="cuda"), torch.ones(3).pin_memory()
event = side.record_event()
x.record_stream(side)
y.to("cuda", non_blocking=True)
torch.cuda.synchronize()
before = os.path.getsize(os.environ["CUDA_LOG"])
child = os.fork()
if child == 0:
    del x, y, event
    torch.manual_seed(3)
    try:
        torch.ones(3, device="cuda")
    except RuntimeError as error:
        print(error, flush=True)
    calls = os.path.getsize(os.environ["CUDA_LOG"]) - before
    print((torch.ones(3) + 1).tolist(), torch.ones(3).is_pinned(), calls, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert (x + x).shape == (1 << 20,)
"""


def test_a_forked_process_leaves_the_driver_alone(library):
    said, _ = run(library, FORK)
    error, rest = said.split("\n")[0], said.split("\n")[-2]
    assert error.startswith("Cannot re-initialize CUDA in forked subprocess. To use CUDA with ")
    assert rest == "[2.0, 2.0, 2.0] False 0"


THREADS = """
import faulthandler, gc, random, time
faulthandler.dump_traceback_later(100, exit=True)
sys.setswitchinterval(1e-5)
gc.set_threshold(50)
end = time.monotonic() + 2
class Cycle: pass
def work(seed):
    turn, side, kept = random.Random(seed), torch.cuda.Stream(), []
    while time.monotonic() < end:
        size = turn.choice([3, 1000 + turn.randrange(400), 600000])
        with torch.cuda.stream(side if turn.random() < 0.7 else None):
            x = torch.empty(size, device="cuda", requires_grad=True)
            (x * 3).sum().backward()
            host = torch.empty(size).pin_memory()
            there = host.to("cuda", non_blocking=True)
            torch.tensor([1.0, 2.0], device="cuda")
            there.record_stream(torch.cuda.default_stream())
        cycle = Cycle()
        cycle.of = cycle, x, host, there
        kept = [*kept[-20:], x.grad]
        if turn.random() < 0.05:
            torch.cuda.empty_cache()
            torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    print("done\\n", end="")
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gc.collect()
torch.cuda.empty_cache()
print(torch.cuda.memory_allocated(), torch.cuda.memory_reserved())
"""


def test_threads_that_allocate_free_and_collect_garbage(library):
    said, calls = run(library, THREADS)
    assert said == "done\n" * 4 + "0 0\n" and not any("->" in call for call in calls)
