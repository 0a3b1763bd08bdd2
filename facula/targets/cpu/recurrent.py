"""Recurrent layers of CPUs: all steps of one direction in one call, forward and backward; text: `recurrent_kernel`."""

import platform
from collections.abc import Callable
from functools import cache

from facula.native import builtins, jit

from . import matmul_kernel, recurrent_kernel, threads

__all__ = ["build", "recurrent", "recurrent_backward"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS = 0.02  # of a multiplication and addition, on one thread; decides when the GIL is let go ...
HIDDEN = 64  # ... as if the state had so many features


@cache
def recurrent(mode: str) -> Callable[..., None]:
    """All steps of one direction of a layer of float32, for `mode` RNN_TANH, RNN_RELU, LSTM or GRU.

    The result is a builtin with the arguments `recurrent_kernel.FORWARD` ::

        recurrent(gates, out, cells, h0, c0, weights, bias, work, count, batch, hidden)

    Parameters
    ----------
    gates : int
        Address of (rows, G * hidden), packed rows of all steps: the input's share of the sums of the gates with their
        biases; LSTM (i f g o) and GRU (r z n) write the gates over them.
    out, cells : int
        Of (rows, hidden), which are written: outputs; cells of LSTM, the state's share of the new gate of GRU.
    h0, c0 : int
        Of the initial state, (batch, hidden); c0 of LSTM alone.
    weights, bias : int
        Of (G * hidden, hidden) and, for GRU, (G * hidden): the state's.
    work : int
        Of (count, 4) int64, in the order of steps: first row, rows, first row of the step before or -1 for the initial
        state, first row of the state. Row i of such a piece belongs to the sequence (row of the state) + i.

    Notes
    -----
    All is dense. Bits do not depend on the number of threads, nor those of a sequence on its neighbours' lengths.
    """
    return build(mode, "forward", _shape())


@cache
def recurrent_backward(mode: str) -> Callable[..., None]:
    """The gradients that go from step to step ::

        recurrent_backward(sums, state_sums, flow, flow_cells, first_h, first_cells, grad, gates, out, cells, h0, c0,
                           weights, work, count, batch, hidden)

    `grad` is that of the outputs. `flow` and `flow_cells` (rows, hidden) hold what comes from the last states to the
    last rows of sequences and get what comes from each step to the one before; `first_h` and `first_cells` what comes
    to the initial state. `sums` and, different for GRU alone, `state_sums` get the gradients of the sums of the gates.
    """
    return build(mode, "backward", _shape())


def _shape() -> matmul_kernel.Shape:
    return matmul_kernel.shape_for(jit.machine.ready().features, platform.machine().lower())


_TEXTS = {
    "forward": ("recurrent", recurrent_kernel.forward_text, recurrent_kernel.FORWARD),
    "backward": ("recurrent_backward", recurrent_kernel.backward_text, recurrent_kernel.BACKWARD),
}


def build(mode: str, which: str, shape: matmul_kernel.Shape) -> Callable[..., None]:
    """The builtin for a given register tile, which the host must be able to run."""
    name, text, arguments = _TEXTS[which]
    return builtins.build(
        text(shape, mode),
        name,
        [recurrent_kernel.kind(x) for x in arguments],
        name=name,
        work=[arguments.index(x) for x in ("count", "batch", "hidden")],
        cost=_NS * HIDDEN * recurrent_kernel.GATES[mode],
        optimize="clean",
    )
