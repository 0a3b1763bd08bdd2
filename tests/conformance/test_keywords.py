"""Calls by other names of parameters, and creation in other layouts, beside PyTorch's: results, and types of errors."""

import pytest
import torch

import facula

from .records.mirror import array, flat

CALLS = """
torch.special.chebyshev_polynomial_t(x=x, n=two)
torch.hsplit(x, sections=3)
torch.hsplit(x, indices=[1, 2])
torch.hsplit(x, indices_or_sections=3.5)
x.dsplit(sections=2)
torch.tensor_split(x, tensor_indices_or_sections=i)
torch.tensor_split(x, sections=2)
x.tensor_split(indices=(1,), axis=1)
torch.tril_indices(3, 3, pin_memory=False)
torch.fft.fftfreq(3, pin_memory=False)
torch.fft.fft(x=x, axis=1)
torch.fft.fftshift(x, axis=1)
torch.fft.rfft2(x, axis=(0, 1))
torch.nn.functional.elu_(x - 5, 1.0, 2.0, 0.5)
torch.exp_(input=x)
torch.get_device(input=x)
torch.is_distributed(input=x)
torch.dequantize(input=x)
torch.resize_as_(input=x, the_template=x)
torch.embedding_renorm_(input=x[0], indices=i, max_norm=1.0, norm_type=2.0)
torch.clamp_(input=x, min=3)
torch.gather(x1=x, axis=0, index=z)
torch.gather(x=x, axis=0, dim=0, index=z)
x.index_select(axis=1, index=i)
x.unbind(axis=1)
x.narrow(axis=1, start=0, length=2)
torch.select(x=x, axis=1, index=0)
torch.select(axis=1, index=0)
torch.unflatten(x, axis=0, sizes=(1, 2))
x.split_with_sizes((1, 2), axis=1)
x.unsafe_split(1, axis=1)
torch.linalg.norm(x, axis=1, keepdims=True)
torch.linalg.vector_norm(x, axis=1, keepdims=True)
torch.linalg.matrix_norm(x, axis=(0, 1), keepdims=True)
torch.linalg.cross(x[:, :, :3], x[:, :, 1:], axis=2)
torch.cross(x[:, :, :3], x2=x[:, :, 1:], axis=2)
torch.linalg.vecdot(x, x, axis=1)
x.aminmax(axis=1)
torch.gradient(x, axis=1)
torch.trapezoid(x, axis=1)
torch.cumulative_trapezoid(x, axis=1)
torch.renorm(x, 2, axis=0, maxnorm=1.0)
x.index_add(axis=0, index=j, source=x[:1])
x.index_copy(axis=0, index=j, source=x[:1])
x.index_fill(axis=0, index=j, value=2)
x.index_reduce(axis=0, index=j, source=x[:1], reduce="prod")
x.scatter(axis=0, index=z, src=x)
x.scatter_add(axis=0, index=z, src=x)
x.scatter_reduce(axis=0, index=z, src=x, reduce="sum")
x.take_along_dim(z[:, :1], axis=1)
x.select_scatter(x[0], axis=0, index=0)
x.slice_scatter(x[:1], axis=0, end=1)
torch.narrow_copy(x, axis=0, start=0, length=1)
torch.unbind_copy(x, axis=0)
torch.split_with_sizes_copy(x, (1, 1), axis=0)
torch.sub(x1=x, x2=x)
torch.maximum(x=x, other=x)
x.scatter_(axis=0, index=z, value=2.0)
x.scatter_add_(axis=0, index=z, src=x.clone())
x.index_add_(axis=0, index=j, source=x[:1].clone())
x.cumsum_(axis=0)
torch.special.softmax(x, axis=1)
torch.zeros(2, 3, layout=coo)
torch.zeros((2, 3), layout=coo, dtype=torch.int32)
torch.zeros(2, 3, layout=torch.strided)
torch.ones(2, 3, layout=coo)
torch.full((2,), 1.0, layout=coo)
torch.zeros_like(x, layout=coo)
torch.zeros_like(x.to_sparse())
torch.zeros_like(x.to_sparse(), layout=torch.strided)
torch.empty_like(x, layout=coo)
torch.empty_like(x.to_sparse())
torch.full_like(x, 1.0, layout=coo)
torch.rand(2, layout=coo)
torch.randn(2, layout=coo)
torch.rand_like(x, layout=coo)
torch.randint(3, (2,), layout=coo)
torch.randperm(3, layout=coo)
torch.normal(0.0, 1.0, (2,), layout=coo)
torch.eye(2, layout=coo)
torch.arange(2, layout=coo)
torch.linspace(0, 1, 3, layout=coo)
torch.logspace(0, 1, 3, layout=coo)
torch.empty_strided((2,), (1,), layout=coo)
torch.empty_permuted((2,), (0,), layout=coo)
torch.hann_window(3, layout=coo)
torch.tril_indices(3, 3, layout=coo)
torch.fft.fftfreq(3, layout=coo)
torch.scalar_tensor(1.0, layout=coo)
x.new_zeros((2, 2), layout=coo)
x.new_ones((2, 2), layout=coo)
torch.zeros(2, 3, layout="coo")
""".strip().splitlines()


def outcome(framework, call: str):
    """What a call gives: its tensors, or its error's type and the beginning of its first line."""
    x = framework.arange(24.0).reshape(2, 3, 4) + 1
    names = {
        "torch": framework, "x": x, "i": framework.tensor([1, 2]), "j": framework.tensor([1]),
        "two": framework.tensor(2.0), "z": framework.zeros((1, 2, 3), dtype=framework.int64),
        "coo": framework.sparse_coo,
    }  # fmt: skip
    if "take_along" in call:
        names["z"] = framework.zeros((2, 3, 4), dtype=framework.int64)
    try:
        return eval(call, names)
    except Exception as error:
        first = str(error).splitlines()[0]
        return type(error).__name__, "" if isinstance(error, TypeError) else first.split(" backend")[0][:40]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_does_what_it_does_in_pytorch(call):
    theirs, ours = outcome(torch, call), outcome(facula, call)
    wanted, found = list(flat(theirs)), list(flat(ours))
    assert len(wanted) == len(found)
    for a, b in zip(wanted, found):
        if not isinstance(a, torch.Tensor):
            assert str(a) == str(b).replace("MissingError", "AttributeError")
            continue
        assert (str(a.layout), str(a.dtype)) == (str(b.layout), str(b.dtype))
        if a.layout is torch.sparse_coo:
            assert tuple(a.shape) == tuple(b.shape) and a._nnz() == b._nnz() and a.sparse_dim() == b.sparse_dim()
            a, b = a.to_dense(), b.to_dense()
        assert array(b) == pytest.approx(array(a), rel=1e-5)
