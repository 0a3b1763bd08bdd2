"""`torch.autograd.profiler`: PyTorch's older place for what `facula/profiler/legacy.py` does."""

from facula.profiler.legacy import (
    DeviceType,
    EventList,
    FunctionEvent,
    KinetoStepTracker,
    ProfilerActivity,
    emit_itt,
    emit_nvtx,
    kineto_available,
    load_nvprof,
    profile,
    record_function,
    supported_activities,
)

__all__ = [
    "DeviceType", "EventList", "FunctionEvent", "KinetoStepTracker", "ProfilerActivity", "emit_itt", "emit_nvtx",
    "kineto_available", "load_nvprof", "profile", "record_function", "supported_activities",
]  # fmt: skip
