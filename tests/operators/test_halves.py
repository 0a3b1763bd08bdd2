"""float16 and bfloat16 beside numbers: which are rounded to 16 bits before the arithmetic, which keep all."""

import operator

import numpy as np
import pytest

import facula as torch

HALVES = (torch.bfloat16, torch.float16)
X = np.random.default_rng(0).uniform(-4, 4, 300).astype(np.float32)


def rounded(x, dtype):
    """Numbers with the digits of a dtype, as float32."""
    return torch.as_tensor(x, dtype=torch.float32).to(dtype).float()


def kept(x, dtype):
    return x.to(dtype).float()


ROUND, KEEP = True, False
RULES = {
    "x + n": (operator.add, ROUND),
    "n + x": (lambda x, n: n + x, ROUND),
    "x - n": (operator.sub, ROUND),
    "n - x": (lambda x, n: n - x, ROUND),
    "x % n": (operator.mod, ROUND),
    "x < n": (operator.lt, ROUND),
    "add_": (lambda x, n: x.clone().add_(n), ROUND),
    "mul(n, x)": (lambda x, n: torch.mul(n, x), ROUND),
    "where": (lambda x, n: torch.where(x > 0, x, n), ROUND),
    "x * n": (operator.mul, KEEP),
    "n * x": (lambda x, n: n * x, KEEP),
    "x / n": (operator.truediv, KEEP),
    "mul_": (lambda x, n: x.clone().mul_(n), KEEP),
    "leaky_relu": (lambda x, n: torch.nn.functional.leaky_relu(x, float(n)), KEEP),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", RULES)
def test_numbers(name, dtype):
    form, rounds = RULES[name]
    x = torch.from_numpy(X).to(dtype)
    for number in (0.1, 1 / 3, 2.3, 257):
        plain = rounded(number, dtype).item() if rounds else float(np.float32(number))
        wanted = form(x.float(), plain)
        wanted = wanted if wanted.dtype is torch.bool else kept(wanted, dtype)
        for _ in range(3):  # machine code repeats a call that it knows
            found = form(x, number)
            assert torch.equal(found if found.dtype is torch.bool else found.float(), wanted), number


@pytest.mark.parametrize("dtype", HALVES)
def test_a_number_over_a_tensor_is_its_reciprocal_times_the_number(dtype):
    x = torch.from_numpy(X).to(dtype)
    assert torch.equal((2.3 / x).float(), kept(kept(1 / x.float(), dtype) * 2.3, dtype))
    y = x.float().requires_grad_()
    made = 2.3 / y
    assert type(made.grad_fn).__name__ == "MulBackward0"
    (slope,) = torch.autograd.grad(made.sum(), y)
    np.testing.assert_allclose(slope.numpy(), -2.3 / y.detach().numpy() ** 2, rtol=1e-6)
    # Whole numbers give floats, complex ones stay complex.
    assert (2 / torch.tensor([4])).item() == 0.5 and (2 / torch.tensor([2j])).item() == -1j


@pytest.mark.parametrize("dtype", HALVES)
def test_tensors_of_other_dtypes_are_rounded_too(dtype):
    x = torch.from_numpy(X).to(dtype)
    whole = torch.arange(1000, 1300)
    assert torch.equal((x * whole).float(), kept(x.float() * rounded(whole.float(), dtype), dtype))
    assert torch.equal((x + torch.tensor(1 / 3)).float(), kept(x.float() + rounded(1 / 3, dtype), dtype))
    assert torch.equal((x * torch.tensor(1 / 3)).float(), kept(x.float() * torch.tensor(1 / 3), dtype))
    into = torch.empty(300)
    torch.add(x, 1, out=into)
    assert torch.equal(into, kept(x.float() + 1, dtype))  # rounded, though float32 is written


def test_gradients_go_through():
    x = torch.from_numpy(X).bfloat16().requires_grad_()
    n = torch.tensor(0.1, requires_grad=True)
    (x + n).sum().backward()
    assert x.grad.dtype is torch.bfloat16 and (x.grad == 1).all() and n.grad.item() == 300
    y = torch.from_numpy(X).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: 3 / (y * y + 1), (y,))
    assert torch.autograd.gradgradcheck(lambda y: (1 + 2j) / (y[:5] + 6j), (y.detach()[:5].requires_grad_(),))


def test_in_place_forms_refuse_numbers_where_tensors_are_meant():
    for name in ("atan2_", "hypot_", "logical_and_", "ldexp_", "nextafter_"):
        with pytest.raises(TypeError, match="must be Tensor, not"):
            getattr(torch.ones(3), name)(2.0)
