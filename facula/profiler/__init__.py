"""`torch.profiler`: what ran, how often, how long, with which operands, from which line; see docs/profiling.md."""

from .events import DeviceType
from .legacy import ProfilerActivity, kineto_available, record_function, supported_activities
from .profiler import (
    ExecutionTraceObserver,
    ProfilerAction,
    _KinetoProfile,
    profile,
    schedule,
    tensorboard_trace_handler,
)

__all__ = [
    "DeviceType", "ExecutionTraceObserver", "ProfilerAction", "ProfilerActivity", "kineto_available", "profile",
    "record_function", "schedule", "supported_activities", "tensorboard_trace_handler",
]  # fmt: skip
assert _KinetoProfile
