"""`torch.autograd.profiler_util`: PyTorch's place for the events of `facula/profiler/events.py`."""

from facula.profiler.events import (
    DeviceType,
    EventList,
    FormattedTimesMixin,
    FunctionEvent,
    FunctionEventAvg,
    Interval,
    Kernel,
)

__all__ = [
    "DeviceType", "EventList", "FormattedTimesMixin", "FunctionEvent", "FunctionEventAvg", "Interval", "Kernel",
]  # fmt: skip
