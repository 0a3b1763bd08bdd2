"""Names of PyTorch's binary that public programs use; each means the thing in facula that does it."""

from facula.operators.override import disabled as _disabled_torch_function_impl
from facula.operators.override import without

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass"]


class DisableTorchFunctionSubclass:
    """In this block subclasses take no functions over."""

    modes = False

    def __enter__(self) -> None:
        self.block = without(True, self.modes)
        self.block.__enter__()

    def __exit__(self, *error) -> None:
        self.block.__exit__(*error)


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """In this block neither subclasses nor modes take functions over."""

    modes = True


assert _disabled_torch_function_impl
