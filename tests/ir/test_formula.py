"""Formulas of kernels: brackets where they are needed, names for what occurs several times."""

import pytest

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.formula import formula
from facula.ir.kernel import Check, Input, Kernel, Param, Result

X, Y = ir.load("x", dt.float32), ir.load("y", dt.float32)
N, B = ir.load("i", dt.int64), ir.load("b", dt.bool_)


def of(value, **options):
    return formula(Kernel("k", (Input("x", dt.float32),), (Result("out", dt.float32, value, **options),)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (X + Y * 2.0, "x + y * 2"), ((X + Y) * 2.0, "(x + y) * 2"), (X - (Y - 1.0), "x - (y - 1)"),
        ((X - Y) - 1.0, "x - y - 1"), (X / (Y / 2.0), "x / (y / 2)"), (-(X + Y), "-(x + y)"), (-X * Y, "-x * y"),
        (X**2.0, "x**2"), ((X**Y) ** 2.0, "(x**y)**2"), (X ** (Y**2.0), "x**y**2"), ((-X) ** 2.0, "(-x)**2"),
        (X * -1.0, "x * -1"), (ir.const(-2.0, dt.float32) ** X, "(-2)**x"),
        (ir.exp(X) + 1.0, "exp(x) + 1"), (ir.maximum(X, Y), "max(x, y)"), (ir.fma(X, Y, X + 1.0), "x * y + (x + 1)"),
        (ir.reduce("sum", X * X), "sum_row(x * x)"), (ir.scan("prod", X), "running_prod(x)"),
        (ir.select(ir.gt(X, 0.0), X, Y * 2.0), "x if x > 0 else y * 2"),
        (ir.select(B, X, Y) + 1.0, "(x if b else y) + 1"),
        (ir.select(ir.and_(ir.ge(N, 0), ir.lt(N, 9)), X, Y), "x if i >= 0 and i < 9 else y"),
        (ir.cast((N & 3) + 1, dt.float32), "float32((i & 3) + 1)"),
        (ir.cast(N & N + 1, dt.float32), "float32(i & i + 1)"),
        (ir.cast(X, dt.float64) * 2.0, "x * 2"), (X / ir.cast(ir.count(), dt.float32), "x / n"),
        (ir.load("x", dt.float32, N * 4, B), "(x[. + i * 4] where b)"),
        (X * ir.param("alpha", dt.float32), "x * alpha"),
        (X * 0.70710678, "x * 0.707107"),
    ],
)  # fmt: skip
def test_brackets(value, expected):
    assert of(value).splitlines()[0] == f"out = {expected}"


def test_names():
    e = ir.exp(X)
    assert of(e * ir.sin(e)) == "out = a * sin(a)\n  a = exp(x)"
    inner = e + 1.0
    assert of(inner * ir.sin(inner) / e) == "out = a * sin(a) / b\n  a = b + 1\n  b = exp(x)"
    kernel = Kernel("k", (Input("a", dt.float32),), (Result("out", dt.float32, ir.exp(ir.load("a", dt.float32)) ** 2.0 +
                    ir.exp(ir.load("a", dt.float32))),), (Param("b", dt.float32),))  # fmt: skip
    assert formula(kernel) == "out = c**2 + c\n  c = exp(a)"  # a and b are taken


def test_results():
    value = Result("out", dt.float32, X, offset=N, where=B, combine="add")
    check = Check(ir.lt(N, 10), N, "index {value} is out of bounds")
    kernel = Kernel("k", (Input("x", dt.float32),), (value, Result("two", dt.float32, X)), (), (check,))
    assert formula(kernel).splitlines() == [
        "out[. + i] += x where b", "two = x", "  requires i < 10: index {value} is out of bounds"
    ]  # fmt: skip
