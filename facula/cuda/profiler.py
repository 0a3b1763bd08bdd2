"""`torch.cuda.profiler`: when NVIDIA's profilers, started with `--capture-range cudaProfilerApi`, record."""

from collections.abc import Iterator
from contextlib import contextmanager

from facula.errors import refusal

from .starting import gpu

__all__ = ["init", "profile", "start", "stop"]


def start() -> None:
    """Have the profiler record from now on."""
    from facula.targets.cuda import driver

    gpu().enter()
    driver.good(driver.api().cuProfilerStart(), "cuProfilerStart")


def stop() -> None:
    """Have the profiler record no longer."""
    from facula.targets.cuda import driver

    gpu().enter()
    driver.good(driver.api().cuProfilerStop(), "cuProfilerStop")


@contextmanager
def profile() -> Iterator[None]:
    """Have the profiler record until the block ends."""
    start()
    try:
        yield
    finally:
        stop()


init = refusal("torch.cuda.profiler.init", "NVIDIA removed what it called; tell the profiler on its command line")
