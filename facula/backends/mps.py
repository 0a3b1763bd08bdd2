"""Apple's GPUs, for which facula has no target."""

__all__ = ["is_available", "is_built"]


def is_available() -> bool:
    """Whether there is such a GPU to be used."""
    return False


def is_built() -> bool:
    """Whether this build has a target for it."""
    return False
