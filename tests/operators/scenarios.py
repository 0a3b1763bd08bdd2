"""Making tensors, asking about them, dtypes, conversions: scenarios for both frameworks. See `tests/scenarios.py`."""

import itertools
from operator import eq, ne

import numpy as np

from tests.scenarios import error

KINDS = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
SCENARIOS = []


def scenario(program):
    """Add a program to the list."""
    SCENARIOS.append(program)
    return program


# --- promotion ----------------------------------------------------------------------------------------------------


def promotion(torch, operator: str, first: str, form: str):
    """The dtype of `operator` on a dtype with every other, as tensor, 0-d tensor or number."""
    shapes = {"t": (0,), "z": ()}  # without elements nothing is compiled
    a = torch.ones(shapes[form[0]], dtype=getattr(torch, first))
    found = []
    kinds = [
        k for k in KINDS if {k[:7], first[:7]} != {"float16", "complex"}
    ]  # facula has no complex32: docs/differences.md
    others = [True, 2, 2.5] if form[1] == "n" else [torch.ones(shapes[form[1]], dtype=getattr(torch, k)) for k in kinds]
    if form[1] == "n" and first != "float16":
        others.append(1 + 1j)
    for b in others:
        keep = []
        failed = error(lambda b=b, keep=keep: keep.append(str(getattr(torch, operator)(a, b).dtype)))
        found.append(keep[0] if keep else failed[0])
    return found


def where_promotion(torch, first, form):
    c = torch.ones(0, dtype=torch.bool)

    class Both:
        where = staticmethod(lambda a, b: torch.where(c, a, b))

        def __getattr__(self, name):
            return getattr(torch, name)

    return promotion(Both(), "where", first, form)


@scenario
def promotion_functions(torch):
    pairs = [(a, b) for a, b in itertools.product(KINDS, KINDS) if {a[:7], b[:7]} != {"float16", "complex"}]
    return (
        [str(torch.promote_types(getattr(torch, a), getattr(torch, b))) for a, b in pairs],
        [torch.can_cast(getattr(torch, a), getattr(torch, b)) for a, b in pairs],
        [str(torch.result_type(torch.ones(2, dtype=getattr(torch, k)), n)) for k in KINDS for n in (True, 1, 1.5, 1j)
         if (k, n) != ("float16", 1j)],
        [str(torch.result_type(torch.ones(2, dtype=getattr(torch, a)), torch.ones((), dtype=getattr(torch, b)))) for a,
         b in pairs],
    )  # fmt: skip


def conversion(torch, source, target):
    values = [0, 1, 2, 100, 127] if source != "bool" else [0, 1]
    if source in (
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ):
        values += [-1, -100]
    if source.startswith(("float", "bfloat", "complex")):
        values += [0.5, -0.5, 1.9, -1.9, 3.1]
    return torch.tensor(values, dtype=getattr(torch, source)).to(getattr(torch, target))


# --- making -------------------------------------------------------------------------------------------------------


@scenario
def tensors_from_data(torch):
    data = [
        3,
        2.5,
        True,
        1j,
        [1, 2],
        [[1, 2.5], [3, 4]],
        (1, 2),
        [[True], [False]],
        [],
        [[]],
        [[], []],
        np.float32(2),
        np.int8(3),
        np.arange(3),
        np.ones((2, 0)),
        [np.float64(1.5)],
        [np.arange(2), np.arange(2)],
        range(3),
        [1, True],
        [1.5, True],
        [1, 2j],
    ]
    found = [torch.tensor(d) for d in data]
    return (
        found,
        [torch.tensor(d, dtype=torch.float64) for d in data[:4:1] if not isinstance(d, complex)],
        torch.tensor([torch.tensor(1), torch.tensor(2)]),
        torch.tensor([torch.tensor(1.5), 2]),
    )


@scenario
def tensors_from_bad_data(torch):
    return [error(torch.tensor, d)[0] for d in ([[1, 2], [3]], ["a"], "a", None, [None], [[1], 2], {}, [2**70])] + [
        error(torch.tensor, [300], dtype=torch.uint8)[0],
        error(torch.tensor, [-129], dtype=torch.int8)[0],
    ]


@scenario
def numpy_both_ways(torch):
    array = np.arange(6.0).reshape(2, 3)
    t = torch.from_numpy(array)
    t[0, 0] = 7
    array[1, 2] = -1
    u = torch.as_tensor(array)
    v = torch.tensor(array)
    u[0, 1] = 9
    w = torch.arange(4)
    n = w.numpy()
    n[0] = 5
    w[1] = 6
    s = torch.from_numpy(array[:, ::2])
    r = torch.from_numpy(array.T)
    return (
        t,
        u,
        v,
        array.tolist(),
        w,
        n.tolist(),
        s,
        s.stride(),
        r.stride(),
        error(torch.from_numpy, array[::-1])[0],
        error(torch.from_numpy, [1])[0],
        error(torch.from_numpy, np.array(["a"]))[0],
        np.asarray(t).tolist(),
        (t + array),
        np.sum(t.numpy()),
        float(np.float64(2) * torch.tensor(3.0)),
    )


@scenario
def dlpack(torch):
    t = torch.arange(6.0).reshape(2, 3)
    a = np.from_dlpack(t)
    b = torch.from_dlpack(np.arange(4.0))
    c = torch.from_dlpack(t)
    c[0, 0] = 5
    d = torch.from_dlpack(torch.to_dlpack(t))
    d[0, 1] = 6
    return a.tolist(), b, c, d, t, t.__dlpack_device__()[1], error(torch.from_dlpack, 3)[0]


@scenario
def buffers(torch):
    data = bytearray(range(16))
    t = torch.frombuffer(data, dtype=torch.int16)
    u = torch.frombuffer(data, dtype=torch.uint8, count=3, offset=4)
    data[0] = 9
    return (
        t,
        u,
        [
            error(torch.frombuffer, *a, **k)[0]
            for a, k in (
                ((bytearray(),), {"dtype": torch.uint8}),
                ((data,), {"dtype": torch.int32, "offset": 1}),
                ((data,), {"dtype": torch.int32, "count": 9}),
                ((data,), {"dtype": torch.uint8, "offset": 16}),
                ((data,), {"dtype": torch.uint8, "count": 0}),
            )
        ],
    )


@scenario
def as_array(torch):
    a = np.arange(3.0)
    t = torch.asarray(a)
    u = torch.asarray(a, copy=True)
    v = torch.asarray(t)
    w = torch.asarray([1, 2], dtype=torch.float64)
    t[0] = 5
    return t, u, v, w, v is t, torch.asarray(t, copy=True).data_ptr() == t.data_ptr(), torch.asarray(2.5)


@scenario
def making_functions(torch):
    x = torch.ones(2, 3, dtype=torch.int32)
    return (
        torch.zeros(2, 3), torch.zeros([2, 3]), torch.zeros((2,), dtype=torch.int64), torch.zeros(()),
        torch.ones(2, dtype=torch.bool), torch.full((2,), 3), torch.full((2,), 3.5),
        torch.full((2,), True), torch.full((2,), 3, dtype=torch.float32), torch.zeros_like(x),
        torch.ones_like(x, dtype=torch.float64), torch.full_like(x, 7), torch.empty(2, 0),
        torch.empty_like(x.t()).stride(), torch.eye(2, 3), torch.arange(5), torch.arange(1, 2, 0.25),
        torch.arange(5, 0, -2), torch.linspace(0, 1, 5), torch.logspace(0, 2, 3),
        x.new_zeros(2), x.new_ones((2, 2)), x.new_full((2,), 3), x.new_tensor([1.5]), x.new_empty(3).shape,
        torch.scalar_tensor(3), torch.empty_strided((2, 3), (1, 2)).stride(),
        torch.zeros(torch.Size([2])), torch.zeros(2, requires_grad=True), torch.ones(3, out=torch.empty(0)),
    )  # fmt: skip


@scenario
def legacy_constructors(torch):
    return (
        torch.FloatTensor([1, 2]),
        torch.LongTensor([[1], [2]]),
        torch.Tensor([1.5]),
        torch.Tensor(2, 3).shape,
        torch.DoubleTensor(3).dtype,
        torch.BoolTensor([True]),
        torch.Tensor().shape,
        torch.IntTensor((1, 2)),
        isinstance(torch.ones(2), torch.FloatTensor),
        torch.ones(2).type(),
        torch.ones(2).type(torch.int64),
        torch.ones(2).type("torch.DoubleTensor"),
    )


@scenario
def default_dtype(torch):
    found = [str(torch.get_default_dtype())]
    a = torch.tensor([1, 2]) / 2
    torch.set_default_dtype(torch.float64)
    try:
        found += [
            torch.tensor([1.5]),
            torch.ones(2),
            torch.tensor([1, 2]) / 2,
            torch.tensor([1, 2]) + 1.5,
            torch.arange(0, 1, 0.5),
            torch.tensor([1]).sin(),
            torch.rand(2).dtype,
            torch.tensor(1j).dtype,
            torch.tensor([1, 2]).float(),
            torch.tensor(3) * 1.5,
            torch.tensor([True]).exp(),
        ]
    finally:
        torch.set_default_dtype(torch.float32)
    return (
        found,
        a,
        torch.tensor([1.5]),
        torch.tensor([1, 2]) / 2,
        torch.tensor([1]).sin(),
        error(torch.set_default_dtype, torch.int32),
        error(torch.set_default_dtype, "x")[0],
    )


@scenario
def questions(torch):
    x = torch.ones(2, 3)
    return (
        torch.is_tensor(x), torch.is_tensor(3), torch.is_floating_point(x), torch.is_complex(x), torch.numel(x),
        x.numel(), x.dim(), x.ndim, x.size(), x.size(1), x.shape[0], x.stride(), x.stride(0),
        x.element_size(), x.nbytes, x.itemsize, x.is_contiguous(), x.t().is_contiguous(), x.is_cuda, x.device.type,
        str(x.device), str(x.dtype), str(x.layout), x.storage_offset(), x[1].storage_offset(),
        torch.is_nonzero(torch.tensor(2)), error(torch.is_nonzero, x), torch.is_signed(x), x.get_device(),
        torch.is_same_size(x, x.t()), x.is_same_size(x), torch.typename(x), len(x), x.is_leaf,
        torch.finfo(torch.float32).eps, torch.finfo(torch.bfloat16).max, torch.iinfo(torch.int8).min,
        torch.finfo(torch.float16).tiny, torch.float32.itemsize, torch.float32.is_floating_point,
        torch.complex64.is_complex,
        torch.int32.is_signed, torch.float64.to_complex(), torch.complex64.to_real(), x.is_set_to(x),
        x.has_names() if hasattr(x, "has_names") else False, x.is_sparse, x.is_quantized,
    )  # fmt: skip


@scenario
def to_python(torch):
    x = torch.tensor([[1.5, 2], [3, 4]])
    return (
        x.tolist(), x[0, 0].item(), float(x[0, 0]), int(x[1, 1]), bool(x[0, 0]), torch.tensor(3).item(),
        torch.tensor(True).item(), torch.tensor(1 + 2j).item(), torch.tensor([7]).item(), list(range(torch.tensor(3))),
        [1, 2, 3][torch.tensor(1)], error(x.item), error(float, x), error(int, torch.tensor([])), error(bool, x),
        error(bool, torch.tensor([])), error(lambda: [1, 2][torch.tensor(1.0)]), f"{torch.tensor(2.5):.2f}",
        f"{torch.tensor(3):3d}",
        complex(torch.tensor(1 + 2j)), 3 in torch.tensor([1, 2, 3]), 5 in torch.tensor([1, 2, 3]),
        [float(r.sum()) for r in x], error(len, torch.tensor(1)), error(iter, torch.tensor(1)), hash(x) == hash(x),
        x.bfloat16().tolist(),
    )  # fmt: skip


@scenario
def conversions(torch):
    x = torch.tensor([1.5, -2.5, 0.0])
    return (
        x.int(), x.long(), x.bool(), x.half(), x.bfloat16(), x.double(), x.byte()[:1], x.short(), x.char(), x.cfloat(),
        x.to(torch.int32), x.to("cpu") is x, x.to(x) is x, x.to(torch.float32) is x,
        x.to(torch.float32, copy=True) is x,
        x.float() is x, x.cpu() is x, x.type_as(torch.ones(1, dtype=torch.int64)),
        x.to(device="cpu", dtype=torch.float64), x.to("cpu", torch.int64), error(x.to, "nonsense")[0],
        x.contiguous() is x, x.clone() is x,
    )  # fmt: skip


@scenario
def python_operators(torch):
    x, y = torch.tensor([3.0, -4.0, 5.5]), torch.tensor([2.0, 3.0, -1.5])
    i, j = torch.tensor([6, -7, 8]), torch.tensor([3, 2, 5])
    b = torch.tensor([True, False, True])
    z = x.clone()
    z += y
    z *= 2
    z -= 1
    z /= 3
    z **= 2
    k = i.clone()
    k //= j
    k %= 3
    k |= 4
    k &= 6
    k ^= 1
    k <<= 2
    k >>= 1
    return (
        x + y, x - y, x * y, x / y, x // y, x % y, x**2, -x, +x, abs(x), 1 + x, 1 - x, 2 * x, 2 / x, 7 // x, 7 % y,
        2**y, x == y, x != y, x < y, x <= 3, x > 0, 3 >= x, i // j, i % j, -i // j, i / j, i & j, i | j, i ^ j, ~i, ~b,
        b & ~b, b | b, b ^ True, i << 1, i >> 1, 1 << j, x @ y, z, k, eq(x, None), ne(x, None),
        error(lambda: x + "a")[0],
        error(lambda: x @ 3)[0], error(lambda: x < "a")[0], divmod(7, 2), round(x) if hasattr(x, "__round__") else 0,
        x.__rsub__(1), i // 2, i % -3, i**2, error(lambda: i ** -1)[0], 2**j,
    )  # fmt: skip


@scenario
def numpy_operators(torch):
    x = torch.tensor([1.0, 2.0])
    a = np.array([3.0, 4.0])
    scalars = (
        x * np.float64(2),
        np.float32(2) * x,
        np.float32(2) * x,
        x / np.int64(2),
        x * np.float32(3),
        x * np.float32(3),
    )
    return x + a, x * a, x - a, x**a, x == a, scalars, np.stack([x, x]).tolist(), np.maximum(x.numpy(), 1.5).tolist()


@scenario
def sizes(torch):
    x = torch.zeros(2, 3, 4)
    s = x.shape
    return (
        str(s),
        s[0],
        s[1:],
        type(s[1:]).__name__,
        s + (5,),
        tuple(s),
        s.numel(),
        s == (2, 3, 4),
        list(s),
        s[-1],
        len(s),
        hash(s) == hash((2, 3, 4)),
        torch.Size([1, 2]) + torch.Size([3]),
        (0, *s),
        s.count(3),
        repr(torch.Size([])),
    )


@scenario
def in_place_methods(torch):
    x = torch.arange(6.0).reshape(2, 3)
    x.fill_(2).add_(1).mul_(torch.tensor([1.0, 2.0, 3.0])).clamp_(4, 8).sub_(1).div_(2).pow_(
        2
    ).sqrt_().neg_().abs_().exp_().log_()
    y = torch.zeros(3)
    y.copy_(torch.tensor([1, 2, 3]))
    y.fill_diagonal_(1) if False else y.zero_()
    z = torch.zeros(3, 3).fill_diagonal_(5)
    w = torch.zeros(2)
    w.resize_(3)
    v = torch.zeros(7, 3)
    v.fill_diagonal_(1, wrap=True)
    u = torch.arange(4.0)
    u.set_(torch.ones(2))
    m = torch.arange(3.0).apply_(lambda a: a * 2)
    return (
        x,
        y,
        z,
        w.shape,
        v,
        u,
        m,
        torch.ones(2, 2).t_().shape,
        torch.zeros(1, 2).squeeze_(0).shape,
        torch.zeros(2).unsqueeze_(0).shape,
        torch.zeros(2, 3).swapaxes_(0, 1).shape,
        torch.ones(3).masked_fill_(torch.tensor([True, False, True]), 0),
    )


@scenario
def functions_that_write_in_place(torch):
    x = torch.tensor([1.0, -4.0, 9.0])
    return (
        torch.abs_(x.clone()),
        torch.sqrt_(x.abs()),
        torch.clamp_(x.clone(), 0, 5),
        torch.neg_(x.clone()),
        torch.zero_(x.clone()),
        torch.fill_(x.clone(), 3),
        torch.round_(x / 2),
        torch.relu_(x.clone()),
        torch.exp_(x.clone() / 10),
        torch.detach_(x.clone()),
    )


@scenario
def views_of_bytes(torch):
    x = torch.tensor([1.0, 2.0])
    return (
        x.view(torch.int32),
        x.view(torch.uint8).shape,
        torch.tensor([1, 2, 3, 4], dtype=torch.uint8).view(torch.int16),
        error(torch.ones(3, dtype=torch.uint8).view, torch.int16)[0],
        torch.view_as_real(torch.tensor([1 + 2j])),
        torch.view_as_complex(torch.ones(2, 2)),
        torch.tensor([1 + 2j]).real,
        torch.tensor([1 + 2j]).imag,
    )


@scenario
def windows_and_ranges(torch):
    return (
        [getattr(torch, n)(6) for n in ("hann_window", "hamming_window", "blackman_window", "bartlett_window")],
        torch.range(1, 4),
        torch.tril_indices(3, 3),
        torch.triu_indices(3, 4, 1),
        torch.cartesian_prod(torch.arange(2), torch.arange(3)),
        torch.combinations(torch.arange(4), 2),
    )


@scenario
def settings(torch):
    torch.set_printoptions(precision=4)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    one = torch.get_num_threads()
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(True)
    found = torch.are_deterministic_algorithms_enabled(), torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(False)
    return (
        one,
        found,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        error(torch.set_num_threads, 0)[0],
        str(torch.get_default_device()),
        torch.is_warn_always_enabled(),
    )


# --- promotion and conversion, over all dtypes ----------------------------------------------------------------------


def _promotions(operator: str, form: str):
    def program(torch):
        rule = where_promotion if operator == "where" else promotion
        return [
            rule(torch, first, form) if operator == "where" else rule(torch, operator, first, form) for first in KINDS
        ]

    program.__name__ = f"promotion_of_{operator}_{form}"
    return program


for _operator in (
    "add",
    "mul",
    "true_divide",
    "floor_divide",
    "pow",
    "eq",
    "where",
    "maximum",
    "atan2",
    "bitwise_and",
    "sub",
    "remainder",
):
    for _form in ("tt", "tz", "zt", "zz", "tn", "zn"):
        if _form[1] == "n" and _operator in ("maximum", "atan2"):
            continue
        if "t" not in _form and _operator not in ("add", "true_divide", "pow"):
            continue  # without a dim of size 0 kernels would be compiled
        scenario(_promotions(_operator, _form))


def _conversions(source: str):
    def program(torch):
        # Negative numbers to uint8 are undefined in C.
        return [conversion(torch, source, target) for target in KINDS if source == "uint8" or target != "uint8"]

    program.__name__ = f"conversion_of_{source}"
    return program


for _source in KINDS:
    scenario(_conversions(_source))
