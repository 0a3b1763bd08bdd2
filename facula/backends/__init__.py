"""`torch.backends`: the switches of libraries that PyTorch calls. Programs set them; facula's own kernels need none.

Each is kept as it was set. `is_available` says whether the library itself is called: none of these is.
"""

from . import cpu as cpu
from . import cuda as cuda
from . import cudnn as cudnn
from . import mkl as mkl
from . import mkldnn as mkldnn
from . import mps as mps
from . import nnpack as nnpack
from . import openmp as openmp
from . import opt_einsum as opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "nnpack", "openmp", "opt_einsum"]
