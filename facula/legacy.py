"""The constructors of PyTorch's early years: `torch.FloatTensor(2, 3)`, `torch.Tensor([1.0])`."""

import numpy as np

from facula.core import dtype as dt
from facula.core.device import place as place_of
from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.launch import accelerated
from facula.operators import empty, tensor
from facula.operators.promotion import DEFAULT

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor",
]  # fmt: skip


def make(kind: dt.dtype, args: tuple, device=None) -> Tensor:
    """A tensor of a dtype: empty with the given sizes, or with a copy of the given data."""
    if not args:
        return empty(0, dtype=kind, device=device)
    first = args[0]
    if len(args) == 1 and isinstance(first, Tensor):
        if first.dtype is not kind:
            fail(TypeError, f"expected {kind!r} (got {first.dtype!r})", mend="use x.to(dtype)")
        if device is not None and first.device.type != place_of(device).type:
            fail(
                TypeError,
                f"legacy constructor expects device type: {place_of(device).type} but device type: {first.device.type} "
                "was passed",
            )
        return first.detach()
    if len(args) == 1 and isinstance(first, (list, tuple, np.ndarray)) and not isinstance(first, Size):
        return tensor(first, dtype=kind, device=device)
    return empty(*args, dtype=kind, device=device)


class _TypeMeta(type):
    dtype: dt.dtype
    place: str  # the type of the device

    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.device.type == cls.place

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


def _type(name: str, kind: dt.dtype, place: str = "cpu"):
    def new(cls, *args, device=None):
        if place == "cuda" and not accelerated():
            fail(
                TypeError,
                f"type torch.cuda.{name} not available. Torch not compiled with CUDA enabled.",
                got="no GPU: torch.cuda.reason() says why",
            )
        return make(kind, args, device or place)

    prefix = "torch." if place == "cpu" else f"torch.{place}."
    return _TypeMeta(
        name,
        (),
        {
            "__new__": new,
            "dtype": kind,
            "place": place,
            "__module__": prefix.rstrip("."),
            "__doc__": f"Makes tensors of {kind!r}.",
        },
    )


BoolTensor = _type("BoolTensor", dt.bool_)
ByteTensor = _type("ByteTensor", dt.uint8)
CharTensor = _type("CharTensor", dt.int8)
ShortTensor = _type("ShortTensor", dt.int16)
IntTensor = _type("IntTensor", dt.int32)
LongTensor = _type("LongTensor", dt.int64)
HalfTensor = _type("HalfTensor", dt.float16)
BFloat16Tensor = _type("BFloat16Tensor", dt.bfloat16)
FloatTensor = _type("FloatTensor", dt.float32)
DoubleTensor = _type("DoubleTensor", dt.float64)


def on_cuda(name: str):
    """The constructor `torch.cuda.<name>`."""
    from facula.alias import missing

    own = globals().get(name)
    if own is None:
        missing("facula.cuda", name)
    return _type(name, own.dtype, "cuda")


def _new(cls, *args, device=None, **kwargs):
    out = make(DEFAULT.float, args, device)
    if cls is not Tensor:
        out.__class__ = cls
    return out


# torch.Tensor(2, 3). Operators make records with object.__new__, so this costs them nothing.
Tensor.__new__ = _new
Tensor.__init__ = lambda self, *args, **kwargs: None
