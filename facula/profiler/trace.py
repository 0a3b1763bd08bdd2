"""The file of a profile: a Chrome trace, which Perfetto and TensorBoard read too, written whole or not at all."""

import gzip
import json
import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .events import ENGINE, MEMORY_EVENT_NAME, DeviceType, EventList, works_itself
from .watching import BACKWARD, MODULE, Recorder

__all__ = ["chrome_trace", "export", "written"]


@contextmanager
def written(path: Any) -> Iterator[Any]:
    """A binary file that takes its name when it is whole."""
    path = os.fspath(path)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def chrome_trace(events: EventList, recorder: Recorder, metadata: dict[str, Any], **flags: bool) -> dict[str, Any]:
    """The trace as PyTorch lays it out: calls, arrows from forward to backward, what memory did, names of threads."""
    pid, begun = os.getpid(), recorder.started / 1e3
    offset = time.time_ns() - time.perf_counter_ns()
    rows: list[dict[str, Any]] = []

    def row(kind: str, name: str, moment: float, **more: Any) -> None:
        rows.append({"ph": kind, "name": name, "pid": pid, "tid": recorder.thread, "ts": moment, **more})

    for word, value in (("process_name", {"name": os.path.basename(sys.executable)}), ("process_labels",
                        {"labels": "CPU"}), ("process_sort_index", {"sort_index": pid})):  # fmt: skip
        row("M", word, begun, args=value)
    row("M", "thread_name", begun, args={"name": f"thread {recorder.thread}"})
    row("M", "thread_sort_index", begun, args={"sort_index": recorder.thread})
    forwards: dict[int, tuple[float, int]] = {}
    allocated = 0
    for number, event in enumerate(events):
        at = begun + event.time_range.start
        if event.name == MEMORY_EVENT_NAME or event.device_type != DeviceType.CPU:
            continue
        record: Any = event.record
        module = record is not None and record.kind == MODULE
        kind = "user_annotation" if event.is_user_annotation else "python_function" if module else "cpu_op"
        more: dict[str, Any] = {"External id": event.id, "Record function id": 0, "Ev Idx": number}
        if event.sequence_nr >= 0:
            more |= {"Sequence number": event.sequence_nr, "Fwd thread id": event.fwd_thread or 0}
        if flags.get("record_shapes") and kind == "cpu_op":
            more |= {"Input Dims": event.structured_input_shapes, "Input type": event.input_dtypes}
            more["Concrete Inputs"] = event.concrete_inputs
        if event.stack:
            more["Call stack"] = ";".join(event.stack)
        if event.module:
            more["Module Hierarchy"] = event.module
        if flags.get("with_flops") and event.flops:
            more["Flops"] = event.flops
        row("X", event.trace_name or event.name, at, cat=kind, dur=event.time_range.elapsed_us(), args=more)
        if event.sequence_nr < 0:
            continue
        if event.scope != BACKWARD and not event.name.startswith(ENGINE):
            forwards.setdefault(event.sequence_nr, (at, event.thread))
        elif event.scope == BACKWARD and event.sequence_nr in forwards:
            start, _ = forwards[event.sequence_nr]
            row("s", "fwdbwd", start, cat="fwdbwd", id=event.sequence_nr)
            row("f", "fwdbwd", at, cat="fwdbwd", id=event.sequence_nr, bp="e")
    _lanes(rows, events, recorder)
    if recorder.memory:
        changes = [(m / 1e3, n) for m, n in zip(recorder.frees[::2], recorder.frees[1::2])]
        changes += [(r.end / 1e3, own) for r in recorder.records if (own := _own_memory(r, recorder))]
        for at, change in sorted(changes):
            allocated += change
            more = {"Total Reserved": 0, "Total Allocated": allocated, "Bytes": change}
            row("i", MEMORY_EVENT_NAME, at, cat="cpu_instant_event", s="t",
                args={**more, "Device Id": -1, "Device Type": 0})  # fmt: skip
    last = max(recorder.stopped, recorder.started) / 1e3
    rows.append({"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "PyTorch Profiler",
                 "ts": begun, "dur": last - begun, "args": {"Op count": len(events)}})  # fmt: skip
    for word, moment in (("Iteration Start: PyTorch Profiler", begun), ("Record Window End", last)):
        rows.append({"ph": "i", "s": "g", "name": word, "pid": "Traces", "tid": "Trace PyTorch Profiler", "ts": moment})
    return {
        "schemaVersion": 1,
        "deviceProperties": [],
        **{name: int(on) for name, on in flags.items() if on},
        "trace_id": uuid.uuid4().hex.upper(),
        "host_name": socket.gethostname(),
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": offset,
        **metadata,
        "traceEvents": rows,
    }


def _lanes(rows: list[dict[str, Any]], events: EventList, recorder: Recorder) -> None:
    """What devices did, a lane for each stream, with an arrow from the call."""
    pid, lanes = os.getpid(), {}
    for event in events:
        record = event.record
        if record is None or not event.kernels or not (event.is_user_annotation or works_itself(event)):
            continue
        index, stream, start, duration = record.span
        kind = "gpu_user_annotation" if event.is_user_annotation else "kernel"
        lane = {"pid": index, "tid": stream}
        lanes[index, stream] = lane
        more = {"External id": event.id, "device": index, "stream": stream}
        rows.append({"ph": "X", "cat": kind, "name": event.trace_name or event.name, **lane, "ts": start / 1e3,
                     "dur": duration / 1e3, "args": more})  # fmt: skip
        arrow = {"cat": "ac2g", "name": "ac2g", "id": event.id}
        rows.append({"ph": "s", **arrow, "pid": pid, "tid": recorder.thread, "ts": record.start / 1e3})
        rows.append({"ph": "f", **arrow, **lane, "ts": start / 1e3, "bp": "e"})
    for (index, stream), lane in lanes.items():
        for word, value in (("process_name", {"name": os.path.basename(sys.executable)}), ("process_labels",
                            {"labels": f"GPU {index}"}), ("process_sort_index", {"sort_index": 5000000 + index}),
                            ("thread_name", {"name": f"stream {stream}"}),
                            ("thread_sort_index", {"sort_index": stream})):  # fmt: skip
            rows.append({"ph": "M", "name": word, **lane, "ts": recorder.started / 1e3, "args": value})


def _own_memory(record: Any, recorder: Recorder) -> int:
    return record.memory - sum(child.memory for child in recorder.children.get(id(record), ()))


def export(path: Any, events: EventList, recorder: Recorder, metadata: dict[str, Any], **flags: bool) -> None:
    """Write the trace to a file; its name ends in .gz where it is to be compressed."""
    path = os.fspath(path)
    children: dict[int, list] = {}
    for record in recorder.records:
        children.setdefault(id(record.parent), []).append(record)
    recorder.children = children
    found = {**chrome_trace(events, recorder, metadata, **flags), "traceName": path}
    data = json.dumps(found).encode()
    with written(path) as file:
        file.write(gzip.compress(data) if path.endswith(".gz") else data)
