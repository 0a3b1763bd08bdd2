"""PyTorch's CUDA streams in NumPy, written from the description of its kernels and without facula's."""

from collections.abc import Callable

import numpy as np

f32, f64, u64 = np.float32, np.float64, np.uint64


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10 of counters (..., 4) under a key: words (..., 4)."""
    c = [counter[..., i].astype(u64) for i in range(4)]
    k0, k1 = key
    low = u64(0xFFFFFFFF)
    for _ in range(10):
        first, second = c[0] * u64(0xD2511F53), c[2] * u64(0xCD9E8D57)
        c = [
            (second >> u64(32)) ^ c[1] ^ u64(k0), second & low,
            (first >> u64(32)) ^ c[3] ^ u64(k1), first & low,
        ]  # fmt: skip
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return np.stack(c, -1).astype(np.uint32)


def words(seed: int, block: int, threads: np.ndarray) -> np.ndarray:
    """The `block`-th four words of each thread."""
    counter = np.zeros((len(threads), 4), np.uint32)
    counter[:, 0], counter[:, 1] = block & 0xFFFFFFFF, block >> 32
    counter[:, 2] = threads
    return philox(counter, (seed & 0xFFFFFFFF, seed >> 32))


def uniforms(w: np.ndarray) -> np.ndarray:
    """float32 numbers in (0, 1]."""
    return w.astype(f32) * f32(2.0**-32) + f32(2.0**-33)


def _53_bits(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (low.astype(u64) ^ (high.astype(u64) << u64(21))).astype(f64)


def uniforms64(w: np.ndarray) -> np.ndarray:
    """float64 numbers in (0, 1], two of four words."""
    return np.stack([_53_bits(w[:, i], w[:, i + 1]) * 2.0**-53 + 2.0**-54 for i in (0, 2)], -1)


def normals(w: np.ndarray) -> np.ndarray:
    """float32 normal numbers, by Box and Muller."""
    length = np.sqrt(f32(-2) * np.log(uniforms(w[:, ::2])))
    turn = f64(f32(2 * np.pi)) * 2.0**-32
    angle = (w[:, 1::2].astype(f32) * turn + turn / 2).astype(f32)
    return np.stack([np.sin(angle) * length, np.cos(angle) * length], -1).reshape(-1, 4)


def normals64(w: np.ndarray) -> np.ndarray:
    """float64 normal numbers."""
    length = np.sqrt(-2 * np.log(_53_bits(w[:, 0], w[:, 1]) * 2.0**-53 + 2.0**-54))
    angle = np.pi * (_53_bits(w[:, 2], w[:, 3]) * 2.0**-52 + 2.0**-53)
    return np.stack([np.sin(angle) * length, np.cos(angle) * length], -1)


def pairs(w: np.ndarray) -> np.ndarray:
    """64-bit integers, two of four words, the first word high."""
    return w[:, ::2].astype(u64) << u64(32) | w[:, 1::2].astype(u64)


def grid(count: int, multiprocessors: int = 132, resident: int = 2048) -> int:
    """The threads that fill so many elements."""
    return 256 * min(multiprocessors * (resident // 256), -(-count // 256))


def stream(make: Callable, seed: int, offset: int, count: int, **gpu: int) -> tuple[np.ndarray, int]:
    """Numbers for `count` elements, and the offset after them."""
    threads = np.arange(grid(count, **gpu))
    lanes = make(words(seed, 0, threads[:1])).shape[1]
    rounds = -(-count // (len(threads) * lanes))
    made = [make(words(seed, offset // 4 + k, threads)).T.ravel() for k in range(rounds)]
    return np.concatenate(made)[:count], offset + 4 * rounds


class Drawing:
    """The numbers of one thread, one by one; a normal number leaves a second one for the next call."""

    def __init__(self, seed: int, thread: int):
        self.words = (int(w) for block in range(1000) for w in words(seed, block, np.array([thread]))[0])
        self.twin: float | None = None

    def word(self) -> int:
        return next(self.words)

    def uniform(self) -> float:
        return float(uniforms(np.array([self.word()], np.uint32))[0])

    def normal(self) -> float:
        if self.twin is not None:
            found, self.twin = self.twin, None
            return found
        pair = np.array([[self.word(), self.word(), 1, 1]], np.uint32)
        found, self.twin = map(float, normals(pair)[0, :2])
        return found


def gamma(d: Drawing, alpha: float) -> float:
    """Marsaglia and Tsang's method, as PyTorch draws for it."""
    scale = 1.0
    if alpha < 1:
        scale, alpha = (1 - d.uniform()) ** (1 / alpha), alpha + 1
    m = alpha - 1 / 3
    c = 1 / np.sqrt(9 * m)
    while True:
        x = d.normal()
        v = (1 + c * x) ** 3
        if v <= 0:
            continue
        u = 1 - d.uniform()
        if u < 1 - 0.0331 * x**4 or np.log(u) < 0.5 * x * x + m * (1 - v + np.log(v)):
            return scale * m * v


def binomial(d: Drawing, count: float, p: float) -> int:
    """The sum of gaps between successes, for a chance below 0.5 and few successes."""
    total, successes = 0.0, 0
    while True:
        u = (d.word() & 0xFFFFFF) / 2**24
        total += np.ceil(np.log(u) / np.log1p(-p))
        if total > count:
            return successes
        successes += 1
