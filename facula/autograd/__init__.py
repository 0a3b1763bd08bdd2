"""Gradients: the graph's nodes, the engine that runs backward, the modes, custom functions."""

from .backward import backward, grad
from .function import Function, FunctionCtx, once_differentiable
from .grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    saved_tensors_hooks,
    set_grad_enabled,
)

__all__ = [
    "Function", "FunctionCtx", "backward", "enable_grad", "grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled",
    "no_grad", "once_differentiable", "saved_tensors_hooks", "set_grad_enabled",
]  # fmt: skip
