"""Tools around training: `data` feeds batches."""

from facula.alias import getattr_for

__getattr__ = getattr_for(__name__, ("data",))
