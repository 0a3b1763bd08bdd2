"""float16 and bfloat16 beside numbers and operands of other dtypes: PyTorch's bits, whichever way they come."""

import numpy as np
import pytest
import torch

import facula

HALVES = ("bfloat16", "float16")
COUNT = 1024  # whole vectors: PyTorch rounds the rest of `add(alpha=)` once more
NUMBERS = (0.1, 1 / 3, 2.3, -1.7, 257.0, 257, 3, -4099, 100003, True)
# Tensors beside them: (shape, value, dtype; "own" is the 16-bit one).
TENSORS = (
    ((), 0.1, "float32"), ((), 1 / 3, "float64"), ((), 257, "int64"), ((), 0.1, "own"), ((1,), 257, "int64"),
    ((1,), 1 / 3, "own"), ((COUNT,), None, "int64"), ((COUNT,), None, "uint8"),
)  # fmt: skip


def array(x) -> np.ndarray:
    """The values of either framework's tensor: halves as float32."""
    return (x.float() if str(x.dtype).endswith("float16") else x).detach().numpy()


def operand(framework, dtype: str, layout: str):
    """Numbers between -4 and 4, dense or every second one of a larger tensor."""
    values = np.random.default_rng(0).uniform(-4, 4, COUNT).astype(np.float32)
    if layout == "strided":
        values = np.repeat(values, 2)
    made = framework.from_numpy(values).to(getattr(framework, dtype))
    return made[::2] if layout == "strided" else made


def other(framework, what, dtype: str):
    """A number as it is, a tensor as it is described."""
    if not isinstance(what, tuple):
        return what
    shape, value, kind = what
    if value is None:
        values = np.random.default_rng(7).integers(0, 200 if kind == "uint8" else 100003, shape)
        return framework.from_numpy(values.astype(kind))
    return framework.full(shape, value, dtype=getattr(framework, dtype if kind == "own" else kind))


def wide_out(framework):
    return framework.empty(COUNT, dtype=framework.float32)


def in_place(name: str, **more):
    return lambda framework, x, o: getattr(x, name)(o, **more)


def plain(name: str, turned: bool = False, **more):
    if turned:
        return lambda framework, x, o: getattr(framework, name)(o, x, **more)
    return lambda framework, x, o: getattr(framework, name)(x, o, **more)


ARITHMETIC = {
    "x + o": lambda framework, x, o: x + o,
    "o + x": lambda framework, x, o: o + x,
    "x - o": lambda framework, x, o: x - o,
    "o - x": lambda framework, x, o: o - x,
    "x * o": lambda framework, x, o: x * o,
    "o * x": lambda framework, x, o: o * x,
    "x / o": lambda framework, x, o: x / o,
    "o / x": lambda framework, x, o: o / x,
    "x % o": lambda framework, x, o: x % o,
    "o % x": lambda framework, x, o: o % x,
    "x < o": lambda framework, x, o: x < o,
    "o >= x": lambda framework, x, o: o >= x,
    "x == o": lambda framework, x, o: x == o,
    **{f"{name}(x, o)": plain(name) for name in ("add", "sub", "mul", "div", "rsub", "fmod", "remainder", "clamp_min")},
    **{f"{name}(o, x)": plain(name, True) for name in ("add", "sub", "mul", "div", "remainder")},
    **{f"x.{name}(o)": in_place(name) for name in ("add_", "sub_", "mul_", "div_", "fmod_", "remainder_")},
    "x += o": lambda framework, x, o: x.__iadd__(o),
    "x *= o": lambda framework, x, o: x.__imul__(o),
    "x.copysign(o)": lambda framework, x, o: x.copysign(o),
    "where(x > 0, x, o)": lambda framework, x, o: framework.where(x > 0, x, o),
    "where(x > 0, o, x)": lambda framework, x, o: framework.where(x > 0, o, x),
    "add(x, o, out=half)": lambda framework, x, o: framework.add(x, o, out=framework.empty_like(x)),
    "add(x, o, out=float)": lambda framework, x, o: framework.add(x, o, out=wide_out(framework)),
    "mul(x, o, out=float)": lambda framework, x, o: framework.mul(x, o, out=wide_out(framework)),
    "div(x, o, out=float)": lambda framework, x, o: framework.div(x, o, out=wide_out(framework)),
}  # fmt: skip


def check(form, dtype: str, what, layout: str, share: float = 0.0) -> None:
    """AssertionError unless both frameworks agree, also where machine code repeats a call."""
    wanted = form(torch, operand(torch, dtype, layout), other(torch, what, dtype))
    for _ in range(3):
        found = form(facula, operand(facula, dtype, layout), other(facula, what, dtype))
        assert str(found.dtype) == str(wanted.dtype), f"{what!r}: {found.dtype} for {wanted.dtype}"
        a, b = array(found), array(wanted)
        wrong = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        assert wrong.mean() <= share, f"{what!r} {layout}: {wrong.sum()} elements differ"


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", ARITHMETIC.values(), ids=ARITHMETIC)
def test_arithmetic(form, dtype):
    for what in (*NUMBERS, *TENSORS):
        for layout in ("dense", "strided"):
            try:
                form(torch, operand(torch, dtype, layout), other(torch, what, dtype))
            except (RuntimeError, TypeError):
                continue  # numbers that PyTorch refuses: beyond float16, bools beside `-`
            check(form, dtype, what, layout)


# Functions whose float32 values may differ by an ulp: a few in a hundred halves are on the other side then.
FUNCTIONS = {
    "x ** o": (lambda framework, x, o: x.abs() ** o, (0.1, 1 / 3, 2.3, -1.7)),
    "o ** x": (lambda framework, x, o: o**x, (0.1, 1 / 3, 2.3, 257)),
    "xlogy(x, o)": (plain("xlogy"), (0.1, 2.3, 257)),
    "xlogy(o, x)": (plain("xlogy", True), (0.1, 2.3, 257)),
    "xlog1py(x, o)": (lambda framework, x, o: framework.special.xlog1py(x, o), (0.1, 2.3, 257)),
    "lerp": (lambda framework, x, o: framework.lerp(x, x.flip(0), o), (0.1, 1 / 3, 2.3, TENSORS[0], TENSORS[1])),
    "ldexp": (plain("ldexp"), (TENSORS[0], TENSORS[1], TENSORS[3])),
    "atan2": (plain("atan2"), (TENSORS[0], TENSORS[2])),
    "logit": (lambda framework, x, o: framework.logit(x / 8 + 0.5, o), (1e-3, 0.1, 1 / 3)),
    "addcmul": (lambda framework, x, o: framework.addcmul(x, x.flip(0), x.roll(3), value=o), (0.1, 2.3, 257)),
    "addcdiv": (lambda framework, x, o: framework.addcdiv(x, x.flip(0), x.roll(3), value=o), (0.1, 2.3, 257)),
    "leaky_relu": (lambda framework, x, o: framework.nn.functional.leaky_relu(x, o), (0.1, 1 / 3)),
    "elu": (lambda framework, x, o: framework.nn.functional.elu(x, o), (0.1, 1 / 3)),
    "softshrink": (lambda framework, x, o: framework.nn.functional.softshrink(x, o), (0.1, 1 / 3)),
    "hardshrink": (lambda framework, x, o: framework.nn.functional.hardshrink(x, o), (0.1, 1 / 3)),
    "threshold": (lambda framework, x, o: framework.nn.functional.threshold(x, o, o), (0.1, 1 / 3)),
    "x // o": (lambda framework, x, o: x // o, (0.1, 1 / 3, 2.3)),
    "div(x, o, trunc)": (plain("div", rounding_mode="trunc"), (0.1, 1 / 3, 2.3)),
    "hinge": (
        lambda framework, x, o: framework.nn.functional.hinge_embedding_loss(x, x.sign(), margin=o, reduction="none"),
        (0.1, 1 / 3, 8.396163642458497),
    ),
    "margin_ranking": (
        lambda framework, x, o: framework.nn.functional.margin_ranking_loss(
            x, x.flip(0), x.sign(), margin=o, reduction="none"
        ),
        (0.1, 1 / 3),
    ),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, dtype):
    form, numbers = FUNCTIONS[name]
    for what in numbers:
        check(form, dtype, what, "dense", 0.02)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("exponent", [3, 3.0, -2, 2, -1, 0.5])
def test_whole_powers_are_rounded_where_pytorch_multiplies(exponent, dtype):
    check(lambda framework, x, o: x.abs() ** o, dtype, exponent, "dense")
    check(in_place("pow_"), dtype, int(exponent), "dense")


@pytest.mark.parametrize("dtype", HALVES)
def test_factors_of_renorm_are_computed_in_float32(dtype):
    check(lambda framework, x, o: framework.renorm(x.reshape(32, 32), 2, 0, o), dtype, 1.0, "dense")


BEYOND = {
    "full": lambda framework, kind, n: framework.full((2,), n, dtype=kind),
    "fill_": lambda framework, kind, n: framework.zeros(2, dtype=kind).fill_(n),
    "index_fill": lambda framework, kind, n: framework.zeros(2, dtype=kind).index_fill(0, framework.tensor([0]), n),
    "linspace": lambda framework, kind, n: framework.linspace(0, n, 3, dtype=kind),
    "uniform_": lambda framework, kind, n: framework.zeros(2, dtype=kind).uniform_(0, n),
    "scalar_tensor": lambda framework, kind, n: framework.scalar_tensor(n, dtype=kind),
    "setitem": lambda framework, kind, n: framework.zeros(2, dtype=kind).__setitem__(0, n),
}


@pytest.mark.parametrize("dtype", [*HALVES, "float32", "float8_e5m2"])
@pytest.mark.parametrize("name", BEYOND)
def test_numbers_beyond_a_dtype(name, dtype):
    for number in (65504.0, 65510.0, 7e4, 3.4e38, 1e39, float("inf")):
        texts = []
        for framework in (torch, facula):
            try:
                BEYOND[name](framework, getattr(framework, dtype), number)
                texts.append("")
            except NotImplementedError:
                return  # PyTorch has no such operator of 8-bit floats
            except RuntimeError as error:
                texts.append(str(error).splitlines()[0])
        assert texts[0] == texts[1], number


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["add", "sub", "rsub"])
@pytest.mark.parametrize("alpha", [0.3, 257, -1 / 3])
def test_alpha(name, alpha, dtype):
    for what in (0.1, 2.3, -1.7, 3):
        check(plain(name, alpha=alpha), dtype, what, "dense")
    check(lambda framework, x, o: getattr(framework, name)(x, x.flip(0), alpha=alpha), dtype, 0, "dense")
    if name != "rsub":
        check(in_place(f"{name}_", alpha=alpha), dtype, 2.3, "dense")


@pytest.mark.parametrize("dtype", HALVES)
def test_products_with_a_sum_are_rounded_once(dtype):
    rng = np.random.default_rng(0)
    for b, m, k, n in ((4, 3, 1, 5), (4, 3, 7, 5)):
        given = [rng.uniform(-30, 30, shape).astype(np.float32) for shape in ((b, m, n), (b, m, k), (b, k, n))]
        found = []
        for framework in (torch, facula):
            c, x, y = (framework.from_numpy(g).to(getattr(framework, dtype)) for g in given)
            found.append(array(framework.baddbmm(c, x, y)))
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("causal", [False, True])
def test_attention_that_drops_weights(causal, dtype):
    rng = np.random.default_rng(0)
    given = [rng.uniform(-3, 3, (2, 3, length, 8)).astype(np.float32) for length in (5, 6, 6)]
    found = []
    for framework in (torch, facula):
        framework.manual_seed(3)
        q, k, v = (framework.from_numpy(g).to(getattr(framework, dtype)) for g in given)
        made = framework.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=0.5, is_causal=causal)
        found.append(array(made))
    assert (found[0] != found[1]).mean() <= 0.02
    np.testing.assert_allclose(*found, rtol=1e-2, atol=1e-2)
