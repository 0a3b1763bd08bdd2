"""`torch.autograd.profiler`: one recording, and marks in it; `profiler.py` does several, by a schedule."""

from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from enum import Enum
from typing import Any
from warnings import warn

from facula import launch
from facula.core.device import device
from facula.core.modes import LOCAL
from facula.errors import fail

from .events import (
    DeviceType,
    EventList,
    FormattedTimesMixin,
    FunctionEvent,
    FunctionEventAvg,
    Interval,
    Kernel,
    events_of,
)
from .watching import USER, Recorder, start, stop

__all__ = [
    "DeviceType", "EventList", "FormattedTimesMixin", "FunctionEvent", "FunctionEventAvg", "Interval", "Kernel",
    "KinetoStepTracker", "ProfilerActivity", "emit_itt", "emit_nvtx", "kineto_available", "load_nvprof", "profile",
    "record_function", "supported_activities",
]  # fmt: skip


class ProfilerActivity(Enum):
    """What may be recorded."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5

    def __str__(self) -> str:
        return f"ProfilerActivity.{self.name}"


def supported_activities() -> set[ProfilerActivity]:
    """The activities that can be recorded here."""
    return {ProfilerActivity.CPU, ProfilerActivity.CUDA} if launch.accelerated() else {ProfilerActivity.CPU}


def kineto_available() -> bool:
    """Whether there are traces: always."""
    return True


class record_function(ContextDecorator):
    """Marks a block, or each call of a function, in what a profiler records.

    Examples
    --------
    >>> import facula as torch
    >>> with torch.profiler.profile() as prof:
    ...     with torch.profiler.record_function("mine"):
    ...         out = torch.ones(3) + 1
    >>> [(event.name, event.cpu_parent and event.cpu_parent.name) for event in prof.events()]
    [('mine', None), ('aten::ones', 'mine'), ('aten::add', 'mine')]
    """

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self.run_callbacks_on_exit = True
        self.open: list[Any] = []

    def __enter__(self) -> "record_function":
        recorder = LOCAL.watch
        record = None if recorder is None or recorder.paused else recorder.begin(self.name, USER, 2)
        self.open.append((recorder, record))
        return self

    def __exit__(self, *error: Any) -> None:
        if self.open:
            recorder, record = self.open.pop()
            if record is not None and not record.end:
                recorder.finish(record)


class profile:
    """Records the operators that run in a block.

    Parameters
    ----------
    enabled : bool
        Whether to do anything.
    use_device : str, optional
        "cuda": also how long the GPU takes.
    record_shapes, with_flops, profile_memory, with_stack, with_modules : bool
        As for `torch.profiler.profile`.
    """

    def __init__(
        self, enabled: bool = True, *, use_cuda: bool = False, use_device: str | None = None,
        record_shapes: bool = False, with_flops: bool = False, profile_memory: bool = False, with_stack: bool = False,
        with_modules: bool = False, use_kineto: bool = False, use_cpu: bool = True, experimental_config: Any = None,
        acc_events: bool = False, custom_trace_id_callback: Callable[[], str] | None = None,
        post_processing_timeout_s: float | None = None, activity_filters: Any = None,
    ):  # fmt: skip
        self.enabled = enabled
        if not enabled:
            return
        if use_cuda:
            warn(
                "The attribute `use_cuda` will be deprecated soon, please use ``use_device = 'cuda'`` instead.",
                FutureWarning,
                stacklevel=2,
            )
            use_device = "cuda"
        if use_device not in (None, "cuda"):
            warn(f"The {use_device} is not a valid device option.", stacklevel=2)
            use_device = None
        if use_device == "cuda" and not launch.accelerated():
            warn("CUDA is not available, disabling CUDA profiling", stacklevel=2)
            use_device = None
        if not (use_cpu or use_kineto):
            raise AssertionError("Device-only events supported only with Kineto (use_kineto=True)")
        self.use_cuda, self.use_device, self.use_cpu = use_cuda and use_device is not None, use_device, use_cpu
        self.record_shapes, self.with_flops = record_shapes or with_flops, with_flops
        self.profile_memory, self.with_stack, self.with_modules = profile_memory, with_stack, with_modules
        self.entered = False
        self.earlier: list[FunctionEvent] = []
        self.recorder: Recorder | None = None
        self.trace_id = custom_trace_id_callback() if custom_trace_id_callback else f"{id(self):X}"
        self._events: EventList | None = None

    def __enter__(self) -> "profile | None":
        if not self.enabled:
            return None
        if self.entered:
            raise RuntimeError("Profiler context manager is not reentrant")
        self.entered = True
        clock = None if self.use_device is None else launch.native("Clock", device(self.use_device))()
        self.recorder = Recorder(self.record_shapes, self.profile_memory, self.with_stack, self.with_modules, clock)
        self.recorder.paused = not self.use_cpu and clock is None
        start(self.recorder)
        return self

    def __exit__(self, *error: Any) -> bool:
        if self.enabled and self.recorder is not None:
            stop(self.recorder)
        return False

    def toggle_collection_dynamic(self, enable: bool, activities: Iterable[ProfilerActivity]) -> None:
        """Interrupt the recording, or go on with it."""
        activities = set(activities)
        if self.recorder is not None and ProfilerActivity.CPU in activities:
            self.recorder.paused = not enable
        if self.recorder is not None and ProfilerActivity.CUDA in activities:
            self.recorder.timing = enable and self.recorder.clock is not None

    def __repr__(self) -> str:
        if not self.enabled or self.recorder is None:
            return "<unfinished torch.autograd.profile>" if self.enabled and self.entered else "[]"
        return repr(self.function_events)

    def __str__(self) -> str:
        return self.table() if self.enabled and self.recorder is not None else repr(self)

    @property
    def function_events(self) -> EventList:
        """Every call, in order."""
        if self._events is None:
            if self.recorder is None or not self.recorder.stopped:
                raise RuntimeError("Profiler didn't finish running")
            events = events_of(self.recorder, self.with_flops, self.record_shapes, self.use_cpu)
            events[:0] = self.earlier
            self._events = events
        return self._events

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int | None = 75,
        max_name_column_width: int | None = 55, max_shapes_column_width: int | None = 80, header: str | None = None,
        top_level_events_only: bool = False, time_unit: str | None = None,
    ) -> str:  # fmt: skip
        """The calls as text; see `EventList.table`."""
        return self.function_events.table(
            sort_by, row_limit, max_src_column_width, max_name_column_width, max_shapes_column_width, header,
            top_level_events_only, time_unit,
        )  # fmt: skip

    def export_chrome_trace(self, path: str, metadata: dict[str, Any] | None = None, use_python_export=False) -> None:
        """Write the calls for chrome://tracing, Perfetto or TensorBoard; with .gz at the end, compressed."""
        from .trace import export

        events: Any = self.function_events
        assert self.recorder is not None
        export(
            path, events, self.recorder, metadata or {}, record_shapes=self.record_shapes,
            profile_memory=self.profile_memory, with_stack=self.with_stack, with_flops=self.with_flops,
            with_modules=self.with_modules,
        )  # fmt: skip

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write stacks and times for flame graphs."""
        events = self.function_events
        if not self.with_stack:
            raise AssertionError("export_stacks() requires with_stack=True")
        events.export_stacks(path, metric)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """Sums over the calls of each operator."""
        return self.function_events.key_averages(group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def total_average(self) -> FunctionEventAvg:
        """The sum of all calls."""
        return self.function_events.total_average()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all calls, each outside the calls that it made."""
        return self.function_events.self_cpu_time_total


class _Emit:
    """Marks for a tool of a vendor, around each operator; there is no such tool on CPUs."""

    tool = needs = ""

    def __init__(self, enabled: bool = True, record_shapes: bool = False):
        self.enabled, self.record_shapes, self.entered = enabled, record_shapes, False

    def __enter__(self):
        if not self.enabled:
            return None
        if self.entered:
            raise RuntimeError(f"{self.tool} annotation context manager is not reentrant")
        fail(
            RuntimeError,
            f"{self.tool} functions not installed. Are you sure you have a {self.needs} build?",
            mend="torch.profiler.profile records the same, without a tool",
        )

    def __exit__(self, *error: Any) -> bool:
        return False


class emit_nvtx(_Emit):
    """Marks for NVIDIA's tools: refused without a GPU, as by PyTorch's builds for CPUs."""

    tool, needs = "NVTX", "CUDA"


class emit_itt(_Emit):
    """Marks for Intel's tools: refused."""

    tool, needs = "ITT", "ITT"


def load_nvprof(path: str) -> EventList:
    """Reads what NVIDIA's retired nvprof wrote: refused."""
    fail(NotImplementedError, "load_nvprof() reads files of nvprof, which NVIDIA has retired", got=path)


class KinetoStepTracker:
    """Counts the steps of several profilers and optimizers together: the farthest one counts."""

    _steps: dict[str, int] = {}  # noqa: RUF012
    _current = 0

    @classmethod
    def init_step_count(cls, requester: str) -> None:
        """A new counter begins at the step that was reached."""
        cls._steps[requester] = cls._current

    @classmethod
    def erase_step_count(cls, requester: str) -> bool:
        """Forget a counter; whether there was one."""
        return cls._steps.pop(requester, None) is not None

    @classmethod
    def increment_step(cls, requester: str) -> int:
        """One step more; returns the step that was reached."""
        cls._steps[requester] = cls._steps.get(requester, cls._current) + 1
        cls._current = max(cls._current, *cls._steps.values())
        return cls._current

    @classmethod
    def current_step(cls) -> int:
        """The step that was reached."""
        return cls._current
