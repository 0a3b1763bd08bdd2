"""The matrix product with NumPy; `targets/cpu/matmul.py` documents the arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from facula.core.dtype import dtype

from .memory import read, write

__all__ = ["bind_product", "product"]


def product(element: dtype) -> Callable[..., None]:
    """`C[i] = alpha * A[i] @ B[i] + beta * C[i] + bias`; 16-bit floats are summed in float32."""
    wide: Any = np.dtype("f4") if element.itemsize == 2 and element.kind == "f" else element.numpy

    def call(c, a, b, batch, m, n, k, *rest):
        (c_batch, c_row, c_col, a_batch, a_row, a_k, b_batch, b_k, b_col), rest = rest[:9], rest[9:]
        if element.kind == "c":
            alpha, beta, (bias, bias_row, bias_col) = complex(*rest[:2]), complex(*rest[2:4]), rest[4:]
        else:
            alpha, beta, bias, bias_row, bias_col = rest
        left = read(a, element, (batch, m, k), (a_batch, a_row, a_k)).astype(wide)
        right = read(b, element, (batch, k, n), (b_batch, b_k, b_col)).astype(wide)
        made = np.matmul(left, right) * wide.type(alpha)
        strides = (c_batch, c_row, c_col)
        if beta:
            made = made + read(c, element, (batch, m, n), strides).astype(wide) * wide.type(beta)
        if bias:
            made = made + read(bias, element, (m, n), (bias_row, bias_col)).astype(wide)
        write(c, element, strides, made.astype(wide))

    return call


class BoundProduct:
    """`product` with everything but the addresses settled; `targets/cpu/matmul.py`, `bind`, documents the fields."""

    tail = ()

    def __init__(self, element: dtype, fields: dict):
        self.call, self.size = product(element), element.itemsize
        self.fields = {"outer": 1, "alpha": 1.0, "beta": 0.0, **fields}
        self.scale = [self.fields["alpha"], self.fields["beta"]]
        if element.kind == "c":
            self.scale = [part for x in self.scale for part in (complex(x).real, complex(x).imag)]

    def function(self, c: int, a: int, b: int, bias: int) -> None:
        get = lambda name: self.fields.get(name, 0)  # noqa: E731
        tail = [get(name) for name in "m n k c_batch c_row c_col a_batch a_row a_k b_batch b_k b_col".split()]
        for i in range(get("outer")):
            for j in range(get("batch")):
                at = [
                    address and address + self.size * (i * get(f"{x}_outer") + j * get(f"{x}_batch"))
                    for x, address in (("c", c), ("a", a), ("b", b), ("bias", bias))
                ]
                self.call(*at[:3], 1, *tail, *self.scale, at[3], get("bias_row"), get("bias_col"))

    def __call__(self, c: int, a: int, b: int, bias: int = 0) -> None:
        self.function(c, a, b, bias)


def bind_product(element: dtype, **fields: int | float | complex) -> BoundProduct:
    """A product to call with addresses alone."""
    return BoundProduct(element, fields)
