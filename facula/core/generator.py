"""The state of a random number stream, PyTorch's CPU generator bit for bit; drawing from it is left to `targets`."""

import operator
import os
import secrets
import struct
import threading

import numpy as np

from facula.errors import fail

from .device import CPU
from .device import device as device_type

__all__ = ["DEFAULT_SEED", "Generator", "default_generator"]

DEFAULT_SEED = 67280421310721
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


class Generator:
    """A stream of random numbers with its own state, as `torch.Generator`.

    Equal seeds give PyTorch's numbers, and `legacy_state` is the content of PyTorch's state tensor (`get_state` and
    `set_state` wrap it and are attached by `operators/random.py`).

    Parameters
    ----------
    device : device or str
        Where the numbers are made; only ``"cpu"`` here.

    Raises
    ------
    RuntimeError
        For another kind of device.

    Examples
    --------
    >>> Generator().manual_seed(5).initial_seed()
    5
    """

    __slots__ = ("__weakref__", "device", "lock", "ptr", "record")

    device: device_type
    record: np.ndarray  # RECORD bytes
    ptr: int  # its address, for native code
    lock: threading.Lock  # held while native code draws

    def __init__(self, device=CPU):
        where = device_type(device)
        if where.type == "meta":
            fail(RuntimeError, "META device type not an accelerator.")
        if where.type != "cpu":
            fail(RuntimeError, f"Device type {where.type.upper()} is not supported for torch.Generator() api.")
        self.device = where
        self.record = np.zeros(RECORD, np.uint8)
        self.ptr = self.record.ctypes.data
        self.lock = threading.Lock()
        self._start(DEFAULT_SEED)

    def _start(self, seed: int) -> None:
        # The words themselves are made at the first draw, by native code: seeding costs what this line costs.
        with self.lock:
            HEAD.pack_into(self.record.data, NEXT, 0, 1, seed, 0.0, 0, 0.0, 0, SEEDED)

    def manual_seed(self, seed: int) -> "Generator":
        """Start the stream of `seed`, an integer in [-2**63, 2**64); negative ones count from 2**64 downward.

        >>> Generator().manual_seed(-1).initial_seed() == 2**64 - 1
        True
        """
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            fail(RuntimeError, f"manual_seed expected a long, but got {type(seed).__name__}", mend="pass int(seed)")
        seed = operator.index(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            fail(ValueError, "Overflow when unpacking long long", expected="-2**63 <= seed < 2**64", got=seed)
        self._start(seed & 0xFFFFFFFFFFFFFFFF)
        return self

    def seed(self) -> int:
        """Start a stream that nobody can foretell; returns its seed."""
        seed = secrets.randbits(64)
        self._start(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of this stream."""
        return HEAD.unpack_from(self.record.data, NEXT)[2]

    def get_offset(self) -> int:
        """For generators that count; CPU ones do not."""
        fail(RuntimeError, "CPU Generator does not use offset")

    def set_offset(self, offset: int) -> None:
        """For generators that count; CPU ones do not."""
        fail(RuntimeError, "CPU Generator does not use offset")

    def clone_state(self) -> "Generator":
        """Another generator that will give the same numbers.

        >>> a = Generator().manual_seed(3)
        >>> bool((a.clone_state().legacy_state() == a.legacy_state()).all())
        True
        """
        other = Generator(self.device)
        with self.lock:
            other.record[:] = self.record
        return other

    def legacy_state(self) -> np.ndarray:
        """The state, as the 5056 bytes of PyTorch's state tensor (uint8)."""
        with self.lock:
            following, left, seed, normal, normal_valid, single, single_valid, stage = HEAD.unpack_from(
                self.record.data, NEXT
            )
            words = _words(seed) if stage == SEEDED else self.record[:TEMPERED].view(np.uint32)
            state = np.zeros(LEGACY_SIZE, np.uint8)
            LEGACY_HEAD.pack_into(state.data, 0, seed, left, 1, following)
            state[LEGACY_WORDS : LEGACY_WORDS + 8 * N].view(np.uint64)[:] = words
            tail = (
                0.0,
                normal if normal_valid else 0.0,
                0.0,
                normal_valid,
                single if single_valid else 0.0,
                bool(single_valid),
            )
            LEGACY_TAIL.pack_into(state.data, LEGACY_WORDS + 8 * N, *tail)
        return state

    def load_legacy_state(self, state) -> None:
        """Go on from a state that `legacy_state`, or PyTorch, gave.

        Parameters
        ----------
        state : array of uint8, or bytes
            5056 bytes.

        Raises
        ------
        RuntimeError
            In PyTorch's words, where the size is another or the content is no state of MT19937.
        """
        state = np.frombuffer(state, np.uint8) if isinstance(state, (bytes, bytearray)) else np.asarray(state)
        if state.dtype != np.uint8:
            fail(TypeError, "RNG state must be a torch.ByteTensor", got=state.dtype)
        if state.size != LEGACY_SIZE:
            fail(
                RuntimeError,
                f"Expected a CPUGeneratorImplState of size {LEGACY_SIZE} "
                f"but found the input RNG state size to be {state.size}",
            )
        state = np.ascontiguousarray(state).reshape(-1)
        seed, left, seeded, following = LEGACY_HEAD.unpack_from(state.data, 0)
        following &= 0xFFFFFFFF
        _, normal, _, normal_valid, single, single_valid = LEGACY_TAIL.unpack_from(state.data, LEGACY_WORDS + 8 * N)
        # PyTorch asks for the first three only; without the last one it would read past the end of its state.
        if not (seeded and 0 < left <= N and following <= N and following + left - 1 <= N):
            fail(RuntimeError, "Invalid mt19937 state", got=f"seeded {seeded}, left {left}, next {following}")
        with self.lock:
            self.record[:TEMPERED].view(np.uint32)[:] = state[LEGACY_WORDS : LEGACY_WORDS + 8 * N].view(np.uint64)
            values = (following, left, seed, normal, bool(normal_valid), single, single_valid, LOADED)
            HEAD.pack_into(self.record.data, NEXT, *values)

    def __reduce__(self):
        return (_restore, (self.device, self.legacy_state().tobytes()))


def _restore(where: device_type, state: bytes) -> Generator:
    generator = Generator(where)
    generator.load_legacy_state(state)
    return generator


default_generator = Generator()
default_generator.seed()
if hasattr(os, "register_at_fork"):  # a child must not find it locked by a thread that it does not have
    os.register_at_fork(
        before=default_generator.lock.acquire,
        after_in_parent=default_generator.lock.release,
        after_in_child=default_generator.lock.release,
    )
