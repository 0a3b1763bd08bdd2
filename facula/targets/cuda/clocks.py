"""When the GPU comes to marks in its streams: times for profilers, by the driver's events, without NVIDIA's tools."""

from time import perf_counter_ns

from . import driver

__all__ = ["Clock"]

Mark = tuple[driver.Event, int]  # and its stream


class Clock:
    """Marks in streams, and the time between two of them."""

    kind = "cuda"

    def __init__(self) -> None:
        self.begun: dict[
            int, tuple[driver.Event, int]
        ] = {}  # by number of a GPU: its first event, the host's time then
        self.spare: dict[int, list[driver.Event]] = {}

    def mark(self, index: int | None = None) -> Mark | None:
        """A mark behind what a GPU's current stream has been given; None before its start, and while it records."""
        if not driver.started():
            return None
        device = driver.gpu(index)
        if device.captures:
            return None
        if device.index not in self.begun:
            first = driver.Event(device, timing=True)
            first.record(device.stream)
            first.synchronize()
            self.begun[device.index] = first, perf_counter_ns()
            self.spare[device.index] = []
        spare, stream = self.spare[device.index], device.stream
        event = spare.pop() if spare else driver.Event(device, timing=True)
        event.record(stream)
        return event, stream.key

    def read(self, spans: list[tuple[Mark, Mark]]) -> list[tuple[int, int, int, int]]:
        """(GPU, stream, start in the host's nanoseconds, duration) of pairs of marks, in order; waits for all work.

        The driver tells differences in float32 milliseconds: starts are counted from one to the next.
        """
        for index in self.begun:
            driver.gpu(index).synchronize()
        found, last = [], dict(self.begun)
        for (start, stream), (end, _) in spans:
            index = start.device.index
            before, at = last[index]
            at += round(before.elapsed(start) * 1e6)
            last[index] = start, at
            found.append((index, stream, at, round(start.elapsed(end) * 1e6)))
        for pair in spans:
            for event, _ in pair:
                self.spare[event.device.index].append(event)
        return found
