"""Scaled dot-product attention against NumPy; gradients against differences, blocked against composed."""

import numpy as np
import pytest

import facula
from facula.nn.attention import SDPBackend, sdpa_kernel
from facula.nn.functional import scaled_dot_product_attention as attend

from .differences import check_gradients

rng = np.random.default_rng(0)


def formula(q, k, v, mask=None, causal=False, scale=None):
    """In float64; a query that sees nothing gives 0."""
    q, k, v = (np.asarray(x, "f8") for x in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    peak = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(peak), 0, peak))
    total = e.sum(-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total != 0) @ v


def make(*shape, dtype="f4", grad=False):
    return facula.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=grad)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((5, 8), (7, 8), (7, 3)), ((2, 5, 8), (2, 7, 8), (2, 7, 3)), ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)),
        ((2, 3, 5, 8), (1, 3, 7, 8), (7, 8)), ((2, 1, 3, 5, 8), (2, 4, 1, 7, 8), (2, 1, 1, 7, 8)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["plain", "causal", "seen", "added", "scaled"])
def test_values(dtype, shapes, how):
    q, k, v = (make(*s, dtype=dtype) for s in shapes)
    mask = {"seen": rng.random((5, 7)) > 0.5, "added": rng.standard_normal((5, 7)).astype(dtype)}.get(how)
    options = {"causal": {"is_causal": True}, "scaled": {"scale": -0.7}}.get(how, {})
    made = attend(q, k, v, None if mask is None else facula.tensor(mask), **options)
    right = formula(
        *[x.numpy() for x in (q, k, v)], mask=mask, causal=how == "causal", scale=-0.7 if how == "scaled" else None
    )
    assert made.shape == right.shape
    np.testing.assert_allclose(made.numpy(), right, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"enable_gqa": True}, {"mask": True}, {"blind": True}])
def test_gradients(options):
    """Of the composed way by differences; of the blocked way by the composed."""
    options = dict(options)
    gqa = options.get("enable_gqa")
    shapes = (2, 4, 5, 6), (2, 2 if gqa else 4, 7, 6), (2, 2 if gqa else 4, 7, 3)
    given = [rng.standard_normal(s) for s in shapes]
    seen = rng.random((5, 7)) > 0.4 if options.pop("mask", False) or "blind" in options else None
    if options.pop("blind", False):
        seen[2] = False
    mask = None if seen is None else facula.tensor(seen)
    weight = rng.standard_normal((2, 4, 5, 3))

    def loss(*inputs):
        return (attend(*inputs, mask, **options) * facula.tensor(weight, dtype=inputs[0].dtype)).sum()

    exact = [facula.tensor(x, requires_grad=True) for x in given]
    check_gradients(lambda *xs: attend(*xs, mask, **options), *given)
    loss(*exact).backward()
    blocked = [facula.tensor(x.astype("f4"), requires_grad=True) for x in given]
    loss(*blocked).backward()
    for x, y in zip(blocked, exact):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_second_derivative_of_the_blocked_way():
    def second(dtype):
        r = np.random.default_rng(3)
        xs = [facula.tensor(r.standard_normal((1, 2, 5, 4)).astype(dtype), requires_grad=True) for _ in range(3)]
        out = attend(*xs, is_causal=True)
        first = facula.autograd.grad((out * out).sum(), xs, create_graph=True)
        return facula.autograd.grad(sum((g * g).sum() for g in first), xs)

    for x, y in zip(second("f4"), second("f8")):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=2e-3, atol=2e-4)


def test_gradient_of_the_mask():
    check_gradients(attend, *[rng.standard_normal(s) for s in ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (2, 3, 3))])


@pytest.mark.parametrize("dtype", [facula.float16, facula.bfloat16])
def test_half(dtype):
    q, k, v = (make(1, 2, 40, 16).to(dtype).requires_grad_() for _ in range(3))
    out = attend(q, k, v, is_causal=True)
    assert out.dtype is dtype
    right = formula(*[x.detach().float().numpy() for x in (q, k, v)], causal=True)
    np.testing.assert_allclose(out.detach().float().numpy(), right, rtol=1e-2, atol=1e-2)
    out.sum().backward()
    assert q.grad.dtype is dtype


def test_layout_of_the_output_is_that_of_the_queries():
    q = make(2, 5, 3, 8).transpose(1, 2)
    assert attend(q, q, q).stride() == q.stride()
    assert attend(q, q, make(2, 3, 5, 4)).stride() == (60, 4, 12, 1)


def test_dropout_draws_as_dropout_does():
    q = make(2, 3, 5, 8)
    facula.manual_seed(0)
    made = attend(q, q, q, dropout_p=0.5)
    facula.manual_seed(0)
    weights = facula.nn.functional.dropout(facula.softmax(q @ q.mT * 8**-0.5, -1), 0.5)
    np.testing.assert_allclose(made.numpy(), (weights @ q).numpy(), rtol=1e-5, atol=1e-6)
    assert attend(q, q, q, dropout_p=1.0).abs().sum() == 0


def test_memory_of_scores_is_never_taken():
    """3 x 4096 x 4096 scores would be 200 MB."""
    q = make(1, 3, 4096, 16, grad=True)
    facula.memory.reset_peak_memory_stats()
    before = facula.memory_stats()["allocated_bytes.all.peak"]
    attend(q, q, q, is_causal=True).sum().backward()
    assert facula.memory_stats()["allocated_bytes.all.peak"] - before < 20 << 20


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda q, m: attend(q, q.double(), q), "Expected query, key, and value to have the same dtype"),
        (lambda q, m: attend(q, q, q, m.int()), "Expected attn_mask dtype to be bool or float"),
        (lambda q, m: attend(q[0, 0, 0], q, q), "to all be  at least 2 dimensional"),
        (lambda q, m: attend(q, q[..., :3], q), "Expected size for first two dimensions of batch2"),
        (lambda q, m: attend(q, q, q[:, :, :2]), "Expected size for first two dimensions of batch2"),
        (lambda q, m: attend(q, q[:, :2], q[:, :2]), "The size of tensor a"),
        (lambda q, m: attend(q, q, q, m[:, :3]), "The size of tensor a"),
        (lambda q, m: attend(q, q[:, :2], q[:, :2], enable_gqa=True), "Number of heads in key and value must divide"),
        (lambda q, m: attend(q[0], q[0], q[0], m, is_causal=True), "Explicit attn_mask should not be set"),
        (lambda q, m: attend(q, q, q, m, 0.5, True), "Explicit attn_mask should not be set"),
        (lambda q, m: attend(q, q, q, dropout_p=1.5), "dropout probability has to be between 0 and 1"),
        (lambda q, m: attend(q.int(), q.int(), q.int()), "expected scalar type Float but found Int"),
    ],
)
def test_errors(call, error):
    with pytest.raises(RuntimeError, match=error):
        call(make(2, 3, 5, 4), facula.zeros(5, 5))


def test_error_types():
    q = make(2, 3, 5, 4)
    with pytest.raises(TypeError, match=r"argument 'value' \(position 3\) must be Tensor, not int"):
        attend(q, q, 3)
    with pytest.raises(TypeError, match="argument 'is_causal' must be bool"):
        attend(q, q, q, is_causal=1)


BLOCKED = "ScaledDotProductFlashAttentionForCpuBackward0"


def test_ways():
    """Operators or kernels, whatever was called before; an error where what is allowed cannot do it."""
    q = make(2, 3, 5, 8, grad=True)
    mask, drop = make(5, 5, grad=True), {"dropout_p": 0.5}
    math, flash, efficient, cudnn = (getattr(SDPBackend, n) for n in (
        "MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION"
    ))  # fmt: skip
    none, unable = "No viable backend for scaled_dot_product_attention was found", "No available kernel"
    plain = attend(q, q, q)
    assert plain.grad_fn.name() == BLOCKED
    for chosen, given, options, wanted in (
        (math, q, {}, "UnsafeViewBackward0"), ([flash], q, {}, BLOCKED), ([math, flash], q, {}, BLOCKED),
        ([math, flash], q, drop, "UnsafeViewBackward0"), ([flash], q, drop, unable),
        ([flash], q, {"attn_mask": mask}, unable), (flash, q.double(), {}, "UnsafeViewBackward0"),
        ([], q, {}, none), (cudnn, q, {}, none), (efficient, q, {}, none), ([efficient, cudnn, math], q, {}, "Unsafe"),
    ):  # fmt: skip
        for _ in range(2):
            with sdpa_kernel(chosen):
                if wanted in (none, unable):
                    with pytest.raises(RuntimeError, match=f"^{wanted}"):
                        attend(given, given, given, **options)
                    continue
                found = attend(given, given, given, **options)
            assert found.grad_fn.name().startswith(wanted)
            if not options:
                np.testing.assert_allclose(found.detach().numpy(), plain.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert attend(q, q, q).grad_fn.name() == BLOCKED
    with (
        facula.backends.cuda.sdp_kernel(enable_flash=False, enable_math=False),
        pytest.raises(RuntimeError, match=none),
    ):
        attend(q, q, q)


@pytest.mark.parametrize(("queries", "keys"), [((2, 0, 4), (2, 5, 4)), ((2, 5, 4), (2, 0, 4)), ((0, 5, 4), (0, 5, 4))])
def test_without_elements_no_way_is_asked_for(queries, keys):
    q, k = make(*queries, grad=True), make(*keys)
    with sdpa_kernel([]):
        found = attend(q, k, k)
        found.sum().backward()
    assert found.shape == queries and not found.any() and not q.grad.any()


def test_order_of_ways():
    """What `set_priority` puts first, and then back."""
    from facula.core.switches import attention as ways

    before = ways.order
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], set_priority=True):
        assert ways.order == ("math", "flash", "cudnn", "mem_efficient") and not ways.cudnn
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            assert ways.order[0] == "math" and not ways.math
    assert ways.order == before and ways.cudnn and ways.math
    with pytest.raises(AssertionError, match="instance of SDPBackend"), sdpa_kernel("math"):
        pass
