"""`GradScaler`: scales losses up so that gradients in float16 do not vanish, and skips steps where they overflow."""

import inspect
import warnings
from collections.abc import Iterable
from enum import Enum
from typing import Any

from facula import launch
from facula.autograd import no_grad
from facula.core import dtype as dt
from facula.core.tensor import Tensor
from facula.operators import full, isfinite, many, stack

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """How far an optimizer is in this iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


class GradScaler:
    """Scales losses by a factor that grows while gradients stay finite and shrinks when they do not.

    Parameters
    ----------
    device : str
        "cuda" or "cpu"; on "cuda" the scaler is disabled, with a warning, where there is no GPU.
    init_scale, growth_factor, backoff_factor : float
    growth_interval : int
        After so many good steps the factor grows.
    enabled : bool
        Otherwise everything passes through.

    Examples
    --------
    >>> import facula as torch
    >>> w = torch.nn.Parameter(torch.tensor(1.0))
    >>> optimizer = torch.optim.SGD([w], lr=0.5)
    >>> scaler = torch.amp.GradScaler("cpu")
    >>> scaler.scale(w * 2).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.item()
    0.0
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ):  # fmt: skip
        self._device = device
        if enabled and device == "cuda" and not launch.accelerated():
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            enabled = False
        self._enabled = enabled
        if not enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale, self._init_growth_tracker = float(init_scale), 0
        self._scale: Any = None  # on the device of what is scaled first
        self._growth_tracker: Any = None
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._states: dict[int, dict[str, Any]] = {}

    def scale(self, outputs: Any) -> Any:
        """Tensors, or nested lists of them, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                where = outputs.spec.device
                self._scale = full((), self._init_scale, dtype=dt.float32, device=where)
                self._growth_tracker = full((), self._init_growth_tracker, dtype=dt.int32, device=where)
            return outputs * self._scale.to(outputs.spec.device, non_blocking=True)  # type: ignore[operator]
        if isinstance(outputs, Iterable):
            each = map(self.scale, outputs)
            return type(outputs)(each) if isinstance(outputs, (list, tuple)) else each
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _check(self, name: str) -> None:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {name} but _scale is None.  This may indicate your script did not use scaler.scale(loss or "
                "outputs) earlier in the iteration."
            )

    def _state(self, optimizer: Any) -> dict[str, Any]:
        return self._states.setdefault(id(optimizer), {"stage": OptState.READY, "found_inf": None})

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the factor, and see whether all are finite."""
        if not self._enabled:
            return
        self._check("unscale_")
        state = self._state(optimizer)
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(g.dtype is dt.float16 for g in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        state["found_inf"] = self._unscaled(grads, self._scale.double().reciprocal().float()) if grads else None
        state["stage"] = OptState.UNSCALED

    def _unscaled(self, grads: list[Tensor], factor: Tensor) -> Tensor:
        """Multiply gradients by a number; 1 on its device where one of them is infinite or NaN, else 0."""
        kinds: dict[Any, list[Tensor]] = {}
        for g in grads:
            kinds.setdefault((g.spec.device, g.spec.dtype), []).append(g)
        found = []
        with no_grad():
            for (where, _), some in kinds.items():
                own = factor.to(where, non_blocking=True)
                some = [g._values() if g.is_sparse else g for g in some]
                if many.alike(some) and not any(g.needs_grad for g in some) and all(g.spec.numel for g in some):
                    found.append(many.unscale_(some, own).amax())
                    continue
                for g in some:
                    found.append(1.0 - isfinite(g).all().float())
                    g.mul_(own)
            each = [x.to(factor.spec.device, non_blocking=True) for x in found]
            return each[0] if len(each) == 1 else stack(each).amax()

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's step, unless a gradient is infinite or NaN; gradients are unscaled first."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check("step")
        state = self._state(optimizer)
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            return self._step_within(optimizer, state, args, kwargs)
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if state["found_inf"] is None:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        made = None if state["found_inf"].item() else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return made

    def _step_within(self, optimizer: Any, state: dict[str, Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """The step of an optimizer that itself unscales, and changes nothing where a gradient is infinite or NaN."""
        named = "grad_scaler" in inspect.signature(optimizer.step).parameters
        if named:
            warnings.warn(
                "GradScaler is going to stop passing itself as a keyword argument to the passed optimizer. In the near "
                "future GradScaler registers `grad_scale: Tensor` and `found_inf: Tensor` to the passed optimizer and "
                "let the optimizer use them directly.",
                FutureWarning, stacklevel=3,
            )  # fmt: skip
            kwargs["grad_scaler"] = self
        else:
            own = getattr(optimizer, "grad_scale", None)  # of the program
            if state["stage"] is OptState.READY:
                self._check_inf_per_device(optimizer)
                own = self._scale if own is None else self._scale * own
            optimizer.grad_scale, optimizer.found_inf = own, state["found_inf"]
        made = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        if not named:
            del optimizer.grad_scale, optimizer.found_inf
        return made

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """The factor for the next iteration, or a given one."""
        if not self._enabled:
            return
        self._check("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor):
                if new_scale.spec.numel != 1 or new_scale.needs_grad:
                    raise AssertionError(
                        "new_scale should be a float or a 1-element torch.cuda.FloatTensor or torch.FloatTensor with "
                        "requires_grad=False."
                    )
                self._scale.copy_(new_scale)
            else:
                self._scale.fill_(float(new_scale))
        else:
            found = [s["found_inf"] for s in self._states.values() if s["found_inf"] is not None]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            many.update_scale_(
                self._scale, self._growth_tracker, found[0] if len(found) == 1 else stack(found).amax(),
                float(self._growth_factor), float(self._backoff_factor), self._growth_interval,
            )  # fmt: skip
        self._states.clear()

    def get_scale(self) -> float:
        """The factor, for which the host waits; 1 where the scaler is disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """By how much the factor grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by how much the factor grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By how much the factor shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by how much the factor shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the factor grows."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The factor and its rules; empty where the scaler is disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval, "_growth_tracker": self._get_growth_tracker(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale, self._init_growth_tracker = float(state_dict["scale"]), state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]

    def __getstate__(self) -> dict[str, Any]:
        if self._enabled and self._states:
            raise AssertionError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        state = dict(self.__dict__)
        if self._enabled:
            state |= {
                "_init_scale": self.get_scale(), "_init_growth_tracker": self._get_growth_tracker(), "_scale": None,
                "_growth_tracker": None,
            }  # fmt: skip
        return state

    def _check_inf_per_device(self, optimizer: Any) -> dict:
        self._check("_check_inf_per_device")
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        factor = full((), 1.0, device=self._scale.device)
        self._state(optimizer)["found_inf"] = self._unscaled(grads, factor) if grads else None
        return self._found_inf_per_device(optimizer)

    def _found_inf_per_device(self, optimizer: Any) -> dict:
        found = self._state(optimizer)["found_inf"]
        return {} if found is None else {found.device: found}
