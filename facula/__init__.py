"""facula: PyTorch's API in Python, with machine code generated at run time."""

from facula.alias import getattr_for as _getattr_for
from facula.autograd import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from facula.core.device import device
from facula.core.dtype import bfloat16 as bfloat16
from facula.core.dtype import bool_ as bool
from facula.core.dtype import complex64 as cfloat
from facula.core.dtype import complex64 as complex64
from facula.core.dtype import complex128 as cdouble
from facula.core.dtype import complex128 as complex128
from facula.core.dtype import dtype as dtype
from facula.core.dtype import float16 as float16
from facula.core.dtype import float16 as half
from facula.core.dtype import float32 as float
from facula.core.dtype import float32 as float32
from facula.core.dtype import float64 as double
from facula.core.dtype import float64 as float64
from facula.core.dtype import int8 as int8
from facula.core.dtype import int16 as int16
from facula.core.dtype import int16 as short
from facula.core.dtype import int32 as int
from facula.core.dtype import int32 as int32
from facula.core.dtype import int64 as int64
from facula.core.dtype import int64 as long
from facula.core.dtype import promote_types as promote_types
from facula.core.dtype import uint8 as uint8
from facula.core.generator import Generator, default_generator
from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.legacy import *
from facula.operators import *
from facula.printing import get_printoptions, set_printoptions
from facula.serialization import load, save
from facula.threads import get_num_interop_threads, get_num_threads, set_num_interop_threads, set_num_threads

__version__ = "2.13.0+facula"

# Imported when first used, so that `import facula` stays quick.
__getattr__ = _getattr_for(
    __name__, ("autograd", "cuda", "linalg", "nn", "optim", "random", "serialization", "special", "utils"),
)  # fmt: skip
