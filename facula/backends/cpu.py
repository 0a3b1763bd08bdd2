"""What the processor can do."""

from facula import launch

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The vectors that kernels are made for: "AVX512", "AVX2" or "DEFAULT".

    Examples
    --------
    >>> import facula as torch
    >>> torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX2", "DEFAULT")
    True
    """
    bits = launch.vector_bits()
    return {512: "AVX512", 256: "AVX2"}.get(bits, "DEFAULT")
