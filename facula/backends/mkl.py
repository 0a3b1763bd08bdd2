"""MKL, which facula does not call."""

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether MKL is called."""
    return False
