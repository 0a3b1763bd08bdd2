"""`torch.cuda.streams`: the GPU's streams and events, and which stream a thread gives its work to."""

import ctypes
from typing import Any

from facula import streams
from facula.core.device import choose
from facula.core.device import device as Device
from facula.errors import fail, refusal

from .starting import gpu

__all__ = [
    "Event", "ExternalStream", "Stream", "StreamContext", "current_stream", "default_stream",
    "get_stream_from_external", "set_stream", "stream",
]  # fmt: skip


class Stream(streams.Stream):
    """Work in order, beside that of other streams; 32 of a priority exist, which programs share.

    Parameters
    ----------
    device : device, optional
        Its GPU.
    priority : int
        Lower numbers go first; 0 is the last.
    """

    __module__ = "torch.cuda"
    _own: Any  # `driver.Stream`
    _before: list[Any]

    def __new__(cls, device: Any = None, priority: int = 0, *, _own: Any = None, **known: Any) -> Any:
        found = object.__new__(cls)
        pointer = known.get("stream_ptr", known.get("stream_id"))
        if _own is None and pointer:
            from facula.targets.cuda import driver

            _own = driver.Stream(gpu(device), pointer)
        elif _own is None:
            _own = gpu(device).default if pointer == 0 else gpu(device).shared_stream(priority)
        found._own = _own
        found.device = Device("cuda", _own.device.index)
        found.device_index, found.device_type, found.stream_id = _own.device.index, 1, _own.key
        return found

    @property
    def cuda_stream(self) -> int:
        """The driver's handle."""
        return self._own.key

    @property
    def priority(self) -> int:
        """Lower numbers go first."""
        return self._own.priority

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """The least and the greatest priority."""
        return 0, -3

    @property
    def _as_parameter_(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.cuda_stream)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream

    def synchronize(self) -> None:
        """Wait for its work, and raise what checks have found in it."""
        from facula.targets.cuda import code, driver

        with driver.current(self._own.device):
            self._own.synchronize()
            code.raise_noted()

    def query(self) -> bool:
        """Whether its work is done."""
        return self._own.query()

    def record_event(self, event: Any = None) -> Any:
        """Mark what it has been given so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        """Later work waits for what `event` marks."""
        event.wait(self)

    def wait_stream(self, stream: Any) -> None:
        """Later work waits for what another stream has been given so far."""
        self.wait_event(stream.record_event())

    def __enter__(self) -> "Stream":
        self._before = [*getattr(self, "_before", ()), _use(self)]
        return self

    def __exit__(self, *error: object) -> None:
        _back(self._before.pop())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream and self.device == other.device

    def __hash__(self) -> int:
        return hash((self.cuda_stream, self.device))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class ExternalStream(Stream):
    """A stream that another library made, and gives back."""

    __module__ = "torch.cuda"

    def __new__(cls, stream_ptr: int, device: Any = None, **known: Any) -> Any:
        return super().__new__(cls, device, stream_ptr=stream_ptr, **known)


class Event(streams.Event):
    """A mark in a stream, made when it is first recorded.

    Parameters
    ----------
    enable_timing : bool
        Whether `elapsed_time` is asked of it.
    blocking : bool
        Whether a thread that waits for it sleeps.
    interprocess : bool
        Not implemented: events of several processes.
    external : bool
        Not implemented: nodes of its own in graphs.
    """

    __module__ = "torch.cuda"
    _own: Any  # `driver.Event`, or None
    _blocking: bool

    def __new__(
        cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
    ) -> Any:
        for name, wanted in (("interprocess", interprocess), ("external", external)):
            if wanted:
                refusal(f"torch.cuda.Event({name}=True)", "an event belongs to one process and one graph")()
        gpu()
        found = object.__new__(cls)
        found._own, found._timing, found._blocking = None, enable_timing, blocking
        return found

    @property
    def device(self) -> Device:
        """The GPU that it was recorded on."""
        return Device("cuda", self._own.device.index if self._own is not None else gpu().index)

    @property
    def cuda_event(self) -> int:
        """The driver's handle; 0 before it was recorded."""
        return int(self._own.handle) if self._own is not None else 0

    event_id = cuda_event

    @property
    def _as_parameter_(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.cuda_event)

    def record(self, stream: Any = None) -> None:
        """Mark what a stream has been given so far."""
        from facula.targets.cuda import driver

        own = (current_stream() if stream is None else stream)._own
        if self._own is None:
            self._own = driver.Event(own.device, self._timing, self._blocking)
        elif self._own.device is not own.device:
            fail(RuntimeError, f"Event device {self._own.device.index} does not match recording stream's device "
                 f"{own.device.index}.")  # fmt: skip
        self._own.record(own)

    def wait(self, stream: Any = None) -> None:
        """Later work of a stream waits for what it marks."""
        if self._own is not None:
            (current_stream() if stream is None else stream)._own.wait(self._own)

    def query(self) -> bool:
        """Whether what it marks is done."""
        return self._own is None or self._own.query()

    def synchronize(self) -> None:
        """Wait for what it marks."""
        if self._own is not None:
            self._own.synchronize()

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this mark to another one."""
        if not (self._timing and end_event._timing):
            fail(ValueError, "Both events must be created with argument 'enable_timing=True'.")
        if self._own is None or end_event._own is None:
            fail(ValueError, "Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            fail(ValueError, "Both events must be completed before calculating elapsed time.",
                 mend="end.synchronize() first")  # fmt: skip
        return self._own.elapsed(end_event._own)

    ipc_handle = refusal("torch.cuda.Event.ipc_handle", "an event belongs to one process")
    from_ipc_handle = staticmethod(refusal("torch.cuda.Event.from_ipc_handle", "an event belongs to one process"))

    def __repr__(self) -> str:
        return f"<torch.cuda.Event {self.cuda_event:#x}>" if self.cuda_event else "<torch.cuda.Event uninitialized>"


def current_stream(device: Any = None) -> Stream:
    """The stream that this thread's work is given to."""
    return Stream(_own=gpu(device).stream)


def default_stream(device: Any = None) -> Stream:
    """The stream that work is given to where nobody chose another one."""
    return Stream(_own=gpu(device).default)


def set_stream(stream: Stream | None) -> None:
    """Give this thread's work to a stream, and its GPU, from now on; None: no change."""
    if stream is not None:
        _use(stream)


def get_stream_from_external(data_ptr: int, device: Any = None) -> Stream:
    """A stream that another library made, and gives back."""
    return ExternalStream(data_ptr, device)


def _use(stream: Stream) -> tuple[Any, int]:
    """Give this thread's work to a stream, and its GPU; returns what `_back` takes."""
    own = stream._own
    before = own.device.stream
    own.device.stream = own
    return before, choose(own.device.index)


def _back(before: tuple[Any, int]) -> None:
    """Go back to the stream and the GPU of before."""
    stream, index = before
    stream.device.stream = stream
    choose(index)


class StreamContext:
    """Gives this thread's work to a stream until the block ends; None: no change."""

    def __init__(self, stream: Stream | None):
        self.stream = stream
        self.before: list[Any] = []

    def __enter__(self) -> None:
        if self.stream is not None:
            self.before.append(_use(self.stream))

    def __exit__(self, *error: object) -> None:
        if self.stream is not None:
            _back(self.before.pop())


def stream(stream: Stream | None) -> StreamContext:
    """Give this thread's work to a stream until the block ends; None: no change."""
    return StreamContext(stream)
