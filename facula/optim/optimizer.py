"""The contract of optimizers (groups, state, hooks, state dicts) and the one place where their rules are applied.

A rule is a plain function for one element (see `sgd.py`); `RuleOptimizer` collects parameters, gradients and state,
and `apply_rules` runs the rule on all of them.
"""

import ctypes
import inspect
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from facula import launch
from facula.autograd import enable_grad
from facula.core.device import CPU
from facula.core.dtype import float32, float64
from facula.core.tensor import Tensor
from facula.errors import fail, refusal
from facula.nn.module import typename, zero_grads
from facula.operators import tensor, zeros_like
from facula.operators.promotion import DEFAULT
from facula.utils.hooks import RemovableHandle

from .rule import Held, Refreshed, advance, apply_rules

__all__ = ["Optimizer", "RuleOptimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

_GLOBAL_PRE_HOOKS: OrderedDict[int, Callable] = OrderedDict()
_GLOBAL_POST_HOOKS: OrderedDict[int, Callable] = OrderedDict()
CELLS = {float32: ctypes.c_float, float64: ctypes.c_double}  # how a step's count lies in memory
CAPTURABLE_DEVICES = ["cuda", "xpu", "hpu", "privateuseone", "xla"]
FUSED_DEVICES = ["cuda", "cpu"]


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()  # a default that says: each group must give this option


def _add(table: OrderedDict, hook: Callable, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before the step of every optimizer; a pair that it returns replaces them."""
    return _add(_GLOBAL_PRE_HOOKS, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after the step of every optimizer."""
    return _add(_GLOBAL_POST_HOOKS, hook)


def _with_hooks(step: Callable) -> Callable:
    """`step` with the hooks around it; also notes for the schedulers that it was called."""

    def wrapper(self, *args, **kwargs):
        self._opt_called = True
        if not (
            _GLOBAL_PRE_HOOKS or _GLOBAL_POST_HOOKS or self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        ):
            return step(self, *args, **kwargs)
        # hooks see the arguments as PyTorch shows them: with the optimizer in front
        args = (self, *args)
        for hook in chain(_GLOBAL_PRE_HOOKS.values(), self._optimizer_step_pre_hooks.values()):
            new = hook(self, args, kwargs)
            if new is not None:
                if not (isinstance(new, tuple) and len(new) == 2):
                    fail(RuntimeError, f"{step} must return None or a tuple of (new_args, new_kwargs), but got {new}.")
                args, kwargs = new
        result = step(*args, **kwargs)
        for hook in chain(self._optimizer_step_post_hooks.values(), _GLOBAL_POST_HOOKS.values()):
            hook(self, args, kwargs)
        return result

    wrapper.__name__, wrapper.__qualname__, wrapper.__doc__ = step.__name__, step.__qualname__, step.__doc__
    wrapper.__wrapped__ = step
    wrapper.__signature__ = inspect.signature(step)
    wrapper.hooked = True
    return wrapper


class Optimizer:
    """Base class of all optimizers; a subclass defines `step`.

    Parameters
    ----------
    params : iterable
        Tensors, or pairs (name, tensor), or dicts that each describe a group: `params` and options of its own.
    defaults : dict
        The options of groups that do not give them.

    Attributes
    ----------
    param_groups : list of dict
    state : dict
        For each parameter a dict of what the rule remembers.
    """

    _HOOK_TABLES = (
        "_optimizer_step_pre_hooks",
        "_optimizer_step_post_hooks",
        "_optimizer_state_dict_pre_hooks",
        "_optimizer_state_dict_post_hooks",
        "_optimizer_load_state_dict_pre_hooks",
        "_optimizer_load_state_dict_post_hooks",
    )
    _step_supports_amp_scaling: bool  # whether `step` heeds `found_inf` and `grad_scale`
    _optimizer_step_pre_hooks: OrderedDict[int, Callable]
    _optimizer_step_post_hooks: OrderedDict[int, Callable]
    _optimizer_state_dict_pre_hooks: OrderedDict[int, Callable]
    _optimizer_state_dict_post_hooks: OrderedDict[int, Callable]
    _optimizer_load_state_dict_pre_hooks: OrderedDict[int, Callable]
    _optimizer_load_state_dict_post_hooks: OrderedDict[int, Callable]

    OptimizerPreHook = OptimizerPostHook = Callable  # names of types in PyTorch
    profile_hook_step = staticmethod(_with_hooks)

    def __init__(self, params: Iterable, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for name in self._HOOK_TABLES:
            setattr(self, name, OrderedDict())
        self._patch_step_function()
        if isinstance(params, Tensor):
            fail(
                TypeError,
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + typename(params),
                mend="pass a list: [tensor]",
            )
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            fail(
                ValueError,
                "optimizer got an empty parameter list",
                mend="parameters() can be iterated once: pass it directly",
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _patch_step_function(self) -> None:
        step = type(self).step
        if not getattr(step, "hooked", False):
            type(self).step = _with_hooks(step)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in self._HOOK_TABLES:
            self.__dict__.setdefault(name, OrderedDict())
        self._patch_step_function()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"

    # --- hooks

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; a pair that it returns replaces them."""
        return _add(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return _add(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return _add(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; a result that is not None replaces it."""
        return _add(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; a result that is not None replaces the dict."""
        return _add(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return _add(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # --- groups and gradients

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with `params` and any options that differ from the defaults."""
        if not isinstance(param_group, dict):
            fail(TypeError, f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            fail(
                TypeError,
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead.",
            )
        entries = [params] if isinstance(params, Tensor) else list(params)
        names = [entry[0] for entry in entries if isinstance(entry, tuple)]
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
        if names and len(names) != len(params):
            fail(ValueError, "all optimizer params should be with/without names. Some param names are missing")
        for param in params:
            if not isinstance(param, Tensor):
                fail(TypeError, "optimizer can only optimize Tensors, but one of the params is " + typename(param))
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                fail(ValueError, "can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                fail(ValueError, f"parameter group didn't specify a value of required optimization parameter {name}")
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        for group in self.param_groups:
            if bool(names) != ("param_names" in group):
                fail(
                    ValueError,
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{'with names' if names else 'without names'} to the optimizer",
                )
        if not set(params).isdisjoint(param for group in self.param_groups for param in group["params"]):
            fail(ValueError, "some parameters appear in more than one parameter group")
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        zero_grads([param for group in self.param_groups for param in group["params"]], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once; `closure`, if given, evaluates the model and returns the loss."""
        raise NotImplementedError

    # --- state dicts

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups, with parameters replaced by their numbers."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            for i, param in enumerate(group["params"], start):
                numbers.setdefault(id(param), i)
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            start += len(packed["params"])
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            new = hook(self, result)
            if new is not None:
                result = new
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state and the options of a `state_dict`; parameters are matched by position."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            new = hook(self, state_dict)
            if new is not None:
                state_dict = new
        groups = self.param_groups
        saved = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            fail(
                ValueError,
                "loaded state dict has a different number of parameter groups",
                expected=len(groups),
                got=len(saved),
            )
        sizes, saved_sizes = ([len(group["params"]) for group in some] for some in (groups, saved))
        if sizes != saved_sizes:
            fail(
                ValueError,
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group",
                expected=sizes,
                got=saved_sizes,
            )
        param_of, group_of = {}, {}
        for group, saved_group in zip(groups, saved):
            for number, param in zip(saved_group["params"], group["params"]):
                param_of[number] = param
                group_of.setdefault(number, saved_group)
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in param_of:
                state[param_of[key]] = _cast_state(param_of[key], value, group_of[key])
            else:
                state[key] = value
        for group, saved_group in zip(groups, saved):
            saved_group["params"] = group["params"]
            if "param_names" in group:
                saved_group.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)


def _cast_state(param: Tensor, value: Any, group: dict, key: Any = None) -> Any:
    """A loaded state with its tensors on the parameter's device and of its dtype (`step` keeps its own)."""
    if isinstance(value, Tensor):
        if key == "step":
            where = group.get("capturable") or group.get("fused")
            return value.to(dtype=float32, device=param.device) if where else value
        return value.to(dtype=param.dtype if param.is_floating_point() else None, device=param.device)
    if isinstance(value, dict):
        return {name: _cast_state(param, item, group, name) for name, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        make: Any = type(value)
        return make(_cast_state(param, item, group) for item in value)
    return value


def check_range(value: Any, valid: bool, what: str) -> None:
    """ValueError `Invalid <what>: <value>` unless `valid`."""
    if not valid:
        fail(ValueError, f"Invalid {what}: {value}")


def check_lr(lr: Any, wrong: str = "Invalid learning rate: ") -> None:
    """The checks that all optimizers make of their learning rate."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        fail(ValueError, "Tensor lr must be 1-element", got=f"shape {tuple(lr.shape)}")
    if not lr >= 0.0:
        fail(ValueError, f"{wrong}{lr}")


def check_betas(betas: Any) -> None:
    """ValueError unless both averages keep a part of what they have."""
    for i, beta in enumerate(betas):
        check_range(beta, 0.0 <= beta < 1.0, f"beta parameter at index {i}")


def check_fused(optimizer: Optimizer, fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """The checks of the implementation flags; there is one implementation, which with `fused` heeds a `GradScaler`."""
    if fused:
        optimizer._step_supports_amp_scaling = True
    if fused and differentiable:
        fail(RuntimeError, "`fused` does not support `differentiable`")
    if fused and foreach:
        fail(RuntimeError, "`fused` and `foreach` cannot be `True` together.")


def check_dense(optimizer: Optimizer, param: Tensor) -> None:
    """RuntimeError for a gradient or a parameter that the compositions do not know."""
    name = type(optimizer).__name__
    if param.is_complex():
        fail(RuntimeError, f"{name} does not support complex parameters")
    if param.grad is not None and param.grad.is_sparse:
        fail(RuntimeError, f"{name} does not support sparse gradients")


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """The loss that a step's closure returns; None without one."""
    if closure is None:
        return None
    with enable_grad():
        return closure()


def number(value: Any) -> Any:
    """A Python number, of a number or a tensor with one element."""
    return value.item() if isinstance(value, Tensor) else float(value)


def new_step(group: dict, param: Tensor) -> Tensor:
    """The step counter of a parameter: a 0-d tensor, on the CPU unless the group is fused or capturable."""
    if group.get("fused") or group.get("capturable"):
        return tensor(0.0, dtype=float32 if group.get("fused") else DEFAULT.float, device=param.device)
    return tensor(0.0, dtype=DEFAULT.float)


class RuleOptimizer(Optimizer):
    """An optimizer that is a rule: the subclass says what the rule is, what it remembers and what it is given.

    A subclass has `rule` (see `rule.py`), `state_names(group)`, `new_state(group, param)`, `options(group)` (what
    selects branches of the rule) and `scalars(group, step)` (numbers that the rule gets, for the step's count). One
    whose state holds numbers too has `numbers(group, state, step)`: `scalars` gets them as further arguments.
    """

    rule: Callable
    numbers: Callable[..., tuple[float, ...]] | None = None  # bring the numbers of a state up to date and return them
    number_names: tuple[str, ...] = ()  # what the state calls them
    counts_steps = True  # whether the state has `step`
    complex_as_real = True  # whether complex parameters are seen as pairs of real ones
    no_sparse = ""  # what PyTorch says of sparse gradients, where that is not the usual
    takes_sparse = False  # whether the rule may be applied to the elements of a sparse gradient alone
    old_options: dict[str, Any] = {}  # noqa: RUF012 - options that old state dicts lack

    def state_names(self, group: dict) -> tuple[str, ...]:
        """The tensors that the rule remembers, in the order of its arguments."""
        raise NotImplementedError

    def new_state(self, group: dict, param: Tensor) -> dict[str, Tensor]:
        """The state of a parameter before its first step."""
        state = {"step": new_step(group, param)}
        state.update((name, zeros_like(param)) for name in self.state_names(group))
        return state

    def options(self, group: dict) -> dict[str, Any]:
        """Keyword arguments of the rule that select its branches."""
        raise NotImplementedError

    def scalars(self, group: dict, step: Any, *numbers: float) -> dict[str, Any]:
        """Keyword arguments of the rule that are numbers; `step` counts from 1, `numbers` are the state's."""
        raise NotImplementedError

    def __init__(self, params: Iterable, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self._counters: dict[Tensor, tuple] = {}
        self._numbers: dict[Tensor, tuple] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._counters = {}
        self._numbers = {}
        for group in self.param_groups:
            for name, value in self.old_options.items():
                group.setdefault(name, value)
            for param in group["params"] if self.counts_steps else ():
                known = self.state.get(param) or {}
                for name in ("step", *self.number_names) if known else ():
                    if not isinstance(known[name], Tensor):  # a number in files of old versions
                        known[name] = new_step(group, param).fill_(float(known[name]))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss.

        Returns
        -------
        The result of `closure`, or None.
        """
        loss = None if closure is None else evaluate(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict) -> None:
        names = self.state_names(group)
        options = self.options(group)
        first = {**options, "first": True}  # of parameters whose state the rule fills from the gradient
        remembers = bool(names) or self.counts_steps
        checked = group.get("fused") or group.get("capturable")
        recorded = self._recorded(group)
        held, shared = self._held(group)
        later: list[tuple[Tensor, tuple, Tensor]] = []  # of sparse gradients: (tensor, places, what they become)
        differentiable = bool(group.get("differentiable"))
        own, numbers = self.numbers, ()
        jobs = []
        away: list[Tensor] = []  # counters that are not in the host's memory
        counters: dict[Any, list] = {}  # of recorded steps: those that each replay moves on
        scalars: dict[Any, dict] = {}  # by step: parameters that joined at different times have different ones
        step = 0
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            if checked:
                _check_device(group, param)
            state = self.state[param] if remembers else {}
            if remembers and not state:
                if recorded:
                    fail(RuntimeError, "the first step of an optimizer cannot be recorded: it makes the state",
                         mend="run a few steps before torch.cuda.graph(...), on a side stream")  # fmt: skip
                state.update(self.new_state(group, param))
            if held is not None:
                if grad.is_sparse:
                    fail(RuntimeError, f"`_fused_{type(self).__name__.lower()}` does not support sparse gradients")
                if self.counts_steps:
                    state["step"] = state["step"].to(param.spec.device, float32)
                    away.append(state["step"])
            elif self.counts_steps:
                step = self._count(param, state["step"], differentiable, recorded, away)
            key: Any = step
            if own is not None:
                numbers = own(group, state, step)
                key = (step, *numbers)
            given = None if differentiable else scalars.get(key)
            if given is None:
                # A recorded step takes its learning rate when it is replayed; that of a tensor cannot be read now.
                now = {**group, "lr": 1.0} if recorded else group
                given = self.scalars(now, step, *numbers) if held is None else self._numbers_in(now, held.names)
                if not differentiable:
                    given = scalars[key] = {name: number(value) for name, value in given.items()}
                if recorded:
                    given = scalars[key] = Refreshed(given)
                    given.refresh, counters[key] = self._refresh(group, held)
            if recorded:
                counters[key].append(self._counters[param] if held is None else param)
            chosen = options
            tensors = [param, grad]
            for name in names:
                value = state.get(name)
                if value is None:
                    value = state[name] = zeros_like(param)
                    chosen = first
                tensors.append(value)
            if grad.is_sparse:
                tensors = self._rows(group, grad, tensors, later)
            if held is not None:
                of_device = shared[param.spec.device]
                tensors += [of_device[name] if name != "step" else state["step"] for name in held.names]
            jobs.append((chosen, given, tensors))
        advance(away, {place: here["found_inf"] for place, here in shared.items() if "found_inf" in here})
        apply_rules(self.rule, jobs, differentiable, self.complex_as_real, held)
        for target, places, changed in later:
            target.detach().index_put_(places, changed)

    def _rows(self, group: dict, grad: Any, tensors: list[Tensor], later: list) -> list[Tensor]:
        """What the rule is applied to for a sparse gradient: the elements that have one, to be put back later."""
        if not self.takes_sparse:
            fail(
                RuntimeError,
                self.no_sparse or f"{type(self).__name__} does not support sparse gradients",
                expected="dense gradients, or one of SparseAdam, SGD and Adagrad, which take sparse ones",
                mend="use SparseAdam for this parameter, or make its gradient dense: Embedding(..., sparse=False)",
            )
        settled = grad.coalesce()
        places = tuple(settled.indices())
        param, _, *state = tensors
        found = [x.detach()[places] for x in (param, *state)]
        later.extend((x, places, changed) for x, changed in zip((param, *state), found))
        return [found[0], settled.values(), *found[1:]]

    def _recorded(self, group: dict) -> bool:
        """Whether the step is recorded, and depends on how often it is replayed."""
        params = group["params"]
        if not params or params[0].spec.device is CPU or not self.counts_steps:
            return False
        if not launch.recording(params[0].spec.device):
            return False
        if not group.get("capturable"):
            fail(
                RuntimeError,
                f"Attempting CUDA graph capture of step() for an instance of {type(self).__name__} but param_groups' "
                "capturable is False.",
                mend=f"{type(self).__name__}(..., capturable=True)",
            )
        if self.number_names:
            refusal(f"torch.optim.{type(self).__name__}.step", "in a graph, its state would have to hold numbers")()
        return True

    def _held(self, group: dict) -> tuple[Held | None, dict[Any, dict[str, Tensor]]]:
        """What the step reads from memory of devices, and these tensors by device: see `rule.Held`.

        Those that a `GradScaler` brings, and numbers that are tensors, where PyTorch does not wait for them either.
        """
        mine, params = self.__dict__, group["params"]
        brought = {name: mine[name] for name in ("found_inf", "grad_scale") if mine.get(name) is not None}
        if brought and not group.get("fused"):
            fail(AssertionError, "Expected grad_scale and found_inf to be None",
                 mend=f"{type(self).__name__}(..., fused=True)")  # fmt: skip
        if params and params[0].spec.device is not CPU and "fused" in self.defaults:
            brought |= self._tensors_in(group)
        if not brought:
            return None, {}
        places = {param.spec.device for param in params if param._grad is not None}
        shared = {
            place: {name: value.to(place, float32, non_blocking=True) for name, value in brought.items()}
            for place in places
        }

        def scalars(numbers: dict[str, Any], step: Any) -> dict[str, Any]:
            return self.scalars({**group, **_unflattened(group, numbers)}, step)

        return Held((*brought, *["step"] * self.counts_steps), type(self), scalars), shared

    def _tensors_in(self, group: dict) -> dict[str, Tensor]:
        """The numbers that are tensors in memory of a device, where PyTorch's kernels take them so."""
        if group.get("differentiable") or not (group.get("fused") or group.get("capturable")):
            return {}
        found = {name: value for name, value in self._numbers_in(group).items() if _away(value)}
        real = not found or all(p.is_floating_point() and not (p.grad is not None and p.grad.is_sparse)
                                for p in group["params"])  # fmt: skip
        return found if real else {}

    def _numbers_in(self, group: dict, but: Sequence[str] = ()) -> dict[str, Any]:
        """The numbers among the options of a group, each under a name of its own, without some of them."""
        found = {}
        for name in self.defaults:
            value = group[name]
            for i, one in enumerate(value) if isinstance(value, tuple) else [("", value)]:
                if f"{name}{i}" not in but and (isinstance(one, (float, Tensor)) or type(one) is int):
                    found[f"{name}{i}"] = one
        return found

    def _refresh(self, group: dict, held: Held | None) -> tuple[Callable[[], list], list]:
        """A function that returns the scalars of the coming replay, and the list of the counters that it moves on.

        With `held`: the numbers, and the list of parameters whose counters it makes unknown.
        """
        counters: list[Any] = []

        def numbers() -> list:
            for param in counters:
                self._counters.pop(param, None)
            assert held is not None
            return [number(value) for value in self._numbers_in(group, held.names).values()]

        if held is not None:
            return numbers, counters

        def refresh() -> list:
            for counter in counters:
                counter[2].value += 1.0
            return [number(value) for value in self.scalars(group, counters[0][2].value).values()]

        return refresh, counters

    def _count(
        self, param: Tensor, step: Tensor, differentiable: bool, recorded: bool = False, away: Any = None
    ) -> Any:
        """Add 1 to the counter of a parameter; the tensor itself where autograd goes through the step."""
        if differentiable or step.dtype not in CELLS:
            step += 1
            return step if differentiable else step.item()
        known = self._counters.get(param)
        ptr = step.ptr
        kept = known is not None and known[0] is step and known[1] == ptr
        if step.device.type != "cpu":
            return self._count_away(param, step, known if kept else None, recorded, away)
        if not kept:
            known = self._counters[param] = (step, ptr, CELLS[step.dtype].from_address(ptr))
        assert known is not None
        cell = known[2]
        cell.value = count = cell.value + 1.0  # in memory itself: 0.1 us, where operators take 1
        step.storage.version += 1
        return count

    def _number_in(self, held: Tensor) -> float:
        """What a state's tensor of one element holds; of another device, what `_put_number` wrote is not waited for."""
        if held.spec.device is CPU:
            return held.item()
        known, version = self._numbers.get(held), held.storage.version
        if known is None or known[0] != version:  # somebody else has written to it
            known = self._numbers[held] = version, held.item()
        return known[1]

    def _put_number(self, held: Tensor, value: float) -> None:
        if held.spec.device is CPU:
            held.fill_(value)
        elif (rounded := CELLS.get(held.spec.dtype, ctypes.c_double)(value).value) != self._number_in(held):
            held.fill_(value)
            self._numbers[held] = held.storage.version, rounded

    def _count_away(self, param: Tensor, step: Tensor, known: Any, recorded: bool, away: list[Tensor]) -> Any:
        """The same of a counter that is not in the host's memory: what it holds is remembered, and not waited for.

        All of them go into `away`, for `advance`.
        """
        version = step.storage.version
        if known is None or known[3][0] != version:  # somebody else has written to it
            known = self._counters[param] = (step, step.ptr, CELLS[float64](step.item()), [version])
        known[3][0] = version + 1
        away.append(step)
        count = known[2].value + 1.0
        if not recorded:  # else nothing has been done yet
            known[2].value = count
        return count


def _away(value: Any) -> bool:
    """Whether it is a tensor that is not in the host's memory."""
    return isinstance(value, Tensor) and value.spec.device is not CPU


def _unflattened(group: dict, numbers: dict[str, Any]) -> dict[str, Any]:
    """What `RuleOptimizer._numbers_in` found, under the names of the options."""
    found: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, tuple):
            found[name] = tuple([numbers.get(f"{name}{i}", one) for i, one in enumerate(value)])
        elif name in numbers:
            found[name] = numbers[name]
    return found


def _check_device(group: dict, param: Tensor) -> None:
    if group.get("capturable") and param.device.type not in CAPTURABLE_DEVICES:
        fail(
            AssertionError,
            f"If capturable=True, params and state_steps must be on supported devices: {CAPTURABLE_DEVICES}.",
            got=str(param.device),
        )
    if group.get("fused") and not (param.is_floating_point() and param.device.type in FUSED_DEVICES):
        fail(
            RuntimeError,
            f"`fused=True` requires all the params to be floating point Tensors of supported devices: {FUSED_DEVICES} "
            f"but {param.dtype} and {param.device.type}",
        )
