"""Matrix products on the GPU against those of float64 on the host: dtypes, sizes, views, batches, biases, settings.

python -m tests.targets.cuda.products

Prints what differs, then what cuBLASLt was asked for and what it has no algorithm for; ends with 1 where something
differs.
"""

import collections
import itertools
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import facula
from facula.targets.cuda.libraries import blas

F = facula.nn.functional
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7, "complex64": 2.0**-23,
           "float8_e4m3fn": 2.0**-3, "int32": 0.0}  # fmt: skip
SIZES = ((1, 1, 1), (17, 33, 9), (1, 300, 128), (300, 1, 128), (128, 64, 256), (257, 511, 129))
VIEWS: dict[str, Callable] = {
    "rows": lambda x: x,
    "columns": lambda x: x.mT.contiguous().mT,
    "gaps": lambda x: F.pad(x, (0, 3))[..., :-3],
    "every other": lambda x: F.pad(x.repeat_interleave(2, -1), (0, 0))[..., ::2],
    "offset": lambda x: F.pad(x.flatten(), (1, 0))[1:].view(x.shape),
    "one row": lambda x: x[..., :1, :].expand(x.shape),
}


def _made(*shape: int, kind: str) -> facula.Tensor:
    return facula.randn(*shape, dtype=facula.complex64 if kind == "complex64" else facula.float32).to(
        getattr(facula, kind)
    )


def cases(sizes: tuple = SIZES, kinds: tuple[str, ...] = tuple(EPSILON)[:5]) -> Iterator[tuple]:
    """Name, operands, what is done with them here and there, and the length of its sums."""
    for kind, (m, n, k) in itertools.product(kinds, sizes):
        a, b = _made(m, k, kind=kind), _made(k, n, kind=kind)
        for left, right in itertools.product(VIEWS, VIEWS):
            yield f"{kind} {m} x {n} x {k}, {left} @ {right}", (a, b), (VIEWS[left], VIEWS[right]), _product, k
        for bias in ((n,), (m, n), (m, 1), (1,)):
            yield f"{kind} {m} x {n} x {k}, bias {bias}", (_made(*bias, kind=kind), a, b), (), facula.addmm, k
        layer = a, b.mT.contiguous(), _made(n, kind=kind)
        yield f"{kind} {m} x {n} x {k}, layer", layer, (), F.linear, k
        yield f"{kind} {m} x {n} x {k}, layer's gradients", (*layer, _made(m, n, kind=kind)), (), _gradients, m
        heads = _made(2, m, 3, k, kind=kind), _made(2, n, 3, k, kind=kind)
        turned = (lambda x: x.transpose(1, 2), lambda x: x.permute(0, 2, 3, 1))
        yield f"{kind} {m} x {n} x {k}, heads", heads, turned, _product, k
        once = _made(2, 3, m, k, kind=kind), _made(1, 1, k, n, kind=kind)
        yield f"{kind} {m} x {n} x {k}, one for a batch", once, (), _product, k
    for kind in {"float16", "bfloat16"} & set(kinds):
        wide = lambda x, y: facula.mm(x, y, out_dtype=facula.float32)  # noqa: E731
        yield f"{kind} to float32", (_made(64, 96, kind=kind), _made(96, 32, kind=kind)), (), wide, 96
    bytes = [facula.randint(-128, 128, shape, dtype=facula.int8) for shape in ((64, 96), (32, 96))]
    yield "bytes", tuple(bytes), (lambda x: x, lambda x: x.mT), facula._int_mm, 96
    eight = _made(64, 96, kind="float8_e4m3fn"), _made(32, 96, kind="float8_e4m3fn")
    for result in (facula.float32, facula.bfloat16, facula.float8_e4m3fn):
        for scales in ((facula.tensor(2.0), facula.tensor(0.5)), (facula.rand(64, 1), facula.rand(1, 32))):
            scaled = lambda x, y, *s: facula._scaled_mm(x, y.mT, *s, out_dtype=result)  # noqa: B023, E731
            yield f"8-bit floats to {result}, {scales[0].numel()} scales", (*eight, *scales), (), scaled, 96
    plain = _made(48, kind="bfloat16"), _made(64, 96, kind="bfloat16"), _made(96, 48, kind="bfloat16")
    yield "with relu", plain, (), facula._addmm_activation, 96


def _product(x: facula.Tensor, y: facula.Tensor) -> facula.Tensor:
    return x @ y


def _gradients(x: facula.Tensor, w: facula.Tensor, b: facula.Tensor, grad: facula.Tensor) -> facula.Tensor:
    """Those of a layer's weight and of its bias, one after the other."""
    needed = [t.detach().requires_grad_() for t in (w, b)]
    return facula.cat([g.flatten() for g in facula.autograd.grad(F.linear(x, *needed), needed, grad)])


ALL_WIDE = (_product, _gradients, facula.addmm, F.linear)  # what can be computed in float64


def differs(operands: tuple, views: tuple, function: Callable, k: int) -> str:
    """How the GPU's result differs from the host's in float64, or ""."""
    seen = [view(x) for view, x in itertools.zip_longest(views, operands, fillvalue=lambda x: x)]
    there = [view(x.cuda()) for view, x in itertools.zip_longest(views, operands, fillvalue=lambda x: x)]
    found = function(*there)
    wanted = function(*seen)
    if found.dtype is not wanted.dtype or found.shape != wanted.shape:
        return f"{found.dtype} {tuple(found.shape)} and not {wanted.dtype} {tuple(wanted.shape)}"
    kind, wide = str(found.dtype)[6:], facula.complex128 if found.dtype.is_complex else facula.float64
    exact = function(*[x.to(wide) for x in seen]) if function in ALL_WIDE else wanted.to(wide)
    x, y = (t.to("cpu").to(wide).numpy() for t in (found, exact))
    # The result is rounded once; each addition of a sum too, those of 8-bit floats to fewer bits.
    sums = 2.0**-52 if kind == "float64" else 2.0**-12 if seen[0].dtype.itemsize == 1 else 2.0**-23
    allowed = EPSILON[kind] * (np.abs(y) + 2.0**-6) + sums * (k + 1) * (kind != "int32")
    worst = np.max(np.abs(x - y) - allowed, initial=-np.inf)
    return "" if worst <= 0 else f"{worst:.3g} beyond what is allowed, {np.mean(np.abs(x - y) > allowed):.1%} of it"


def compare(found: Iterator[tuple]) -> int:
    """How many cases differ."""
    asked, number, bad, make = collections.Counter(), 0, 0, blas.Call.__init__

    def noted(self, op, kind, turned, treat, *rest):
        try:
            make(self, op, kind, turned, treat, *rest)
        except LookupError:
            asked[f"no algorithm: {kind.a} to {kind.result}, bias {treat}, epilogue {kind.epilogue}"] += 1
            raise
        asked[f"{kind.a} to {kind.result}, bias {treat}, {'with' if self.workspace else 'without'} memory beside"] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas.Call, "__init__", noted)
        for name, *case in found:
            number += 1
            said = differs(*case)
            if said:
                bad += 1
                print(f"{name}: {said}", flush=True)
    print(f"{number} products, {bad} differ")
    for what, count in sorted(asked.items()):
        print(f"{count:6} {what}")
    return bad


if __name__ == "__main__":
    if not facula.cuda.is_available():
        sys.exit(facula.cuda.reason())
    facula.manual_seed(0)
    for narrow in ("fp16", "bf16"):  # by default parts of long sums may be rounded, as the algorithm has it
        setattr(facula.backends.cuda.matmul, f"allow_{narrow}_reduced_precision_reduction", False)
    sys.exit(bool(compare(cases())))
