"""Functions of functions: derivatives, batching, and modules as functions of their parameters; as `torch.func`."""

from .batch import vmap
from .jacobian import hessian, jacfwd, jacrev
from .linear import functionalize, jvp, linearize
from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from .rearrange import rearrange
from .reverse import grad, grad_and_value, vjp
from .unwrap import debug_unwrap

__all__ = [
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
    "linearize", "rearrange", "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]  # fmt: skip
