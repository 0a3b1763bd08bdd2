"""`torch.compile` and `torch.compiler`: accepted and run eagerly, as is control flow that PyTorch captures (`cond`).

What runs eagerly here is compiled kernel by kernel; recording whole steps is left to `facula.capture`.
"""

import functools
from collections.abc import Callable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.nn import Module

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cond", "cudagraph_mark_step_begin", "disable",
    "get_default_backend", "is_compiling", "is_dynamo_compiling", "is_exporting", "list_backends",
    "nested_compile_region", "reset", "set_default_backend", "set_stance", "while_loop",
]  # fmt: skip

MODES = ("default", "lite", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
BACKENDS = ("cudagraphs", "inductor", "openxla", "tvm")
DEBUGGING = ("aot_eager", "aot_eager_decomp_partition", "eager", "eager_noexcept")
STANCES = ("default", "eager_on_recompile", "fail_on_recompile", "force_eager")
_DEFAULT = ["inductor"]


class OptimizedModule(Module):
    """A compiled module: calls and attributes are those of the module in it, whose keys begin with `_orig_mod.`."""

    def __init__(self, module: Module):
        super().__init__()
        self.__dict__["training"] = module.training
        self._modules["_orig_mod"] = module

    def forward(self, *args, **kwargs):
        """What the module itself returns."""
        return self.__dict__["_orig_mod"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_orig_mod"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ and name != "training":
            super().__setattr__(name, value)
            return
        if name == "training":
            self.__dict__[name] = value
        setattr(self.__dict__["_orig_mod"], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__dict__["_orig_mod"], name)


def compile(
    model: Callable | None = None, *, fullgraph: bool = False, dynamic: bool | None = None,
    backend: str | Callable | None = None, mode: str | None = None, options: dict | None = None,
    name: str | None = None, disable: bool = False, recompile_limit: int | None = None,
    isolate_recompiles: bool = False, shapes_spec: Any = None,
) -> Any:  # fmt: skip
    """A function or module that does what `model` does; calls stay eager.

    Parameters
    ----------
    model : callable or Module, optional
        Without it, a decorator is returned.
    backend : str, optional
        One of PyTorch's, which is accepted; there are no graphs here that a function could be given.
    mode : str, optional
        One of PyTorch's, which is accepted, as all further options are.

    Returns
    -------
    callable or Module
        Of a module, one whose `state_dict` keys begin with `_orig_mod.`, as in PyTorch.

    Raises
    ------
    NotImplementedError
        `backend` is a function.

    Examples
    --------
    >>> import facula as torch
    >>> @torch.compile
    ... def double(x):
    ...     return x * 2
    >>> double(torch.ones(2))
    tensor([2., 2.])
    """
    if mode is not None and options is not None:
        fail(RuntimeError, "Either mode or options can be specified, but both can't be specified at the same time.")
    if mode is not None and mode not in MODES:
        fail(RuntimeError, f"Unrecognized mode={mode}, should be one of: {', '.join(MODES)}")
    if callable(backend):
        fail(
            NotImplementedError,
            "torch.compile(backend=<function>) is not implemented: nothing is traced, so there is no graph to give it",
            mend="leave backend= away",
        )
    if backend is not None and backend not in BACKENDS + DEBUGGING:
        fail(
            RuntimeError,
            f"Invalid backend: {backend!r}, see `torch._dynamo.list_backends()` for available backends.",
            expected=", ".join(BACKENDS + DEBUGGING),
        )
    if model is None:
        return functools.partial(compile, mode=mode, options=options, backend=backend, disable=disable)
    if not callable(model):
        fail(AssertionError, f"A callable function is expected, but {type(model)} is provided.")
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model)
    if isinstance(model, type):  # whose objects are called
        return model

    @functools.wraps(model)
    def compiled(*args, **kwargs):
        return model(*args, **kwargs)

    compiled._torchdynamo_orig_callable = model  # type: ignore[attr-defined]
    return compiled


# --- control flow -------------------------------------------------------------------------------------------------


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: tuple | list = ()) -> Any:
    """`true_fn(*operands)` where `pred` holds, else `false_fn(*operands)`.

    Parameters
    ----------
    pred : bool or Tensor
        One element.

    Examples
    --------
    >>> import facula as torch
    >>> x = torch.tensor([1.0, 2.0])
    >>> torch.cond(x.sum() > 2, lambda x: x + 1, lambda x: x - 1, (x,))
    tensor([2., 3.])
    """
    if isinstance(pred, Tensor) and pred.numel() != 1:
        fail(RuntimeError, f"Expected pred to be bool or single-element tensor, but got {pred}.")
    if not (callable(true_fn) and callable(false_fn)):
        fail(RuntimeError, "Expect both branches to be callable.")
    if not isinstance(operands, (tuple, list)):
        fail(
            RuntimeError,
            "Expect operands to be a tuple of possibly nested dict/list/tuple that only consists of tensor leaves, but "
            f"got {operands}.",
        )
    return (true_fn if pred else false_fn)(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: tuple | list) -> Any:
    """`body_fn(*carried)` again and again as long as `cond_fn(*carried)` holds, each with what the last one returned.

    Examples
    --------
    >>> import facula as torch
    >>> torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), torch.tensor(1.0)))
    (tensor(3), tensor(8.))
    """
    if not (callable(cond_fn) and callable(body_fn)):
        fail(RuntimeError, "Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, (tuple, list)):
        fail(RuntimeError, f"Expect carried_inputs to be a tuple or list, but got {type(carried_inputs)}")
    carried: Any = tuple(carried_inputs)
    while True:
        holds = cond_fn(*(carried if isinstance(carried, (tuple, list)) else (carried,)))
        if isinstance(holds, Tensor) and holds.numel() != 1:
            fail(RuntimeError, f"cond_fn must return a boolean scalar tensor or a boolean but got {holds}")
        if not holds:
            return carried
        carried = body_fn(*(carried if isinstance(carried, (tuple, list)) else (carried,)))


# --- what programs say to PyTorch's compiler ----------------------------------------------------------------------


def _unchanged(text: str) -> Callable:
    def decorate(fn: Any = None, *args, **kwargs) -> Any:
        return (lambda fn: fn) if fn is None else fn

    decorate.__doc__ = text
    return decorate


allow_in_graph = _unchanged("The function itself: nothing is traced.")
assume_constant_result = _unchanged("The function itself: nothing is traced.")
disable = _unchanged("The function itself, which is not compiled; without one, a decorator.")
nested_compile_region = _unchanged("The function itself: nothing is traced.")


def is_compiling() -> bool:
    """False: nothing is traced."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def reset() -> None:
    """Nothing to forget."""


def cudagraph_mark_step_begin() -> None:
    """Nothing to do."""


def list_backends(exclude_tags=("debug", "experimental")) -> list[str]:
    """The backends of PyTorch, whose names are accepted."""
    return sorted(BACKENDS if "debug" in (exclude_tags or ()) else BACKENDS + DEBUGGING)


def get_default_backend() -> Any:
    """What `set_default_backend` was called with, "inductor" at first."""
    return _DEFAULT[0]


def set_default_backend(backend: str | Callable | None) -> None:
    """Accepted: calls stay eager."""
    _DEFAULT[0] = "inductor" if backend is None else backend  # type: ignore[assignment]


class set_stance:
    """Accepted, as a function, a block or a decorator: calls stay eager."""

    def __init__(self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False, force_backend: Any = None):
        if stance not in (*STANCES, "aot_eager_then_compile", "eager_then_compile"):
            fail(RuntimeError, f"invalid torch.compile stance '{stance}'", expected=", ".join(STANCES))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error) -> None:
        pass

    def __call__(self, fn: Callable) -> Callable:
        return fn
