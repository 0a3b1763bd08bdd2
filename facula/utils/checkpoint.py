"""Parts of a model whose inner values are not kept for backward but computed again; as `torch.utils.checkpoint`."""

import contextlib
import enum
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from facula import autograd
from facula.autograd import Function, enable_grad, no_grad, saved_tensors_hooks
from facula.core.generator import restore, snapshot
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.streams import get_device_module
from facula.utils._pytree import tree_leaves, tree_map

__all__ = [
    "CheckpointError", "CheckpointFunction", "CheckpointPolicy", "DefaultDeviceType", "GraphExecGroup",
    "SAC_IGNORED_OPS", "SelectiveCheckpointContext", "check_backward_validity", "checkpoint",
    "checkpoint_sequential", "create_selective_checkpoint_contexts", "detach_variable", "get_device_states",
    "noop_context_fn", "set_checkpoint_debug_enabled", "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip


class CheckpointError(RuntimeError):
    """What was computed again is not what was computed at first."""


class _Options:
    debug: bool | None = None
    early_stop: bool | None = None


_OPTIONS = _Options()


@contextlib.contextmanager
def _option(name: str, value: Any) -> Iterator[None]:
    before = getattr(_OPTIONS, name)
    setattr(_OPTIONS, name, value)
    try:
        yield
    finally:
        setattr(_OPTIONS, name, before)


def set_checkpoint_debug_enabled(enabled: bool | None):
    """A block that overrides the `debug` of checkpoints."""
    return _option("debug", enabled)


def set_checkpoint_early_stop(enable: bool):
    """A block that overrides the `early_stop` of checkpoints."""
    return _option("early_stop", enable)


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def detach_variable(inputs: tuple) -> tuple:
    """The inputs without their history, needing gradients as before."""
    if not isinstance(inputs, tuple):
        raise RuntimeError("Only tuple of tensors is supported. Got Unsupported input type: ", type(inputs).__name__)
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)  # type: ignore[attr-defined]


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where none of the inputs needs a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):  # type: ignore[attr-defined]
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


SAC_IGNORED_OPS: set[Any] = set()  # PyTorch lists entries of `torch.ops.aten` here, which facula has none of


class DefaultDeviceType:
    """The type of device whose random state is kept where no argument says another one."""

    _kind: str | None = None

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Change it."""
        DefaultDeviceType._kind = device

    @staticmethod
    def get_device_type() -> str:
        """What it is: that of the machine, "cpu", at first."""
        return DefaultDeviceType._kind or "cpu"


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The numbers and random states of the devices of the arguments; the processor's own is not among them."""
    devices: list[int] = []

    def visit(x: Any) -> Any:
        if isinstance(x, Tensor) and x.device.type not in ("cpu", "meta"):  # type: ignore[attr-defined]
            devices.append(x.get_device())  # type: ignore[attr-defined]
        return x

    tree_map(visit, args)
    module = _device_module(args)
    return devices, [module.get_rng_state(device) for device in devices]


def set_device_states(devices: Iterable[int], states: Iterable[Tensor], *, device_type: str | None = None) -> None:
    """Give devices the random states that `get_device_states` found."""
    kind = device_type or DefaultDeviceType.get_device_type()
    if kind == "meta":
        return
    for device, state in zip(devices, states, strict=False):
        get_device_module(kind).set_rng_state(state, device)


def _device_module(args: Any) -> Any:
    kinds = [x.device.type for x in tree_leaves(args) if isinstance(x, Tensor) and x.device.type not in ("cpu", "meta")]
    return get_device_module(kinds[0] if kinds else "cpu")


class GraphExecGroup:
    """Accepted: in several backwards of one group a part is computed again for each, with the same result."""

    _current: "GraphExecGroup | None" = None

    def __enter__(self) -> "GraphExecGroup":
        if GraphExecGroup._current is not None:
            raise RuntimeError(
                f"GraphExecGroup contexts cannot be nested. Already inside group {GraphExecGroup._current}"
            )
        GraphExecGroup._current = self
        return self

    def __exit__(self, *error: object) -> None:
        GraphExecGroup._current = None


class _Surroundings:
    """The random state and autocast of a forward run, for running it again."""

    def __init__(self, preserve_rng_state: bool):
        self.states = snapshot() if preserve_rng_state else None
        self.autocast = LOCAL.autocast

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        now = snapshot() if self.states is not None else None
        if self.states is not None:
            restore(self.states)
        before, LOCAL.autocast = LOCAL.autocast, self.autocast
        try:
            yield
        finally:
            LOCAL.autocast = before
            if now is not None:
                restore(now)


class CheckpointFunction(Function):
    """The reentrant form: backward runs the function again, and a backward of its own through it."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        if not any(isinstance(x, Tensor) and x.requires_grad for x in args):  # type: ignore[attr-defined]
            warnings.warn(
                "None of the inputs have requires_grad=True. Gradients will be None", UserWarning, stacklevel=3
            )
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve_rng_state)
        ctx.inputs = [None if isinstance(x, Tensor) else x for x in args]
        ctx.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx, *grads):
        inputs = list(ctx.inputs)
        for i, x in zip(ctx.places, ctx.saved_tensors):
            inputs[i] = x
        detached = detach_variable(tuple(inputs))
        with ctx.surroundings.again(), enable_grad():
            outputs = ctx.run_function(*detached)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        pairs = [(o, g) for o, g in zip(outputs, grads) if isinstance(o, Tensor) and o.requires_grad]  # type: ignore[attr-defined]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *[x.grad if isinstance(x, Tensor) else None for x in detached])  # type: ignore[attr-defined]


class _Stop(Exception):
    """All kept values are there again."""


class _Frame:
    """One checkpoint: how many values were kept, and what they are when computed again."""

    def __init__(self, run: Callable, surroundings: _Surroundings, context: Any, early_stop: bool, check: bool):
        self.run, self.surroundings, self.context = run, surroundings, context
        self.early_stop, self.check = early_stop, check
        self.kept: list[Any] = []  # what is known of each kept value: shape, dtype, device
        self.values: dict[int, Tensor] = {}

    def pack(self, x: Tensor) -> int:
        self.kept.append((x.spec.shape, x.spec.dtype, x.spec.device))
        return len(self.kept) - 1

    def unpack(self, number: int) -> Tensor:
        if number not in self.values:
            self._again()
        if number not in self.values:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.kept)}\nNumber of tensors saved "
                f"during recomputation: {len(self.values)}"
            )
        return self.values.pop(number)

    def _again(self) -> None:
        count = 0

        def keep(x: Tensor) -> Tensor:
            nonlocal count
            self.values[count] = x.detach()  # type: ignore[attr-defined]
            count += 1
            if self.early_stop and count == len(self.kept):
                raise _Stop
            return x

        with contextlib.suppress(_Stop):
            with self.surroundings.again(), self.context, enable_grad(), saved_tensors_hooks(keep, lambda x: x):
                self.run()
        if self.check:
            self._compare()

    def _compare(self) -> None:
        wrong = []
        for number, value in self.values.items():
            found = (value.spec.shape, value.spec.dtype, value.spec.device)
            if number < len(self.kept) and found != self.kept[number]:
                wrong.append((number, self.kept[number], found))
        if wrong:
            lines = [
                f"tensor at position {i}:\nsaved metadata: {_shown(a)}\nrecomputed metadata: {_shown(b)}"
                for i, a, b in wrong
            ]
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                "during the forward pass.\n" + "\n".join(lines)
            )


def _shown(meta: tuple) -> dict:
    return {"shape": meta[0], "dtype": meta[1], "device": meta[2]}


def checkpoint(
    function: Callable, *args: Any, use_reentrant: bool | None = None, context_fn: Callable = noop_context_fn,
    determinism_check: str = "default", debug: bool = False, early_stop: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """`function(*args)` without keeping what backward needs of its inside: backward runs it again.

    Parameters
    ----------
    use_reentrant : bool
        False is the better form: it works with `autograd.grad`, keywords, and nested containers.
    preserve_rng_state : bool
        Draw the same random numbers again. Default: True.
    context_fn : function that returns two contexts, for the run and for the run in backward
    determinism_check : "default" compares shapes and dtypes of both runs, "none" does not
    early_stop : end the second run as soon as all kept values are there

    Examples
    --------
    >>> import facula as torch
    >>> from facula.utils.checkpoint import checkpoint
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False).sum().backward()
    >>> torch.allclose(x.grad, (x.sin().exp() * x.cos()).detach())
    True
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but "
            "if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs and use_reentrant:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if use_reentrant:
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    first, second = context_fn()
    stop = early_stop if _OPTIONS.early_stop is None else _OPTIONS.early_stop
    frame = _Frame(
        lambda: function(*args, **kwargs), _Surroundings(preserve), second, stop, determinism_check == "default"
    )
    with saved_tensors_hooks(frame.pack, frame.unpack), first:
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """A sequence of modules in `segments` checkpoints; the last segment keeps its values."""
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. In "
            "version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
            "Refer to docs for more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    parts = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(start: int, end: int) -> Callable:
        def forward(x):
            for part in parts[start : end + 1]:
                x = part(x)
            return x

        return forward

    size = len(parts) // segments
    end = -1
    for start in range(0, size * (segments - 1), size):
        end = start + size - 1
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return run(end + 1, len(parts) - 1)(input)


class CheckpointPolicy(enum.Enum):
    """What a selective checkpoint does with an operator's results."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3


class SelectiveCheckpointContext:
    """What a policy of selective checkpoints is told."""

    def __init__(self, *, is_recompute: bool, **_: Any):
        self.is_recompute = is_recompute


def create_selective_checkpoint_contexts(policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False) -> Any:
    """NotImplementedError: policies choose among `torch.ops.aten`, which facula does not have."""
    fail(
        NotImplementedError,
        "create_selective_checkpoint_contexts chooses among operators of torch.ops.aten, which facula does not have",
        mend="checkpoint smaller parts of the model, with use_reentrant=False",
    )
