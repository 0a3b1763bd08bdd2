"""`torch.version`: which PyTorch this is like, and which engines it was built with."""

from facula.config import VERSION

__all__ = ["cuda", "debug", "git_version", "hip", "rocm", "xpu"]

__version__ = "2.13.0+facula"
debug = False
cuda = hip = rocm = xpu = None
git_version = VERSION
