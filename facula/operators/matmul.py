"""Matrix products: two matrices, batches of them, with a bias, by index letters."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import Size, broadcast
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail

from .copying import cast
from .declare import INTO, function, one_device, takes
from .declare.repeats import MISSING, FunctionPlan, Repeats, public
from .override import foreign
from .reduction import sum as sum_over
from .reduction import sum_to
from .view import expand_to, permute, reshape, squeeze_dims, transpose, unsqueeze, view_shape

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bilinear", "bmm", "cdist", "chain_matmul", "cross", "dot", "einsum",
    "inner", "linear", "matmul", "mm", "mv",
    "outer", "tensordot", "vdot",
]  # fmt: skip


# --- plans --------------------------------------------------------------------------------------------------------


class Plan:
    """A product of operands of given specs: machine code, what it is called with, what comes out."""

    __slots__ = ("calls", "function", "outs", "tail")


_PLANS: dict[tuple, Plan | None] = {}
_STRIDES = ("outer", "batch", "row", "col")


def _merge_batch(shape, *strides) -> tuple[list[int], list[list[int]]]:
    """Batch dims joined where all operands walk through them as one."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d, n in enumerate(shape):
        if n == 1:
            continue
        if sizes and all(s[-1] == own[d] * n for s, own in zip(steps, strides)):
            sizes[-1] *= n
            for s, own in zip(steps, strides):
                s[-1] = own[d]
        else:
            sizes.append(n)
            for s, own in zip(steps, strides):
                s.append(own[d])
    return sizes, steps


def _broadcast_strides(s: Spec, shape: Sequence[int]) -> list[int]:
    """Strides of an operand seen with a shape that it broadcasts to."""
    lead = len(shape) - s.ndim
    return [0] * lead + [0 if n == 1 else step for n, step in zip(s.shape, s.strides)]


def _plan(
    a: Spec, b: Spec, out: Spec | None = None, alpha: Any = 1.0, beta: Any = 0.0, bias: Spec | None = None,
    shape: Sequence[int] | None = None,
) -> Plan:  # fmt: skip
    """The plan of `alpha * a @ b + beta * out + bias` for operands of at least two dims whose batch dims broadcast.

    `out` is given where it exists; `shape` is how the result is seen, if not as those dims.
    """
    found, fields, offsets = product_fields(a, b, out, alpha, beta, bias)
    plan = Plan()
    plan.outs = (found if shape is None else dense(a.dtype, shape, a.device),)
    plan.calls, plan.function, plan.tail = (), None, ()
    if found.numel:
        bound = launch.native("bind_product", a.device)(a.dtype, **fields)
        plan.function, plan.tail = bound.function, bound.tail if bias is not None else (0, *bound.tail)
        plan.calls = (bound, offsets)
    return plan


def product_fields(
    a: Spec, b: Spec, out: Spec | None = None, alpha: Any = 1.0, beta: Any = 0.0, bias: Spec | None = None
) -> tuple[Spec, dict[str, Any], list[tuple[int, ...]]]:
    """Of a product: its result, what a target is told of it, and where in the operands each of its calls begins."""
    if a.dtype.kind == "b":
        fail(NotImplementedError, "\"addmm_impl_cpu_\" not implemented for 'Bool'", mend="convert the operands first")
    if a.dtype is not b.dtype:
        fail(
            RuntimeError,
            f"expected m1 and m2 to have the same dtype, but got: {_c_name(a.dtype)} != {_c_name(b.dtype)}",
            mend="convert one of them, e.g. b.to(a.dtype)",
        )
    one_device(a, b, out, bias)
    (m, k), (k2, n) = a.shape[-2:], b.shape[-2:]
    if k != k2:
        _mismatch(a, b)
    batch = broadcast(a.shape[:-2], b.shape[:-2])
    whole = (*batch, m, n)
    found = out or dense(a.dtype, whole, a.device)
    # Strides along the batch, rows and columns; of C, A, B and the bias.
    c_steps = list(found.strides)
    a_steps = [*_broadcast_strides(a, (*batch, m, k))[:-2], *a.strides[-2:]]
    b_steps = [*_broadcast_strides(b, (*batch, k, n))[:-2], *b.strides[-2:]]
    bias_steps = [0] * len(whole) if bias is None else _broadcast_strides(bias, whole)
    every = (c_steps, a_steps, b_steps, bias_steps)
    sizes, leads = _merge_batch(batch, *[s[:-2] for s in every])
    (c_row, c_col), (a_row, a_k), (b_k, b_col), (bias_row, bias_col) = (s[-2:] for s in every)
    # Many rows against one matrix are one tall matrix.
    rows = [s[-1] if s else 0 for s in leads]
    if len(sizes) == 1 and rows[1:3] == [m * a_row, 0] and rows[0] == m * c_row and rows[3] == m * bias_row:
        m, sizes, leads = m * sizes[0], [], [[] for _ in leads]
    fields: dict[str, Any] = {"m": m, "n": n, "k": k, "alpha": alpha, "beta": beta}
    fields |= {"c_row": c_row, "c_col": c_col, "a_row": a_row, "a_k": a_k, "b_k": b_k, "b_col": b_col}
    fields |= {"bias_row": bias_row, "bias_col": bias_col, "batch": sizes[-1] if sizes else 1}
    fields["outer"] = sizes[-2] if len(sizes) > 1 else 1
    for name, lead in zip(("c", "a", "b", "bias"), leads):
        fields[f"{name}_batch"] = lead[-1] if lead else 0
        fields[f"{name}_outer"] = lead[-2] if len(lead) > 1 else 0
    # What is left of the batch after two dims is a call each.
    offsets = [(0, 0, 0, 0)]
    for d in range(len(sizes) - 2):
        steps = [lead[d] * a.dtype.itemsize for lead in leads]
        offsets = [
            tuple(start + i * step for start, step in zip(known, steps)) for known in offsets for i in range(sizes[d])
        ]
    return found, fields, offsets


def _run(plan: Plan, c: int, a: int, b: int, bias: int = 0) -> None:
    """The calls of a plan, given addresses."""
    if plan.calls:
        bound, offsets = plan.calls
        for i, j, k, o in offsets:
            bound(c + i, a + j, b + k, bias and bias + o)


def _turned(s: Spec, turn: bool) -> Spec:
    """The spec of the transposed matrix."""
    if not turn:
        return s
    shape, strides = s.shape, s.strides
    return spec(s.dtype, s.device, (*shape[:-2], shape[-1], shape[-2]), (*strides[:-2], strides[-1], strides[-2]))


def remember(key: tuple, make: Callable[[], Any]) -> Any:
    plan = _PLANS.get(key, MISSING)
    if plan is MISSING:
        if len(_PLANS) > 4096:
            _PLANS.clear()
        plan = _PLANS[key] = make()
    return plan


def _product(
    a: Tensor, b: Tensor, out: Tensor | None = None, alpha: Any = 1.0, beta: Any = 0.0, bias: Tensor | None = None,
    turns: tuple[bool, bool] = (False, False),
) -> Tensor:  # fmt: skip
    """`alpha * a @ b + beta * out + bias` for operands of at least two dims; nothing is recorded."""
    specs = (a.spec, b.spec, None if out is None else out.spec, None if bias is None else bias.spec)
    plan = remember(
        (specs, alpha, beta, turns),
        lambda: _plan(_turned(specs[0], turns[0]), _turned(specs[1], turns[1]), specs[2], alpha, beta, specs[3]),
    )
    if out is None:
        out = launch.empty(plan.outs[0])
    _run(plan, out.ptr, a.ptr, b.ptr, 0 if bias is None else bias.ptr)
    return out


# --- repeated calls -----------------------------------------------------------------------------------------------


def repeated(plan: Plan | None, sources: Sequence[int]) -> FunctionPlan | None:
    """What machine code repeats; None where the device does not do it so, or for more dims than it knows."""
    if plan is None or plan.calls and len(plan.calls[1]) > 1:
        return None
    return FunctionPlan(plan.function, plan.tail, plan.outs, sources, plan.calls)


def _binary(
    slow: Callable, operator: Any, plan_of: Callable[[Spec, Spec], tuple[Any, Callable]], foreign: bool = False
):
    """The function of two tensors that repeats known calls in machine code and goes `slow` for others.

    `plan_of` gives the function whose operator is recorded (None: several are), and what makes a plan.
    """
    known = Repeats(operator, 2)

    def entry(input=MISSING, other=MISSING, out_dtype=None, **kwargs):
        if out_dtype is not None:
            kwargs["out_dtype"] = out_dtype
        if kwargs:
            return slow(*[x for x in (input, other) if x is not MISSING], **kwargs)
        if (out := known.run(input, other)) is not None:
            return out
        if GUARD.active and (out := known.in_mode()(input, other)) is not None:
            return out
        if foreign and not (isinstance(input, Tensor) and isinstance(other, Tensor)):
            return NotImplemented
        if getattr(input, "is_sparse", False) or getattr(other, "is_sparse", False):
            from .sparse import sparse_matmul

            return sparse_matmul(input, other)
        out = slow(*[x for x in (input, other) if x is not MISSING])
        if isinstance(input, Tensor) and isinstance(other, Tensor) and isinstance(out, Tensor):
            recorded, make = plan_of(input.spec, other.spec)
            recorded = recorded and recorded.operator
            known.repeat((input, other), 2, out, lambda a, b: repeated(make(a, b), (0, 1)), recorded)
        return out

    return entry


def _c_name(kind) -> str:
    return {"float32": "float", "float64": "double", "int64": "long int", "int32": "int", "bool": "bool"}.get(
        kind.name, dtype_title(kind)
    )


def _mismatch(a: Spec, b: Spec):
    if a.ndim == 2 and b.ndim == 2:
        first = f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]})"
    else:
        first = (
            f"Expected size for first two dimensions of batch2 tensor to be: [{b.shape[0]}, {a.shape[-1]}] but got: "
            f"[{b.shape[0]}, {b.shape[-2]}]."
        )
    fail(
        RuntimeError,
        first,
        expected=f"the last dim of the first ({a.shape[-1]}) to equal the second to last of the second ({b.shape[-2]})",
        got=f"shapes {tuple(a.shape)} and {tuple(b.shape)}",
        mend="transpose one operand, or check the number of features of the layer",
    )


def _mH(x: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims."""
    x = transpose(x, -2, -1)
    if x.spec.dtype.kind == "c":
        from .elementwise import conj_physical

        return conj_physical(x)
    return x


@function(tensors=("input", "mat2"), out=True)
def mm(input, mat2):
    """The product of two matrices: (n, k) @ (k, m) -> (n, m)."""
    for x, which in ((input, "self"), (mat2, "mat2")):
        if x.spec.ndim != 2:
            fail(
                RuntimeError,
                f"{which} must be a matrix",
                got=f"shape {tuple(x.spec.shape)}",
                mend="matmul (@) takes any number of dims",
            )
    return _product(input, mat2)


@mm.gradient("input")
def _(grad, mat2):
    return _by_turned(grad, mat2, False, True)


@mm.gradient("mat2")
def _(grad, input):
    return _by_turned(input, grad, True, False)


_own_mm = mm


def _mm(input: Tensor, mat2: Tensor, out_dtype=None, *, out=None) -> Tensor:
    """The product of two matrices: (n, k) @ (k, m) -> (n, m).

    `out_dtype` may be float32 for 16-bit floats, whose products are then not rounded to 16 bits.
    """
    if out_dtype is None:
        return _own_mm(input, mat2) if out is None else _own_mm(input, mat2, out=out)
    from .scaled import wide_product

    made = wide_product(_own_mm, input, mat2, out_dtype)
    return made if out is None else _to_out("mm", out, made, (input, mat2))


_mm.__name__, _mm.operator, _mm.gradient = "mm", _own_mm.operator, _own_mm.gradient
mm = public(_mm, _binary(_mm, mm.operator, lambda a, b: (mm, _plan)))
_KNOWN_TURNED = Repeats(mm.operator, 2, others=2)


def _plan_turned(a: Spec, b: Spec, left: bool, right: bool) -> FunctionPlan | None:
    return repeated(_plan(_turned(a, left), _turned(b, right)), (0, 1))


def _by_turned(a: Tensor, b: Tensor, left: bool, right: bool) -> Tensor:
    """The product of two matrices, one or both of them transposed (and conjugate)."""
    if a.spec.dtype.kind == "c" or LOCAL.grad or LOCAL.special:
        return mm(_mH(a) if left else a, _mH(b) if right else b)
    if (out := _KNOWN_TURNED.bare(a, b, left, right)) is not None:
        return out
    out = _product(a, b, turns=(left, right))
    _KNOWN_TURNED.repeat((a, b, left, right), 2, out, _plan_turned, None)
    return out


_KNOWN_SUMMED = Repeats(mm.operator, 2, others=3)


def _with_sums(
    make: Callable, a: Tensor, b: Tensor, left: bool, right: bool, summed: str
) -> tuple[Tensor, Tensor] | None:
    """`_by_turned`, and sums of the rows of its left operand ("a") or the columns of its right one ("b").

    `make` is the device's routine; None where it does not do both at once.
    """
    if a.spec.dtype.kind == "c" or LOCAL.grad or LOCAL.special:
        return None
    if (out := _KNOWN_SUMMED.bare(a, b, left, right, summed)) is not None:
        return out

    def plan_of(a: Spec, b: Spec, left: bool, right: bool, summed: str) -> Plan | None:
        found, fields, offsets = product_fields(_turned(a, left), _turned(b, right))
        bound = make(a.dtype, summed, **fields) if found.numel else None
        if bound is None:
            return None
        plan = Plan()
        plan.outs = found, dense(a.dtype, found.shape[:1] if summed == "a" else found.shape[1:], a.device)
        plan.calls, plan.function, plan.tail = (bound, offsets), bound.function, bound.tail
        return plan

    specs = a.spec, b.spec, left, right, summed
    plan = remember((_KNOWN_SUMMED, specs), lambda: plan_of(*specs))
    if plan is None:
        return None
    out, sums = (launch.empty(each) for each in plan.outs)
    plan.function(out.ptr, sums.ptr, a.ptr, b.ptr)
    _KNOWN_SUMMED.repeat((a, b, left, right, summed), 2, (out, sums), lambda *_: repeated(plan, (0, 1)), None)
    return out, sums


@function(tensors=("input", "other"))
def matmul_batched(input, other):
    """The product over the last two dims, batch dims broadcast."""
    return _product(input, other)


@matmul_batched.gradient("input")
def _(grad, other, input_spec):
    return sum_to(matmul_batched(grad, _mH(other)), input_spec)


@matmul_batched.gradient("other")
def _(grad, input, other_spec):
    if other_spec.ndim == 2 and input.spec.ndim > 2:  # one matrix for the whole batch: one product over all rows
        n = prod(input.spec.shape[:-1])
        rows = reshape(input, (n, input.spec.shape[-1]))
        return mm(_mH(rows), reshape(grad, (n, grad.spec.shape[-1])))
    return sum_to(matmul_batched(_mH(input), grad), other_spec)


matmul_batched.operator.node_class.__name__ = "UnsafeViewBackward0"


def _plan_matmul(a: Spec, b: Spec) -> tuple[Any, Callable]:
    """Which operator `matmul` is for operands of these ranks (None: several), and what makes its plan."""
    ranks = a.ndim, b.ndim
    recorded = {(1, 1): dot, (2, 1): mv, (2, 2): mm}.get(ranks, matmul_batched if min(ranks) > 1 else None)
    return recorded, _plan_vectors if min(ranks) == 1 else _plan


def _plan_vectors(a: Spec, b: Spec) -> Plan:
    """A vector is a row on the left, a column on the right."""
    shape = [*broadcast(a.shape[:-2], b.shape[:-2]), *a.shape[-2:-1], *b.shape[1:][-1:]]
    if a.ndim == 1:
        a = spec(a.dtype, a.device, (1, *a.shape), (0, *a.strides))
    if b.ndim == 1:
        b = spec(b.dtype, b.device, (*b.shape, 1), (*b.strides, 0))
    return _plan(a, b, shape=shape)


def matmul(input: Tensor, other: Tensor, *, out=None) -> Tensor:
    """The product of vectors, matrices or batches of matrices, by the rules of NumPy's `@`.

    Shapes (..., n, k) @ (..., k, m) -> (..., n, m); batch dims broadcast; a vector is a row on the left, a column on
    the right.
    """
    for x, which in ((input, "input"), (other, "other")):
        if not isinstance(x, Tensor):
            if (made := foreign(input, other)) is not NotImplemented:
                return made
            fail(
                TypeError,
                f"matmul(): argument '{which}' (position {1 + (which == 'other')}) must be Tensor, not "
                f"{type(x).__name__}",
            )
    if out is not None:
        return _to_out("matmul", out, matmul(input, other), (input, other))
    ranks = input.spec.ndim, other.spec.ndim
    if ranks == (2, 2):
        return mm(input, other)
    if 0 in ranks:
        fail(RuntimeError, f"both arguments to matmul need to be at least 1D, but they are {ranks[0]}D and {ranks[1]}D")
    if ranks == (1, 1):
        return dot(input, other)
    if ranks == (2, 1):
        return mv(input, other)
    a = unsqueeze(input, 0) if ranks[0] == 1 else input
    b = unsqueeze(other, -1) if ranks[1] == 1 else other
    if a.spec.shape[-1] != b.spec.shape[-2]:
        rows = prod(a.spec.shape[:-1])
        if ranks[0] == 1 and ranks[1] == 2:
            fail(
                RuntimeError,
                f"size mismatch, got input ({b.spec.shape[1]}), mat ({b.spec.shape[1]}x{b.spec.shape[0]}), vec "
                f"({input.spec.shape[0]})",
                got=f"shapes {tuple(input.spec.shape)} and {tuple(other.spec.shape)}",
            )
        if ranks[1] <= 2:
            fail(
                RuntimeError,
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a.spec.shape[-1]} and "
                f"{b.spec.shape[-2]}x{b.spec.shape[-1]})",
                got=f"shapes {tuple(input.spec.shape)} and {tuple(other.spec.shape)}",
                mend="transpose one operand, or check the number of features of the layer",
            )
    made = matmul_batched(a, b)
    if ranks[0] == 1:
        made = squeeze_dims(made, (-2,))
    return squeeze_dims(made, (-1,)) if ranks[1] == 1 else made


matmul = public(matmul, _binary(matmul, mm.operator, _plan_matmul))
python_matmul = _binary(matmul, mm.operator, _plan_matmul, foreign=True)
python_matmul.__name__ = "__matmul__"


def _to_out(name: str, out: Tensor, made: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    from .copying import overwrite
    from .inplace import prepare_out

    prepare_out(name, out, made.spec, inputs)
    return overwrite(out, made)


INTO.append(_to_out)


def _bmm(input: Tensor, mat2: Tensor, out_dtype=None, *, out=None) -> Tensor:
    """The products of two batches of matrices: (b, n, k) @ (b, k, m) -> (b, n, m); `out_dtype` as of `mm`."""
    _check_batches(input, mat2)
    if out_dtype is None:
        made = bmm_core(input, mat2)
    else:
        from .scaled import wide_product

        made = wide_product(bmm_core, input, mat2, out_dtype)
    return made if out is None else _to_out("bmm", out, made, (input, mat2))


def _check_batches(batch1: Tensor, batch2: Tensor) -> None:
    for x, which in ((batch1, "batch1"), (batch2, "batch2")):
        if x.spec.ndim != 3:
            fail(RuntimeError, f"{which} must be a 3D tensor", got=f"shape {tuple(x.spec.shape)}")
    a, b = batch1.spec.shape, batch2.spec.shape
    if a[0] != b[0] or a[2] != b[1]:
        fail(
            RuntimeError,
            f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got: [{b[0]}, "
            f"{b[1]}].",
            got=f"shapes {tuple(a)} and {tuple(b)}",
        )


@function(tensors=("input", "mat2"))
def bmm_core(input, mat2):
    """`bmm` of checked operands."""
    return _product(input, mat2)


@bmm_core.gradient("input")
def _(grad, mat2):
    return bmm_core(grad, _mH(mat2))


@bmm_core.gradient("mat2")
def _(grad, input):
    return bmm_core(_mH(input), grad)


bmm_core.operator.node_class.__name__ = "BmmBackward0"
_bmm.__name__ = "bmm"
bmm = public(_bmm, _binary(_bmm, bmm_core.operator, lambda a, b: (bmm_core, _plan)))


@function(tensors=("input", "vec"), out=True)
def mv(input, vec):
    """A matrix times a vector: (n, m) @ (m) -> (n)."""
    if input.spec.ndim != 2 or vec.spec.ndim != 1:
        fail(
            RuntimeError, f"vector + matrix @ vector expected, got {vec.spec.ndim}, {input.spec.ndim}, {vec.spec.ndim}"
        )
    if input.spec.shape[1] != vec.spec.shape[0]:
        n, m = input.spec.shape
        fail(RuntimeError, f"size mismatch, got input ({n}), mat ({n}x{m}), vec ({vec.spec.shape[0]})")
    out = launch.empty(dense(input.spec.dtype, (input.spec.shape[0],), input.spec.device))
    _product(input, unsqueeze(vec, 1), unsqueeze(out, 1))
    return out


mv = public(mv, _binary(mv, mv.operator, lambda a, b: (mv, _plan_vectors)))


@mv.gradient("input")
def _(grad, vec):
    return outer(grad, _conj(vec))


@mv.gradient("vec")
def _(grad, input):
    return mv(_mH(input), grad)


def _conj(x: Tensor) -> Tensor:
    if x.spec.dtype.kind == "c":
        from .elementwise import conj_physical

        return conj_physical(x)
    return x


@function(tensors=("input", "tensor"), out=True)
def dot(input, tensor):
    """The sum of the products of two vectors."""
    if input.spec.ndim != 1 or tensor.spec.ndim != 1:
        fail(RuntimeError, f"1D tensors expected, but got {input.spec.ndim}D and {tensor.spec.ndim}D tensors")
    if input.spec.dtype is not tensor.spec.dtype:
        fail(
            RuntimeError,
            f"dot : expected both vectors to have same dtype, but found {dtype_title(input.spec.dtype)} and "
            f"{dtype_title(tensor.spec.dtype)}",
        )
    if input.spec.shape != tensor.spec.shape:
        a, b = input.spec.shape[0], tensor.spec.shape[0]
        fail(
            RuntimeError,
            f"inconsistent tensor size, expected tensor [{a}] and src [{b}] to have the same number of elements, but "
            f"got {a} and {b} elements respectively",
        )
    out = launch.empty(dense(input.spec.dtype, (), input.spec.device))
    _product(unsqueeze(input, 0), unsqueeze(tensor, 1), view_shape(out, (1, 1)))
    return out


dot = public(dot, _binary(dot, dot.operator, lambda a, b: (dot, _plan_vectors)))


@dot.gradient("input")
def _(grad, tensor):
    from .elementwise import mul

    return mul(grad, _conj(tensor))


@dot.gradient("tensor")
def _(grad, input):
    from .elementwise import mul

    return mul(grad, _conj(input))


def vdot(input: Tensor, other: Tensor, *, out=None) -> Tensor:
    """`dot` of the conjugate of the first vector with the second."""
    return dot(_conj(input), other, out=out) if out is not None else dot(_conj(input), other)


def outer(input: Tensor, vec2: Tensor, *, out=None) -> Tensor:
    """All products of the elements of two vectors: (n), (m) -> (n, m)."""
    from .elementwise import mul

    for x, which in ((input, "input"), (vec2, "vec2")):
        if x.spec.ndim != 1:
            fail(
                RuntimeError,
                f"outer: Expected 1-D argument {'self' if which == 'input' else which}, but got {x.spec.ndim}-D",
            )
    made = mul(unsqueeze(input, 1), vec2)
    return made if out is None else _to_out("outer", out, made, (input, vec2))


def _plan_outer(a: Spec, b: Spec) -> Plan:
    from .elementwise import mul

    column = spec(a.dtype, a.device, (*a.shape, 1), (*a.strides, 0))
    traced = mul.operator.plan((column, b), scalars={})
    plan = Plan()
    plan.function, plan.tail, plan.outs = traced.function, traced.tail, traced.outs
    plan.calls = ()
    return plan


outer = public(outer, _binary(outer, mm.operator, lambda a, b: (None, _plan_outer)))


def inner(input: Tensor, other: Tensor, *, out=None) -> Tensor:
    """The sums of products over the last dims of both."""
    if out is not None:
        return _to_out("inner", out, inner(input, other), (input, other))
    if input.spec.ndim == 0 or other.spec.ndim == 0:
        from .elementwise import mul

        return mul(input, other)
    if input.spec.shape[-1] != other.spec.shape[-1]:
        fail(
            RuntimeError,
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.spec.shape)} and "
            f"{list(other.spec.shape)}",
        )
    return tensordot(input, other, dims=([-1], [-1]))


@function(tensors=("input", "mat1", "mat2"))
def addmm_core(input, mat1, mat2, alpha, beta):
    """`beta * input + alpha * mat1 @ mat2` with `input` broadcast."""
    return _sum_and_product(input, mat1, mat2, alpha, beta)


def _sum_and_product(input: Tensor, a: Tensor, b: Tensor, alpha: Any, beta: Any) -> Tensor:
    """`beta * input + alpha * a @ b`, rounded once; nothing is recorded."""
    if beta == 0 or beta == 1:
        return _product(a, b, None, alpha, 0.0, input if beta else None)
    from .copying import copy_values

    out = dense(a.spec.dtype, (*a.spec.shape[:-1], b.spec.shape[-1]), a.spec.device)
    target = copy_values(launch.empty(out), expand_to(input, out.shape))
    return _product(a, b, target, alpha, beta)


def _scaled(x: Tensor, factor) -> Tensor:
    """`x` times a number, which is converted to what `x` is: of 0.6 there is nothing left among integers."""
    factor = {"b": bool, "u": int, "i": int}.get(x.spec.dtype.kind, type(factor))(factor)
    if factor == 1:
        return x
    from .elementwise import mul

    if factor.__class__ is float and x.spec.dtype.kind in "ui":
        factor = int(factor)  # whole numbers stay whole
    return mul(x, factor)


@addmm_core.gradient("input")
def _addmm_input(grad, input_spec, beta):
    return _scaled(sum_to(grad, input_spec), beta.conjugate())


@addmm_core.gradient("mat1")
def _(grad, mat2, alpha):
    return _scaled(_by_turned(grad, mat2, False, True), alpha.conjugate())


@addmm_core.gradient("mat2")
def _addmm_mat2(grad, mat1, alpha):
    return _scaled(_by_turned(mat1, grad, True, False), alpha.conjugate())


@addmm_core.gradient("input", "mat2")
def _(grad, input_spec, mat1, alpha, beta):
    shared = launch.offered("bind_product_and_sums", grad.spec.device)
    if shared is not None and input_spec.ndim == 1 and input_spec.shape[0] == grad.spec.shape[1]:
        if (both := _with_sums(shared, mat1, grad, True, False, "b")) is not None:
            return _scaled(both[1], beta.conjugate()), _scaled(both[0], alpha.conjugate())
    return _addmm_input(grad, input_spec, beta), _addmm_mat2(grad, mat1, alpha)


addmm_core.operator.node_class.__name__ = "AddmmBackward0"


_KNOWN_ADDMM = Repeats(addmm_core.operator, 3, others=2)


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, out_dtype=None, *, beta: float = 1, alpha: float = 1, out=None
) -> Tensor:
    """`beta * input + alpha * mat1 @ mat2`; `input` broadcasts to the result; `out_dtype` as of `mm`."""
    if out_dtype is not None:
        made = _plus(cast(input, out_dtype), mm(mat1, mat2, out_dtype), beta, alpha)
        return made if out is None else _to_out("addmm", out, made, (input, mat1, mat2))
    if out is None:
        if (made := _KNOWN_ADDMM.run(input, mat1, mat2, alpha, beta)) is not None:
            return made
        if GUARD.active and (made := _KNOWN_ADDMM.in_mode()(input, mat1, mat2, alpha, beta)) is not None:
            return made
    for x, which in ((mat1, "mat1"), (mat2, "mat2")):
        if x.spec.ndim != 2:
            fail(RuntimeError, f"{which} must be a matrix, got {x.spec.ndim}-D tensor")
    if mat1.spec.shape[1] != mat2.spec.shape[0]:
        _mismatch(mat1.spec, mat2.spec)
    for x in (input, mat2):
        if x.spec.dtype is not mat1.spec.dtype:
            fail(
                RuntimeError,
                f"self and mat2 must have the same dtype, but got {dtype_title(input.spec.dtype)} and "
                f"{dtype_title(mat2.spec.dtype)}",
            )
    made = addmm_core(input, mat1, mat2, alpha, beta)
    if out is not None:
        return _to_out("addmm", out, made, (input, mat1, mat2))
    if beta == 1 and isinstance(alpha, int):
        make = lambda c, a, b, alpha, _: repeated(_plan(a, b, None, alpha, 0.0, c), (1, 2, 0))  # noqa: E731
        _KNOWN_ADDMM.repeat((input, mat1, mat2, alpha, beta), 3, made, make)
    return made


def _plus(input: Tensor, made: Tensor, beta, alpha) -> Tensor:
    from .elementwise import add

    made = _scaled(made, alpha)
    return made if beta == 0 else add(made, _scaled(input, beta))


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta=1, alpha=1, out=None) -> Tensor:
    """`beta * input + alpha * mat @ vec`."""
    made = _plus(input, mv(mat, vec), beta, alpha)
    return made if out is None else _to_out("addmv", out, made, (input, mat, vec))


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta=1, alpha=1, out=None) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`."""
    made = outer(vec1, vec2)
    if made.spec.dtype.kind == "b" and input.spec.dtype.kind == "b":  # factors are bools too: add is "or"
        made = made if alpha else made ^ made
        alpha, beta = 1, int(bool(beta))
    made = _scaled(made, alpha)
    if beta != 0:
        from .elementwise import add

        made = add(_scaled(input, beta), made)
    return made if out is None else _to_out("addr", out, made, (input, vec1, vec2))


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, out_dtype=None, *, beta=1, alpha=1, out=None) -> Tensor:
    """`beta * input + alpha * batch1 @ batch2` for batches of matrices; `out_dtype` as of `mm`."""
    _check_batches(batch1, batch2)
    if out_dtype is not None:
        made = _plus(cast(input, out_dtype), bmm(batch1, batch2, out_dtype), beta, alpha)
        return made if out is None else _to_out("baddbmm", out, made, (input, batch1, batch2))
    kinds = [x.spec.dtype for x in (input, batch1, batch2)]
    if kinds[0] is not kinds[1] or kinds[0] is not kinds[2]:
        fail(
            RuntimeError,
            "Input dtypes must be the same, got: input {}, batch1: {}, batch2: {}".format(*map(_c_name, kinds)),
            mend="convert them to one dtype",
        )
    whole = (*batch1.spec.shape[:2], batch2.spec.shape[2])
    if kinds[0].kind in "fc" and broadcast(input.spec.shape, whole) == whole:
        made = baddbmm_core(input, batch1, batch2, alpha, beta)
    else:
        made = _plus(input, bmm_core(batch1, batch2), beta, alpha)
    return made if out is None else _to_out("baddbmm", out, made, (input, batch1, batch2))


@function(tensors=("input", "batch1", "batch2"))
def baddbmm_core(input, batch1, batch2, alpha, beta):
    """`beta * input + alpha * batch1 @ batch2` of floats, with `input` broadcast."""
    return _sum_and_product(input, batch1, batch2, alpha, beta)


@baddbmm_core.gradient("input")
def _(grad, input_spec, beta):
    return _scaled(sum_to(grad, input_spec), beta.conjugate())


@baddbmm_core.gradient("batch1")
def _(grad, batch2, alpha):
    return _scaled(matmul(grad, _mH(batch2)), alpha.conjugate())


@baddbmm_core.gradient("batch2")
def _(grad, batch1, alpha):
    return _scaled(matmul(_mH(batch1), grad), alpha.conjugate())


baddbmm_core.operator.node_class.__name__ = "BaddbmmBackward0"


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta=1, alpha=1, out=None) -> Tensor:
    """`beta * input + alpha * sum(batch1 @ batch2)`, summed over the batch."""
    made = _plus(input, sum_over(bmm(batch1, batch2), 0, dtype=batch1.spec.dtype), beta, alpha)
    return made if out is None else _to_out("addbmm", out, made, (input, batch1, batch2))


@function(tensors=("input", "weight", "bias"), out=True)
def linear(input, weight, bias=None):
    """`input @ weight.T + bias`: (..., in), (out, in), (out) -> (..., out)."""
    if weight.spec.ndim == 1:
        made = _product(unsqueeze(input, -2) if input.spec.ndim == 1 else input, unsqueeze(weight, 1))
        made = squeeze_dims(made, (-1,)) if input.spec.ndim > 1 else squeeze_dims(made, (-1, -2))
        if bias is not None:
            from .elementwise import add

            made = add(made, bias)
        return made
    rows = input if input.spec.ndim > 1 else unsqueeze(input, 0)
    if rows.spec.shape[-1] != weight.spec.shape[1] or rows.spec.dtype is not weight.spec.dtype:
        _bad_linear(rows.spec, weight.spec)
    if bias is None or bias.spec.ndim <= 1 and bias.spec.dtype is rows.spec.dtype:
        made = _product(rows, weight, bias=bias, turns=(False, True))
    else:
        from .elementwise import add

        made = add(_product(rows, weight, turns=(False, True)), bias)
    return made if rows is input else squeeze_dims(made, (0,))


def _bad_linear(x: Spec, w: Spec):
    if x.dtype is not w.dtype:
        fail(
            RuntimeError,
            f"mat1 and mat2 must have the same dtype, but got {dtype_title(x.dtype)} and {dtype_title(w.dtype)}",
            mend="convert the input, e.g. x.float(), or the layer, e.g. layer.double()",
        )
    rows = prod(x.shape[:-1])
    fail(
        RuntimeError,
        f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {w.shape[1]}x{w.shape[0]})",
        expected=f"an input whose last dim is {w.shape[1]}, the number of in_features",
        got=f"shape {tuple(x.shape)}",
        mend="flatten or reshape the input, or make the layer for that number of features",
    )


@linear.gradient("input")
def _(grad, weight, input_spec):
    if weight.spec.ndim == 1:
        from .elementwise import mul

        return mul(unsqueeze(grad, -1), _conj(weight))
    return matmul(grad, _conj(weight))


@linear.gradient("weight")
def _linear_weight(grad, input, weight_spec):
    if weight_spec.ndim == 1:
        from .elementwise import mul

        return sum_to(mul(unsqueeze(grad, -1), _conj(input)), weight_spec)
    grad = _rows(grad)
    if grad.spec.dtype.kind == "c":
        return mm(transpose(grad, 0, 1), _rows(_conj(input)))
    return _by_turned(grad, _rows(input), True, False)


@linear.gradient("bias")
def _linear_bias(grad, bias_spec):
    if bias_spec is None:
        return None
    return sum_to(_rows(grad) if grad.spec.ndim > 1 and bias_spec.ndim == 1 else grad, bias_spec)


@linear.gradient("weight", "bias")
def _(grad, input, weight_spec, bias_spec):
    shared = launch.offered("bind_product_and_sums", grad.spec.device)
    if shared is not None and bias_spec.ndim == 1 and bias_spec.shape[0] == weight_spec.shape[0]:
        grad, input = _rows(grad), _rows(input)
        if (both := _with_sums(shared, grad, input, True, False, "a")) is not None:
            return both
    return _linear_weight(grad, input, weight_spec), _linear_bias(grad, bias_spec)


def _rows(x: Tensor) -> Tensor:
    """All leading dims as one."""
    if x.spec.ndim == 2:
        return x
    tall = _tall(x.spec)
    return view_shape(x, tall) if x.spec.contiguous else reshape(x, tall)


@lru_cache(4096)
def _tall(s: Spec) -> Size:
    return Size((prod(s.shape[:-1]), s.shape[-1]))


linear.operator.node_class.__name__ = "AddmmBackward0"


def _plan_linear(x: Spec, weight: Spec, bias: Spec | None) -> FunctionPlan | None:
    shape = (*x.shape[:-1], weight.shape[0])
    if x.ndim == 1:
        x = spec(x.dtype, x.device, (1, *x.shape), (0, *x.strides))
    plan = _plan(x, _turned(weight, True), None, 1.0, 0.0, bias, shape)
    return repeated(plan, (0, 1) if bias is None else (0, 1, 2))


def _linear() -> Callable:
    """`linear` with known calls repeated in machine code."""
    known, slow = Repeats(linear.operator, 3), linear

    def entry(input=MISSING, weight=MISSING, bias=None, **kwargs):
        if kwargs:
            given = [x for x in (input, weight) if x is not MISSING]
            return slow(*given, **kwargs) if bias is None else slow(*given, bias, **kwargs)
        if (out := known.run(input, weight, bias)) is not None:
            return out
        if GUARD.active and (out := known.in_mode()(input, weight, bias)) is not None:
            return out
        out = slow(*[x for x in (input, weight) if x is not MISSING], bias)
        plain = isinstance(input, Tensor) and isinstance(weight, Tensor) and weight.spec.ndim == 2
        if plain and (bias is None or (isinstance(bias, Tensor) and bias.spec.ndim <= 1)):
            known.repeat((input, weight, bias), 3, out, _plan_linear)
        return out

    return entry


linear = public(linear, _linear())


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input1 @ weight[o] @ input2` for each output o: (..., in1), (..., in2), (out, in1, in2) -> (..., out)."""
    made = einsum("...i,oij,...j->...o", input1, weight, input2)
    if bias is None:
        return made
    from .elementwise import add

    return add(made, bias)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out=None) -> Tensor:
    """The sum of products over several dims of both tensors."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            fail(RuntimeError, f"tensordot expects dims >= 0, but got dims={dims}")
        left, right = list(range(a.spec.ndim - dims, a.spec.ndim)), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    left, right = [d % a.spec.ndim for d in left], [d % b.spec.ndim for d in right]
    if len(left) != len(right):
        fail(RuntimeError, "both dimension lists should have same length")
    for x, y in zip(left, right):
        if 1 in (a.spec.shape[x], b.spec.shape[y]):  # a size of 1 broadcasts: the other is summed
            a = a if a.spec.shape[x] == 1 else sum_over(a, x, True, dtype=a.spec.dtype)
            b = b if b.spec.shape[y] == 1 else sum_over(b, y, True, dtype=b.spec.dtype)
        elif a.spec.shape[x] != b.spec.shape[y]:
            fail(
                RuntimeError,
                f"contracted dimensions need to match, but first has size {a.spec.shape[x]} in dim {x} and second has "
                f"size {b.spec.shape[y]} in dim {y}",
            )
    keep_a = [d for d in range(a.spec.ndim) if d not in left]
    keep_b = [d for d in range(b.spec.ndim) if d not in right]
    shape = [a.spec.shape[d] for d in keep_a] + [b.spec.shape[d] for d in keep_b]
    k = prod(a.spec.shape[d] for d in left)
    x = reshape(permute(a, tuple(keep_a + left)), (prod(a.spec.shape[d] for d in keep_a), k))
    y = reshape(permute(b, tuple(right + keep_b)), (k, prod(b.spec.shape[d] for d in keep_b)))
    made = reshape(mm(x, y), tuple(shape))
    return made if out is None else _to_out("tensordot", out, made, (a, b))


def chain_matmul(*matrices: Tensor, out=None) -> Tensor:
    """The product of several matrices, in the cheapest order."""
    if out is not None:
        return _to_out("chain_matmul", out, chain_matmul(*matrices), matrices)
    sizes = [matrices[0].spec.shape[0], *(m.spec.shape[1] for m in matrices)]
    n = len(matrices)
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i][j], cut[i][j] = min(
                (cost[i][s] + cost[s + 1][j] + sizes[i] * sizes[s + 1] * sizes[j + 1], s) for s in range(i, j)
            )

    def build(i: int, j: int) -> Tensor:
        return matrices[i] if i == j else mm(build(i, cut[i][j]), build(cut[i][j] + 1, j))

    return build(0, n - 1)


# --- einsum -------------------------------------------------------------------------------------------------------


def einsum(equation, *operands) -> Tensor:
    """Sums of products named by index letters, as `numpy.einsum`: `einsum("bij,bjk->bik", a, b)`.

    Examples
    --------
    >>> import facula as torch
    >>> torch.einsum("ii->i", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    if not isinstance(equation, str):  # einsum(a, [0, 1], b, [1, 2], [0, 2])
        parts = [equation, *operands]
        tensors = parts[0 : len(parts) - len(parts) % 2 : 2]
        subs = parts[1::2]
        word = ",".join(_letters(s) for s in subs[: len(tensors)])
        equation = word + ("->" + _letters(parts[-1]) if len(parts) % 2 else "")
        operands = tuple(tensors)
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if len(operands) == 2 and not (GUARD.active and LOCAL.special):
        return _of_two(equation, *operands)
    return _einsum(equation.replace(" ", ""), operands)


_PROGRAMS: dict[tuple, Callable | None] = {}
MANY_SUMS, SHORT_SUM = 64, 4096  # so many sums of so few terms without rows or columns are no product


def _of_two(equation: str, a: Tensor, b: Tensor) -> Tensor:
    """`einsum` of two operands: one product where their dims allow, or one multiplication."""
    key = equation, a.spec, b.spec
    try:
        program = _PROGRAMS[key]
    except KeyError:
        made = _einsum(equation.replace(" ", ""), (a, b))  # also checks everything
        if len(_PROGRAMS) > 4096:
            _PROGRAMS.clear()
        _PROGRAMS[key] = _program(equation.replace(" ", ""), a.spec, b.spec)
        return made
    return _einsum(equation.replace(" ", ""), (a, b)) if program is None else program(a, b)


def _program(equation: str, a: Spec, b: Spec) -> Callable | None:
    """The function of two operands that does what an equation says; None where that takes several steps."""
    left, arrow, result = equation.partition("->")
    na, nb = left.split(",")
    if not arrow:
        result = "".join(sorted(c for c in set(na + nb) if (na + nb).count(c) == 1))
    plain = "." not in equation and len(set(na)) == len(na) == a.ndim and len(set(nb)) == len(nb) == b.ndim
    sizes = {**dict(zip(na, a.shape)), **dict(zip(nb, b.shape))}
    same = all(sizes[c] == n for c, n in (*zip(na, a.shape), *zip(nb, b.shape)))
    alone = (set(na) ^ set(nb)) - set(result)  # letters that one operand is summed over by itself
    if not plain or not same or alone or a.dtype is not b.dtype:
        return None
    if a.dtype.kind == "b" or not all(sizes.values()):
        return None
    summed = [c for c in na if c in nb and c not in result]
    many = prod(sizes[c] for c in result) >= MANY_SUMS and prod(sizes[c] for c in summed) <= SHORT_SUM
    if summed and not (set(na) == set(nb) and many):
        if _contraction(na, nb, result, a, b) is None:
            return None
        labels = (na, nb, result)
        return lambda x, y: contract(x, y, labels)
    # No sum, or nothing but sums and a batch: a multiplication of views.
    from .elementwise import mul

    order = [*result, *summed]
    ways = []
    for names in (na, nb):
        moves = tuple(names.index(c) for c in order if c in names)
        ways.append((moves, [d for d, c in enumerate(order) if c not in names]))
    last = list(range(len(result), len(order)))

    def program(x: Tensor, y: Tensor) -> Tensor:
        views = []
        for z, (moves, gaps) in zip((x, y), ways):
            if moves != tuple(range(len(moves))):
                z = permute(z, moves)
            for d in gaps:
                z = unsqueeze(z, d)
            views.append(z)
        made = mul(*views)
        return sum_over(made, last, dtype=made.spec.dtype) if last else made

    return program


def _contraction(na: str, nb: str, result: str, a: Spec, b: Spec) -> Plan | None:
    """The plan of one product without copies; None where the dims do not lie so."""
    one_device(a, b)
    sizes = {**dict(zip(na, a.shape)), **dict(zip(nb, b.shape))}
    out = dense(a.dtype, tuple(sizes[c] for c in result), a.device)
    steps = {name: dict(zip(names, s.strides)) for name, names, s in (("c", result, out), ("a", na, a), ("b", nb, b))}

    def group(letters: Sequence[str]) -> list[tuple[int, dict[str, int]]]:
        """Dims that are left after merging: their sizes, and their strides in C, A and B."""
        lists = [[steps[name].get(c, 0) for c in letters] for name in "cab"]
        merged, strides = _merge_batch([sizes[c] for c in letters], *lists)
        return [(n, dict(zip("cab", each))) for n, *each in zip(merged, *strides)]

    batch = group([c for c in result if c in na and c in nb])
    rows, cols = group([c for c in result if c not in nb]), group([c for c in result if c not in na])
    k = group([c for c in na if c in nb and c not in result])
    batch += rows[:-1] + cols[:-1]  # what does not merge is done one after the other
    if len(batch) > 2 or len(k) > 1:
        return None
    none = (1, {"c": 0, "a": 0, "b": 0})
    (m, row), (n, col), (depth, along) = (x[-1] if x else none for x in (rows, cols, k))
    (outer_size, outer_steps), (inner_size, inner_steps) = ([none] * 2 + batch)[-2:]
    fields: dict[str, Any] = {"m": m, "n": n, "k": depth, "alpha": 1.0, "beta": 0.0, "outer": outer_size}
    fields |= {"batch": inner_size, "c_row": row["c"], "c_col": col["c"] or 1, "a_row": row["a"], "a_k": along["a"]}
    fields |= {"b_k": along["b"], "b_col": col["b"]}
    for name in "cab":
        fields[f"{name}_batch"], fields[f"{name}_outer"] = inner_steps[name], outer_steps[name]
    plan = Plan()
    plan.outs = (out,)
    bound = launch.native("bind_product", a.device)(a.dtype, **fields)
    plan.function, plan.tail, plan.calls = bound.function, (0, *bound.tail), (bound, [(0, 0, 0, 0)])
    return plan


@function(tensors=("a", "b"))
def contract(a, b, labels):
    """The product that `einsum` of two operands is; `labels` are the letters of both and of the result."""
    na, nb, result = labels
    make = lambda: _contraction(na, nb, result, a.spec, b.spec)  # noqa: E731
    plan = remember((contract, a.spec, b.spec, labels), make)  # pyright: ignore[reportArgumentType] - `_program` tried
    out = launch.empty(plan.outs[0])
    _run(plan, out.ptr, a.ptr, b.ptr)
    return out


@contract.gradient("a")
def _(grad, b, labels):
    na, nb, result = labels
    return einsum(f"{result},{nb}->{na}", grad, _conj(b))


@contract.gradient("b")
def _(grad, a, labels):
    na, nb, result = labels
    return einsum(f"{na},{result}->{nb}", _conj(a), grad)


contract.operator.node_class.__name__ = "BmmBackward0"


def _letters(subs) -> str:
    return "".join("..." if s is Ellipsis else (chr(65 + s) if s < 26 else chr(71 + s)) for s in subs)


def _einsum(equation: str, operands: Sequence[Tensor]) -> Tensor:
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        more = "fewer" if len(terms) > len(operands) else "more"
        fail(RuntimeError, f"einsum(): {more} operands were provided than specified in the equation")
    names: list[list[str]] = []
    sizes: dict[str, int] = {}
    widest = 0
    for term, x in zip(terms, operands):
        head, dots, tail = term.partition("...")
        for c in head + tail:
            if not c.isalpha():
                fail(
                    RuntimeError,
                    f"einsum(): invalid subscript given at index {equation.index(c)} in the equation string, "
                    "subscripts must be in [a-zA-Z]",
                )
        extra = x.spec.ndim - len(head) - len(tail)
        if extra < 0 or (extra and not dots):
            fail(
                RuntimeError,
                f"einsum(): the number of subscripts in the equation ({len(head) + len(tail)}) does not match the "
                f"number of dimensions ({x.spec.ndim}) for operand "
                f"{len(names)}{' and no ellipsis was given' if not dots else ''}",
            )
        widest = max(widest, extra)
        names.append([*head, *(f"...{extra - i}" for i in range(extra)), *tail])
        for c, n in zip(names[-1], x.spec.shape):
            if sizes.get(c, 1) != 1 and n not in (1, sizes[c]):
                fail(
                    RuntimeError,
                    f"einsum(): subscript {c} has size {n} for operand {len(names) - 1} which does not broadcast with "
                    f"previously seen size {sizes[c]}",
                )
            sizes[c] = max(sizes.get(c, 1), n) if n != 0 and sizes.get(c, 1) != 0 else 0
    dotted = [f"...{widest - i}" for i in range(widest)]
    if arrow:
        head, dots, tail = right.partition("...")
        result = [*head, *(dotted if dots else ()), *tail]
        for c in head + tail:
            if c not in sizes:
                fail(
                    RuntimeError,
                    f"einsum(): output subscript {c} does not appear in the equation for any input operand",
                )
            if (head + tail).count(c) > 1:
                fail(RuntimeError, f"einsum(): output subscript {c} appears more than once in the output")
    else:
        seen = [c for n in names for c in n]
        result = dotted + sorted(c for c in set(seen) if not c.startswith(".") and seen.count(c) == 1)
    terms_: list[tuple[list[str], Tensor]] = [_diagonals(n, x) for n, x in zip(names, operands)]
    while len(terms_) > 1:
        (na, a), (nb, b), *rest = terms_
        later = {c for n, _ in rest for c in n} | set(result)
        terms_ = [_pair(na, a, nb, b, later), *rest]
    labels, x = terms_[0]
    gone = [d for d, c in enumerate(labels) if c not in result]
    if gone:
        x = sum_over(x, gone)
        labels = [c for c in labels if c in result]
    for c in result:
        if c not in labels:
            x, labels = unsqueeze(x, 0), [c, *labels]
    order = tuple(labels.index(c) for c in result)
    return x if order == tuple(range(len(order))) and len(operands) > 1 else permute(x, order)


def _diagonals(labels: list[str], x: Tensor) -> tuple[list[str], Tensor]:
    """Repeated letters of one operand become its diagonal."""
    from .view import diagonal

    for c in dict.fromkeys(labels):
        while labels.count(c) > 1:
            i = labels.index(c)
            j = labels.index(c, i + 1)
            x = diagonal(x, 0, i, j)
            labels = [label for d, label in enumerate(labels) if d not in (i, j)] + [c]
    return labels, x


def _pair(na: list[str], a: Tensor, nb: list[str], b: Tensor, later: set[str]) -> tuple[list[str], Tensor]:
    """Two operands into one: letters that nobody needs later are summed, by a batched matrix product."""
    for labels, x, other, which in ((na, a, nb, 0), (nb, b, na, 1)):
        gone = [d for d, c in enumerate(labels) if c not in other and c not in later]
        if gone:
            x = sum_over(x, gone)  # whole numbers become int64, as sums do
            labels = [c for d, c in enumerate(labels) if d not in gone]
        if which:
            nb, b = labels, x
        else:
            na, a = labels, x
    both = [c for c in na if c in nb]
    shape_a, shape_b = dict(zip(na, a.spec.shape)), dict(zip(nb, b.spec.shape))
    for c in list(both):  # a size of 1 against a larger one is no contraction: it broadcasts
        if shape_a[c] != shape_b[c] and c not in later:
            if shape_a[c] == 1:
                a, na = squeeze_dims(a, (na.index(c),)), [x for x in na if x != c]
                b = sum_over(b, nb.index(c))
                nb = [x for x in nb if x != c]
            else:
                b, nb = squeeze_dims(b, (nb.index(c),)), [x for x in nb if x != c]
                a = sum_over(a, na.index(c))
                na = [x for x in na if x != c]
            both.remove(c)
    batch = [c for c in both if c in later]
    summed = [c for c in both if c not in later]
    only_a = [c for c in na if c not in nb]
    only_b = [c for c in nb if c not in na]
    size = {**shape_b, **{c: max(n, shape_b.get(c, 1)) if n and shape_b.get(c, 1) else 0 for c, n in shape_a.items()}}
    a = permute(a, tuple(na.index(c) for c in batch + only_a + summed))
    b = permute(b, tuple(nb.index(c) for c in batch + summed + only_b))
    lead_a, lead_b = a.spec.shape[: len(batch)], b.spec.shape[: len(batch)]
    m, n, k = (prod(size[c] for c in group) for group in (only_a, only_b, summed))
    if a.spec.dtype is not b.spec.dtype:
        wide = dt.promote_types(a.spec.dtype, b.spec.dtype)
        a, b = cast(a, wide), cast(b, wide)
    x = reshape(a, (*lead_a, m, k))
    y = reshape(b, (*lead_b, k, n))
    made = matmul(x, y) if batch else mm(x, y)
    return batch + only_a + only_b, reshape(made, tuple(size[c] for c in batch + only_a + only_b))


# --- distances and cross products ---------------------------------------------------------------------------------


@takes
def cross(input: Tensor, other: Tensor, dim: int | None = None, *, out=None) -> Tensor:
    """The cross products of vectors of three along `dim` (the first dim of size 3 when None)."""
    from .elementwise import mul, sub
    from .joining import roll

    rank = max(input.spec.ndim, other.spec.ndim)
    shape = broadcast(input.spec.shape, other.spec.shape)
    if dim is None:
        dim = next((d for d, n in enumerate(shape) if n == 3), None)
        if dim is None:
            fail(RuntimeError, "no dimension of size 3 in input")
    d = dim % rank if -rank <= dim < rank else dim
    if not 0 <= d < rank or shape[d] != 3 or input.spec.shape[d - rank] != 3 or other.spec.shape[d - rank] != 3:
        fail(
            RuntimeError,
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.spec.shape[d - rank]} and "
            f"{other.spec.shape[d - rank]}",
        )
    if input.spec.dtype.kind == "b" and other.spec.dtype.kind == "b":
        fail(NotImplementedError, "\"cross\" not implemented for 'Bool'")
    a, b = expand_to(input, shape), expand_to(other, shape)
    made = sub(mul(roll(a, -1, d), roll(b, -2, d)), mul(roll(a, -2, d), roll(b, -1, d)))
    return made if out is None else _to_out("cross", out, made, (input, other))


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm distances between all rows of two (batches of) matrices: (..., n, k), (..., m, k) -> (..., n, m)."""
    from .elementwise import sub
    from .reduction import vector_norm

    for x, which in ((x1, "X1"), (x2, "X2")):
        if x.spec.ndim < 2:
            fail(RuntimeError, f"cdist only supports at least 2D tensors, {which} got: {x.spec.ndim}D")
    if x1.spec.shape[-1] != x2.spec.shape[-1]:
        fail(
            RuntimeError,
            f"X1 and X2 must have the same number of columns. X1: {x1.spec.shape[-1]} X2: {x2.spec.shape[-1]}",
        )
    for x, which in ((x1, "X1"), (x2, "X2")):
        if x.spec.dtype not in (dt.float32, dt.float64):
            fail(
                RuntimeError if x.spec.dtype.kind != "f" else NotImplementedError,
                f"cdist only supports floating-point dtypes, {which} got: {dtype_title(x.spec.dtype)}"
                if x.spec.dtype.kind != "f"
                else f"\"cdist\" not implemented for '{dtype_title(x.spec.dtype)}'",
            )
    if p < 0:
        fail(RuntimeError, "cdist only supports non-negative p values")
    return vector_norm(sub(unsqueeze(x1, -2), unsqueeze(x2, -3)), p, -1)
