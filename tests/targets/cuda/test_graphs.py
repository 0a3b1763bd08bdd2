"""Recorded graphs on the fake driver, which records what streams are given and refuses what the driver refuses."""

import gc
from importlib.util import find_spec

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result
from facula.operators import convolution
from facula.targets.cuda.many import KEPT, many_program
from facula.targets.cuda.memory import pool
from facula.targets.cuda.routines.convolution import _KEPT, Table
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.programs import complaints

cuda = facula.cuda
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")
CAPTURING = "CUDA error: operation not permitted when stream is capturing"
FAILED = "CUDA error: operation failed due to a previous error during capture"


def whole(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def recorded(x):
    """A graph of `x + x + x`, and its result."""
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        assert cuda.is_current_stream_capturing()
        out = x + x + x
    assert not cuda.is_current_stream_capturing()
    return graph, out


def test_memory_that_a_plan_reads_stays_with_the_graph_that_recorded_it(fake):
    x, w, wide = (facula.zeros(*shape).to("cuda") for shape in ((1, 3, 5, 5), (8, 3, 3, 3), (8, 3, 2, 2)))
    graph, retired = cuda.CUDAGraph(), Table.retired
    for _ in range(3):  # by Python, then by machine code
        facula.conv2d(x, w)
    with cuda.graph(graph):
        facula.conv2d(x, w)
    retired.clear()
    for known in (convolution._KNOWN, convolution._PLANS, convolution._SETTINGS, _KEPT):
        known.clear()
    gc.collect()
    assert not retired, "replays read the table"
    graph.reset()
    gc.collect()
    assert len(retired) == 1, "a replay may be under way"
    waits = len(fake.named("cuCtxSynchronize"))
    facula.conv2d(x, wide)
    assert not retired and len(fake.named("cuCtxSynchronize")) > waits


def test_replays_do_what_was_recorded(fake):
    x = facula.zeros(4).to("cuda")
    graph, out = recorded(x)
    launches = len(fake.named("cuLaunchKernel"))
    for value in (1.0, 5.0):
        x.copy_(facula.full((4,), value))
        graph.replay()
        assert out.tolist() == [3 * value] * 4
    assert len(fake.named("cuLaunchKernel")) == launches and len(fake.named("cuGraphLaunch")) == 2
    assert not fake.graphs, "the driver's graph is not kept"
    with cuda.stream(cuda.Stream()):
        graph.replay()
    graph.reset()
    assert not fake.executables
    with pytest.raises(RuntimeError, match="Called CUDAGraph::replay without a preceding successful capture."):
        graph.replay()


def test_memory_stays_with_the_graph(fake):
    x = facula.zeros(1000).to("cuda")
    before = cuda.memory_allocated()
    graph, out = recorded(x)
    private = pool.pool().privates[graph.pool()]
    assert private.uses == 1 and cuda.memory_allocated() == before + 4096 + 512, (
        "and its seed; what lives between is used again"
    )
    segments = cuda.memory_snapshot(graph.pool())
    assert [s["segment_pool_id"] for s in segments] == [graph.pool()] and segments[0]["stream"] != 0
    inside = range(segments[0]["address"], segments[0]["address"] + segments[0]["total_size"])
    assert out.data_ptr() in inside and facula.empty(1000, device="cuda").data_ptr() not in inside
    del out
    cuda.empty_cache()
    assert cuda.memory_snapshot(graph.pool()), "replays write there"
    with cuda.stream(cuda.graph.default_capture_stream):
        assert facula.empty(1000, device="cuda").data_ptr() not in inside
    graph.reset()
    del graph
    cuda.empty_cache()
    assert not any(s["address"] in inside for s in cuda.memory_snapshot())


def test_graphs_share_memory(fake):
    x = facula.zeros(1000).to("cuda")
    number = cuda.graph_pool_handle()
    first, second, third = (cuda.CUDAGraph() for _ in range(3))
    with cuda.graph(first, pool=number):
        a = x + x
        place = a.data_ptr()
        del a
    with cuda.graph(second, pool=first.pool()):
        assert (x + x).data_ptr() == place
    assert first.pool() == second.pool() == number and number[0] == 0
    with cuda.graph(third):
        assert (x + x).data_ptr() != place
    assert third.pool()[1] == 0
    del first
    gc.collect()
    cuda.empty_cache()
    assert cuda.memory_snapshot(number)
    del second
    gc.collect()
    cuda.empty_cache()
    assert not cuda.memory_snapshot(number)


def test_a_whole_training_step(fake):
    """Forward, backward and SGD, which is one launch with a table of addresses: the table stays with the graph."""
    results = []
    for where in ("cpu", "cuda"):
        facula.manual_seed(0)
        weight = facula.randn(4).to(where).requires_grad_()
        data = facula.zeros(4).to(where)
        optimizer = facula.optim.SGD([weight], lr=0.1)

        def step():
            optimizer.zero_grad(set_to_none=False)  # noqa: B023
            loss = (weight * data).sum()  # noqa: B023
            loss.backward()
            optimizer.step()  # noqa: B023
            return loss

        step()
        batches = [facula.full((4,), v) for v in (1.0, 2.0, 3.0)]
        losses = []
        if where == "cpu":
            for batch in batches:
                data.copy_(batch)
                losses.append(step().item())
        else:
            graph = cuda.CUDAGraph()
            with cuda.graph(graph):
                loss = step()
            gc.collect()
            for batch in batches:
                data.copy_(batch)
                graph.replay()
                losses.append(loss.item())
        results.append((losses, weight.detach().cpu().numpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6)


@pytest.mark.skipif(find_spec("cuda") is None, reason="no cuda-bindings here: facula[cuda]")
def test_params_in_memory_compile():
    """The text of a recorded step, with params of every C++ type."""
    kinds = (dt.float32, dt.float64, dt.int64, dt.bool_)
    total = ir.load("x", dt.float32)
    for k, kind in enumerate(kinds):
        total = total + ir.cast(ir.param(f"p{k}", kind), dt.float32)
    params = tuple(Param(f"p{k}", kind) for k, kind in enumerate(kinds))
    kernel = Kernel("late", (Input("x", dt.float32),), (Result("out", dt.float32, total),), params)
    text = many_program(kernel, (0, 1), late=True)
    assert text.text.count("(late + ") == 4 and len(text.takes) == 4
    assert not complaints([text], "sm_80") and not complaints([text], "sm_90")


@pytest.mark.parametrize("amsgrad", [False, True])
def test_recorded_steps_of_adam(fake, amsgrad):
    """Corrections that depend on the step's number, and the learning rate, are those of each replay."""
    results = []
    for where in ("cpu", "cuda"):
        facula.manual_seed(0)
        weight, other = (facula.randn(4).to(where).requires_grad_() for _ in range(2))
        options = {"lr": 0.1, "amsgrad": amsgrad, "capturable": where == "cuda"}
        optimizer = facula.optim.AdamW([weight, other], **options)
        weight.grad, other.grad = facula.full((4,), 0.5).to(where), facula.full((4,), -0.5).to(where)
        optimizer.step()
        graph = cuda.CUDAGraph() if where == "cuda" else None
        if graph is not None:
            with cuda.graph(graph):
                optimizer.step()
            assert optimizer.state[weight]["step"].item() == 1, "nothing was done yet"
        for rate, gradient in ((0.1, 0.5), (0.1, -2.0), (0.02, 1.0)):
            optimizer.param_groups[0]["lr"] = rate
            weight.grad.copy_(facula.full((4,), gradient))
            graph.replay() if graph is not None else optimizer.step()
        waits, launches = len(fake.named("cuStreamSynchronize")), len(fake.named("cuLaunchKernel"))
        optimizer.step()  # and so they go on
        assert len(fake.named("cuLaunchKernel")) == launches + 2 * (where == "cuda"), "all counters in one launch"
        assert len(fake.named("cuStreamSynchronize")) == waits, "the count is not read back"
        assert optimizer.state[weight]["step"].item() == 5
        results.append(facula.cat([weight.detach().cpu(), other.detach().cpu()]).numpy())
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_steps_that_cannot_be_recorded(fake):
    weight = facula.zeros(4).to("cuda").requires_grad_()
    weight.grad = facula.zeros(4).to("cuda")
    optim, own = facula.optim, {"capturable": True}
    for optimizer, error, said in (
        (optim.Adam([weight]), RuntimeError, "Attempting CUDA graph capture of step.. for an instance of Adam but"),
        (optim.Adam([weight], **own), RuntimeError, "the first step of an optimizer cannot be recorded"),
        (optim.NAdam([weight], **own), NotImplementedError, "torch.optim.NAdam.step.. is not implemented"),
    ):
        if "first" not in said:
            optimizer.step()
        graph = cuda.CUDAGraph()
        with cuda.stream(cuda.Stream()):
            graph.capture_begin()
            with pytest.raises(error, match=said):
                optimizer.step()
            graph.reset()
        assert not fake.captures and not fake.graphs, "the driver, too, has stopped to record"


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x.sum().item(), lambda x: x.cpu(), lambda x: cuda.synchronize(), lambda x: x[x > 0],
        lambda x: cuda.current_stream().synchronize(), lambda x: x.copy_(facula.ones(4)),
        lambda x: facula.tensor([1.0], device="cuda"), lambda x: cuda.current_stream().query(),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded(fake, act):
    x = facula.zeros(4).to("cuda")
    graph = cuda.CUDAGraph()
    with pytest.raises(facula.AcceleratorError, match=FAILED) as found, cuda.graph(graph):
        act(x)
    assert CAPTURING in str(found.value.__context__)
    assert not cuda.is_current_stream_capturing() and cuda.current_stream() == cuda.default_stream()
    assert x.tolist() == [0.0] * 4, "the context stays usable"
    again, out = recorded(x)
    again.replay()
    assert out.tolist() == [0.0] * 4


def test_wrong_uses(fake):
    graph = cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="CUDA graphs must be captured on a non-default stream."):
        graph.capture_begin()
    with pytest.raises(RuntimeError, match=r"capture_end\(\) called before capture_begin\(\)."):
        graph.capture_end()
    with pytest.raises(RuntimeError, match=r"Called CUDAGraph::pool\(\) without a preceding successful capture."):
        graph.pool()
    with pytest.raises(RuntimeError, match=r"capture_end\(\) must have been called before calling instantiate"):
        graph.instantiate()
    with cuda.stream(cuda.Stream()):
        with pytest.raises(RuntimeError, match="Unknown capture error mode. Expected `global`, `thread_local`"):
            graph.capture_begin(capture_error_mode="loose")
        graph.capture_begin()
        with cuda.stream(cuda.Stream()), pytest.raises(RuntimeError, match="Capture must end on the same stream"):
            graph.capture_end()
        with pytest.warns(UserWarning, match="The CUDA Graph is empty."):
            graph.capture_end()
        with pytest.raises(RuntimeError, match="This CUDAGraph instance already owns a captured graph."):
            graph.capture_begin()
    with pytest.raises(NotImplementedError, match="check_input_liveness=True"):
        cuda.CUDAGraph().capture_begin(check_input_liveness=True)


def test_kept_graphs(fake, tmp_path):
    x = facula.zeros(4).to("cuda")
    graph = cuda.CUDAGraph(keep_graph=True)
    with cuda.graph(graph):
        x + x
    assert graph.raw_cuda_graph() in fake.graphs and not fake.executables
    with pytest.raises(RuntimeError, match="You cannot access the raw cudaGraphExec_t instance until instantiate"):
        graph.raw_cuda_graph_exec()
    graph.instantiate()
    first = graph.raw_cuda_graph_exec()
    graph.instantiate()
    assert list(fake.executables) == [graph.raw_cuda_graph_exec()] != [first]
    graph.debug_dump(str(tmp_path / "graph.dot"))
    assert (tmp_path / "graph.dot").read_text().startswith("digraph")
    other, _ = recorded(x)
    with pytest.raises(RuntimeError, match="No cudaGraph_t is available"):
        other.debug_dump("nowhere")
    with pytest.raises(RuntimeError, match="only when keep_graph=true"):
        other.instantiate()


def test_streams_that_join(fake):
    """A stream that waits for recorded work is recorded, too, and takes from the same memory."""
    x = facula.full((4,), 2.0).to("cuda")
    side, graph = cuda.Stream(), cuda.CUDAGraph()
    with cuda.graph(graph):
        main = cuda.current_stream()
        a = x + x
        side.wait_stream(main)
        with side:
            assert cuda.is_current_stream_capturing()
            b = a + x
        main.wait_stream(side)
        out = a + b
    with side:
        assert not cuda.is_current_stream_capturing()
    graph.replay()
    assert out.tolist() == [10.0] * 4
    inside = {s["stream"] for s in cuda.memory_snapshot(graph.pool())}
    assert inside == {main.cuda_stream, side.cuda_stream}
    with pytest.raises(facula.AcceleratorError, match="capturing stream has unjoined work"):
        with cuda.graph(cuda.CUDAGraph()):
            side.wait_stream(cuda.current_stream())
            with side:
                x + x


def test_blocks_of_recorded_streams(fake):
    """What another recorded stream uses gets its mark when nothing is recorded any more."""
    side, graph = cuda.Stream(), cuda.CUDAGraph()
    x, other = facula.zeros(4).to("cuda"), facula.zeros(4).to("cuda")
    with cuda.graph(graph):
        main = cuda.current_stream()
        side.wait_stream(main)
        with side:
            x + x
        x.record_stream(side)
        place = x.data_ptr()
        del x
        main.wait_stream(side)
    fake.slow.add(side.cuda_stream)
    with side:
        other.copy_(facula.zeros(4).pin_memory(), non_blocking=True)
    held = [facula.empty(4, device="cuda") for _ in range(4)]
    assert place not in [t.data_ptr() for t in held]
    side.synchronize()
    held += [facula.empty(4, device="cuda") for _ in range(4)]
    assert place in [t.data_ptr() for t in held]


def test_copies_from_pinned_memory(fake):
    source, there = facula.ones(4).pin_memory(), facula.zeros(4).to("cuda")
    back = facula.zeros(4).pin_memory()
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        there.copy_(source, non_blocking=True)
        out = there + there
        back.copy_(out, non_blocking=True)
    place = source.data_ptr()
    source.fill_(4.0)
    del source
    assert facula.empty(4, pin_memory=True).data_ptr() != place, "the graph reads there"
    graph.replay()
    cuda.synchronize()
    assert back.tolist() == [8.0] * 4
    graph.reset()
    assert facula.empty(4, pin_memory=True).data_ptr() == place


def test_checks_in_replays(fake):
    table = facula.ones(3, 2).to("cuda")
    rows = facula.zeros(2, dtype=facula.int64).to("cuda")
    facula.nn.functional.embedding(rows, table)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        facula.nn.functional.embedding(rows, table)
    for bad in (7, 9):
        rows.copy_(facula.tensor([1, bad]))
        graph.replay()
        with pytest.raises(RuntimeError, match="device-side assert triggered") as found:
            cuda.synchronize()
        assert f"embedding: index {bad} is out of range" in whole(found.value)
        assert "test_graphs.py:" in whole(found.value), "the line that was recorded"


def test_random_numbers_go_on(fake):
    """Replays draw what the same calls would have drawn, from the default generator and from one of the program's."""
    own = facula.Generator("cuda")

    def draw():
        return facula.rand(5, device="cuda"), facula.rand(5, device="cuda", generator=own)

    facula.cuda.manual_seed(7)
    own.manual_seed(8)
    wanted = [[t.tolist() for t in draw()] for _ in range(4)]
    facula.cuda.manual_seed(7)
    own.manual_seed(8)
    graph = cuda.CUDAGraph()
    graph.register_generator_state(own)
    with cuda.graph(graph):
        made = draw()
    found = []
    for _ in range(3):
        graph.replay()
        found.append([t.tolist() for t in made])
    found.append([t.tolist() for t in draw()])  # and so they go on
    assert found == wanted
    with pytest.raises(facula.AcceleratorError), cuda.graph(cuda.CUDAGraph()):
        cuda.synchronize()
    with cuda.graph(cuda.CUDAGraph()):
        made[0] + made[0]
        with pytest.raises(RuntimeError, match="Attempt to increase offset for a CUDA generator not in capture mode."):
            facula.rand(5, device="cuda", generator=facula.Generator("cuda"))
    assert len(facula.rand(5, device="cuda").tolist()) == 5, "what failed has left nothing in the generator"
    before = len(fake.named("cuLaunchKernel"))
    plain, _ = recorded(made[0])
    plain.replay()
    assert len(fake.named("cuLaunchKernel")) == before + 2, "who draws nothing writes no seed"


def test_no_memory_left_while_recording(fake):
    kept = facula.empty(30 << 20, dtype=facula.uint8, device="cuda")
    graph = cuda.CUDAGraph()
    with (
        pytest.warns(UserWarning, match="The CUDA Graph is empty"),
        cuda.graph(graph, capture_error_mode="thread_local"),
        pytest.raises(facula.OutOfMemoryError),
    ):
        kept + facula.empty(40 << 20, dtype=facula.uint8, device="cuda")
    graph.reset()
    assert facula.empty(30 << 20, dtype=facula.uint8, device="cuda") is not None


def test_callables_as_graphs(fake):
    facula.manual_seed(0)
    results = []
    for where in ("cpu", "cuda"):
        facula.manual_seed(0)
        weight = facula.nn.Parameter(facula.randn(4).to(where))

        class Scaled(facula.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = weight  # noqa: B023

            def forward(self, x):
                return x * self.weight

        module = Scaled()
        if where == "cuda":
            module = cuda.make_graphed_callables(module, (facula.zeros(4).to("cuda"),))
            launched = len(fake.named("cuGraphLaunch"))
        for value in (1.0, 3.0):
            module(facula.full((4,), value).to(where)).sum().backward()
        if where == "cuda":
            assert len(fake.named("cuGraphLaunch")) == launched + 4, "forward and backward, twice"
            module.eval()
            module(facula.ones(4).to("cuda"))
            assert len(fake.named("cuGraphLaunch")) == launched + 4, "it was recorded in training"
        results.append(weight.grad.cpu().tolist())
    assert results[0] == results[1]
    with pytest.raises(AssertionError, match="sample_args for each callable must contain only Tensors"):
        cuda.make_graphed_callables(lambda x: x, (3,))


def test_tables_of_steps_before_are_not_the_graphs(fake):
    """Optimizers keep tables of addresses from step to step, until there are many."""
    weight = facula.zeros(8).to("cuda").requires_grad_()
    first = weight.grad = facula.ones(8).to("cuda")
    step, graph, side, grads = facula.optim.SGD([weight], lr=1.0).step, cuda.CUDAGraph(), cuda.Stream(), []
    with cuda.stream(side):
        step()
    with cuda.graph(graph, stream=side):
        step()
    with cuda.stream(side):
        for _ in range(2 * KEPT):
            grads.append(facula.full((8,), 2.0).to("cuda"))
            weight.grad = grads[-1]
            step()
    before = weight.detach().clone()
    graph.replay()
    assert weight.tolist() == (before - first).tolist()
