"""Order between the current stream and streams of other libraries, which hand over memory or take it."""

from facula.core.device import device
from facula.errors import fail

from . import driver

__all__ = ["hand_over", "stream_number", "take_over", "where_is"]

ORDINAL = 9  # of CUpointer_attribute
LEGACY, PER_THREAD = 1, 2  # what other libraries call the default streams


def stream_number() -> int:
    """The current stream as another library is told it."""
    return driver.gpu().stream.key or LEGACY


def _of(number: int | None) -> "driver.Stream":
    gpu = driver.gpu()
    if number is None or number == LEGACY:
        return gpu.default
    if number == PER_THREAD:
        fail(BufferError, "per-thread default stream is not supported.")
    if number == 0:
        fail(AssertionError, "unsupported stream on CUDA: 0.", mend="1 is the default stream")
    return driver.Stream(gpu, number)


def _order(first: "driver.Stream", later: "driver.Stream") -> None:
    if first.key != later.key:
        mark = driver.Event(first.device)
        mark.record(first)
        later.wait(mark)


def hand_over(number: int | None) -> None:
    """Another library's stream waits for what the current stream was given so far."""
    _order(driver.gpu().stream, _of(number))


def take_over(number: int) -> None:
    """The current stream waits for what another library's stream was given so far."""
    _order(_of(number), driver.gpu().stream)


def where_is(ptr: int) -> device:
    """The GPU that an address is on; of none at all, the one in use."""
    gpu = driver.gpu()
    if ptr:
        gpu.enter()
        answer = driver.api().cuPointerGetAttribute(driver.api().CUpointer_attribute(ORDINAL), ptr)
        return device("cuda", int(driver.good(answer, "cuPointerGetAttribute")))
    return gpu.where
