"""Windows by their formulas, symmetric and periodic; arguments that make none."""

import math

import numpy as np
import pytest

import facula as torch
from facula.signal import windows

M = 9
TURNS = 2 * np.pi * np.arange(M) / (M - 1)
MIDDLE = np.arange(M) - (M - 1) / 2
WANTED = {
    "bartlett": (1 - np.abs(MIDDLE) / 4, {}),
    "blackman": (np.blackman(M), {}),
    "cosine": (np.sin(np.pi * (np.arange(M) + 0.5) / M), {}),
    "exponential": (np.exp(-np.abs(MIDDLE) / 2), {"tau": 2.0}),
    "gaussian": (np.exp(-(MIDDLE**2) / 4.5), {"std": 1.5}),
    "general_cosine": (0.5 - 0.3 * np.cos(TURNS) + 0.2 * np.cos(2 * TURNS), {"a": [0.5, 0.3, 0.2]}),
    "general_hamming": (0.6 - 0.4 * np.cos(TURNS), {"alpha": 0.6}),
    "hamming": (np.hamming(M), {}),
    "hann": (np.hanning(M), {}),
    "kaiser": (np.kaiser(M, 5.0), {"beta": 5.0}),
    "nuttall": (
        0.3635819 - 0.4891775 * np.cos(TURNS) + 0.1365995 * np.cos(2 * TURNS) - 0.0106411 * np.cos(3 * TURNS),
        {},
    ),
}


def test_every_window_is_tested():
    assert set(WANTED) == set(windows.__all__)


@pytest.mark.parametrize("name", WANTED)
def test_values(name):
    wanted, options = WANTED[name]
    make = getattr(torch.signal.windows, name)
    np.testing.assert_allclose(make(M, dtype=torch.float64, **options).numpy(), wanted, rtol=1e-12, atol=1e-15)
    found = make(M, **options)
    assert found.dtype is torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)
    # A periodic window is a longer symmetric one without its last number.
    periodic, longer = (
        make(n, sym=sym, dtype=torch.float64, **options).numpy() for n, sym in ((M, False), (M + 1, True))
    )
    np.testing.assert_allclose(periodic, longer[:-1], rtol=1e-12, atol=1e-15)
    assert make(0, **options).shape == (0,)
    assert math.isclose(make(1, **options).item(), 1.0, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("name", "args", "options", "words"),
    [
        ("hann", (-1,), {}, "general_cosine requires non-negative window length, got M=-1"),
        ("cosine", (3,), {"dtype": torch.int64}, "cosine expects float32 or float64 dtypes, got: torch.int64"),
        ("gaussian", (3,), {"std": 0.0}, "Standard deviation must be positive, got: 0.0 instead."),
        ("kaiser", (3,), {"beta": -1.0}, "beta must be non-negative, got: -1.0 instead."),
        ("exponential", (3,), {"tau": -1.0}, "Tau must be positive, got: -1.0 instead."),
        ("exponential", (3,), {"center": 1.0}, "Center must be None for symmetric windows"),
        ("general_cosine", (3,), {"a": []}, "Coefficients cannot be empty"),
    ],
)
def test_errors(name, args, options, words):
    with pytest.raises(ValueError, match=words):
        getattr(windows, name)(*args, **options)


def test_requires_grad():
    window = windows.hann(5, requires_grad=True)
    window.sum().backward()
