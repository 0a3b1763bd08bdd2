"""Calls and backwards that machine code repeats on the host, and how single elements are read."""

from facula.native.apply import Machine
from facula.native.pull import pull
from facula.native.scalars import reader

from .fresh import fresh_text

__all__ = ["MEMO", "pull", "reader"]

MEMO = Machine(fresh_text)
