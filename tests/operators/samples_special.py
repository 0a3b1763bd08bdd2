"""Rows of special functions."""

from .samples import unary
from .table import T, bad, row, s, t

SHORT = ("float16", "bfloat16")
LOOSE = {"float32": (1e-5, 1e-5), "float16": (5e-3, 5e-3), "bfloat16": (3e-2, 3e-2)}
OWN = {"kinds": "buif", "method": False, "tolerance": LOOSE}
WIDE = {**OWN, "refused": SHORT}

row("special.erfcx", unary(-2, 40, special=False), **WIDE)
row("special.ndtr", unary(-4, 4), **OWN)
row("special.log_ndtr", unary(-30, 6, special=False), **WIDE)
row("special.ndtri", unary(0.02, 0.98, special=False), **WIDE)
row("special.entr", unary(0.1, 3, special=False), **OWN)
row("special.xlog1py", [s(t(3, 4, low=0.5), t(4, low=-0.5)), s(t(3, low=0.5), 2.0), s(0.5, t(3, low=-0.5))], **OWN)
row("special.i0e", unary(0.5, 20, special=False), **OWN)
row("special.i1", unary(0.5, 12, special=False), second=False, **{**OWN, "refused": ("float16",), "more": ("float16",)})
row("special.i1e", unary(0.5, 20, special=False), second=False, **OWN)
# PyTorch's numbers are wrong by 4e-7: docs/differences.md; test_special.py is as sharp as float64.
BESSEL = {**WIDE, "tolerance": {**LOOSE, "float64": (1e-5, 1e-6)}}
row("special.airy_ai", unary(-6, 6, special=False), grad=False, **BESSEL)
for name in ("bessel_y0", "bessel_y1"):
    row(f"special.{name}", unary(0.3, 9, special=False), grad=False, **BESSEL)
for name in ("bessel_j0", "bessel_j1"):
    row(f"special.{name}", unary(-12, 12, special=False), grad=False, **BESSEL)
for name in ("modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
             "scaled_modified_bessel_k0", "scaled_modified_bessel_k1"):  # fmt: skip
    row(f"special.{name}", unary(0.3, 9, special=False), grad=False, **WIDE)
row("special.spherical_bessel_j0", unary(-12, 12, special=False), grad=False, **WIDE)
NUMBERS = {"errors": [bad(TypeError, "special_", 1, 2)]}
ORDERS = T((4,), values=[0, 1, 3, 7], grad=False)
row("special.zeta", [s(t(3, low=1.2, high=4), t(3, low=0.5, high=12), ), s(3.0, t(4, low=0.5, high=9)),
    s(t(3, low=1.2, high=4, grad=False), 2.5)], grad=False, **NUMBERS, **WIDE)  # fmt: skip
for name in ("chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
             "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
             "shifted_chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he",
             "laguerre_polynomial_l", "legendre_polynomial_p"):  # fmt: skip
    row(f"special.{name}", [s(t(3, 4, low=-1, high=1), ORDERS), s(t(4, low=1, high=2), 3), s(0.5, ORDERS)],
        grad=False, strides=False, covers=(f"{name}_values",), **NUMBERS, **WIDE)  # fmt: skip
