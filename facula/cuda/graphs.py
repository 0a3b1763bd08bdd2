"""`torch.cuda.graphs`: work of the GPU recorded once and started many times."""

import gc
from collections.abc import Callable
from typing import Any

from facula.errors import fail, refusal

from . import memory, streams
from .starting import gpu, is_initialized

__all__ = ["CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing", "make_graphed_callables"]

_get_graph_data = refusal("torch.cuda.CUDAGraph.get_graph_data", "debug_dump writes the nodes of a graph")


def is_current_stream_capturing() -> bool:
    """Whether the work of the current stream is being recorded."""
    return is_initialized() and gpu().stream.capture is not None


def graph_pool_handle() -> tuple[int, int]:
    """The number of a pool of memory that graphs may share: `torch.cuda.graph(..., pool=...)`."""
    from facula.targets.cuda import graphs

    return graphs.shared_number()


class CUDAGraph:
    """Recorded work: `replay` starts all of it in one call, on the memory that it was recorded with.

    Parameters
    ----------
    keep_graph : bool
        Whether the driver's graph is kept after recording, for `raw_cuda_graph` and `debug_dump`; it is then made fit
        to be started by `instantiate`, or by the first `replay`.
    """

    __module__ = "torch.cuda"

    def __init__(self, keep_graph: bool = False):
        from facula.targets.cuda import graphs

        gpu()
        self._own = graphs.Graph(keep_graph)

    def capture_begin(
        self,
        pool: tuple[int, int] | None = None,
        capture_error_mode: str = "global",
        check_input_liveness: bool = False,
    ) -> None:
        """Record the work of the current stream from now on; `torch.cuda.graph` does it for a block."""
        if check_input_liveness:
            refusal("torch.cuda.CUDAGraph.capture_begin(check_input_liveness=True)", "inputs are not followed")()
        self._own.begin(pool, capture_error_mode)

    def capture_end(self) -> None:
        """Stop recording."""
        self._own.end()

    def instantiate(self) -> None:
        """Make a kept graph fit to be started, or fit again after it was changed."""
        self._own.instantiate()

    def replay(self) -> None:
        """Start what was recorded, in the current stream."""
        self._own.replay()

    def reset(self) -> None:
        """Forget what was recorded."""
        self._own.reset()

    def pool(self) -> tuple[int, int]:
        """The number of its memory, which other graphs may share."""
        private = self._own.private
        if not self._own.ended or private is None:
            fail(RuntimeError, "Called CUDAGraph::pool() without a preceding successful capture.")
        return private.number

    def register_generator_state(self, generator: Any) -> None:
        """Random numbers of a generator of the GPU go on with each replay."""
        self._own.register(generator)

    def enable_debug_mode(self) -> None:
        """Keep the driver's graph, for `debug_dump`."""
        self._own.keep_graph = True

    def debug_dump(self, debug_path: str) -> None:
        """Write a kept graph as a DOT file."""
        self._own.dump(debug_path)

    def raw_cuda_graph(self) -> int:
        """The driver's handle of a kept graph."""
        return int(self._own.kept_graph())

    def raw_cuda_graph_exec(self) -> int:
        """The driver's handle of what is started."""
        if self._own.executable is None:
            fail(RuntimeError, "You cannot access the raw cudaGraphExec_t instance until instantiate() has been called")
        return int(self._own.executable)

    get_graph_data = _get_graph_data


class graph:
    """Records the work of a block into a graph, on a stream of its own.

    Parameters
    ----------
    cuda_graph : CUDAGraph
        What comes to hold the work.
    pool : (int, int), optional
        Memory that is shared with other graphs: `graph_pool_handle()`, or `pool()` of a graph.
    stream : Stream, optional
        The stream that is recorded.
    capture_error_mode : str
        Which calls the driver refuses meanwhile: "global", those of all threads that recording cannot see;
        "thread_local", those of this thread; "relaxed", none.
    """

    default_capture_stream: streams.Stream | None = None

    def __init__(
        self, cuda_graph: CUDAGraph, pool: Any = None, stream: streams.Stream | None = None,
        capture_error_mode: str = "global", enable_annotations: bool = False, check_input_liveness: bool = False,
    ):  # fmt: skip
        if enable_annotations:
            refusal("torch.cuda.graph(enable_annotations=True)", "debug_dump shows the nodes of a graph")()
        self.pool, self.cuda_graph, self.capture_error_mode = pool, cuda_graph, capture_error_mode
        self.check_input_liveness = check_input_liveness
        self.capture_stream = self._default() if stream is None else stream
        self.stream_ctx = streams.stream(self.capture_stream)

    @classmethod
    def _default(cls) -> streams.Stream:
        known = cls.default_capture_stream
        if known is None or known._own.device is not gpu():
            known = cls.default_capture_stream = streams.Stream()
        return known

    def __enter__(self) -> None:
        from . import synchronize

        synchronize()
        gc.collect()  # tensors in dead cycles would keep their memory until the graph is gone
        memory.empty_cache()
        self.stream_ctx.__enter__()
        try:
            self.cuda_graph.capture_begin(self.pool, self.capture_error_mode, self.check_input_liveness)
        except BaseException:
            self.stream_ctx.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        try:
            self.cuda_graph.capture_end()
        finally:
            self.stream_ctx.__exit__(*error)


def make_graphed_callables(
    callables: Any, sample_args: Any, num_warmup_iters: int = 3, allow_unused_input: bool = False, pool: Any = None
) -> Any:
    """Functions or modules that run as graphs, forward and backward; one, or a tuple in the order of their use.

    Parameters
    ----------
    callables : Module or function, or tuple of these
        What becomes graphs.
    sample_args : tuple of Tensor, or tuple of these
        Arguments of the shapes, dtypes and `requires_grad` that calls will have.
    num_warmup_iters : int
        Runs before recording.
    allow_unused_input : bool
        Whether inputs may be without influence on the outputs.
    pool : (int, int), optional
        Memory that is shared with other graphs.
    """
    from facula.amp import is_autocast_cache_enabled, is_autocast_enabled

    if is_autocast_enabled() and is_autocast_cache_enabled():
        fail(RuntimeError, "make_graphed_callables does not support the autocast caching. Please set "
             "`cache_enabled=False`.")  # fmt: skip
    alone = not isinstance(callables, tuple)
    several, samples = ((callables,), (sample_args,)) if alone else (callables, sample_args)
    parts = [_Part(function, args, allow_unused_input) for function, args in zip(several, samples)]
    number = graph_pool_handle() if pool is None else pool
    _warm_up(parts, num_warmup_iters)
    for part in parts:  # in the order of their use: a graph's memory may be that of one which is done by then
        part.record_forward(number)
    for part in reversed(parts):
        part.record_backward(number)
    made = tuple([part.callable() for part in parts])
    return made[0] if alone else made


def _warm_up(parts: "list[_Part]", times: int) -> None:
    from . import synchronize

    synchronize()
    with streams.stream(streams.Stream()):
        for part in parts:
            for _ in range(times):
                part.run()
    synchronize()


class _Part:
    """One function or module: what its graphs read and write."""

    def __init__(self, function: Any, args: tuple, allow_unused: bool):
        from facula.core.tensor import Tensor
        from facula.nn import Module
        from facula.utils._pytree import arg_tree_leaves

        self.function, self.args, self.allow_unused = function, args, allow_unused
        self.is_module = isinstance(function, Module)
        if self.is_module:
            if function._backward_hooks or function._forward_hooks or function._forward_pre_hooks:
                fail(
                    AssertionError,
                    "Modules must not have hooks registered at the time they are passed. However, registering hooks on "
                    "modules after passing them through make_graphed_callables is allowed.",
                )
            if any(b.requires_grad for b in function.buffers()):
                fail(AssertionError, "In any :class:`~torch.nn.Module` passed to :func:`~make_graphed_callables`, only "
                     "parameters may be trainable. All buffers must have ``requires_grad=False``.")  # fmt: skip
        self.given = tuple(arg_tree_leaves(*args))
        if not all(isinstance(arg, Tensor) for arg in self.given):
            fail(AssertionError, "In the beta API, sample_args for each callable must contain only Tensors. Other "
                 "types are not allowed.")  # fmt: skip
        self.parameters = tuple(function.parameters()) if self.is_module else ()
        self.inputs = self.given + self.parameters
        self.forward, self.backward = CUDAGraph(), CUDAGraph()

    def _gradients(self, outputs: list, grads: list) -> tuple:
        from facula.autograd import grad

        wanted = [x for x in self.inputs if x.requires_grad]
        return grad(outputs, wanted, grads, only_inputs=True, allow_unused=self.allow_unused)

    def run(self) -> None:
        """Once without a graph: what is made at first use is made now."""
        from facula.operators.creation import empty_like
        from facula.utils._pytree import tree_leaves

        outputs = [x for x in tree_leaves(self.function(*self.args)) if x.requires_grad]
        if outputs:
            self._gradients(outputs, [empty_like(x) for x in outputs])

    def record_forward(self, number: Any) -> None:
        """The graph of the call; its results are `outputs`."""
        from facula.utils._pytree import tree_flatten

        with graph(self.forward, pool=number):
            made = self.function(*self.args)
        outputs, self.spec = tree_flatten(made)
        self.outputs = tuple(outputs)

    def record_backward(self, number: Any) -> None:
        """The graph of the gradients, from `arriving` to `leaving`."""
        from facula.operators.creation import empty_like

        self.arriving = tuple([empty_like(x) if x.requires_grad else None for x in self.outputs])
        found: Any = ()
        if any(x.requires_grad for x in self.outputs):
            with graph(self.backward, pool=number):
                outputs = [x for x in self.outputs if x.requires_grad]
                found = self._gradients(outputs, [x for x in self.arriving if x is not None])
        left = iter(found)
        self.leaving = tuple([next(left, None) if x.requires_grad else None for x in self.inputs])

    def callable(self) -> Any:
        """What runs the graphs; a module keeps itself, with another `forward`."""
        run = self._function()
        if not self.is_module:
            return run
        module, before, training = self.function, self.function.forward, self.function.training

        def forward(*args: Any, **kwargs: Any) -> Any:
            # Recorded in one mode, training or evaluation; the other runs as before.
            return run(*args, **kwargs) if module.training == training else before(*args, **kwargs)

        module.forward = forward
        return module

    def _function(self) -> Callable[..., Any]:
        from facula.autograd import Function
        from facula.autograd.function import once_differentiable
        from facula.utils._pytree import arg_tree_leaves, tree_unflatten

        part = self

        class Graphed(Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Any) -> tuple:
                for own, new in zip(part.given, inputs):  # parameters stay where they are
                    if own.data_ptr() != new.data_ptr():
                        own.detach().copy_(new)
                part.forward.replay()
                return tuple([x.detach() for x in part.outputs])

            @staticmethod
            @once_differentiable
            def backward(ctx: Any, *grads: Any) -> tuple:
                for own, new in zip(part.arriving, grads):
                    if own is not None and own.data_ptr() != new.data_ptr():
                        own.copy_(new)
                part.backward.replay()
                return tuple([x.detach() if x is not None else None for x in part.leaving])

        def run(*args: Any) -> Any:
            out = Graphed.apply(*arg_tree_leaves(*args), *part.parameters)
            return tree_unflatten(list(out) if isinstance(out, tuple) else [out], part.spec)

        return run
