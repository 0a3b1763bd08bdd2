"""`torch.signal.windows` against SciPy's."""

import numpy as np
import pytest
import scipy.signal.windows as scipy_windows

import facula as torch

WINDOWS = [
    ("bartlett", (), {}), ("blackman", (), {}), ("cosine", (), {}), ("exponential", (None, 2.5), {"tau": 2.5}),
    ("gaussian", (1.7,), {"std": 1.7}), ("general_cosine", ([0.4, 0.5, 0.1],), {"a": [0.4, 0.5, 0.1]}),
    ("general_hamming", (0.6,), {"alpha": 0.6}), ("hamming", (), {}), ("hann", (), {}),
    ("kaiser", (7.0,), {"beta": 7.0}),
    ("nuttall", (), {}),
]  # fmt: skip


@pytest.mark.parametrize("name, theirs, ours", WINDOWS, ids=[w[0] for w in WINDOWS])
@pytest.mark.parametrize("sym", [True, False])
def test_windows_are_those_of_scipy(name, theirs, ours, sym):
    for length in (0, 1, 2, 7, 16):
        made = getattr(torch.signal.windows, name)(length, sym=sym, dtype=torch.float64, **ours)
        wanted = getattr(scipy_windows, name)(length, *theirs, sym=sym)
        if name == "cosine" and length == 1:
            wanted = [1.0]
        np.testing.assert_allclose(made.numpy(), wanted, atol=1e-7)  # Nuttall's weights have seven digits


def test_what_cannot_be_is_refused():
    windows = torch.signal.windows
    for wrong, error, words in (
        (lambda: windows.hann(-1), ValueError, "requires non-negative window length, got M=-1"),
        (lambda: windows.hann(4, dtype=torch.int64), ValueError, "expects float32 or float64"),
        (lambda: windows.hann(4, layout=torch.sparse_coo), ValueError, "strided tensors only"),
        (lambda: windows.gaussian(4, std=0.0), ValueError, "must be positive"),
        (lambda: windows.exponential(4, tau=-1.0), ValueError, "must be positive"),
        (lambda: windows.exponential(4, center=1.0), ValueError, "Center must be None"),
        (lambda: windows.kaiser(4, beta=-1.0), ValueError, "non-negative"),
        (lambda: windows.general_cosine(4, a=[]), ValueError, "cannot be empty"),
        (lambda: windows.hann(4, alpha=1.0), TypeError, "unexpected keyword"),
    ):
        with pytest.raises(error, match=words):
            wrong()
