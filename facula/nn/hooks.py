"""Hooks that know their module, and the two autograd nodes around a forward that full backward hooks live in."""

import warnings
import weakref

from facula.autograd import Function, is_grad_enabled
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = ["BackwardHook"]


class _WrappedHook:
    """A hook that gets its module as the first argument, without keeping the module alive; PyTorch's name and state."""

    def __init__(self, hook, module=None):
        self.hook = hook
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args, **kwargs):
        if self.module is None:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            fail(RuntimeError, "You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self):
        if self.module is None:
            return {"hook": self.hook, "with_module": False}
        return {"hook": self.hook, "with_module": True, "module": self.module()}

    def __setstate__(self, state):
        self.hook = state["hook"]
        if state["with_module"] and state["module"] is None:
            fail(RuntimeError, "You are trying to revive the hook of a dead Module!")
        self.module = weakref.ref(state["module"]) if state["with_module"] else None


class BackwardHookFunction(Function):
    """The identity, whose backward hands the gradients to `change` first."""

    @staticmethod
    def forward(ctx, change, *tensors):
        ctx.change = change
        ctx.mark_non_differentiable(*[t for t in tensors if not t.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        return None, *ctx.change(grads)


class BackwardHook:
    """One forward of a module with full backward hooks: identities before and after it see the gradients pass."""

    def __init__(self, module, hooks, pre_hooks):
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs = None
        self.inputs_need_grad = False

    def around_inputs(self, args: tuple) -> tuple:
        """`args` with each tensor led through an identity, whose backward runs the hooks."""
        self.n_inputs = len(args)
        args, self.inputs_need_grad = self._through(self._leave, args)
        return args

    def around_outputs(self, result):
        """`result` (a tensor or a tuple) led through an identity, whose backward runs the pre-hooks."""
        args, _ = self._through(self._enter, result if isinstance(result, tuple) else (result,))
        return args if isinstance(result, tuple) else args[0]

    def _through(self, change, args):
        where = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
        if not (is_grad_enabled() and any(args[i].requires_grad for i in where)):
            return args, False
        full = list(args)

        def spread(grads):
            all_grads = [None] * len(full)
            for i, grad in zip(where, grads):
                all_grads[i] = grad
            changed = change(tuple(all_grads))
            return tuple(changed[i] for i in where)

        for i, new in zip(where, BackwardHookFunction.apply(spread, *[args[i] for i in where])):
            full[i] = new
        return (tuple(full) if type(args) is tuple else type(args)(*full)), True

    def _enter(self, grads):
        for hook in self.pre_hooks:
            new = hook(self.module, grads)
            if new is not None:
                new = new if isinstance(new, tuple) else (new,)
                if len(new) != len(grads):
                    fail(
                        RuntimeError,
                        f"Backward pre hook returned an invalid number of grad_output, got {len(new)}, but expected "
                        f"{len(grads)}",
                    )
                grads = new
        self.grad_outputs = grads
        if not self.inputs_need_grad:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no "
                "inputs require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
                "#torch.nn.Module.register_full_backward_hook for more details.",
                stacklevel=5,
            )
            for hook in self.hooks:
                new = hook(self.module, (None,) * self.n_inputs, grads)
                if new is not None and not (isinstance(new, tuple) and all(grad is None for grad in new)):
                    fail(
                        RuntimeError,
                        "Backward hook for Modules where no input requires gradient should always return None or None "
                        "for all gradients.",
                    )
            self.grad_outputs = None
        return grads

    def _leave(self, grads):
        if self.grad_outputs is None:  # the outputs took no part in this backward
            return grads
        for hook in self.hooks:
            new = hook(self.module, grads, self.grad_outputs)
            if new is not None:
                new = new if isinstance(new, tuple) else (new,)
                if len(new) != len(grads):
                    fail(
                        RuntimeError,
                        f"Backward hook returned an invalid number of grad_input, got {len(new)}, but expected "
                        f"{len(grads)}",
                    )
                grads = new
        self.grad_outputs = None
        return grads
