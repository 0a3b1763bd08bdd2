"""Tensors between processes: values, sharing, lifetimes, failures of processes; spawned ones run scripts."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import facula as torch
from facula import multiprocessing as mp
from facula.multiprocessing import reductions
from facula.multiprocessing.pool import Pool
from facula.multiprocessing.queue import SimpleQueue

ROOT = Path(__file__).parents[2]
FORK = mp.get_context("fork")


def script(tmp_path, text: str, *command: str, **options) -> subprocess.Popen:
    """A program in a process, and a group of processes, of its own."""
    (tmp_path / "program.py").write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, *command, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def output(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def echo(incoming, outgoing) -> None:
    while (found := incoming.get()) is not None:
        found[0].add_(1)
        outgoing.put((found, [x.is_shared() for x in found]))


def test_a_queue_sends_memory():
    there, back = FORK.Queue(), FORK.Queue()
    process = FORK.Process(target=echo, args=(there, back))
    process.start()
    x = torch.arange(12.0).reshape(3, 4)
    parameter = torch.nn.Parameter(torch.ones(2))
    there.put((x[1], x.t(), parameter.detach(), parameter))
    (row, turned, plain, again), flags = back.get()
    there.put(None)
    process.join()
    assert flags == [True] * 4 and process.exitcode == 0
    assert x.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8], [8, 9, 10, 11]]
    assert row.storage is x.storage and turned.storage is x.storage, "what comes back is what was sent"
    assert turned.stride() == (1, 4) and type(again) is torch.nn.Parameter and again.requires_grad
    assert plain.storage is parameter.storage


def test_through_the_modules_own_queues():
    queue = SimpleQueue(ctx=multiprocessing.get_context())
    x = torch.arange(3)
    queue.put({"x": x, "n": 1})
    assert queue.get()["x"].storage is x.storage


def double(x):
    return x * 2


@pytest.mark.parametrize("pool", [lambda: FORK.Pool(2), lambda: Pool(2, context=FORK)], ids=["Python's", "PyTorch's"])
def test_pools(pool):
    with pool() as workers:
        assert [x.tolist() for x in workers.map(double, [torch.ones(2), torch.arange(3)])] == [[2, 2], [0, 2, 4]]


SENDS = [
    torch.zeros(0), torch.tensor(3.5), torch.ones(2, dtype=torch.bfloat16), torch.ones(3, dtype=torch.float8_e5m2),
    torch.tensor([1 + 2j]), torch.arange(4)[::2], torch.ones(2, requires_grad=True), torch.empty(3, device="meta"),
]  # fmt: skip


@pytest.mark.parametrize("x", SENDS, ids=lambda x: f"{x.dtype}{tuple(x.shape)}")
def test_what_is_sent_comes(x):
    y = multiprocessing.reduction.ForkingPickler.loads(multiprocessing.reduction.ForkingPickler.dumps(x))
    assert (y.dtype, y.shape, y.stride(), y.requires_grad, y.device) == (
        x.dtype, x.shape, x.stride(), x.requires_grad, x.device,
    )  # fmt: skip
    if x.device.type != "meta":
        assert y.tolist() == x.tolist()


def test_storages_and_subclasses():
    class Mine(torch.Tensor):
        pass

    globals()["Mine"] = Mine
    Mine.__qualname__, Mine.__module__ = "Mine", __name__
    sys.modules.setdefault(__name__, sys.modules.get(__name__) or type(sys)(__name__)).Mine = Mine
    mine = torch.arange(3.0).as_subclass(Mine)
    handle, typed = torch.ones(3).untyped_storage(), torch.FloatStorage([1, 2])
    found = pickle.loads(multiprocessing.reduction.ForkingPickler.dumps((mine, handle, typed)))
    assert type(found[0]) is Mine and found[0].tolist() == [0, 1, 2] and found[0].is_shared()
    assert found[1].data_ptr() == handle.data_ptr() and type(found[2]) is torch.FloatStorage
    assert found[2].tolist() == [1, 2]


def test_history_does_not_leave():
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor which requires_grad"):
        multiprocessing.reduction.ForkingPickler.dumps(torch.ones(2, requires_grad=True) * 2)


def test_memory_goes_when_both_have_let_go():
    there, back = FORK.Queue(), FORK.Queue()
    process = FORK.Process(target=echo, args=(there, back))
    process.start()
    x = torch.zeros(100_000)
    there.put((x,))
    found = back.get()
    assert len(reductions._known) >= 1
    known = reductions.fd_id(x.storage.owner.descriptor())
    del x, found
    there.put(None)
    process.join()
    there.close()
    there.join_thread()
    assert known not in reductions._known


# The first tensor that is pickled by multiprocessing, before anything of facula's was told of it.
FIRST = """
    import multiprocessing
    import facula as torch

    def child(queue, done, x, model):
        x.add_(1)
        model.weight.data.fill_(3)
        queue.put(torch.ones(2))
        done.wait()

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue, done, x, model = context.Queue(), context.Event(), torch.zeros(3), torch.nn.Linear(2, 1)
        process = context.Process(target=child, args=(queue, done, x, model))
        process.start()
        print(queue.get(timeout=50).tolist(), x.tolist(), model.weight.tolist())
        done.set()
        process.join()
"""


def test_spawned_processes_and_python_alone(tmp_path):
    assert output(script(tmp_path, FIRST)) == "[1.0, 1.0] [1.0, 1.0, 1.0] [[3.0, 3.0]]\n"


ALIAS = """
    import torch
    import torch.multiprocessing as mp
    from torch.utils.data import DataLoader

    def child(rank, x):
        import torch
        assert torch.__name__ == "facula"
        x[rank] = rank + 1.0

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            import torch
            return torch.full((2,), float(index)), torch.__name__

    if __name__ == "__main__":
        x = torch.zeros(2).share_memory_()
        mp.spawn(child, (x,), 2)
        print(x.tolist())
        for method in ("fork", "spawn"):
            for batch, names in DataLoader(Data(), 2, num_workers=1, multiprocessing_context=method):
                print(method, batch.tolist(), names)
"""


def test_children_of_a_program_that_means_pytorch(tmp_path):
    expected = "[1.0, 2.0]\n" + "".join(
        f"{method} [[{a}.0, {a}.0], [{a + 1}.0, {a + 1}.0]] ('facula', 'facula')\n"
        for method in ("fork", "spawn")
        for a in (0, 2)
    )
    assert output(script(tmp_path, ALIAS, "-m", "facula", "run")) == expected


# --- failures of processes


def fail_second(rank):
    if rank == 1:
        raise ValueError("of the second")
    time.sleep(60)


def end_by(rank, how):
    if how > 0:
        os.kill(os.getpid(), how)
    os._exit(-how)


def test_a_process_that_raises():
    began = time.monotonic()
    with pytest.raises(mp.ProcessRaisedException) as caught:
        mp.start_processes(fail_second, nprocs=2, start_method="fork")
    text = str(caught.value)
    assert text.startswith("\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):")
    assert text.endswith("ValueError: of the second\n") and time.monotonic() - began < 20
    assert caught.value.error_index == 1 and caught.value.error_pid > 0
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.error_pid) == (text, caught.value.error_pid)


@pytest.mark.parametrize(
    "how, text, code, name",
    [
        (signal.SIGKILL, "process 0 terminated with signal SIGKILL", -9, "SIGKILL"),
        (-5, "process 0 terminated with exit code 5", 5, None),
    ],
)
def test_a_process_that_ends(how, text, code, name):
    with pytest.raises(mp.ProcessExitedException, match=text) as caught:
        mp.start_processes(end_by, (how,), start_method="fork")
    assert (caught.value.exit_code, caught.value.signal_name) == (code, name)
    assert pickle.loads(pickle.dumps(caught.value)).exit_code == code


def test_joining_is_left_to_the_caller():
    context = mp.start_processes(time.sleep, (), 2, join=False, start_method="fork")
    assert isinstance(context, mp.ProcessContext) and len(context.pids()) == 2
    while not context.join(1):
        pass
    assert context.join() is True
    with pytest.warns(FutureWarning, match="This method only supports start_method=spawn"):
        mp.spawn(print, nprocs=0, start_method="fork")
    with pytest.warns(UserWarning, match="SpawnContext is renamed to ProcessContext"):
        mp.SpawnContext([], [])


# A parent that is killed while two children share its memory: both end, nothing is left.
KILLED = """
    import os, time
    import facula as torch
    import facula.multiprocessing as mp

    def child(rank, x):
        x[rank] = 1
        time.sleep(100)

    if __name__ == "__main__":
        context = mp.start_processes(child, (torch.zeros(2).share_memory_(),), 2, join=False, start_method="fork")
        print(*context.pids(), flush=True)
        context.join()
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_children_end_with_a_killed_parent(tmp_path):
    process = script(tmp_path, KILLED)
    pids = [int(word) for word in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    until = time.monotonic() + 5
    while not all(map(gone, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(pids) == 2 and all(map(gone, pids))
    assert not [name for name in os.listdir("/dev/shm") if "facula" in name]


# --- kernels in children


def test_kernels_in_forked_children():
    """The threads of the parent's kernels do not live in a child; its memory is the child's own."""
    a = torch.randn(600, 600)
    expected = (a @ a).sum().item(), torch.exp(torch.ones(3_000_000)).sum().item()

    def run(queue):
        blocks = [torch.zeros(100_000) for _ in range(10)]
        queue.put(((a @ a).sum().item(), torch.exp(torch.ones(3_000_000)).sum().item(), len(blocks)))

    queue = FORK.Queue()
    processes = [FORK.Process(target=run, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=30) for _ in processes] == [(*expected, 10)] * 2
    for process in processes:
        process.join()
    assert ((a @ a).sum().item(), torch.exp(torch.ones(3_000_000)).sum().item()) == expected


def test_forks_while_other_threads_draw_and_go_backward():
    """No lock that a thread of the parent holds is held in the child."""
    stop, laps = threading.Event(), []

    def busy():
        weight = torch.ones(2_000, requires_grad=True)
        while not stop.is_set():
            torch.rand(200_000)
            weight.sum().backward()
            laps.append(1)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(laps) < 20:  # all is imported: in a child, Python's own locks of imports stay held
        time.sleep(0.01)
    try:
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                torch.manual_seed(1)
                torch.rand(10)
                x = torch.ones(2, requires_grad=True)
                x.sum().backward()
                os._exit(0)
            until = time.monotonic() + 10
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    pytest.fail("the child waits for a lock of a thread that it does not have")
                time.sleep(0.002)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_training_without_locks():
    """Hogwild: processes train one model, whose memory they share."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1).share_memory()
    x = torch.randn(64, 4)
    y = x @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])

    def loss():
        return (model(x) - y).square().mean()

    def train(rank):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    before = loss().item()
    mp.start_processes(train, nprocs=2, start_method="fork")
    assert loss().item() < before / 100


def test_strategies():
    assert mp.get_all_sharing_strategies() == {"file_descriptor", "file_system"}
    assert mp.get_sharing_strategy() == "file_descriptor"
    with pytest.raises(AssertionError, match="invalid sharing strategy 'other', expected one of"):
        mp.set_sharing_strategy("other")
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        mp.set_sharing_strategy("file_system")
        assert mp.get_sharing_strategy() == "file_system"
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])
    finally:
        mp.set_sharing_strategy("file_descriptor")
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_names_of_threads():
    before = mp._get_thread_name()
    mp._set_thread_name("a name that is too long")
    assert mp._get_thread_name() == "a name that is "
    mp._set_thread_name(before)
