"""`torch.profiler`: what is recorded and when, its tables and files, and that nothing of it stays behind."""

import gzip
import inspect
import json
import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path

import pytest

import facula as torch
from facula.core.modes import LOCAL
from facula.operators import override
from facula.profiler import ProfilerAction, profile, record_function, schedule, tensorboard_trace_handler, watching
from facula.profiler.names import functions

F = torch.nn.functional


def make():
    """A model and a function that trains it for a step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(), torch.nn.Linear(20, 5))
    x, y = torch.randn(8, 10), torch.randint(0, 5, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return step


def codes():
    """The code of everything that a profiler touches."""
    touched = [function for function, _ in functions()] + [row[0] for row in watching._others()]
    return {id(f): (f.__code__, f.__defaults__, f.__kwdefaults__, dict(f.__dict__)) for f in touched}


def names(prof):
    return [event.name for event in prof.events()]


def test_a_training_step():
    step = make()
    with profile(record_shapes=True) as prof:
        step()
    counts = Counter(names(prof))
    for name, count in {
        "aten::linear": 2, "aten::relu": 1, "aten::cross_entropy_loss": 1, "NllLossBackward0": 1, "AddmmBackward0": 2,
        "ReluBackward0": 1, "torch::autograd::AccumulateGrad": 4, "Optimizer.step#SGD.step": 1,
        "Optimizer.zero_grad#SGD.zero_grad": 1, "autograd::engine::evaluate_function: AddmmBackward0": 2,
    }.items():  # fmt: skip
        assert counts[name] == count, name
    (first, _) = (event for event in prof.events() if event.name == "aten::linear")
    assert first.input_shapes == [[8, 10], [20, 10], [20]] and first.cpu_parent is None and first.thread > 0


def test_forward_and_backward_are_linked():
    x = torch.randn(3, requires_grad=True)
    with profile(with_stack=True) as prof:
        y = (x * 2).exp()
        y.sum().backward()
    found = {event.name: event for event in prof.events()}
    for forward, backward in (("aten::mul", "MulBackward0"), ("aten::exp", "ExpBackward0")):
        assert found[forward].sequence_nr == found[backward].sequence_nr >= 0
        assert found[backward].fwd_thread == found[forward].thread and found[backward].scope == 1
        assert found[backward].stack == found[forward].stack
    assert found["aten::mul"].stack[0].startswith(f"{__file__}(") and "test_forward_and_backward" in str(
        found["aten::mul"].stack
    )
    assert found["MulBackward0"].cpu_parent.name == "autograd::engine::evaluate_function: MulBackward0"


def test_what_is_inside_and_times():
    x = torch.randn(64, 64)
    torch.einsum("ij,jk->ik", x, x)
    with profile() as prof:
        with record_function("outer"):
            with record_function("inner"):
                x + 1
            x - 1
    outer, inner, add, sub = prof.events()
    assert [e.cpu_parent for e in (outer, inner, add, sub)] == [None, outer, inner, outer]
    assert outer.cpu_children == [inner, sub] and outer.is_user_annotation and not add.is_user_annotation
    assert outer.self_cpu_time_total == pytest.approx(outer.cpu_time_total - inner.cpu_time_total - sub.cpu_time_total)
    assert outer.time_range.start <= inner.time_range.start <= add.time_range.end <= outer.time_range.end


def test_record_function_decorates_and_costs_nothing_alone():
    @record_function("mine")
    def double(x):
        return x * 2

    assert double(torch.ones(2)).tolist() == [2, 2]
    with profile() as prof:
        double(torch.ones(2))
    assert names(prof) == ["aten::ones", "mine", "aten::mul"]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: x + x, "aten::add"), (lambda x: x.add_(1), "aten::add_"), (lambda x: 2 - x, "aten::rsub"),
        (lambda x: x[0], "aten::select"), (lambda x: x[1:], "aten::slice"), (lambda x: x[:, None], "aten::unsqueeze"),
        (lambda x: x[x > 0], "aten::index"), (lambda x: x.__setitem__(x > 0, 1), "aten::index_put_"),
        (lambda x: x.__setitem__(0, 1), "aten::fill_"), (lambda x: x.float(), "aten::to"),
        (lambda x: x.T, "aten::numpy_T"), (lambda x: x == 1, "aten::eq"),
        (lambda x: x.sum().item(), "aten::item"), (lambda x: F.dropout(x), "aten::dropout"),
        (lambda x: F.interpolate(x[None, None], scale_factor=2, mode="bilinear"), "aten::upsample_bilinear2d"),
        (lambda x: torch.linalg.norm(x), "aten::linalg_norm"), (lambda x: torch.zeros(3), "aten::zeros"),
        (lambda x: torch.cat([x, x]), "aten::cat"), (lambda x: torch.fft.fft(x), "aten::fft_fft"),
    ],
)  # fmt: skip
def test_names_are_pytorchs(call, name):
    x = torch.randn(4, 4)
    with profile() as prof:
        call(x)
    assert [event.name for event in prof.events() if event.cpu_parent is None][-1] == name


def test_silent_questions():
    x = torch.randn(4, 4)
    with profile() as prof:
        (
            x.size(),
            x.shape,
            x.dim(),
            x.numel(),
            x.is_contiguous(),
            x.data_ptr(),
            x.requires_grad,
            x.dtype,
            repr(x.stride()),
        )
    assert names(prof) == []


def test_memory():
    x = torch.randn(1000)
    with profile(profile_memory=True) as prof:
        y = x + 1
        del y
        z = x * 2
    add, freed, mul = prof.events()
    assert (add.name, freed.name, mul.name) == ("aten::add", "[memory]", "aten::mul")
    assert add.cpu_memory_usage == -freed.cpu_memory_usage == mul.cpu_memory_usage == 4096  # a block of the pool
    assert z.numel() == 1000


def test_flops():
    a, b = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    image, kernel = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    with profile(with_flops=True) as prof:
        (a @ b).sum().backward()
        F.conv2d(image, kernel)
        torch.randn(6) * 2
    sums = {average.key: average.flops for average in prof.key_averages()}
    assert sum(sums[n] for n in sums if "mm" in n.lower() or "matmul" in n) == 3 * 2 * 3 * 4 * 5  # each product once
    assert sums["aten::conv2d"] == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3) and sums["aten::mul"] == 6
    assert "Total FLOPs" in prof.key_averages().table()


def test_modules():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    with profile(with_modules=True) as prof:
        model(torch.ones(1, 4))
    inside = {event.name: event for event in prof.events()}
    assert inside["aten::linear"].cpu_parent.name == "nn.Module: Linear"
    assert inside["aten::linear"].module == "Sequential.Linear" and inside["aten::relu"].module == "Sequential.ReLU"


def test_loader():
    with profile() as prof:
        for _ in torch.utils.data.DataLoader(range(2)):
            pass
    assert Counter(names(prof))["enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"] == 3


def test_tables():
    step = make()
    with profile(record_shapes=True, profile_memory=True, with_stack=True) as prof:
        step()
    averages = prof.key_averages()
    lines = averages.table(sort_by="count", row_limit=2, header="A title").splitlines()
    assert lines[1] == "A title" and set(lines[0]) == {"="} and lines[2] == lines[4]
    for title in (
        "Name",
        "Self CPU %",
        "Self CPU",
        "CPU total %",
        "CPU total",
        "CPU time avg",
        "CPU Mem",
        "# of Calls",
    ):
        assert title in lines[3]
    assert lines[5].split()[0] == "[memory]" and "autograd" in lines[6]
    assert len(lines) == 9 and lines[-1].startswith("Self CPU time total: ")
    shaped = prof.key_averages(group_by_input_shape=True)
    assert len(shaped) > len(averages) and "[[8, 10], [20, 10], [20]]" in shaped.table(row_limit=-1)
    assert "Source Location" in prof.key_averages(group_by_stack_n=1).table()
    assert "aten::linear" not in prof.events().table(top_level_events_only=True, row_limit=0)
    assert all(" us" not in line and "ms" in line for line in averages.table(time_unit="ms").splitlines()[3:-2])
    total = averages.total_average()
    assert total.key == "Total" and total.count == len(prof.events())
    assert averages.self_cpu_time_total == pytest.approx(prof.events().self_cpu_time_total)


def test_trace(tmp_path):
    step = make()
    with profile(record_shapes=True, profile_memory=True, with_stack=True) as prof:
        step()
    prof.add_metadata("who", "me")
    prof.add_metadata_json("numbers", "[1, 2]")
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    prof.export_chrome_trace(str(tmp_path / "trace.json.gz"))
    found = json.loads((tmp_path / "trace.json").read_text())
    assert found["schemaVersion"] == 1 and found["who"] == "me" and found["numbers"] == [1, 2]
    assert len(json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]) == len(
        found["traceEvents"]
    )
    calls = [row for row in found["traceEvents"] if row["ph"] == "X" and row["cat"] == "cpu_op"]
    assert all(row["dur"] >= 0 and row["ts"] > 0 and "External id" in row["args"] for row in calls)
    linear = next(row for row in calls if row["name"] == "aten::linear")
    assert linear["args"]["Input Dims"] == [[8, 10], [20, 10], [20]] and linear["args"]["Input type"][0] == "float"
    arrows = Counter(row["id"] for row in found["traceEvents"] if row.get("cat") == "fwdbwd")
    assert len(arrows) == 4 and set(arrows.values()) == {2}  # a start and an end each
    assert any(row["name"] == "[memory]" for row in found["traceEvents"])
    prof.export_stacks(str(tmp_path / "stacks"), "self_cpu_time_total")
    assert all(line.rpartition(" ")[2].isdigit() for line in (tmp_path / "stacks").read_text().splitlines())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(ValueError, match="metric should be one of"):
        prof.export_stacks(str(tmp_path / "stacks"), "nothing")
    with pytest.raises(FileNotFoundError):
        prof.export_chrome_trace(str(tmp_path / "nowhere" / "trace.json"))


def test_schedule():
    actions = [schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=1)(i) for i in range(7)]
    A = ProfilerAction
    assert actions == [A.NONE, A.NONE, A.WARMUP, A.RECORD, A.RECORD_AND_SAVE, A.NONE, A.NONE]
    assert schedule(wait=1, warmup=1, active=1, skip_first_wait=1)(0) is A.WARMUP
    with pytest.raises(AssertionError, match="Invalid profiler schedule arguments. Got wait=-1"):
        schedule(wait=-1, warmup=1, active=1)
    with pytest.warns(UserWarning, match="won't be using warmup"):
        schedule(wait=0, warmup=0, active=1)


def test_steps(tmp_path):
    ready, plain = [], torch.add.__code__
    seen = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=lambda p: ready.append((p.step_num, names(p)))) as prof:
        for _ in range(8):
            seen.append(torch.add.__code__ is plain)
            torch.ones(2) + 1
            prof.step()
    assert seen == [True, True, False, False] * 2  # nothing is installed in steps that are not recorded
    assert [number for number, _ in ready] == [4, 8]
    assert ready[0][1].count("ProfilerStep*") == 2 and ready[0][1].count("aten::add") == 2
    handler = tensorboard_trace_handler(str(tmp_path / "logs"), worker_name="w", use_gzip=True)
    with profile(on_trace_ready=handler):
        torch.ones(2)
    (file,) = (tmp_path / "logs").iterdir()
    assert file.name.startswith("w.") and file.name.endswith(".pt.trace.json.gz")


def test_an_incorrect_schedule_warns():
    actions = [ProfilerAction.RECORD, ProfilerAction.NONE, ProfilerAction.WARMUP, ProfilerAction.NONE]
    with profile(schedule=lambda step: actions[step]) as prof:
        for text in ("RECORD followed by NONE", None, "WARMUP followed by NONE"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                prof.step()
            assert [str(w.message) for w in caught] == ([f"Incorrect schedule: {text}"] if text else [])


# --- nothing stays behind ---------------------------------------------------------------------------------------------


def test_everything_is_restored():
    step = make()
    with profile():
        step()
    before = codes()
    with profile():
        assert codes()[id(torch.add)][0] is not before[id(torch.add)][0]
        assert inspect.signature(torch.add) == inspect.signature(override.WATCHED[torch.add])
        step()
    assert codes() == before and LOCAL.watch is None and not override.WATCHED and not watching._RECORDERS
    from facula.optim import optimizer

    assert not optimizer._GLOBAL_PRE_HOOKS and not optimizer._GLOBAL_POST_HOOKS


def test_exceptions():
    before = codes()
    with pytest.raises(ZeroDivisionError), profile() as prof:
        with record_function("broken"):
            torch.ones(2)
            raise ZeroDivisionError
    assert codes() == before and names(prof) == ["broken", "aten::ones"]
    with profile() as prof:
        with pytest.raises(RuntimeError):
            torch.ones(2) @ torch.ones(3)
        torch.ones(2) + 1
    assert names(prof)[-1] == "aten::add" and prof.events()[-1].cpu_parent is None

    class Broken(torch.optim.SGD):
        def step(self, closure=None):
            raise KeyError("step")

    optimizer = Broken([torch.ones(2, requires_grad=True)], lr=1)
    with profile() as prof:
        with pytest.raises(KeyError):
            optimizer.step()
        with record_function("after"):
            pass
    assert [e.name for e in prof.events()][0] == "Optimizer.step#Broken.step" and codes() == before


def test_nested():
    before = codes()
    with profile() as outer:
        torch.ones(2)
        with profile() as inner:
            torch.ones(2) + 1
        torch.ones(2) * 2
    assert names(inner) == ["aten::ones", "aten::add"]
    assert names(outer) == ["aten::ones", "aten::ones", "aten::add", "aten::ones", "aten::mul"] and codes() == before


def test_threads():
    before, found, go = codes(), {}, threading.Barrier(2)

    def work(name, times):
        with profile() as prof:
            go.wait()
            for _ in range(times):
                torch.ones(2) + 1
            go.wait()
        found[name] = names(prof)

    threads = [threading.Thread(target=work, args=(n, n)) for n in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: ["aten::ones", "aten::add"] * n for n in (3, 5)} and codes() == before
    with profile() as prof:
        other = threading.Thread(target=lambda: torch.ones(2) + 1)
        other.start()
        other.join()
    assert names(prof) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_is_not_recorded():
    before = torch.add.__code__
    with profile() as prof:
        child = os.fork()
        if not child:
            torch.ones(2) + 1
            fine = torch.add.__code__ is before and LOCAL.watch is None and not watching._RECORDERS
            os._exit(0 if fine else 1)
        assert os.waitpid(child, 0)[1] == 0
        torch.zeros(2)
    assert names(prof) == ["aten::zeros"]


def test_lists_with_gaps():
    x = torch.randn(4, 4)
    with profile(record_shapes=True, with_flops=True) as prof:
        x[:, None], x[torch.tensor([0]), :], torch.cat([x, x]), torch.nn.utils.clip_grad_norm_([x], 1.0)
        torch.index_put(x, (torch.tensor([1]),), torch.ones(4))
    cat = next(e for e in prof.events() if e.name == "aten::cat")
    assert cat.input_shapes == [[]] and cat.structured_input_shapes == [[[4, 4], [4, 4]]]
    assert watching.specs(((x, None, [x]),)) == ((x.spec, None, (x.spec,)),)
    from facula.profiler import events, work

    assert events._shape((x.spec, None, (x.spec,))) == [[4, 4], [], [[4, 4]]] and len(work.flat(((x.spec, None),))) == 1


def test_autocast_that_comes_while_it_looks():
    x = torch.randn(3, 3)
    with profile() as prof:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (x @ x).dtype is torch.bfloat16
        assert (x @ x).dtype is torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype is torch.bfloat16
    assert [e.name for e in prof.events() if e.cpu_parent is None].count("aten::matmul") == 2


def test_results_are_the_same():
    x = torch.randn(5, 5, requires_grad=True)

    def compute():
        x.grad = None
        torch.manual_seed(1)
        y = F.dropout(torch.softmax(x @ x.T, 1), 0.5)
        y.logsumexp(0).sum().backward()
        return y.detach().clone(), x.grad.clone()

    plain = compute()
    with profile(record_shapes=True, profile_memory=True, with_stack=True, with_flops=True, with_modules=True):
        watched = compute()
    assert all(torch.equal(a, b) for a, b in zip(plain, watched))


FIRST_SUBCLASS = """
import facula as torch
before = torch.add.__code__
with torch.profiler.profile():
    class Mine(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return "taken", func.__name__
    mine = torch.ones(2).as_subclass(Mine)
    assert torch.add(mine, 1) == ("taken", "add")
assert torch.add(mine, 1) == ("taken", "add") and torch.add.__code__ is not before
asking = torch.add.__code__
assert (torch.ones(2) + 1).tolist() == [2, 2]
with torch.profiler.profile() as prof:
    torch.add(torch.ones(2), 1)
assert [event.name for event in prof.events()] == ["aten::ones", "aten::add"] and torch.add.__code__ is asking
"""


def test_subclasses_that_come_while_it_looks():
    """The first subclass of a process changes all public functions for good, here while a profiler has changed them."""
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run([sys.executable, "-c", FIRST_SUBCLASS], capture_output=True, text=True, env=environ)
    assert (found.returncode, found.stderr) == (0, "")


def test_errors():
    with pytest.raises(AssertionError, match="No valid profiler activities found"):
        profile(activities=[])
    with pytest.raises(AssertionError, match="before accessing events"):
        profile().events()
    with pytest.raises(TypeError, match="Expected ProfilerActivity or dict"):
        profile(activities=[torch.profiler.ProfilerActivity.CPU, "CUDA"])
    with pytest.raises(NotImplementedError, match="dispatcher"):
        torch.profiler.ExecutionTraceObserver()


def test_autograd_profiler():
    module = torch.autograd.profiler
    with module.profile(record_shapes=True) as prof:
        torch.ones(2) + 1
    assert [e.name for e in prof.function_events] == ["aten::ones", "aten::add"] and "aten::add" in str(prof)
    with pytest.raises(RuntimeError, match="Profiler context manager is not reentrant"), prof:
        pass
    with module.profile(enabled=False) as nothing:
        torch.ones(2)
    assert nothing is None
    with pytest.raises(RuntimeError, match="NVTX functions not installed"), module.emit_nvtx():
        pass
    assert torch.autograd.profiler_util.EventList is type(prof.function_events)
    with module.profile() as prof:
        prof.toggle_collection_dynamic(False, [module.ProfilerActivity.CPU])
        torch.ones(2)
        prof.toggle_collection_dynamic(True, [module.ProfilerActivity.CPU])
        torch.zeros(2)
    assert [e.name for e in prof.function_events] == ["aten::zeros"]
