"""Convolutions against windows summed by NumPy, their gradients against differences; errors as PyTorch's."""

import itertools

import numpy as np
import pytest

import facula.operators as ops
from facula.autograd import grad
from facula.operators.convolution import unfold_windows
from facula.operators.creation import from_numpy

from .differences import check_gradients

rng = np.random.default_rng(0)


def tuples(value, d):
    return (value,) * d if isinstance(value, int) else tuple(value)


def reference(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The definition, tap by tap."""
    d = x.ndim - 2
    stride, padding, dilation = (tuples(v, d) for v in (stride, padding, dilation))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    sizes = [(n - dl * (k - 1) - 1) // s + 1 for n, k, s, dl in zip(x.shape[2:], w.shape[2:], stride, dilation)]
    out = np.zeros((x.shape[0], w.shape[0], *sizes), np.result_type(x, w))
    own, channels = w.shape[0] // groups, w.shape[1]
    for taps in itertools.product(*(range(k) for k in w.shape[2:])):
        places = tuple(slice(k * dl, k * dl + (o - 1) * s + 1, s) for k, dl, o, s in zip(taps, dilation, sizes, stride))
        seen = x[(slice(None), slice(None), *places)]
        for g in range(groups):
            part = np.einsum(
                "oc,nc...->no...",
                w[(slice(g * own, g * own + own), slice(None), *taps)],
                seen[:, g * channels : (g + 1) * channels],
            )
            out[:, g * own : g * own + own] += part
    return out if bias is None else out + bias.reshape(-1, *[1] * d)


def made(function, *arrays, **options):
    return function(*[None if a is None else from_numpy(a) for a in arrays], **options).numpy()


CASES = [
    ((2, 4, 11, 9), (6, 4, 3, 3), {}),
    ((2, 4, 11, 9), (6, 4, 3, 2), {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)}),
    ((2, 4, 11, 9), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    ((2, 4, 11, 9), (4, 1, 3, 3), {"groups": 4, "padding": 1}),  # taps written out
    ((2, 4, 11, 9), (8, 1, 3, 3), {"groups": 4, "stride": 2, "padding": 1}),
    ((2, 2, 20, 20), (2, 1, 9, 9), {"groups": 2, "padding": 4}),  # taps counted in a loop
    ((3, 5, 8, 8), (7, 5, 1, 1), {}),
    ((3, 5, 20, 20), (7, 5, 1, 1), {}),  # the input is the matrix
    ((3, 5, 9, 9), (7, 5, 1, 1), {"stride": 2}),
    ((2, 3, 40, 300), (5, 3, 7, 7), {"padding": 3}),  # pieces of rows
    ((300, 8, 6, 6), (5, 8, 3, 3), {"padding": 1}),  # pieces of samples
    ((2, 3, 3, 3), (4, 3, 2, 2), {"stride": 5}),
    ((3, 4, 17), (6, 4, 3), {"stride": 2, "padding": 1}),
    ((3, 4, 600), (6, 4, 3), {"padding": 1}),
    ((2, 3, 5, 6, 7), (4, 3, 2, 3, 3), {"stride": (1, 2, 1), "padding": (1, 0, 2)}),
]


@pytest.mark.parametrize(("shape", "weights", "options"), CASES)
@pytest.mark.parametrize("biased", [True, False])
def test_forward(shape, weights, options, biased):
    x, w = rng.normal(size=shape), rng.normal(size=weights)
    bias = rng.normal(size=weights[0]) if biased else None
    function = getattr(ops, f"conv{len(shape) - 2}d")
    np.testing.assert_allclose(
        made(function, x, w, bias, **options), reference(x, w, bias, **options), rtol=1e-10, atol=1e-11
    )


@pytest.mark.parametrize(("shape", "weights", "options"), CASES)
def test_gradients_are_adjoint(shape, weights, options):
    """<conv(y, w), g> = <y, grad_x> and <conv(x, v), g> = <v, grad_w>, for sizes that are cut in pieces, too."""
    x, w, y, v = (rng.normal(size=s) for s in (shape, weights, shape, weights))
    given, weight = from_numpy(x), from_numpy(w)
    given.requires_grad = weight.requires_grad = True
    out = getattr(ops, f"conv{len(shape) - 2}d")(given, weight, **options)
    g = rng.normal(size=tuple(out.shape))
    grad_x, grad_w = (t.numpy() for t in grad(out, (given, weight), from_numpy(g)))
    assert (grad_x * y).sum() == pytest.approx((reference(y, w, **options) * g).sum(), rel=1e-8, abs=1e-8)
    assert (grad_w * v).sum() == pytest.approx((reference(x, v, **options) * g).sum(), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.complex128, np.int64])
def test_dtypes(kind):
    x, w = (rng.normal(size=(2, 3, 8, 8)) * 4).astype(kind), (rng.normal(size=(4, 3, 3, 3)) * 4).astype(kind)
    want = reference(x.astype(np.complex128), w.astype(np.complex128), padding=1)
    out = made(ops.conv2d, x, w, padding=1)
    assert out.dtype == kind
    tolerance = {np.float32: 1e-4, np.float16: 2e-1}.get(kind, 1e-9)
    np.testing.assert_allclose(out, want if kind is np.complex128 else want.real, atol=tolerance)


def test_layouts():
    x, w = rng.normal(size=(2, 9, 8, 3)), rng.normal(size=(4, 3, 3, 3))
    moved = from_numpy(x).permute(0, 3, 1, 2)
    np.testing.assert_allclose(
        ops.conv2d(moved, from_numpy(w)).numpy(), reference(x.transpose(0, 3, 1, 2), w), rtol=1e-10, atol=1e-11
    )
    turned = from_numpy(w.transpose(1, 0, 2, 3).copy()).transpose(0, 1)
    np.testing.assert_allclose(
        ops.conv2d(moved, turned).numpy(), reference(x.transpose(0, 3, 1, 2), w), rtol=1e-10, atol=1e-11
    )


def test_single_sample_and_named_padding():
    x, w = rng.normal(size=(3, 9, 8)), rng.normal(size=(4, 3, 3, 3))
    np.testing.assert_allclose(
        made(ops.conv2d, x, w, padding="same"), reference(x[None], w, padding=1)[0], rtol=1e-10, atol=1e-11
    )
    np.testing.assert_allclose(
        made(ops.conv2d, x, w, padding="valid"), reference(x[None], w)[0], rtol=1e-10, atol=1e-11
    )
    even = rng.normal(size=(4, 3, 2, 4))
    with pytest.warns(UserWarning, match="padding='same' with even kernel"):
        out = made(ops.conv2d, x, even, padding="same")
    padded = np.pad(x[None], [(0, 0), (0, 0), (0, 1), (1, 2)])
    np.testing.assert_allclose(out, reference(padded, even)[0], rtol=1e-10, atol=1e-11)


def test_empty():
    w = rng.normal(size=(4, 3, 3, 3))
    assert made(ops.conv2d, np.zeros((0, 3, 8, 8)), w).shape == (0, 4, 6, 6)
    x = from_numpy(np.zeros((0, 3, 8, 8)))
    weight = from_numpy(w)
    weight.requires_grad = True
    (g,) = grad(ops.conv2d(x, weight).sum(), weight)
    assert not g.numpy().any()


GRADIENTS = [
    ((2, 2, 4, 5), (3, 2, 2, 3), {"padding": 1}),
    ((2, 2, 5, 4), (2, 2, 2, 2), {"stride": (2, 3), "padding": 1, "dilation": (2, 1)}),
    ((2, 4, 4, 4), (4, 2, 2, 2), {"groups": 2, "stride": 2}),
    ((2, 10, 3, 3), (10, 5, 2, 2), {"groups": 2}),
    ((1, 2, 4, 4), (2, 1, 3, 3), {"groups": 2, "padding": 1, "stride": 2}),
    ((2, 2, 6), (3, 2, 3), {"padding": 1}),
]


@pytest.mark.parametrize(("shape", "weights", "options"), GRADIENTS)
def test_gradients(shape, weights, options):
    function = getattr(ops, f"conv{len(shape) - 2}d")
    arrays = rng.normal(size=shape), rng.normal(size=weights), rng.normal(size=weights[0])
    check_gradients(lambda x, w, b: function(x, w, b, **options), *arrays)


@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2}])
def test_second_gradients(options):
    x, w = rng.normal(size=(1, 2, 4, 3)), rng.normal(size=(2, 2, 2, 2))
    check_gradients(lambda x, w: ops.conv2d(x, w, None, **options), x, w, second=True)


TRANSPOSED = [
    ((2, 4, 5, 4), (4, 3, 3, 3), {}),
    ((2, 4, 5, 4), (4, 3, 3, 2), {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)}),
    ((2, 4, 5, 4), (4, 3, 2, 2), {"stride": (5, 2)}),  # some of the result has no tap
    ((2, 4, 5, 4), (4, 3, 3, 3), {"dilation": 3, "output_padding": 2}),
    ((2, 4, 5, 4), (4, 1, 3, 3), {"groups": 4, "stride": 2}),
    ((2, 4, 9), (4, 3, 3), {"groups": 2, "stride": 2, "padding": 1}),
    ((1, 2, 3, 3, 2), (2, 2, 2, 2, 2), {"stride": (1, 2, 2)}),
]


@pytest.mark.parametrize(("shape", "weights", "options"), TRANSPOSED)
def test_transposed_is_the_adjoint(shape, weights, options):
    """<conv_transpose(x), y> = <x, conv(y)>."""
    d = len(shape) - 2
    x, w = rng.normal(size=shape), rng.normal(size=weights)
    bias = rng.normal(size=weights[1] * options.get("groups", 1))
    out = made(getattr(ops, f"conv_transpose{d}d"), x, w, bias, **options)
    straight = out - bias.reshape(-1, *[1] * d)
    y = rng.normal(size=out.shape)
    back = reference(y, w, **{k: v for k, v in options.items() if k != "output_padding"})
    back = back[(slice(None), slice(None), *(slice(n) for n in shape[2:]))]
    assert (straight * y).sum() == pytest.approx((x * back).sum(), rel=1e-9)


def test_transposed_gradients():
    x, w, b = rng.normal(size=(1, 2, 3, 3)), rng.normal(size=(2, 2, 2, 3)), rng.normal(size=2)
    check_gradients(lambda x, w, b: ops.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1), x, w, b)
    check_gradients(lambda x, w: ops.conv_transpose2d(x, w, None, stride=2), x, w, second=True)


def test_graph():
    x = from_numpy(rng.normal(size=(1, 3, 5, 5)))
    x.requires_grad = True
    assert type(ops.conv2d(x, from_numpy(rng.normal(size=(2, 3, 3, 3)))).grad_fn).__name__ == "ConvolutionBackward0"


@pytest.mark.parametrize("options", [{}, {"padding": 1, "stride": 2}, {"dilation": 2}])
def test_unfold_and_fold(options):
    x = rng.normal(size=(2, 3, 7, 6))
    columns = made(unfold_windows, x, kernel_size=(3, 2), **options)
    w = rng.normal(size=(4, 3, 3, 2))
    straight = reference(x, w, **options)
    np.testing.assert_allclose((w.reshape(4, -1) @ columns).reshape(straight.shape), straight, rtol=1e-9, atol=1e-10)
    y = rng.normal(size=columns.shape)
    folded = made(ops.fold, y, output_size=(7, 6), kernel_size=(3, 2), **options)
    assert (folded * x).sum() == pytest.approx((y * columns).sum(), rel=1e-9)
    check_gradients(lambda x: unfold_windows(x, (3, 2), **options), rng.normal(size=(1, 2, 6, 5)), second=True)


@pytest.mark.parametrize(
    ("shape", "weights", "options", "message"),
    [
        (
            (1, 4, 9, 9),
            (6, 3, 5, 5),
            {},
            "Given groups=1, weight of size [6, 3, 5, 5], expected input[1, 4, 9, 9] to have 3 channels, but got 4",
        ),
        (
            (4, 9),
            (6, 3, 5, 5),
            {},
            "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [4, 9]",
        ),
        (
            (1, 3, 3, 3),
            (6, 3, 5, 5),
            {},
            "Calculated padded input size per channel: (3 x 3). Kernel size: (5 x 5). Kernel size can't be greater",
        ),
        ((1, 3, 9, 9), (6, 3, 5, 5), {"padding": -1}, "negative padding is not supported"),
        ((1, 3, 9, 9), (6, 3, 5, 5), {"stride": 0}, "non-positive stride is not supported"),
        (
            (1, 3, 9, 9),
            (6, 3, 5, 5),
            {"stride": (1, 2, 3)},
            "expected stride to be a single integer value or a list of 2 values",
        ),
        ((1, 3, 9, 9), (6, 3, 5, 5), {"groups": 7}, "Given groups=7, expected weight to be at least 7 at dimension 0"),
        ((1, 3, 9, 9), (6, 3, 5, 5), {"padding": "x"}, "Invalid padding string: 'x'"),
        (
            (1, 3, 9, 9),
            (6, 3, 5, 5),
            {"padding": "same", "stride": 2},
            "padding='same' is not supported for strided convolutions",
        ),
    ],
)
def test_errors(shape, weights, options, message):
    with pytest.raises(RuntimeError) as caught:
        ops.conv2d(from_numpy(np.zeros(shape)), from_numpy(np.zeros(weights)), **options)
    assert message in str(caught.value)


def test_mismatched_dtypes_and_bias():
    x, w = np.zeros((1, 3, 9, 9)), np.zeros((6, 3, 5, 5))
    with pytest.raises(RuntimeError, match="expected scalar type Double but found Float"):
        made(ops.conv2d, x, w.astype("f"))
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 6 elements, but got bias of size"):
        made(ops.conv2d, x, w, np.zeros(5))
    with pytest.raises(RuntimeError, match="output padding must be smaller than either stride or dilation"):
        made(ops.conv_transpose2d, np.zeros((1, 6, 4, 4)), w, output_padding=1)
