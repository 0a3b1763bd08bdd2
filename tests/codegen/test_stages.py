"""The stages of `codegen` one by one, what they refuse, and the golden texts of a few kernels.

To write the golden texts anew: `FACULA_UPDATE_GOLDEN=1 pytest tests/codegen/test_stages.py`.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from facula.codegen import STAGES
from facula.codegen.stages import after, prepare
from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Access, Check, Input, Kernel, Param, Result
from facula.ir.printer import show
from facula.targets.cpu.emit import text
from facula.targets.reference import interpreter as reference
from tests.targets.kernels import check_kernel, map_kernel

GOLDEN = Path(__file__).parent / "golden"
F = dt.float32
X, Y = ir.load("x", F), ir.load("y", F)


def kernel_of(value, *inputs, result=None, **more):
    inputs = inputs or (Input("x", F), Input("y", F))
    return Kernel("k", inputs, (Result("out", result or value.dtype, value),), **more)


def simplified(value, *inputs):
    return dict(STAGES)["simplify"](kernel_of(value, *inputs)).results[0].value


def test_at_most_eight_stages():
    assert len(STAGES) <= 8
    assert list(after(kernel_of(X + Y))) == ["kernel", *(name for name, _ in STAGES)]


@pytest.mark.parametrize(
    "value, want",
    [
        (X * 1.0, X),
        (X + (-0.0), X),
        (X - 0.0, X),
        (ir.neg(ir.neg(X)), X),
        (X / 4.0, X * 0.25),
        (ir.pow(X, 2.0), X * X),
        (ir.pow(X, 0.5), ir.sqrt(X)),
        (ir.select(X < Y, X, X), X),
        (ir.const(2.0, F) * 3.0 + X, ir.const(6.0, F) + X),
        (ir.cast(ir.cast(X, dt.float64), F), X),
        (ir.maximum(X, X), X),
    ],
)
def test_simplify(value, want):
    assert simplified(value) is want


@pytest.mark.parametrize("value", [X + 0.0, X * 0.0, X - X, X / 3.0, ir.cast(ir.cast(X, dt.int32), F), X / X])
def test_what_must_stay(value):
    """-0.0 + 0.0 is 0.0, inf * 0.0 is NaN, and so on."""
    assert simplified(value) is value


def test_float32_constants_fold_as_float32():
    assert simplified(ir.const(16777216.0, F) + 1.0).value == 16777216.0
    assert simplified(ir.const(255, dt.uint8) + 1).value == 0


@pytest.mark.parametrize(
    "kernel, message",
    [
        (kernel_of(ir.load("z", F)), "load of 'z'"),
        (kernel_of(X + ir.param("a", F)), "param 'a'"),
        (kernel_of(X, Input("x", F), Input("x", F)), "two operands"),
        (Kernel("k", (Input("x", F),), (Result("out", dt.int64, ir.row_index(), per_row=True),)), "is per row"),
        (Kernel("k", (Input("x", F),), (Result("out", F, X, offset=X),)), "offset of result"),
        (Kernel("k", (Input("x", F),), (Result("out", F, X, combine="max"),)), "combined by 'max'"),
        (kernel_of(X, checks=(Check(X, X, "wrong"),)), "check 'wrong'"),
        (kernel_of(ir.reduce("sum", X < Y)), "sum of bool"),
    ],
)
def test_illegal_kernels(kernel, message):
    with pytest.raises(TypeError, match=message):
        prepare(kernel)


def test_guard_makes_accesses_conditional():
    at = ir.load("i", dt.int64)
    inside = ir.ge(at, 0)
    kernel = Kernel(
        "k",
        (Input("i", dt.int64), Input("x", F)),
        (Result("out", F, ir.load("x", F, at), offset=at),),
        checks=(Check(inside, at, ""),),
    )
    guarded = dict(STAGES)["guard"](kernel)
    assert guarded.results[0].value is ir.load("x", F, at, inside)
    assert guarded.results[0].where is inside


def test_complex_leaves_real_arithmetic():
    z = ir.load("z", dt.complex64)
    kernel = Kernel(
        "k",
        (Input("z", dt.complex64),),
        (Result("out", dt.complex64, ir.exp(z) * ir.param("a", dt.complex64)),),
        (Param("a", dt.complex64),),
    )
    found = prepare(kernel)
    assert [p.name for p in found.params] == ["a.re", "a.im"]
    left = {n.op for n in ir.walk(*found.roots()) if n.dtype.kind == "c"}
    assert left == {"load", "complex"}


def test_stages_change_no_value():
    """A prepared kernel means what it meant: the reference target runs both."""
    x = np.linspace(-3, 3, 50, dtype="f4")
    kernel = map_kernel("all", lambda a: ir.tanh(a * 1.0) + ir.pow(ir.exp(a), 2.0) / 4.0, [F])
    outs = []
    for k in (kernel, prepare(kernel)):
        out = np.empty_like(x)
        reference.run(k, ((50,), ()), [out.ctypes.data, x.ctypes.data], [(1,), (1,)])
        outs.append(out)
    np.testing.assert_allclose(*outs, rtol=1e-6)


def softmax():
    e = ir.exp(X - ir.reduce("max", X))
    return Kernel("softmax", (Input("x", F),), (Result("out", F, e / ir.reduce("sum", e)),))


def take():
    at = ir.load("i", dt.int64)
    check = Check(ir.and_(ir.ge(at, 0), ir.lt(at, ir.param("size", dt.int64))), at, "index {value} is out of bounds")
    return Kernel(
        "take",
        (Input("i", dt.int64), Input("x", F)),
        (Result("out", F, ir.load("x", F, at)),),
        (Param("size", dt.int64),),
        (check,),
    )


def argmax():
    return Kernel("argmax", (Input("x", F),), (Result("out", dt.int64, ir.reduce("argmax", X), per_row=True),))


def cumsum():
    return Kernel("cumsum", (Input("x", F),), (Result("out", F, ir.scan("sum", X)),))


def product():
    z = ir.load("z", dt.complex64)
    return Kernel("product", (Input("z", dt.complex64),), (Result("out", dt.complex64, z * z),))


TEXTS = {
    "add": (kernel_of(X + Y), Access(1, 0, ("1", "1", "1"))),
    "add_strided": (kernel_of(X + Y), Access(2, 0, ("1", "0", "s"))),
    "half": (map_kernel("half", lambda x: x * 0.5, [dt.bfloat16]), Access(1, 0, ("1", "1"))),
    "softmax": (softmax(), Access(1, 1, ("s1", "s1"))),
    "argmax_columns": (argmax(), Access(1, 1, ("10", "1s"))),
    "cumsum": (cumsum(), Access(1, 1, ("s1", "s1"))),
    "take": (take(), Access(1, 0, ("1", "1", "0"))),
    "complex_product": (product(), Access(1, 0, ("1", "1"))),
}


@pytest.mark.parametrize("name", TEXTS)
def test_golden(name):
    """The prepared kernel and its LLVM text for 512-bit registers, as they were when somebody last looked."""
    kernel, access = TEXTS[name]
    texts = {".ir": show(prepare(kernel)) + "\n", ".ll": text(kernel, access, 512)}
    for ending, found in texts.items():
        path = GOLDEN / (name + ending)
        if os.environ.get("FACULA_UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(found)
        assert path.read_text() == found, f"{path.name} differs: look at the change, then set FACULA_UPDATE_GOLDEN=1"


def test_text_is_the_same_every_time():
    for kernel, access in TEXTS.values():
        assert text(kernel, access, 512) == text(kernel, access, 512)


def test_golden_kernels_run():
    from facula.targets.cpu.emit import compile

    check_kernel(compile, softmax(), (3,), (100,), tolerance=32.0, plain=True)
    check_kernel(compile, cumsum(), (3,), (100,), tolerance=100.0, least=1.0, plain=True)
    check_kernel(compile, product(), (33,), tolerance=8.0, plain=True)
