"""Connectionist temporal classification: the likelihood of a sequence of labels, whichever way it is laid over time.

Graves et al., 2006. The states of a sequence are its labels with blanks between them and at both ends; all samples and
states of one moment are one array, moments follow each other.
"""

from typing import Any

import numpy as np

from facula.autograd.node import dtype_title
from facula.core.tensor import Tensor
from facula.errors import fail

from .creation import array_on, from_numpy, host_array, numpy_view, zeros_of
from .declare import function
from .elementwise import true_divide
from .margins import REDUCTIONS, reduced
from .view import squeeze, unsqueeze

__all__ = ["ctc_loss"]


class Sequences:
    """The labels of a batch: `states` (N, 2 S + 1), what may be skipped, and how long everything is."""

    __slots__ = ("blank", "inputs", "lengths", "skips", "states")

    def __init__(self, targets: np.ndarray, inputs: np.ndarray, lengths: np.ndarray, blank: int):
        self.blank, self.inputs, self.lengths = blank, inputs, lengths
        self.states = np.full((len(lengths), 2 * targets.shape[1] + 1), blank, np.int64)
        self.states[:, 1::2] = targets
        self.skips = np.zeros(self.states.shape, bool)  # whether the state before the last may come before this one
        self.skips[:, 3::2] = self.states[:, 3::2] != self.states[:, 1:-2:2]

    def read(self, log_probs: np.ndarray) -> np.ndarray:
        """The log-probability of each state at each moment, (T, N, states)."""
        return np.take_along_axis(log_probs, self.states[None].repeat(len(log_probs), 0), 2)

    def last(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the last two states of each sample; without labels, of its only one twice."""
        return 2 * self.lengths, np.maximum(2 * self.lengths - 1, 0)


def _three(first, second, third, skips) -> np.ndarray:
    return np.logaddexp(np.logaddexp(first, second), np.where(skips, third, -np.inf))


def _shifted(x: np.ndarray, by: int) -> np.ndarray:
    """x[n, s - by], -inf outside."""
    found = np.full_like(x, -np.inf)
    if by > 0:
        found[:, by:] = x[:, :-by]
    else:
        found[:, :by] = x[:, -by:]
    return found


def _forward(read: np.ndarray, of: Sequences) -> np.ndarray:
    """log P(states so far end in s at t), (T, N, states)."""
    alpha = np.full_like(read, -np.inf)
    if len(read):
        alpha[0, :, 0] = read[0, :, 0]
        labelled = of.lengths > 0
        alpha[0, labelled, 1:2] = read[0, labelled, 1:2]
    for t in range(1, len(read)):
        x = alpha[t - 1]
        alpha[t] = _three(x, _shifted(x, 1), _shifted(x, 2), of.skips) + read[t]
    return alpha


def _backward(read: np.ndarray, of: Sequences) -> np.ndarray:
    """log P(states from s at t on to the end)."""
    beta, samples = np.full_like(read, -np.inf), np.arange(len(of.lengths))
    ends = np.full_like(read[0], -np.inf)
    for last in of.last():
        ends[samples, last] = 0
    skips = np.zeros_like(of.skips)
    skips[:, :-2] = of.skips[:, 2:]
    x = np.full_like(ends, -np.inf)
    for t in range(len(read) - 1, -1, -1):
        x = np.where((of.inputs == t + 1)[:, None], ends, _three(x, _shifted(x, -1), _shifted(x, -2), skips)) + read[t]
        beta[t] = x
    return beta


@function(tensors=("log_probs",), outputs=("out", "alpha"), fill=False)
def ctc(log_probs, sequences, zero_infinity):
    """(-log P of each sample, the table of the forward recursion)."""
    samples = np.arange(len(sequences.lengths))
    with np.errstate(all="ignore"):
        alpha = _forward(sequences.read(numpy_view(log_probs)), sequences)
        found = np.zeros(len(samples), alpha.dtype)
        some = sequences.inputs > 0
        final = [alpha[np.maximum(sequences.inputs - 1, 0), samples, last] for last in sequences.last()]
        both = np.where(sequences.lengths > 0, np.logaddexp(*final), final[0])
        found = np.where(some, -both, np.where(sequences.lengths > 0, np.inf, 0)).astype(alpha.dtype)
    if zero_infinity:
        found[np.isinf(found)] = 0
    return from_numpy(found), from_numpy(alpha)


@ctc.gradient("log_probs")
def _(grad_out, log_probs, sequences, zero_infinity, alpha):
    if grad_out is None:
        return None
    return ctc_back(grad_out, log_probs, sequences, zero_infinity, alpha.detach())


@function(tensors=("given", "log_probs"))
def ctc_back(given, log_probs, sequences, zero_infinity, alpha):
    """The gradient, for log-probabilities that sum up to 1."""
    numbers, alpha = numpy_view(log_probs), numpy_view(alpha)
    if not len(numbers):
        return zeros_of(log_probs.spec)
    samples, (last, before) = np.arange(len(sequences.lengths)), sequences.last()
    with np.errstate(all="ignore"):
        read = sequences.read(numbers)
        ends = alpha[np.maximum(sequences.inputs - 1, 0), samples]
        both = np.where(
            sequences.lengths > 0, np.logaddexp(ends[samples, last], ends[samples, before]), ends[samples, last]
        )
        shares = np.exp(alpha + _backward(read, sequences) - both[:, None] - read)
        shares[np.isinf(read)] = 0
        found = np.exp(numbers)
        for s in range(read.shape[2]):
            found[:, samples, sequences.states[:, s]] -= shares[:, :, s]
        found *= numpy_view(given)[:, None].astype(found.dtype)
    found[np.arange(len(numbers))[:, None] >= sequences.inputs] = 0
    if zero_infinity:
        found[:, np.isinf(both)] = 0
    return from_numpy(found)


@ctc_back.gradient("given", "log_probs")
def _(grad):
    fail(RuntimeError, "derivative for aten::_ctc_loss_backward is not implemented")


ctc.operator.node_class.__name__ = "CtcLossBackward0"


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
    labels = _read(targets).astype(np.int64)
    whole = labels.ndim == 1 and not single
    labels = labels.reshape(1, -1) if labels.ndim == 1 else labels
    inputs = _lengths(input_lengths, "input_lengths", batch, time, "at most the length of log_probs")
    most = labels.shape[1]
    lengths = _lengths(target_lengths, "target_lengths", batch, most, "at most as many as targets has")
    if whole:
        if lengths.sum() > most:
            fail(RuntimeError, "Expected targets to hold the labels of all samples", expected=lengths.sum(), got=most)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        at = starts[:, None] + np.arange(int(lengths.max(initial=0)))
        labels = labels[0][np.minimum(at, max(most - 1, 0))] if most else np.zeros((batch, 0), np.int64)
    elif len(labels) != batch:
        fail(RuntimeError, "Expected tensor to have size batch_size at dimension 0", expected=batch, got=len(labels))
    labels = labels[:, : int(lengths.max(initial=0))]
    labels = np.where(np.arange(labels.shape[1]) < lengths[:, None], labels, blank)
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        fail(RuntimeError, "targets must be in label range", expected=f"0 to {classes - 1}")
    loss = ctc(x, Sequences(labels, inputs, lengths, blank), bool(zero_infinity))[0]
    if reduction in ("mean", REDUCTIONS.index("mean")):
        return true_divide(loss, array_on(lengths, loss.spec.device).clamp_min(1).to(loss.spec.dtype)).mean()
    return squeeze(reduced(loss, reduction), 0) if single and reduction in ("none", 0) else reduced(loss, reduction)
