"""Tensors that modules recognise when they are assigned: Parameter and Buffer. What modules do with them: `module`."""

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import empty

__all__ = ["Buffer", "Parameter"]


class _ParameterMeta(type(Tensor)):
    """A tensor of a custom subclass that was made a parameter keeps its class and carries the mark `_is_param`."""

    def __instancecheck__(cls, instance) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that becomes a parameter of the module to which it is assigned.

    Parameters
    ----------
    data : Tensor, optional
        The values; the parameter shares their memory and none of their history. Default: empty.
    requires_grad : bool
        Whether gradients are computed for it, also when it is made under `no_grad`.

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = empty(0)
        new = data.detach()
        if type(data) is Tensor or isinstance(data, (Parameter, Buffer)) and not hasattr(data, "_is_param"):
            new.__class__ = cls
        elif type(new) is type(data):
            new._is_param = True
        else:
            fail(
                RuntimeError,
                f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() returns "
                f"an instance of the same type, but return type {type(new).__name__} was found instead.",
                mend=f"make {type(data).__name__}.detach() return a {type(data).__name__}",
            )
        new.requires_grad = requires_grad
        return new

    def __init__(self, data=None, requires_grad=True):
        pass

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()


class _BufferMeta(type(Tensor)):
    """Any tensor with the mark `_is_buffer` counts as a Buffer: the class is never instantiated."""

    def __instancecheck__(cls, instance) -> bool:
        return type.__instancecheck__(cls, instance) or (
            isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)
        )


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that becomes a buffer of the module to which it is assigned: state that is not trained.

    Parameters
    ----------
    data : Tensor, optional
        The values, shared. Default: empty.
    persistent : bool
        Whether it is part of the module's `state_dict`.
    """

    __slots__ = ()

    persistent: bool

    def __new__(cls, data=None, *, persistent=True):
        new = (empty(0) if data is None else data).detach()
        if data is not None and data.requires_grad:
            new.requires_grad = True
        new.persistent = persistent
        new._is_buffer = True
        return new
