"""`torch.Stream` and `torch.Event`: a GPU's own, or those of a processor, whose work is done when a call returns."""

from typing import Any, NoReturn

from facula.core.device import device as Device
from facula.errors import fail

__all__ = ["Event", "Stream", "get_device_module"]


def _place(device: Any) -> Device:
    if isinstance(device, int) and not isinstance(device, bool):
        fail(RuntimeError, "Cannot access accelerator device when none is available.")
    where = Device("cpu" if device is None else device)
    if where.type != "cpu":  # a GPU that can be used has its own: see `_of_gpu`
        fail(RuntimeError, f"PyTorch is not linked with support for {where.type} devices")
    return where


def _of_gpu(name: str, device: Any, *args: Any, **kwargs: Any) -> Any:
    """The GPU's own object where it is meant and can be used: it is meant, too, where no device is named."""
    from facula import cuda

    named = device is None or isinstance(device, int) or Device(device).type == "cuda"
    return getattr(cuda, name)(*args, **kwargs) if named and cuda.is_available() else None


def _no_events() -> NoReturn:
    fail(RuntimeError, "cpu backend doesn't support events.", mend="on a processor, work is done when a call returns")


class Event:
    """A point in a stream's work; on a processor it has always been reached.

    Examples
    --------
    >>> import facula as torch
    >>> torch.Event().query()
    True
    """

    __module__ = "torch"
    device: Any
    event_id: Any
    _timing: bool

    # What makes a GPU's own, a subclass, is `__new__`: an `__init__` would be called with that object, too.
    def __new__(
        cls, device: Any = None, *, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> Any:
        options = {"enable_timing": enable_timing, "blocking": blocking, "interprocess": interprocess}
        found = _of_gpu("Event", device, **{name: value for name, value in options.items() if value})
        if found is None:
            found = object.__new__(cls)
            found.device, found.event_id, found._timing = _place(device), 0, enable_timing
        return found

    def query(self) -> bool:
        """True: work is done when a call returns."""
        return True

    def record(self, stream: "Stream | None" = None) -> None:
        """RuntimeError: a processor has no events."""
        _no_events()

    def wait(self, stream: "Stream | None" = None) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, end_event: "Event") -> float:
        """RuntimeError: a processor has no events."""
        if not (self._timing and end_event._timing):
            fail(ValueError, "Both events must be created with argument 'enable_timing=True'.")
        _no_events()

    def __repr__(self) -> str:
        return f"torch.Event device_type=cpu, device_index=-1, event_flag={int(self._timing)}, event_id=0"


class Stream:
    """The order of a device's work; a processor has one.

    Examples
    --------
    >>> import facula as torch
    >>> torch.Stream() == torch.Stream("cpu")
    True
    """

    __module__ = "torch"
    device: Device
    device_index: int
    device_type: int
    stream_id: int

    def __new__(cls, device: Any = None, *, priority: int = 0) -> Any:
        found = _of_gpu("Stream", device, device, priority)
        if found is None:
            found = object.__new__(cls)
            found.device, found.device_index, found.device_type, found.stream_id = _place(device), -1, 0, 0
        return found

    def query(self) -> bool:
        """True: work is done when a call returns."""
        return True

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait_event(self, event: Event) -> None:
        """Nothing to wait for."""

    def wait_stream(self, stream: "Stream") -> None:
        """RuntimeError: a processor has no events."""
        _no_events()

    def record_event(self, event: Event | None = None) -> Event:
        """RuntimeError: a processor has no events."""
        _no_events()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream)

    def __hash__(self) -> int:
        return hash(Stream)

    def __repr__(self) -> str:
        return "torch.Stream device_type=cpu, device_index=-1, stream_id=0"


def get_device_module(device: Any = None) -> Any:
    """`torch.cpu`, `torch.cuda`: the module of a device's type, by default the machine's.

    Examples
    --------
    >>> import facula as torch
    >>> torch.get_device_module("cpu").is_available()
    True
    """
    from importlib import import_module

    if device is not None and not isinstance(device, (str, Device)):
        fail(RuntimeError, f"Invalid value of device '{device}', expect torch.device, str, or None")
    from facula.accelerator import is_available

    usual = "cuda" if device is None and is_available() else "cpu"
    kind = Device(usual if device is None else device).type
    if kind not in ("cpu", "cuda"):
        fail(RuntimeError, f"Device '{kind}' does not have a corresponding module registered as 'torch.{kind}'.")
    return import_module(f"facula.{kind}")
