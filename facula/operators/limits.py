"""The limits of dtypes: `finfo` and `iinfo`."""

import numpy as np

from facula.core import dtype as dt
from facula.errors import fail

from .promotion import DEFAULT

__all__ = ["finfo", "iinfo"]


# eps, max, tiny and resolution of the floats that NumPy lacks.
_LACKING = {
    dt.bfloat16: (2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 0.01),
    dt.float8_e4m3fn: (2.0**-3, 448.0, 2.0**-6, 1.0), dt.float8_e4m3fnuz: (2.0**-3, 240.0, 2.0**-7, 1.0),
    dt.float8_e5m2: (2.0**-2, 57344.0, 2.0**-14, 1.0), dt.float8_e5m2fnuz: (2.0**-3, 57344.0, 2.0**-15, 1.0),
    dt.float8_e8m0fnu: (1.0, 2.0**127, 2.0**-127, 1.0),
}  # fmt: skip


class finfo:
    """The limits of a float dtype: eps, max, min, tiny, smallest_normal, resolution, bits."""

    def __init__(self, type: dt.dtype | None = None):
        kind = (type or DEFAULT.float).to_real()
        if kind.kind != "f":
            fail(TypeError, f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{kind!r}'")
        self.dtype = kind.name
        self.bits = kind.itemsize * 8
        if kind.numpy is None:
            self.eps, self.max, self.tiny, self.resolution = _LACKING[kind]
        else:
            info = np.finfo(kind.numpy)
            self.eps, self.max, self.tiny = (float(x) for x in (info.eps, info.max, info.tiny))
            self.resolution = 10.0**-info.precision
        self.min = self.tiny if kind is dt.float8_e8m0fnu else -self.max
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        numbers = ", ".join(
            f"{n}={getattr(self, n):g}" for n in ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        )
        return f"finfo({numbers}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype: min, max, bits."""

    def __init__(self, type: dt.dtype):
        if type.kind not in "ui":
            fail(TypeError, f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type!r}'")
        info = np.iinfo(type.numpy)
        self.dtype, self.bits, self.min, self.max = type.name, int(info.bits), int(info.min), int(info.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
