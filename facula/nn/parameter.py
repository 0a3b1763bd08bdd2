"""Tensors that modules recognise when they are assigned: Parameter and Buffer. What modules do with them: `module`."""

from typing import Any

from facula.core.spec import spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import empty
from facula.operators.override import disabled

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "factory_kwargs",
    "is_lazy",
]

SPEC: Any = Tensor.__dict__["spec"]  # the slot itself, below the property that refuses


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
    __torch_function__ = disabled

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
    __torch_function__ = disabled

    def __new__(cls, data=None, *, persistent=True):
        new = (empty(0) if data is None else data).detach()
        if data is not None and data.requires_grad:
            new.requires_grad = True
        new.persistent = persistent
        new._is_buffer = True
        return new


class UninitializedTensorMixin:
    """A tensor of which only dtype and device are known; `materialize` gives it a shape.

    Its spec has a kind of its own, so that no plan of an operator fits it, and reading the spec from Python raises: no
    operator computes with it.
    """

    __slots__ = ()

    cls_to_become: type
    _is_param: bool

    @classmethod
    def _made(cls, requires_grad: bool, device, dtype) -> Any:
        new: Any = empty(0, device=device, dtype=dtype)
        known = new.spec
        new.__class__ = cls
        SPEC.__set__(new, spec(known.dtype, known.device, known.shape, known.strides, cls))
        new.needs_grad = requires_grad
        return new

    def materialize(self: Any, shape, device=None, dtype=None) -> None:
        """Become an ordinary parameter or buffer of this shape, with arbitrary values."""
        values = empty(shape, device=device or self.device, dtype=dtype or self.dtype)
        requires_grad = self.needs_grad
        known = values.spec
        SPEC.__set__(self, known)
        self.__class__ = self.cls_to_become
        self.data = values
        self.requires_grad = requires_grad

    @property
    def spec(self):
        fail(
            ValueError,
            f"Attempted to use an uninitialized parameter in an operator. This error happens when you are using a "
            f"`LazyModule` or explicitly manipulating `torch.nn.parameter.{type(self).__name__}` objects. When using "
            "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch functions",
        )

    @property
    def shape(self):
        fail(
            RuntimeError,
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes.",
        )

    @property
    def data(self):
        return self

    @data.setter
    def data(self, other):
        """Take the dtype and device of another one, as conversions of modules do."""
        if not is_lazy(other):
            fail(ValueError, f"an {type(self).__name__} gets its values from `materialize`, not from `data`")
        SPEC.__set__(self, SPEC.__get__(other))

    dtype = property(lambda self: SPEC.__get__(self).dtype)
    device = property(lambda self: SPEC.__get__(self).device)

    def is_floating_point(self) -> bool:
        """Whether its dtype is one."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether its dtype is one."""
        return self.dtype.is_complex

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        """One with the dtype and device that `Tensor.to` would give."""
        like = empty(0, dtype=self.dtype, device=self.device).to(*args, **kwargs)
        return type(self)._made(self.needs_grad, like.device, like.dtype)

    def cuda(self, device=None):
        """One on a GPU."""
        return self.to("cuda" if device is None else device)

    def cpu(self):
        """One on the CPU."""
        return self.to("cpu")

    def copy_(self, source, non_blocking: bool = False):
        """Nothing is there to be copied between two of them; others need `materialize` first."""
        if not is_lazy(source):
            return self.spec
        return self

    def detach(self):
        return self

    def share_memory_(self):
        fail(
            RuntimeError,
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`.",
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self: Any, protocol):
        return type(self), (self.needs_grad,)


def _cast(name: str):
    def method(self):
        return self.to(getattr(empty(0, dtype=self.dtype), name)().dtype)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"One with the dtype that `Tensor.{name}` gives."
    return method


for _name in ("half", "float", "double", "bfloat16", "char", "short", "int", "long"):
    setattr(UninitializedTensorMixin, _name, _cast(_name))


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape the first forward tells; see `LazyModuleMixin`."""

    __slots__ = ()

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return cls._made(requires_grad, device, dtype)

    def __init__(self, requires_grad=True, device=None, dtype=None):
        pass

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.needs_grad, self.device, self.dtype)
        return memo[id(self)]


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape the first forward tells; see `LazyModuleMixin`."""

    __slots__ = ()

    cls_to_become = Tensor

    persistent: bool

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        new = cls._made(requires_grad, device, dtype)
        new.persistent = persistent
        new._is_buffer = True
        return new

    def __init__(self, requires_grad=False, device=None, dtype=None, persistent=True):
        pass

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.needs_grad, self.device, self.dtype, self.persistent)
        return memo[id(self)]


def is_lazy(param: Any) -> bool:
    """Whether `param` still waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of functions that make tensors (device, dtype, memory_format) among those of a layer."""
    if kwargs is None:
        return {}
    simple = {"device", "dtype", "memory_format"}
    strange = kwargs.keys() - simple - {"factory_kwargs"}
    if strange:
        fail(TypeError, f"unexpected kwargs {strange}")
    made = dict(kwargs.get("factory_kwargs", {}))
    for name in sorted(simple & kwargs.keys()):
        if name in made:
            fail(TypeError, f"{name} specified twice, in **kwargs and in factory_kwargs")
        made[name] = kwargs[name]
    return made
