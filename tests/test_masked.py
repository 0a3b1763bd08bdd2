"""`torch.masked` against NumPy's masked arrays; rows without elements; what is refused."""

import numpy as np
import pytest

import facula as torch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
MASK = RNG.random((4, 5)) < 0.6
MASK[0], MASK[1] = True, False  # one row whole, one left out
X[~MASK] = np.nan  # must not be seen
ARRAY = np.ma.array(X, mask=~MASK)
SOME = MASK.any(1)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "amax", "amin", "var", "std"])
def test_reductions_are_those_of_masked_arrays(name):
    x, mask = torch.from_numpy(X), torch.from_numpy(MASK)
    other = {"amax": "max", "amin": "min"}.get(name, name)
    options = {"ddof": 1} if name in ("var", "std") else {}
    for dim in (None, 1, (0, 1)):
        ours = getattr(torch.masked, name)(x, dim, mask=mask).numpy()
        with np.errstate(all="ignore"):
            theirs = getattr(ARRAY, other)(axis=dim, **options)
        if dim == 1:
            known = SOME & (MASK.sum(1) > options.get("ddof", 0))
            ours, theirs = ours[known], np.ma.getdata(theirs)[known]
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_rows_without_elements_give_the_identity():
    x, mask = torch.from_numpy(X), torch.from_numpy(MASK)
    expected = {"sum": 0, "prod": 1, "amax": -np.inf, "amin": np.inf, "mean": np.nan, "norm": 0, "logsumexp": -np.inf}
    for name, value in expected.items():
        found = getattr(torch.masked, name)(x, **({"ord": 2} if name == "norm" else {}), dim=1, mask=mask)[1].item()
        np.testing.assert_equal(found, value, name)


def test_softmax_gives_nothing_to_what_is_left_out():
    made = torch.masked.softmax(torch.from_numpy(X), 1, mask=torch.from_numpy(MASK)).numpy()
    assert (made[SOME][~MASK[SOME]] == 0).all()
    np.testing.assert_allclose(made[SOME].sum(1), 1)


def test_gradients_pass_what_counts_alone():
    x = torch.ones(2, 3, requires_grad=True)
    torch.masked.mean(x, 1, mask=torch.tensor([[True, False, True], [True, True, True]])).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0.5, 0, 0.5], [1 / 3] * 3], rtol=1e-6)


def test_what_cannot_be_is_refused():
    x = torch.ones(2, 3)
    with pytest.raises(IndexError, match="broadcastable mask"):
        torch.masked.sum(x, mask=torch.ones(1, 2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="Could not infer output dtype"):
        torch.masked.mean(x.long())
    with pytest.raises(IndexError, match="Dimension out of range"):
        torch.masked.sum(x, 2)
    with pytest.raises(RuntimeError, match="appears multiple times"):
        torch.masked.sum(x, (0, 0))
