"""Every row of the samples table on both frameworks: values, specs, gradients, grad_fn, errors, in-place, out=."""

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
    "complex32": (1e-3, 1e-3), "complex64": (3e-6, 3e-6), "complex128": (1e-11, 1e-11),
}  # fmt: skip


def array(x) -> np.ndarray:
    """Values of either framework's tensor as NumPy; bfloat16 as float32, complex32 as complex64."""
    x = x.detach()
    if str(x.dtype) == "torch.bfloat16":
        x = x.float()
    elif str(x.dtype) == "torch.complex32":
        x = x.cfloat()
    return x.numpy(force=True)  # also of PyTorch's lazy zeros


def same_values(ours, theirs, row: Row, dtype: str, computed: str | None = None) -> None:
    """AssertionError unless the values agree to the tolerance of their dtype, or of the one they were computed in."""
    a, b = array(ours), array(theirs)
    name = computed or str(theirs.dtype).removeprefix("torch.")
    rtol, atol = TOLERANCE.get(name, (0, 0))
    for given in (row.tolerance.get(name), row.tolerance.get(dtype)):
        if given:
            rtol, atol = max(rtol, given[0]), max(atol, given[1])
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def same(ours, theirs, row: Row, dtype: str, strides: bool = True, computed: str | None = None) -> None:
    """AssertionError unless two results agree in all that a program can see."""
    if not isinstance(theirs, torch.Tensor):
        assert type(ours) is type(theirs) or isinstance(theirs, torch.Size), f"{type(ours)} for {type(theirs)}"
        assert ours == theirs, f"{ours} for {theirs}"
        return
    assert isinstance(ours, facula.Tensor), f"{type(ours).__name__} for a tensor"
    assert str(ours.dtype) == str(theirs.dtype), f"dtype {ours.dtype} for {theirs.dtype}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"shape {tuple(ours.shape)} for {tuple(theirs.shape)}"
    if strides and row.strides and theirs.numel():
        assert ours.stride() == theirs.stride(), (
            f"strides {ours.stride()} for {theirs.stride()} of shape {tuple(theirs.shape)}"
        )
    assert ours.requires_grad == theirs.requires_grad, f"requires_grad {ours.requires_grad} for {theirs.requires_grad}"
    if row.compare and dtype not in row.blind:
        same_values(ours, theirs, row, dtype, computed)


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


def check_forward(
    row: Row, number: int, sample: Sample, dtype: str, layout: str = "dense", requires_grad: bool = False
):
    (ours, our_error, our_made), (theirs, their_error, their_made) = both(
        row, number, sample, dtype, layout, requires_grad
    )
    if their_error is not None:
        if our_error is None:
            assert dtype in row.more, (
                f"PyTorch refuses: {type(their_error).__name__}: {str(their_error).splitlines()[0]}"
            )
            return None
        assert isinstance(our_error, type(their_error)), (
            f"{type(our_error).__name__} ({our_error}) for {type(their_error).__name__} ({their_error})"
        )
        return None
    if our_error is not None:
        if dtype in row.lacks:
            return None
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
        assert (x.grad_fn is None) == (y.grad_fn is None), f"grad_fn {x.grad_fn} for {y.grad_fn}"
    seeds = [np.asarray(np.random.default_rng(3).uniform(0.5, 1.5, tuple(y.shape))) for _, y in pairs]
    grads = [
        f.autograd.grad(
            [p[i] for p in pairs],
            [w[i] for w in wanted],
            [f.from_numpy(g).to(p[i].dtype) for g, p in zip(seeds, pairs)],
            allow_unused=True,
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
    return (
        f"{sample.args} {sample.kwargs or ''}".replace("T(shape=", "T(")
        .replace(", grad=True, away=0.0, distinct=False, fixed=False", "")
        .replace(", dtype=None, low=-2.0, high=2.0, values=None", "")[:160]
    )


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
    report(
        row, [(f"{d} {describe(x)}", check_gradient, row, n, x, d) for d in kinds for n, x in enumerate(row.samples)]
    )


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if r.layouts])
def test_layouts(name):
    row = ROWS[name]
    dtype = "float64" if "float64" in row.dtypes else row.dtypes[0]
    check = check_gradient if row.grad and KIND_OF[dtype] in "fc" else check_forward
    report(
        row,
        [
            (f"{layout} {describe(x)}", check, row, n, x, dtype, layout)
            for layout in LAYOUTS[1:]
            for n, x in enumerate(row.samples)
        ],
    )


# --- errors, in-place forms, out= ---------------------------------------------------------------------------------


def check_error(row: Row, number: int, wrong) -> None:
    for framework in (torch, facula):
        args, kwargs, made = Maker(framework, row.dtypes[0]).call(row.name, number, wrong)
        before = [array(x).copy() for x in made]
        result, error = attempt(resolve(framework, row.name), *args, **kwargs)
        assert error is not None, f"{framework.__name__} raises nothing: {result}"
        assert isinstance(error, wrong.error), f"{framework.__name__}: {type(error).__name__}: {error}"
        assert str(error).startswith(wrong.words), f"{framework.__name__} says {error}"
        for x, old in zip(made, before):
            np.testing.assert_array_equal(array(x), old)


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if r.errors])
def test_errors(name):
    row = ROWS[name]
    report(row, [(describe(x), check_error, row, n, x) for n, x in enumerate(row.errors)])


def first_tensor(sample: Sample) -> bool:
    return bool(sample.args) and type(sample.args[0]).__name__ == "T"


def check_in_place(row: Row, number: int, sample: Sample, dtype: str, requires_grad: bool) -> None:
    """`x.f_(...)` on a tensor that is no leaf: what is written, the gradients, or the same kind of error."""
    method = row.name.removeprefix("Tensor.") + "_"
    found = []
    for framework in (facula, torch):
        args, kwargs, made = Maker(framework, dtype, "dense", requires_grad).call(row.name, number, sample)
        framework.manual_seed(7)
        target = args[0] * 1 if requires_grad else args[0].clone()
        result, error = attempt(getattr(target, method), *args[1:], **kwargs)
        found.append((result, error, target, made))
    (ours, our_error, our_target, our_made), (theirs, their_error, their_target, their_made) = found
    if their_error is not None:
        assert our_error is not None, (
            f"PyTorch refuses: {type(their_error).__name__}: {str(their_error).splitlines()[0]}"
        )
        assert isinstance(our_error, type(their_error)), (
            f"{type(our_error).__name__} ({our_error}) for {type(their_error).__name__} ({their_error})"
        )
        return
    if our_error is not None:
        raise AssertionError(f"{type(our_error).__name__}: {our_error}") from our_error
    assert ours is our_target
    same(our_target, their_target, row, dtype)
    assert our_target._version == their_target._version, f"version {our_target._version} for {their_target._version}"
    if not their_target.requires_grad:
        return
    wanted = [i for i, y in enumerate(their_made) if y.requires_grad]
    seed = np.random.default_rng(3).uniform(0.5, 1.5, tuple(their_target.shape))
    theirs, their_error = attempt(
        torch.autograd.grad,
        their_target,
        [their_made[i] for i in wanted],
        torch.from_numpy(np.asarray(seed)).to(their_target.dtype),
        allow_unused=True,
    )
    ours, our_error = attempt(
        facula.autograd.grad,
        our_target,
        [our_made[i] for i in wanted],
        facula.from_numpy(np.asarray(seed)).to(our_target.dtype),
        allow_unused=True,
    )
    if their_error is not None:
        return  # PyTorch keeps a value that it has overwritten itself
    if our_error is not None:
        raise AssertionError(f"backward: {type(our_error).__name__}: {our_error}") from our_error
    for n, (x, y) in enumerate(zip(ours, theirs)):
        if y is None or x is None:
            assert (x is None or not array(x).any()) and (y is None or not array(y).any()), f"gradient {n}: {x} for {y}"
        else:
            same_values(x, y, row, dtype)


IN_PLACE = [
    n for n, r in ROWS.items()
    if hasattr(torch.Tensor, n.removeprefix("Tensor.") + "_") and "__" not in n and r.method
    and any(first_tensor(x) for x in r.samples)
]  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    row = ROWS[name]
    samples = [(n, x) for n, x in enumerate(row.samples) if first_tensor(x)]
    grad = [True] if "float64" in row.dtypes and row.grad else []
    dtypes = [d for d in ("float64", "int64", "bool") if d in row.dtypes] or [row.dtypes[0]]
    checks = [(f"{describe(x)}", check_in_place, row, n, x, d, False) for d in dtypes for n, x in samples]
    checks += [(f"grad {describe(x)}", check_in_place, row, n, x, "float64", True) for _ in grad for n, x in samples]
    report(row, checks)


def check_out(row: Row, number: int, sample: Sample, dtype: str, kind: str) -> None:
    """`f(..., out=...)`: an empty one that is resized, one of the right shape, one of another dtype, a strided one."""
    found = []
    for framework in (torch, facula):
        args, kwargs, made = Maker(framework, dtype).call(row.name, number, sample)
        framework.manual_seed(7)
        function = resolve(framework, row.name)
        plain, error = attempt(function, *args, **kwargs)
        if error is not None:
            return
        outs = flat(plain)

        def blank(y, framework=framework):
            if kind == "empty":
                return framework.empty(0, dtype=y.dtype)
            if kind == "strided":
                return framework.zeros((*y.shape, 2), dtype=y.dtype).select(-1, 0)
            if kind == "wide":
                return framework.zeros(
                    tuple(y.shape), dtype=framework.complex128 if y.dtype.is_complex else framework.float64
                )
            return framework.zeros(tuple(y.shape), dtype=framework.bool)

        targets = [blank(y) for y in outs]
        framework.manual_seed(7)
        result, error = attempt(
            function,
            *args,
            **kwargs,
            out=targets[0] if len(targets) == 1 and not isinstance(plain, tuple) else tuple(targets),
        )
        found.append((error, targets, result, plain))
    (their_error, their_targets, _, _), (our_error, our_targets, result, plain) = found
    if their_error is not None:
        if our_error is None and (kind == "wide" or isinstance(their_error, TypeError)):
            return  # every operator here converts into a wider out=, and every overload has one: docs/differences.md
        assert our_error is not None, (
            f"PyTorch refuses: {type(their_error).__name__}: {str(their_error).splitlines()[0]}"
        )
        related = isinstance(our_error, type(their_error)) or isinstance(their_error, (type(our_error), TypeError))
        assert related, f"{type(our_error).__name__} ({our_error}) for {type(their_error).__name__} ({their_error})"
        return
    if our_error is not None and kind == "bool":
        return  # PyTorch has some that make bools of floats
    if our_error is not None:
        raise AssertionError(f"{type(our_error).__name__}: {our_error}") from our_error
    for x, y in zip(our_targets, their_targets):
        same(x, y, row, dtype, strides=False, computed=dtype if kind == "wide" else None)
    assert result is None or all(a is b for a, b in zip(flat(result), our_targets)), "the result is not the out tensor"


def takes_out(row: Row) -> bool:
    """Whether PyTorch's function takes out= with one of the samples (found by asking)."""
    for number, sample in enumerate(row.samples):
        args, kwargs, _ = Maker(torch, row.dtypes[0]).call(row.name, number, sample)
        plain, error = attempt(resolve(torch, row.name), *args, **kwargs)
        if error is not None or not flat(plain) or not all(isinstance(y, torch.Tensor) for y in flat(plain)):
            continue
        outs = tuple(torch.empty(0, dtype=y.dtype) for y in flat(plain))
        _, error = attempt(resolve(torch, row.name), *args, **kwargs, out=outs if isinstance(plain, tuple) else outs[0])
        if not isinstance(error, TypeError):
            return True
    return False


# PyTorch takes out= here, by accident of its bindings or writes wrong values into strided memory (narrow_copy,
# fft.fftfreq),
# or has another rule for each overload (normal), or cannot resize what it is given (split_copy).
NO_OUT = {"nn.functional.linear", "threshold", "narrow_copy", "normal", "split_copy", "fft.fftfreq"}


@pytest.mark.parametrize("name", [n for n in ROWS if not n.startswith("Tensor.")])
def test_out(name):
    row = ROWS[name]
    assert takes_out(row) == row.out or name in NO_OUT, (
        f"PyTorch's {name} {'takes' if not row.out else 'does not take'} out="
    )
    if row.out:
        samples = list(enumerate(row.samples))[:6]
        report(
            row,
            [
                (f"{kind} {describe(x)}", check_out, row, n, x, row.dtypes[0], kind)
                for kind in ("empty", "strided", "wide", "bool")
                for n, x in samples
            ],
        )
