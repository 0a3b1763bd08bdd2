"""Activations against NumPy and SciPy formulas, their gradients against differences, in-place forms, errors."""

import numpy as np
import pytest
from scipy import special

import facula.operators as ops
from facula.core import dtype as dt

from .differences import check_gradients

X = np.array([-4.1, -2.9, -1.3, -0.7, -0.2, 0.1, 0.45, 1.2, 2.8, 3.4, 6.5])


def softplus(x):
    return np.log1p(np.exp(x))


FORMULAS = {
    "relu": (ops.relu, lambda x: np.maximum(x, 0)),
    "relu6": (ops.relu6, lambda x: np.clip(x, 0, 6)),
    "hardtanh": (lambda x: ops.hardtanh(x, -2.0, 0.5), lambda x: np.clip(x, -2, 0.5)),
    "threshold": (lambda x: ops.threshold(x, 0.3, 7.0), lambda x: np.where(x > 0.3, x, 7.0)),
    "leaky_relu": (ops.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "leaky_relu_slope": (lambda x: ops.leaky_relu(x, 0.3), lambda x: np.where(x > 0, x, 0.3 * x)),
    "elu": (ops.elu, lambda x: np.where(x > 0, x, np.expm1(x))),
    "elu_alpha": (lambda x: ops.elu(x, 0.7), lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    "celu": (lambda x: ops.celu(x, 1.7), lambda x: np.maximum(x, 0) + np.minimum(1.7 * np.expm1(x / 1.7), 0)),
    "selu": (ops.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    "gelu": (ops.gelu, lambda x: x * special.ndtr(x)),
    "gelu_tanh": (
        lambda x: ops.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (ops.silu, lambda x: x * special.expit(x)),
    "mish": (ops.mish, lambda x: x * np.tanh(softplus(x))),
    "hardswish": (ops.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "hardsigmoid": (ops.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    "softplus": (ops.softplus, softplus),
    "softplus_beta": (lambda x: ops.softplus(x, 2.0, 3.0), lambda x: np.where(2 * x > 3, x, softplus(2 * x) / 2)),
    "softshrink": (lambda x: ops.softshrink(x, 0.3), lambda x: np.sign(x) * np.maximum(abs(x) - 0.3, 0)),
    "hardshrink": (ops.hardshrink, lambda x: np.where(abs(x) > 0.5, x, 0)),
    "logsigmoid": (ops.logsigmoid, special.log_expit),
    "rrelu": (ops.rrelu, lambda x: np.where(x > 0, x, (1 / 8 + 1 / 3) / 2 * x)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values(name):
    ours, formula = FORMULAS[name]
    for kind, tolerance in ((np.float64, 1e-13), (np.float32, 3e-6)):
        x = X.astype(kind)
        found = ours(ops.from_numpy(x)).numpy()
        assert found.dtype == kind
        np.testing.assert_allclose(found, formula(x.astype(np.float64)), rtol=tolerance, atol=tolerance)
    half = ours(ops.from_numpy(X.astype(np.float16)))
    assert half.dtype is dt.float16
    np.testing.assert_allclose(half.numpy(), formula(X.astype(np.float16).astype(float)), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients(name):
    check_gradients(FORMULAS[name][0], X, second=name not in ("relu", "relu6", "hardtanh", "threshold"))


def test_far_values():
    """No overflow, and NaN stays NaN."""
    x = ops.from_numpy(np.array([-np.inf, -1000.0, 1000.0, np.inf, np.nan]))
    np.testing.assert_array_equal(ops.softplus(x).numpy(), [0, 0, 1000, np.inf, np.nan])
    np.testing.assert_array_equal(ops.logsigmoid(x).numpy(), [-np.inf, -1000, 0, 0, np.nan])
    np.testing.assert_array_equal(ops.relu(x).numpy(), [0, 0, 1000, np.inf, np.nan])
    np.testing.assert_array_equal(ops.elu(x).numpy(), [-1, -1, 1000, np.inf, np.nan])
    np.testing.assert_array_equal(ops.mish(x).numpy()[1:3], [0, 1000])


def test_glu():
    a = np.random.default_rng(0).normal(size=(3, 4, 2))
    first, second = a[:, :2], a[:, 2:]
    np.testing.assert_allclose(ops.glu(ops.from_numpy(a), 1).numpy(), first * special.expit(second), rtol=1e-13)
    check_gradients(lambda x: ops.glu(x, 1), a, second=True)
    with pytest.raises(RuntimeError, match="Halving dimension must be even, but dimension 0 is size 3"):
        ops.glu(ops.from_numpy(a), 0)


def test_prelu():
    a, w = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([0.1, 0.2, 0.3])
    want = np.where(a > 0, a, w[:, None] * a)
    np.testing.assert_allclose(ops.prelu(ops.from_numpy(a), ops.from_numpy(w)).numpy(), want, rtol=1e-13)
    check_gradients(ops.prelu, a, w, second=True)
    with pytest.raises(RuntimeError, match="Found parameter numbers = 3 and channel size = 2"):
        ops.prelu(ops.from_numpy(a[:, :2]), ops.from_numpy(w))


def test_rrelu_draws():
    """In training the slopes are uniform numbers drawn for the elements that are not positive, in order."""
    x = np.array([1.0, -1.0, -2.0, 3.0, -4.0])
    ops.manual_seed(4)
    drawn = ops.empty(3, dtype=dt.float64).uniform_(0, 1).numpy() * (0.9 - 0.1) + 0.1
    ops.manual_seed(4)
    found = ops.rrelu(ops.from_numpy(x), 0.1, 0.9, True).numpy()
    np.testing.assert_array_equal(found, [1.0, -drawn[0], -2 * drawn[1], 3.0, -4 * drawn[2]])


IN_PLACE = (
    "relu",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "elu",
    "celu",
    "selu",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "rrelu",
)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    plain, over = getattr(ops, name), getattr(ops, name + "_")
    x = ops.from_numpy(X.copy())
    before = x.data_ptr()
    assert over(x) is x
    assert x.data_ptr() == before
    np.testing.assert_array_equal(x.numpy(), plain(ops.from_numpy(X)).numpy())
    check_gradients(lambda x: over(x * 1), X)
    leaf = ops.from_numpy(X.copy())
    leaf.requires_grad = True
    with pytest.raises(
        RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation."
    ):
        over(leaf)


def test_errors():
    whole = ops.tensor([1, 2])
    with pytest.raises(NotImplementedError, match="\"GeluKernelImpl\" not implemented for 'Long'"):
        ops.gelu(whole)
    with pytest.raises(RuntimeError, match="approximate argument must be either none or tanh"):
        ops.gelu(ops.ones(2), "other")
    with pytest.raises(RuntimeError, match="Boolean inputs not supported for relu"):
        ops.relu(ops.tensor([True]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: alpha cannot be 0 for CELU"):
        ops.celu(ops.ones(2), 0.0)
    with pytest.raises(
        RuntimeError, match="lambda must be in range \\[0, 3.40282e\\+38\\] for input dtype Float, but found -1"
    ):
        ops.softshrink(ops.ones(2), -1.0)
    with pytest.raises(TypeError, match='threshold\\(\\) missing 1 required positional arguments: "value"'):
        ops.threshold(ops.ones(2), 0.5)


def test_names():
    x = ops.ones(2, requires_grad=True)
    for function, name in (
        (ops.relu, "Relu"),
        (ops.selu, "Elu"),
        (ops.gelu, "Gelu"),
        (ops.logsigmoid, "LogSigmoid"),
        (ops.relu6, "Hardtanh"),
    ):
        assert function(x).grad_fn.name() == f"{name}Backward0"
