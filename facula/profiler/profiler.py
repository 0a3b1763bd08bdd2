"""`torch.profiler`: when to record, by a schedule of steps, and what to do with what was recorded."""

import os
import socket
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any
from warnings import warn

from facula.errors import fail

from .legacy import ProfilerActivity, record_function, supported_activities
from .legacy import profile as Session

__all__ = ["ExecutionTraceObserver", "ProfilerAction", "profile", "schedule", "tensorboard_trace_handler"]


class ProfilerAction(Enum):
    """What to do in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3
    DEVICE_STOPPED = 4


NONE, WARMUP, RECORD, SAVE = list(ProfilerAction)[:4]


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Tells for the number of a step what `profile` is to do.

    After `skip_first` steps it waits for `wait` steps, warms up for `warmup`, records for `active`, and begins again,
    at most `repeat` times (0: as long as there are steps). With `skip_first_wait` the first wait is left out.

    Examples
    --------
    >>> import facula as torch
    >>> [f(step).name for f in [torch.profiler.schedule(wait=1, warmup=1, active=2, repeat=1)] for step in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise AssertionError(
            f"Invalid profiler schedule arguments. Got wait={wait} (need >= 0), warmup={warmup} (need >= 0), "
            f"active={active} (need > 0), repeat={repeat} (need >= 0), skip_first={skip_first} (need >= 0)."
        )
    if warmup == 0:
        warn("Profiler won't be using warmup, this can skew profiler results", stacklevel=2)
    steps = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return NONE
        step += (wait if skip_first_wait else 0) - skip_first
        if repeat > 0 and step / steps >= repeat:
            return NONE
        place = step % steps
        if place < wait:
            return NONE
        return WARMUP if place < wait + warmup else RECORD if place < steps - 1 else SAVE

    return action


def _always(step: int) -> ProfilerAction:
    return RECORD


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False, use_python_export: bool = False
) -> Callable[[Any], None]:
    """For `profile(on_trace_ready=)`: writes each trace into a folder that TensorBoard reads.

    Parameters
    ----------
    dir_name : str
        The folder; made where it does not exist.
    worker_name : str, optional
        The beginning of the files' names, by default the host's name and the process's number.
    use_gzip : bool
        Whether to compress.
    """

    def handle(prof: Any) -> None:
        if not os.path.isdir(dir_name):
            try:
                os.makedirs(dir_name, exist_ok=True)
            except Exception as error:
                raise RuntimeError(f"Can't create directory: {dir_name}") from error
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handle


class ExecutionTraceObserver:
    """PyTorch's recorder of its dispatcher's calls; there is no dispatcher here."""

    def __init__(self) -> None:
        fail(
            NotImplementedError,
            "ExecutionTraceObserver records the calls of PyTorch's dispatcher",
            mend="profile(record_shapes=True) and export_chrome_trace() have each operator and its operands",
        )


class _KinetoProfile:
    """Records from `start` to `stop`, and hands out what was recorded; without a schedule."""

    def __init__(
        self, *, activities: Iterable[Any] | None = None, record_shapes: bool = False, profile_memory: bool = False,
        with_stack: bool = False, with_flops: bool = False, with_modules: bool = False, experimental_config: Any = None,
        execution_trace_observer: Any = None, acc_events: bool = False,
        custom_trace_id_callback: Callable[[], str] | None = None, post_processing_timeout_s: float | None = None,
    ):  # fmt: skip
        self.activities = _activities(activities)
        self.record_shapes, self.profile_memory, self.with_stack = record_shapes, profile_memory, with_stack
        self.with_flops, self.with_modules, self.acc_events = with_flops, with_modules, acc_events
        self.experimental_config = experimental_config
        self.execution_trace_observer = execution_trace_observer
        self.custom_trace_id_callback = custom_trace_id_callback
        self.use_device = "cuda" if ProfilerActivity.CUDA in self.activities else None
        self.preset_metadata: dict[str, Any] = {}
        self.profiler: Any = None

    def start(self) -> None:
        """Begin to record."""
        self.prepare_trace()
        self.start_trace()

    def stop(self) -> None:
        """End it."""
        self.stop_trace()

    def prepare_trace(self) -> None:
        """Make ready what the first recorded call would wait for."""
        kept = self.profiler.function_events if self.acc_events and self.profiler is not None else ()
        self.profiler = Session(
            use_cpu=ProfilerActivity.CPU in self.activities, use_device=self.use_device,
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory, with_stack=self.with_stack, with_flops=self.with_flops,
            with_modules=self.with_modules, use_kineto=True, custom_trace_id_callback=self.custom_trace_id_callback,
        )  # fmt: skip
        self.profiler.earlier = list(kept)

    def start_trace(self) -> None:
        """Begin to record what was prepared."""
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before starting trace")
        self.profiler.__enter__()

    def stop_trace(self) -> None:
        """End the recording."""
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before stopping trace")
        self.profiler.__exit__(None, None, None)

    def export_chrome_trace(self, path: str, use_python_export: bool = False) -> None:
        """Write the last recording for chrome://tracing, Perfetto or TensorBoard; with .gz at the end, compressed."""
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before exporting chrome trace")
        self.profiler.export_chrome_trace(path, self.preset_metadata)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write stacks and times for flame graphs; wants `with_stack=True`."""
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before exporting stacks")
        self.profiler.export_stacks(path, metric)

    def export_memory_timeline(self, path: str, device: str | None = None) -> None:
        """PyTorch's deprecated picture of memory by category: refused."""
        fail(
            NotImplementedError,
            "`export_memory_timeline` is deprecated and will be removed in a future version.",
            mend="export_chrome_trace() of profile(profile_memory=True) has every change of memory",
        )

    def toggle_collection_dynamic(self, enable: bool, activities: Iterable[ProfilerActivity]) -> None:
        """Interrupt the recording, or go on with it."""
        if self.profiler is not None:
            self.profiler.toggle_collection_dynamic(enable, activities)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ):
        """Sums over the calls of each operator (and shapes, and lines); `.table()` shows them."""
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before getting key averages")
        return self.profiler.key_averages(group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def events(self):
        """Every call, in order."""
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before accessing events")
        return self.profiler.function_events

    def add_metadata(self, key: str, value: str) -> None:
        """Add a text to the trace."""
        self.preset_metadata[key] = str(value)

    def add_metadata_json(self, key: str, value: str) -> None:
        """Add a value, given as JSON, to the trace."""
        import json

        self.preset_metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json


def _activities(given: Iterable[Any] | None) -> set[ProfilerActivity]:
    """The activities that are asked for, and exist here."""
    found: set[ProfilerActivity] = set()
    for item in supported_activities() if given is None else given:
        if not isinstance(item, (ProfilerActivity, dict)):
            raise TypeError(f"Expected ProfilerActivity or dict, got {type(item)}")
        for key in item if isinstance(item, dict) else (item,):
            if key in found:
                raise ValueError(f"Activity {key} specified more than once")
            found.add(key)
    return found


class profile(_KinetoProfile):
    """Records what runs in a block, or in the steps that a schedule chooses.

    Parameters
    ----------
    activities : iterable of ProfilerActivity, optional
        ``ProfilerActivity.CPU``, and ``CUDA`` where there is a GPU; by default all that there is.
    schedule : callable, optional
        Tells for the number of a step what to do: see `torch.profiler.schedule`. Without it all is recorded.
    on_trace_ready : callable, optional
        Called with the profiler whenever a recording is complete.
    record_shapes, profile_memory, with_stack, with_flops : bool
        Also record the operands' shapes, bytes that come into use (in blocks of the pool), the user's lines, and the
        floating-point operations of products and convolutions.
    with_modules : bool
        Also record the modules' calls, as events `nn.Module: Linear`.

    Notes
    -----
    The thread that starts it is recorded; others are not. An operator is an event `aten::...`, backward's nodes are
    events of PyTorch's names. What facula does in one kernel has no events inside.

    Examples
    --------
    >>> import facula as torch
    >>> x = torch.ones(4, 5)
    >>> with torch.profiler.profile(record_shapes=True) as prof:
    ...     out = torch.softmax(x, 1)
    >>> [(event.name, event.input_shapes) for event in prof.events()]
    [('aten::softmax', [[4, 5], []])]
    """

    def __init__(
        self, *, activities: Iterable[Any] | None = None, schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None, record_shapes: bool = False, profile_memory: bool = False,
        with_stack: bool = False, with_flops: bool = False, with_modules: bool = False, experimental_config: Any = None,
        execution_trace_observer: Any = None, acc_events: bool = False, use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None, post_processing_timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        activities = supported_activities() if activities is None else list(activities)
        if use_cuda is not None:
            warn("`use_cuda` is deprecated, use `activities` argument instead", FutureWarning, stacklevel=2)
            activities = [item for item in activities if item is not ProfilerActivity.CUDA]
            activities += [ProfilerActivity.CUDA] * use_cuda
        if not any(isinstance(item, ProfilerActivity) or (isinstance(item, dict) and item) for item in activities):
            raise AssertionError("No valid profiler activities found")
        super().__init__(
            activities=activities, record_shapes=record_shapes, profile_memory=profile_memory, with_stack=with_stack,
            with_flops=with_flops, with_modules=with_modules, experimental_config=experimental_config,
            execution_trace_observer=execution_trace_observer, acc_events=acc_events,
            custom_trace_id_callback=custom_trace_id_callback, post_processing_timeout_s=post_processing_timeout_s,
        )  # fmt: skip
        self.schedule = schedule or _always
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self.step_rec_fn: Any = None
        self.current_action = self._action(0)

    def _action(self, step: int) -> ProfilerAction:
        action = self.schedule(step)
        if action == ProfilerAction.DEVICE_STOPPED:
            raise ValueError(
                "ProfilerAction.DEVICE_STOPPED is set internally by the profiler and must not be returned by a "
                "user-provided schedule"
            )
        return action

    def __enter__(self) -> "profile":
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Begin with the first step."""
        self._go(NONE, self.current_action)
        self._mark()

    def stop(self) -> None:
        """End; what is being recorded is complete."""
        self._unmark()
        self._go(self.current_action, None)

    def step(self) -> None:
        """The next step begins."""
        self._unmark()
        before, after = self.current_action, self._action(self.step_num + 1)
        self.step_num, self.current_action = self.step_num + 1, after
        self._go(before, after)
        self._mark()

    def _mark(self) -> None:
        if self.record_steps:
            self.step_rec_fn = record_function(f"ProfilerStep#{self.step_num}")
            self.step_rec_fn.__enter__()

    def _unmark(self) -> None:
        if self.step_rec_fn is not None:
            self.step_rec_fn.__exit__(None, None, None)
            self.step_rec_fn = None

    def _go(self, before: ProfilerAction, after: ProfilerAction | None) -> None:
        """From one step's action to the next one's; None: there is no next."""
        if before is WARMUP and after in (NONE, None):
            if after is NONE:
                warn("Incorrect schedule: WARMUP followed by NONE", stacklevel=3)
            return  # nothing was recorded
        if before is RECORD and after in (NONE, WARMUP):
            warn(f"Incorrect schedule: RECORD followed by {after.name}", stacklevel=3)
        recorded, records = before in (RECORD, SAVE), after in (RECORD, SAVE)
        goes_on = before is RECORD and records
        if recorded and not goes_on:
            self.stop_trace()
            if before is SAVE or after is None:
                self._trace_ready()
        if before in (NONE, SAVE) and after in (WARMUP, RECORD, SAVE):
            self.prepare_trace()
        if records and not goes_on:
            self.start_trace()

    def _trace_ready(self) -> None:
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def set_custom_trace_id_callback(self, callback: Callable[[], str]) -> None:
        """What makes the names of traces."""
        self.custom_trace_id_callback = callback

    def get_trace_id(self) -> str | None:
        """The name of the trace."""
        return None if self.profiler is None else self.profiler.trace_id
