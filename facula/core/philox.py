"""Philox4x32-10, the engine of random numbers on GPUs, which counts: its record and PyTorch's form of its state."""

import struct

import numpy as np

from facula.errors import fail

__all__ = ["GRAPH", "INSIDE", "OFFSET", "RECORD", "SEED", "load", "offset", "seed", "set_offset", "start", "state"]

# The record, as `targets` see it (byte offsets), 8 bytes each. While launches are captured in a graph, `graph` is the
# address, on the device, of a seed and an offset that each replay sets, and `inside` counts from the graph's start.
SEED, OFFSET, GRAPH, INSIDE, RECORD = 0, 8, 16, 24, 32
WORDS = struct.Struct("<QQ")  # seed and offset: PyTorch's state tensor


def start(record: np.ndarray, seed: int) -> None:
    """The stream of a seed, from its beginning."""
    WORDS.pack_into(record.data, SEED, seed, 0)


def seed(record: np.ndarray) -> int:
    """What the stream was started from."""
    return WORDS.unpack_from(record.data, SEED)[0]


def offset(record: np.ndarray) -> int:
    """How many numbers each thread has drawn."""
    return WORDS.unpack_from(record.data, SEED)[1]


def set_offset(record: np.ndarray, offset: int) -> None:
    """Go on from another place of the stream, a multiple of 4: an engine makes four numbers at a time."""
    if offset % 4:
        fail(RuntimeError, "offset must be a multiple of 4", got=offset)
    WORDS.pack_into(record.data, SEED, seed(record), offset & 0xFFFFFFFFFFFFFFFF)


def state(record: np.ndarray) -> np.ndarray:
    """The 16 bytes of PyTorch's state tensor."""
    return record[: WORDS.size].copy()


def load(record: np.ndarray, state: np.ndarray) -> None:
    """Go on from a state: 16 bytes, or the 8 of a seed alone."""
    if state.size not in (8, WORDS.size):
        fail(RuntimeError, "RNG state is wrong size", expected=WORDS.size, got=state.size)
    seed, offset = WORDS.unpack(state.tobytes().ljust(WORDS.size, b"\0"))
    if offset % 4:
        fail(RuntimeError, "offset must be a multiple of 4", got=offset)
    WORDS.pack_into(record.data, SEED, seed, offset)
