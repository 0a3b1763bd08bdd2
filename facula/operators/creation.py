"""New tensors: from Python data and NumPy arrays, filled with a number, counted, like another."""

import ctypes
import math
import struct
from typing import Any

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.device import CPU, DEVICE, fixed, of_places, place
from facula.core.device import device as Device
from facula.core.dtype import dtype as DType
from facula.core.layout import layout as Layout
from facula.core.layout import sparse_coo, strided
from facula.core.modes import GUARD
from facula.core.shape import Size
from facula.core.spec import Spec, dense, spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.core.wrapped import WRAPPED, memory_of
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Kernel, Param, Result

from . import dlpack, pinning
from .copying import clone, copy_values, like_layout, overwrite
from .declare import NEW_LIKE, OF_ARRAY, OPERATORS, ZEROS, unreadable
from .declare.repeats import FunctionPlan, Repeats
from .promotion import DEFAULT, NUMBERS, number_dtype, of_defaults, opmath
from .view import ints

__all__ = [
    "arange", "as_tensor", "asarray", "bartlett_window", "blackman_window", "empty", "empty_like", "empty_strided",
    "empty_permuted", "eye", "fill_values", "from_dlpack", "from_file", "from_numpy", "frombuffer", "full", "full_like",
    "hamming_window", "hann_window", "kaiser_window", "largest", "linspace", "logspace", "number", "numpy_view", "ones",
    "ones_like", "only_strided", "range", "saturated", "scalar_tensor", "tensor", "to_dlpack", "tril_indices",
    "triu_indices", "zeros", "zeros_like", "zeros_of",
]  # fmt: skip


def record_of(s: Spec, storage: Storage, ptr: int) -> Tensor:
    """A tensor record on given memory."""
    out = object.__new__(Tensor)
    out.spec, out.storage, out.ptr = s, storage, ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out


_SPECS: dict[tuple, Spec] = of_places({})


def _spec_of(size: tuple, dtype, device, name: str) -> Spec:
    """The dense spec that creation functions ask for; `size` as the user wrote it."""
    kind = dtype or DEFAULT.float
    key = (size, kind, device, DEVICE[0])
    try:
        return _SPECS[key]
    except (KeyError, TypeError):
        found = dense(kind, _sizes(size, name), place(device))
    try:
        if len(_SPECS) > 4096:
            _SPECS.clear()
        if fixed(device, DEVICE[0]):
            _SPECS[key] = found
    except TypeError:
        pass  # a list of sizes
    return found


def _finish(out: Tensor, requires_grad: bool, like: Tensor | None = None) -> Tensor:
    if like is not None and GUARD.active and like.spec.kind is not None:
        out = NEW_LIKE[0](like, out)
    if requires_grad:
        if out.spec.dtype.kind not in "fc":
            fail(
                RuntimeError,
                "Only Tensors of floating point and complex dtype can require gradients",
                got=str(out.spec.dtype),
            )
        out.needs_grad = True
    return out


def _sizes(args: tuple, name: str) -> tuple[int, ...]:
    size = ints(args)
    for n in size:
        if n < 0 and name == "zeros":
            fail(RuntimeError, "zeros: Dimension size must be non-negative.", got=f"size {list(size)}")
        if n < 0:
            fail(RuntimeError, f"Trying to create tensor with negative dimension {n}: {list(size)}")
    return size


# --- layouts --------------------------------------------------------------------------------------------------------


def only_strided(name: str, layout: Any) -> None:
    """Refuse, as PyTorch does, the layouts in which operator `name` makes no tensors."""
    if layout is strided:
        return
    if not isinstance(layout, Layout):
        fail(TypeError, f"{name}(): argument 'layout' must be torch.layout, not {type(layout).__name__}")
    if layout is not sparse_coo:
        fail(NotImplementedError, f"{name}: the layout {layout!r} is not implemented; facula's sparse tensors are COO")
    if name in ("full", "ones"):
        fail(RuntimeError, "full(...) is not implemented for sparse layout")
    if name.endswith("_window"):
        fail(RuntimeError, f"{name} is not implemented for sparse types, got: {layout!r}")
    fail(
        NotImplementedError,
        f"Could not run 'aten::{name}' with arguments from the 'SparseCPU' backend.",
        mend="make the tensor dense, then call to_sparse() on it",
    )


def _no_places(name: str, layout: Any, size: tuple, dtype, device, requires_grad: bool) -> Tensor:
    """A sparse tensor in which no place has an element: zeros."""
    from .sparse import sparse_coo_tensor  # stands on this file

    if layout is not sparse_coo:
        only_strided(name, layout)
    return sparse_coo_tensor(size, dtype=dtype, device=device, requires_grad=requires_grad)


# --- filled with a number -----------------------------------------------------------------------------------------


_FILLS: dict[Spec, launch.Bound] = {}
_FILL_KERNELS: dict[DType, Kernel] = {}


def number(value: Any, kind: DType) -> bool | int | float | complex:
    """A Python number converted to the kind of a dtype; RuntimeError where it does not fit."""
    if isinstance(value, Tensor):
        value = memory_of(value).item()
    elif not isinstance(value, NUMBERS):
        if hasattr(value, "item"):
            value = value.item()
        else:
            fail(TypeError, f"a number was expected, got {type(value).__name__}", got=repr(value))
    if kind.kind == "b":
        return bool(value)
    if kind.kind == "c":
        return complex(value)
    if isinstance(value, complex):
        if value.imag:
            fail(
                RuntimeError,
                f"value cannot be converted to type {dtype_c_name(kind)} without overflow",
                got=repr(value),
            )
        value = value.real
    if kind.kind == "f":
        value = float(value)
        if not -(top := largest(kind)) <= value <= top and math.isfinite(value):
            fail(RuntimeError, f"value cannot be converted to type {dtype_c_name(kind)} without overflow", got=value)
        return value
    if isinstance(value, float) and not math.isfinite(value):
        fail(RuntimeError, f"value cannot be converted to type {dtype_c_name(kind)} without overflow", got=repr(value))
    value = int(value)
    bits = kind.itemsize * 8
    low, high = (0, 2**bits) if kind.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not low <= value < high:
        if kind.kind == "u" and -high <= value < 0:
            return value + high
        fail(RuntimeError, f"value cannot be converted to type {dtype_c_name(kind)} without overflow", got=repr(value))
    return value


def saturated(value: Any, kind: DType) -> Any:
    """A Python number, infinite where it is beyond a dtype of 16 or 8 bits: there, what is assigned is not refused."""
    beyond = kind.kind == "f" and kind.itemsize < 4 and isinstance(value, (int, float)) and abs(value) > largest(kind)
    return math.copysign(math.inf, value) if beyond else value


_LARGEST: dict[DType, float] = {}


def largest(kind: DType) -> float:
    """The largest number of a dtype of floats."""
    found = _LARGEST.get(kind)
    if found is None:
        from .limits import finfo

        found = _LARGEST[kind] = float(finfo(kind).max)
    return found


_SMALL = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")


def dtype_c_name(kind: DType) -> str:
    """The C name that PyTorch's messages use for a dtype."""
    return {
        "uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t", "int8": "int8_t",
        "int16": "int16_t", "int32": "int", "int64": "int64_t", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
        "float32": "float", "float64": "double", "complex32": "c10::complex<c10::Half>",
        "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
        **{name: f"c10::{name.capitalize()}" for name in _SMALL},
    }.get(kind.name, kind.name)  # fmt: skip


def _fill_kernel(kind: DType) -> Kernel:
    found = _FILL_KERNELS.get(kind)
    if found is None:
        part = kind.to_real() if kind.kind == "c" else kind
        part = opmath(part)
        if kind.kind == "c":
            params: tuple[Param, ...] = (Param("real", part), Param("imag", part))
            value = ir.complex(ir.param("real", part), ir.param("imag", part))
        else:
            params = (Param("value", part),)
            value = ir.param("value", part)
        found = _FILL_KERNELS[kind] = Kernel("fill", (), (Result("out", kind, value),), params)
    return found


def _filling(s: Spec) -> launch.Bound:
    bound = _FILLS.get(s)
    if bound is None:
        if len(_FILLS) > 4096:
            _FILLS.clear()
        bound = _FILLS[s] = launch.bind(_fill_kernel(s.dtype), s.shape, None, [s.strides], s.device)
    return bound


def fill_values(target: Tensor, value) -> Tensor:
    """Write one number (already of the dtype's kind) over all elements; nothing is recorded."""
    s = target.spec
    bound = _FILLS.get(s) or _filling(s)
    if bound.function is not None:
        if s.dtype.kind == "c":
            value = complex(value)
            bound.function(target.ptr, value.real, value.imag, *bound.tail)
        else:
            try:
                bound.function(target.ptr, value, *bound.tail)
            except OverflowError:  # the upper half of uint64
                bound.function(target.ptr, value - 2**64, *bound.tail)
    return target


def zeros_of(s: Spec) -> Tensor:
    """Zeros of a dense spec (of its shape and dtype, where it is that of a stand-in)."""
    if s.kind is not None:
        s = dense(s.dtype, s.shape, s.device)
    return fill_values(launch.empty(s), _ZERO[s.dtype.kind])


_KNOWN_ONES = Repeats(clone.operator, 1)  # which records nothing: of these calls only `bare` is asked


def ones_at(x: Tensor) -> Tensor:
    """Ones in the layout of a real tensor, row-major where that has gaps."""
    if (made := _KNOWN_ONES.bare(x)) is not None:
        return made
    s = x.spec if x.spec.contiguous and x.spec.kind is None else dense(x.spec.dtype, x.spec.shape, x.spec.device)
    one, bound = _ONE[s.dtype.kind], _filling(s)
    made = fill_values(launch.empty(s), one)
    _KNOWN_ONES.repeat((x,), 1, made, lambda _: FunctionPlan(bound.function, (one, *bound.tail), (s,), ()))
    return made


_ZERO = {"b": False, "u": 0, "i": 0, "f": 0.0, "c": 0j}
_ONE = {"b": True, "u": 1, "i": 1, "f": 1.0, "c": 1 + 0j}
ZEROS.append(zeros_of)


def empty(
    *args, size=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None,
    out=None,
) -> Tensor:  # fmt: skip
    """A tensor whose elements are whatever was in memory."""
    if pin_memory:
        return pinning.created(empty, locals())
    if layout is not None and layout is not strided:
        sizes = _sizes(args or (_required("empty", size),), "empty")
        return _no_places("empty", layout, sizes, dtype, device, requires_grad)
    s = _spec_of(args or (_required("empty", size),), _kind_of(dtype, out), device, "empty")
    if memory_format is not None:
        s = like_layout(s, None, memory_format)
    if out is not None:
        return _resized(out, s)
    return _finish(launch.empty(s), requires_grad)


def _resized(out: Tensor, s: Spec) -> Tensor:
    """`out` made fit to be filled; its dtype must be that of `s`."""
    if not isinstance(out, Tensor):
        fail(TypeError, f"argument 'out' must be Tensor, not {type(out).__name__}")
    if out.spec.dtype is not s.dtype:
        fail(
            RuntimeError,
            f"dtype {dtype_title(s.dtype)} does not match dtype of out parameter ({dtype_title(out.spec.dtype)})",
            mend="leave dtype= away, or give out= a tensor of that dtype",
        )
    if out.spec.shape != s.shape:
        from .inplace import resize_

        resize_(out, s.shape)
    out.storage.version += 1
    return out


def _no_bool(kind: DType, name: str) -> None:
    if kind.kind == "b":
        fail(NotImplementedError, f"\"{name}_cpu\" not implemented for 'Bool'")


def _kind_of(dtype, out) -> DType:
    """The dtype of a new tensor: the one asked for, that of `out`, the default."""
    return dtype or (DEFAULT.float if out is None else out.spec.dtype)


_ZEROS: dict[tuple, tuple] = of_places(of_defaults({}))


def _remember_zeros(key: tuple, s: Spec) -> None:
    """Have `zeros` answer this call at once next time."""
    bound = _FILLS[s]
    if bound.function is None or s.dtype.kind == "c" or key[4] or not fixed(key[2], DEVICE[0]):
        return
    if len(_ZEROS) > 4096:
        _ZEROS.clear()
    try:
        _ZEROS[key] = (launch.allocator(s.device), s, bound.function, _ZERO[s.dtype.kind], bound.tail)
    except TypeError:
        pass  # a list of sizes


def zeros(
    *args, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """A tensor of zeros."""
    if pin_memory:
        return pinning.created(zeros, locals())
    try:
        made, s, fill, zero, tail = _ZEROS[args, dtype, device, out, requires_grad, layout, DEVICE[0]]
    except (KeyError, TypeError):
        pass
    else:
        new = made(s)
        fill(new.ptr, zero, *tail)
        return new
    if not args:  # never remembered
        args = (_required("zeros", size),)
    if layout is not None and layout is not strided:
        return _no_places("zeros", layout, _sizes(args, "zeros"), dtype, device, requires_grad)
    if out is None:
        s = _spec_of(args, dtype, device, "zeros")
        made = fill_values(launch.empty(s), _ZERO[s.dtype.kind])
        if size is None:
            _remember_zeros((args, dtype, device, out, requires_grad, layout, DEVICE[0]), s)
        return _finish(made, requires_grad) if requires_grad else made
    return fill_values(
        _resized(out, dense(_kind_of(dtype, out), _sizes(args, "zeros"), out.spec.device)), _ZERO[out.spec.dtype.kind]
    )


def _required(name: str, size):
    """The sizes given by name; TypeError where there are none at all."""
    if size is None:
        fail(TypeError, f'{name}() missing 1 required positional arguments: "size"')
    return size


def ones(
    *args, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """A tensor of ones."""
    if pin_memory:
        return pinning.created(ones, locals())
    if layout is not None:
        only_strided("ones", layout)
    if not args:
        args = (_required("ones", size),)
    if out is not None:
        return fill_values(
            _resized(out, dense(_kind_of(dtype, out), _sizes(args, "ones"), out.spec.device)), _ONE[out.spec.dtype.kind]
        )
    s = _spec_of(args, dtype, device, "ones")
    return _finish(fill_values(launch.empty(s), _ONE[s.dtype.kind]), requires_grad)


def full(
    size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """A tensor filled with one number, of that number's dtype unless told otherwise."""
    if pin_memory:
        return pinning.created(full, locals())
    if layout is not None:
        only_strided("full", layout)
    if isinstance(fill_value, Tensor):
        dtype = dtype or fill_value.spec.dtype
        fill_value = memory_of(fill_value).item() if isinstance(fill_value, Tensor) else fill_value.item()
    kind = dtype or (out.spec.dtype if out is not None else number_dtype(type(fill_value)))
    s = dense(kind, _sizes((size,), "full"), place(device))
    made = launch.empty(s) if out is None else _resized(out, s)
    return _finish(fill_values(made, number(fill_value, kind)), requires_grad)


def _like(input: Tensor, dtype, device, memory_format) -> Spec:
    s = like_layout(input.spec, dtype, memory_format or "preserve")
    return s if device is None else spec(s.dtype, place(device), s.shape, s.strides)


def _in_layout(make, input: Tensor, layout, dtype, device, requires_grad, *value) -> Tensor | None:
    """`make` in the shape of `input`, where one of the two is sparse; None where both are strided."""
    wanted = input.layout if layout is None else layout
    if wanted is strided is input.layout:
        return None
    if wanted is not strided and (make not in (zeros, empty) or (make is empty and input.layout is strided)):
        only_strided("empty_strided", wanted)
    options = {"dtype": dtype or input.dtype, "device": device or input.device, "requires_grad": requires_grad}
    return make(tuple(input.shape), *value, layout=wanted, **options)


def empty_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False
) -> Tensor:
    """`empty` in the shape, dtype and layout of another tensor."""
    if pin_memory:
        return pinning.created(empty_like, locals())
    if layout is not None or input.__class__ is not Tensor:
        made = _in_layout(empty, input, layout, dtype, device, requires_grad)
        if made is not None:
            return made
    return _finish(launch.empty(_like(input, dtype, device, memory_format)), requires_grad, input)


def zeros_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False
) -> Tensor:
    """`zeros` in the shape, dtype and layout of another tensor."""
    if pin_memory:
        return pinning.created(zeros_like, locals())
    if layout is not None or input.__class__ is not Tensor:
        made = _in_layout(zeros, input, layout, dtype, device, requires_grad)
        if made is not None:
            return made
    return _finish(zeros_of(_like(input, dtype, device, memory_format)), requires_grad, input)


def ones_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False
) -> Tensor:
    """`ones` in the shape, dtype and layout of another tensor."""
    if pin_memory:
        return pinning.created(ones_like, locals())
    if layout is not None or input.__class__ is not Tensor:
        made = _in_layout(ones, input, layout, dtype, device, requires_grad)
        if made is not None:
            return made
    s = _like(input, dtype, device, memory_format)
    return _finish(fill_values(launch.empty(s), _ONE[s.dtype.kind]), requires_grad, input)


def full_like(
    input,
    fill_value,
    *,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    memory_format=None,
    pin_memory=False,
) -> Tensor:
    """`full` in the shape, dtype and layout of another tensor."""
    if pin_memory:
        return pinning.created(full_like, locals())
    if layout is not None or input.__class__ is not Tensor:
        made = _in_layout(full, input, layout, dtype, device, requires_grad, fill_value)
        if made is not None:
            return made
    s = _like(input, dtype, device, memory_format)
    return _finish(fill_values(launch.empty(s), number(fill_value, s.dtype)), requires_grad, input)


def empty_strided(
    size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """`empty` with given strides."""
    if pin_memory:
        return pinning.created(empty_strided, locals())
    if layout is not None:
        only_strided("empty_strided", layout)
    from facula.core.shape import reach

    size, stride = ints((size,)), ints((stride,))
    if len(size) != len(stride):
        fail(RuntimeError, f"mismatch in length of strides and shape: size {list(size)}, stride {list(stride)}")
    kind = dtype or DEFAULT.float
    storage = launch.new_storage((reach(size, stride)[1] + 1) * kind.itemsize, place(device))
    return _finish(record_of(spec(kind, place(device), Size(size), stride), storage, storage.ptr), requires_grad)


def empty_permuted(
    size, physical_layout, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """`empty` without gaps, its dims in memory in the order `physical_layout`, the outermost first."""
    if pin_memory:
        return pinning.created(empty_permuted, locals())
    if layout is not None:
        only_strided("as_strided", layout)
    size, order = ints((size,)), ints((physical_layout,))
    if len(size) != len(order):
        fail(
            RuntimeError,
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(size)} is not equal to len(physical_layout) = {len(order)}",
        )
    strides, step = [0] * len(size), 1
    for n, d in enumerate(reversed(order)):
        if not 0 <= d < len(size):
            fail(
                RuntimeError,
                f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {d} at index "
                f"{len(size) - 1 - n}).  NB: negative dims not currently supported; file an issue if you want it.",
            )
        if strides[d]:
            fail(RuntimeError, "Duplicate dim not allowed")
        strides[d], step = step, step * max(size[d], 1)
    return empty_strided(size, strides, dtype=dtype, device=device, requires_grad=requires_grad)


# --- counted ------------------------------------------------------------------------------------------------------

_INT, _FLOAT = dt.int64, dt.float64
_COUNTING: dict[tuple, Kernel] = {}


def _counted(kind: DType, body, params: dict[str, tuple[DType, Any]], s: Spec, out: Tensor | None = None) -> Tensor:
    """A tensor whose element i is `body(i, *params)`."""
    key = (kind, body, tuple((n, d) for n, (d, _) in params.items()))
    kernel = _COUNTING.get(key)
    if kernel is None:
        symbols = [ir.param(n, d) for n, (d, _) in params.items()]
        kernel = Kernel(
            body.__name__,
            (),
            (Result("out", kind, body(kind, *symbols)),),
            tuple(Param(n, d) for n, (d, _) in params.items()),
        )
        _COUNTING[key] = kernel
    made = launch.empty(s) if out is None else out
    bound = launch.bind(kernel, made.spec.shape, None, [made.spec.strides], made.spec.device)
    launch.run(bound, [made.ptr], [v for _, v in params.values()])
    return made


def _arange(kind: DType, start, step):
    return start + ir.cast(ir.index(0), start.dtype) * step


def _linspace(kind: DType, start, end, step, half, last):
    at = ir.index(0)
    forward = start + ir.cast(at, start.dtype) * step
    backward = end - ir.cast(last - at, start.dtype) * step
    return ir.select(at < half, forward, backward)


def _eye(kind: DType):
    return ir.eq(ir.index(0), ir.index(1))


def arange(
    start,
    end=None,
    step: Any = 1,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    pin_memory=False,
) -> Tensor:
    """The numbers from `start` to before `end` in steps of `step`.

    Shape ``(ceil((end - start) / step),)``; int64 when all three are integers, else the default dtype.
    """
    if pin_memory:
        return pinning.created(arange, locals())
    if layout is not None:
        only_strided("arange.start_out", layout)
    given: Any = (0, start, step) if end is None else (start, end, step)
    start, end, step = (
        memory_of(x).item() if isinstance(x, Tensor) else x.item() if hasattr(x, "item") else x for x in given
    )
    kind = dtype or (out.spec.dtype if out is not None else None)
    if kind is None:
        kind = DEFAULT.float if any(isinstance(x, float) for x in (start, end, step)) else dt.int64
    _no_bool(kind, "arange")
    if step == 0:
        fail(RuntimeError, "step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        fail(RuntimeError, f"unsupported range: {start} -> {end}")
    if (end - start) / step < 0:
        fail(
            RuntimeError,
            "upper bound and lower bound inconsistent with step sign",
            got=f"start={start}, end={end}, step={step}",
        )
    whole = kind.kind in "bui"
    if kind is dt.int64:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            fail(ValueError, "step must be nonzero")
    exact = whole and all(isinstance(x, int) for x in (start, end, step))
    n = max(0, -((start - end) // step)) if exact else math.ceil((end - start) / step)
    s = dense(kind, (n,), place(device))
    part = _INT if whole else dt.float32 if kind is not dt.float64 else _FLOAT
    if kind in (dt.float32, dt.float64, dt.float16, dt.bfloat16):
        part = _FLOAT
    convert = int if whole else float
    made = None if out is None else _resized(out, s)
    return _finish(
        _counted(kind, _arange, {"start": (part, convert(start)), "step": (part, convert(step))}, s, made),
        requires_grad,
    )


def linspace(
    start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """`steps` numbers from `start` to `end`, both included, equally far apart."""
    if pin_memory:
        return pinning.created(linspace, locals())
    if layout is not None:
        only_strided("linspace.out", layout)
    start, end, kind = _ends("linspace", start, end, steps, dtype, out)
    _no_bool(kind, "linspace")
    if kind.is_complex:
        start, end = complex(start), complex(end)
        parts = (
            linspace(a, b, steps, dtype=kind.to_real(), device=device)
            for a, b in ((start.real, end.real), (start.imag, end.imag))
        )
        found = OPERATORS["complex"].call(*parts)
        return _finish(found if out is None else overwrite(_resized(out, found.spec), found), requires_grad)
    part = kind if kind in (dt.float32, dt.float64) else dt.float32 if kind.kind == "f" else _FLOAT
    exact = np.dtype("f4") if part is dt.float32 else np.dtype("f8")
    if kind.kind != "f":
        start, end = int(start), int(end)
    step = float((exact.type(end) - exact.type(start)) / exact.type(max(steps - 1, 1)))
    s = dense(kind, (steps,), place(device))
    values = {
        "start": (part, float(start)),
        "end": (part, float(end)),
        "step": (part, step),
        "half": (_INT, 1 if steps == 1 else steps // 2),
        "last": (_INT, steps - 1),
    }
    return _finish(_counted(kind, _linspace, values, s, None if out is None else _resized(out, s)), requires_grad)


def _ends(name: str, start, end, steps: int, dtype, out) -> tuple[Any, Any, DType]:
    """The two ends as numbers, and the dtype of what is between them."""
    for x, which in ((start, "start"), (end, "end")):
        if isinstance(x, Tensor) and x.spec.ndim:
            fail(
                RuntimeError,
                f"{name} only supports 0-dimensional start and end tensors, but got {which} with {x.spec.ndim} "
                "dimension(s).",
            )
    start, end = (memory_of(x).item() if isinstance(x, Tensor) else x for x in (start, end))
    if steps < 0:
        fail(RuntimeError, "number of steps must be non-negative", got=steps)
    kind = _kind_of(dtype, out)
    if isinstance(start, complex) or isinstance(end, complex):
        kind = DEFAULT.float.to_complex() if dtype is None and out is None else kind
        if not kind.is_complex:
            fail(
                RuntimeError,
                f"torch.{name}(): inferred dtype {dtype_title(DEFAULT.float.to_complex())} can't be safely cast to "
                f"passed dtype {dtype_title(kind)}",
            )
    for x in (start, end) if kind.kind == "f" else ():
        number(x, kind)
    return start, end, kind


def logspace(
    start,
    end,
    steps,
    base=10.0,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    pin_memory=False,
) -> Tensor:
    """`base` to the powers `linspace(start, end, steps)`."""
    if pin_memory:
        return pinning.created(logspace, locals())
    if layout is not None:
        only_strided("logspace.out", layout)
    from .elementwise import pow as power

    start, end, kind = _ends("logspace", start, end, steps, dtype, out)
    _no_bool(kind, "logspace")
    wide = dt.complex128 if kind.is_complex or isinstance(base, complex) else _FLOAT
    if steps > 1:  # the ends are of the result's dtype, the powers are taken in float64
        start, end = (full((), number(x, kind), dtype=kind, device=CPU).item() for x in (start, end))
    powers = power(base, linspace(start, end, steps, dtype=wide, device=device))
    found = powers if wide is kind else copy_values(launch.empty(dense(kind, (steps,), place(device))), powers)
    return _finish(found if out is None else overwrite(_resized(out, found.spec), found), requires_grad)


def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere; shape (n, m), (n, n) without m."""
    if pin_memory:
        return pinning.created(eye, locals())
    if layout is not None:
        only_strided("eye.m_out", layout)
    m = n if m is None else m
    for name, size in (("n", n), ("m", m)):
        if size < 0:
            fail(RuntimeError, f"{name} must be greater or equal to 0, got {size}")
    kind = dtype or (out.spec.dtype if out is not None else DEFAULT.float)
    s = dense(kind, (n, m), place(device))
    return _finish(_counted(kind, _eye, {}, s, None if out is None else _resized(out, s)), requires_grad)


# --- from data ----------------------------------------------------------------------------------------------------


def _of_array(array: np.ndarray, kind: DType | None = None, where: Device = CPU) -> Tensor:
    """A new tensor with the values of an array."""
    made = _on_host(array, kind)
    return made if where is CPU else copy_values(launch.empty(dense(made.spec.dtype, array.shape, where)), made)


def _on_host(array: np.ndarray, kind: DType | None) -> Tensor:
    """The same in the host's memory."""
    source = dt.of_numpy(array.dtype)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")) if array.ndim else array
    out = launch.empty(dense(source, array.shape))
    if array.nbytes:
        ctypes.memmove(out.ptr, array.ctypes.data, array.nbytes)
    if kind is None or kind is source:
        return out
    return copy_values(launch.empty(dense(kind, array.shape)), out)


_PACKERS: dict[tuple[int, str], struct.Struct] = {}


def _of_numbers(data, dtype) -> Tensor | None:
    """A short flat list of Python floats, or of ints, without NumPy; None where it is something else."""
    first = data[0].__class__
    if first is float:
        kind, letter = dtype or DEFAULT.float, "f"
    elif first is int:
        kind, letter = dtype or dt.int64, "q"
    else:
        return None
    letter = _LETTERS.get(kind)
    if letter is None or (first is float and letter in "qi") or len(data) > 64:
        return None
    for x in data:
        if x.__class__ is not first:
            return None
    packer = _PACKERS.get((len(data), letter))
    if packer is None:
        packer = _PACKERS[len(data), letter] = struct.Struct(f"={len(data)}{letter}")
    try:
        packed = packer.pack(*data)
    except (struct.error, OverflowError):
        return None  # too large for the dtype: the general way says so
    out = launch.empty(_spec_of((len(data),), kind, CPU, "tensor"))
    ctypes.memmove(out.ptr, packed, len(packed))
    return out


_LETTERS = {dt.float32: "f", dt.float64: "d", dt.int64: "q", dt.int32: "i"}


def _plain(data):
    """Nested lists with tensors of one element replaced by their values."""
    if isinstance(data, Tensor):
        if data.spec.numel != 1:
            fail(
                ValueError,
                "only one element tensors can be converted to Python scalars",
                got=f"a tensor of shape {tuple(data.spec.shape)} in a list",
            )
        return data.item()
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data] if any(isinstance(x, (Tensor, list, tuple)) for x in data) else data
    return data


def _holds_tensors(data) -> bool:
    """Whether the first thing in nested sequences is a tensor."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, Tensor)


def _array_of(data) -> np.ndarray:
    """A NumPy array of nested sequences; floats become the default dtype."""
    if _holds_tensors(data):
        data = _plain(data)
    try:
        array = np.array(data)
    except ValueError:
        _plain(data)
        _ragged(data)
        raise
    if array.dtype.kind in "OUS":
        return _array_of_objects(data, array)
    return array


def _array_of_objects(data, array: np.ndarray) -> np.ndarray:
    """The array of data that NumPy takes for objects: tensors inside, large integers; else PyTorch's error."""
    plain = np.array(_plain(data)) if array.size else array
    if plain.dtype.kind not in "OUS":
        return plain
    leaves = _leaves(data)
    if all(isinstance(x, NUMBERS) for x in leaves):
        if any(isinstance(x, (float, complex)) for x in leaves):
            return plain.astype(np.complex128 if any(isinstance(x, complex) for x in leaves) else np.float64)
        fail(ValueError, "Overflow when unpacking long long", got=next(x for x in leaves if not -(2**63) <= x < 2**63))
    first = next(x for x in leaves if not isinstance(x, NUMBERS))
    if not isinstance(first, str):
        fail(RuntimeError, f"Could not infer dtype of {type(first).__name__}", got=repr(first))
    if first is leaves[0] and first is not data:
        fail(ValueError, f"too many dimensions '{type(first).__name__}'", got=repr(first))
    fail(TypeError, f"new(): invalid data type '{type(first).__name__}'", got=repr(first))


def _leaves(data) -> list:
    """All that is not a sequence, in order."""
    return [leaf for x in data for leaf in _leaves(x)] if isinstance(data, (list, tuple)) else [data]


def _ragged(data, dim: int = 0) -> None:
    """ValueError in PyTorch's words for the first sequence whose length is not that of its siblings."""
    if isinstance(data, (list, tuple)) and data:
        first = data[0]
        if isinstance(first, (list, tuple)):
            for x in data:
                if not isinstance(x, (list, tuple)):
                    fail(
                        TypeError,
                        "not a sequence",
                        got=repr(x),
                        mend="all elements at one depth must be sequences, or none",
                    )
                n = len(x)
                if n != len(first):
                    fail(
                        ValueError,
                        f"expected sequence of length {len(first)} at dim {dim + 1} (got {n})",
                        mend="all rows must be equally long; pad the shorter ones",
                    )
            for x in data:
                _ragged(x, dim + 1)


def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested sequences, arrays.

    Parameters
    ----------
    data : number, nested list or tuple of numbers, NumPy array or tensor
    dtype : inferred when None: bool, int64, the default float dtype, or its complex
    requires_grad : record operations on it for backward

    Examples
    --------
    >>> import facula as torch
    >>> torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if pin_memory:
        return pinning.created(tensor, locals())
    if isinstance(data, Tensor):
        where = data.spec.device if device is None else place(device)
        out = launch.empty(dense(dtype or data.spec.dtype, data.spec.shape, where))
        return _finish(copy_values(out, data), requires_grad)
    where = place(device)
    if isinstance(data, (np.ndarray, np.generic)):
        return _finish(_of_array(np.asarray(data), dtype, where), requires_grad)
    if hasattr(data, "__cuda_array_interface__"):
        found = dlpack.from_interface(data)
        return tensor(found, dtype=dtype, device=device, requires_grad=requires_grad)
    if hasattr(data, "__array_interface__") or hasattr(data, "__array__"):
        return _finish(_of_array(np.asarray(data), dtype, where), requires_grad)
    if data.__class__ is list and data and where is CPU:
        made = _of_numbers(data, dtype)
        if made is not None:
            return _finish(made, requires_grad)
    array = _array_of(data)
    kind = dtype
    if kind is None and array.dtype.kind in "fc":
        own = _OWN_KIND(data)
        kind = own or (DEFAULT.float if array.dtype.kind == "f" else DEFAULT.float.to_complex())
        if array.size == 0:
            kind = DEFAULT.float
    elif kind is not None and kind.kind in "ui" and array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        number(low, kind)
        number(high, kind)
    return _finish(_of_array(array, kind, where), requires_grad)


def _OWN_KIND(data) -> DType | None:
    """The dtype of the tensors or NumPy scalars that a sequence is made of, if it is made of such."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    if isinstance(data, Tensor):
        return data.spec.dtype
    return dt.of_numpy(data.dtype) if isinstance(data, (np.ndarray, np.generic)) else None


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor on the memory of an array: both see each other's changes."""
    if not isinstance(ndarray, np.ndarray):
        fail(TypeError, f"expected np.ndarray (got {type(ndarray).__name__})")
    kind = dt.of_numpy(ndarray.dtype)
    if not ndarray.dtype.isnative:
        fail(
            ValueError,
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            "currently not supported.",
        )
    item = ndarray.dtype.itemsize
    if any(s < 0 for s in ndarray.strides):
        fail(
            ValueError,
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array  with "
            "array.copy().) ",
        )
    if any(s % item for s in ndarray.strides):
        fail(
            ValueError,
            "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the "
            "memory.",
        )
    if not ndarray.flags.writeable:
        import warnings

        warnings.warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means "
            "writing to this tensor will result in undefined behavior. You may want to copy the array to protect its "
            "data or make it writable before converting it to a tensor.",
            UserWarning,
            stacklevel=2,
        )
    from facula.core.shape import reach

    strides = tuple(s // item for s in ndarray.strides)
    ptr = ndarray.ctypes.data
    if kind is dt.float64 and ptr % item or ptr % kind.itemsize:
        return _of_array(ndarray)  # not aligned: machine code could not read it
    storage = Storage(ptr, (reach(ndarray.shape, strides)[1] + 1) * item, ndarray)
    return record_of(spec(kind, CPU, Size(ndarray.shape), strides), storage, ptr)


OF_ARRAY.append(lambda x: x if isinstance(x, Tensor) else from_numpy(x))


def as_tensor(data, dtype=None, device=None) -> Tensor:
    """`data` as a tensor, sharing memory where possible."""
    if isinstance(data, Tensor):
        out = data
    elif isinstance(data, np.ndarray):
        out = from_numpy(data)
        device = place(device)
    elif hasattr(data, "__cuda_array_interface__"):
        out = dlpack.from_interface(data)
    else:
        return tensor(data, dtype=dtype, device=device)
    from .copying import cast, to_device

    if dtype is not None:
        out = cast(out, dtype)
    if device is not None and (where := place(device)) is not out.spec.device:
        out = to_device(out, where)
    return out


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False) -> Tensor:
    """`obj` as a tensor; `copy` True always copies, False never does."""
    out = as_tensor(obj, dtype, device)
    if (
        copy
        and isinstance(obj, (Tensor, np.ndarray))
        and out.storage.ptr == (obj.storage.ptr if isinstance(obj, Tensor) else obj.ctypes.data)
    ):
        out = tensor(out)
    return _finish(out, requires_grad) if requires_grad else out


def scalar_tensor(s, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False) -> Tensor:
    """A 0-d tensor of a number, of the default dtype."""
    if pin_memory:
        return pinning.created(scalar_tensor, locals())
    kind = dtype or DEFAULT.float
    return full((), saturated(s, kind), dtype=kind, device=device, requires_grad=requires_grad)


def numpy_view(input: Tensor) -> np.ndarray:
    """A NumPy array on the tensor's memory (the bits of what NumPy lacks); it keeps the memory alive."""
    s = input.spec
    if s.kind is WRAPPED:
        input = memory_of(input)
        s = input.spec
    if s.device is not CPU or (launch.OWN and launch.lacks(input)):
        unreadable(s)
    return memory_view(input)


def memory_view(input: Tensor) -> np.ndarray:
    """A NumPy array on a tensor's memory on the host, whatever is there."""
    s = input.spec
    if s.numel == 0:
        return np.ndarray(s.shape, s.dtype.bits)
    return np.asarray(_Memory(input))


def host_array(input: Tensor) -> np.ndarray | None:
    """The elements as a NumPy array, copied from another device; None where there are none to be had."""
    s = input.spec
    if s.kind is None and launch.lacks(input):
        return None
    if s.kind is None and s.device is not CPU:
        from .copying import to_device

        input = to_device(input.detach(), CPU)
    return numpy_view(input)


def array_on(array: np.ndarray, where: Device) -> Tensor:
    """A tensor with the elements of an array: on its memory, or a copy on another device."""
    made = from_numpy(array)
    return made if where is CPU else copy_values(launch.empty(dense(made.spec.dtype, array.shape, where)), made)


class _Memory:
    """Gives NumPy a tensor's address, shape and strides; NumPy keeps it, and so the storage."""

    __slots__ = ("__array_interface__", "storage")

    def __init__(self, input: Tensor):
        s = input.spec
        kind = s.dtype.bits
        self.storage = input.storage
        self.__array_interface__ = {
            "data": (input.ptr, False),
            "shape": tuple(s.shape),
            "strides": tuple(n * s.dtype.itemsize for n in s.strides),
            "typestr": kind.str,
            "version": 3,
        }


# --- other makers -------------------------------------------------------------------------------------------------


def range(
    start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
) -> Tensor:
    """The numbers from `start` to `end`, both included, in steps of `step`; `arange` leaves the end out."""
    if pin_memory:
        return pinning.created(range, locals())
    if layout is not None:
        only_strided("range.out", layout)
    import warnings

    if end is None:
        start, end = 0, start
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    if step == 0:
        fail(RuntimeError, "step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        fail(RuntimeError, f"unsupported range: {start} -> {end}")
    if (end - start) / step < 0:
        fail(RuntimeError, "upper bound and lower bound inconsistent with step sign")
    kind = _kind_of(dtype, out)
    _no_bool(kind, "range")
    n = math.floor((end - start) / step) + 1
    made = arange(n, dtype=_FLOAT)
    made = OPERATORS["add"].call(OPERATORS["mul"].call(made, step), start)
    found = copy_values(launch.empty(dense(kind, (n,), place(device))), made)
    return _finish(found if out is None else overwrite(_resized(out, found.spec), found), requires_grad)


def _indices(name: str, make, text: str):
    def entry(row, col, offset=0, *, dtype=dt.int64, device=None, layout=None, pin_memory=False) -> Tensor:
        for n, which in ((row, "row"), (col, "col")):
            if n < 0:
                fail(RuntimeError, f"{which} must be non-negative, got{n}")
        if layout is not None:
            only_strided(name, layout)
        return _of_array(np.stack(make(row, col, offset)).astype(np.int64), dtype, place(device))

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


tril_indices = _indices(
    "tril_indices",
    lambda n, m, k: np.tril_indices(n, k, m),
    "The coordinates (2, n) of the elements on and below a diagonal.",
)
triu_indices = _indices(
    "triu_indices",
    lambda n, m, k: np.triu_indices(n, k, m),
    "The coordinates (2, n) of the elements on and above a diagonal.",
)


def _window(name: str, values, text: str, **options):
    """A window function: `values(n, **options)` gives the symmetric one in float64."""

    def make(window_length, periodic, given, dtype, layout, device, requires_grad) -> Tensor:
        if layout is not None:
            only_strided(name, layout)
        kind = dtype or DEFAULT.float
        if kind.kind not in "fc":
            fail(RuntimeError, f"{name} expects floating point dtypes, got: {kind!r}")
        if window_length < 0:
            fail(RuntimeError, f"{name} requires non-negative window_length, got window_length={window_length}")
        n = window_length + 1 if periodic and window_length > 1 else window_length
        found = values(n, *given)[:window_length] if window_length else np.empty(0)
        return _finish(_of_array(np.asarray(found, np.float64), kind, place(device)), requires_grad)

    alpha, beta = options.get("alpha"), options.get("beta")

    def plain(
        window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
    ):
        return make(window_length, periodic, (), dtype, layout, device, requires_grad)

    def cosine(
        window_length, periodic=True, alpha=alpha, beta=beta, *, dtype=None, layout=None,
        device=None, pin_memory=False, requires_grad=False,
    ):  # fmt: skip
        return make(window_length, periodic, (alpha, beta), dtype, layout, device, requires_grad)

    def shaped(
        window_length, periodic=True, beta=beta, *, dtype=None, layout=None, device=None,
        pin_memory=False, requires_grad=False,
    ):  # fmt: skip
        return make(window_length, periodic, (beta,), dtype, layout, device, requires_grad)

    entry = (plain, shaped, cosine)[len(options)]
    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


bartlett_window = _window("bartlett_window", np.bartlett, "A triangle from 0 to 1 and back.")
blackman_window = _window("blackman_window", np.blackman, "The Blackman window.")
hann_window = _window("hann_window", np.hanning, "The Hann window: half a period of a raised cosine.")
hamming_window = _window(
    "hamming_window", lambda n, alpha, beta: alpha - beta * np.cos(2 * np.pi * np.arange(n) / max(n - 1, 1)) if n != 1
    else np.ones(1),
    "The Hamming window: `alpha - beta * cos`.", alpha=0.54, beta=0.46,
)  # fmt: skip
kaiser_window = _window("kaiser_window", np.kaiser, "The Kaiser window of shape `beta`.", beta=12.0)


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False) -> Tensor:
    """A vector on the memory of an object with the buffer protocol."""
    if dtype is None or not isinstance(dtype, DType):
        fail(TypeError, f"frombuffer(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    view = memoryview(buffer).cast("B")
    item, size = dtype.itemsize, len(view)
    if not size:
        fail(ValueError, f"both buffer length ({size}) and count ({count}) must not be 0")
    if count == 0:
        fail(ValueError, f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        fail(
            ValueError,
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} bytes) minus 1",
        )
    if count < 0 and (size - offset) % item:
        fail(
            ValueError,
            f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of element size "
            f"({item})",
        )
    n = (size - offset) // item if count < 0 else count
    if offset + n * item > size:
        fail(
            ValueError,
            f"requested buffer length ({n * item} bytes) after offset ({offset} bytes) must not be greater than actual "
            f"buffer length ({size} bytes)",
        )
    array = np.frombuffer(buffer, np.uint8, n * item, offset)
    if not array.flags.writeable:
        import warnings

        warnings.warn(
            "The given buffer is not writable, and PyTorch does not support non-writable tensors. This means you can "
            "write to the underlying (supposedly non-writable) buffer using the tensor. You may want to copy the "
            "buffer to protect its data or make it writable before converting it to a tensor. This type of warning "
            "will be suppressed for the rest of this program.",
            UserWarning,
            stacklevel=2,
        )
    ptr = array.ctypes.data
    if ptr % item:
        array = array.copy()  # not aligned: machine code could not read it
        ptr = array.ctypes.data
    return _finish(record_of(dense(dtype, (n,)), Storage(ptr, n * item, array), ptr), requires_grad)


def from_file(
    filename, shared=None, size=0, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
) -> Tensor:
    """A vector on a memory-mapped file; changes reach the file where `shared`."""
    if pin_memory:
        return pinning.created(from_file, locals())
    kind = dtype or DEFAULT.float
    raw = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(size * kind.itemsize,))
    return _finish(
        record_of(dense(kind, (size,)), Storage(raw.ctypes.data, raw.nbytes, raw), raw.ctypes.data), requires_grad
    )


def from_dlpack(ext_tensor, *, device=None, copy=None) -> Tensor:
    """A tensor on the memory of another library's array, handed over by DLPack.

    Parameters
    ----------
    ext_tensor : object with `__dlpack__`, or a capsule
        On the host, or on a GPU: then in the order of the current stream.
    device : device, optional
        Where the tensor is to be: copied there from elsewhere.
    copy : bool, optional
        True: always copied; False: ValueError where it would be.
    """
    from .copying import clone, to_device

    if not hasattr(ext_tensor, "__dlpack__"):
        if device is not None or copy is not None:
            fail(AssertionError, "device and copy kwargs not supported when ext_tensor is already a DLPack capsule.")
        return dlpack.from_capsule(ext_tensor)
    kind, number = ext_tensor.__dlpack_device__()
    asked: dict[str, Any] = {"max_version": dlpack.VERSION}
    if int(kind) in (dlpack.CUDA, dlpack.MANAGED):
        asked["stream"] = launch.native("stream_number", Device("cuda", int(number)))()
    try:
        given = ext_tensor.__dlpack__(**asked)
    except TypeError:  # of the time before versions
        del asked["max_version"]
        given = ext_tensor.__dlpack__(**asked)
    out = dlpack.from_capsule(given)
    where = out.spec.device if device is None else place(device)
    if where is not out.spec.device:
        if copy is False:
            fail(
                ValueError,
                f"cannot move DLPack tensor from device {out.spec.device} to {where} without copying. Set copy=None or "
                "copy=True.",
            )
        return to_device(out, where)
    return clone(out) if copy else out


def to_dlpack(tensor: Tensor):
    """A DLPack capsule of the tensor's memory."""
    return tensor.__dlpack__()
