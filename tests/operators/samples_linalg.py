"""Rows of matrices: inverses, solutions, determinants, factorisations, and what is built of them."""

import numpy as np

from .table import T, bad, row, s, t

WHOLE = ("uint8", "int64", "int32", "int16", "int8")
SHORT = ("float16", "bfloat16")
OTHERS = (*SHORT, *WHOLE, "bool")
SQUARE = t(values=[[4.0, 1.0, -1.0], [0.5, 3.0, 1.0], [1.0, -0.5, 2.0]])
STACK = t(values=[[[2.0, 1.0], [0.5, 3.0]], [[-1.0, 2.0], [1.5, 1.0]]])
POSITIVE = t(values=[[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]])
LOWER = t(values=[[2.0, 0.0, 0.0], [0.5, 1.5, 0.0], [1.0, -0.5, 1.0]])
TALL = t(values=[[1.0, 0.5], [-0.5, 2.0], [1.5, 1.0], [0.5, -1.0]])
NONE = T((0, 0))
SINGLE = {"float32": (1e-4, 1e-4), "complex64": (1e-4, 1e-4)}
PLAIN = {"kinds": "fc", "refused": SHORT, "tolerance": SINGLE, "strides": False}
OWN = {**PLAIN, "method": False}  # torch.linalg: no methods

A, B = "A must be batches of square matrices, but they are 2 by 3 matrices", "have at least 2 dimensions"
NOT_SQUARE, FLAT = t(2, 3), t(3)


def wrong(name: str, *rest):
    """The errors of a function of square matrices."""
    return [
        bad(RuntimeError, f"{name}: {A}", NOT_SQUARE, *rest),
        bad(RuntimeError, f"{name}: The input tensor A must {B}", FLAT, *rest),
    ]


row("linalg.inv", [s(SQUARE), s(STACK), s(NONE)], numpy=np.linalg.inv, errors=wrong("linalg.inv"),
    covers=("inv_core",), **OWN)  # fmt: skip
row("inverse", [s(SQUARE), s(STACK)], numpy=np.linalg.inv, **PLAIN)
row("linalg.inv_ex", [s(SQUARE), s(STACK)], **OWN)
row("linalg.det", [s(SQUARE), s(STACK), s(NONE)], numpy=np.linalg.det, errors=wrong("linalg.det"),
    covers=("det_core",), **OWN)  # fmt: skip
row("det", [s(SQUARE)], numpy=np.linalg.det, out=False, **PLAIN)
row("linalg.slogdet", [s(SQUARE), s(STACK)], numpy=np.linalg.slogdet, covers=("slogdet_core",), **OWN)
row("slogdet", [s(SQUARE)], numpy=np.linalg.slogdet, errors=wrong("linalg.slogdet"), **PLAIN)
row("logdet", [s(SQUARE)], out=False, errors=wrong("logdet"), **PLAIN)
row("linalg.solve", [s(SQUARE, t(3, 2)), s(SQUARE, t(3)), s(STACK, t(2, 2)), s(SQUARE, t(2, 3), left=False)],
    errors=[bad(RuntimeError, f"linalg.solve: {A}", NOT_SQUARE, t(3)),
            bad(RuntimeError, "linalg.solve: Incompatible shapes of A and B for the equation AX = B (3x3 and 2x1)",
                SQUARE, t(2, 1))], covers=("solve_core",), **OWN)  # fmt: skip
row("linalg.solve_ex", [s(SQUARE, t(3, 2))], **OWN)
row("linalg.solve_triangular", [s(LOWER, t(3, 2), upper=False), s(SQUARE, t(3, 2), upper=True),
    s(SQUARE, t(2, 3), upper=True, left=False), s(SQUARE, t(3, 1), upper=False, unitriangular=True),
    s(STACK, t(2, 1), upper=True)],
    errors=[bad(RuntimeError, f"linalg.solve_triangular: The input tensor B must {B}", SQUARE, t(3), upper=True)],
    covers=("triangular_core",), **OWN)  # fmt: skip
row("triangular_solve", [s(t(3, 2), SQUARE), s(t(3, 2), SQUARE, False), s(t(3, 2), SQUARE, True, True),
    s(t(3, 1), SQUARE, unitriangular=True)], **PLAIN)  # fmt: skip
row("linalg.pinv", [s(TALL), s(SQUARE), s(STACK)], numpy=np.linalg.pinv, covers=("pinv_core",), **OWN)
row("pinverse", [s(TALL)], numpy=np.linalg.pinv, out=False, **PLAIN)
row("linalg.lstsq", [s(TALL, t(4, 2)), s(SQUARE, t(3, 1)), s(TALL, t(4, 1), driver="gels")],
    errors=[bad(RuntimeError, "torch.linalg.lstsq: input.size(-2) should match other.size(-2)", SQUARE, t(2, 1))],
    covers=("lstsq_core",), **OWN)  # fmt: skip
row("linalg.tensorinv", [s(t(values=np.eye(6).reshape(2, 3, 6) * 2), ind=2)], **OWN)
row("linalg.tensorsolve", [s(t(values=np.eye(6).reshape(2, 3, 2, 3) * 2), t(2, 3))], **OWN)
# Only one half is read: gradients are those of symmetric changes, no slopes of single elements.
row("linalg.cholesky", [s(POSITIVE), s(POSITIVE, upper=True)], slopes=False, errors=wrong("linalg.cholesky"),
    covers=("cholesky_core",), **OWN)  # fmt: skip
row("cholesky", [s(POSITIVE), s(POSITIVE, True)], slopes=False, **PLAIN)
row("linalg.cholesky_ex", [s(POSITIVE)], slopes=False, **OWN)
row("cholesky_solve", [s(t(3, 2), LOWER)], slopes=False, covers=("cholesky_solve_core",), **PLAIN)
row("cholesky_inverse", [s(LOWER), s(LOWER, True)], slopes=False, covers=("cholesky_inverse_core",), **PLAIN)
row("linalg.lu_factor", [s(SQUARE), s(STACK), s(TALL), s(NOT_SQUARE)], covers=("lu_core",), **OWN)
row("linalg.lu_factor_ex", [s(SQUARE)], **OWN)
row("linalg.lu", [s(SQUARE), s(STACK), s(TALL), s(NOT_SQUARE)], **OWN)
row("lu", [s(SQUARE)], **PLAIN)
PIVOTS = t(values=[1, 3, 3], dtype="int32", grad=False)
row("linalg.lu_solve", [s(SQUARE, PIVOTS, t(3, 2)), s(SQUARE, PIVOTS, t(3, 2), adjoint=True),
    s(SQUARE, PIVOTS, t(2, 3), left=False)], errors=[bad(RuntimeError,
    "linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32", SQUARE, t(3, dtype="int64"), t(3, 1))],
    **OWN)  # fmt: skip
row("lu_solve", [s(t(3, 2), SQUARE, PIVOTS)], **PLAIN)
row("lu_unpack", [s(SQUARE, PIVOTS), s(SQUARE, PIVOTS, True, False)], more=OTHERS, **{**PLAIN, "method": False})
row("linalg.ldl_factor", [s(POSITIVE)], grad=False, covers=("ldl_core",), **OWN)
row("linalg.ldl_factor_ex", [s(POSITIVE, hermitian=True)], grad=False, **OWN)
row("linalg.ldl_solve", [s(LOWER, PIVOTS, t(3, 2))], grad=False, **OWN)
row("linalg.qr", [s(TALL), s(SQUARE), s(NOT_SQUARE)], second=False, slopes=False,
    errors=[bad(RuntimeError, "qr received unrecognized mode 'x'", TALL, "x")], covers=("qr_core",),
    **OWN)  # fmt: skip
row("qr", [s(TALL)], slopes=False, **PLAIN)
row("geqrf", [s(TALL), s(SQUARE)], grad=False, **PLAIN)
row("linalg.householder_product", [s(TALL, t(2))], errors=[bad(RuntimeError,
    "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]",
    NOT_SQUARE, t(2))], **OWN)  # fmt: skip
row("ormqr", [s(TALL, t(2), t(4, 3)), s(TALL, t(2), t(3, 4), False), s(TALL, t(2), t(4, 3), True, True)], **PLAIN)
row("linalg.eigvalsh", [s(POSITIVE)], slopes=False, errors=wrong("linalg.eigh"), **OWN)
row("linalg.eigh", [s(POSITIVE), s(POSITIVE, "U")], grad=False, errors=[bad(RuntimeError,
    "Expected UPLO argument to be 'L' or 'U', but got X", POSITIVE, "X")], covers=("eigh_core",), **OWN)  # fmt: skip
row("linalg.eig", [s(SQUARE)], compare=False, grad=False, covers=("eig_core",), **OWN)
row("linalg.eigvals", [s(SQUARE)], slopes=False, **OWN)
row("linalg.svd", [s(TALL), s(SQUARE, False)], grad=False, covers=("svd_core",), **OWN)
row("svd", [s(TALL), s(TALL, compute_uv=False)], grad=False, **PLAIN)
row("linalg.svdvals", [s(TALL), s(SQUARE)], **OWN)
row("linalg.matrix_rank", [s(TALL), s(SQUARE, atol=3.0), s(POSITIVE, hermitian=True)], grad=False, **OWN)
row("linalg.cond", [s(SQUARE), s(TALL, -2)], second=False, **OWN)
row("linalg.matrix_power", [s(SQUARE, 3), s(SQUARE, -2), s(SQUARE, 1), s(SQUARE, 0)],
    errors=wrong("linalg.matrix_power", 2), more=(*SHORT, *WHOLE), **OWN)  # fmt: skip
row("matrix_power", [s(SQUARE, 2)], more=(*SHORT, *WHOLE), **PLAIN)
row("linalg.matrix_exp", [s(SQUARE), s(STACK)], covers=("matrix_exp_core",),
    **{**OWN, "out": False, "refused": (), "blind": SHORT})  # fmt: skip
row("matrix_exp", [s(STACK)], out=False, errors=wrong("linalg.matrix_exp"),
    **{**PLAIN, "refused": (), "blind": SHORT})  # fmt: skip
row("linalg.multi_dot", [s([t(2, 3), t(3, 4), t(4)])], more=(*SHORT, *WHOLE), **OWN)
row("linalg.vecdot", [s(t(2, 3), t(2, 3)), s(t(3), t(3)), s(t(3, 2), t(3, 2), dim=0)], more=SHORT, **OWN)
row(
    "linalg.vander",
    [s(t(3)), s(t(2, 3), N=4)],
    more=WHOLE,
    **{**OWN, "out": False},
)
row("linalg.cross", [s(t(4, 3), t(4, 3)), s(t(3, 4), t(1, 3), dim=-1)][:1], "uifc", method=False)
row("linalg.diagonal", [s(t(3, 4)), s(t(2, 3, 4), offset=1)], out=False, method=False)
row("linalg.matrix_norm", [s(TALL, ord) for ord in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)],
    second=False, **OWN)  # fmt: skip
row("linalg.norm", [s(t(5)), s(TALL, 2), s(t(2, 3), 3.0, 1)], second=False, **OWN)
