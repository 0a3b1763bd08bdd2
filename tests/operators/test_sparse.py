"""Sparse tensors in the COO layout: construction, conversions, arithmetic, gradients, optimizers on them."""

import copy
import pickle

import numpy as np
import pytest

import facula as torch
from facula import nn

PLACES, VALUES, SIZE = [[0, 1, 1, 1], [2, 0, 2, 2]], [3.0, 4.0, 5.0, 6.0], (2, 3)
DENSE = np.array([[0, 0, 3], [4, 0, 11]], np.float32)


def example(**options):
    return torch.sparse_coo_tensor(PLACES, VALUES, SIZE, **options)


def test_places_that_occur_twice_are_summed():
    s = example()
    assert (s.is_sparse, s.layout, s._nnz(), s.sparse_dim(), s.dense_dim()) == (True, torch.sparse_coo, 4, 2, 0)
    assert not s.is_coalesced()
    np.testing.assert_array_equal(s.to_dense().numpy(), DENSE)
    settled = s.coalesce()
    assert settled.is_coalesced() and settled.indices().tolist() == [[0, 1, 1], [2, 0, 2]]
    assert settled.values().tolist() == [3, 4, 11]
    assert settled.coalesce() is settled


def test_conversions_keep_the_elements():
    dense = torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 3.0]])
    for count in (0, 1, 2):
        s = dense.to_sparse(count)
        assert s.sparse_dim() == count and torch.equal(s.to_dense(), dense)
    assert dense.to_sparse(1)._nnz() == 2
    for same in (copy.deepcopy(example()), pickle.loads(pickle.dumps(example())), example().clone()):
        np.testing.assert_array_equal(same.to_dense().numpy(), DENSE)
    assert torch.sparse_coo_tensor((2, 3)).to_dense().tolist() == [[0.0] * 3] * 2
    assert example().double().dtype is torch.float64


@pytest.mark.parametrize(
    "function",
    [
        lambda s, d: (s + s, d + d), lambda s, d: (s - 2 * s, -d), lambda s, d: (s * 2, d * 2),
        lambda s, d: (s / 4, d / 4),
        lambda s, d: (s * s, d * d), lambda s, d: (s * torch.full((2, 3), 2.0), d * 2), lambda s, d: (s.t(), d.T),
        lambda s, d: (torch.from_numpy(d) + s, d + d), lambda s, d: (s @ torch.ones(3, 2), d @ np.ones((3, 2))),
        lambda s, d: (s @ torch.ones(3), d @ np.ones(3)),
        lambda s, d: (torch.sparse.mm(torch.ones(4, 2), s), np.ones((4, 2)) @ d),
        lambda s, d: (torch.mm(s, torch.ones(3, 2)), d @ np.ones((3, 2))),
        lambda s, d: (torch.mv(s, torch.ones(3)), d.sum(1)),
        lambda s, d: (torch.matmul(torch.ones(2), s), d.sum(0)),
        lambda s, d: (torch.ones(4, 2) @ s, np.ones((4, 2)) @ d),
        lambda s, d: (torch.sparse.mm(s, s.t()), d @ d.T), lambda s, d: (s.sum(), d.sum()),
        lambda s, d: (torch.sparse.sum(s, 0), d.sum(0)), lambda s, d: (torch.sparse.sum(s, [0, 1]), d.sum()),
        lambda s, d: (s.square(), d * d), lambda s, d: (s.sqrt(), np.sqrt(d)), lambda s, d: (s[1], d[1]),
        lambda s, d: (s.sparse_mask(s.coalesce()), d), lambda s, d: (s.norm(), np.sqrt((d * d).sum())),
        lambda s, d: (torch.sparse.addmm(torch.ones(2, 2), s, torch.ones(3, 2)), 1 + d @ np.ones((3, 2))),
    ],
)  # fmt: skip
def test_arithmetic_is_that_of_dense_tensors(function):
    ours, expected = function(example(), DENSE)
    np.testing.assert_allclose(ours.to_dense().numpy(), expected, rtol=1e-6)


def test_what_is_not_defined_says_so():
    s = example()
    for wrong, error in (
        (lambda: torch.sin(s), NotImplementedError), (lambda: s.view(6), NotImplementedError),
        (lambda: s + torch.ones(2, 3), RuntimeError), (lambda: s.indices(), RuntimeError),
        (lambda: s.numpy(), TypeError), (lambda: s.reshape(6), RuntimeError),
        (lambda: torch.ones(2).indices(), RuntimeError),
        (lambda: torch.sparse_coo_tensor(PLACES, [1.0], SIZE), RuntimeError),
        (lambda: torch.sparse_coo_tensor(PLACES, VALUES, (1, 3)), RuntimeError),
        (lambda: torch.sparse_coo_tensor([[-1]], [1.0]), RuntimeError),
        (lambda: torch.sparse_coo_tensor(PLACES, VALUES, (2, 3, 4)), RuntimeError),
        (lambda: torch.sparse_coo_tensor([1, 2], [1.0, 2.0]), RuntimeError),
        (lambda: torch.sparse.mm(s, torch.ones(2, 2)), RuntimeError),
    ):  # fmt: skip
        with pytest.raises(error):
            wrong()


def test_gradients_reach_the_values_and_dense_operands():
    values = torch.tensor(VALUES, requires_grad=True)
    factor = torch.arange(6.0).view(3, 2).requires_grad_()
    torch.sparse.mm(torch.sparse_coo_tensor(PLACES, values, SIZE), factor).sum().backward()
    assert values.grad.tolist() == [9, 1, 9, 9]
    assert factor.grad.tolist() == [[4, 4], [0, 0], [14, 14]]
    leaf = example(requires_grad=True)
    (leaf.to_dense() * 2).sum().backward()
    assert leaf.grad.is_sparse and leaf.grad._values().tolist() == [2] * 4
    dense = torch.eye(2, requires_grad=True)
    (dense.to_sparse() * 3).to_dense().sum().backward()
    assert dense.grad.tolist() == [[3, 0], [0, 3]]


@pytest.mark.parametrize("bag", [False, True])
def test_gradients_of_tables_hold_the_used_rows(bag):
    x, grads = torch.tensor([[1, 1, 3], [0, 2, 1]]), []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = (nn.EmbeddingBag if bag else nn.Embedding)(6, 4, sparse=sparse, padding_idx=0)
        for _ in range(2):  # gradients add up, also of two uses at once
            (table(x).sum() + (table(x) ** 2).sum()).backward()
        grads.append(table.weight.grad)
    assert grads[0].is_sparse and not grads[1].is_sparse
    np.testing.assert_allclose(grads[0].to_dense().numpy(), grads[1].numpy(), rtol=1e-6)
    assert set(grads[0]._indices()[0].tolist()) == {1, 2, 3}


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adagrad, lambda p, lr: torch.optim.SGD(p, lr, 0.9)])
def test_steps_with_sparse_gradients_are_those_with_dense_ones(make):
    tables = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = nn.Embedding(6, 4, sparse=sparse)
        optimizer = make(table.parameters(), lr=0.1)
        for step in range(4):
            optimizer.zero_grad()
            (table(torch.tensor([1, 1, step])) ** 2).sum().backward()
            optimizer.step()
        tables.append(table.weight.detach().numpy())
    np.testing.assert_allclose(*tables, rtol=1e-6)


def test_sparse_adam_leaves_unused_rows_and_their_averages():
    table = nn.Embedding(6, 4, sparse=True)
    before = table.weight.detach().clone()
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    (table(torch.tensor([2, 2])) ** 2).sum().backward()
    optimizer.step()
    changed = (table.weight.detach() != before).any(1)
    assert changed.tolist() == [False, False, True, False, False, False]
    assert optimizer.state[table.weight]["exp_avg"].any(1).tolist() == changed.tolist()
    with pytest.raises(RuntimeError, match="Adam does not support sparse gradients"):
        torch.optim.Adam(table.parameters()).step()
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        table.weight.grad = table.weight.grad.to_dense()
        optimizer.step()


def test_clipping_takes_sparse_gradients():
    norms = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = nn.Embedding(6, 4, sparse=sparse)
        (table(torch.tensor([1, 1, 2])) * 5).sum().backward()
        before = nn.utils.clip_grad_norm_(table.parameters(), 1.0)
        norms.append((before.item(), table.weight.grad.norm().item()))
    np.testing.assert_allclose(*norms, rtol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.sparse.sampled_addmm(x, x, x),
        lambda x: torch.sparse.mm(x.to_sparse(), x, "mean"),
        lambda x: torch.sparse.spsolve(x, x),
        lambda x: x.to_sparse_csr(),
        lambda x: x.to_sparse_bsc((1, 1)),
        lambda x: x.to_sparse(layout=torch.sparse_csr),
        lambda x: torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0]),
        lambda x: torch.sparse_compressed_tensor([0, 1, 2], [0, 1], [1.0, 2.0], layout=torch.sparse_csr),
        lambda x: x.crow_indices(),
    ],
)
def test_compressed_layouts_are_refused(call):
    with pytest.raises(NotImplementedError, match="is not implemented.*(COO|sparse_coo)"):
        call(torch.eye(2))
