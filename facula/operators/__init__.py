"""What operators mean: forward, gradient, checks and documentation side by side; nothing here knows a device.

The names here are those of `torch.*`; families keep their building blocks to themselves.
"""

from . import methods as _methods  # first: families are modules there, some of their names are functions below
from .activation import *
from .convolution import *
from .copying import clone
from .creation import *
from .dropout import *
from .elementwise import *
from .embedding import *
from .indexing import *
from .inplace import copy_, detach_, fill_, resize_, zero_
from .joining import *
from .limits import finfo, iinfo
from .loss import *
from .matmul import *
from .normalization import *
from .padding import *
from .pooling import *
from .public import *
from .random import *
from .recurrent import *
from .reduction import *
from .sorting import *
from .statistics import *
from .view import *
from .names import *  # isort: skip  needs the methods
