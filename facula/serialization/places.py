"""Where storages are put: the tag that a file keeps of each storage, and the way back from tag to device."""

import re
from collections.abc import Callable
from typing import Any

from facula.core.device import device, place
from facula.errors import fail
from facula.operators.storages import TypedStorage, UntypedStorage

__all__ = [
    "default_restore_location", "location_tag", "register_package", "restorer", "validate_cuda_device",
    "validate_hpu_device",
]  # fmt: skip

_PACKAGES: list[tuple[int, Callable, Callable]] = []


def register_package(priority: int, tagger: Callable, deserializer: Callable) -> None:
    """Let a kind of storage have a tag of its own in files.

    Parameters
    ----------
    priority : int
        Lower ones are asked first; those of CPU and GPU have 10 and 20.
    tagger : function
        Takes a storage, returns its tag or None.
    deserializer : function
        Takes a storage on the CPU and a tag, returns the storage where that tag means, or None.
    """
    _PACKAGES.append((priority, tagger, deserializer))
    _PACKAGES.sort(key=lambda package: package[0])


def location_tag(storage) -> str:
    """The tag of a storage in files: its device.

    >>> import facula as torch
    >>> location_tag(torch.zeros(2).untyped_storage())
    'cpu'
    """
    for _, tagger, _ in _PACKAGES:
        tag = tagger(storage)
        if tag:
            return tag
    fail(RuntimeError, f"don't know how to determine data location of torch.storage.{type(storage).__name__}")


def default_restore_location(storage, location: str):
    """The storage where a tag of a file says; asked in the order of `register_package`.

    Raises
    ------
    RuntimeError
        The tag is unknown, or its device is not there.
    """
    for _, _, deserializer in _PACKAGES:
        found = deserializer(storage, location)
        if found is not None:
            return found
    fail(
        RuntimeError,
        f"don't know how to restore data location of torch.storage.{type(storage).__name__} (tagged with {location})",
        mend="say with map_location where it should go",
    )


def validate_cuda_device(location: str) -> int:
    """The number of the GPU that a tag means; RuntimeError where there is none such."""
    from facula import cuda

    if not cuda.is_available():
        fail(
            RuntimeError,
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            "storages to the CPU.",
        )
    index = place(device(location)).index or 0
    count = cuda.device_count()
    if index >= count:
        fail(
            RuntimeError,
            f"Attempting to deserialize object on CUDA device {index} but torch.cuda.device_count() is {count}. "
            "Please use torch.load with map_location to map your storages to an existing device.",
        )
    return index


def validate_hpu_device(location: str) -> int:
    """RuntimeError: facula runs on CPUs and NVIDIA GPUs."""
    fail(
        RuntimeError,
        "The HPU device module is not registered. If you are running on a CPU-only machine, please use torch.load with "
        "map_location=torch.device('cpu') to map your storages to the CPU.",
    )


def _on_gpu(storage, location: str):
    if not re.match(r"cuda(:|[0-9]|$)", location):
        return None
    there = device("cuda", validate_cuda_device(location))
    return storage if storage.device == there else UntypedStorage(storage._row.to(there).storage)


def _without_memory(storage, location: str):
    return UntypedStorage(storage.nbytes(), device="meta") if location == "meta" else None


def _tag_of(kind: str) -> Callable:
    return lambda storage: str(storage.device) if storage.device.type == kind else None


register_package(10, _tag_of("cpu"), lambda storage, location: storage if location == "cpu" else None)
register_package(20, _tag_of("cuda"), _on_gpu)
register_package(22, _tag_of("meta"), _without_memory)


def restorer(map_location) -> Callable[[UntypedStorage, str], Any]:
    """What puts each storage, read with its tag, where `map_location` wants it."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(storage, str(map_location.get(location, location)))
    if isinstance(map_location, str | bytes | device):
        place = map_location.decode("ascii") if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, location: default_restore_location(storage, place)
    if not callable(map_location):
        raise TypeError(
            f"map_location should be a device, a string, a dict or a function, not {type(map_location).__name__}"
        )

    def restore(storage: UntypedStorage, location: str) -> Any:
        found = map_location(storage, location)
        found = default_restore_location(storage, location) if found is None else found
        if not isinstance(found, UntypedStorage | TypedStorage):
            raise TypeError(f"map_location should return None or a storage, not {type(found).__name__}")
        return found

    return restore
