"""Losses: each one kernel forward (with its mean or sum) and one backward; those of classes read rows of logits.

Losses that are compositions of other operators are in `nn/functional.py`.
"""

import ctypes
import inspect
from collections.abc import Callable
from functools import cache, lru_cache

from facula import launch
from facula.autograd.node import dtype_title, grad_fn_of
from facula.core import dtype as dt
from facula.core.device import CPU
from facula.core.dtype import promote_types
from facula.core.modes import LOCAL
from facula.core.shape import Size
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.core.wrapped import followed
from facula.errors import caution, fail
from facula.ir import expr as ir
from facula.ir.kernel import Check, Input, Kernel, Param, Result

from .creation import numpy_view
from .declare import broadcast_shapes_of, broadcast_strides, function, traced
from .reduction import logsumexp_rows, mean_rows, sum_rows
from .view import reshape, select

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy_loss", "huber_loss", "kl_div",
    "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip


# --- losses of each element ---------------------------------------------------------------------------------------


class Pointwise:
    """A loss of each element in its three forms: none (all of them), mean and sum, each a traced operator."""

    def __init__(
        self,
        body: Callable,
        title: str,
        nodes: tuple[str, ...],
        formulas: dict[str, Callable] | None = None,
        kinds="f",
    ):
        self.forms = {}
        for how, node in zip(("none", "mean", "sum"), nodes):
            shaped = traced(_reducing(body, how), kinds=kinds, rows=how != "none")
            shaped.operator.title = title
            shaped.operator.node_class.__name__ = node
            for name, formula in (formulas or {}).items():
                shaped.operator.gradients[name] = _spread(formula, how)
            self.forms[how] = shaped

    def __call__(self, operands: tuple, reduction: str, **scalars):
        form = self.forms.get(reduction)
        if form is None:
            fail(ValueError, f"{reduction} is not a valid value for reduction", expected="none, mean or sum")
        if reduction == "none":
            return form(*operands, **scalars)
        rank = max([x.spec.ndim for x in operands if x is not None])
        return form(*operands, dims=tuple(range(rank)), **scalars)


def _reducing(body: Callable, how: str) -> Callable:
    """The body with its mean or sum; further results of the body are conditions that are asked for in any element."""

    def reducing(*operands, **scalars):
        value = body(*operands, **scalars)
        if how == "none":
            return value
        value, *wrong = value if isinstance(value, tuple) else (value,)
        total = ir.reduce("sum", value)
        if how == "mean":
            total = total / ir.cast(ir.count(), value.dtype)
        return (total, *[ir.reduce("any", w) for w in wrong]) if wrong else total

    reducing.__name__ = f"{body.__name__}_{how}"
    reducing.__doc__ = body.__doc__
    reducing.__signature__ = inspect.signature(body)
    return reducing


def _spread(formula: Callable, how: str) -> Callable:
    """The formula for the gradient of one element's loss (its first parameter) as one for that of the reduced loss."""
    parameters = list(inspect.signature(formula).parameters.values())
    first = parameters[0].name

    def spread(grad, *rest):
        return formula(grad / ir.cast(ir.count(), grad.dtype) if how == "mean" else grad, *rest)

    spread.__signature__ = inspect.Signature([parameters[0].replace(name=first), *parameters[1:]])
    return spread


def _three(name: str) -> tuple[str, ...]:
    return (f"{name}Backward0",) * 3


def _squared(input, target):
    return (input - target) * (input - target)


def _absolute(input, target):
    return ir.abs(input - target)


def _smooth(input, target, *, beta=1.0):
    d = ir.abs(input - target)
    return ir.select(ir.lt(d, beta), 0.5 * d * d / beta, d - 0.5 * beta)


def _huber(input, target, *, delta=1.0):
    d = ir.abs(input - target)
    return ir.select(ir.le(d, delta), 0.5 * d * d, delta * (d - 0.5 * delta))


_mse = Pointwise(_squared, "mse_cpu", _three("MseLoss"))
_l1 = Pointwise(_absolute, "abs_cpu", ("AbsBackward0", "MeanBackward0", "SumBackward0"), kinds="uifc")
_smooth_l1 = Pointwise(_smooth, "smooth_l1_cpu", _three("SmoothL1Loss"))
_huber_loss = Pointwise(_huber, "huber_cpu", _three("HuberLoss"))


def mse_loss(input, target, reduction="mean") -> Tensor:
    """The squares of the differences.

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    return _mse((input, target), reduction)


def l1_loss(input, target, reduction="mean") -> Tensor:
    """The absolute values of the differences."""
    kinds = {x.spec.dtype.kind for x in (input, target)}
    if reduction == "mean" and not kinds & {"f", "c"}:
        fail(
            RuntimeError,
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: "
            + dtype_title(promote_types(input.spec.dtype, target.spec.dtype)),
        )
    return _l1((input, target), reduction)


def smooth_l1_loss(input, target, reduction="mean", beta=1.0) -> Tensor:
    """Squares of the differences below `beta`, divided by 2 beta; the differences less beta / 2 above."""
    if beta < 0:
        fail(RuntimeError, "smooth_l1_loss does not support negative values for beta.", got=beta)
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _smooth_l1((input, target), reduction, **({} if beta == 1.0 else {"beta": float(beta)}))


def huber_loss(input, target, reduction="mean", delta=1.0) -> Tensor:
    """Half the squares of the differences up to `delta`; delta times the differences less delta / 2 above."""
    if delta <= 0:
        fail(RuntimeError, "huber_loss does not support non-positive values for delta.", got=delta)
    return _huber_loss((input, target), reduction, **({} if delta == 1.0 else {"delta": float(delta)}))


# --- binary targets -----------------------------------------------------------------------------------------------


OUTSIDE = "all elements of {} should be between 0 and 1"


def _outside(x):
    return ir.not_(ir.and_(ir.ge(x, 0), ir.le(x, 1)))


def _binary(input, target, weight):
    floor = ir.const(-100, input.dtype)
    loss = (target - 1) * ir.maximum(ir.log1p(-input), floor) - target * ir.maximum(ir.log(input), floor)
    return loss if weight is None else loss * weight


def _binary_checked(input, target, weight):
    return _binary(input, target, weight), _outside(input), _outside(target)


def _binary_gradient(grad, input, target, weight):
    g = grad * (input - target) / ir.maximum((1 - input) * input, ir.const(1e-12, input.dtype))
    return g if weight is None else g * weight


_bce = Pointwise(_binary, "binary_cross_entropy", _three("BinaryCrossEntropy"), {"input": _binary_gradient})
_bce_checked = Pointwise(_binary_checked, "binary_cross_entropy", _three("BinaryCrossEntropy"), {})
for _how in ("mean", "sum"):  # two results: the formula's gradient is that of the first

    def _first(grad0, input, target, weight, _how=_how):
        g = grad0 / ir.cast(ir.count(), grad0.dtype) if _how == "mean" else grad0
        return _binary_gradient(g, input, target, weight)

    _first.__signature__ = inspect.Signature(
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("grad0", "input", "target", "weight")]
    )
    _bce_checked.forms[_how].operator.gradients["input"] = _first


@traced(rows=True, kinds="f", differentiable=False)
def outside_rows(input, target):
    return ir.reduce("any", _outside(input)), ir.reduce("any", _outside(target))


def _flag(x: Tensor) -> bool:
    """The value of a bool tensor of one element of the host, read from memory."""
    return ctypes.c_bool.from_address(x.ptr).value


@cache
def _flagged(name: str, message: str) -> Kernel:
    """Checks that a bool is false."""
    wrong = ir.load("wrong", dt.bool_)
    return Kernel(
        name, (Input("wrong", dt.bool_),), (), (), (Check(ir.not_(wrong), ir.cast(wrong, dt.int64), message),)
    )


@cache
def _placing(name: str, kind, ignore_index: int) -> Kernel:
    """Checks that targets are classes, or are to be ignored."""
    target = ir.load("target", kind)
    wrong = _placed(target, ignore_index, ir.param("classes", dt.int64))[2]
    check = Check(ir.not_(wrong), ir.cast(target, dt.int64), "Target {value} is out of bounds")
    return Kernel(name, (Input("target", kind),), (), (Param("classes", dt.int64),), (check,))


@lru_cache(4096)
def _check_code(kernel: Kernel, s: Spec) -> launch.Bound:
    return launch.bind(kernel, s.shape or (1,), None, [list(s.strides) or [1]], s.device)


def _fails(kernel: Kernel, x: Tensor, *numbers) -> bool:
    """Whether a check of a tensor's elements fails; a device that works on its own says so when it is waited for."""
    return launch.run(_check_code(kernel, x.spec), [x.ptr], numbers) is not None


def _any_misplaced(name: str, wrong: Tensor, target: Tensor, classes: int, ignore_index: int) -> bool:
    """Whether a target is no class; `wrong` says so in the host's memory."""
    if wrong.spec.device is CPU:
        return _flag(wrong)
    return _fails(_placing(name, target.spec.dtype, ignore_index), target, classes)


def binary_cross_entropy(input, target, weight=None, reduction="mean") -> Tensor:
    """-(y log x + (1 - y) log(1 - x)) times `weight`, with logarithms of at least -100; x in [0, 1]."""
    kind = input.spec.dtype
    _not_differentiable("binary_cross_entropy", "weight", weight)
    for x in (target, weight):
        if x is not None and x.spec.dtype is not kind:
            fail(
                RuntimeError,
                f"Found dtype {dtype_title(x.spec.dtype)} but expected {dtype_title(kind)}",
                mend=f"convert it: .to({kind!r})",
            )
    if reduction == "none":
        out = _bce((input, target, weight), reduction)
        wrong = outside_rows(input, target, dims=_all(out))
    else:
        out, *wrong = _bce_checked((input, target, weight), reduction)
    outside = [
        _flag(w) if w.spec.device is CPU else _fails(_flagged("binary_cross_entropy", OUTSIDE.format(operand)), w)
        for w, operand in zip(wrong, ("input", "target"))
    ]
    if outside[0]:
        fail(
            RuntimeError,
            OUTSIDE.format("input"),
            mend="apply sigmoid first, or use binary_cross_entropy_with_logits",
        )
    if outside[1]:
        fail(RuntimeError, OUTSIDE.format("target"))
    return out


def _log_sigmoid(x):
    return ir.minimum(x, ir.const(0, x.dtype)) - ir.log1p(ir.exp(-ir.abs(x)))


def _logits(input, target, weight, pos_weight):
    log = _log_sigmoid(input)
    if pos_weight is not None:
        log = log * ((pos_weight - 1) * target + 1)
    loss = (1 - target) * input - log
    return loss if weight is None else loss * weight


def _logits_gradient(grad, input, target, weight, pos_weight):
    s = 1 / (1 + ir.exp(-input))
    if pos_weight is None:
        g = grad * (s - target)
    else:
        t = pos_weight * target
        g = grad * ((t + 1 - target) * s - t)
    return g if weight is None else g * weight


_bce_logits = Pointwise(_logits, "log_sigmoid_cpu", _three("BinaryCrossEntropyWithLogits"), {"input": _logits_gradient})


def _not_differentiable(name: str, argument: str, x: Tensor | None) -> None:
    if x is not None and x.needs_grad and LOCAL.grad:
        fail(
            RuntimeError,
            f"The function '{name}' is not differentiable with respect to argument '{argument}'. This input "
            "cannot have requires_grad True.",
        )


def binary_cross_entropy_with_logits(input, target, weight=None, pos_weight=None, reduction="mean") -> Tensor:
    """`binary_cross_entropy` of sigmoid(x), without overflow; `pos_weight` is a factor for positive targets."""
    if target.spec.dtype.kind != "f" and input.spec.dtype.kind == "f":
        fail(
            RuntimeError,
            f"result type {dtype_title(input.spec.dtype)} can't be cast to the desired output type "
            f"{dtype_title(target.spec.dtype)}",
            mend="target.float()",
        )
    _not_differentiable("binary_cross_entropy_with_logits", "weight", weight)
    _not_differentiable("binary_cross_entropy_with_logits", "pos_weight", pos_weight)
    return _bce_logits((input, target, weight, pos_weight), reduction)


# --- distributions ------------------------------------------------------------------------------------------------


def _divergence(input, target):
    known = ir.select(ir.eq(target, 0), ir.const(0, target.dtype), target * ir.log(target))
    return known - target * input


def _log_divergence(input, target):
    return ir.exp(target) * (target - input)


_KL_NODES = ("SubBackward0", "MeanBackward0", "SumBackward0")
_kl = Pointwise(_divergence, "kl_div", _KL_NODES)
_kl_log = Pointwise(_log_divergence, "kl_div", ("MulBackward0", *_KL_NODES[1:]))


def kl_div(input, target, reduction="mean", log_target=False) -> Tensor:
    """y (log y - x), with x log-probabilities; `log_target` says that the target holds logarithms too."""
    for x in (input, target):
        kind = x.spec.dtype.kind
        if kind != "f":
            fail(RuntimeError, f"kl_div: {'Complex' if kind == 'c' else 'Integral'} inputs not supported.")
    if input.spec.shape != target.spec.shape:
        broadcast_shapes_of("kl_div", [target.spec.shape, input.spec.shape])
    return (_kl_log if log_target else _kl)((input, target), reduction)


# --- classes ------------------------------------------------------------------------------------------------------
# Shapes: logits (N, C, ...), targets (N, ...); C alone without a batch. `weight` is a view of the first class's weight,
# the others are `step` elements apart.


def _at(symbol, offset, where):
    """The element of an operand that lies `offset` elements further on."""
    if symbol.op == "cast":
        return ir.cast(_at(symbol.args[0], offset, where), symbol.dtype)
    return ir.load(symbol.value[0], symbol.dtype, offset, where)


def _class_weight(target, weight, valid, kind, step):
    """The weight of the target's class, 0 where the target is ignored."""
    if weight is None:
        return ir.cast(valid, kind)
    return ir.cast(_at(weight, target * _number(step), valid), kind)


def _placed(target, ignore_index, classes):
    """(index, whether it counts and is a class, whether it is wrong)."""
    index = ir.cast(target, dt.int64)
    ignored = ir.eq(index, _number(ignore_index))
    inside = ir.and_(ir.ge(index, 0), ir.lt(index, classes))
    return index, ir.and_(inside, ir.not_(ignored)), ir.not_(ir.or_(inside, ignored))


def _is_class(index):
    """Whether the element is that of class `index`: compared in 32 bits, which are quicker and enough for classes."""
    return ir.eq(ir.cast(ir.row_index(), dt.int32), ir.cast(index, dt.int32))


def _number(x):
    return x if isinstance(x, ir.Expr) else ir.const(x, dt.int64)


FIRST, CLASS, WHOLE = ("first", "target", "weight"), ("target", "weight"), ("classes", "stride", "step")


@traced(
    rows=True,
    kinds="f",
    keep=CLASS,
    per_row=FIRST,
    static=("ignore_index",),
    whole=WHOLE,
    results=(None, "compute", "compute"),
    differentiable=False,
)
def cross_entropy_rows(input, first, target, weight, weights, *, stride, ignore_index=-100, smoothing=0.0, step=1):
    """Of each row: loss, logarithm of the sum of exponentials, weight of its class; `first`: first class's logit."""
    index, valid, _ = _placed(target, ignore_index, ir.count())
    high = ir.reduce("max", input)
    lse = ir.log(ir.reduce("sum", ir.exp(input - high))) + high
    zero = ir.const(0, input.dtype)
    hit = _at(first, index * _number(stride), valid)
    factor = _class_weight(index, weight, valid, input.dtype, step)
    loss = ir.select(valid, factor * (lse - hit), zero)
    if smoothing.__class__ is not float or smoothing != 0:
        n = ir.cast(ir.count(), input.dtype)
        whole = n if weights is None else ir.reduce("sum", weights)
        spread = lse * whole - ir.reduce("sum", input if weights is None else input * weights)
        loss = ir.select(valid, (1 - smoothing) * loss + smoothing / n * spread, zero)
    return loss, lse, factor


@traced(
    rows=True,
    kinds="f",
    keep=("target", "weight", "lse", "total"),
    per_row=("into", "target", "weight", "lse", "total"),
    static=("ignore_index", "hits"),
    whole=WHOLE,
)
def cross_entropy_gradient(
    into, input, target, weight, weights, lse, total, *, ignore_index=-100, smoothing=0.0, step=1, hits=True
):
    """(softmax - target's class) * weight * into / total; for smoothed targets with their share of all classes.

    Without `hits` the targets' classes are not subtracted.
    """
    index, valid, _ = _placed(target, ignore_index, ir.count())
    zero = ir.const(0, input.dtype)
    scale = into if total is None else into / ir.cast(total, into.dtype)
    scale = ir.select(valid, scale, zero)
    p = ir.exp(input - ir.cast(lse, input.dtype))
    factor = _class_weight(index, weight, valid, input.dtype, step) * scale
    hit = _is_class(index)
    if smoothing.__class__ is float and smoothing == 0:
        return p * factor - ir.select(hit, factor, zero) if hits else p * factor
    n = ir.cast(ir.count(), input.dtype)
    factor = (1 - smoothing) * factor
    share = scale * (smoothing / n)
    if weights is None:
        return p * (factor + share * n) - ir.select(hit, factor + share, share)
    return p * (factor + share * ir.reduce("sum", weights)) - ir.select(hit, factor, zero) - share * weights


@traced(
    rows=True,
    kinds="f",
    keep=("factor", "target"),
    static=("ignore_index", "average"),
    whole=WHOLE,
    results=(None, "compute", dt.bool_),
    differentiable=False,
)
def collected(loss, factor, target, *, classes, ignore_index=-100, average=True):
    """Of all rows: the mean or sum of losses, the total of weights, whether a target is no class."""
    wrong = ir.reduce("any", _placed(target, ignore_index, _number(classes))[2])
    total, whole = ir.reduce("sum", loss), ir.reduce("sum", factor)
    return (total / whole if average else total), whole, wrong


@traced(
    rows=True,
    kinds="f",
    differentiable=False,
    keep=("target",),
    static=("ignore_index",),
    whole=WHOLE,
    results=(dt.bool_,),
)
def any_wrong(like, target, *, classes, ignore_index=-100):
    return ir.reduce("any", _placed(target, ignore_index, _number(classes))[2])


def _out_of_bounds(target: Tensor, classes: int, ignore_index: int):
    values = numpy_view(target).reshape(-1)
    wrong = values[(values != ignore_index) & ((values < 0) | (values >= classes))]
    fail(
        IndexError,
        f"Target {int(wrong[0])} is out of bounds.",
        expected=f"classes 0 to {classes - 1}" + (f", or {ignore_index} to ignore" if ignore_index < 0 else ""),
    )


def _given(**scalars) -> dict:
    """The scalars that are not at their defaults."""
    defaults = {"ignore_index": -100, "smoothing": 0.0, "step": 1}
    return {n: v for n, v in scalars.items() if v != defaults[n]}


def _all(x: Tensor) -> tuple[int, ...]:
    return tuple(range(x.spec.ndim))


def _weights(weight: Tensor | None, input: Tensor):
    """(the first class's weight, their distance, all weights along the classes of `input`)."""
    if weight is None:
        return None, 1, None
    rest = input.spec.ndim - 2
    return (
        select(weight, 0, 0),
        weight.spec.strides[0],
        reshape(weight, (weight.spec.numel, *[1] * rest)) if rest > 0 else weight,
    )


class Prepared:
    """A traced operator's plan with its numbers: `run(*operands)` gives its results, for operands of known specs."""

    __slots__ = ("empty", "function", "order", "outs", "tail")

    def __init__(self, entry, operands: tuple, dims: tuple[int, ...], **scalars):
        operator = entry.operator
        kinds = tuple([type(None) if x is None else x.spec for x in operands])
        plan = operator.plan(kinds, scalars=scalars, dims=dims)
        self.function, self.empty, self.outs = plan.function, plan.empty, plan.outs
        self.order = tuple(operator.operands.index(n) for n in plan.kernel_names)
        self.tail = (*[scalars[n] for n, _ in plan.numbers], *plan.tail)

    def run(self, *operands) -> list[Tensor]:
        outs = [self.empty(s) for s in self.outs]
        if self.function is not None:
            self.function(*[o.ptr for o in outs], *[operands[i].ptr for i in self.order], *self.tail)
        return outs


_READY: dict[
    tuple, tuple[Prepared, Prepared]
] = {}  # for checked arguments: the kernel over rows, the one over their losses


def _key(input, target, weight, reduction, ignore_index, smoothing) -> tuple:
    return input.spec, target.spec, None if weight is None else weight.spec, reduction, ignore_index, smoothing


def _prepare(input, target, weight, reduction, ignore_index, smoothing) -> tuple[Prepared, Prepared]:
    node = grad_fn_of(input)
    if node is not None and node.title() == "Softmax":  # looked at once for each kind of operands: no later call pays
        caution(
            "cross_entropy of probabilities: its input comes from a softmax, and it applies log_softmax itself, so "
            "that it learns slowly and never becomes small"
        )
    d = min(1, input.spec.ndim - 1)
    first, step, along = _weights(weight, input)
    given = _given(ignore_index=ignore_index, smoothing=smoothing, step=step)
    operands = (
        input,
        select(input, d, 0) if input.spec.shape[d] else input,
        target,
        first,
        along if smoothing else None,
    )
    rows = Prepared(cross_entropy_rows, operands, (d,), stride=input.spec.strides[d], **given)
    loss, _, factor = [launch.empty(s) for s in rows.outs]
    given = _given(ignore_index=ignore_index)
    whole = Prepared(
        collected, (loss, factor, target), _all(loss), classes=input.spec.shape[d], average=reduction == "mean", **given
    )
    if len(_READY) > 4096:
        _READY.clear()
    found = _READY[_key(input, target, weight, reduction, ignore_index, smoothing)] = (rows, whole)
    return found


@function(tensors=("input",), outputs=("out", "lse", "total"), fill=False)
def cross_entropy_classes(input, target, weight, reduction, ignore_index, smoothing):
    rows, whole = _READY.get(_key(input, target, weight, reduction, ignore_index, smoothing)) or _prepare(
        input, target, weight, reduction, ignore_index, smoothing
    )
    loss, lse, factor = rows.run(
        input, input, target, weight, weight
    )  # the first class and all of them begin at one address
    out, total, wrong = whole.run(loss, factor, target)
    classes = input.spec.shape[min(1, input.spec.ndim - 1)]
    if _any_misplaced("cross_entropy", wrong, target, classes, ignore_index):
        _out_of_bounds(target, classes, ignore_index)
    return (loss if reduction == "none" else out), lse, total


MANY = 1 << 14  # logits for which it is quicker to subtract the targets' classes afterwards than to look for them


@cache
def _hit_kernel(kind, target_kind, weighted: bool, averaged: bool, ignore_index: int) -> Kernel:
    """Adds -into * weight / total to the element of each target's class."""
    index, valid, _ = _placed(ir.load("target", target_kind), ignore_index, ir.param("classes", dt.int64))
    value = -ir.load("into", kind)
    inputs = [Input("target", target_kind), Input("into", kind)]
    params = [Param("classes", dt.int64), Param("stride", dt.int64)]
    if weighted:
        inputs.append(Input("weight", kind))
        params.append(Param("step", dt.int64))
        value = value * ir.load("weight", kind, index * ir.param("step", dt.int64), valid)
    if averaged:
        inputs.append(Input("total", kind))
        value = value / ir.load("total", kind)
    place = index * ir.param("stride", dt.int64)
    return Kernel(
        "subtract_hits", tuple(inputs), (Result("out", kind, value, False, place, valid, "add"),), tuple(params)
    )


@lru_cache(4096)
def _hit_code(kernel: Kernel, out: Spec, d: int, others: tuple[Spec, ...]) -> launch.Bound:
    shape = Size(n for e, n in enumerate(out.shape) if e != d)
    strides = [[st for e, st in enumerate(out.strides) if e != d], *[broadcast_strides(s, shape) for s in others]]
    return launch.bind(kernel, shape, None, strides, out.device)


def _subtract_hits(out: Tensor, d: int, into, target, weight, step: int, total, ignore_index: int) -> None:
    s = out.spec
    kernel = _hit_kernel(s.dtype, target.spec.dtype, weight is not None, total is not None, ignore_index)
    operands = [x for x in (target, into, weight, total) if x is not None]
    bound = _hit_code(kernel, s, d, tuple([x.spec for x in operands]))
    numbers = (s.shape[d], s.strides[d], step) if weight is not None else (s.shape[d], s.strides[d])
    launch.run(bound, [out.ptr, *[x.ptr for x in operands]], numbers)


@cross_entropy_classes.gradient("input")
def _(grad_out, input, target, weight, reduction, ignore_index, smoothing, lse, total):
    if grad_out is None:
        return None
    d = min(1, input.spec.ndim - 1)
    if LOCAL.grad:  # second derivatives go through the sum of exponentials too
        lse = logsumexp_rows(input, dims=(d,))
    total = total.detach() if reduction == "mean" else None
    first, step, along = _weights(weight, input)
    given = _given(ignore_index=ignore_index, smoothing=smoothing, step=step)
    apart = not LOCAL.grad and not smoothing and input.spec.numel > MANY and input.spec.dtype.itemsize > 2
    if apart:
        given["hits"] = False
    out = cross_entropy_gradient(
        grad_out, input, target, first, along if smoothing else None, lse, total, dims=(d,), **given
    )
    if apart:
        _subtract_hits(out, d, grad_out, target, first, step, total, ignore_index)
    return out


cross_entropy_classes.operator.node_class.__name__ = "NllLossBackward0"


@traced(rows=True, kinds="f")
def cross_entropy_shares(input, target, weights, *, smoothing=0.0):
    """Of each row: -log softmax(input), averaged with the shares of classes that the target holds."""
    high = ir.reduce("max", input)
    lse = ir.log(ir.reduce("sum", ir.exp(input - high))) + high
    return ir.reduce("sum", _shares(target, weights, smoothing) * (lse - input))


def _shares(target, weights, smoothing):
    if smoothing.__class__ is not float or smoothing != 0:
        target = target * (1 - smoothing) + smoothing / ir.cast(ir.count(), target.dtype)
    return target if weights is None else target * weights


def _lse(x):
    high = ir.reduce("max", x)
    return ir.log(ir.reduce("sum", ir.exp(x - high))) + high


@cross_entropy_shares.gradient("input")
def _(grad, input, target, weights, smoothing):
    shares = _shares(target, weights, smoothing)
    return grad * (ir.exp(input - _lse(input)) * ir.reduce("sum", shares) - shares)


@cross_entropy_shares.gradient("target")
def _(grad, input, weights, smoothing):
    g = grad * (_lse(input) - input) * (1 - smoothing)
    return g if weights is None else g * weights


cross_entropy_shares.operator.node_class.__name__ = "DivBackward1"


def _check_weight(input: Tensor, weight: Tensor | None, classes: int, whole: bool = True) -> None:
    if weight is None:
        return
    if weight.spec.ndim != 1 or weight.spec.numel != classes:
        tail = (
            f" for all {classes} classes or no classes but got weight tensor of shape: {list(weight.spec.shape)}"
            if whole
            else " for all or no classes"
        )
        fail(RuntimeError, f"weight tensor should be defined either{tail}")
    if weight.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"expected scalar type {dtype_title(input.spec.dtype)} but found {dtype_title(weight.spec.dtype)}",
        )
    _not_differentiable("nll_loss_forward", "weight", weight)


def _check_classes(input: Tensor, target: Tensor) -> None:
    """The shapes and dtypes of logits and class indices."""
    s, t = input.spec, target.spec
    if s.ndim == 1 and t.ndim == 1 and t.numel != 1:
        fail(ValueError, f"For 1D input, 1D target must have size 1, but got target size: {t.numel}")
    if s.ndim > 1 and (not t.ndim or s.shape[0] != t.shape[0]):
        batch = t.shape[0] if t.ndim else 0
        fail(ValueError, f"Expected input batch_size ({s.shape[0]}) to match target batch_size ({batch}).")
    if s.ndim == 4 and t.ndim != 3:
        fail(
            RuntimeError,
            f"only batches of spatial targets supported (3D tensors) but got targets of dimension: {t.ndim}",
        )
    if s.ndim <= 2 and t.ndim > 1:
        fail(RuntimeError, "0D or 1D target tensor expected, multi-target not supported")
    if s.ndim > 2 and tuple(t.shape[1:]) != tuple(s.shape[2:]):
        if s.ndim == 4:
            fail(RuntimeError, f"size mismatch (got input: {list(s.shape)} , target: {list(t.shape)}")
        fail(RuntimeError, f"Expected target size {[s.shape[0], *s.shape[2:]]}, got {list(t.shape)}")
    if t.dtype not in (dt.int64, dt.uint8):
        fail(
            RuntimeError,
            f"expected target dtype to be Long or Byte, but got {dtype_title(t.dtype)}",
            mend="target.long()",
        )


def _need_float(input: Tensor, name: str) -> None:
    if input.spec.dtype.kind != "f":
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(input.spec.dtype)}'")


def cross_entropy_loss(input, target, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0) -> Tensor:
    """-log softmax(x) at the target.

    Parameters
    ----------
    input : Tensor
        Logits: (C), (N, C) or (N, C, d1, ...).
    target : Tensor
        Class indices, without the dim C; or shares of classes, of the shape of `input`.
    weight : Tensor, optional
        A factor for each class; the mean divides by their sum over targets.
    ignore_index : int
        A target that counts nothing.
    label_smoothing : float
        How much of the target is spread evenly over all classes.
    """
    if (
        isinstance(target, Tensor)
        and _key(input, target, weight, reduction, ignore_index, float(label_smoothing)) in _READY
        and not (weight is not None and followed(weight))
    ):
        return cross_entropy_classes(input, target, weight, reduction, ignore_index, float(label_smoothing))[0]
    s = input.spec
    if not 0.0 <= label_smoothing <= 1.0:
        fail(RuntimeError, f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if reduction not in ("none", "mean", "sum"):
        fail(ValueError, f"{reduction} is not a valid value for reduction", expected="none, mean or sum")
    d = min(1, s.ndim - 1)
    smoothing = float(label_smoothing)
    if s.shape == target.spec.shape:
        if target.spec.dtype.kind != "f":
            fail(
                RuntimeError,
                "Expected floating point type for target with class probabilities, got "
                f"{dtype_title(target.spec.dtype)}",
                mend="target.to(input.dtype)",
            )
        if ignore_index >= 0:
            fail(RuntimeError, "ignore_index is not supported for floating point target")
        _need_float(input, "log_softmax_lastdim_kernel_impl" if s.ndim < 3 else "softmax_kernel_impl")
        if weight is not None and (weight.spec.ndim != 1 or weight.spec.numel != s.shape[d]):
            fail(
                RuntimeError,
                f"cross_entropy: weight tensor should be defined either for all {s.shape[d]} classes or no "
                f"classes but got weight tensor of shape: {list(weight.spec.shape)}",
            )
        along = _weights(weight, input)[2]
        loss = cross_entropy_shares(input, target, along, dims=(d,), **({"smoothing": smoothing} if smoothing else {}))
        if reduction == "none":
            return loss
        return (mean_rows if reduction == "mean" else sum_rows)(loss, dims=_all(loss))
    if s.ndim < 1:
        fail(ValueError, f"Expected 1 or more dimensions (got {s.ndim})")
    _need_float(input, "log_softmax_lastdim_kernel_impl" if s.ndim < 3 else "log_softmax_kernel_impl")
    _check_classes(input, target)
    _check_weight(input, weight, s.shape[d])
    if s.ndim == 1 and target.spec.ndim == 1:
        target = reshape(target, ())
    return cross_entropy_classes(input, target, weight, reduction, ignore_index, smoothing)[0]


# --- negative log-likelihood --------------------------------------------------------------------------------------


def _likelihood(input, target, weight, ignore_index, classes, stride, step):
    """(loss, weight, whether the target is wrong) of each target; `input` is at the first class."""
    index, valid, wrong = _placed(target, ignore_index, _number(classes))
    factor = _class_weight(index, weight, valid, input.dtype, step)
    value = _at(input, index * _number(stride), valid)
    return ir.select(valid, -factor * value, ir.const(0, input.dtype)), factor, wrong


NLL = {"kinds": "f", "keep": CLASS, "static": ("ignore_index",), "whole": WHOLE, "differentiable": False}


@traced(rows=True, results=(None, "compute", dt.bool_), **{**NLL, "static": ("ignore_index", "average")})
def nll_reduced(input, target, weight, *, classes, stride, step=1, ignore_index=-100, average=True):
    loss, factor, wrong = _likelihood(input, target, weight, ignore_index, classes, stride, step)
    total, whole = ir.reduce("sum", loss), ir.reduce("sum", factor)
    return (total / whole if average else total), whole, ir.reduce("any", wrong)


@traced(**NLL)
def nll_each(input, target, weight, *, classes, stride, step=1, ignore_index=-100):
    return _likelihood(input, target, weight, ignore_index, classes, stride, step)[0]


@traced(
    rows=True,
    kinds="f",
    keep=(*CLASS, "total"),
    per_row=("into", *CLASS, "total"),
    static=("ignore_index",),
    whole=WHOLE,
    row_results=(False,),
)
def nll_gradient(into, target, weight, total, *, step=1, ignore_index=-100):
    index, valid, _ = _placed(target, ignore_index, ir.count())
    factor = _class_weight(index, weight, valid, into.dtype, step) * into
    if total is not None:
        factor = factor / ir.cast(total, into.dtype)
    hit = ir.and_(valid, _is_class(index))
    return ir.select(hit, -factor, ir.const(0, into.dtype))


@function(tensors=("input",), outputs=("out", "total"), fill=False)
def nll_classes(input, target, weight, reduction, ignore_index):
    d = min(1, input.spec.ndim - 1)
    first, step, _ = _weights(weight, input)
    classes = input.spec.shape[d]
    given = {"classes": classes, "stride": input.spec.strides[d], **_given(ignore_index=ignore_index, step=step)}
    at_first = select(input, d, 0) if classes else input
    how = {"average": reduction == "mean"}
    out, total, wrong = nll_reduced(at_first, target, first, dims=_all(target), **given, **how)
    if _any_misplaced("nll_loss", wrong, target, classes, ignore_index):
        _out_of_bounds(target, classes, ignore_index)
    return (nll_each(at_first, target, first, **given) if reduction == "none" else out), total


@nll_classes.gradient("input")
def _(grad_out, input_spec, target, weight, reduction, ignore_index, total):
    if grad_out is None:
        return None
    d = min(1, input_spec.ndim - 1)
    total = total.detach() if reduction == "mean" else None
    first, step = (None, 1) if weight is None else (select(weight, 0, 0), weight.spec.strides[0])
    given = _given(ignore_index=ignore_index, step=step)
    return nll_gradient(grad_out, target, first, total, dims=(d,), shape=input_spec.shape, **given)


nll_classes.operator.node_class.__name__ = "NllLossBackward0"


def nll_loss(input, target, weight=None, reduction="mean", ignore_index=-100) -> Tensor:
    """-x at the target's class; `input` holds log-probabilities: (C), (N, C) or (N, C, d1, ...)."""
    s = input.spec
    if s.ndim < 1:
        fail(ValueError, f"Expected 1 or more dimensions (got {s.ndim})")
    if reduction not in ("none", "mean", "sum"):
        fail(ValueError, f"{reduction} is not a valid value for reduction", expected="none, mean or sum")
    _need_float(input, "nll_loss_out_frame" if s.ndim < 3 else "nll_loss2d_forward_out_frame")
    _check_classes(input, target)
    _check_weight(input, weight, s.shape[min(1, s.ndim - 1)], whole=s.ndim < 3)
    if s.ndim == 1 and target.spec.ndim == 1:
        target = reshape(target, ())
    return nll_classes(input, target, weight, reduction, ignore_index)[0]
