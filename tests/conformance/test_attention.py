"""Scaled dot-product attention against PyTorch: values, gradients, layouts, errors, the numbers that dropout draws."""

import itertools
import warnings

import numpy as np
import pytest
import torch

import facula

from .test_nn import ours as of_numpy
from .test_nn import theirs as to_numpy

attend, oracle = facula.nn.functional.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention


def ours(x):
    """PyTorch's tensor as facula's; bfloat16 by way of float32."""
    if x.dtype is not torch.bfloat16:
        return of_numpy(x)
    return of_numpy(x.detach().float()).to(facula.bfloat16).requires_grad_(x.requires_grad)


def theirs(x):
    """The way back."""
    return to_numpy(x.float()).bfloat16() if x.dtype is facula.bfloat16 else to_numpy(x)


def make(*shape, dtype=torch.float32, seed=0):
    torch.manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=dtype)


def compare(inputs, mask=None, tolerance=2e-5, **options):
    """Values, strides of the output, gradients; or the same error."""
    inputs = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    mine = [ours(x) for x in inputs]
    torch.manual_seed(5), facula.manual_seed(5)
    try:
        right = oracle(*inputs, attn_mask=mask, **options)
    except (RuntimeError, TypeError, IndexError, NotImplementedError) as error:
        with pytest.raises(type(error)) as caught:
            attend(*mine, attn_mask=None if mask is None else ours(mask), **options)
        assert str(caught.value).split("\n")[0][:60] == str(error).split("\n")[0][:60]
        return
    made = attend(*mine, attn_mask=None if mask is None else ours(mask), **options)
    torch.testing.assert_close(theirs(made), right.detach(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if right.requires_grad:
        grad = make(*right.shape, dtype=right.dtype, seed=3)
        right.backward(grad), made.backward(ours(grad))
        for x, y in zip(mine, inputs):
            torch.testing.assert_close(theirs(x.grad), y.grad, rtol=tolerance, atol=4 * tolerance, equal_nan=True)


SHAPES = [
    ((2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)), ((1, 2, 70, 16), (1, 2, 130, 16), (1, 2, 130, 16)),
    ((2, 5, 8), (2, 6, 8), (2, 6, 8)), ((5, 8), (6, 8), (6, 8)), ((2, 2, 5, 8), (2, 2, 6, 8), (2, 2, 6, 3)),
    ((2, 2, 5, 8), (2, 1, 6, 8), (1, 2, 6, 8)), ((2, 1, 2, 5, 8), (2, 3, 2, 6, 8), (1, 6, 8)),
    ((1, 2, 0, 8), (1, 2, 5, 8), (1, 2, 5, 8)), ((0, 2, 3, 8), (0, 2, 5, 8), (0, 2, 5, 8)),
    ((1, 2, 3, 8), (1, 2, 0, 8), (1, 2, 0, 8)),
]  # fmt: skip


@pytest.mark.parametrize("shapes, causal", itertools.product(SHAPES, (False, True)))
def test_shapes(shapes, causal):
    compare([make(*s) for s in shapes], is_causal=causal)
    compare([make(*s, dtype=torch.float64) for s in shapes], is_causal=causal, tolerance=1e-9, scale=0.3)


@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1)])
@pytest.mark.parametrize("kind", ["bool", "float", "float64"])
def test_masks(shape, kind):
    dtype = torch.float64 if kind == "float64" else torch.float32
    inputs = [make(*s, dtype=dtype) for s in ((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 8))]
    mask = make(*shape, dtype=dtype)
    mask = mask > 0 if kind == "bool" else mask
    compare(inputs, mask)
    compare(inputs, mask, dropout_p=0.4)
    if kind != "bool":
        compare(inputs, mask.masked_fill(mask < 0, -torch.inf))


def test_queries_that_see_nothing():
    inputs = [make(2, 3, 40, 8) for _ in range(3)]
    mask = torch.rand(40, 40) > 0.5
    mask[7] = False
    mask[20:] = False
    compare(inputs, mask)
    compare(inputs, torch.zeros(40, 40).masked_fill(~mask, -torch.inf))
    compare([x[0] for x in inputs], mask)


def test_gradient_of_the_mask():
    inputs = [make(2, 3, 40, 8).requires_grad_() for _ in range(3)]
    mask = make(3, 40, 40).requires_grad_()
    mine, own = [ours(x) for x in inputs], ours(mask)
    oracle(*inputs, attn_mask=mask).square().sum().backward()
    attend(*mine, attn_mask=own).square().sum().backward()
    for x, y in zip((*mine, own), (*inputs, mask)):
        torch.testing.assert_close(theirs(x.grad), y.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [(4, 2, 2), (6, 2, 2), (4, 1, 1), (4, 2, 4), (4, 3, 3)])
@pytest.mark.parametrize("dims", [3, 4])
def test_shared_heads(heads, dims):
    lead = (2,) * (dims - 3)
    inputs = [make(*lead, h, n, 8) for h, n in zip(heads, (5, 6, 6))]
    compare(inputs, enable_gqa=True)
    compare(inputs, enable_gqa=True, dropout_p=0.3)


@pytest.mark.parametrize("p", [0.3, 1.0, 1.5])
def test_dropout(p):
    compare([make(2, 3, 4, 8) for _ in range(3)], dropout_p=p)
    compare([make(3, 40, 8) for _ in range(3)], dropout_p=p, is_causal=True)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_half(dtype, tolerance):
    inputs = [make(1, 2, 70, 16, dtype=dtype) for _ in range(3)]
    compare(inputs, tolerance=tolerance)
    compare(inputs, torch.rand(70, 70) > 0.3, tolerance=tolerance)


def test_layouts():
    for order in itertools.permutations(range(3)):
        inputs = [make(*(2, 3, 4), 8).permute(*order, 3) for _ in range(3)]
        right = oracle(*inputs)
        made = attend(*[ours(torch.empty(0)) if x is None else facula.from_numpy(x.numpy()) for x in inputs])
        assert made.stride() == right.stride(), order
        torch.testing.assert_close(theirs(made), right)
    turned = [make(2, 3, 8, 5).mT for _ in range(3)]
    made = attend(*[facula.from_numpy(x.numpy()) for x in turned])
    torch.testing.assert_close(theirs(made), oracle(*turned))


def test_errors():
    q = make(2, 3, 4, 8)
    for inputs, options in (
        ((q, q.double(), q), {}), ((q, q, q), {"mask": torch.zeros(4, 4, dtype=torch.int32)}),
        ((q[0, 0, 0], q, q), {}), ((q, q[..., :3], q), {}), ((q, q[:, :2], q[:, :2]), {}),
        ((q, q, q), {"mask": torch.zeros(3, 4)}), ((q[0], q[0], q[0]), {"mask": torch.zeros(4, 4), "is_causal": True}),
        ((q.int(), q.int(), q.int()), {}), ((q.cfloat(), q.cfloat(), q.cfloat()), {}),
        ((q, q, q), {"mask": torch.zeros(())}), ((q, q[:, :2], q[:, :2]), {"enable_gqa": True}),
        ((q, q, q), {"is_causal": 1}), ((q, q, q), {"mask": torch.zeros(1, 1, 1, 4, 4)}),
    ):  # fmt: skip
        compare([x.detach() for x in inputs], **options)


def test_against_float64():
    """No further from the truth than PyTorch's own kernel."""
    inputs = [make(2, 4, 300, 64, seed=i) for i in range(3)]
    exact = oracle(*[x.double() for x in inputs])
    distance = lambda x: (x.double() - exact).abs().mean().item()  # noqa: E731
    assert (
        distance(theirs(attend(*[ours(x) for x in inputs]))) <= 1.2 * distance(oracle(*inputs)) + np.finfo("f4").eps / 8
    )


def outcome(framework, chosen: tuple[str, ...], kind: str, options: dict) -> str:
    """The name of the node that a call leaves under these backends, or the first line of its error."""
    backends = [getattr(framework.nn.attention.SDPBackend, name) for name in chosen]
    q = framework.ones(2, 2, 8, 16, dtype=getattr(framework, kind), requires_grad=True)
    k = q[:, :1] if "enable_gqa" in options else q
    given = {n: framework.zeros(8, 8, requires_grad=v == "trained") if n == "attn_mask" else v
             for n, v in options.items()}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch tells why a kernel was not taken
        with framework.nn.attention.sdpa_kernel(backends, set_priority=len(backends) > 1):
            try:
                made = framework.nn.functional.scaled_dot_product_attention(q, k, k, **given)
            except RuntimeError as error:
                return str(error).splitlines()[0]
    return str("Flash" in made.grad_fn.name() or kind == "float64")  # which is composed here, whatever is asked for


def test_ways():
    """Which backends of CPUs do what, and what is said where none does."""
    names = ("MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION")
    chosen = [(), *((name,) for name in names), names, names[:2], names[1::-1], names[2:]]
    every = ({}, {"dropout_p": 0.5}, {"is_causal": True}, {"enable_gqa": True}, {"attn_mask": "trained"},
             {"attn_mask": "kept"}, {"attn_mask": "kept", "is_causal": True})  # fmt: skip
    for backends, kind, options in itertools.product(chosen, ("float32", "float64"), every):
        if kind == "float64" and "attn_mask" in options:
            continue
        assert outcome(facula, backends, kind, options) == outcome(torch, backends, kind, options), (backends, options)
