"""NNPACK, which facula does not call."""

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether NNPACK is called."""
    return False
