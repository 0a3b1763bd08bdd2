"""Connectionist temporal classification: the likelihood of a sequence of labels, whichever way it is laid over time.

Graves et al., 2006. The states of a sequence are its labels with blanks between them and at both ends. A kernel goes
over all samples and states of one moment; moments follow each other.
"""

import math
from typing import Any

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from . import kernels
from .copying import cast, to_device
from .creation import arange, array_on, full, host_array
from .declare import function
from .elementwise import clamp_both, clamp_min, logical_not, lt, masked_fill, true_divide
from .indexing import first_outside, index_select
from .inplace import copy_, fill_
from .margins import REDUCTIONS, reduced
from .view import narrow, reshape, select, slice_dim, squeeze, unsqueeze

__all__ = ["ctc_loss"]


_LENGTHS = Input("inputs", dt.int64), Input("lengths", dt.int64)  # of each sample: moments and labels
_MOMENT, _CLASS_STEP = Param("moment", dt.int64), Param("class_step", dt.int64)


def _three(first, second, third):
    """The logarithm of a sum of exponentials."""
    most = ir.maximum(ir.maximum(first, second), third)
    finite = ir.select(ir.eq(most, -math.inf), ir.const(0, most.dtype), most)
    return ir.log(ir.exp(first - finite) + ir.exp(second - finite) + ir.exp(third - finite)) + finite


def _beside(name: str, kind, by: int, inside):
    """The element of the state `by` further on, -inf where there is none."""
    found = ir.load(name, kind, ir.const(by, dt.int64), inside)
    return ir.select(inside, found, ir.const(-math.inf, kind)) if kind.kind == "f" else found


def _emitted(kind):
    """The log-probability of a state at a moment."""
    return ir.load("log_probs", kind, ir.load("state", dt.int64) * ir.param("class_step", dt.int64))


@kernels.kernel
def _forward(kind) -> Kernel:
    """(N, states): log P(states so far end in s at t), from those at t - 1."""
    s = ir.index(1)
    skips = ir.and_(ir.ge(s, 2), ir.ne(ir.load("state", dt.int64), _beside("state", dt.int64, -2, ir.ge(s, 2))))
    before = ir.load("before", kind), _beside("before", kind, -1, ir.ge(s, 1)), _beside("before", kind, -2, skips)
    inputs = Input("log_probs", kind), Input("state", dt.int64), Input("before", kind)
    result = Result("alpha", kind, _three(*before) + _emitted(kind))
    return Kernel("ctc_forward", inputs, (result,), (_CLASS_STEP,))


@kernels.kernel
def _backward(kind) -> Kernel:
    """(N, states): log P(states from s at t on to the end), from those at t + 1."""
    s, last = ir.index(1), ir.load("lengths", dt.int64) * 2
    one, two = (ir.lt(s + by, ir.extent(1)) for by in (1, 2))
    skips = ir.and_(two, ir.ne(ir.load("state", dt.int64), _beside("state", dt.int64, 2, two)))
    after = ir.load("after", kind), _beside("after", kind, 1, one), _beside("after", kind, 2, skips)
    ended = ir.eq(ir.param("moment", dt.int64) + 1, ir.load("inputs", dt.int64))
    ends = ir.or_(ir.eq(s, last), ir.eq(s, last - 1))
    end = ir.select(ends, ir.const(0, kind), ir.const(-math.inf, kind))
    result = Result("beta", kind, ir.select(ended, end, _three(*after)) + _emitted(kind))
    inputs = Input("log_probs", kind), Input("state", dt.int64), Input("after", kind), *_LENGTHS
    return Kernel("ctc_backward", inputs, (result,), (_CLASS_STEP, _MOMENT))


def _both(kind):
    """log P of a sample: that its last moment ends in its last label or the blank behind."""
    row = ir.load("inputs", dt.int64) * ir.param("moment", dt.int64)  # row t + 1 of `alpha` is moment t
    last = ir.load("lengths", dt.int64) * 2
    some, none = ir.gt(last, 0), ir.const(-math.inf, kind)
    label = ir.select(some, ir.load("alpha", kind, row + last - 1, some), none)
    return _three(ir.load("alpha", kind, row + last), label, none)


@kernels.kernel
def _loss(kind, zero_infinity: bool) -> Kernel:
    """(N): -log P."""
    found = -_both(kind)
    if zero_infinity:
        found = ir.select(ir.isinf(found), ir.const(0, kind), found)
    return Kernel("ctc_loss", (Input("alpha", kind), *_LENGTHS), (Result("out", kind, found),), (_MOMENT,))


def _counts(kind, zero_infinity: bool):
    """Whether a moment is one of the sample's, whose loss counts; and log P of the sample."""
    both = _both(kind)
    counts = ir.lt(ir.index(0), ir.load("inputs", dt.int64))
    return ir.and_(counts, ir.not_(ir.isinf(both))) if zero_infinity else counts, both


@kernels.kernel
def _of_classes(kind, zero_infinity: bool) -> Kernel:
    """(T, N, classes): what the gradient is where no label is read."""
    counts, _ = _counts(kind, zero_infinity)
    found = ir.exp(ir.load("log_probs", kind)) * ir.load("given", kind)
    inputs = Input("log_probs", kind), Input("given", kind), Input("alpha", kind), *_LENGTHS
    result = Result("out", kind, ir.select(counts, found, ir.const(0, kind)))
    return Kernel("ctc_classes", inputs, (result,), (_MOMENT,))


@kernels.kernel
def _of_states(kind, zero_infinity: bool) -> Kernel:
    """(T, N) x states: the shares of the states, taken off the classes that they read."""
    counts, both = _counts(kind, zero_infinity)
    read = _emitted(kind)
    counts = ir.and_(counts, ir.not_(ir.isinf(read)))
    share = ir.exp(ir.load("now", kind) + ir.load("beta", kind) - both - read)
    inputs = Input("log_probs", kind), Input("state", dt.int64), Input("given", kind), Input("alpha", kind)
    result = Result("out", kind, -share * ir.load("given", kind), offset=ir.load("state", dt.int64), where=counts,
                    combine="add")  # fmt: skip
    inputs = (*inputs, Input("now", kind), Input("beta", kind), *_LENGTHS)
    return Kernel("ctc_states", inputs, (result,), (_CLASS_STEP, _MOMENT), disjoint=True)


@function(tensors=("log_probs",), outputs=("out", "alpha"), fill=False)
def ctc(log_probs, states, inputs, lengths, zero_infinity):
    """(-log P of each sample, the table of the forward recursion); row t + 1 of the table is moment t."""
    (time, batch, _), kind, width = log_probs.spec.shape, log_probs.spec.dtype, states.spec.shape[1]
    alpha = full((time + 1, batch, width), -math.inf, dtype=kind, device=log_probs.spec.device)
    fill_(select(select(alpha, 0, 0), 1, 0), 0)  # before the first moment
    at, by, by_class = log_probs.spec.strides
    own, size = (width, 1), kind.itemsize
    code = kernels.bound(_forward(kind), (batch, width), None, [own, (by, 0), own, own], log_probs.spec.device)
    for t in range(time):
        row = alpha.ptr + t * batch * width * size
        launch.run(code, (row + batch * width * size, log_probs.ptr + t * at * size, states.ptr, row), (by_class,))
    out = launch.empty(dense(kind, (batch,), log_probs.spec.device))
    steps = [[1], [width], [1], [1]]
    kernels.run(_loss(kind, zero_infinity), (batch,), None, [out, alpha, inputs, lengths], steps, (batch * width,))
    return out, alpha


@ctc.gradient("log_probs")
def _(grad_out, log_probs, states, inputs, lengths, zero_infinity, alpha):
    if grad_out is None:
        return None
    return ctc_back(grad_out, log_probs, states, inputs, lengths, zero_infinity, alpha.detach())


@function(tensors=("given", "log_probs"))
def ctc_back(given, log_probs, states, inputs, lengths, zero_infinity, alpha):
    """The gradient, for log-probabilities that sum up to 1."""
    (time, batch, classes), kind, width = log_probs.spec.shape, log_probs.spec.dtype, states.spec.shape[1]
    where, size = log_probs.spec.device, kind.itemsize
    beta = full((time + 1, batch, width), -math.inf, dtype=kind, device=where)
    at, by, by_class = log_probs.spec.strides
    own = (width, 1)
    steps = [own, (by, 0), own, own, (1, 0), (1, 0)]
    code = kernels.bound(_backward(kind), (batch, width), None, steps, where)
    for t in range(time - 1, -1, -1):
        row = beta.ptr + t * batch * width * size
        pointers = row, log_probs.ptr + t * at * size, states.ptr, row + batch * width * size, inputs.ptr, lengths.ptr
        launch.run(code, pointers, (by_class, t))
    out = launch.empty(dense(kind, (time, batch, classes), where))
    each, start, table = (0, given.spec.strides[0], 0), (0, width, 0), (batch * width, width, 1)
    kernels.run(
        _of_classes(kind, zero_infinity), out.spec.shape, None, [out, log_probs, given, alpha, inputs, lengths],
        [out.spec.strides, log_probs.spec.strides, each, start, (0, 1, 0), (0, 1, 0)], (batch * width,),
    )  # fmt: skip
    now = narrow(alpha, 0, 1, time)
    kernels.run(
        _of_states(kind, zero_infinity), (time, batch), (width,),
        [out, log_probs, states, given, alpha, now, beta, inputs, lengths],
        [(*out.spec.strides[:2], 0), (at, by, 0), (0, width, 1), each, start, table, table, (0, 1, 0), (0, 1, 0)],
        (by_class, batch * width),
    )  # fmt: skip
    return out


@ctc_back.gradient("given", "log_probs")
def _(grad):
    fail(RuntimeError, "derivative for aten::_ctc_loss_backward is not implemented")


ctc.operator.node_class.__name__ = "CtcLossBackward0"


def _states(labels: Tensor, lengths: Tensor, blank: int, classes: int) -> Tensor:
    """The classes that states read, (N, 2 S + 1): labels (N, S) with blanks around them, blanks behind the last."""
    batch, longest = labels.spec.shape
    states = full((batch, 2 * longest + 1), blank, dtype=dt.int64, device=labels.spec.device)
    if longest:
        inside = lt(arange(longest, device=labels.spec.device), unsqueeze(lengths, 1))
        labels = masked_fill(labels, logical_not(inside), blank)
        if first_outside("ctc_loss", labels, classes) is not None:
            fail(RuntimeError, "targets must be in label range", expected=f"0 to {classes - 1}")
        # Where that is told later, nothing else is read in their place.
        copy_(slice_dim(states, 1, 1, None, 2), clamp_both(labels, 0, classes - 1))
    return states


def _read(given: Tensor) -> np.ndarray:
    """The numbers of a tensor; zeros where there are none to be had, which fit any shape."""
    found = host_array(given)
    return np.zeros(given.spec.shape, np.int64) if found is None else found


def _lengths(given: Any, name: str, batch: int, most: int, what: str) -> np.ndarray:
    if isinstance(given, Tensor):
        if given.spec.dtype.kind not in "ui":
            fail(RuntimeError, f"{name} must be integral")
        given = _read(given).reshape(-1)
    found = np.asarray(given, np.int64).reshape(-1)
    if len(found) != batch:
        fail(RuntimeError, f"{name} must be of size batch_size", expected=batch, got=len(found))
    if found.size and found.min() < 0:
        fail(RuntimeError, f"Expected {name} to have value at least 0, but got value {found.min()}")
    if found.size and found.max() > most:
        fail(
            RuntimeError,
            f"Expected {name} to have value at most {most}, but got value {found.max()} (while checking arguments for "
            "ctc_loss_cpu)",
            expected=what,
        )
    return found


def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank: int = 0, reduction: str | int = 1, zero_infinity=False
) -> Tensor:
    """-log P(targets | log_probs), over all ways to lay the targets over time.

    Parameters
    ----------
    log_probs : Tensor
        Log-probabilities of classes, (T, N, C) or (T, C).
    targets : Tensor
        Labels, (N, S), (S) or those of all samples one after the other.
    input_lengths, target_lengths : Tensor or sequence of int
    blank : int
        The class that is no label.
    reduction : {"none", "mean", "sum"} or its number
        The mean is that of losses divided by the targets' lengths.
    zero_infinity : bool
        Whether infinite losses (targets longer than their input) and their gradients count as 0.
    """
    single = log_probs.dim() == 2
    x = unsqueeze(log_probs, 1) if single else log_probs
    if x.dim() != 3:
        fail(RuntimeError, "log_probs must be (T, N, C) or (T, C)", got=tuple(log_probs.shape))
    if x.spec.dtype.name not in ("float32", "float64"):
        fail(NotImplementedError, f"\"ctc_loss_cpu\" not implemented for '{dtype_title(x.spec.dtype)}'")
    if targets.spec.dtype.name not in ("int64", "int32"):
        fail(
            RuntimeError,
            f"Expected tensor for argument #2 'targets' to have scalar type Int; but got {targets.type()} instead "
            "(while checking arguments for ctc_loss_cpu)",
        )
    time, batch, classes = x.spec.shape
    if not 0 <= blank < classes:
        fail(RuntimeError, "blank must be in label range", expected=f"0 to {classes - 1}", got=blank)
    single_row = targets.dim() == 1
    inputs = _lengths(input_lengths, "input_lengths", batch, time, "at most the length of log_probs")
    most = targets.shape[-1] if targets.dim() else 1
    lengths = _lengths(target_lengths, "target_lengths", batch, most, "at most as many as targets has")
    longest, labels = int(lengths.max(initial=0)), cast(targets.detach(), dt.int64)
    if single_row and not single:
        if lengths.sum() > most:
            fail(RuntimeError, "Expected targets to hold the labels of all samples", expected=lengths.sum(), got=most)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        at = np.minimum(starts[:, None] + np.arange(longest), max(most - 1, 0))
        labels = reshape(index_select(labels, 0, array_on(at.reshape(-1), labels.spec.device)), at.shape)
    else:
        labels = reshape(labels, (1, -1)) if single_row else labels
        if labels.spec.shape[0] != batch:
            got = labels.spec.shape[0]
            fail(RuntimeError, "Expected tensor to have size batch_size at dimension 0", expected=batch, got=got)
        labels = narrow(labels, 1, 0, longest)
    where = x.spec.device
    inputs, lengths = array_on(inputs, where), array_on(lengths, where)
    states = _states(to_device(labels, where), lengths, blank, classes)
    loss = ctc(x, states, inputs, lengths, bool(zero_infinity))[0]
    if reduction in ("mean", REDUCTIONS.index("mean")):
        return true_divide(loss, cast(clamp_min(lengths, 1), loss.spec.dtype)).mean()
    return squeeze(reduced(loss, reduction), 0) if single and reduction in ("none", 0) else reduced(loss, reduction)
