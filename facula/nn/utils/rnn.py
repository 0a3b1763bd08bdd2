"""Batches of sequences of different lengths: padded, packed, and back."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from facula.core.dtype import int64
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import arange, as_tensor, cat, empty_like, full, sort, stack

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence_(NamedTuple):
    """The fields of `PackedSequence`."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequence_):
    """Sequences without padding: first elements of all, then second elements, ...; longer sequences first.

    Made by `pack_padded_sequence` and `pack_sequence`.

    Attributes
    ----------
    data : Tensor
        All elements, (sum of lengths, ...).
    batch_sizes : Tensor
        How many sequences have a first, second, ... element; int64, on the CPU.
    sorted_indices, unsorted_indices : Tensor or None
        The order by length, and the way back.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                fail(AssertionError, "Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            fail(
                ValueError,
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                "nn.utils.rnn. https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence",
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """`data.to(...)`, with the indices on the same device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        order = (
            None if index is None else index.to(data.device) for index in (self.sorted_indices, self.unsorted_indices)
        )
        return type(self)(data, self.batch_sizes, *order)

    def cuda(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """On a GPU."""
        return self.to(*(args or ("cuda",)), **kwargs)

    def cpu(self) -> "PackedSequence":
        """On the CPU."""
        return self.to("cpu")

    def pin_memory(self) -> "PackedSequence":
        """In page-locked memory."""
        order = (
            None if index is None else index.pin_memory() for index in (self.sorted_indices, self.unsorted_indices)
        )
        return type(self)(self.data.pin_memory(), self.batch_sizes, *order)

    def is_pinned(self) -> bool:
        """Whether the data is in page-locked memory."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return self.data.is_cuda


def _cast(name: str):
    def method(self) -> PackedSequence:
        return self.to(getattr(self.data, name)().dtype)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"With the data as `Tensor.{name}` makes it."
    return method


for _name in ("double", "float", "half", "long", "int", "short", "char", "byte"):
    setattr(PackedSequence, _name, _cast(_name))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes `permutation`."""
    if permutation is None:
        return None
    return empty_like(permutation).scatter_(0, permutation, arange(0, permutation.numel(), device=permutation.device))


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Parameters
    ----------
    input : Tensor
        (T, N, ...), or (N, T, ...) with `batch_first`.
    lengths : Tensor or list of int
        Of each sequence; on the CPU.
    batch_first : bool
    enforce_sorted : bool
        Whether sequences must come in order of decreasing length; otherwise they are sorted.
    """
    counts: Tensor = lengths.to(dtype=int64) if isinstance(lengths, Tensor) else as_tensor(lengths, dtype=int64)
    order = None
    if not enforce_sorted:
        counts, order = sort(counts, descending=True)
        order = order.to(input.device)
        input = input.index_select(0 if batch_first else 1, order)
    if batch_first:
        input = input.transpose(0, 1)
    if counts.device.type != "cpu":
        fail(
            RuntimeError,
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {counts.dim()}D {counts.device} Long tensor",
        )
    if counts.dim() != 1:
        fail(
            RuntimeError,
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {counts.dim()}D cpu Long tensor",
        )
    sizes = counts.tolist()
    if input.numel() == 0:
        fail(RuntimeError, "Cannot pack empty tensors.")
    if len(sizes) != input.shape[1]:
        fail(
            RuntimeError,
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={input.shape[1]})",
        )
    if sizes[-1] <= 0:
        fail(
            RuntimeError,
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0",
        )
    if any(a < b for a, b in zip(sizes, sizes[1:])):
        fail(
            RuntimeError,
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability.",
        )
    if sizes[0] > input.shape[0]:
        fail(
            RuntimeError,
            f"Expected no element of `lengths` to be larger than the padded length, but got {sizes[0]} of "
            f"{input.shape[0]}",
        )
    # Between the ends of two sequences the number of active ones stays the same: one slice for each such stretch.
    pieces, batch_sizes, start = [], [], 0
    for active in range(len(sizes), 0, -1):
        end = sizes[active - 1]
        if end > start:
            pieces.append(input[start:end, :active].reshape(-1, *input.shape[2:]))
            batch_sizes += [active] * (end - start)
            start = end
    return PackedSequence(cat(pieces), as_tensor(batch_sizes, dtype=int64), order, None)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The padded batch of a packed one, and the lengths.

    Parameters
    ----------
    sequence : PackedSequence
    batch_first : bool
        Whether the result is (N, T, ...).
    padding_value : float
    total_length : int, optional
        T; the longest length unless given.
    """
    batch_sizes = sequence.batch_sizes.tolist()
    longest = len(batch_sizes)
    if total_length is not None and total_length < longest:
        fail(
            ValueError,
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}",
        )
    data = sequence.data
    total = longest if total_length is None else total_length
    rows = []
    for step, size in zip(data.split(batch_sizes), batch_sizes):
        if size < batch_sizes[0]:
            missing = full(
                (batch_sizes[0] - size, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device
            )
            step = cat([step, missing])
        rows.append(step)
    padding = full((batch_sizes[0], *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    padded = stack(rows + [padding] * (total - longest), 1 if batch_first else 0)
    lengths = as_tensor([sum(size > i for size in batch_sizes) for i in range(batch_sizes[0])], dtype=int64)
    back = sequence.unsorted_indices
    if back is not None:
        return padded.index_select(0 if batch_first else 1, back), lengths[back.cpu()]
    return padded, lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_i, ...) as one batch (T, N, ...), filled up with `padding_value`."""
    if not isinstance(sequences, Iterable):
        fail(
            RuntimeError, f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        fail(RuntimeError, "received an empty list of sequences")
    if padding_side not in ("left", "right"):
        fail(RuntimeError, f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        if s.shape[0] < longest:
            missing = full((longest - s.shape[0], *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
            s = cat([s, missing] if padding_side == "right" else [missing, s])
        padded.append(s)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, without padding."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:length] for row, length in zip(rows.unbind(0), lengths.tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (T_i, ...)."""
    lengths = as_tensor([s.shape[0] for s in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
