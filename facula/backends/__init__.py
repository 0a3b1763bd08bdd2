"""`torch.backends`: the switches of libraries that PyTorch calls. Programs set them; facula's own kernels need none.

Each is kept as it was set. `is_available` says whether the library itself is called.
`fp32_precision` here is that of all libraries of which nothing else was said.
"""

import sys
from types import ModuleType

from facula.core import precision

from . import cpu as cpu
from . import cuda as cuda
from . import cudnn as cudnn
from . import mha as mha
from . import mkl as mkl
from . import mkldnn as mkldnn
from . import mps as mps
from . import nnpack as nnpack
from . import openmp as openmp
from . import opt_einsum as opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mha", "mkl", "mkldnn", "mps", "nnpack", "openmp", "opt_einsum"]


class _Backends(ModuleType):
    """The module, one of whose names is a switch."""

    @property
    def fp32_precision(self) -> str:
        return precision.float32_precision("generic", "all")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        precision.set_float32_precision("generic", "all", value)


sys.modules[__name__].__class__ = _Backends
