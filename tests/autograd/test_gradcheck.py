"""`gradcheck` finds wrong gradients, and lets right ones pass."""

import numpy as np
import pytest

import facula as torch
from facula.autograd import GradcheckError, gradcheck, gradgradcheck


def leaf(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).uniform(0.5, 1.5, shape), requires_grad=True)


def wrong(factor):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 2 * x * factor

    return Wrong.apply


def test_right_ones_pass():
    assert gradcheck(torch.mul, (leaf(3), leaf(3, seed=1)))
    assert gradcheck(lambda x: (x.sum(), x * 2), leaf(2, 2))
    assert gradcheck(lambda x, n: x * n, (leaf(3), 3))
    assert gradgradcheck(lambda x, y: (x * y).sin(), (leaf(3), leaf(3, seed=1)))


def test_wrong_ones_are_found():
    assert gradcheck(wrong(1.0), (leaf(3),))
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(wrong(1.001 + 1e-2), (leaf(3),))
    assert not gradcheck(wrong(2.0), (leaf(3),), raise_exception=False)


def test_what_depends_on_chance_is_found():
    count = [0]

    class Drifting(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            count[0] += 1
            return grad * (2 + 1e-7 * count[0])

    with pytest.raises(GradcheckError, match="not reentrant"):
        gradcheck(Drifting.apply, (leaf(3),))
    assert gradcheck(Drifting.apply, (leaf(3),), nondet_tol=1e-4)


def test_complex():
    z = torch.tensor([1 + 1j, -0.5 + 2j], dtype=torch.complex128, requires_grad=True)
    assert gradcheck(lambda a: a * a, (z,)) and gradcheck(lambda a: a.abs(), (z,)) and gradcheck(torch.conj, (z,))
    assert gradcheck(lambda x: torch.complex(x, x * 2), (leaf(3),)) and gradgradcheck(lambda a: a.exp(), (z,))


def test_bad_inputs():
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(torch.sin, (torch.ones(2),))
    with pytest.warns(UserWarning, match="not a double precision"):
        gradcheck(torch.sin, (torch.ones(2, requires_grad=True),), raise_exception=False)
