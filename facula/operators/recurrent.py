"""Recurrent layers: one direction over a whole sequence as one operator, with its backward through time; their cells.

The input's share of the gates is one matrix product for all steps. In float32 the target goes through the steps by
itself where it has a routine for that; else a step is one product with the state and one kernel, both settled before.
Backward goes through the steps once and makes the gradients of the weights at the end, again as one product each.
Stacks, directions and modules are in `nn/recurrent.py`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from facula import launch
from facula.core.dtype import dtype, float32
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result

from .copying import contiguous, copy_values
from .creation import fill_values
from .declare import function, view_of
from .joining import cat
from .matmul import linear
from .reduction import sum as sum_over
from .view import slice_dim, unsqueeze

__all__ = ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}

# --- steps as kernels: one element of the state ---------------------------------------------------------------------
# Forward writes the gates over their sums; backward writes the gradients of the sums.


def _lstm(i, f, g, o, c):
    i, f, g, o = ir.sigmoid(i), ir.sigmoid(f), ir.tanh(g), ir.sigmoid(o)
    c = f * c + i * g
    return i, f, g, o, c, o * ir.tanh(c)


def _lstm_back(i, f, g, o, c, before, grad, more, grad_c):
    t = ir.tanh(c)
    grad = grad + more
    grad_c = grad_c + grad * o * (1.0 - t * t)
    return (
        grad_c * g * i * (1.0 - i),
        grad_c * before * f * (1.0 - f),
        grad_c * i * (1.0 - g * g),
        grad * t * o * (1.0 - o),
        grad_c * f,
    )


def _gru(r, z, n, r_h, z_h, n_h, h):
    r, z = ir.sigmoid(r + r_h), ir.sigmoid(z + z_h)
    n = ir.tanh(n + r * n_h)
    return r, z, n, n_h, (h - n) * z + n


def _gru_back(r, z, n, n_h, h, grad, more):
    grad = grad + more
    grad_n = grad * (1.0 - z) * (1.0 - n * n)
    grad_r, grad_z = grad_n * n_h * r * (1.0 - r), grad * (h - n) * z * (1.0 - z)
    return grad_r, grad_z, grad_n, grad_r, grad_z, grad_n * r, grad * z


def _tanh(x):
    return (ir.tanh(x),)


def _tanh_back(h, grad, more):
    return ((grad + more) * (1.0 - h * h),)


def _relu(x):
    return (ir.maximum(x, ir.const(0, x.dtype)),)


def _relu_back(h, grad, more):
    return (ir.select(h > 0, grad + more, ir.const(0, h.dtype)),)


@functools.cache
def _kernel(body: Callable, kind: dtype) -> Kernel:
    from .promotion import opmath

    names = body.__code__.co_varnames[: body.__code__.co_argcount]
    values = body(*[ir.cast(ir.load(n, kind), opmath(kind)) for n in names])
    results = tuple(Result(f"out{i}", kind, v) for i, v in enumerate(values))
    return Kernel(body.__name__.strip("_"), tuple(Input(n, kind) for n in names), results)


@functools.cache
def _bound(body: Callable, kind: dtype, rows: int, width: int, steps: tuple[int, ...], where) -> Any:
    """Machine code of a step for so many rows; `steps` are the strides of rows, results first."""
    return launch.bind(_kernel(body, kind), (rows, width), None, [[s, 1] for s in steps], where)


# --- which rows follow which ------------------------------------------------------------------------------------------


@functools.cache
def _segments(sizes: tuple[int, ...], reverse: bool):
    """The order of work over packed rows: (first row, rows, first row before, row of the state).

    -1 before: the initial state. Also where sequences end: (first row, rows, row of the state); and runs of rows whose
    rows before are a run, too.
    """
    starts, at = [], 0
    for n in sizes:
        starts.append(at)
        at += n
    work, ends = [], []
    last = len(sizes) - 1
    if not reverse:
        for t, n in enumerate(sizes):
            work.append((starts[t], n, starts[t - 1] if t else -1, 0))
            left = sizes[t + 1] if t < last else 0
            if n > left:
                ends.append((starts[t] + left, n - left, left))
    else:
        for t in range(last, -1, -1):
            old = sizes[t + 1] if t < last else 0
            if old:
                work.append((starts[t], old, starts[t + 1], 0))
            if sizes[t] > old:
                work.append((starts[t] + old, sizes[t] - old, -1, old))
        ends.append((0, sizes[0], 0))
    runs: list[list[int]] = []  # (first row, rows, first row before, or -1 and row of the state)
    for first, n, before, row in sorted(work):
        if (
            before >= 0
            and runs
            and runs[-1][2] >= 0
            and runs[-1][0] + runs[-1][1] == first
            and runs[-1][2] + runs[-1][1] == before
        ):
            runs[-1][1] += n
        else:
            runs.append([first, n, before, row])
    return work, ends, runs


@functools.cache
def _table(sizes: tuple[int, ...], reverse: bool) -> np.ndarray:
    """The order of work as the target reads it."""
    return np.array(_segments(sizes, reverse)[0], np.int64)


def _whole(name: str, kind: dtype, w_hr: Tensor | None, work: Sequence, where) -> Any:
    """The target's routine that goes through all steps by itself, or None; a single step is a product and a kernel."""
    return launch.offered(name, where) if kind is float32 and w_hr is None and len(work) > 1 else None


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.ptr


class _Rows:
    """Row-major matrices of one dtype, their addresses, and products of some of their rows."""

    def __init__(self, kind: dtype, where):
        self.kind, self.where, self.item = kind, where, kind.itemsize
        self.run = launch.native("product", where)(kind)
        self.bound: dict[tuple, Any] = {}

    def empty(self, rows: int, width: int) -> Tensor:
        return launch.empty(dense(self.kind, (rows, width), self.where))

    def product(
        self,
        out: int,
        n: int,
        width: int,
        a: int,
        inner: int,
        weight: Any,
        transposed: bool,
        beta: float,
        bias: int = 0,
    ) -> None:
        """out[n, width] = a[n, inner] @ weight (or its transpose) + beta * out + bias, at addresses."""
        step = weight.spec.shape[1]
        b = (1, step) if transposed else (step, 1)
        self.run(
            out,
            a,
            weight.ptr,
            1,
            n,
            width,
            inner,
            0,
            width,
            1,
            0,
            inner,
            1,
            0,
            *b,
            1.0,
            beta,
            bias,
            0,
            1 if bias else 0,
        )

    def step(self, out: int, n: int, width: int, a: int, inner: int, weight: Any, transposed: bool, beta: float,
             bias: int = 0) -> None:  # fmt: skip
        """The same where many steps have the same sizes: those are settled once."""
        key = n, width, inner, transposed, beta
        bound = self.bound.get(key)
        if bound is None:
            ahead = weight.spec.shape[1]
            bound = self.bound[key] = launch.native("bind_product", self.where)(
                self.kind, batch=1, m=n, n=width, k=inner, c_row=width, c_col=1, a_row=inner, a_k=1,
                b_k=1 if transposed else ahead, b_col=ahead if transposed else 1, alpha=1.0, beta=beta, bias_col=1,
            )  # fmt: skip
        bound.function(out, a, weight.ptr, bias, *bound.tail)

    def weights(self, out: Tensor, rows: int, a: int, b: int, beta: float) -> None:
        """out = a[rows, m].T @ b[rows, k] + beta * out."""
        m, k = out.spec.shape
        self.run(out.ptr, a, b, 1, m, k, rows, 0, k, 1, 0, 1, m, 0, k, 1, 1.0, beta, 0, 0, 0)


BODIES = {
    "RNN_TANH": (_tanh, _tanh_back),
    "RNN_RELU": (_relu, _relu_back),
    "LSTM": (_lstm, _lstm_back),
    "GRU": (_gru, _gru_back),
}
OUTPUTS = ("out", "h", "c", "gates", "cells", "hidden")


@function(tensors=("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr"), outputs=OUTPUTS, fill=False)
def recurrent(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse):
    """Packed rows x (R, F), the state (B, H) -> outputs (R, H) and last states; then what backward wants."""
    x, w_ih, w_hh = contiguous(x), contiguous(w_ih), contiguous(w_hh)
    h0 = contiguous(h0)
    c0 = _dense(c0)
    w_hr = _dense(w_hr)
    s = x.spec
    rows, item = _Rows(s.dtype, s.device), s.dtype.itemsize
    gates_n, size = w_ih.spec.shape[0], w_ih.spec.shape[0] // GATES[mode]
    shown = h0.spec.shape[1]  # features of the output: fewer than `size` where it is projected
    total, batch = s.shape[0], h0.spec.shape[0]
    gru, lstm = mode == "GRU", mode == "LSTM"
    bias = None
    if b_ih is not None:  # those that are added at once are one bias
        bias = contiguous(b_ih) if gru else b_ih + b_hh
    gates = rows.empty(total, gates_n)
    rows.product(gates.ptr, total, gates_n, x.ptr, s.shape[1], w_ih, True, 0.0, 0 if bias is None else bias.ptr)
    out = rows.empty(total, shown)
    cells: Any = rows.empty(total, size) if lstm or gru else None  # GRU: the state's share of the new gate
    hidden: Any = rows.empty(total, size) if w_hr is not None else None
    share: Any = rows.empty(batch, gates_n) if gru else None
    b_hh = contiguous(b_hh) if gru and b_hh is not None else None
    body = BODIES[mode][0]
    work, ends, _ = _segments(sizes, reverse)
    whole = _whole("recurrence", s.dtype, w_hr, work, s.device)
    product = rows.step if len(work) > 1 else rows.product
    if whole:
        if gru and b_hh is None:
            b_hh = fill_values(rows.empty(1, gates_n), 0)
        whole(mode)(
            gates.ptr, out.ptr, _address(cells), h0.ptr, _address(c0), w_hh.ptr, _address(b_hh) if gru else 0,
            _table(sizes, reverse).ctypes.data, len(work), batch, size,
        )  # fmt: skip
    for first, n, before, row in () if whole else work:
        old = out.ptr + before * shown * item if before >= 0 else h0.ptr + row * shown * item
        at = gates.ptr + first * gates_n * item
        target = out.ptr + first * shown * item
        parts = [at + k * size * item for k in range(GATES[mode])]
        if gru:
            product(share.ptr, n, gates_n, old, shown, w_hh, True, 0.0, 0 if b_hh is None else b_hh.ptr)
            more = [share.ptr + k * size * item for k in range(3)]
            bound = _bound(body, s.dtype, n, size, (*(gates_n,) * 3, size, size, *(gates_n,) * 6, size), s.device)
            bound.function(*parts, cells.ptr + first * size * item, target, *parts, *more, old, *bound.tail)
            continue
        product(at, n, gates_n, old, shown, w_hh, True, 1.0)
        if lstm:
            c = cells.ptr + first * size * item
            old_c = cells.ptr + before * size * item if before >= 0 else c0.ptr + row * size * item
            h = target if hidden is None else hidden.ptr + first * size * item
            bound = _bound(body, s.dtype, n, size, (*(gates_n,) * 4, size, size, *(gates_n,) * 4, size), s.device)
            bound.function(*parts, c, h, *parts, old_c, *bound.tail)
            if hidden is not None:
                product(target, n, shown, h, size, w_hr, True, 0.0)
        else:
            bound = _bound(body, s.dtype, n, size, (size, size), s.device)
            bound.function(target, at, *bound.tail)
    h = _last(out, ends, batch)
    c = _last(cells, ends, batch) if lstm else _nothing(s)
    empty = _nothing(s)
    return out, h, c, gates, cells if cells is not None else empty, hidden if hidden is not None else empty


def _dense(x: Tensor | None) -> Any:
    return None if x is None else contiguous(x)


def _nothing(s: Spec) -> Tensor:
    return launch.empty(dense(s.dtype, (0,), s.device))


def _last(x: Tensor, ends, batch: int) -> Tensor:
    """The rows at which sequences end, in the order of the sequences."""
    width = x.spec.shape[1]
    made = launch.empty(dense(x.spec.dtype, (batch, width), x.spec.device))
    for first, n, row in ends:
        _copy_rows(made, row, x, first, n)
    return made


def _copy_rows(target: Tensor, row: int, source: Tensor, first: int, n: int) -> None:
    s = dense(target.spec.dtype, (n, target.spec.shape[1]), target.spec.device)
    step = target.spec.shape[1] * target.spec.dtype.itemsize
    copy_values(view_of(target, s, row * step), view_of(source, s, first * step))


@recurrent.gradient("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr")
def _(
    grad_out,
    grad_h,
    grad_c,
    x,
    h0,
    c0,
    w_ih,
    w_hh,
    b_ih,
    b_hh,
    w_hr,
    out,
    gates,
    cells,
    hidden,
    mode,
    sizes,
    reverse,
    needs,
):
    if not GUARD.active or LOCAL.grad:
        return _composed_gradients(
            grad_out, grad_h, grad_c, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse, needs
        )
    x, w_ih, w_hh, h0 = contiguous(x), contiguous(w_ih), contiguous(w_hh), contiguous(h0)
    c0 = _dense(c0)
    w_hr = _dense(w_hr)
    s = x.spec
    rows, item = _Rows(s.dtype, s.device), s.dtype.itemsize
    gates_n, size = w_ih.spec.shape[0], w_ih.spec.shape[0] // GATES[mode]
    shown, total, batch = h0.spec.shape[1], s.shape[0], h0.spec.shape[0]
    gru, lstm = mode == "GRU", mode == "LSTM"
    if grad_out is None:
        grad_out = fill_values(rows.empty(total, shown), 0)
    grad_out = contiguous(grad_out)
    sums = rows.empty(total, gates_n)  # gradients of the gates' sums
    state_sums = rows.empty(total, gates_n) if gru else sums  # of the state's share of them
    flow = rows.empty(total, shown)  # what comes to each output from the step after it
    flow_c: Any = rows.empty(total, size) if lstm else None
    first_h: Any = rows.empty(batch, shown)
    first_c: Any = rows.empty(batch, size) if lstm else None
    work, ends, runs = _segments(sizes, reverse)
    for target, given, width in ((flow, grad_h, shown), (flow_c, grad_c, size)):
        if target is None:
            continue
        given = None if given is None else contiguous(given)
        for first, n, row in ends:
            part = view_of(target, dense(s.dtype, (n, width), s.device), first * width * item)
            if given is None:
                fill_values(part, 0)
            else:
                _copy_rows(target, first, given, row, n)
    inner: Any = rows.empty(max(sizes), size) if w_hr is not None else None  # gradients of what is projected
    nothing: Any = fill_values(rows.empty(max(sizes), size), 0) if w_hr is not None else None
    totals: Any = rows.empty(total, shown) if w_hr is not None else None
    body = BODIES[mode][1]
    whole = _whole("recurrence_backward", s.dtype, w_hr, work, s.device)
    product = rows.step if len(work) > 1 else rows.product
    if whole:
        whole(mode)(
            sums.ptr, state_sums.ptr, flow.ptr, _address(flow_c), first_h.ptr, _address(first_c), grad_out.ptr,
            gates.ptr, out.ptr, _address(cells), h0.ptr, _address(c0), w_hh.ptr, _table(sizes, reverse).ctypes.data,
            len(work), batch, size,
        )  # fmt: skip
    for first, n, before, row in () if whole else reversed(work):
        at = sums.ptr + first * gates_n * item
        to_h = flow.ptr + before * shown * item if before >= 0 else first_h.ptr + row * shown * item
        old_h = out.ptr + before * shown * item if before >= 0 else h0.ptr + row * shown * item
        given, more = grad_out.ptr + first * shown * item, flow.ptr + first * shown * item
        gate = gates.ptr + first * gates_n * item
        parts = [gate + k * size * item for k in range(GATES[mode])]
        made = [at + k * size * item for k in range(GATES[mode])]
        if lstm:
            c = cells.ptr + first * size * item
            old_c = cells.ptr + before * size * item if before >= 0 else c0.ptr + row * size * item
            to_c = flow_c.ptr + before * size * item if before >= 0 else first_c.ptr + row * size * item
            if inner is not None:
                all_of_it = totals.ptr + first * shown * item
                added = _bound(_plus, s.dtype, n, shown, (shown,) * 3, s.device)
                added.function(all_of_it, given, more, *added.tail)
                product(inner.ptr, n, size, all_of_it, shown, w_hr, False, 0.0)
                given, more = inner.ptr, nothing.ptr
            bound = _bound(body, s.dtype, n, size, (*(gates_n,) * 4, size, *(gates_n,) * 4, *(size,) * 5), s.device)
            bound.function(*made, to_c, *parts, c, old_c, given, more, flow_c.ptr + first * size * item, *bound.tail)
            product(to_h, n, shown, at, gates_n, w_hh, False, 0.0)
        elif gru:
            own = state_sums.ptr + first * gates_n * item
            state_made = [own + k * size * item for k in range(3)]
            bound = _bound(body, s.dtype, n, size, (*(gates_n,) * 6, size, *(gates_n,) * 3, *(size,) * 4), s.device)
            bound.function(
                *made, *state_made, to_h, *parts, cells.ptr + first * size * item, old_h, given, more, *bound.tail
            )
            product(to_h, n, shown, own, gates_n, w_hh, False, 1.0)
        else:
            bound = _bound(body, s.dtype, n, size, (size,) * 4, s.device)
            bound.function(at, out.ptr + first * size * item, given, more, *bound.tail)
            product(to_h, n, shown, at, gates_n, w_hh, False, 0.0)
    found: dict[str, Any] = {"h0": first_h, "c0": first_c}
    if needs["x"]:
        found["x"] = rows.empty(total, s.shape[1])
        rows.product(found["x"].ptr, total, s.shape[1], sums.ptr, gates_n, w_ih, False, 0.0)
    if needs["w_ih"]:
        found["w_ih"] = rows.empty(*w_ih.spec.shape)
        rows.weights(found["w_ih"], total, sums.ptr, x.ptr, 0.0)
    if needs["w_hh"]:
        found["w_hh"] = rows.empty(*w_hh.spec.shape)
        beta = 0.0
        for first, n, before, row in runs:
            old = out.ptr + before * shown * item if before >= 0 else h0.ptr + row * shown * item
            rows.weights(found["w_hh"], n, state_sums.ptr + first * gates_n * item, old, beta)
            beta = 1.0
    if needs["b_ih"] or needs["b_hh"]:
        found["b_ih"] = sum_over(sums, 0)
        found["b_hh"] = sum_over(state_sums, 0) if gru else found["b_ih"]
    if needs["w_hr"]:
        found["w_hr"] = rows.empty(shown, size)
        rows.weights(found["w_hr"], total, totals.ptr, hidden.ptr, 0.0)
    return tuple(found.get(n) if needs[n] else None for n in ("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr"))


def _plus(a, b):
    return (a + b,)


recurrent.operator.node_class.__name__ = "RecurrentBackward0"

# --- the same of small operators, for gradients of gradients ----------------------------------------------------------


def _step(mode: str, gates: Tensor, h: Tensor, c: Any, w_hh, b_hh, w_hr):
    """One step: gates are the input's share; the new state."""
    more = linear(h, w_hh, b_hh)
    if mode == "LSTM":
        i, f, g, o = (gates + more).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h if w_hr is None else linear(h, w_hr), c
    if mode == "GRU":
        (x_r, x_z, x_n), (h_r, h_z, h_n) = gates.chunk(3, 1), more.chunk(3, 1)
        z, n = (x_z + h_z).sigmoid(), (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
        return (h - n) * z + n, None
    gates = gates + more
    return (gates.tanh() if mode == "RNN_TANH" else gates.clamp(min=0)), None


def _composed(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse):
    """What `recurrent` computes: (out, h, c)."""
    gates = linear(x, w_ih, b_ih)
    work, ends, _ = _segments(sizes, reverse)
    made: list[tuple[int, Tensor, Any]] = []
    by_start: dict[int, tuple[Tensor, Any]] = {}
    for first, n, before, row in work:
        if before >= 0:
            h, c = by_start[before]
            more: Any = by_start.get(before + h.spec.shape[0])
            while h.spec.shape[0] < n:  # rows that began later, in reverse
                h = cat([h, more[0]])
                c = None if c is None else cat([c, more[1]])
                more = by_start.get(before + h.spec.shape[0])
            h, c = slice_dim(h, 0, 0, n), None if c is None else slice_dim(c, 0, 0, n)
        else:
            h, c = slice_dim(h0, 0, row, row + n), None if c0 is None else slice_dim(c0, 0, row, row + n)
        h, c = _step(mode, slice_dim(gates, 0, first, first + n), h, c, w_hh, b_hh, w_hr)
        by_start[first] = (h, c)
        made.append((first, h, c))
    made.sort(key=lambda m: m[0])
    out = cat([h for _, h, _ in made])
    cells: Any = None if c0 is None else cat([c for _, _, c in made])
    order = sorted(ends, key=lambda e: e[2])
    h = cat([slice_dim(out, 0, first, first + n) for first, n, _ in order])
    c = None if cells is None else cat([slice_dim(cells, 0, first, first + n) for first, n, _ in order])
    return out, h, c


def _composed_gradients(grad_out, grad_h, grad_c, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse, needs):
    from facula.autograd import grad

    inputs = {"x": x, "h0": h0, "c0": c0, "w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh, "w_hr": w_hr}
    outs = _composed(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse)
    pairs = [(o, g) for o, g in zip(outs, (grad_out, grad_h, grad_c)) if o is not None and g is not None]
    wanted = [n for n in inputs if needs[n]]
    made = grad(
        [o for o, _ in pairs], [inputs[n] for n in wanted], [g for _, g in pairs], create_graph=True, allow_unused=True
    )
    found = dict(zip(wanted, made))
    return tuple(found.get(n) for n in inputs)


# --- layers and cells -------------------------------------------------------------------------------------------------


def recurrent_layer(
    mode: str, x: Tensor, state: tuple, weights: tuple, sizes: Sequence[int] | None = None, reverse: bool = False
) -> tuple[Tensor, Any]:
    """One direction of one layer.

    Parameters
    ----------
    mode : {"RNN_TANH", "RNN_RELU", "LSTM", "GRU"}
    x : Tensor
        (T, N, F), or (sum(sizes), F) for packed sequences.
    state : tuple of Tensor
        (N, H): h, and c of LSTM.
    weights : tuple
        w_ih, w_hh, b_ih, b_hh, w_hr; None for those that are absent. Gates are stacked: i f g o of LSTM, r z n of GRU.
    sizes : sequence of int, optional
        The number of sequences that have a step t, falling.
    reverse : bool
        From the end of each sequence to its beginning.

    Returns
    -------
    tuple
        (outputs, last state): (T, N, H) or (sum(sizes), H), and a tuple like `state`.
    """
    absent: list[Any] = [None] * (5 - len(weights))
    w_ih, w_hh, b_ih, b_hh, w_hr = (*weights, *absent)
    h0, c0 = (*state, None)[:2] if len(state) < 2 else state
    if w_ih.spec.device is not x.spec.device:
        fail(
            RuntimeError,
            f"Input and parameter tensors are not at the same device, found input tensor at {x.spec.device} and "
            f"parameter tensor at {w_ih.spec.device}",
        )
    if sizes is None:
        steps, batch = x.spec.shape[:2]
        if steps == 0:
            fail(RuntimeError, "Expected sequence length to be larger than 0 in RNN")
        if batch == 0:
            out, h, c = _empty_batch(x, h0, c0)
            return out, (h,) if mode != "LSTM" else (h, c)
        rows, packed = x.reshape(steps * batch, x.spec.shape[2]), (batch,) * steps
    else:
        rows, packed = x, tuple(sizes)
    out, h, c, *_ = recurrent(rows, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, mode, packed, bool(reverse))
    if sizes is None:
        out = out.view(steps, batch, out.spec.shape[1])
    return out, (h, c) if mode == "LSTM" else (h,)


def _empty_batch(x: Tensor, h0: Any, c0: Tensor | None):
    out = x.new_empty((x.spec.shape[0], 0, h0.spec.shape[1]))
    return out, h0, c0


def _check_cell(name: str, input: Tensor, states: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor) -> None:
    """The shapes of a cell's operands, in PyTorch's words."""
    if input.spec.shape[1] != w_ih.spec.shape[1]:
        fail(
            RuntimeError, f"input has inconsistent input_size: got {input.spec.shape[1]} expected {w_ih.spec.shape[1]}"
        )
    for k, h in enumerate(states):
        if h.spec.shape[0] != input.spec.shape[0]:
            fail(
                RuntimeError,
                f"Input batch size {input.spec.shape[0]} doesn't match hidden{k} batch size {h.spec.shape[0]}",
            )
        if h.spec.shape[1] != w_hh.spec.shape[1]:
            fail(
                RuntimeError,
                f"hidden{k} has inconsistent hidden_size: got {h.spec.shape[1]}, expected {w_hh.spec.shape[1]}",
            )


def _cell(mode: str, input: Tensor, states: tuple, w_ih, w_hh, b_ih, b_hh) -> Any:
    single = input.spec.ndim == 1
    if single:
        input, states = unsqueeze(input, 0), tuple(unsqueeze(s, 0) for s in states)
    _check_cell(mode, input, states, w_ih, w_hh)
    _, state = recurrent_layer(mode, unsqueeze(input, 0), states, (w_ih, w_hh, b_ih, b_hh, None))
    return tuple(s.squeeze(0) for s in state) if single else state


def lstm_cell(
    input: Tensor, hx: tuple, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> tuple:
    """One step of LSTM: (h, c) from x (N, F) and (h, c), each (N, H)."""
    if len(hx) != 2:
        fail(RuntimeError, "lstm_cell expects two hidden states")
    return _cell("LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def _make(mode: str, name: str, text: str) -> Any:
    def cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
        return _cell(mode, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]

    cell.__name__ = cell.__qualname__ = name
    cell.__doc__ = text
    return cell


gru_cell = _make("GRU", "gru_cell", "One step of GRU: h (N, H) from x (N, F) and h.")
rnn_tanh_cell = _make("RNN_TANH", "rnn_tanh_cell", "tanh(x w_ih^T + b_ih + h w_hh^T + b_hh).")
rnn_relu_cell = _make("RNN_RELU", "rnn_relu_cell", "relu(x w_ih^T + b_ih + h w_hh^T + b_hh).")
