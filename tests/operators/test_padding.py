"""Borders against `numpy.pad`, crops, gradients against differences, errors in PyTorch's words."""

import numpy as np
import pytest

import facula.operators as ops
from facula.operators.creation import from_numpy

from .differences import check_gradients

rng = np.random.default_rng(0)
MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "pads"),
    [((2, 3, 8, 7), (1, 2, 3, 0)), ((3, 8, 7), (4, 3)), ((8, 7), (0, 6)), ((2, 2, 4, 5, 6), (1, 2, 3, 0, 1, 1))],
)
def test_modes(mode, shape, pads):
    x = rng.normal(size=shape)
    pairs = list(zip(pads[::2], pads[1::2]))[::-1]
    want = np.pad(x, [(0, 0)] * (len(shape) - len(pairs)) + pairs, MODES[mode])
    np.testing.assert_array_equal(ops.pad(from_numpy(x), pads, mode).numpy(), want)


def test_values_and_dtypes():
    assert ops.pad(from_numpy(np.arange(3)), (1, 2), value=7).numpy().tolist() == [7, 0, 1, 2, 7, 7]
    assert ops.pad(from_numpy(np.arange(3)), (1, 0), value=2.7).numpy().tolist() == [2, 0, 1, 2]
    assert ops.pad(from_numpy(np.array([True])), (1, 1)).numpy().tolist() == [False, True, False]
    x = rng.normal(size=(2, 3, 4)).astype("f2")
    np.testing.assert_array_equal(
        ops.pad(from_numpy(x), (1, 1), "replicate").numpy(), np.pad(x, [(0, 0), (0, 0), (1, 1)], "edge")
    )
    turned = from_numpy(x).transpose(1, 2)
    np.testing.assert_array_equal(
        ops.pad(turned, (1, 2), "reflect").numpy(), np.pad(x.transpose(0, 2, 1), [(0, 0), (0, 0), (1, 2)], "reflect")
    )


def test_crops():
    x = rng.normal(size=(1, 2, 5, 6))
    np.testing.assert_array_equal(
        ops.pad(from_numpy(x), (-1, 2, 1, -2)).numpy(), np.pad(x[:, :, :3, 1:], [(0, 0), (0, 0), (1, 0), (0, 2)])
    )
    # What is cropped is no part of the circle, but of the mirror image and the edge.
    (one,) = x
    end = [(0, 0), (0, 0), (0, 2)]
    circle = ops.pad(from_numpy(one), (-1, 2), "circular").numpy()
    np.testing.assert_array_equal(circle, np.pad(one[:, :, 1:], end, "wrap"))
    mirrored = ops.pad(from_numpy(one), (-1, 2), "reflect").numpy()
    np.testing.assert_array_equal(mirrored, np.pad(one, end, "reflect")[:, :, 1:])


def test_nothing_to_pad_copies():
    x = from_numpy(np.zeros(3))
    assert ops.pad(x, (0, 0)).data_ptr() != x.data_ptr()


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode):
    check_gradients(lambda x: ops.pad(x, (2, 1, 1, 2), mode), rng.normal(size=(1, 2, 3, 4)))
    check_gradients(lambda x: ops.pad(x * x, (2, 1), mode), rng.normal(size=(2, 3)), second=True)
    check_gradients(lambda x: ops.pad(x, (-1, 2), mode), rng.normal(size=(2, 4)))


def test_graph():
    x = from_numpy(np.zeros((1, 2, 4, 4)))
    x.requires_grad = True
    names = {mode: type(ops.pad(x, (1, 1, 1, 1), mode).grad_fn).__name__ for mode in MODES}
    assert names == {
        "constant": "ConstantPadNdBackward0", "reflect": "ReflectionPad2DBackward0",
        "replicate": "ReplicationPad2DBackward0", "circular": "CopySlices",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pads", "options", "kind", "message"),
    [
        ((1, 1, 1), {}, RuntimeError, "Padding length must be divisible by 2"),
        (
            (1,) * 10,
            {},
            RuntimeError,
            "Padding length should be less than or equal to two times the input dimension but got padding length 10",
        ),
        ((-5, -5), {}, RuntimeError, "narrow(): length must be non-negative."),
        ((1, 1), {"mode": "foo"}, NotImplementedError, "Unrecognised padding mode foo"),
        ((1, 1), {"mode": "reflect"}, NotImplementedError, "Padding size 2 is not supported for 4D input tensor."),
        (
            (1, 1, 1, 1),
            {"mode": "reflect", "value": 1},
            RuntimeError,
            'Padding mode "reflect" doesn\'t take in value argument',
        ),
        (
            (9, 1, 2, 2),
            {"mode": "reflect"},
            RuntimeError,
            "Padding size should be less than the corresponding input dimension, but got: padding (9, 1) "
            "at dimension 3",
        ),
        ((9, 1, 2, 2), {"mode": "circular"}, RuntimeError, "Padding value causes wrapping around more than once."),
    ],
)
def test_errors(pads, options, kind, message):
    with pytest.raises(kind) as caught:
        ops.pad(from_numpy(np.zeros((2, 3, 8, 8))), pads, **options)
    assert message in str(caught.value)
