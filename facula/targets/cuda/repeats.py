"""Calls and backwards that machine code repeats: results in memory of the GPU, launches without Python."""

from facula.native.apply import Machine
from facula.native.pull import pull

from . import code, fresh, launcher

__all__ = ["MEMO", "pull"]

MEMO = Machine(fresh.address, code.packed, launcher.run_address)
