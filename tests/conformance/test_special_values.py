"""Element-wise operators at zeros of both signs, infinities, NaN and large numbers: what PyTorch gives."""

import numpy as np
import pytest
import torch

import facula

UNARY = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 expm1 floor frac i0 "
    "lgamma log log10 log1p log2 logit nan_to_num neg rad2deg reciprocal round rsqrt sgn sigmoid sign signbit sin sinc "
    "sinh sqrt square tan tanh trunc isfinite isinf isnan isneginf isposinf angle logical_not"
).split()
BINARY = (
    "add sub mul div atan2 copysign fmod remainder floor_divide fmax fmin maximum minimum hypot logaddexp logaddexp2 "
    "nextafter pow xlogy heaviside eq ne lt le gt ge float_power logical_and"
).split()
COMPLEX = "exp exp2 log log2 log10 sqrt sin cos sinh cosh asin acos asinh acosh atanh".split()
NUMBERS = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-8, -1e-8, 1e5, -1e5, np.inf, -np.inf, np.nan, 100.0,
    -100.0, 1.5, -2.5,
]  # fmt: skip
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "complex64": 1e-4}


def array(x) -> np.ndarray:
    return (x.float() if str(x.dtype) in ("torch.float16", "torch.bfloat16") else x).numpy(force=True)


def agree(name: str, *arrays: np.ndarray, dtype: str) -> None:
    """AssertionError unless both frameworks make the same of the arrays, or refuse them alike."""
    made = []
    for framework in (facula, torch):
        operands = [framework.from_numpy(x).to(getattr(framework, dtype)) for x in arrays]
        try:
            made.append(getattr(framework, name)(*operands))
        except (RuntimeError, TypeError, NotImplementedError) as error:
            made.append(type(error))
    if isinstance(made[1], type):
        assert isinstance(made[0], type) and issubclass(made[0], made[1]), made
        return
    ours, theirs = map(array, made)
    tolerance = TOLERANCE.get(dtype, 1e-9)
    near = np.isclose(ours.real, theirs.real, rtol=tolerance, atol=tolerance / 500, equal_nan=True)
    near &= np.isclose(ours.imag, theirs.imag, rtol=tolerance, atol=tolerance / 500, equal_nan=True)
    if not near.all():
        at = tuple(np.argwhere(~near)[0])
        raise AssertionError(f"{name} of {[x[at] for x in arrays]}: {ours[at]} for {theirs[at]}")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    agree(name, np.array(NUMBERS), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype):
    numbers = np.array(NUMBERS)
    if name == "copysign":  # a NaN's sign is nobody's promise
        numbers = numbers[~np.isnan(numbers)]
    left, right = np.meshgrid(numbers, numbers, indexing="ij")
    agree(name, np.ascontiguousarray(left), np.ascontiguousarray(right), dtype=dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex(name, dtype):
    """One infinite part at most; what a NaN gives is in docs/differences.md."""
    parts = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, np.inf, -np.inf]
    pairs = [(x, y) for x in parts for y in parts if np.isfinite(x) or np.isfinite(y)]
    agree(name, np.array(pairs).view(np.complex128)[:, 0], dtype=dtype)


def test_neighbours_of_halves():
    for dtype in (facula.float16, facula.bfloat16):
        x = facula.tensor([0.0, 1.0, -1.0, 65504.0], dtype=dtype)
        up = facula.nextafter(x, facula.full_like(x, float("inf")))
        assert (up > x).all() and (facula.nextafter(up, facula.full_like(x, -float("inf"))) == x).all()
