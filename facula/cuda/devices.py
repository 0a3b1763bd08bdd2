"""Which GPUs there are, what they can do, and which one a thread uses."""

from typing import Any, NamedTuple

from facula.core.device import CURRENT, choose
from facula.errors import fail

from .starting import gpu, index_of

__all__ = [
    "can_device_access_peer", "current_device", "device", "device_count", "device_of", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_gencode_flags", "get_sync_debug_mode",
    "is_available", "is_bf16_supported", "is_tf32_supported", "reason", "set_device", "set_sync_debug_mode",
    "synchronize",
]  # fmt: skip

# Of CUdevice_attribute, by the names of PyTorch's properties.
ATTRIBUTES = {
    "is_integrated": 18, "is_multi_gpu_board": 84, "max_threads_per_block": 1, "max_threads_per_multi_processor": 39,
    "warp_size": 10, "regs_per_multiprocessor": 82, "shared_memory_per_block": 8, "shared_memory_per_block_optin": 97,
    "shared_memory_per_multiprocessor": 81, "L2_cache_size": 38, "clock_rate": 13, "memory_clock_rate": 36,
    "memory_bus_width": 37, "pci_bus_id": 33, "pci_device_id": 34, "pci_domain_id": 50,
}  # fmt: skip
MODES = {"default": 0, "warn": 1, "error": 2}


def reason() -> str:
    """Why no GPU can be used, in words; "" where one can.

    >>> import facula as torch
    >>> torch.cuda.is_available() == (torch.cuda.reason() == "")
    True
    """
    from facula.targets.cuda import driver

    return driver.reason()


def is_available() -> bool:
    """Whether a GPU can be used."""
    return reason() == ""


def device_count() -> int:
    """The number of GPUs that can be used: those that CUDA_VISIBLE_DEVICES leaves, of compute capability 8.0 on."""
    from facula.targets.cuda import driver

    return driver.count()


def number_of(device: Any, optional: bool = True) -> int:
    """The number of the GPU that a program names; of the one in use where it names none."""
    index = device.idx if isinstance(device, _Chosen) else index_of(device)
    if index is None and not optional:
        fail(ValueError, f"Expected a torch.device with a specified index or an integer, but got: {device}")
    return CURRENT.index if index is None else index


def current_device() -> int:
    """The number of the GPU in use."""
    return gpu().index


def set_device(device: Any) -> None:
    """Use another GPU in this thread from now on: 'cuda' means that one; a negative number changes nothing."""
    index = number_of(device, optional=False)
    if index >= 0:
        choose(gpu(index).index)


class _Chosen:
    """Uses a GPU until the block ends; a negative number changes nothing."""

    def __init__(self, index: int):
        self.idx, self.prev_idx = index, -1

    def __enter__(self) -> None:
        self.prev_idx = choose(gpu(self.idx).index) if self.idx >= 0 else -1

    def __exit__(self, *error: object) -> bool:
        if self.prev_idx >= 0:
            choose(self.prev_idx)
        return False


class device(_Chosen):
    """Uses a GPU in this thread until the block ends: 'cuda' means that one.

    Parameters
    ----------
    device : torch.device, str, int or None
        None, and negative numbers, change nothing.
    """

    __module__ = "torch.cuda"

    def __init__(self, device: Any):
        super().__init__(-1 if device is None else number_of(device))


class device_of(_Chosen):
    """Uses the GPU of a tensor or storage until the block ends; one that is on no GPU changes nothing."""

    __module__ = "torch.cuda"

    def __init__(self, obj: Any):
        super().__init__(obj.get_device() if obj.is_cuda else -1)


def synchronize(device: Any = None) -> None:
    """Wait until a GPU has done its work; raises what failed in it."""
    from facula.targets.cuda import driver, transfers

    with driver.current(gpu(device)):
        transfers.synchronize()


# What they can do -----------------------------------------------------------------------------------------------------


class _CudaDeviceProperties(NamedTuple):
    """What is known of a GPU; sizes in bytes, rates in kHz."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    uuid: str
    is_integrated: int
    is_multi_gpu_board: int
    max_threads_per_block: int
    max_threads_per_multi_processor: int
    warp_size: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    clock_rate: int
    memory_clock_rate: int
    memory_bus_width: int
    pci_bus_id: int
    pci_device_id: int
    pci_domain_id: int

    @property
    def gcnArchName(self) -> str:
        """As PyTorch has it: the name."""
        return self.name

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory >> 20}MB, multi_processor_count={self.multi_processor_count}, "
            f"uuid={self.uuid}, pci_bus_id={self.pci_bus_id}, pci_device_id={self.pci_device_id}, "
            f"pci_domain_id={self.pci_domain_id}, L2_cache_size={self.L2_cache_size >> 20}MB)"
        )


def _existing(device: Any, what: str = "device") -> Any:
    """The GPU of a number; AssertionError where there is none such."""
    gpu()
    index = number_of(device)
    if not 0 <= index < device_count():
        fail(AssertionError, f"Invalid {what} id", got=index, expected=f"0 to {device_count() - 1}")
    return gpu(index)


def get_device_properties(device: Any = None) -> _CudaDeviceProperties:
    """What is known of a GPU: name, compute capability, sizes of its memories, multiprocessors."""
    import uuid

    from facula.targets.cuda import driver

    own = _existing(device)
    found = driver.good(driver.api().cuDeviceGetUuid(own.handle), "cuDeviceGetUuid")
    named = str(uuid.UUID(bytes=bytes(found.bytes)))
    numbers = {name: int(own.attribute(number)) for name, number in ATTRIBUTES.items()}
    return _CudaDeviceProperties(
        own.name, *own.capability, total_memory=own.memory, multi_processor_count=own.multiprocessors, uuid=named,
        **numbers,
    )  # fmt: skip


def get_device_name(device: Any = None) -> str:
    """The name of a GPU."""
    return _existing(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU."""
    return _existing(device).capability


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether a GPU reaches the memory of another one without the host."""
    return _existing(device).reaches(_existing(peer_device, "peer device"))


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU computes with bfloat16: all do that facula uses."""
    return is_available()


def is_tf32_supported() -> bool:
    """Whether the GPU multiplies matrices in TF32: all do that facula uses."""
    return is_available()


def get_arch_list() -> list[str]:
    """What kernels are compiled for: the GPUs that are there, since that is done when a program runs."""
    return sorted({gpu(i).architecture for i in range(device_count())})


def get_gencode_flags() -> str:
    """`get_arch_list` as flags of NVIDIA's compiler."""
    numbers = [name.partition("_")[2] for name in get_arch_list()]
    return " ".join(f"-gencode compute=compute_{n},code=sm_{n}" for n in numbers)


# Waiting that a program does not mean ---------------------------------------------------------------------------------


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Have what waits for the GPU (`item`, `cpu`, copies from memory that is not pinned) "warn" or raise an "error".

    Parameters
    ----------
    debug_mode : int or str
        0 or "default", 1 or "warn", 2 or "error".
    """
    from facula.targets.cuda import transfers

    gpu()
    mode = MODES.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        if isinstance(debug_mode, str):
            fail(RuntimeError, "invalid value of debug_mode, expected one of `default`, `warn`, `error`")
        fail(RuntimeError, "invalid value of debug_mode, expected one of 0,1,2", got=debug_mode)
    transfers.DEBUG[0] = mode


def get_sync_debug_mode() -> int:
    """What `set_sync_debug_mode` was told last, as a number."""
    from facula.targets.cuda import transfers

    gpu()
    return transfers.DEBUG[0]
