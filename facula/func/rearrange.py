"""`rearrange`: dims of a tensor named, regrouped and reordered by a pattern, as einops writes them."""

import keyword
import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import stack

__all__ = ["rearrange"]

DOTS = "\u2026"  # one character that stands for "..."


class DimensionBindError(Exception):
    """Sizes of a tensor that a pattern does not fit."""


class Side(NamedTuple):
    """One side of a pattern: for each dim the names in it, none for a dim of size 1; DOTS stands for several dims."""

    dims: tuple[tuple[str, ...] | str, ...]
    names: tuple[str, ...]  # all of them, in order


def _side(text: str) -> Side:
    """One side of a pattern, read."""
    if "." in text:
        if "..." not in text:
            fail(ValueError, "Expression may contain dots only inside ellipsis (...)")
        if text.count("...") != 1 or text.count(".") != 3:
            fail(ValueError, "Expression may contain dots only inside ellipsis (...); only one ellipsis for tensor ")
        text = text.replace("...", DOTS)
    dims: list[tuple[str, ...] | str] = []
    names: list[str] = []
    group: list[str] | None = None
    word = ""

    def end() -> None:
        nonlocal word
        if not word:
            return
        if word in names:
            fail(ValueError, f"Indexing expression contains duplicate dimension '{word}'")
        one = word.isdecimal() and int(word) == 1
        if not one:
            _check_name(word)
            names.append(word)
        if group is not None:
            group.extend(() if one else (word,))
        else:
            dims.append(() if one else DOTS if word == DOTS else (word,))
        word = ""

    for letter in text:
        if letter not in "() ":
            if not (letter.isalnum() or letter in ("_", DOTS)):
                fail(ValueError, f"Unknown character '{letter}'")
            word += letter
            continue
        end()
        if letter == "(":
            if group is not None:
                fail(ValueError, "Axis composition is one-level (brackets inside brackets not allowed)")
            group = []
        elif letter == ")":
            if group is None:
                fail(ValueError, "Brackets are not balanced")
            dims.append(tuple(group))
            group = None
    if group is not None:
        fail(ValueError, f"Imbalanced parentheses in expression: '{text}'")
    end()
    return Side(tuple(dims), tuple(names))


def _check_name(word: str) -> None:
    """ValueError for what is no name of a dim; numbers are refused later, DOTS are fine."""
    if word == DOTS or word.isdecimal():
        return
    why = ""
    if not word.isidentifier():
        why = "not a valid python identifier"
    elif "_" in (word[0], word[-1]):
        why = "axis name should should not start or end with underscore"
    if why:
        fail(ValueError, f"Invalid axis identifier: {word}\n{why}")
    if keyword.iskeyword(word):
        warnings.warn(f"It is discouraged to use axes names that are keywords: {word}", RuntimeWarning, stacklevel=4)
    if word == "axis":
        warnings.warn(
            "It is discouraged to use 'axis' as an axis name and will raise an error in future",
            FutureWarning,
            stacklevel=4,
        )


@lru_cache(256)
def _parsed(pattern: str, lengths: tuple[tuple[str, Any], ...]) -> tuple[Side, Side]:
    """Both sides of a pattern, checked against each other and the lengths that are given."""
    halves = pattern.split("->")
    if len(halves) != 2:
        fail(ValueError, "Pattern must contain a single '->' separator")
    left, right = (_side(half) for half in halves)
    if DOTS in right.names and DOTS not in left.names:
        fail(ValueError, f"Ellipsis found in right side, but not left side of a pattern {pattern}")
    if DOTS in left.names and DOTS not in left.dims:
        fail(ValueError, f"Ellipsis is parenthesis in the left side is not allowed: {pattern}")
    for _, length in lengths:
        if type(length) is not int:
            fail(TypeError, f"rearrange axis lengths must be integers, got: {type(length)}")
    if any(name.isdecimal() for name in left.names + right.names):
        fail(ValueError, "rearrange only supports unnamed axes of size 1")
    apart = set(left.names) ^ set(right.names)
    if apart:
        fail(ValueError, f"Identifiers only on one side of rearrange expression (should be on both): {apart}")
    unknown = {name for name, _ in lengths} - set(left.names)
    if unknown:
        fail(ValueError, f"Identifiers not found in rearrange expression: {unknown}")
    return left, right


def _sizes(group: tuple[str, ...], size: int, lengths: dict[str, int]) -> list[int]:
    """The sizes of the names in one dim, at most one of which is not given."""
    given = [lengths.get(name) for name in group]
    if given.count(None) > 1:
        first, second, *_ = [name for name, length in zip(group, given) if length is None]
        fail(
            DimensionBindError,
            f"cannot infer the sizes of two dimensions at once {first} and {second}",
            mend=f"give one of them, e.g. rearrange(x, pattern, {first}=2)",
        )
    known = math.prod(length for length in given if length is not None)
    if None not in given:
        if known != size:
            fail(
                DimensionBindError,
                f"Dimension sizes to do not match ({size} != {known}) when matching dimension pack {group}",
            )
        return [length for length in given if length is not None]
    if not known or size % known:
        shown = tuple("?" if length is None else length for length in given)
        fail(DimensionBindError, f"inferred dimension does not evenly fit into larger dimension: {size} vs {shown}")
    return [size // known if length is None else length for length in given]


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """Dims named on the left of "->", regrouped and reordered as on the right.

    Parameters
    ----------
    tensor : Tensor or sequence of Tensor
        A sequence is stacked along a new first dim.
    pattern : str
        Names of dims, "1" for a dim of size 1, "..." for any others; "(a b)" is one dim whose index runs over `a` and,
        faster, `b`.
    **axes_lengths : int
        Sizes of names that the tensor's shape does not tell.

    Returns
    -------
    Tensor
        A view where the dims allow.

    Raises
    ------
    ValueError
        Where the pattern is none, or does not have the tensor's dims.

    Examples
    --------
    >>> import facula as torch
    >>> images = torch.zeros(2, 30, 40, 3)
    >>> torch.func.rearrange(images, "b h w c -> b c h w").shape
    torch.Size([2, 3, 30, 40])
    >>> torch.func.rearrange(images, "b (h i) (w j) c -> b h w (i j c)", i=2, j=2).shape
    torch.Size([2, 15, 20, 12])
    """
    if not isinstance(tensor, Tensor):
        tensor = stack(tensor)
    left, right = _parsed(pattern, tuple(axes_lengths.items()))
    count = tensor.ndim
    dotted = count - len(left.dims) + 1 if DOTS in left.names else 0
    if dotted < 0 or (DOTS not in left.names and len(left.dims) != count):
        named = len(left.dims) - (DOTS in left.names)
        relation = "less than or equal to" if DOTS in left.names else "equal to"
        fail(
            ValueError,
            f"Number of dimensions in pattern ({named}) must be {relation} the number of dimensions in the tensor "
            f"({count})",
        )
    if count == 0:
        return tensor
    sizes: list[int] = []  # of the dims taken apart
    places: dict[str, list[int]] = {}  # of each name among them
    ones: list[int] = []
    rest = iter(tensor.shape)
    for group in left.dims:
        if isinstance(group, str):
            places[DOTS] = list(range(len(sizes), len(sizes) + dotted))
            sizes += [next(rest) for _ in range(dotted)]
            continue
        size = next(rest)
        if not group:
            ones.append(len(sizes))
            sizes.append(size)
            continue
        for name, length in zip(group, _sizes(group, size, axes_lengths)):
            places[name] = [len(sizes)]
            sizes.append(length)
    made = tensor.reshape(sizes)
    # An unnamed dim that is not of size 1 is summed over, as PyTorch does.
    order = [i for group in right.dims for name in group for i in places[name]]
    made = made.permute(*order, *ones)
    last = tuple(range(len(order), len(sizes)))
    if any(sizes[i] != 1 for i in ones):
        made = made.sum(last)
    elif ones:
        made = made.squeeze(last)
    shape: list[int] = []
    for group in right.dims:
        if isinstance(group, str):
            shape += [sizes[i] for i in places[DOTS]]
        else:
            shape.append(math.prod(sizes[i] for name in group for i in places[name]))
    return made.reshape(shape)
