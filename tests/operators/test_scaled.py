"""Products with results of other dtypes, `tests/targets/cuda/test_blas.py` has those of GPUs."""

import numpy as np
import pytest

import facula as torch

E4, E5 = torch.float8_e4m3fn, torch.float8_e5m2


def numbers(x) -> np.ndarray:
    return x.double().numpy()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_wider_results(kind):
    """wide_product_core: sums that 16 bits do not hold; gradients have the dtype of the operands."""
    a, b = torch.full((3, 4096), 1.0, dtype=kind), torch.full((4096, 2), 1.001953125, dtype=kind)
    exact = 4096 * float(b[0, 0])
    assert torch.mm(a, b, out_dtype=torch.float32).tolist() == [[exact] * 2] * 3
    assert torch.mm(a, b, torch.float32).dtype is torch.float32 and torch.mm(a, b, out_dtype=kind).dtype is kind
    x, y = torch.randn(2, 3, 4).to(kind).requires_grad_(), torch.randn(2, 4, 5).to(kind).requires_grad_()
    made = torch.bmm(x, y, out_dtype=torch.float32)
    np.testing.assert_allclose(numbers(made.detach()), numbers(x.detach()) @ numbers(y.detach()), 1e-5, 1e-5)
    grad = torch.randn(2, 3, 5)
    found = torch.autograd.grad(made, (x, y), grad)
    assert [g.dtype for g in found] == [kind, kind]
    np.testing.assert_allclose(numbers(found[0]), numbers(grad) @ numbers(y.detach().mT), 1e-2, 1e-2)
    np.testing.assert_allclose(numbers(found[1]), numbers(x.detach().mT) @ numbers(grad), 1e-2, 1e-2)
    x, y = x.detach(), y.detach()
    bias = torch.randn(3, 5).to(kind)
    wanted = 2 * numbers(bias) + 3 * numbers(x[0]) @ numbers(y[0])
    made = torch.addmm(bias, x[0], y[0], out_dtype=torch.float32, beta=2, alpha=3)
    np.testing.assert_allclose(numbers(made), wanted, 1e-5, 1e-5)
    made = torch.baddbmm(bias, x, y, out_dtype=torch.float32, beta=2, alpha=3)
    np.testing.assert_allclose(numbers(made[0]), wanted, 1e-5, 1e-5)


def test_results_that_there_are_not():
    a = torch.ones(2, 2)
    for kind, result in ((torch.float32, torch.float64), (torch.float32, torch.float16), (torch.bfloat16, torch.half)):
        with pytest.raises(
            RuntimeError, match="^out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs"
        ):
            torch.mm(a.to(kind), a.to(kind), out_dtype=result)
    with pytest.raises(TypeError, match="out_dtype"):
        torch.matmul(a, a, out_dtype=torch.float32)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        torch.mm(a.half(), torch.ones(3, 2).half(), out_dtype=torch.float32)


def test_products_of_bytes():
    """int_mm: int8 or uint8 times int8, as int32."""
    a, b = torch.randint(-128, 128, (5, 70), dtype=torch.int8), torch.randint(-128, 128, (70, 3), dtype=torch.int8)
    for left in (a, a.to(torch.uint8)):
        found = torch._int_mm(left, b)
        assert found.dtype is torch.int32 and (found.numpy() == left.int().numpy() @ b.int().numpy()).all()
    out = torch.empty(5, 3, dtype=torch.int32)
    assert torch._int_mm(a, b, out=out) is out and (out == torch._int_mm(a, b)).all()
    for left, right, words in (
        (a[0], b, "Expected self to be of dimension 2 but got 1"),
        (a, b[:5], r"self.size\(1\) needs to match mat2.size\(0\) but got 70 and 5"),
        (a.float(), b, "Expected self dtype to be int8 or uint8 but got float"),
        (a, b.int(), "Expected mat2 dtype to be of type int8 but got int"),
    ):
        with pytest.raises(RuntimeError, match=f"^int_mm_out_cpu: {words}"):
            torch._int_mm(left, right)


def made(m=5, k=32, n=16, kinds=(E4, E4)):
    return torch.randn(m, k).to(kinds[0]), torch.randn(n, k).to(kinds[1]).t()


@pytest.mark.parametrize("kinds", [(E4, E4), (E4, E5), (E5, E4), (E5, E5)])
@pytest.mark.parametrize("result", [torch.float32, torch.bfloat16, torch.float16, E4, None])
def test_scaled_products(kinds, result):
    """scaled_mm: one scale for each operand, one for each row and column; a bias."""
    a, b = made(kinds=kinds)
    rows, columns = torch.rand(5, 1) + 0.5, torch.rand(1, 16) + 0.5
    bias = torch.randn(16)
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(result, 0.26)
    for left, right, given in (
        (torch.tensor(2.0), torch.tensor(3.0), None),
        (rows, columns, None),
        (rows, columns, bias),
    ):
        found = torch._scaled_mm(a, b, left, right, given, out_dtype=result)
        assert found.dtype is (result or kinds[0])
        wanted = numbers(a) @ numbers(b) * numbers(left) * numbers(right) + (0 if given is None else numbers(given))
        np.testing.assert_allclose(numbers(found), wanted, rtol=tolerance, atol=tolerance)
    whole = torch._scaled_mm(a, b, torch.tensor(2.0), torch.tensor(1.0), out_dtype=E5, scale_result=torch.tensor(4.0))
    np.testing.assert_allclose(numbers(whole), numbers(a) @ numbers(b) / 2, rtol=0.26, atol=0.26)


def test_scales_that_make_no_sense():
    a, b = made()
    one = torch.tensor(1.0)
    for given, error, words in (
        ((a[0], b, one, one), RuntimeError, "mat1 must be a matrix"),
        ((a, b[None], one, one), RuntimeError, "mat2 must be a matrix"),
        ((a, b[:8], one, one), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(5x32 and 8x16\)"),
        ((a.float(), b.float(), one, one), RuntimeError, "Expected mat1 to be Float8 matrix got Float"),
        ((a, b.float(), one, one), ValueError, "Invalid scaling configuration."),
        ((a, b, torch.ones(5, 1), one), ValueError, "Invalid scaling configuration."),
        ((a, b, torch.ones(5, 1).double(), torch.ones(1, 16)), ValueError, "Invalid scaling configuration."),
        ((a, b, one, one, torch.ones(5)), RuntimeError, "Bias must be size 16 but got 5"),
        ((a, b, one, one, None, torch.ones(2)), RuntimeError, "scale_result must be a float scalar"),
        ((a, b, one, one, None, None, torch.int32), RuntimeError, "_scaled_mm: there is no result of torch.int32"),
    ):
        with pytest.raises(error, match=f"^{words}"):
            torch._scaled_mm(*given)


def test_products_with_an_activation():
    """addmm_activation: `relu` or `gelu` of `addmm`."""
    bias, a, b = torch.randn(5), torch.randn(3, 4), torch.randn(4, 5)
    plain = torch.addmm(bias, a, b, beta=2, alpha=3)
    assert (torch._addmm_activation(bias, a, b, beta=2, alpha=3) == plain.relu()).all()
    gelu = torch.nn.functional.gelu(plain)
    assert (torch._addmm_activation(bias, a, b, beta=2, alpha=3, use_gelu=True) == gelu).all()
    out = torch.empty(3, 5)
    assert torch._addmm_activation(bias, a, b, out=out) is out
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        torch._addmm_activation(bias, a, a)


def test_what_has_no_derivative():
    bias, a, b = torch.randn(5, requires_grad=True), torch.randn(3, 4), torch.randn(4, 5)
    with pytest.raises(RuntimeError, match="^derivative for aten::_addmm_activation is not implemented"):
        torch._addmm_activation(bias, a, b).sum().backward()
    (a, b), scale = made(), torch.tensor(1.0, requires_grad=True)
    with pytest.raises(RuntimeError, match="^derivative for aten::_scaled_mm is not implemented"):
        torch._scaled_mm(a, b, scale, scale, out_dtype=torch.float32).sum().backward()
