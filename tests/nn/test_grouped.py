"""Products of groups of matrices, beside one product a group."""

import numpy as np
import pytest

import facula as torch
import facula.nn.functional as F

RNG = np.random.default_rng(4)


def made(*shape):
    return torch.from_numpy(RNG.standard_normal(shape).astype(np.float32)).requires_grad_()


def agree(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-5, atol=1e-5)


ENDS = torch.tensor([2, 5], dtype=torch.int32)


def test_rows_are_divided():
    a, b = made(6, 3), made(2, 3, 4)
    x, y = a.detach().numpy(), b.detach().numpy()
    found = F.grouped_mm(a, b, offs=ENDS)
    agree(found, np.concatenate([x[:2] @ y[0], x[2:5] @ y[1], np.zeros((1, 4))]))
    found.sum().backward()
    agree(b.grad[0], x[:2].sum(0)[:, None].repeat(4, 1))
    assert not a.grad[5].any()


def test_columns_are_divided():
    a, b = made(2, 4, 3), made(3, 6)
    x, y = a.detach().numpy(), b.detach().numpy()
    agree(F.grouped_mm(a, b, offs=ENDS), np.concatenate([x[0] @ y[:, :2], x[1] @ y[:, 2:5], np.zeros((4, 1))], 1))


def test_the_inner_dim_is_divided():
    a, b = made(4, 6), made(6, 3)
    x, y = a.detach().numpy(), b.detach().numpy()
    agree(F.grouped_mm(a, b, offs=ENDS), np.stack([x[:, :2] @ y[:2], x[:, 2:5] @ y[2:5]]))


def test_batches_are_products_of_each():
    a, b = made(2, 4, 3), made(2, 3, 5)
    agree(F.grouped_mm(a, b), a.detach().numpy() @ b.detach().numpy())


@pytest.mark.parametrize(
    ("a", "b", "options", "words"),
    [
        (made(4, 3), made(2, 3, 4), {}, "Have to provide offsets if there is a 2d matrix"),
        (made(2, 4, 3), made(2, 3, 4), {"offs": ENDS}, "Have to provide offsets if there is a 2d matrix"),
        (made(2, 4, 3), made(2, 3, 4), {"bias": made(4)}, "Bias not supported yet"),
        (made(2, 4, 3).double(), made(2, 3, 4), {}, "Expected mat_a to be Float32, BFloat16 or Float16 matrix"),
        (made(2, 4, 3), made(2, 3, 4), {"out_dtype": torch.float16}, "Grouped gemm output dtype must match"),
    ],
)
def test_what_is_refused(a, b, options, words):
    with pytest.raises(RuntimeError, match=f"^{words}"):
        F.grouped_mm(a, b, **options)


def eight(*shape):
    return torch.randn(*shape).to(torch.float8_e4m3fn)


def test_scaled_products():
    """One scale for each matrix, or for each row and column; `tests/operators/test_scaled.py` has the product."""
    one, rows = F.ScalingType.TensorWise, F.ScalingType.RowWise
    a, b, bias = eight(3, 32), eight(16, 32).t(), torch.randn(16)
    x, y = a.float().numpy(), b.float().numpy()
    found = F.scaled_mm(a, b, torch.tensor(2.0), one, [torch.tensor(3.0)], [one], bias=bias, output_dtype=torch.float32)
    np.testing.assert_allclose(found.numpy(), x @ y * 6 + bias.numpy(), rtol=1e-5, atol=1e-5)
    scales = torch.rand(3, 1), torch.rand(1, 16)
    found = F.scaled_mm(a, b, scales[0], rows, scales[1], rows, swizzle_a=F.SwizzleType.NO_SWIZZLE)
    assert found.dtype is torch.bfloat16
    wanted = x @ y * scales[0].numpy() * scales[1].numpy()
    np.testing.assert_allclose(found.float().numpy(), wanted, rtol=1e-2, atol=1e-2)
    for left, right in ((rows, one), (F.ScalingType.BlockWise1x32,) * 2):
        with pytest.raises(ValueError, match="^Invalid scaling configuration."):
            F.scaled_mm(a, b, scales[0], left, scales[1], right)


def test_scaled_groups_are_not_there():
    one = F.ScalingType.TensorWise
    with pytest.raises(NotImplementedError, match="8-bit"):
        F.scaled_grouped_mm(made(2, 2), made(2, 2), made(1), one, made(1), one)
