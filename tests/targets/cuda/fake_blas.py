"""A cuBLASLt without a GPU: it keeps descriptors, and computes products with NumPy from raw memory by these alone.

It has the functions of the library that facula calls, takes addresses as integers, and refuses what the library does:
attributes of another size, handles that it has not given out, matrices that do not fit together, columns that overlap,
types that do not go together, algorithms of other descriptors, pointers that are less aligned than was promised, memory
that nobody allocated. Sizes and defaults of attributes are those that cuBLASLt 13.1 reports.
"""

import copy
import ctypes
import itertools
from typing import Any

import numpy as np

from facula.core import dtype as dt
from facula.core import float8
from tests.targets.cuda.fake_driver import FakeDriver

GOOD, ALLOC_FAILED, INVALID, NOT_SUPPORTED = 0, 3, 7, 15

# number -> (bytes, default)
ATTRIBUTES: dict[str, dict[int, tuple[int, int]]] = {
    "MatmulDesc": {0: (4, 68), 1: (4, 0), 2: (4, 0), 3: (4, 0), 4: (4, 0), 5: (4, 0), 6: (4, 2), 7: (4, 1), 8: (8, 0),
                   10: (8, 0), 11: (8, 0), 12: (8, 0), 13: (8, 0), 14: (8, 0), 15: (4, 0), 17: (8, 0), 18: (8, 0),
                   19: (8, 0), 20: (8, 0), 21: (8, 0), 22: (4, 2**32 - 1), 23: (8, 0), 24: (8, 0), 25: (1, 0),
                   26: (4, 2**32 - 1), 31: (4, 0), 32: (4, 0), 33: (4, 0), 34: (4, 0)},
    "MatrixLayout": {0: (4, 0), 1: (4, 0), 2: (8, 0), 3: (8, 0), 4: (8, 0), 5: (4, 1), 6: (8, 0), 7: (8, 0)},
    "MatmulPreference": {0: (4, 0), 1: (8, 0), 3: (4, 7), 5: (4, 256), 6: (4, 256), 7: (4, 256), 8: (4, 256),
                         9: (4, 0), 12: (8, 2**64 - 1)},
}  # fmt: skip

R32, R64, R16, R8I, C32, C64, R32I, RB16, E4M3, E5M2 = 0, 1, 2, 3, 4, 5, 10, 14, 28, 29
NUMPY = {R32: "f4", R64: "f8", R16: "f2", R8I: "i1", C32: "c8", C64: "c16", R32I: "i4", RB16: "u2", E4M3: "u1",
         E5M2: "u1"}  # fmt: skip
FAST_TF32 = 77


def gelu(x: np.ndarray) -> np.ndarray:
    """By tanh."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


EPILOGUES: dict[int, Any] = {1: lambda x: x, 4: lambda x: x, 2: lambda x: np.maximum(x, 0), 32: gelu}
EPILOGUES |= {2 | 4: EPILOGUES[2], 32 | 4: gelu}  # bit 4: after a bias was added
SUMS = {256: 0, 512: 1}  # the operand, A or B, whose sums along k are written where a bias would be read
EPILOGUES |= dict.fromkeys(SUMS, EPILOGUES[1])

# (compute type, scale type) -> types of A and B, then of C and D
COMBINATIONS = {
    (68, R32): {(R32, R32, R32), (R16, R16, R16), (RB16, RB16, RB16), (R16, R16, R32), (RB16, RB16, R32),
                (R8I, R8I, R32),
                *((a, b, d) for a, b in ((E4M3, E4M3), (E4M3, E5M2), (E5M2, E4M3)) for d in (R32, R16, RB16, E4M3))},
    (68, C32): {(C32, C32, C32)},
    (FAST_TF32, R32): {(R32, R32, R32)},
    (FAST_TF32, C32): {(C32, C32, C32)},
    (70, R64): {(R64, R64, R64)},
    (70, C64): {(C64, C64, C64)},
    (64, R16): {(R16, R16, R16)},
    (72, R32I): {(R8I, R8I, R32I)},
}  # fmt: skip


def read_as(kind: int, raw: np.ndarray) -> np.ndarray:
    """Elements as numbers that NumPy has."""
    if kind == RB16:
        return (raw.astype("u4") << 16).view("f4")
    if kind in (E4M3, E5M2):
        return float8.decode(raw, {E4M3: dt.float8_e4m3fn, E5M2: dt.float8_e5m2}[kind])
    return raw


def write_as(kind: int, values: np.ndarray) -> np.ndarray:
    """Numbers as elements."""
    if kind == RB16:
        bits = np.ascontiguousarray(values, "f4").view("u4")
        rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2")
        return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
    if kind in (E4M3, E5M2):
        return float8.encode(values, {E4M3: dt.float8_e4m3fn, E5M2: dt.float8_e5m2}[kind])
    return values.astype(NUMPY[kind])


def tf32(values: np.ndarray) -> np.ndarray:
    """Rounded to 10 bits after the leading one."""
    parts = np.ascontiguousarray(values).view("u4")
    return ((parts + 0xFFF + (parts >> 13 & 1)) & ~np.uint32(0x1FFF)).view(values.dtype)


class Kept:
    """A descriptor: attributes as numbers."""

    def __init__(self, kind: str, **values: int):
        self.kind, self.values = kind, {n: default for n, (_, default) in ATTRIBUTES[kind].items()}
        self.values.update({int(n[1:]): v for n, v in values.items()})

    def __getitem__(self, number: int) -> int:
        return self.values[number]


class FakeBlas:
    """cuBLASLt for the GPU of a fake driver."""

    def __init__(self, gpu: FakeDriver):
        self.gpu, self.kept, self.calls = gpu, {}, []
        self.numbers = itertools.count(0x1000, 0x10)
        self.algorithms: dict[int, tuple] = {}
        self.lacks: set[str] = set()  # what it is to have no algorithm for: "vector"
        self.context = 0
        takes = [ctypes.c_size_t] * 16  # addresses as numbers: none are None
        self.native = {
            "cublasLtMatmul": ctypes.CFUNCTYPE(ctypes.c_int, *takes)(lambda *given: self.cublasLtMatmul(*given)),
            "cublasLtMatmulDescSetAttribute": ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t
            )(self._set),
        }
        for kind in ATTRIBUTES:
            setattr(self, f"cublasLt{kind}SetAttribute", self._set)
            setattr(self, f"cublasLt{kind}Destroy", self._destroy)

    def named(self, name: str) -> list[tuple]:
        """The arguments of all calls of one function."""
        return [args for called, *args in self.calls if called == name]

    def address(self, name: str) -> int:
        """What machine code calls."""
        return ctypes.cast(self.native[name], ctypes.c_void_p).value or 0

    def cublasLtGetVersion(self) -> int:
        return 131000

    def _give(self, place: int, kept: Any) -> int:
        number = next(self.numbers)
        self.kept[number] = kept
        ctypes.c_void_p.from_address(place).value = number
        return GOOD

    def cublasLtCreate(self, place: int) -> int:
        if not self.gpu.context:
            return 1
        self._give(place, "handle")
        return GOOD

    def cublasLtMatmulDescCreate(self, place: int, compute: int, scale: int) -> int:
        return self._give(place, Kept("MatmulDesc", _0=compute, _1=scale))

    def cublasLtMatrixLayoutCreate(self, place: int, kind: int, rows: int, cols: int, ld: int) -> int:
        assert 0 <= rows < 2**64 and 0 <= cols < 2**64 and -(2**63) <= ld < 2**63
        return self._give(place, Kept("MatrixLayout", _0=kind, _2=rows, _3=cols, _4=ld))

    def cublasLtMatmulPreferenceCreate(self, place: int) -> int:
        return self._give(place, Kept("MatmulPreference"))

    def _set(self, address: int, number: int, value: int, size: int) -> int:
        kept = self.kept.get(address)
        if kept is None or not value or ATTRIBUTES[kept.kind].get(number, (0, 0))[0] != size:
            return INVALID
        kept.values[number] = int.from_bytes(ctypes.string_at(value, size), "little")
        return GOOD

    def _destroy(self, address: int) -> int:
        return GOOD if self.kept.pop(address, None) is not None else INVALID

    # Products

    def _config(self, handle: int, descriptor: int, layouts: tuple[int, ...]) -> tuple | None:
        """All that an algorithm is for, without pointers; None where it makes no sense."""
        kept = [self.kept.get(x) for x in (descriptor, *layouts)]
        if self.kept.get(handle) != "handle" or [getattr(x, "kind", "") for x in kept] != [
            "MatmulDesc", *["MatrixLayout"] * 4
        ]:  # fmt: skip
            return None
        d, a, b, c, out = kept
        sizes = [(x[2], x[3])[:: -1 if turned else 1] for x, turned in ((a, d[3]), (b, d[4]))]
        (m, k), (k2, n) = sizes
        fits = k == k2 and (out[2], out[3]) == (m, n) == (c[2], c[3]) and min(m, n, k) > 0
        batches = {x[5] for x in (a, b, c, out)}
        signed = lambda x: x[4] - 2**64 if x[4] >= 2**63 else x[4]  # noqa: E731
        if not fits or len(batches) != 1 or any(signed(x) < x[2] or x[1] != 0 for x in (a, b, c, out)):
            return None
        wide = out[0] not in (E4M3, E5M2)
        if (c[0] != out[0] if wide else c[0] not in (R16, RB16)) or out[5] > 1 and out[6] == 0:
            return None
        pointers = (8, 17, 18, 20)
        about = tuple(v for n, v in sorted(d.values.items()) if n not in pointers)
        return about, *(tuple(sorted(x.values.items())) for x in (a, b, c, out))

    def _has(self, descriptor: Kept, layouts: list[Kept]) -> bool:
        """Whether there is an algorithm."""
        a, b, _, out = layouts
        known = COMBINATIONS.get((descriptor[0], descriptor[1]), ())
        if (a[0], b[0], out[0]) not in known or descriptor[7] not in EPILOGUES:
            return False
        if a[0] in (E4M3, E5M2) and not (descriptor[3] == 1 and descriptor[4] == 0 and a[2] % 16 == b[2] % 16 == 0):
            return False
        if descriptor[7] in SUMS and (descriptor[3], descriptor[4])[SUMS[descriptor[7]]] != SUMS[descriptor[7]]:
            return False  # of A columns lie side by side, of B rows
        # bias epilogues: real floats of at most 32 bits
        lacking = out[0] in (R64, C32, C64, R32I) or "vector" in self.lacks and descriptor[7] & 4
        lacking = lacking or "sums" in self.lacks and descriptor[7] in SUMS
        lacking = lacking or "activation" in self.lacks and descriptor[7] & (2 | 32)
        own = descriptor[26] in (2**32 - 1, out[0]) or out[0] in (E4M3, E5M2) and descriptor[26] == RB16
        return descriptor[7] == 1 or not lacking and own

    def cublasLtMatmulAlgoGetHeuristic(self, handle, descriptor, a, b, c, d, preference, wanted, result, count) -> int:
        self.calls.append(("heuristic", a, b, c, d))
        config, asked = self._config(handle, descriptor, (a, b, c, d)), self.kept.get(preference)
        if config is None or getattr(asked, "kind", "") != "MatmulPreference" or wanted < 1:
            return INVALID
        op = self.kept[descriptor]
        if op[7] & 4 and not op[8]:
            return INVALID  # its alignment is that of the bias
        if not self._has(op, [self.kept[x] for x in (a, b, c, d)]):
            ctypes.c_int.from_address(count).value = 0
            return NOT_SUPPORTED
        number = len(self.algorithms) + 1
        workspace = min(asked[1], 4096) if self.kept[a][2] > 40 else 0
        promised = tuple(asked[n] for n in (5, 6, 7, 8))
        assert asked[3] & 1 == 0, "sums in place are in no fixed order"
        bias = (op[8] | 256) & -(op[8] | 256) if op[7] & (4 | 256 | 512) else 1
        self.algorithms[number] = config, promised, bias, workspace, asked[3]
        ctypes.memset(result, 0, 96)
        ctypes.c_uint64.from_address(result).value = number
        ctypes.c_uint64.from_address(result + 64).value = workspace
        ctypes.c_int.from_address(count).value = 1
        return GOOD

    def _view(self, address: int, layout: Kept) -> np.ndarray | None:
        """A batch of matrices in memory, None where it is not the GPU's."""
        kind, rows, cols, ld, batch, step = (layout[n] for n in (0, 2, 3, 4, 5, 6))
        size = np.dtype(NUMPY[kind]).itemsize
        step = step - 2**64 if step >= 2**63 else step
        first = min(0, (batch - 1) * step) * size
        last = (max(0, (batch - 1) * step) + (cols - 1) * ld + rows) * size
        if address % size or not self.gpu._inside(address + first, last - first):
            return None
        held = (ctypes.c_char * (last - first)).from_address(address + first)
        flat = np.frombuffer(held, NUMPY[kind], offset=-first)
        return np.lib.stride_tricks.as_strided(flat, (batch, rows, cols), (step * size, size, ld * size))

    def cublasLtMatmul(
        self, handle, descriptor, alpha, a, a_desc, b, b_desc, beta, c, c_desc, d, d_desc, algorithm, workspace, size,
        stream,
    ) -> int:  # fmt: skip
        self.calls.append(("matmul", a, b, c, d, stream))
        layouts = (a_desc, b_desc, c_desc, d_desc)
        config = self._config(handle, descriptor, layouts)
        known = self.algorithms.get(ctypes.c_uint64.from_address(algorithm).value)
        if config is None or known is None or known[0] != config or not self.gpu._is_stream(stream):
            return INVALID
        _, promised, bias_aligned, needed, _ = known
        if size < needed or needed and (workspace % 256 or not self.gpu._inside(workspace, size)):
            return INVALID
        if any(pointer % at_least for pointer, at_least in zip((a, b, c, d), promised)):
            return INVALID
        if c == d and c_desc != d_desc:
            return INVALID
        if not c:  # it is not read
            c, c_desc, layouts = d, d_desc, (a_desc, b_desc, d_desc, d_desc)
            if any(ctypes.string_at(beta, np.dtype(NUMPY[self.kept[descriptor][1]]).itemsize)):
                return INVALID
        op, kept = self.kept[descriptor], [self.kept[x] for x in layouts]
        views = [self._view(x, layout) for x, layout in zip((a, b, c, d), kept)]
        if any(view is None for view in views):
            return INVALID
        left, right, added, out = views
        assert not any(np.shares_memory(out, x, max_work=100_000) for x in (left, right) if out.size < 1000)
        scale = np.dtype(NUMPY[op[1]])
        factors = [np.frombuffer(ctypes.string_at(x, scale.itemsize), scale)[0] for x in (alpha, beta)]
        bias, kind = None, kept[3][0]
        if op[7] & 4 or op[7] in SUMS:
            kind, rows, batch, step = kept[3][0], kept[3][2 + SUMS.get(op[7], 0)], kept[3][5], op[10]
            kind = kind if op[26] == 2**32 - 1 else op[26]
            if op[8] % bias_aligned:
                return INVALID
            bias = self._view(op[8], Kept("MatrixLayout", _0=kind, _2=rows, _3=1, _4=rows, _5=batch, _6=step))
            if bias is None:
                return INVALID
        op, kept = copy.deepcopy(op), copy.deepcopy(kept)  # they may be changed while the work waits

        def work() -> None:
            self._multiply(op, kept, left, right, added, out, factors, bias, kind)

        return self.gpu._give(stream, work)[0]

    def _multiply(self, op: Kept, kept: list[Kept], left, right, added, out, factors, bias, bias_kind) -> None:
        values = [read_as(layout[0], np.array(x)) for x, layout in zip((left, right), kept)]
        wide = {68: np.float32, 77: np.float32, 70: np.float64, 64: np.float32, 72: np.int32}[op[0]]
        if kept[0][0] in (C32, C64):
            wide = {R32: np.complex64, R64: np.complex128}[{C32: R32, C64: R64}[kept[0][0]]]
        values = [v.astype(wide) for v in values]
        if op[0] == FAST_TF32:
            values = [tf32(v) for v in values]
        values = [v.swapaxes(1, 2) if turned else v for v, turned in zip(values, (op[3], op[4]))]
        factors = [x.astype(wide) for x in factors]
        made = np.matmul(*values) * factors[0]
        if op[7] in SUMS:
            side = SUMS[op[7]]
            bias[..., 0] = write_as(bias_kind, values[side].sum(2 - side, dtype=wide))
            bias = None
        made = self._scaled(op, made)
        if factors[1] != 0:
            made = made + read_as(kept[2][0], np.array(added)).astype(wide) * factors[1]
        if bias is not None:
            made = made + read_as(bias_kind, np.array(bias)).astype(wide)
        out[...] = write_as(kept[3][0], EPILOGUES[op[7]](made))

    def _scaled(self, op: Kept, made: np.ndarray) -> np.ndarray:
        """A product of float8 by the factors of its operands."""
        for number, mode, axis in ((17, 31, 1), (18, 32, 2)):
            if op[number]:
                count = 1 if op[mode] == 0 else made.shape[axis]
                assert op[number] % 4 == 0 and self.gpu._inside(op[number], 4 * count)
                factor = np.frombuffer(ctypes.string_at(op[number], 4 * count), "f4")
                made = made * (factor[:, None] if axis == 1 else factor)
        return made
