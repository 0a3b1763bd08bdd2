"""`torch.autograd.profiler_util`: events, lists of them, their averages and the table, of what `watching` recorded."""

import math
from collections import namedtuple
from collections.abc import Callable, Iterable
from enum import IntEnum
from operator import attrgetter
from typing import Any
from warnings import warn

from .watching import BACKWARD, MODULE, OPERATOR, USER, Record, Recorder, line_of
from .work import flops

__all__ = [
    "DeviceType", "EventList", "FormattedTimesMixin", "FunctionEvent", "FunctionEventAvg", "Interval", "Kernel",
    "events_of",
]  # fmt: skip

MEMORY_EVENT_NAME = "[memory]"
ENGINE = "autograd::engine::evaluate_function: "


class DeviceType(IntEnum):
    """The kinds of devices."""

    CPU, CUDA, MKLDNN, OPENGL, OPENCL, IDEEP, HIP, FPGA, MAIA, XLA, Vulkan = range(11)
    Metal, XPU, MPS, Meta, HPU, VE, Lazy, IPU, MTIA, PrivateUse1 = range(11, 21)

    def __repr__(self) -> str:
        return f"<DeviceType.{self.name}: {self.value}>"

    def __str__(self) -> str:
        return f"DeviceType.{self.name}"


Kernel = namedtuple("Kernel", ["name", "device", "duration"])


def time_text(us: float) -> str:
    """A time in microseconds as people write it.

    >>> time_text(12.3456), time_text(12345.6), time_text(1.5e6)
    ('12.346us', '12.346ms', '1.500s')
    """
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def memory_text(count: int) -> str:
    """A number of bytes as people write it.

    >>> memory_text(-640), memory_text(1536)
    ('-640 B', '1.50 KB')
    """
    for size, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def share_text(us: float, total: float) -> str:
    """A part of a time in percent."""
    return "NaN" if total == 0 else f"{us * 100.0 / total:.2f}%"


class Interval:
    """Two times in microseconds."""

    def __init__(self, start: float, end: float):
        self.start, self.end = start, end

    def elapsed_us(self) -> float:
        """The length of the interval."""
        return self.end - self.start


def _text_of(name: str) -> property:
    return property(lambda self: time_text(getattr(self, name)))


def _older(name: str, now: str) -> property:
    """A name of old, which warns."""

    def get(self):
        warn(f"`{name}` is deprecated, please use `{now}` instead.", FutureWarning, stacklevel=2)
        return getattr(self, now)

    return property(get)


class FormattedTimesMixin:
    """Times of events as text, and averages; the subclass has `cpu_time_total`, `device_time_total` and `count`."""

    count: int
    cpu_time_total: Any
    device_time_total: Any
    cpu_time_str = _text_of("cpu_time")
    device_time_str = _text_of("device_time")
    cpu_time_total_str = _text_of("cpu_time_total")
    device_time_total_str = _text_of("device_time_total")
    self_cpu_time_total_str = _text_of("self_cpu_time_total")
    self_device_time_total_str = _text_of("self_device_time_total")

    @property
    def cpu_time(self) -> float:
        """Microseconds a call."""
        return 0.0 if self.count == 0 else self.cpu_time_total / self.count

    @property
    def device_time(self) -> float:
        """Microseconds a call on the device."""
        return 0.0 if self.count == 0 else self.device_time_total / self.count

    cuda_time = _older("cuda_time", "device_time")


class FunctionEvent(FormattedTimesMixin):
    """One call; the attributes are PyTorch's."""

    def __init__(
        self, id: int, name: str, thread: int, start_us: float, end_us: float, overload_name: str = "",
        fwd_thread: int | None = None, input_shapes: Any = None, stack: Any = None, scope: int = 0,
        use_device: str | None = None, cpu_memory_usage: int = 0, device_memory_usage: int = 0,
        is_async: bool = False, is_remote: bool = False, sequence_nr: int = -1, node_id: int = -1,
        device_type: DeviceType = DeviceType.CPU, device_index: int = 0, device_resource_id: int | None = None,
        is_legacy: bool = False, flops: int | None = None, trace_name: str | None = None, concrete_inputs: Any = None,
        kwinputs: Any = None, is_user_annotation: bool = False, is_python_function: bool = False,
        activity_type: str | None = None, metadata_json: str | None = None, flow_id: int | None = None,
        flow_type: int | None = None, flow_start: bool | None = None, external_id: int = 0,
        linked_correlation_id: int = 0, extra_meta: Any = None, structured_input_shapes: Any = None,
        structured_input_strides: Any = None, input_dtypes: Any = None, python_id: int = -1,
        python_parent_id: int = -1, python_module_id: int = -1,
    ):  # fmt: skip
        self.id, self.name, self.thread, self.node_id = id, name, thread, node_id
        self.overload_name, self.trace_name, self.fwd_thread = overload_name, trace_name or name, fwd_thread
        self.time_range = Interval(start_us, end_us)
        self.kernels: list[Kernel] = []
        self.count = 1
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None
        self.input_shapes = [] if input_shapes is None else input_shapes
        self.structured_input_shapes = structured_input_shapes or self.input_shapes
        self.structured_input_strides = structured_input_strides or []
        self.concrete_inputs = [] if concrete_inputs is None else concrete_inputs
        self.kwinputs = {} if kwinputs is None else kwinputs
        self.input_dtypes: list[str] = input_dtypes or []
        self.is_python_function, self.activity_type, self.metadata_json = (
            is_python_function,
            activity_type,
            metadata_json,
        )
        self.flow_id, self.flow_type, self.flow_start = flow_id, flow_type, flow_start
        self.external_id, self.linked_correlation_id, self.event_metadata = (
            external_id,
            linked_correlation_id,
            extra_meta,
        )
        self.python_id, self.python_parent_id, self.python_module_id = python_id, python_parent_id, python_module_id
        self.stack = [] if stack is None else stack
        self.scope, self.use_device, self.sequence_nr = scope, use_device, sequence_nr
        self.cpu_memory_usage, self.device_memory_usage = cpu_memory_usage, device_memory_usage
        self.is_async, self.is_remote, self.is_legacy = is_async, is_remote, is_legacy
        self.device_type, self.device_index = device_type, device_index
        self.device_resource_id = thread if device_resource_id is None else device_resource_id
        self.flops = flops
        self.is_user_annotation = is_user_annotation
        self.self_cpu_percent: Any = -1
        self.total_cpu_percent: Any = -1
        self.total_device_percent: Any = -1
        self.module = ""  # the modules whose forward it is in
        self.record: Record | None = None

    def append_kernel(self, name: str, device: int, duration: float) -> None:
        """Note a kernel of a device."""
        self.kernels.append(Kernel(name, device, duration))

    def append_cpu_child(self, child: "FunctionEvent") -> None:
        """Note a call that this one made."""
        self.cpu_children.append(child)

    def set_cpu_parent(self, parent: "FunctionEvent") -> None:
        """Note the call that made this one."""
        self.cpu_parent = parent

    @property
    def key(self) -> str:
        """What averages are grouped by."""
        return self.name

    @property
    def cpu_time_total(self) -> float:
        """Microseconds from start to end."""
        return self.time_range.elapsed_us() if self.device_type == DeviceType.CPU else 0

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds outside the calls that it made."""
        if self.is_async or self.device_type != DeviceType.CPU:
            return 0
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def device_time_total(self) -> float:
        """Microseconds on the device."""
        if self.is_async or not self.use_device:
            return 0
        if self.device_type != DeviceType.CPU:
            return self.time_range.elapsed_us()
        own = sum(k.duration for k in self.kernels)  # of a legacy event: between its two marks
        return own if self.is_legacy else own + sum(child.device_time_total for child in self.cpu_children)

    @property
    def self_device_time_total(self) -> float:
        """Microseconds on the device outside the calls that it made."""
        if self.device_type != DeviceType.CPU:
            return self.device_time_total
        return self.device_time_total - sum(child.device_time_total for child in self.cpu_children)

    cuda_time_total = _older("cuda_time_total", "device_time_total")
    self_cuda_time_total = _older("self_cuda_time_total", "self_device_time_total")
    self_cuda_memory_usage = _older("self_cuda_memory_usage", "self_device_memory_usage")

    @property
    def self_cpu_memory_usage(self) -> int:
        """Bytes that came into use outside the calls that it made."""
        if self.is_async:
            return 0
        return self.cpu_memory_usage - sum(child.cpu_memory_usage for child in self.cpu_children)

    @property
    def self_device_memory_usage(self) -> int:
        """The same of the device."""
        return self.device_memory_usage - sum(child.device_memory_usage for child in self.cpu_children)

    def __repr__(self) -> str:
        device = self.use_device
        return (
            f"<FunctionEvent id={self.id} name={self.name} overload_name={self.overload_name} "
            f"device_type={self.device_type} node_id={self.node_id} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start} end_us={self.time_range.end} "
            f"cpu_children={[child.id for child in self.cpu_children]} {device}_time={self.device_time_str} "
            f"name={self.name} thread={self.thread} input_shapes={self.input_shapes} "
            f"cpu_memory_usage={self.cpu_memory_usage} {device}_memory_usage={self.device_memory_usage} "
            f"is_async={self.is_async} is_remote={self.is_remote} seq_nr={self.sequence_nr} is_legacy={self.is_legacy}>"
        )


class FunctionEventAvg(FormattedTimesMixin):
    """Sums over the events of one key; the attributes are PyTorch's."""

    SUMS = (
        "cpu_time_total", "device_time_total", "self_cpu_time_total", "self_device_time_total", "cpu_memory_usage",
        "device_memory_usage", "self_cpu_memory_usage", "self_device_memory_usage", "count",
    )  # fmt: skip
    TAKEN = (
        "key", "node_id", "is_async", "is_remote", "cpu_parent", "cpu_children", "overload_name", "input_shapes",
        "stack", "scope", "device_type", "is_legacy", "use_device", "is_user_annotation",
    )  # fmt: skip

    def __init__(self) -> None:
        self.key: str | None = None
        for name in self.SUMS:
            setattr(self, name, 0)
        self.node_id, self.is_async, self.is_remote, self.is_legacy = 0, False, False, False
        self.use_device: str | None = None
        self.input_shapes: Any = None
        self.overload_name: str | None = None
        self.stack: Any = None
        self.scope: int | None = None
        self.cpu_children: list[FunctionEvent] | None = None
        self.cpu_parent: FunctionEvent | None = None
        self.device_type = DeviceType.CPU
        self.is_user_annotation = False
        self.flops: int | None = 0
        self.self_cpu_percent: Any = -1
        self.total_cpu_percent: Any = -1

    def add(self, other: Any) -> "FunctionEventAvg":
        """Count another event, or the sum of others."""
        if self.key is None:
            for name in self.TAKEN:
                setattr(self, name, getattr(other, name))
        if not isinstance(other, (FunctionEvent, FunctionEventAvg)):
            raise AssertionError("Expected other to be a FunctionEvent or FunctionEventAvg")
        if other.key != self.key:
            raise AssertionError(f"Expected keys to match, but got {other.key} vs {self.key}")
        for name in self.SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.flops is not None:
            self.flops = (self.flops or 0) + other.flops
        return self

    def __iadd__(self, other: Any) -> "FunctionEventAvg":
        return self.add(other)

    def __repr__(self) -> str:
        device: Any = self
        name = self.use_device or "cuda"
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={device.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str}  self_{name}_time={device.self_device_time_total_str} "
            f"{name}_time={self.device_time_str} input_shapes={self.input_shapes} "
            f"cpu_memory_usage={device.cpu_memory_usage} {name}_memory_usage={device.device_memory_usage}>"
        )


class EventList(list):
    """Events, or their averages: a list with a table, averages and files."""

    def __init__(
        self, events: Iterable[Any] = (), use_device: str | None = None, profile_memory: bool = False,
        with_flops: bool = False,
    ):  # fmt: skip
        super().__init__(events)
        self._use_device, self._profile_memory, self._with_flops = use_device, profile_memory, with_flops

    def __str__(self) -> str:
        return self.table()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all events, each outside the calls that it made."""
        return sum(event.self_cpu_time_total for event in self)

    def _like(self, events: Iterable[Any]) -> "EventList":
        return EventList(events, self._use_device, self._profile_memory, self._with_flops)

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int | None = 75,
        max_name_column_width: int | None = 55, max_shapes_column_width: int | None = 80, header: str | None = None,
        top_level_events_only: bool = False, time_unit: str | None = None,
    ) -> str:  # fmt: skip
        """The events as text, in PyTorch's columns.

        Parameters
        ----------
        sort_by : str, optional
            An attribute, the largest first: ``cpu_time_total``, ``self_cpu_time_total``, ``cpu_memory_usage``,
            ``count``, ...
        row_limit : int
            How many rows at most; -1: all.
        header : str, optional
            A line above.
        top_level_events_only : bool
            Leave out what other events called.
        time_unit : str, optional
            ``s``, ``ms`` or ``us`` for all times.
        """
        events = self if sort_by is None else self._like(sorted(self, key=attrgetter(_plain(sort_by)), reverse=True))
        widths = max_src_column_width, max_name_column_width, max_shapes_column_width
        return _table(events, row_limit, widths, header, top_level_events_only, time_unit) if events else ""

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> "EventList":
        """The sums of the events with the same name (and shapes, and so many lines of the stack)."""
        sums: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            key: tuple = (event.key, event.node_id, event.device_type, event.is_legacy, event.is_user_annotation)
            if group_by_overload_name:
                key += (event.overload_name,)
            if group_by_input_shapes:
                key += (str(event.input_shapes),)
            if group_by_stack_n > 0:
                key += tuple(event.stack[:group_by_stack_n])
            sums.setdefault(key, FunctionEventAvg()).add(event)
        for found in sums.values():
            found.stack = found.stack[:group_by_stack_n]
            if not group_by_input_shapes:
                found.input_shapes = ""
            if not group_by_overload_name:
                found.overload_name = ""
        return self._like(sums.values())

    def total_average(self) -> FunctionEventAvg:
        """The sum of all events."""
        total = FunctionEventAvg()
        for event in self:
            total.key = None
            total.add(event)
        total.key = "Total"
        return total

    def supported_export_stacks_metrics(self) -> list[str]:
        """What `export_stacks` may be told to write."""
        return ["self_cpu_time_total", "self_cuda_time_total", "self_xpu_time_total", "self_privateuse1_time_total"]

    def export_stacks(self, path: str, metric: str) -> None:
        """Write a line for each event that has a stack: the stack, and its time in microseconds, for flame graphs."""
        from .trace import written

        if metric not in self.supported_export_stacks_metrics():
            raise ValueError(f"metric should be one of: {self.supported_export_stacks_metrics()}")
        plain = str.maketrans(" ;\t\n", "____")
        lines = []
        for event in self:
            value = int(getattr(event, _plain(metric)))
            if event.stack and value > 0:
                lines.append(";".join(entry.translate(plain) for entry in reversed(event.stack)) + f" {value}\n")
        with written(path) as file:
            file.write("".join(lines).encode())

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for chrome://tracing, without more than their names and times."""
        import json

        from .trace import written

        rows = [
            {"name": e.trace_name, "ph": "X", "ts": e.time_range.start, "dur": e.time_range.elapsed_us(),
             "tid": e.thread, "pid": "CPU functions", "args": {}}
            for e in self
        ]  # fmt: skip
        with written(path) as file:
            file.write(json.dumps(rows).encode())


def _plain(name: str) -> str:
    """The attribute that a metric's name means."""
    for device in ("cuda", "xpu", "privateuse1"):
        name = name.replace(device, "device")
    return name


def _flops_unit(least: int) -> tuple[float, str]:
    units = ("FLOPs", "KFLOPs", "MFLOPs", "GFLOPs", "TFLOPs", "PFLOPs")
    step = int(max(0, min(math.log10(least) / 3, len(units) - 1)))
    return 10.0 ** (-3 * step), units[step]


def _table(
    events: EventList, row_limit: int, widths: tuple, header: str | None, top_only: bool, unit: str | None
) -> str:
    """The text of `EventList.table`."""
    most_source, most_name, most_shapes = widths
    total = sum(e.self_cpu_time_total for e in events)
    device = (
        next((e.use_device for e in events if e.use_device), None)
        if any(e.self_device_time_total > 0 for e in events)
        else None
    )
    device_total = sum(
        e.self_device_time_total
        for e in events
        if e.device_type == DeviceType.CPU
        and e.is_legacy
        or e.device_type != DeviceType.CPU
        and not e.is_user_annotation
    )
    has_shapes = any(e.input_shapes for e in events)
    has_overloads = any(e.overload_name for e in events)
    stacks = [e.stack for e in events if e.stack]
    with_flops = events._with_flops and any(e.flops and e.flops > 0 for e in events)

    def limited(width: int, most: int | None) -> int:
        return width if most is None else min(width, most)

    def cut(name: str) -> str:
        return name if most_name is None or len(name) < most_name - 3 else name[: most_name - 3] + "..."

    def time(us: float) -> str:
        scale = {"s": 1e6, "ms": 1e3, "us": 1.0}.get(unit or "")
        return f"{us / scale:.3f}{unit}" if scale else time_text(us)

    name_width = limited(max(len(e.key) for e in events) + 4, most_name)
    shapes_width = limited(max(len(str(e.input_shapes)) for e in events) + 4, most_shapes)
    source_width = limited(max((len(entry) for stack in stacks for entry in stack), default=0) + 4, most_source)
    scale, flops_title = _flops_unit(min(e.flops for e in events if e.flops)) if with_flops else (1.0, "")

    def source(entry: str) -> str:
        return entry if len(entry) <= source_width else "..." + entry[len(entry) - source_width + 3 :]

    def percent(e: Any, name: str, us: float, whole: float = total) -> str:
        text = share_text(us, whole)
        setattr(e, name, text)
        return text

    columns: list[tuple[str, int, str, Callable[[Any], Any]]] = [("Name", name_width, ">", lambda e: cut(e.key))]
    if has_overloads:
        columns.append(("Overload Name", name_width, ">", lambda e: cut(e.overload_name)))
    columns += [
        ("Self CPU %", 12, ">", lambda e: percent(e, "self_cpu_percent", e.self_cpu_time_total)),
        ("Self CPU", 12, ">", lambda e: time(e.self_cpu_time_total)),
        ("CPU total %", 12, ">", lambda e: 0 if e.is_async else percent(e, "total_cpu_percent", e.cpu_time_total)),
        ("CPU total", 12, ">", lambda e: time(e.cpu_time_total)),
        ("CPU time avg", 12, ">", lambda e: time(e.cpu_time)),
    ]
    if device is not None:
        title = device.upper()
        share = lambda e: percent(e, "total_device_percent", e.self_device_time_total, device_total)  # noqa: E731
        columns += [
            (f"Self {title}", 12, ">", lambda e: time(e.self_device_time_total)),
            (f"Self {title} %", 12, ">", share),
            (f"{title} total", 12, ">", lambda e: time(e.device_time_total)),
            (f"{title} time avg", 12, ">", lambda e: time(e.device_time)),
        ]
    if events._profile_memory:
        columns.append(("CPU Mem", 12, ">", lambda e: memory_text(e.cpu_memory_usage)))
        columns.append(("Self CPU Mem", 12, ">", lambda e: memory_text(e.self_cpu_memory_usage)))
    columns.append(("# of Calls", 12, ">", lambda e: e.count))
    if has_shapes:
        columns.append(("Input Shapes", shapes_width, ">", lambda e: str(e.input_shapes)[:shapes_width]))
    if stacks:
        columns.append(("Source Location", source_width, "<", lambda e: source(e.stack[0]) if e.stack else ""))
    if with_flops:
        flops_text = lambda e: f"{e.flops * scale:8.3f}" if e.flops else "--"  # noqa: E731
        columns.append((f"Total {flops_title}", 12, ">", flops_text))

    form = "".join("{: " + align + str(width) + "}  " for _, width, align, _ in columns)
    rule = "".join("-" * width + "  " for _, width, _, _ in columns)
    wide = "=" * (sum(width + 2 for _, width, _, _ in columns) - 2)
    lines = [] if header is None else [wide, header]
    if top_only:
        lines += [wide, "This report only display top-level ops statistics"]
    lines += [rule, form.format(*[title for title, *_ in columns]), rule]
    count = 0
    for e in events:
        if count == row_limit:
            break
        if top_only and e.cpu_parent is not None:
            continue
        count += 1
        lines.append(form.format(*[value(e) for *_, value in columns]))
        if stacks:
            at = next(i for i, column in enumerate(columns) if column[0] == "Source Location")
            for entry in [*(e.stack or ())[1:], ""]:
                lines.append(form.format(*[source(entry) if i == at else "" for i in range(len(columns))]))
    lines += [rule, f"Self CPU time total: {time(total)}"]
    if device is not None:
        lines.append(f"Self {device.upper()} time total: {time(device_total)}")
    return "".join(line + "\n" for line in lines)


# --- events of records ----------------------------------------------------------------------------------------------


def stack_text(stack: Iterable[tuple[Any, int]]) -> list[str]:
    """The lines of a stack as PyTorch writes them."""
    return ["{}({}): {}".format(*line_of(line)) for line in stack]


def _shape(found: Any) -> list:
    """The shape of a spec, those of a list of specs, [] of anything else."""
    return [_shape(x) for x in found] if isinstance(found, tuple) else [] if found is None else list(found.shape)


_C_NAMES = {
    "float32": "float", "float64": "double", "int64": "long int", "int32": "int", "bool": "bool", "int16": "short int",
    "int8": "signed char", "uint8": "unsigned char", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip


def _types(found: Any) -> list[str]:
    return ["" if x is None else "TensorList" if isinstance(x, tuple) else _C_NAMES.get(x.dtype.name, str(x.dtype.name))
            for x in found or ()]  # fmt: skip


def works_itself(event: FunctionEvent) -> bool:
    """Whether a device had to do with a call, and with none inside."""
    return bool(event.kernels) and not any(child.kernels for child in event.cpu_children)


def _on_devices(events: list[FunctionEvent], begun: int) -> list[FunctionEvent]:
    """What devices did, as events of theirs."""
    found = []
    for event in events:
        if works_itself(event):
            assert event.record is not None
            index, stream, start, duration = event.record.span
            at = (start - begun) / 1e3
            kind = DeviceType[(event.use_device or "").upper()]
            found.append(FunctionEvent(event.id, event.name, stream, at, at + duration / 1e3, device_type=kind,
                                       device_index=index, use_device=event.use_device,
                                       is_user_annotation=event.is_user_annotation))  # fmt: skip
            found[-1].flops = 0
    return found


def events_of(
    recorder: Recorder, with_flops: bool = False, record_shapes: bool = False, use_cpu: bool = True
) -> EventList:
    """The events of what was recorded, in the order in which they began; without `use_cpu` those of devices alone."""
    found: list[FunctionEvent] = []
    made: dict[int, FunctionEvent] = {}  # by the id of the record
    dropped: dict[int, Any] = {}  # a record that does its caller's operator again -> the caller
    forwards: dict[int, FunctionEvent] = {}  # by the number of the node that the call made
    begun = recorder.started

    def parent_of(record: Record) -> FunctionEvent | None:
        above = record.parent
        while above is not None and id(above) in dropped:
            above = dropped[id(above)]
        return made.get(id(above)) if above is not None else None

    calls: dict[int, int] = {}
    for record in recorder.records:
        calls[id(record.parent)] = calls.get(id(record.parent), 0) + 1

    def add(name: str, record: Record, scope: int, above: FunctionEvent | None) -> FunctionEvent:
        start, end = (record.start - begun) / 1e3, (max(record.end, record.start) - begun) / 1e3
        event = FunctionEvent(
            len(found) + 1, name, record.thread, start, end, scope=scope, sequence_nr=record.sequence,
            cpu_memory_usage=record.memory, is_user_annotation=record.kind == USER, stack=stack_text(record.stack),
            use_device=recorder.use_device,
        )  # fmt: skip
        if record.span is not None and record.span[3] > 0:
            event.append_kernel(name, record.span[0], record.span[3] / 1e3)
            event.is_legacy = True
        if name.startswith("ProfilerStep#"):
            event.name = "ProfilerStep*"
        event.module, event.record = record.module, record
        if above is not None:
            event.cpu_parent = above
            above.cpu_children.append(event)
        found.append(event)
        return event

    for record in recorder.records:
        above = parent_of(record)
        if (
            record.kind == OPERATOR
            and above is not None
            and above.name == record.name
            and calls[id(record.parent)] == 1
        ):
            dropped[id(record)] = record.parent
            continue
        if record.kind == BACKWARD:
            above = add(ENGINE + record.name, record, 0, above)
        name = f"nn.Module: {record.name}" if record.kind == MODULE else record.name
        event = made[id(record)] = add(name, record, record.kind if record.kind in (BACKWARD, USER) else 0, above)
        if record_shapes:
            event.structured_input_shapes = [_shape(x) for x in record.inputs or ()]
            event.input_shapes = [[] if isinstance(x, tuple) else _shape(x) for x in record.inputs or ()]
            event.input_dtypes = _types(record.inputs)
            if record.kind == OPERATOR and record.numbers:
                positional, named, names = record.numbers
                event.concrete_inputs = list(positional)
                event.kwinputs = dict(zip(names, named))
        forward = None
        if record.kind == OPERATOR and record.sequence >= 0:
            forwards.setdefault(record.sequence, event)
        elif record.kind == BACKWARD and record.sequence >= 0:
            forward = forwards.get(record.sequence)
            if above is not None and forward is not None:
                above.fwd_thread = event.fwd_thread = forward.thread
                above.stack = event.stack = forward.stack
        if with_flops:
            event.flops = flops(record, forward.record if forward is not None else None)
    if not use_cpu:
        return EventList(_on_devices(found, begun), recorder.use_device)
    whole: dict[int, int] = {}
    for event in reversed(found) if with_flops else ():  # what the calls inside did is theirs
        inside = sum(whole[child.id] for child in event.cpu_children)
        whole[event.id] = max(event.flops or 0, inside)
        event.flops = whole[event.id] - inside
    for moment, change in zip(recorder.frees[::2], recorder.frees[1::2]):
        at = (moment - begun) / 1e3
        found.append(FunctionEvent(len(found) + 1, MEMORY_EVENT_NAME, recorder.thread, at, at, cpu_memory_usage=change))
    for event in found:
        if event.flops is None:
            event.flops = 0
    found.sort(key=lambda e: (e.time_range.start, -e.time_range.end, e.id))
    return EventList(found, recorder.use_device, recorder.memory, with_flops)
