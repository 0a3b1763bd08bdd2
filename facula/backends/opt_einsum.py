"""opt_einsum: how `einsum` of many operands finds its order; facula goes from left to right, as PyTorch without it."""

__all__ = ["get_opt_einsum", "is_available"]

enabled, strategy = False, None


def is_available() -> bool:
    """Whether opt_einsum is called."""
    return False


def get_opt_einsum() -> None:
    """The package: None where it is not called."""
