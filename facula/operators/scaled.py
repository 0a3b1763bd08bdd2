"""Products whose result has another dtype than their operands: wider ones, of 8-bit integers, of scaled 8-bit floats.

A device may have a routine for them, `mixed_product`; elsewhere they are products of converted operands. And products
that go through an activation, for which devices may have `bind_activated_product`.
"""

from collections.abc import Callable
from typing import Any

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.modes import GUARD
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail

from .activation import gelu, gelu_kernel, relu
from .copying import cast
from .declare import INTO, function, one_device
from .declare.repeats import Repeats
from .elementwise import add, mul
from .matmul import Plan, addmm, bmm_core, mm, product_fields, remember, repeated
from .view import reshape, transpose

__all__ = ["_addmm_activation", "_int_mm", "_scaled_mm", "wide_product"]


def _routine(a: Tensor, b: Tensor, result: dtype, bias: Tensor | None = None, factors: tuple = (), **how: Any) -> Any:
    """The product of matrices or batches of them by the device's own routine; None where it has none."""
    one_device(a.spec, b.spec, *(x.spec for x in (bias, *factors) if x is not None))
    make = launch.offered("mixed_product", a.spec.device)
    *lead, m, k = a.spec.shape
    n = b.spec.shape[-1]
    if make is None or 0 in (m, n, k, *lead):
        return None
    out = launch.empty(dense(result, (*lead, m, n), a.spec.device))
    fields: dict[str, int] = {"batch": lead[0] if lead else 1, "m": m, "n": n, "k": k}
    for name, x, row, col in (("c", out, "row", "col"), ("a", a, "row", "k"), ("b", b, "k", "col")):
        steps = x.spec.strides
        fields |= {f"{name}_{row}": steps[-2], f"{name}_{col}": steps[-1], f"{name}_batch": steps[0] if lead else 0}
    if bias is not None:
        fields["bias_col"] = bias.spec.strides[0]
    bound = make(a.spec.dtype, b.spec.dtype, result, **how, **fields)
    if bound is None or not bound(out.ptr, a.ptr, b.ptr, 0 if bias is None else bias.ptr, *(x.ptr for x in factors)):
        return None
    return out


# --- wider results ------------------------------------------------------------------------------------------------


@function(tensors=("input", "mat2"))
def wide_product_core(input, mat2):
    """The product of 16-bit floats as float32."""
    made = _routine(input, mat2, dt.float32)
    if made is not None:
        return made
    product = mm if input.spec.ndim == 2 else bmm_core
    return product(cast(input, dt.float32), cast(mat2, dt.float32))


@wide_product_core.gradient("input")
def _(grad, mat2, input_spec):
    product = mm if mat2.spec.ndim == 2 else bmm_core
    return cast(product(grad, transpose(cast(mat2, dt.float32), -2, -1)), input_spec.dtype)


@wide_product_core.gradient("mat2")
def _(grad, input, mat2_spec):
    product = mm if input.spec.ndim == 2 else bmm_core
    return cast(product(transpose(cast(input, dt.float32), -2, -1), grad), mat2_spec.dtype)


def wide_product(product: Callable, input: Tensor, mat2: Tensor, result: dtype) -> Tensor:
    """`product` (mm or bmm) with `out_dtype`: that of the operands, or float32 for 16-bit floats."""
    own = input.spec.dtype
    if result is not own and not (result is dt.float32 and own in (dt.float16, dt.bfloat16)):
        fail(RuntimeError, "out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs",
             got=f"{result} of {own}")  # fmt: skip
    shapes = input.spec.shape, mat2.spec.shape
    if (
        mat2.spec.dtype is not own
        or result is own
        or len(shapes[0]) != len(shapes[1])
        or shapes[0][-1] != shapes[1][-2]
    ):
        return product(input, mat2)  # or its errors
    return wide_product_core(input, mat2)


# --- 8-bit integers -----------------------------------------------------------------------------------------------


@function(tensors=("input", "mat2"))
def int_mm(input, mat2):
    """The product of matrices of 8-bit integers as int32."""
    made = _routine(input, mat2, dt.int32) if input.spec.dtype is dt.int8 else None
    return mm(cast(input, dt.int32), cast(mat2, dt.int32)) if made is None else made


def _int_mm(self: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of a matrix of int8 or uint8 with one of int8, as int32."""
    for x, name in ((self, "self"), (mat2, "mat2")):
        if x.spec.ndim != 2:
            fail(RuntimeError, f"int_mm_out_cpu: Expected {name} to be of dimension 2 but got {x.spec.ndim}")
    (_, k), (k2, _) = self.spec.shape, mat2.spec.shape
    if k != k2:
        fail(RuntimeError, f"int_mm_out_cpu: self.size(1) needs to match mat2.size(0) but got {k} and {k2}")
    for x, name, text, allowed in (
        (self, "self", "int8 or uint8", (dt.int8, dt.uint8)), (mat2, "mat2", "of type int8", (dt.int8,))
    ):  # fmt: skip
        if x.spec.dtype not in allowed:
            got = dtype_title(x.spec.dtype).lower()
            fail(RuntimeError, f"int_mm_out_cpu: Expected {name} dtype to be {text} but got {got}")
    made = int_mm(self, mat2)
    return made if out is None else INTO[0]("_int_mm", out, made, (self, mat2))


# --- 8-bit floats -------------------------------------------------------------------------------------------------

EIGHT = (dt.float8_e4m3fn, dt.float8_e5m2)
RESULTS = (dt.float32, dt.float16, dt.bfloat16, *EIGHT)


@function(tensors=("input", "mat2", "scale_a", "scale_b", "bias"))
def scaled_mm(input, mat2, scale_a, scale_b, bias, result, fast, scales):
    """The product of 8-bit floats, each operand (scales "one") or each row and column ("rows") with a factor."""
    fits = bias is None or (bias.spec.dtype is result and result.itemsize == 2 and bias.spec.strides == (1,))
    plain = all(x.spec.dtype is dt.float32 and x.spec.contiguous for x in (scale_a, scale_b))
    if fits and plain:
        made = _routine(input, mat2, result, bias, (scale_a, scale_b), scales=scales, fast=fast)
        if made is not None:
            return made
    scale_a, scale_b = (cast(reshape(x, ()) if scales == "one" else x, dt.float32) for x in (scale_a, scale_b))
    made = mul(mm(cast(input, dt.float32), cast(mat2, dt.float32)), mul(scale_a, scale_b))
    return cast(made if bias is None else add(made, cast(bias, dt.float32)), result)


def _scaled_mm(
    self: Tensor, mat2: Tensor, scale_a: Tensor, scale_b: Tensor, bias: Tensor | None = None,
    scale_result: Tensor | None = None, out_dtype: dtype | None = None, use_fast_accum: bool = False, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The product of two matrices of 8-bit floats, which stand for their values times scales: (n, k) @ (k, m).

    Parameters
    ----------
    self, mat2 : Tensor
        float8_e4m3fn or float8_e5m2. GPUs need the rows of `self` and the columns of `mat2` side by side in memory to
        be fast.
    scale_a, scale_b : Tensor
        One number each, or (n, 1) and (1, m) of float32: one for each row and each column.
    bias : Tensor, optional
        (m): added to each row.
    scale_result : Tensor, optional
        One number by which a result of 8-bit floats is divided.
    out_dtype : dtype, optional
        Of the result; that of `self` when None.
    use_fast_accum : bool
        GPUs may sum less exactly.
    """
    for x, name in ((self, "mat1"), (mat2, "mat2")):
        if x.spec.ndim != 2:
            fail(RuntimeError, f"{name} must be a matrix", got=f"shape {tuple(x.spec.shape)}")
    (m, k), (k2, n) = self.spec.shape, mat2.spec.shape
    if k != k2:
        fail(RuntimeError, f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    if (self.spec.dtype in EIGHT) != (mat2.spec.dtype in EIGHT):
        fail(ValueError, "Invalid scaling configuration.", got=f"{self.spec.dtype} @ {mat2.spec.dtype}",
             expected="two matrices of 8-bit floats")  # fmt: skip
    for x, name in ((self, "mat1"), (mat2, "mat2")):
        if x.spec.dtype not in EIGHT:
            fail(RuntimeError, f"Expected {name} to be Float8 matrix got {dtype_title(x.spec.dtype)}")
    shapes = tuple(scale_a.spec.shape), tuple(scale_b.spec.shape)
    rows = shapes == ((m, 1), (1, n)) and all(x.spec.dtype is dt.float32 for x in (scale_a, scale_b))
    if not rows and not (scale_a.numel() == 1 and scale_b.numel() == 1):
        fail(ValueError, "Invalid scaling configuration.", got=f"scales of shapes {shapes[0]} and {shapes[1]}",
             expected=f"one number each, or ({m}, 1) and (1, {n}) of float32")  # fmt: skip
    if bias is not None and bias.numel() != n:
        fail(RuntimeError, f"Bias must be size {n} but got {bias.numel()}")
    if scale_result is not None and scale_result.numel() != 1:
        fail(RuntimeError, "scale_result must be a float scalar")
    result = self.spec.dtype if out_dtype is None else out_dtype
    if result not in RESULTS:
        fail(RuntimeError, f"_scaled_mm: there is no result of {result}", expected=", ".join(map(str, RESULTS)))
    how = "one" if scale_a.numel() == 1 and scale_b.numel() == 1 else "rows"
    if scale_result is not None and out_dtype in EIGHT:
        made = scaled_mm(self, mat2, scale_a, scale_b, bias, dt.float32, use_fast_accum, how)
        made = cast(mul(made, scale_result.reciprocal()), result)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        made = scaled_mm(self, mat2, scale_a, scale_b, bias, result, use_fast_accum, how)
    return made if out is None else INTO[0]("_scaled_mm", out, made, (self, mat2))


def _without_derivative(operator: Any, name: str, inputs: tuple[str, ...]) -> None:
    """PyTorch's error in backward."""

    def formula(grad):
        fail(RuntimeError, f"derivative for aten::{name} is not implemented")

    for each in inputs:
        operator.gradient(each)(formula)


_without_derivative(scaled_mm, "_scaled_mm", ("input", "mat2", "scale_a", "scale_b", "bias"))


# --- with an activation -------------------------------------------------------------------------------------------


@function(tensors=("input", "mat1", "mat2"))
def addmm_activation(input, mat1, mat2, beta, alpha, use_gelu):
    """`relu` or `gelu` of `addmm`."""
    if _plain_row(input.spec, mat1.spec, mat2.spec, beta):
        specs = input.spec, mat1.spec, mat2.spec, alpha, beta, use_gelu
        plan = remember((_KNOWN, specs), lambda: _plan_activated(*specs))
        if plan is not None:
            out = launch.empty(plan.outs[0])
            plan.function(out.ptr, mat1.ptr, mat2.ptr, input.ptr)
            return out
    made = addmm(input, mat1, mat2, beta=beta, alpha=alpha)
    if not use_gelu:
        return relu(made)
    return gelu(made, approximate="tanh" if activates(made) else "none")


_without_derivative(addmm_activation, "_addmm_activation", ("input", "mat1", "mat2"))
_KNOWN = Repeats(addmm_activation.operator, 3, others=3)


def activates(x: Tensor) -> bool:
    """Whether the device of a tensor has products that go through an activation; its `gelu` is then that by tanh."""
    return launch.offered("bind_activated_product", x.spec.device) is not None


def _plain_row(row: Spec, a: Spec, b: Spec, beta: Any) -> bool:
    """Whether what is added is a row as it is, of the operands' dtype."""
    return beta == 1 and row.shape == b.shape[1:] and row.strides == (1,) and row.dtype is a.dtype is b.dtype


def _plan_activated(row: Spec, a: Spec, b: Spec, alpha: Any, beta: Any, use_gelu: bool) -> Plan | None:
    """The plan of a product, a bias and an activation in one; None where the device does not do that."""
    make = launch.offered("bind_activated_product", a.device)
    out, fields, offsets = product_fields(a, b, None, alpha, 0.0, row)
    if make is None or not out.numel:
        return None
    operator, static = (gelu_kernel.operator, {"approximate": "tanh"}) if use_gelu else (relu.operator, {})
    then = operator.plan((out,), scalars=static)
    bound = make(a.dtype, "gelu" if use_gelu else "relu", lambda c: then.function(c, c, *then.tail), **fields)
    if bound is None:
        return None
    plan = Plan()
    plan.outs, plan.function, plan.tail, plan.calls = (out,), bound.function, bound.tail, (bound, offsets)
    return plan


def _addmm_activation(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1, use_gelu: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`relu(beta * self + alpha * mat1 @ mat2)`, or `gelu` of it; GPUs take that by tanh, as PyTorch's do."""
    if out is None:
        if (made := _KNOWN.run(self, mat1, mat2, alpha, beta, use_gelu)) is not None:
            return made
        if GUARD.active and (made := _KNOWN.in_mode()(self, mat1, mat2, alpha, beta, use_gelu)) is not None:
            return made
    if mat1.spec.ndim != 2 or mat2.spec.ndim != 2 or mat1.spec.shape[1] != mat2.spec.shape[0]:
        addmm(self, mat1, mat2)  # whose errors these are
    made = addmm_activation(self, mat1, mat2, beta, alpha, bool(use_gelu))
    if out is not None:
        return INTO[0]("_addmm_activation", out, made, (self, mat1, mat2))
    if activates(made) and _plain_row(self.spec, mat1.spec, mat2.spec, beta) and not made.needs_grad:
        specs = self.spec, mat1.spec, mat2.spec, alpha, beta, use_gelu
        make = lambda *_: repeated(remember((_KNOWN, specs), lambda: _plan_activated(*specs)), (1, 2, 0))  # noqa: E731
        _KNOWN.repeat((self, mat1, mat2, alpha, beta, use_gelu), 3, made, make, None)
    return made
