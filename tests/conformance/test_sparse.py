"""Sparse tensors in both frameworks: what is printed, computed, refused."""

import warnings

import numpy as np
import pytest
import torch

import facula

PLACES, VALUES, SIZE = [[0, 1, 1, 1], [2, 0, 2, 2]], [3.0, -4.0, 5.0, 6.0], (2, 3)


def example(framework, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return framework.sparse_coo_tensor(PLACES, VALUES, SIZE, **options)


SHOWN = [
    lambda t, s: s, lambda t, s: s.coalesce(), lambda t, s: s.double(), lambda t, s: s.t(), lambda t, s: s[1],
    lambda t, s: s[0, 2], lambda t, s: s + s, lambda t, s: s - s, lambda t, s: s * 2, lambda t, s: s / 4,
    lambda t, s: -s, lambda t, s: s @ t.ones(3, 2), lambda t, s: t.sparse.mm(s, s.t()), lambda t, s: s.sum(),
    lambda t, s: t.sparse.sum(s, 0), lambda t, s: t.sparse.sum(s, 1), lambda t, s: t.sparse.softmax(s, 1),
    lambda t, s: t.ones(2, 3) + s, lambda t, s: s.sin(), lambda t, s: s.abs(), lambda t, s: s.sgn(),
    lambda t, s: s.norm(), lambda t, s: t.ones(2, 3).sparse_mask(s.coalesce()), lambda t, s: t.eye(3).to_sparse(1),
    lambda t, s: t.eye(2, 3).to_sparse(), lambda t, s: t.zeros(2, 3).to_sparse(),
    lambda t, s: t.sparse_coo_tensor((2, 3)), lambda t, s: s.clone().zero_(),
    lambda t, s: (s.shape, s.dtype, s.layout, s.is_sparse, s._nnz(), s.sparse_dim(), s.dense_dim(), s.stride(),
                  s.numel(), len(s)),
    lambda t, s: s.detach().requires_grad_(),
    lambda t, s: t.sparse.spdiags(t.ones(2, 3), t.tensor([0, 1]), (3, 3)).to_dense(),
    lambda t, s: t.sparse_coo_tensor([[0, 1]], [[1.0, 2.0], [3.0, 4.0]]), lambda t, s: s.pow(2),
    lambda t, s: s.to(t.float64),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_results_print_alike(number):
    ours, theirs = (repr(SHOWN[number](t, example(t))) for t in (facula, torch))
    assert ours == theirs


REFUSED = [
    lambda t, s: s.indices(), lambda t, s: s.values(), lambda t, s: s.view(6), lambda t, s: s.numpy(),
    lambda t, s: s.item(), lambda t, s: s + t.ones(2, 3), lambda t, s: s.reshape(6), lambda t, s: s.max(),
    lambda t, s: s == s, lambda t, s: t.sparse_coo_tensor(PLACES, [1.0], SIZE),
    lambda t, s: t.sparse_coo_tensor([[-1]], [1.0]), lambda t, s: t.sparse_coo_tensor(PLACES, VALUES, (2, 3, 4)),
    lambda t, s: t.softmax(s, 0), lambda t, s: s.pow(0), lambda t, s: t.ones(2).copy_(s),
    lambda t, s: s.copy_(t.ones(2, 3)), lambda t, s: t.sparse.mm(s, t.ones(2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals_are_alike(number):
    errors = []
    for t in (torch, facula):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            REFUSED[number](t, example(t))
        errors.append(caught.value)
    assert isinstance(errors[1], type(errors[0])), errors


def test_training_with_sparse_gradients():
    weights = []
    for t in (facula, torch):
        t.manual_seed(0)
        table, bag = t.nn.Embedding(8, 3, sparse=True, padding_idx=0), t.nn.EmbeddingBag(8, 3, sparse=True)
        optimizers = [
            t.optim.SparseAdam([table.weight], lr=0.1), t.optim.SGD([bag.weight], lr=0.1, momentum=0.5),
        ]  # fmt: skip
        for step in range(5):
            x = t.tensor([[1, 2, step], [3, 3, 0]])
            for optimizer in optimizers:
                optimizer.zero_grad()
            ((table(x).mean(1) - bag(x)) ** 2).sum().backward()
            for optimizer in optimizers:
                optimizer.step()
        weights.append([table.weight.detach().numpy(), bag.weight.detach().numpy()])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
