"""What a session with a GPU runs first: the cases of `test_emulated.py` on the device itself, then speeds.

python -m tests.targets.cuda.device              cases (about a minute with an empty cache of texts), then speeds
python -m tests.targets.cuda.device --cases      cases alone, as under compute-sanitizer
python -m tests.targets.cuda.device --speeds     bytes a second of element-wise and row kernels, beside those of a copy

Operands lie in managed memory, which the host and the GPU both see. Afterwards: `python -m tests.targets.cuda.table`.
"""

import ctypes
import itertools
import sys
import time
import traceback
from collections.abc import Callable

import numpy as np
import pytest

import facula
from facula.operators import convolution as operators
from facula.targets.cuda import code, driver
from facula.targets.cuda.routines import convolution, product
from tests.targets import kernels
from tests.targets.cpu import test_emit as cases
from tests.targets.cuda import test_emulated, test_random

ATTACH_GLOBAL = 1  # of the flags of cuMemAllocManaged


class Managed:
    """Allocations that live as long as one family of cases."""

    def __init__(self):
        self.addresses: list[int] = []

    def array(self, values: np.ndarray) -> np.ndarray:
        """A copy of `values` that the GPU may touch."""
        size = max(1, values.nbytes)
        address = int(driver.good(driver.api().cuMemAllocManaged(size, ATTACH_GLOBAL), "cuMemAllocManaged"))
        self.addresses.append(address)
        found = np.frombuffer((ctypes.c_char * size).from_address(address), np.uint8)[: values.nbytes]
        found = found.view(values.dtype)
        found[...] = values
        return found

    def free(self) -> None:
        """Give all of them back."""
        for address in self.addresses:
            driver.good(driver.api().cuMemFree(address), "cuMemFree")
        self.addresses.clear()


def compiled(kernel, how, bits=None) -> Callable:
    """What `check_kernel` takes: it waits for the GPU, and returns what a check found."""
    function = code.compile(kernel, how)

    def call(*values):
        function(*values)
        driver.gpu().synchronize()
        return code.noted() if kernel.checks else None

    return call


def run_cases(families=None) -> int:
    """How many families fail."""
    managed, failed = Managed(), 0

    class Place(kernels.Place):
        def __init__(self, *given):
            super().__init__(*given)
            self.data = managed.array(self.data)

        def copy(self):
            other = super().copy()
            other.data = managed.array(self.data)
            return other

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "Place", Place)
        patch.setattr(cases, "compile", compiled)
        patch.setattr(cases, "test_in_place", lambda: None)  # its arrays are the host's
        for family in families or [*test_emulated.ALONE, *test_emulated.TOGETHER, *test_random.FAMILIES]:
            started = time.perf_counter()
            try:
                family()
                said = "agrees with the reference target"
            except Exception:
                failed += 1
                said = traceback.format_exc(limit=-3)
            managed.free()
            print(f"{family.__name__[1:]}, {time.perf_counter() - started:.1f} s: {said}", flush=True)
    return failed


def _milliseconds(run: Callable, times: int = 20) -> float:
    """The median over calls, by events."""
    for _ in range(3):
        run()
    found = []
    for _ in range(times):
        start, end = (facula.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end))
    return float(np.median(found))


def run_speeds(n: int = 100_000_000, additions: int = 10_000) -> None:
    """Bytes that must be read and written, a second."""
    where = "cuda"
    x, y = (facula.full((n,), v, device=where) for v in (0.5, 1.5))
    half, square = x.bfloat16(), x.view(-1, 1000)
    side = min(8192, int(n**0.5) // 2 * 2)
    wide, half_side = x[: side * side].view(side, side), side // 2
    rows: list[tuple[str, Callable, int]] = [
        ("copy", lambda: x.clone(), 8 * n),
        ("add", lambda: x + y, 12 * n),
        ("exp", lambda: x.exp(), 8 * n),
        ("gelu, bfloat16", lambda: facula.nn.functional.gelu(half), 4 * n),
        ("compare", lambda: x < y, 9 * n),
        ("to float64", lambda: x.double(), 12 * n),
        ("rows of 1000: softmax", lambda: square.softmax(1), 8 * n),
        ("rows of 1000: sum", lambda: square.sum(1), 4 * n),
        ("columns: sum", lambda: square.sum(0), 4 * n),
        ("all: sum", lambda: x.sum(), 4 * n),
        ("rows of 1000: cumsum", lambda: square.cumsum(1), 8 * n),
        ("transposed copy", lambda: wide.t().contiguous(), 8 * wide.numel()),
        ("rand", lambda: facula.rand(n, device=where), 4 * n),
        ("randn", lambda: facula.randn(n, device=where), 4 * n),
        ("randn, bfloat16", lambda: facula.randn(n, device=where, dtype=facula.bfloat16), 2 * n),
        ("dropout", lambda: facula.nn.functional.dropout(x, 0.1), 9 * n),
        ("dropout, bfloat16", lambda: facula.nn.functional.dropout(half, 0.1), 5 * n),
        ("matrix product", lambda: wide[:half_side, :half_side] @ wide[:half_side, half_side:], 0),
    ]
    copied = None
    for name, run, size in rows:
        took = _milliseconds(run, 5 if not size else 20)
        rate = size / took / 1e6
        copied = copied or rate
        said = f"{rate:8.0f} GB/s, {rate / copied:5.2f} of the copy"
        if not size:
            said = f"{2 * half_side**3 / took / 1e9:8.1f} TFLOP/s of {half_side} x {half_side}"
        print(f"{name:24} {took:9.3f} ms  {said}", flush=True)
    small = facula.ones(4, device=where)
    started = time.perf_counter()
    for _ in range(additions):
        small + small
    facula.cuda.synchronize()
    print(f"an addition of 4 numbers: {(time.perf_counter() - started) / additions * 1e6:.2f} us")


def run_tiles(side: int, kinds=(facula.float32, facula.float64, facula.bfloat16)) -> None:
    """Floating-point operations a second of generated products and convolutions, whatever libraries there are."""
    batch, channels, image = max(1, side // 128), max(8, side // 16), 28 if side > 1000 else 5
    rows: list[tuple[str, Callable, float]] = []
    for kind in kinds:
        a, b, c = (facula.ones(side, side, dtype=kind, device="cuda") for _ in range(3))
        for how, k_step, col_step in (("A B", side, 1), ("A B^T", 1, side)):
            sizes = {"m": side, "n": side, "k": side, "a_row": side, "a_k": 1, "c_row": side, "c_col": 1}
            bound = product.bind_product(a.spec.dtype, **sizes, b_k=k_step, b_col=col_step)
            at = (c.data_ptr(), a.data_ptr(), b.data_ptr())
            rows.append((f"{how}, {kind}", lambda f=bound, at=at, keep=(a, b, c): f(*at), 2.0 * side**3))
    for kind, last in itertools.product(kinds, (False, True)):
        x = facula.ones(batch, channels, image, image, dtype=kind, device="cuda")
        w = facula.ones(channels, channels, 3, 3, dtype=kind, device="cuda")
        if last:
            x, w = (v.to(memory_format=facula.channels_last) for v in (x, w))
        y = facula.empty_like(x)  # padded to the same size, with as many channels
        (plan,) = operators._forward_plans(x.spec, w.spec, y.spec, (1, 1), (1, 1), (1, 1), 1)
        forward, weight = (f(x.spec.dtype, plan.sizes) for f in (convolution.convolve, convolution.convolve_weight))
        at = (y.data_ptr(), x.data_ptr(), w.data_ptr())
        words = f"3 x 3, {kind}{', channels last' * last}"
        keep = (x, w, y, plan)
        rows += [
            (words, lambda f=forward, at=at, p=plan, keep=keep: f(*at, 0, p.address, p.work), 2.0 * plan.work),
            (f"{words}, weights", lambda f=weight, at=at, p=plan, keep=keep: f(at[2], at[1], at[0], p.address, p.work),
             2.0 * plan.work),
        ]  # fmt: skip
    for name, run, operations in rows:
        took = _milliseconds(run, 5)
        print(f"generated {name:48} {took:9.3f} ms  {operations / took / 1e9:8.1f} TFLOP/s", flush=True)


def main(arguments: list[str]) -> int:
    if not facula.cuda.is_available():
        print(facula.cuda.reason())
        return 1
    print(facula.cuda.get_device_name(), facula.cuda.get_device_capability())
    failed = 0 if "--speeds" in arguments else run_cases()
    if "--cases" not in arguments:
        run_speeds()
        run_tiles(4096)
    return failed


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
