"""Every row of the samples table on both frameworks: values, dtypes, shapes, strides, gradients, grad_fn, errors, in-place, out=."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

import facula
from tests.operators.table import ALL, KIND_OF, LAYOUTS, Maker, Row, Sample, flat, load_all, resolve

ROWS = load_all()
TOLERANCE = {
    "float16": (1e-3, 1e-3), "bfloat16": (1.6e-2, 1e-2), "float32": (2e-6, 2e-6), "float64": (1e-11, 1e-11),
    "complex64": (3e-6, 3e-6), "complex128": (1e-11, 1e-11),
}  # fmt: skip


def array(x) -> np.ndarray:
    """Values of either framework's tensor as NumPy; bfloat16 as float32."""
    x = x.detach()
    if str(x.dtype) == "torch.bfloat16":
        x = x.float()
    if isinstance(x, torch.Tensor):
        x = x.resolve_conj().resolve_neg()
    return x.numpy()


def same_values(ours, theirs, row: Row, dtype: str) -> None:
    a, b = array(ours), array(theirs)
    name = str(theirs.dtype).removeprefix("torch.")
    rtol, atol = TOLERANCE.get(name, (0, 0))
    for given in (row.tolerance.get(name), row.tolerance.get(dtype)):
        if given:
            rtol, atol = max(rtol, given[0]), max(atol, given[1])
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def same(ours, theirs, row: Row, dtype: str, strides: bool = True) -> None:
    """AssertionError unless two results agree in all that a program can see."""
    if not isinstance(theirs, torch.Tensor):
        assert type(ours) is type(theirs) or isinstance(theirs, torch.Size), f"{type(ours)} for {type(theirs)}"
        assert ours == theirs, f"{ours} for {theirs}"
        return
    assert isinstance(ours, facula.Tensor), f"{type(ours).__name__} for a tensor"
    assert str(ours.dtype) == str(theirs.dtype), f"dtype {ours.dtype} for {theirs.dtype}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"shape {tuple(ours.shape)} for {tuple(theirs.shape)}"
    if strides and row.strides and theirs.numel():
        assert ours.stride() == theirs.stride(), f"strides {ours.stride()} for {theirs.stride()} of shape {tuple(theirs.shape)}"
    assert ours.requires_grad == theirs.requires_grad, f"requires_grad {ours.requires_grad} for {theirs.requires_grad}"
    if row.compare:
        same_values(ours, theirs, row, dtype)


def attempt(call: Callable, *args, **kwargs):
    """(result, None) or (None, error)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*args, **kwargs), None
        except Exception as error:
            return None, error


def both(row: Row, number: int, sample: Sample, dtype: str, layout: str = "dense", requires_grad: bool = False):
    """The results of one sample: ((ours, error, tensors made), (theirs, error, tensors made))."""
    found = []
    for framework in (facula, torch):
        args, kwargs, made = Maker(framework, dtype, layout, requires_grad).call(row.name, number, sample)
        framework.manual_seed(7)
        result, error = attempt(resolve(framework, row.name), *args, **kwargs)
        found.append((result, error, made))
    return found


def check_forward(row: Row, number: int, sample: Sample, dtype: str, layout: str = "dense", requires_grad: bool = False):
    (ours, our_error, our_made), (theirs, their_error, their_made) = both(row, number, sample, dtype, layout, requires_grad)
    if their_error is not None:
        if our_error is None:
            assert dtype in row.more, f"PyTorch refuses: {type(their_error).__name__}: {str(their_error).splitlines()[0]}"
            return None
        assert isinstance(our_error, type(their_error)), f"{type(our_error).__name__} ({our_error}) for {type(their_error).__name__} ({their_error})"
        return None
    if our_error is not None:
        raise AssertionError(f"{type(our_error).__name__}: {our_error}") from our_error
    a, b = flat(ours), flat(theirs)
    assert len(a) == len(b), f"{len(a)} results for {len(b)}"
    for x, y in zip(a, b):
        same(x, y, row, dtype)
    for x, y in zip(our_made, their_made):  # the operands are as they were
        np.testing.assert_array_equal(array(x), array(y))
    return a, b, our_made, their_made


def check_gradient(row: Row, number: int, sample: Sample, dtype: str, layout: str = "dense"):
    found = check_forward(row, number, sample, dtype, layout, requires_grad=True)
    if found is None:
        return
    ours, theirs, our_made, their_made = found
    pairs = [(x, y) for x, y in zip(ours, theirs) if isinstance(y, torch.Tensor) and y.requires_grad]
    wanted = [(x, y) for x, y in zip(our_made, their_made) if y.requires_grad]
    if not pairs or not wanted:
        return
    for x, y in pairs:
        title = lambda g: type(g).__name__  # noqa: E731
        assert (x.grad_fn is None) == (y.grad_fn is None), f"grad_fn {x.grad_fn} for {y.grad_fn}"
    seeds = [np.asarray(np.random.default_rng(3).uniform(0.5, 1.5, tuple(y.shape))) for _, y in pairs]
    grads = [
        f.autograd.grad(
            [p[i] for p in pairs], [w[i] for w in wanted], [f.from_numpy(g).to(p[i].dtype) for g, p in zip(seeds, pairs)], allow_unused=True
        )
        for i, f in enumerate((facula, torch))
    ]
    for n, (x, y) in enumerate(zip(*grads)):
        if y is None:
            assert x is None or not array(x).any(), f"gradient {n}: {x} for None"
            continue
        if x is None:
            assert not array(y).any(), f"gradient {n}: None for {y}"
            continue
        assert str(x.dtype) == str(y.dtype), f"gradient {n}: dtype {x.dtype} for {y.dtype}"
        assert tuple(x.shape) == tuple(y.shape), f"gradient {n}: shape {tuple(x.shape)} for {tuple(y.shape)}"
        try:
            same_values(x, y, row, dtype)
        except AssertionError as error:
            raise AssertionError(f"gradient {n}: {error}") from None


def report(row: Row, checks) -> None:
    """Run all checks of a row, then fail with all that failed."""
    failures = []
    for what, check, *args in checks:
        try:
            check(*args)
        except AssertionError as error:
            failures.append(f"{what}: {' '.join(str(error).split())[:600]}")
    assert not failures, f"{row.name}: {len(failures)} differences\n" + "\n".join(failures[:12])


def describe(sample: Sample) -> str:
    return f"{sample.args} {sample.kwargs or ''}".replace("T(shape=", "T(").replace(", grad=True, away=0.0, distinct=False, fixed=False", "").replace(", dtype=None, low=-2.0, high=2.0, values=None", "")[:160]


@pytest.mark.parametrize("name", ROWS)
def test_values(name):
    row = ROWS[name]
    report(row, [(describe(x), check_forward, row, n, x, row.dtypes[0]) for n, x in enumerate(row.samples)])


@pytest.mark.parametrize("name", ROWS)
def test_every_dtype(name):
    """Also the dtypes that the row does not name: both frameworks must refuse those."""
    row = ROWS[name]
    report(row, [(f"{d} {describe(row.samples[0])}", check_forward, row, 0, row.samples[0], d) for d in ALL])


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if r.grad])
def test_gradients(name):
    row = ROWS[name]
    kinds = [d for d in ("float64", "complex128") if d in row.dtypes]
    report(row, [(f"{d} {describe(x)}", check_gradient, row, n, x, d) for d in kinds for n, x in enumerate(row.samples)])


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if r.layouts])
def test_layouts(name):
    row = ROWS[name]
    dtype = "float64" if "float64" in row.dtypes else row.dtypes[0]
    check = check_gradient if row.grad and KIND_OF[dtype] in "fc" else check_forward
    report(row, [(f"{layout} {describe(x)}", check, row, n, x, dtype, layout) for layout in LAYOUTS[1:] for n, x in enumerate(row.samples)])
