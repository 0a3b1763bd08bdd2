"""What `torch.cuda` raises, and numbers of NVIDIA's runtime as errors."""

from facula.errors import AcceleratorError, OutOfMemoryError

__all__ = ["AcceleratorError", "CudaError", "DeferredCudaCallError", "OutOfMemoryError", "check_error", "cudaStatus"]


class cudaStatus:
    """Numbers that programs compare with."""

    SUCCESS: int = 0
    ERROR_NOT_READY: int = 34


class CudaError(RuntimeError):
    """A call of NVIDIA's libraries failed; its number."""

    __module__ = "torch.cuda"

    def __init__(self, code: int):
        from facula.targets.cuda import driver

        _, text = driver.api().cuGetErrorString(driver.api().CUresult(code))
        super().__init__(f"{text.decode() if isinstance(text, bytes) else 'unknown error'} ({code})")


class DeferredCudaCallError(Exception):
    """Never raised: nothing is put off until the GPU is first used but seeds."""

    __module__ = "torch.cuda"


def check_error(res: int) -> None:
    """CudaError where a call of NVIDIA's libraries did not succeed."""
    if int(res) != 0:
        raise CudaError(int(res))
