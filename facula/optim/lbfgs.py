"""L-BFGS: a quasi-Newton method that remembers the last steps in place of a Hessian matrix."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from facula.autograd import enable_grad, no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import cat, view_as_real

from .optimizer import Optimizer, check_lr, number

__all__ = ["LBFGS"]


class Point(NamedTuple):
    """A place on the line that is searched."""

    t: Any  # how far along the direction
    loss: float
    grad: Tensor
    slope: Tensor  # derivative of the loss along the direction


def cubic_minimum(a: Point, b: Point, low: Any = None, high: Any = None) -> Any:
    """Where the cubic through two points with their slopes is smallest, within [low, high] (default: between them)."""
    if low is None:
        low, high = (a.t, b.t) if a.t <= b.t else (b.t, a.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if square < 0 or square.isnan():
        return (low + high) / 2.0
    d2 = square.sqrt()
    first, last = (a, b) if a.t <= b.t else (b, a)
    best = last.t - (last.t - first.t) * ((last.slope + d2 - d1) / (last.slope - first.slope + 2 * d2))
    return min(max(best, low), high)


def strong_wolfe(
    evaluate: Callable[[Any], Point], start: Point, t: Any, longest: Tensor, tolerance: float, most: int
) -> tuple[Point, int]:
    """A point that meets the strong Wolfe conditions (Nocedal and Wright, algorithms 3.5 and 3.6), and the evaluations.

    `start` is the point at t = 0, `t` the first guess, `longest` the largest element of the direction.
    """

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + 1e-4 * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -0.9 * start.slope

    before, new = start, evaluate(t)
    tried, found = 0, False
    bracket = [start, new]
    while tried < most:  # until a pair of points has a good one between them
        bracket = [before, new]
        if too_high(new) or (tried > 1 and new.loss >= before.loss):
            break
        if flat(new):
            bracket, found = [new], True
            break
        if new.slope >= 0:
            break
        t = cubic_minimum(before, new, new.t + 0.01 * (new.t - before.t), new.t * 10)
        before, new = new, evaluate(t)
        tried += 1
        if tried == most:
            bracket = [start, new]

    def order() -> tuple[int, int]:
        return (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)

    low, high = order()
    stuck = False
    while not found and tried < most:  # narrow the bracket
        if abs(bracket[1].t - bracket[0].t) * longest < tolerance:
            break
        t = cubic_minimum(*bracket)
        left, right = min(p.t for p in bracket), max(p.t for p in bracket)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # near an end: once is allowed, then a tenth away from it
            away = stuck or t >= right or t <= left
            if away:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
            stuck = not away
        else:
            stuck = False
        new = evaluate(t)
        tried += 1
        if too_high(new) or new.loss >= bracket[low].loss:
            bracket[high] = new
            low, high = order()
        else:
            if flat(new):
                found = True
            elif new.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
    return bracket[low], tried + 1


class LBFGS(Optimizer):
    """Limited-memory BFGS; its step calls the closure several times.

    Parameters
    ----------
    params : iterable
        Parameters, all in one group.
    lr : float or Tensor
        Length of a step, or the line search's first guess.
    max_iter, max_eval : int
        The most iterations and calls of the closure in one step; max_eval is 5 / 4 of max_iter unless given.
    tolerance_grad, tolerance_change : float
        Stop where no element of the gradient is larger, or where the parameters or the loss change less.
    history_size : int
        How many steps are remembered.
    line_search_fn : {None, "strong_wolfe"}

    Examples
    --------
    >>> import facula as torch
    >>> w = torch.nn.Parameter(torch.tensor([-1.0, 2.0]))
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     _ = optimizer.step(closure)
    >>> w.detach()
    tensor([1.0000, 1.0000])
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            fail(ValueError, "LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]
        self._numel_cache = None

    # --- all parameters as one vector

    def _gradient(self) -> Tensor:
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._params]
        return cat([view_as_real(x).reshape(-1) if x.is_complex() else x for x in parts], 0)

    def _move(self, t: Any, direction: Tensor) -> None:
        start = 0
        for p in self._params:
            p = view_as_real(p) if p.is_complex() else p
            p.add_(direction[start : start + p.numel()].view(p.shape) * number(t))
            start += p.numel()

    def _search(self, closure: Callable, start: Point, t: Any, direction: Tensor, most: int) -> tuple[Point, int]:
        kept = [p.clone() for p in self._params]

        def evaluate(t: Any) -> Point:
            self._move(t, direction)
            loss, grad = float(closure()), self._gradient()
            for p, value in zip(self._params, kept, strict=True):
                p.copy_(value)
            return Point(t, loss, grad, grad.dot(direction))

        tolerance = self.param_groups[0]["tolerance_change"]
        point, count = strong_wolfe(evaluate, start, t, direction.abs().max(), tolerance, most)
        self._move(point.t, direction)
        return point, count

    @staticmethod
    def _direction(state: dict[str, Any], grad: Tensor, history: int) -> Tensor:
        """Minus the gradient times the inverse of the Hessian that the remembered steps imply; remembers the last."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        y, s = grad.sub(state["prev_flat_grad"]), state["d"].mul(state["t"])
        ys = y.dot(s)
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        if ys > 1e-10:
            if len(changes) == history:
                for remembered in (changes, steps, ro):
                    remembered.pop(0)
            changes.append(y)
            steps.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / y.dot(y)
        al = state.setdefault("al", [None] * history)
        q = grad.neg()
        for i in reversed(range(len(changes))):
            al[i] = steps[i].dot(q) * ro[i]
            q.sub_(changes[i] * al[i])
        q = q.mul(state["H_diag"])
        for i in range(len(changes)):
            q.add_(steps[i] * (al[i] - changes[i].dot(q) * ro[i]))
        return q

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Iterate until one of the limits is met.

        Parameters
        ----------
        closure : callable
            Evaluates the model and its gradients and returns the loss.

        Returns
        -------
        The first result of `closure`.
        """
        with no_grad():
            return self._iterate(enable_grad()(closure))

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, tolerance = number(group["lr"]), group["tolerance_change"]
        search = group["line_search_fn"]
        state = self.state[self._params[0]]  # the only one: load_state_dict casts it like this parameter
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        loss, evaluations = float(first), 1
        state["func_evals"] += 1
        grad = self._gradient()

        def small(grad: Tensor) -> bool:
            return bool(grad.abs().max() <= group["tolerance_grad"])

        if small(grad):
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = state["d"] = self._direction(state, grad, group["history_size"])
            state["prev_flat_grad"], before = grad, loss
            state["prev_loss"] = loss
            t = min(1.0, 1.0 / grad.abs().sum()) * lr if state["n_iter"] == 1 else lr
            slope = grad.dot(d)
            state["t"] = t
            if slope > -tolerance:
                break
            more = 0
            if search is None:
                self._move(t, d)
                if iteration < group["max_iter"]:  # after the last one nobody asks for the loss
                    loss, grad, more = float(closure()), self._gradient(), 1
            elif search == "strong_wolfe":
                point, more = self._search(closure, Point(0, loss, grad, slope), t, d, group["max_eval"] - evaluations)
                t, loss, grad, _ = point
                state["t"] = t
            else:
                fail(RuntimeError, "only 'strong_wolfe' is supported", got=search)
            evaluations += more
            state["func_evals"] += more
            if evaluations >= group["max_eval"] or small(grad):
                break
            if d.mul(t).abs().max() <= tolerance or abs(loss - before) < tolerance:
                break
        return first
