"""Channels as pixels, pixels as channels, channels in another order: reshapes and permutations."""

from facula.core.tensor import Tensor
from facula.errors import fail

from .view import permute, reshape, transpose

__all__ = ["channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r^2, H, W) as (*, C, H r, W r)."""
    r, shape = upscale_factor, input.spec.shape
    if len(shape) < 3:
        fail(
            RuntimeError,
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {len(shape)} dimension(s)",
        )
    if r <= 0:
        fail(RuntimeError, f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *batch, channels, height, width = shape
    if channels % (r * r):
        fail(
            RuntimeError,
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}",
        )
    n = len(batch)
    x = reshape(input, (*batch, channels // (r * r), r, r, height, width))
    x = permute(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshape(x, (*batch, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) as (*, C r^2, H, W)."""
    r, shape = downscale_factor, input.spec.shape
    if len(shape) < 3:
        fail(
            RuntimeError,
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {len(shape)} "
            "dimension(s)",
        )
    if r <= 0:
        fail(RuntimeError, f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *batch, channels, height, width = shape
    for size, side in ((height, "height"), (width, "width")):
        if size % r:
            fail(
                RuntimeError,
                f"pixel_unshuffle expects {side} to be divisible by downscale_factor, but "
                f"input.size({-2 if side == 'height' else -1})={size} is not divisible by {r}",
            )
    n = len(batch)
    x = reshape(input, (*batch, channels, height // r, r, width // r, r))
    x = permute(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshape(x, (*batch, channels * r * r, height // r, width // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels in `groups` groups, taken from each in turn."""
    shape = input.spec.shape
    if len(shape) < 3:
        fail(RuntimeError, f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}")
    if groups <= 0:
        fail(RuntimeError, f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    batch, channels, *rest = shape
    if channels % groups:
        fail(
            RuntimeError,
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups.",
        )
    return reshape(transpose(reshape(input, (batch, groups, channels // groups, *rest)), 1, 2), shape)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """`channel_shuffle`."""
    return channel_shuffle(input, groups)
