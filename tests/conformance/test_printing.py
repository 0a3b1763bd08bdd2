"""`format_tensor` against PyTorch's own `repr` on random tensors of every dtype, size and option."""

import random

import numpy as np
import pytest
import torch

import facula
from facula import printing
from facula.core import dtype as dtypes

KINDS = ("whole", "normal", "small", "large", "mixed", "special", "zeros", "tiny", "rounding")
SHAPES = ((), (1,), (3,), (0,), (7,), (30,), (0, 3), (2, 0, 4), (1, 1), (3, 4), (2, 3, 4), (1, 2, 1, 3), (1001,),
          (40, 30), (5, 2, 200), (7, 7, 30), (2000, 1), (1, 1500), (9, 8, 7, 6))  # fmt: skip
OPTIONS = ({}, {"precision": 2}, {"precision": 0}, {"threshold": 5, "edgeitems": 1}, {"threshold": 5, "edgeitems": 0},
           {"linewidth": 30}, {"linewidth": 5}, {"sci_mode": True}, {"sci_mode": False}, {"profile": "short"},
           {"profile": "full"}, {"precision": 8, "linewidth": 200}, {"profile": "no such profile"})  # fmt: skip


def values(kind: str, shape, rng: np.random.Generator) -> np.ndarray:
    normal = rng.standard_normal(shape)
    return np.asarray(
        {
            "whole": lambda: np.round(normal * 20),
            "normal": lambda: normal,
            "small": lambda: normal * 1e-3,
            "large": lambda: normal * 3e8,
            "mixed": lambda: normal * 10.0 ** rng.integers(-6, 6, shape),
            "special": lambda: rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.0, 100.0], shape),
            "zeros": lambda: np.zeros(shape) * np.sign(normal),
            "tiny": lambda: normal * 1e-42,
            "rounding": lambda: rng.choice([0.99995, 9.99996, 1e-4, 1000.0, 1e8, 0.5, 2.5], shape),
        }[kind]()
    )


def numbers(oracle: torch.Tensor, dtype: dtypes.dtype) -> np.ndarray:
    """The elements as `format_tensor` wants them."""
    if dtype.numpy is None:
        oracle = oracle.to(torch.complex64 if dtype.kind == "c" else torch.float32)
    return oracle.detach().numpy()


def pair(dtype: dtypes.dtype, kind: str, shape, rng) -> tuple[torch.Tensor, np.ndarray]:
    """The same values as a PyTorch tensor and as `format_tensor` wants them."""
    base = values(kind, shape, rng)
    if dtype.kind == "c":
        parts = np.stack((base, values(kind, shape, rng)), -1)
        base = parts.view(np.complex128)[..., 0]  # nan and inf as they are, which base + 1j * other would mix
    oracle_dtype = getattr(torch, dtype.name)
    if dtype.kind in "ui":
        base = np.nan_to_num(base, posinf=100, neginf=-100).clip(-120, 120)
        base = np.abs(base) if dtype.kind == "u" else base
    oracle = torch.tensor(base).to(oracle_dtype)
    return oracle, numbers(oracle, dtype)


@pytest.fixture(autouse=True)
def defaults():
    yield
    for module in (torch, printing):
        module.set_printoptions(profile="default")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
# PyTorch shows the smallest number of float8_e8m0fnu, 2**-127, as 0, which is no number of that dtype.
@pytest.mark.parametrize("dtype", [t for t in dtypes.ALL if t is not dtypes.float8_e8m0fnu], ids=str)
def test_values(dtype, options):
    rng = np.random.default_rng(random.Random(f"{dtype}{options}").randrange(1 << 30))
    torch.set_printoptions(**options)
    printing.set_printoptions(**options)
    kinds = KINDS if dtype.kind in "fc" else ("whole", "large")
    shapes = (
        SHAPES
        if options in ({}, {"threshold": 5, "edgeitems": 0})
        else [SHAPES[i] for i in rng.permutation(len(SHAPES))[:4]]
    )
    for shape in shapes:
        if options.get("profile") == "full" and np.prod(shape) > 1500:
            continue
        for kind in kinds:
            oracle, ours = pair(dtype, kind, shape, rng)
            assert printing.format_tensor(ours, dtype) == repr(oracle), (shape, kind)
            if dtype.kind in "fc":
                oracle.requires_grad_()
                assert printing.format_tensor(ours, dtype, requires_grad=True) == repr(oracle)
                name = "MulBackward0"
                takes = dtype.kind == "f" and dtype not in dtypes.FLOAT8  # a product
                oracle = oracle * 1 if takes and np.isfinite(ours).all() else None
                if oracle is not None:
                    assert printing.format_tensor(ours, dtype, requires_grad=True, grad_fn_name=name) == repr(oracle)


def test_default_dtype():
    for default in ("float64", "float16", "bfloat16", "float32"):
        torch.set_default_dtype(getattr(torch, default))
        try:
            for dtype in dtypes.ALL:
                for shape in ((2,), (0,), (0, 2)):
                    oracle = torch.ones(shape, dtype=getattr(torch, dtype.name))
                    ours = numbers(oracle, dtype)
                    assert printing.format_tensor(ours, dtype, default_dtype=dtypes.BY_NAME[default]) == repr(oracle)
        finally:
            torch.set_default_dtype(torch.float32)


def test_meta_and_subclass():
    for dtype in (dtypes.float32, dtypes.int64):
        oracle = torch.empty(2, 3, dtype=getattr(torch, dtype.name), device="meta")
        assert printing.format_tensor(None, dtype, shape=(2, 3), device="meta") == repr(oracle)

    class Mine(torch.Tensor):
        pass

    data = torch.arange(40.0).reshape(8, 5)
    assert printing.format_tensor(data.numpy(), dtypes.float32, type_name="Mine") == repr(data.as_subclass(Mine))


def test_options_as_dict():
    assert printing.get_printoptions() == torch._tensor_str.get_printoptions()


EXPRESSIONS = [
    "torch.arange(6).reshape(2, 3)",
    "torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2)",
    "torch.arange(1200).reshape(30, 40)[::2, 1:]",
    "torch.ones(3, requires_grad=True)",
    "torch.ones(3, requires_grad=True) * 2",
    "torch.ones(3, requires_grad=True) + 1",
    "torch.ones(3, 2, requires_grad=True).sum(0)",
    "torch.ones(3, 2, requires_grad=True).t()",
    "torch.ones(3, 2, requires_grad=True)[1]",
    "torch.ones(3, 2, requires_grad=True).sum()",
    "torch.ones(3, 2, requires_grad=True).exp().view(6)",
    "torch.ones(2, 3, requires_grad=True) @ torch.ones(3, 2)",
    "torch.ones(3, requires_grad=True).detach()",
    "torch.zeros(0, 3)",
    "torch.zeros(0, dtype=torch.int64)",
    "torch.tensor(1.5)",
    "torch.tensor([True, False])",
    "torch.tensor([1.5, float('nan')], dtype=torch.bfloat16)",
    "torch.tensor([1 + 2j])",
    "torch.tensor(3.0).expand(2, 2)",
    "torch.nn.Parameter(torch.ones(2))",
    "torch.nn.Parameter(torch.tensor(1.0))",
    "[torch.ones(2), {'a': torch.zeros(1)}]",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_tensors_of_operators(expression):
    ours, theirs = (eval(expression, {"torch": framework}) for framework in (facula, torch))
    assert repr(ours) == repr(theirs) and str(ours) == str(theirs)


def test_formats():
    ours, theirs = facula.tensor(1.25), torch.tensor(1.25)
    assert f"{ours}" == f"{theirs}" and f"{ours:.3f}" == f"{theirs:.3f}"
    assert f"{facula.ones(2)}" == f"{torch.ones(2)}"
