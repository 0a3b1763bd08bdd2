"""`torch.cpu`: what programs ask of a device, for the processor."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = [
    "Event", "Stream", "StreamContext", "current_device", "current_stream", "device_count", "get_capabilities",
    "is_available", "is_initialized", "set_device", "stream", "synchronize",
]  # fmt: skip

# PyTorch's names for what LLVM calls otherwise.
_NAMES = {
    "sse4.1": "sse4_1", "sse4.2": "sse4_2", "sse4a": "sse4a", "avxvnni": "avx_vnni", "avx512f": "avx512_f",
    "avx512cd": "avx512_cd", "avx512dq": "avx512_dq", "avx512bw": "avx512_bw", "avx512vl": "avx512_vl",
    "avx512ifma": "avx512_ifma", "avx512vbmi": "avx512_vbmi", "avx512vbmi2": "avx512_vbmi2",
    "avx512bitalg": "avx512_bitalg", "avx512vpopcntdq": "avx512_vpopcntdq", "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16", "avx512fp16": "avx512_fp16", "avx512vp2intersect": "avx512_vp2intersect",
    "amx-bf16": "amx_bf16", "amx-tile": "amx_tile", "amx-int8": "amx_int8", "amx-fp16": "amx_fp16", "fma": "fma3",
}  # fmt: skip
_SAME = "sse sse2 sse3 ssse3 avx avx2 fma4 f16c bmi bmi2 popcnt lzcnt aes sha clflushopt clwb neon".split()


def get_capabilities() -> Mapping[str, Any]:
    """The instruction sets of the processor, by PyTorch's names: True or False; and its architecture."""
    import platform

    from llvmlite import binding

    features = binding.get_host_cpu_features()
    found: dict[str, Any] = {"architecture": platform.machine()}
    for theirs in (*_NAMES, *_SAME):
        if theirs in features:
            found[_NAMES.get(theirs, theirs)] = bool(features[theirs])
    return MappingProxyType(found)


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1: processors are not counted."""
    return 1


def current_device() -> str:
    """ "cpu"."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing to choose."""


def synchronize(device: Any = None) -> None:
    """Nothing to wait for: work is done when a call returns."""


class Stream:
    """The order of the processor's work, of which there is one."""

    def __init__(self, priority: int = -1):
        pass

    def wait_stream(self, stream: "Stream") -> None:
        """Nothing to wait for."""

    def record_event(self) -> None:
        """Nothing to record."""

    def wait_event(self, event: "Event") -> None:
        """Nothing to wait for."""


class Event:
    """A point in that work, which has been reached."""

    def query(self) -> bool:
        """True."""
        return True

    def record(self, stream: Stream | None = None) -> None:
        """Nothing to record."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing to wait for."""


_CURRENT = [Stream()]


def current_stream(device: Any = None) -> Stream:
    """The stream of the innermost `with torch.cpu.stream(...)`.

    Examples
    --------
    >>> import facula as torch
    >>> mine = torch.cpu.Stream()
    >>> with torch.cpu.stream(mine):
    ...     torch.cpu.current_stream() is mine
    True
    """
    return _CURRENT[0]


class StreamContext:
    """A block with another current stream."""

    def __init__(self, stream: Stream | None):
        self.stream, self.before = stream, _CURRENT[0]

    def __enter__(self) -> None:
        if self.stream is not None:
            self.before, _CURRENT[0] = _CURRENT[0], self.stream

    def __exit__(self, *error) -> None:
        if self.stream is not None:
            _CURRENT[0] = self.before


def stream(stream: Stream | None) -> StreamContext:
    """A block with another current stream."""
    return StreamContext(stream)
