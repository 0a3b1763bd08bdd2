"""MT19937, the engine of random numbers on CPUs: its native record and PyTorch's form of its state."""

import struct

import numpy as np

from facula.errors import fail

__all__ = ["RECORD", "load", "offset", "seed", "set_offset", "start", "state"]

N = 624  # words of state of MT19937

# The native record, as `targets` see it (byte offsets). `tempered` holds the outputs made from `words`, of which those
# from `next` on are not drawn yet, `left - 1` in number.
WORDS, TEMPERED = 0, 4 * N
NEXT, LEFT, SEED, NORMAL, NORMAL_VALID, FLOAT, FLOAT_VALID, STAGE = 4992, 4996, 5000, 5008, 5016, 5020, 5024, 5028
RECORD = 5120
HEAD = struct.Struct("<IIQdIfII")  # the fields from NEXT on
SEEDED, LOADED, READY = range(3)  # stages: only `seed` is right; `words` too; `tempered` too

# PyTorch's 5056 bytes (a C struct of the time when words were 64 bits wide): seed, left, seeded, next, words,
# normal_x, normal_y, normal_rho, normal_is_valid, next_float_normal_sample, is_next_float_normal_sample_valid.
LEGACY_HEAD, LEGACY_TAIL = struct.Struct("<QiiQ"), struct.Struct("<dddi4xf?3x")
LEGACY_WORDS = LEGACY_HEAD.size
LEGACY_SIZE = LEGACY_HEAD.size + 8 * N + LEGACY_TAIL.size


def _words(seed: int) -> np.ndarray:
    """MT19937's state of a seed (of which the engine uses 32 bits)."""
    word = seed & 0xFFFFFFFF
    words = [word]
    for i in range(1, N):
        word = (1812433253 * (word ^ (word >> 30)) + i) & 0xFFFFFFFF
        words.append(word)
    return np.array(words, np.uint32)


def start(record: np.ndarray, seed: int) -> None:
    """The stream of a seed."""
    # The words are made at the first draw, by native code: seeding costs what this line costs.
    HEAD.pack_into(record.data, NEXT, 0, 1, seed, 0.0, 0, 0.0, 0, SEEDED)


def seed(record: np.ndarray) -> int:
    """What the stream was started from."""
    return HEAD.unpack_from(record.data, NEXT)[2]


def offset(record: np.ndarray) -> int:
    """This engine does not count."""
    fail(RuntimeError, "CPU Generator does not use offset")


def set_offset(record: np.ndarray, offset: int) -> None:
    """This engine does not count."""
    fail(RuntimeError, "CPU Generator does not use offset")


def state(record: np.ndarray) -> np.ndarray:
    """The 5056 bytes of PyTorch's state tensor."""
    following, left, seed, normal, normal_valid, single, single_valid, stage = HEAD.unpack_from(record.data, NEXT)
    words = _words(seed) if stage == SEEDED else record[:TEMPERED].view(np.uint32)
    state = np.zeros(LEGACY_SIZE, np.uint8)
    LEGACY_HEAD.pack_into(state.data, 0, seed, left, 1, following)
    state[LEGACY_WORDS : LEGACY_WORDS + 8 * N].view(np.uint64)[:] = words
    tail = (
        0.0, normal if normal_valid else 0.0, 0.0, normal_valid, single if single_valid else 0.0, bool(single_valid),
    )  # fmt: skip
    LEGACY_TAIL.pack_into(state.data, LEGACY_WORDS + 8 * N, *tail)
    return state


def load(record: np.ndarray, state: np.ndarray) -> None:
    """Go on from a state; RuntimeError where the size is another or the content is no state of MT19937."""
    if state.size != LEGACY_SIZE:
        fail(
            RuntimeError,
            f"Expected a CPUGeneratorImplState of size {LEGACY_SIZE} "
            f"but found the input RNG state size to be {state.size}",
        )
    seed, left, seeded, following = LEGACY_HEAD.unpack_from(state.data, 0)
    following &= 0xFFFFFFFF
    _, normal, _, normal_valid, single, single_valid = LEGACY_TAIL.unpack_from(state.data, LEGACY_WORDS + 8 * N)
    # PyTorch asks for the first three only; without the last one it would read past the end of its state.
    if not (seeded and 0 < left <= N and following <= N and following + left - 1 <= N):
        fail(RuntimeError, "Invalid mt19937 state", got=f"seeded {seeded}, left {left}, next {following}")
    record[:TEMPERED].view(np.uint32)[:] = state[LEGACY_WORDS : LEGACY_WORDS + 8 * N].view(np.uint64)
    HEAD.pack_into(record.data, NEXT, following, left, seed, normal, bool(normal_valid), single, single_valid, LOADED)
