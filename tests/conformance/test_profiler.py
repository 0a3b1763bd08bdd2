"""`torch.profiler` beside PyTorch's: signatures, events of one model, columns of the table, keys of the trace."""

import importlib
import inspect
import json
import re
from collections import Counter

import pytest
import torch as oracle

import facula

# PyTorch's recorders of its own dispatcher, devices and compiler, and imports that are no names of the module.
LEFT_OUT = {
    "profiler": {"itt"},
    "autograd.profiler": {"EnforceUnique", "parse_nvprof_trace", "MemRecordsAcc"},
    "autograd.profiler_util": {"EventMetadata", "StringTable", "MemRecordsAcc"},
}


def at(root, name):
    for part in name.split("."):
        root = getattr(root, part)
    return root


@pytest.mark.parametrize("name", list(LEFT_OUT))
def test_names(name):
    theirs, ours = importlib.import_module(f"torch.{name}"), importlib.import_module(f"facula.{name}")
    wanted = set(getattr(theirs, "__all__", ())) - LEFT_OUT[name]
    assert not [n for n in wanted if not hasattr(ours, n)]


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(
    "name",
    [
        "profiler.profile", "profiler.schedule", "profiler.tensorboard_trace_handler", "profiler.profile.key_averages",
        "profiler.profile.export_chrome_trace", "profiler.profile.export_stacks", "profiler.profile.add_metadata",
        "autograd.profiler.profile", "autograd.profiler.record_function", "autograd.profiler.emit_nvtx",
        "autograd.profiler_util.EventList.table", "autograd.profiler_util.EventList.key_averages",
    ],
)  # fmt: skip
def test_signatures(name):
    assert parameters(at(facula, name)) == parameters(at(oracle, name))


def run(torch, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(), torch.nn.Linear(20, 5))
    x, y = torch.randn(8, 10), torch.randint(0, 5, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], **options) as prof:
        for _ in range(2):
            with torch.profiler.record_function("forward"):
                loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return prof


FULL = {"record_shapes": True, "profile_memory": True, "with_flops": True}


def test_events():
    """The same calls at the top, and the same nodes, in the same order; what is inside of them is each one's own."""

    def top(prof):
        found = [e for e in prof.events() if e.cpu_parent is None or e.cpu_parent.name == "forward"]
        node = "autograd::engine::evaluate_function: "
        names = [e.name for e in found if e.name not in ("[memory]", "aten::ones_like")]
        # A transposed weight has no node here.
        return Counter(n for n in names if n != node + "TBackward0" and n != node + "LogSoftmaxBackward0")

    ours, theirs = run(facula, **FULL), run(oracle, **FULL)
    assert top(ours) == top(theirs)
    for name in ("aten::linear", "aten::relu", "aten::cross_entropy_loss", "AddmmBackward0", "NllLossBackward0",
                 "ReluBackward0", "Optimizer.step#SGD.step", "torch::autograd::AccumulateGrad"):  # fmt: skip
        mine, other = ([e for e in p.events() if e.name == name] for p in (ours, theirs))
        assert len(mine) == len(other) and {e.scope for e in mine} == {e.scope for e in other}, name
        if name.startswith("aten::linear"):
            assert [e.input_shapes for e in mine] == [e.input_shapes for e in other]
        assert set(vars(mine[0])) & {"sequence_nr", "thread", "fwd_thread", "count", "flops", "stack", "kernels"}
    flops = [sum(e.flops or 0 for e in p.events()) for p in (ours, theirs)]
    assert flops[0] == flops[1] - sum(e.flops or 0 for e in theirs.events() if e.name == "aten::add_")


def test_attributes_of_events():
    ours, theirs = run(facula, **FULL), run(oracle, **FULL)
    for mine, other in ((ours.events()[1], theirs.events()[1]), (ours.key_averages()[0], theirs.key_averages()[0])):
        names = {n for n in dir(other) if n[0] != "_"}
        assert not [n for n in names if not hasattr(mine, n)]
    number = re.compile(r"[-\d.]+[a-z]*")
    assert number.sub("#", repr(ours.key_averages()[0])) == number.sub("#", repr(theirs.key_averages()[0]))


@pytest.mark.parametrize("options", [{}, {"record_shapes": True}, {"profile_memory": True}, {"with_flops": True}, FULL])
def test_columns(options):
    def titles(prof):
        table = prof.key_averages(group_by_input_shape=bool(options.get("record_shapes"))).table(row_limit=-1)
        line = next(line for line in table.splitlines() if "Self CPU %" in line)
        return re.split(r"\s{2,}", re.sub(r"Total \w*FLOPs", "Total FLOPs", line.strip()))

    assert titles(run(facula, **options)) == titles(run(oracle, **options))


def test_table_of_the_same_numbers():
    """Both tables of events that have the same numbers are the same text."""
    tables = []
    for util in (facula.autograd.profiler_util, __import__("torch.autograd.profiler_util", fromlist=["x"])):
        events = []
        for number in range(6):
            event = util.FunctionEvent(
                number, f"aten::op{number % 3}" * (1 + 6 * (number % 3 == 2)), 1, number * 1000.0,
                number * 1000.0 + 10.0**number, input_shapes=[[number]], cpu_memory_usage=500 * number,
                flops=1000 * number, stack=[], overload_name="",
            )  # fmt: skip
            events.append(event)
        found = util.EventList(events, profile_memory=True, with_flops=True)
        if util is not facula.autograd.profiler_util:
            found._build_tree()
        tables.append(
            [
                found.table(sort_by="cpu_time_total"), found.key_averages().table(row_limit=2, header="head"),
                found.key_averages(group_by_input_shapes=True).table(time_unit="ms", max_name_column_width=20),
                str(found.total_average()),
            ]
        )  # fmt: skip
    assert tables[0] == tables[1]


def test_trace(tmp_path):
    traces = []
    for torch in (facula, oracle):
        run(torch, **FULL).export_chrome_trace(str(tmp_path / "trace.json"))
        traces.append(json.loads((tmp_path / "trace.json").read_text()))
    ours, theirs = traces
    assert set(theirs) - {"distributedInfo"} <= set(ours)
    for kind in (
        ("X", "cpu_op"),
        ("X", "user_annotation"),
        ("s", "fwdbwd"),
        ("f", "fwdbwd"),
        ("i", "cpu_instant_event"),
    ):
        mine, other = (
            next(e for e in t["traceEvents"] if (e["ph"], e.get("cat")) == kind and e["name"] != "aten::t")
            for t in traces
        )
        assert set(other) <= set(mine), kind
        if kind[1] == "cpu_op":
            assert {
                "External id",
                "Sequence number",
                "Fwd thread id",
                "Input Dims",
                "Input type",
                "Concrete Inputs",
            } <= set(mine["args"]) & set(other["args"])


def test_schedules():
    for options in (
        {"wait": 1, "warmup": 1, "active": 2}, {"wait": 0, "warmup": 2, "active": 1, "repeat": 2, "skip_first": 3},
        {"wait": 5, "warmup": 1, "active": 1, "skip_first": 2, "skip_first_wait": 1},
    ):  # fmt: skip
        ours, theirs = facula.profiler.schedule(**options), oracle.profiler.schedule(**options)
        assert [ours(i).name for i in range(30)] == [theirs(i).name for i in range(30)]


@pytest.mark.parametrize(
    "options",
    [
        {"wait": 1, "warmup": 1, "active": 2, "repeat": 2},
        {"wait": 0, "warmup": 1, "active": 1},
        {"wait": 2, "warmup": 0, "active": 3},
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 3, 4, 9])
@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
def test_cycles(options, steps):
    """How often a trace is ready, at which step, and how many calls it has of each."""
    found = []
    for torch in (facula, oracle):
        ready: list = []

        def handle(prof, ready=ready):
            names = Counter(e.key for e in prof.events())
            ready.append((prof.step_num, names["aten::add"], names["ProfilerStep*"]))

        with torch.profiler.profile(schedule=torch.profiler.schedule(**options), on_trace_ready=handle) as prof:
            for _ in range(steps):
                torch.ones(2) + 1
                prof.step()
        found.append((ready, prof.step_num, prof.current_action.name))
    assert found[0] == found[1]


ERRORS = (
    lambda torch: torch.profiler.profile(activities=[]),
    lambda torch: torch.profiler.profile(activities=["x"]),
    lambda torch: torch.profiler.profile(activities=["x", torch.profiler.ProfilerActivity.CPU]),
    lambda torch: torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU] * 2),
    lambda torch: torch.profiler.profile().key_averages(),
    lambda torch: torch.profiler.profile().events(),
    lambda torch: torch.profiler.profile().export_chrome_trace("x"),
    lambda torch: torch.profiler.profile().export_stacks("x"),
    lambda torch: torch.profiler.schedule(wait=-1, warmup=1, active=1),
    lambda torch: torch.profiler.schedule(wait=1, warmup=1, active=1)(-1),
    lambda torch: torch.profiler.profile(schedule=lambda step: torch.profiler.ProfilerAction.DEVICE_STOPPED),
)


@pytest.mark.parametrize("call", ERRORS)
def test_errors(call):
    found = []
    for torch in (facula, oracle):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            call(torch)
        found.append((type(caught.value), str(caught.value).splitlines()[0].replace("facula", "torch")))
    assert found[0] == found[1]
