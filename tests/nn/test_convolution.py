"""Convolution layers: sizes, initial weights, errors; what they compute is tested with the operator."""

import pytest

import facula as torch
from facula import nn


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_transposed_convolution_undoes_the_sizes_of_a_convolution(dims):
    torch.manual_seed(0)
    x = torch.randn(2, 4, *(9, 8, 7)[:dims])
    down = nn.__dict__[f"Conv{dims}d"](4, 6, 3, stride=2, padding=1)
    up = nn.__dict__[f"ConvTranspose{dims}d"](6, 4, 3, stride=2, padding=1)
    assert tuple(up.weight.shape) == (6, 4) + (3,) * dims
    small = down(x)
    assert up(small, output_size=x.shape).shape == x.shape
    assert up(small, output_size=list(x.shape[2:])).shape == x.shape
    assert up(small[0], output_size=x.shape[2:]).shape == x.shape[1:]


def test_output_sizes_out_of_reach():
    up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1)
    with pytest.raises(
        ValueError, match=r"requested an output size of \[20, 20\], but valid sizes range from \[9, 9\]"
    ):
        up(torch.zeros(2, 6, 5, 5), [20, 20])
    with pytest.raises(ValueError, match="output_size must have 2 or 4 elements"):
        up(torch.zeros(2, 6, 5, 5), [20])
    with pytest.raises(ValueError, match='Only "zeros" padding mode is supported'):
        nn.ConvTranspose1d(2, 2, 3, padding_mode="reflect")


def test_reprs():
    assert repr(nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, groups=2, bias=False)) == (
        "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1), groups=2, bias=False)"
    )
    assert repr(nn.Conv3d(2, 4, 3)) == "Conv3d(2, 4, kernel_size=(3, 3, 3), stride=(1, 1, 1))"
