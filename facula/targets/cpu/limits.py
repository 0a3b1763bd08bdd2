"""The most multiply-adds a second that this machine can do, measured; what is shown of times compares with it."""

import ctypes
import threading
import time

from facula.native import jit

__all__ = ["peak"]

CHAINS = 12  # independent sums, more than the latency of an FMA times their number a cycle
TURNS = 2_000_000

_ELEMENTS = {"float32": ("float", 4), "float64": ("double", 8)}


def _text(element: str, lanes: int) -> str:
    """`@peak(turns)`: CHAINS vectors, each multiplied and added to `turns` times; returns something of the sums."""
    vector = f"<{lanes} x {element}>"
    fma = f"llvm.fma.v{lanes}f{32 if element == 'float' else 64}"
    chains = range(CHAINS)
    phis = "".join(f"  %s{i} = phi {vector} [ %start, %entry ], [ %t{i}, %loop ]\n" for i in chains)
    steps = "".join(f"  %t{i} = call {vector} @{fma}({vector} %s{i}, {vector} %x, {vector} %y)\n" for i in chains)
    sums = "".join(f"  %u{i + 1} = fadd {vector} %u{i}, %t{i}\n" for i in chains)
    splat = "".join(
        f"  %{name}0 = insertelement {vector} poison, {element} %{name}1, i32 0\n"
        f"  %{name} = shufflevector {vector} %{name}0, {vector} poison, <{lanes} x i32> zeroinitializer\n"
        for name in ("x", "y")
    )
    return f"""
declare {vector} @{fma}({vector}, {vector}, {vector})
define {element} @peak(i64 %turns, {element} %x1, {element} %y1) #0 {{
entry:
{splat}  %start = fadd {vector} %x, %y
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}{steps}  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %loop, label %done
done:
  %u0 = fadd {vector} %x, %y
{sums}  %one = extractelement {vector} %u{CHAINS}, i32 0
  ret {element} %one
}}
"""


def peak(name: str, threads: int, samples: int = 36) -> float:
    """FLOP/s of FMA chains of a dtype, in registers, on so many threads at once; ctypes lets go of the GIL.

    >>> peak("float32", 1, samples=1) > 1e6
    True
    """
    features = jit.machine.ready().features.split(",")
    bits = 512 if "+avx512f" in features else 256 if "+avx" in features else 128
    element, size = _ELEMENTS[name]
    lanes = bits // 8 // size
    text = _text(element, lanes) + f"attributes #0 = {{ {jit.attributes(bits)} }}\n"
    number = ctypes.c_float if size == 4 else ctypes.c_double
    run = ctypes.CFUNCTYPE(number, ctypes.c_int64, number, number)(jit.load(text, ["peak"], optimize="none")["peak"])

    def seconds() -> float:
        workers = [threading.Thread(target=run, args=(TURNS, 0.5, 0.25)) for _ in range(threads)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    seconds()
    # the best: a thread that waited for a core says nothing about the core
    return threads * TURNS * CHAINS * lanes * 2 / min(seconds() for _ in range(samples))
