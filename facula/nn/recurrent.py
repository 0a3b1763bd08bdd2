"""PyTorch's recurrent modules: layers in stacks and directions; a layer and its steps are operators."""

import math
import warnings
from numbers import Number
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import cat, empty, stack, zeros
from facula.operators.recurrent import GATES, recurrent_layer

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence

__all__ = [
    "GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase", "gru", "lstm", "rnn_relu",
    "rnn_tanh",
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Layers on top of each other; one direction of one layer is an operator


def _stacked(mode: str, x, states: tuple, weights: list[tuple], sizes, directions: int, dropout: float):
    """Layers on top of each other; `states[k]` is (layers * directions, N, H). (outputs, last states)."""
    last: list[tuple] = []
    for layer in range(len(weights) // directions):
        outputs = []
        for direction in range(directions):
            at = layer * directions + direction
            out, state = recurrent_layer(mode, x, tuple(s[at] for s in states), weights[at], sizes, direction == 1)
            outputs.append(out)
            last.append(state)
        x = outputs[0] if directions == 1 else cat(outputs, -1)
        if dropout and (layer + 1) * directions < len(weights):
            x = F.dropout(x, dropout, True)
    return x, tuple(stack(parts) for parts in zip(*last))


def _function(mode: str, name: str, text: str):
    """The function of `torch` that modules of this kind apply, in both of its forms."""
    names = "has_biases num_layers dropout train bidirectional batch_first".split()

    def run(input: Tensor, *args, **options) -> tuple:
        first, second = (*args, None, None)[:2]
        packed = isinstance(first, Tensor) and (mode == "LSTM" or isinstance(second, Tensor))
        packed = packed or "batch_sizes" in options
        head = ("batch_sizes", "hx", "params") if packed else ("hx", "params")
        given = {**dict(zip((*head, *names), args)), **options}
        states = given["hx"] if mode == "LSTM" else (given["hx"],)
        directions, params = 2 if given["bidirectional"] else 1, list(given["params"])
        each = len(params) // (given["num_layers"] * directions)
        weights = []
        for at in range(0, len(params), each):
            w_ih, w_hh, *rest = params[at : at + each]
            biases = rest[:2] if given["has_biases"] else [None, None]
            weights.append((w_ih, w_hh, *biases, rest[-1] if len(rest) % 2 else None))
        swap = bool(given.get("batch_first")) and not packed
        x = input.transpose(0, 1) if swap else input
        sizes = given["batch_sizes"].tolist() if packed else None
        dropout = given["dropout"] if given["train"] else 0.0
        out, states = _stacked(mode, x, tuple(states), weights, sizes, directions, dropout)
        return (out.transpose(0, 1) if swap else out, *states)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"""{text}

    Two forms: (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first), and for packed
    sequences (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional). `params` are the
    weights of each direction of each layer one after the other; returns (output, *last states).
    """
    return run


lstm = _function("LSTM", "lstm", "What `nn.LSTM` computes; `hx` are its two states.")
gru = _function("GRU", "gru", "What `nn.GRU` computes.")
rnn_tanh = _function("RNN_TANH", "rnn_tanh", "What `nn.RNN` computes.")
rnn_relu = _function("RNN_RELU", "rnn_relu", "What `nn.RNN` with `nonlinearity='relu'` computes.")


# ---------------------------------------------------------------------------------------------------------------------
# Modules


_KEPT = ("_flat_weights_names", "_flat_weights")


class RNNBase(Module):
    """What RNN, LSTM and GRU share.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of the input and of the state.
    num_layers : int
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, F) and not (T, N, F).
    dropout : float
        Probability of dropout after each layer but the last.
    bidirectional : bool
    proj_size : int
        LSTM alone: features of the output, if it is projected.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_hr_l0, weight_ih_l0_reverse, ... : Parameter
        From U(-k, k) with k = 1 / sqrt(hidden_size); gates are stacked: i f g o of LSTM, r z n of GRU.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        if not isinstance(dropout, Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            fail(
                ValueError,
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
                got=dropout,
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=2,
            )
        for name, value, kind in (
            ("bias", bias, bool),
            ("batch_first", batch_first, bool),
            ("input_size", input_size, int),
            ("hidden_size", hidden_size, int),
        ):
            if not isinstance(value, kind):
                fail(TypeError, f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if value <= 0:
                fail(ValueError, f"{name} must be greater than zero", got=value)
        if proj_size < 0:
            fail(ValueError, "proj_size should be a positive integer or zero to disable projections", got=proj_size)
        if proj_size >= hidden_size:
            fail(ValueError, "proj_size has to be smaller than hidden_size", got=f"{proj_size} and {hidden_size}")
        if mode not in GATES:
            fail(ValueError, "Unrecognized RNN mode: " + mode, expected=", ".join(GATES))
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size

        gates = GATES[mode] * hidden_size
        directions = 2 if bidirectional else 1
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            features = input_size if layer == 0 else (proj_size or hidden_size) * directions
            sizes = {"weight_ih": (gates, features), "weight_hh": (gates, proj_size or hidden_size)}
            if bias:
                sizes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                sizes["weight_hr"] = (proj_size, hidden_size)
            for direction in range(directions):
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                self._all_weights.append([name + suffix for name in sizes])
                for name, size in sizes.items():
                    setattr(self, name + suffix, Parameter(empty(size, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each direction of each layer."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def __getstate__(self):  # PyTorch keeps what are properties here, and reads it from files
        return super().__getstate__() | {name: list(getattr(self, name)) for name in _KEPT}

    def __setstate__(self, state):
        super().__setstate__({"proj_size": 0} | {name: value for name, value in state.items() if name not in _KEPT})

    def _weights(self) -> list[tuple]:
        """(w_ih, w_hh, b_ih, b_hh, w_hr) of each direction of each layer, None for those that are absent."""
        result = []
        for names in self._all_weights:
            w_ih, w_hh, *rest = (getattr(self, name) for name in names)
            b_ih, b_hh = rest[:2] if self.bias else (None, None)
            result.append((w_ih, w_hh, b_ih, b_hh, rest[-1] if self.proj_size else None))
        return result

    def flatten_parameters(self) -> None:
        """Does nothing: PyTorch's cuDNN wants its weights in one piece."""

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        return text + "".join(
            f", {name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value
        )

    # --- checks

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Dtype, number of dims and features of the input."""
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if input.dtype != dtype:
            fail(
                ValueError,
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert input: "
                f"input.to({dtype}), or convert model: model.to({input.dtype})",
            )
        dims = 2 if batch_sizes is not None else 3
        if input.dim() != dims:
            fail(RuntimeError, f"input must have {dims} dimensions, got {input.dim()}")
        if self.input_size != input.shape[-1]:
            fail(
                RuntimeError,
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}",
            )

    def _expected(self, input: Tensor, batch_sizes: Tensor | None, features: int) -> tuple[int, int, int]:
        batch = int(batch_sizes[0]) if batch_sizes is not None else input.shape[0 if self.batch_first else 1]
        return self.num_layers * (2 if self.bidirectional else 1), batch, features

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the hidden state that goes with `input`."""
        return self._expected(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple, msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """RuntimeError unless the state has the expected shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            fail(RuntimeError, msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """RuntimeError or ValueError unless input and state (of an LSTM: a pair) fit this layer."""
        self._check_states(input, (hidden,) if isinstance(hidden, Tensor) else hidden, batch_sizes)

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The state (of an LSTM: a pair) with its sequences in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, Tensor):
            return hx.index_select(1, permutation)
        return tuple(state.index_select(1, permutation) for state in hx)

    # --- the common forward; a state is a tuple of tensors here

    def _check_states(self, input: Tensor, states: tuple, batch_sizes: Tensor | None) -> None:
        self.check_input(input, batch_sizes)
        self.check_hidden_size(states[0], self.get_expected_hidden_size(input, batch_sizes))

    def _zero_states(self, input: Tensor, batch_sizes: Tensor | None) -> tuple:
        return (zeros(self.get_expected_hidden_size(input, batch_sizes), dtype=input.dtype, device=input.device),)

    def _check_state_dims(self, states: tuple, batched: bool) -> None:
        want, kind = (3, "batched 3-D") if batched else (2, "unbatched 2-D")
        if states[0].dim() != want:
            fail(RuntimeError, f"For {kind} input, hx should also be {want}-D but got {states[0].dim()}-D tensor")

    def _run(self, input: Any, states: tuple | None, name: str) -> tuple[Any, tuple]:
        x: Any = input
        packed = input if isinstance(input, PackedSequence) else None
        batched = True
        batch_dim = 0 if self.batch_first else 1
        batch_sizes = order = back = None
        if packed is not None:
            x, batch_sizes, order, back = packed
        else:
            if x.dim() not in (2, 3):
                end = "D tensor instead" if name == "RNN" else "D instead"
                fail(ValueError, f"{name}: Expected input to be 2D or 3D, got {x.dim()}{end}")
            batched = x.dim() == 3
            if states is not None:
                self._check_state_dims(states, batched)
            if not batched:
                x = x.unsqueeze(batch_dim)
                states = None if states is None else tuple(s.unsqueeze(1) for s in states)
        if states is None:
            states = self._zero_states(x, batch_sizes)
        elif order is not None:
            states = tuple(s.index_select(1, order) for s in states)
        self._check_states(x, states, batch_sizes)

        swap = self.batch_first and packed is None
        if swap:
            x = x.transpose(0, 1)
        sizes = None if batch_sizes is None else batch_sizes.tolist()
        directions = 2 if self.bidirectional else 1
        dropout = self.dropout if self.training else 0.0
        output, states = _stacked(self.mode, x, states, self._weights(), sizes, directions, dropout)

        if packed is not None:
            if back is not None:
                states = tuple(s.index_select(1, back) for s in states)
            return PackedSequence(output, batch_sizes, order, back), states
        if swap:
            output = output.transpose(0, 1)
        if not batched:
            output = output.squeeze(batch_dim)
            states = tuple(s.squeeze(1) for s in states)
        return output, states


class RNN(RNNBase):
    """h_t = tanh(x_t A_ih^T + b_ih + h_{t-1} A_hh^T + b_hh), or with `nonlinearity="relu"`; parameters as `RNNBase`.

    `nonlinearity` comes fourth, after `num_layers`.
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            fail(ValueError, "proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            fail(ValueError, f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + nonlinearity.upper(), *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (h,) = self._run(input, None if hx is None else (hx,), "RNN")
        return output, h


class GRU(RNNBase):
    """Gated recurrent units; parameters as `RNNBase`."""

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            fail(ValueError, "proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (h,) = self._run(input, None if hx is None else (hx,), "GRU")
        return output, h


class LSTM(RNNBase):
    """Long short-term memory; parameters as `RNNBase`.

    Examples
    --------
    >>> import facula as torch
    >>> output, (h, c) = torch.nn.LSTM(10, 20, 2)(torch.zeros(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        return self._run(input, None if hx is None else tuple(hx), "LSTM")

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the cell state that goes with `input`."""
        return self._expected(input, batch_sizes, self.hidden_size)

    def _zero_states(self, input, batch_sizes):
        shape = self.get_expected_cell_size(input, batch_sizes)
        return (*super()._zero_states(input, batch_sizes), zeros(shape, dtype=input.dtype, device=input.device))

    def _check_state_dims(self, states, batched):
        want, kind = (3, "batched 3-D") if batched else (2, "unbatched 2-D")
        if any(s.dim() != want for s in states):
            fail(
                RuntimeError,
                f"For {kind} input, hx and cx should also be {want}-D but got "
                f"({states[0].dim()}-D, {states[1].dim()}-D) tensors",
            )

    def _check_states(self, input, states, batch_sizes):
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes), self.get_expected_cell_size(input, batch_sizes)
        for k in (0, 1):
            self.check_hidden_size(states[k], expected[k], f"Expected hidden[{k}] size {{}}, got {{}}")


class RNNCellBase(Module):
    """One step of a recurrent layer.

    Its parameters weight_ih, weight_hh, bias_ih, bias_hh come from U(-k, k) with k = 1 / sqrt(hidden_size).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device=None, dtype=None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((gates, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((gates, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(gates, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")

    def _step(self, mode: str, input: Tensor, states: tuple | None, names: tuple[str, ...]) -> tuple:
        cell = type(self).__name__
        if input.dim() not in (1, 2):
            fail(ValueError, f"{cell}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for name, state in zip(names, states or ()):
            if state.dim() not in (1, 2):
                fail(ValueError, f"{cell}: Expected {name} to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
            states = None if states is None else tuple(s.unsqueeze(0) for s in states)
        self._check(input, states)
        if states is None:
            zero = zeros(input.shape[0], self.hidden_size, dtype=input.dtype, device=input.device)
            states = (zero,) * len(names)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        _, new = recurrent_layer(mode, input.unsqueeze(0), states, weights)
        return new if batched else tuple(s.squeeze(0) for s in new)

    def _check(self, input: Tensor, states: tuple | None) -> None:
        if input.shape[1] != self.input_size:
            fail(
                RuntimeError,
                f"input has inconsistent input_size: got {input.shape[1]} expected {self.input_size}",
            )
        for k, state in enumerate(states or ()):
            if state.shape[0] != input.shape[0]:
                fail(
                    RuntimeError,
                    f"Input batch size {input.shape[0]} doesn't match hidden{k} batch size {state.shape[0]}",
                )
            if state.shape[1] != self.hidden_size:
                fail(
                    RuntimeError,
                    f"hidden{k} has inconsistent hidden_size: got {state.shape[1]}, expected {self.hidden_size}",
                )


class RNNCell(RNNCellBase):
    """h' = tanh(x A_ih^T + b_ih + h A_hh^T + b_hh), or with `nonlinearity="relu"`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device=None, dtype=None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            fail(RuntimeError, f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step("RNN_" + self.nonlinearity.upper(), input, None if hx is None else (hx,), ("hidden",))[0]


class LSTMCell(RNNCellBase):
    """One step of LSTM: (h, c) from x and (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step("LSTM", input, None if hx is None else tuple(hx), ("hx[0]", "hx[1]"))
        return h, c


class GRUCell(RNNCellBase):
    """One step of GRU: h from x and h."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=3, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else (hx,), ("hidden",))[0]
