"""Races that the emulator finds (`races.h`), and texts that have none: those that would need too much shared memory."""

import ctypes

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result
from facula.targets.cuda import nvrtc
from facula.targets.cuda.functions import written
from facula.targets.cuda.texts.emit import program
from tests.targets.cuda.emulator import COMPILER, Emulator
from tests.targets.kernels import access, check_kernel

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")

RACES = {
    "none": "box[thread] = 1; __syncthreads(); out[thread] = box[thread ^ 32];",
    "none in a warp": "box[thread] = 1; __syncwarp(); out[thread] = box[thread ^ 1];",
    "none of atomics": "box[thread] = 0; __syncthreads(); atomicAdd(&box[thread / 2], 1u); atomicAdd(&out[0], 1u);",
    "between warps": "box[thread] = 1; __syncwarp(); out[thread] = box[thread ^ 32];",
    "in a warp": "box[thread] = 1; __shfl_xor_sync(0xffffffffu, 1u, 1); out[thread] = box[thread ^ 1];",
    "read, then written": "box[thread] = 1; __syncthreads(); out[thread] = box[thread ^ 1]; box[thread] = 2;",
    "never written": "if (thread > 0) box[thread] = 1; __syncthreads(); out[thread] = box[thread];",
    "of blocks": "__syncthreads(); out[blockIdx.x / 2 * 64 + thread] = 1;",
    "plain beside atomic": "atomicAdd(&out[0], 1u); if (thread == 5) out[0] = 1; __syncthreads();",
}
HEAD = "  __shared__ unsigned box[64];\n  const int thread = threadIdx.x;\n  "


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An emulator that looks for races, and the texts of RACES."""
    emulator = Emulator(tmp_path_factory.mktemp("races"), races=True)
    programs = {name: written("facula_race", [("unsigned*", "out")], HEAD + text) for name, text in RACES.items()}
    emulator.build(list(programs.values()))
    return emulator, programs


@pytest.mark.parametrize("name", RACES)
def test_races_are_found(name, built):
    """Accesses that no barrier keeps in order, with the line of the text, in either order of threads."""
    emulator, programs = built
    for order in (0, 1):
        out = np.zeros(64, np.uint32)
        address = ctypes.c_void_p(out.ctypes.data)
        values = (ctypes.c_void_p * 1)(ctypes.addressof(address))
        dims = (ctypes.c_uint * 4)(2 if name == "of blocks" else 1, 1, 64, 1)
        trouble = emulator.entries[programs[name].text](dims, values, order)
        if name.startswith("none"):
            assert trouble is None, trouble
        else:
            assert trouble is not None and trouble.startswith(b"race: ") and RACES[name].encode() in trouble, trouble


def test_turned_tiles_fit_in_shared_memory(built):
    """Of six operands of 8 bytes five have tiles in 48 KiB; the last is read as it lies."""
    loads = [ir.load(name, dt.float64) for name in "uvwxyz"]
    total = loads[0]
    for one in loads[1:]:
        total = total + one
    kernel = Kernel("six", tuple(Input(x.value[0], dt.float64) for x in loads), (Result("out", dt.float64, total),))
    strides = [(33, 1), *[(1, 40)] * 6]
    p = program(kernel, access(kernel, (40, 33), (), strides))
    assert p.mode == "tile" and p.body.count("__shared__") == 5
    nvrtc.build(p.text, "sm_80")
    check_kernel(built[0].compile, kernel, (40, 33), strides=strides, plain=True)


def test_states_of_columns_fit_in_shared_memory(built):
    """The states of 24 sums have 48 KiB for 256 threads; more columns are summed as rows, with a state a warp."""
    x = ir.load("x", dt.float32)
    for many, mode in ((24, "column"), (25, "row")):
        sums = [ir.reduce("sum", x * float(n)) for n in range(many)]
        results = tuple(Result(f"r{n}", dt.float32, one, per_row=True) for n, one in enumerate(sums))
        kernel = Kernel("sums", (Input("x", dt.float32),), results)
        strides = [*[(1,)] * many, (1, 70)]
        p = program(kernel, access(kernel, (70,), (40,), strides))
        assert p.mode == mode
        nvrtc.build(p.text, "sm_80")
        if mode == "row":
            values = {"x": (np.arange(2800) % 7).astype("f4")}
            check_kernel(built[0].compile, kernel, (70,), (40,), strides=strides, values=values)
