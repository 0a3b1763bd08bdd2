"""What this machine can do at most, measured: multiply-adds of all cores together, and bytes copied a second."""

import statistics
import time

from facula.targets.cpu.limits import peak

__all__ = ["LIMITS", "measure"]

LIMITS = {
    "float32": "FLOP/s of float32 FMA",
    "float64": "FLOP/s of float64 FMA",
    "copy": "B/s of a copy of 1e7 float32",
    "gpu copy": "B/s of a copy of 1e8 float32 on the GPU",
}
SAMPLES = 9
COPIED = 10**7  # elements


def _copy(frameworks) -> float:
    """Bytes read and written a second by the fastest of the frameworks' copies between two arrays that exist."""
    best = 0.0
    for torch in frameworks:
        source, target = torch.ones(COPIED), torch.zeros(COPIED)
        times = []
        for _ in range(5 * SAMPLES):
            start = time.perf_counter()
            target.copy_(source)
            times.append(time.perf_counter() - start)
        best = max(best, 2 * 4 * COPIED / statistics.median(times[SAMPLES:]))
    return best


def measure(frameworks, threads: int) -> dict[str, float]:
    """The limits of the host, by the names of `LIMITS`; those of a GPU are measured in `gpu.py`."""
    return {**{name: peak(name, threads) for name in ("float32", "float64")}, "copy": _copy(frameworks)}
