"""`torch.backends`: the switches of libraries that PyTorch calls. Programs set them; facula's own kernels need none.

Each is kept as it was set. `is_available` says whether the library itself is called.
`fp32_precision` here is that of all libraries of which nothing else was said.
"""

from contextlib import AbstractContextManager

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
from .switches import change, during, float32, install

__all__ = [
    "cpu", "cuda", "cudnn", "flags", "mha", "mkl", "mkldnn", "mps", "nnpack", "openmp", "opt_einsum", "set_flags",
]  # fmt: skip

_PRECISION = float32("generic", "all")


def set_flags(_fp32_precision="none") -> tuple[str]:
    """Set it unless None; returns what it was."""
    return change([_PRECISION], [_fp32_precision])


def flags(fp32_precision="none") -> AbstractContextManager[None]:
    """The precision of all libraries for the time of a block."""
    return during(set_flags, fp32_precision)


install(__name__, {"fp32_precision": _PRECISION})
