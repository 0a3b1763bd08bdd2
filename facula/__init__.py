"""facula: PyTorch's API in Python, with machine code generated at run time."""

from facula.alias import getattr_for as _getattr_for
from facula.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from facula.core.device import device
from facula.core.dtype import (
    bfloat16,
    complex64,
    complex128,
    dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    uint8,
)
from facula.core.dtype import bool_ as bool
from facula.core.dtype import complex64 as cfloat
from facula.core.dtype import complex128 as cdouble
from facula.core.dtype import float16 as half
from facula.core.dtype import float32 as float
from facula.core.dtype import float64 as double
from facula.core.dtype import int16 as short
from facula.core.dtype import int32 as int
from facula.core.dtype import int64 as long
from facula.core.generator import Generator, default_generator
from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.operators import *
from facula.legacy import *
from facula.printing import set_printoptions

__version__ = "2.13.0+facula"
__getattr__ = _getattr_for(__name__, ("autograd", "cuda", "nn", "optim", "random", "utils", "linalg", "special", "serialization"))
