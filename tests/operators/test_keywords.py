"""Names by which parameters may be given: PyTorch's true ones, and NumPy's `axis`, `keepdims`, `x`."""

import pytest

import facula as torch

X = torch.tensor([[4.0, 1.0, 2.0], [3.0, 6.0, 5.0]])
REDUCTIONS = (
    "sum mean prod amax amin argmax argmin max min any all nansum nanmean logsumexp std var median nanmedian".split()
)
ALONG = "cumsum cumprod cummax cummin logcumsumexp softmax log_softmax sort argsort count_nonzero".split()


def equal(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b)) if isinstance(a, tuple) else torch.equal(a, b)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_axis_and_keepdims_of_reductions(name):
    for axis in (0, -1):
        wanted = getattr(X, name)(dim=axis, keepdim=True)
        assert equal(getattr(X, name)(axis=axis, keepdims=True), wanted)
        assert equal(getattr(torch, name)(X, axis=axis, keepdim=True), wanted)
        assert equal(getattr(X, name)(axis, keepdims=True), wanted)
    with pytest.raises(TypeError, match="multiple values for argument 'dim'"):
        getattr(X, name)(1, axis=0)


@pytest.mark.parametrize("name", ALONG)
def test_axis_along_a_dim(name):
    assert equal(getattr(X, name)(axis=0), getattr(X, name)(0))
    assert equal(getattr(torch, name)(X, axis=1), getattr(torch, name)(X, dim=1))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "logsumexp", "softmax"])
def test_a_dim_that_is_required(name):
    with pytest.raises(TypeError, match=rf'{name}\(\) missing 1 required positional arguments: "dim"'):
        getattr(X, name)()


def test_axis_of_others():
    assert torch.equal(torch.stack([X, X], axis=1), torch.stack([X, X], 1))
    assert torch.equal(torch.cat([X, X], axis=1), torch.cat([X, X], 1))
    assert X.unsqueeze(axis=1).shape == (2, 1, 3) and X.unsqueeze(axis=1).squeeze(axis=1).shape == (2, 3)
    assert equal(X.topk(2, axis=1), X.topk(2, 1)) and equal(X.chunk(3, axis=1), X.chunk(3, 1))
    assert torch.equal(X.repeat_interleave(2, axis=1), X.repeat_interleave(2, 1))
    assert torch.equal(X.diff(axis=0), X.diff(dim=0)) and torch.equal(X.quantile(0.5, axis=0), X.quantile(0.5, 0))
    assert torch.equal(torch.exp(x=X), torch.exp(X)) and torch.equal(torch.maximum(x1=X, x2=X), X)


def test_true_names():
    square = torch.eye(3) * 2
    tau = torch.ones(3)
    assert torch.equal(torch.inverse(input=square), torch.linalg.inv(A=square))
    assert torch.equal(torch.matrix_power(input=square, n=2), torch.linalg.matrix_power(input=square, n=2))
    assert torch.linalg.norm(input=square, ord=2) == 2 and torch.linalg.vector_norm(input=tau) ** 2 > 2.9
    assert torch.equal(square.orgqr(input2=tau), torch.linalg.householder_product(input=square, tau=tau))
    assert torch.equal(square.ormqr(input2=tau, input3=square), torch.ormqr(square, tau, square))
    assert torch.equal(square.cholesky_solve(input2=square), torch.cholesky_solve(square, square))
    assert len(square.unsafe_split(split_size=1)) == 3 and torch.result_type(tensor=square, other=1) is torch.float32
    assert square.clone().swapaxes_(axis0=0, axis1=1).shape == (3, 3)
    assert torch.rand_like(square, pin_memory=False).shape == (3, 3)


def test_names_of_overloads():
    assert equal(torch.hsplit(X, sections=3), torch.hsplit(X, 3)) and equal(X.vsplit(indices=(1,)), X.vsplit((1,)))
    assert equal(torch.tensor_split(X, tensor_indices_or_sections=torch.tensor([1])), torch.tensor_split(X, (1,)))
    with pytest.raises(TypeError, match="multiple values for argument 'indices_or_sections'"):
        torch.hsplit(X, sections=3, indices=(1,))
    with pytest.raises(TypeError, match="unexpected keyword argument 'section'"):
        torch.hsplit(X, section=3)


@pytest.mark.parametrize("needs_grad", [False, True])
def test_axis_of_functions_and_views(needs_grad):
    x, places = X.clone().requires_grad_(needs_grad), torch.tensor([[0, 1, 0]])
    assert torch.equal(x.gather(axis=0, index=places), x.gather(0, places))
    assert torch.equal(torch.index_select(x=x, axis=1, index=places[0]), x.index_select(1, places[0]))
    assert equal(x.unbind(axis=1), x.unbind(1)) and torch.equal(x.select(axis=0, index=1), x[1])
    if needs_grad:
        x.select(axis=0, index=1).sum().backward()
        assert x.grad.tolist() == [[0, 0, 0], [1, 1, 1]]
    with torch.no_grad():
        assert torch.equal(torch.gather(x1=x, axis=0, index=places), x.gather(0, places))
    with pytest.raises(TypeError, match="multiple values for argument 'dim'"):
        x.gather(axis=0, dim=0, index=places)
    with pytest.raises(TypeError, match="axes"):
        x.gather(axes=0, index=places)


def test_axis_under_vmap():
    batch, places = torch.stack([X, X + 1]), torch.tensor([[0, 1, 0]])
    assert torch.equal(torch.vmap(lambda x: x.gather(axis=0, index=places))(batch)[1], (X + 1).gather(0, places))
    assert torch.equal(torch.vmap(lambda x: x.select(axis=0, index=1))(batch)[1], X[1] + 1)
