"""oneDNN, which facula does not call."""

__all__ = ["is_available"]

enabled, deterministic, allow_tf32 = True, False, True


def is_available() -> bool:
    """Whether oneDNN is called."""
    return False
