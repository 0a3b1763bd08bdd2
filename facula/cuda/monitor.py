"""How busy and how hot a GPU is, as NVIDIA's management library says; needs the package nvidia-ml-py."""

from collections.abc import Callable
from typing import Any

from .devices import _existing

__all__ = ["clock_rate", "device_memory_used", "memory_usage", "power_draw", "temperature", "utilization"]

PCI_BUS, PCI_DEVICE, PCI_DOMAIN = 33, 34, 50  # of CUdevice_attribute


def _asked(name: str, doc: str, ask: Callable[[Any, Any], int]) -> Callable[..., int]:
    """A function of `torch.cuda` of a GPU, from one of the library and its handle of the GPU."""

    def entry(device: Any = None) -> int:
        try:
            import pynvml  # type: ignore[import-not-found]
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "pynvml does not seem to be installed or it can't be imported.\n  mend: pip install nvidia-ml-py"
            ) from error
        pynvml.nvmlInit()
        own = _existing(device)  # whose number the library may count otherwise: CUDA_VISIBLE_DEVICES
        place = "{2:08x}:{0:02x}:{1:02x}.0".format(*(own.attribute(n) for n in (PCI_BUS, PCI_DEVICE, PCI_DOMAIN)))
        return ask(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(place))

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"{doc}; needs the package nvidia-ml-py."
    return entry


utilization = _asked(
    "utilization", "The percentage of time in which kernels ran", lambda n, h: n.nvmlDeviceGetUtilizationRates(h).gpu
)
memory_usage = _asked(
    "memory_usage",
    "The percentage of time in which memory was read or written",
    lambda n, h: n.nvmlDeviceGetUtilizationRates(h).memory,
)
device_memory_used = _asked(
    "device_memory_used", "The bytes of memory in use, by all processes", lambda n, h: n.nvmlDeviceGetMemoryInfo(h).used
)
temperature = _asked("temperature", "The temperature in degrees Celsius", lambda n, h: n.nvmlDeviceGetTemperature(h, 0))
power_draw = _asked("power_draw", "The power in milliwatts", lambda n, h: n.nvmlDeviceGetPowerUsage(h))
clock_rate = _asked(
    "clock_rate", "The clock of its multiprocessors in MHz", lambda n, h: n.nvmlDeviceGetClockInfo(h, 1)
)
