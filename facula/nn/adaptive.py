"""Softmax over very many classes, rare ones in clusters."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import argmax, cat

from . import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    """The log-probability of each target, and the loss: minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax whose classes come in clusters, frequent ones first (Grave et al., Efficient softmax, 2017).

    The head scores the classes below `cutoffs[0]` and each cluster as a whole; cluster i scores the classes from
    `cutoffs[i]` to the next cut-off, in in_features / div_value^(i + 1) dims.

    Parameters
    ----------
    in_features, n_classes : int
    cutoffs : sequence of int
        Ascending, between 1 and n_classes - 1.
    div_value : float
    head_bias : bool
        Whether the head has a bias.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            fail(ValueError, "cutoffs should be a sequence of length larger than 0")
        ascending = cutoffs == sorted(set(cutoffs)) and all(int(c) == c for c in cutoffs)
        if not ascending or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1:
            fail(
                ValueError,
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1",
                got=cutoffs,
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i, (start, stop) in enumerate(pairwise(self.cutoffs), 1):
            width = int(in_features // div_value**i)
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **made), Linear(width, stop - start, bias=False, **made)
                )
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.head.reset_parameters()
        for layer in self.tail.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """The log-probability of each target, (N,), and the loss; input (N, in_features), or without the dim N."""
        if target_.dim() > 1:
            fail(RuntimeError, "0D or 1D target tensor expected, multi-target not supported")
        if target_.dim() == 1 and input_.shape[0] != target_.shape[0]:
            fail(RuntimeError, "Input and target should have the same size in the batch dimension.")
        if input_.dim() != target_.dim() + 1:
            fail(
                RuntimeError,
                f"{target_.dim()}D target tensor expects {target_.dim() + 1}D input tensors, but found inputs with "
                f"size {input_.shape}",
            )
        batched = target_.dim() > 0
        input, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        count = target.shape[0]
        output, column, used = input.new_zeros(count), target.new_empty(count), 0
        for i, (low, high) in enumerate(pairwise([0, *self.cutoffs])):
            inside = (target >= low) & (target < high)
            rows = inside.nonzero().squeeze(1)
            used += rows.numel()
            if rows.numel() == 0:
                continue
            if i == 0:
                column.index_copy_(0, rows, target[inside])
            else:
                log_p = F.log_softmax(self.tail[i - 1](input.index_select(0, rows)), dim=1)
                column.index_fill_(0, rows, self.shortlist_size + i - 1)
                output.index_copy_(0, rows, log_p.gather(1, (target[inside] - low).unsqueeze(1)).squeeze(1))
        if used != count:
            fail(
                RuntimeError,
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. ",
            )
        head = F.log_softmax(self.head(input), dim=1)
        output = output + head.gather(1, column.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _get_full_log_prob(self, input: Tensor, head_output: Tensor) -> Tensor:
        """(N, n_classes)."""
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, layers in enumerate(self.tail):
            parts.append(F.log_softmax(layers(input), dim=1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return cat(parts, 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes, (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row."""
        head = self.head(input)
        output = argmax(head, dim=1)
        rare = output >= self.shortlist_size
        if bool(rare.any()):
            output[rare] = argmax(self._get_full_log_prob(input[rare], head[rare]), dim=1)
        return output
