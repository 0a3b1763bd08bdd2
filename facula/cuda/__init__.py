"""`torch.cuda` on a machine without a usable GPU: says so, and why; the second machine of `targets` will fill it in."""

from facula.targets import no_cuda

__all__ = [
    "current_device", "device_count", "empty_cache", "get_device_name", "init", "is_available", "is_initialized",
    "manual_seed", "manual_seed_all", "max_memory_allocated", "memory_allocated", "set_device", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether a GPU can be used."""
    return False


def is_initialized() -> bool:
    """Whether the GPU has been used."""
    return False


def device_count() -> int:
    """The number of GPUs that can be used."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the GPU's random numbers; remembered until there is one, so without effect here."""


def manual_seed_all(seed: int) -> None:
    """Seed the random numbers of all GPUs; without effect here."""


def empty_cache() -> None:
    """Give unused GPU memory back; there is none."""


def memory_allocated(device=None) -> int:
    """Bytes of GPU memory that tensors use."""
    return 0


def max_memory_allocated(device=None) -> int:
    """The most bytes of GPU memory that tensors have used."""
    return 0


def init() -> None:
    """Start the GPU."""
    no_cuda()


def synchronize(device=None) -> None:
    """Wait until the GPU has done its work."""
    no_cuda()


def current_device() -> int:
    """The number of the GPU in use."""
    no_cuda()


def set_device(device) -> None:
    """Choose the GPU to be used."""
    no_cuda()


def get_device_name(device=None) -> str:
    """The name of a GPU."""
    no_cuda()


def __getattr__(name: str):
    if name.endswith("Tensor"):
        from facula import legacy

        return legacy.on_cuda(name)
    if name == "amp":
        import importlib

        return importlib.import_module("facula.cuda.amp")
    from facula.alias import missing

    missing(__name__, name)
