"""CUDA texts: what they look like, and that NVRTC takes them without a word, for all kernels of the samples table.

To write the golden texts anew: `FACULA_UPDATE_GOLDEN=1 pytest tests/targets/cuda/test_texts.py`. All texts in both
widths, for both architectures: `python -m tests.targets.cuda.programs`.
"""

import os
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.targets.cuda import nvrtc
from facula.targets.cuda.texts.emit import program
from facula.targets.cuda.texts.helpers import HELPERS, NEEDS, prelude
from facula.targets.cuda.texts.operations import FUNCTIONS
from facula.targets.cuda.texts.types import literal
from tests.targets.cuda.emulator import digest
from tests.targets.cuda.kernels import GOLDEN
from tests.targets.cuda.programs import SYNTAX, WRITTEN, complaints, kernels, own_programs, routine_programs, texts

FOLDER = Path(__file__).parent / "golden"
needs_nvrtc = pytest.mark.skipif(find_spec("cuda") is None, reason="no cuda-bindings here: facula[nvrtc]")


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    """The text without the functions that it calls, as it was when somebody last looked."""
    kernel, access, wide = GOLDEN[name]
    compare(name, program(kernel, access, wide).body)


@pytest.mark.parametrize("name", ["softmax", "layer_norm"])
def test_golden_of_rows_that_are_kept(name):
    compare(f"{name}_kept", program(*GOLDEN[name], kept=True).body)


def compare(name: str, found: str) -> None:
    """Raises where the golden text is another one."""
    path = FOLDER / f"{name}.cu"
    if os.environ.get("FACULA_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert path.read_text() == found, f"{path.name} differs: look at the change, then set FACULA_UPDATE_GOLDEN=1"


@needs_nvrtc
def test_golden_texts_compile():
    programs = [program(*case, kept=kept) for case in GOLDEN.values() for kept in (False, True)]
    assert sum(p.kept for p in programs) == 2
    programs = list({p.text: p for p in programs}.values())
    assert not complaints(programs[::2], "sm_80")
    assert not complaints(programs[1::2], "sm_90")


@needs_nvrtc
def test_every_text_of_the_samples_compiles(machine):
    """All are read; each 32nd, some with indices of 64 bits, becomes machine code of either architecture."""
    found = kernels()
    assert len(found) > 3000
    programs, wide = texts(found), texts(found[::16], wide=True)
    assert not complaints([*programs, *wide], "compute_90", SYNTAX)
    some = [p for p in (*programs, *wide) if digest(p.text) < "08"]
    assert len(some) > 80
    assert not complaints(some[::2], "sm_80")
    assert not complaints(some[1::2], "sm_90")


@needs_nvrtc
@pytest.mark.parametrize("name", WRITTEN)
def test_routines_compile(name):
    """Texts that are written by hand: all are read, for every dtype; one of each name becomes machine code."""
    programs = routine_programs(name)
    assert not complaints(programs, "compute_80", SYNTAX)
    some = [*{(p.name, "asm" in p.text): p for p in programs}.values()]
    assert not complaints(some[::2], "sm_80")
    assert not complaints(some[1::2], "sm_90")


@needs_nvrtc
def test_texts_that_gpus_alone_are_asked_for_compile():
    programs = own_programs()
    assert {p.mode for p in programs} >= {"many", "row", "map"} and len(programs) > 60
    assert sum("late" in dict(map(reversed, p.arguments)) for p in programs) > 20
    assert not complaints(programs, "compute_80", SYNTAX)
    assert not complaints([*{p.name: p for p in programs if p.mode == "many"}.values()], "sm_90")


@needs_nvrtc
def test_ptx_of_one_text():
    text, _ = nvrtc.build(program(*GOLDEN["add"]).text, "compute_90")
    assert b".target sm_90" in text and b".entry facula_add" in text and b"ld.global.v4" in text


@needs_nvrtc
def test_a_warning_is_a_complaint():
    kernel, access, wide = GOLDEN["add"]
    good = program(kernel, access, wide)
    idle = type(good)(**{**vars(good), "body": good.body.replace("{\n", "{\n  int idle;\n", 1)})
    foreign = type(good)(**{**vars(good), "body": good.body.replace("int n ", "int m ")})
    for options in ((), (SYNTAX,)):
        (said,) = complaints([idle], "sm_90", *options)
        assert "idle" in said and "never referenced" in said
        (said,) = complaints([foreign], "sm_90", *options)
        assert "NVRTC refuses the generated text" in said and 'identifier "n" is undefined' in said


def test_functions_bring_those_that_they_call():
    for name in HELPERS:
        text = "\n".join(prelude([name]))
        for other in NEEDS.get(name, ()):
            assert HELPERS[other] in text
    assert set(NEEDS) <= set(HELPERS) and {n for needs in NEEDS.values() for n in needs} <= set(HELPERS)


def test_functions_of_the_machine_are_operations():
    assert FUNCTIONS <= set(ir.OPS)


@pytest.mark.parametrize(
    "value, t, text",
    [
        (0.1, dt.float32, "0.1f"), (0.1, dt.float64, "0.1"), (-0.0, dt.float32, "(-0.0f)"),
        (1e-40, dt.float32, "1e-40f"),
        (1e39, dt.float32, "__int_as_float(0x7f800000)"), (float("-inf"), dt.float64,
         "-__longlong_as_double(0x7ff0000000000000ll)"), (True, dt.bool_, "true"), (-1, dt.int32, "(-1)"),
        (300, dt.uint8, "(unsigned char)44"), (2**63, dt.uint64, "9223372036854775808ull"),
        (-(2**63), dt.int64, "(-9223372036854775807ll - 1)"), (-(2**31), dt.int32, "(-2147483647 - 1)"),
        (1.5, dt.bfloat16, "(unsigned short)16320"), (1.5, dt.float16, "(unsigned short)15872"),
        (float("nan"), dt.float32, "__int_as_float(0x7fc00000)"),
    ],
)  # fmt: skip
def test_literals(value, t, text):
    assert literal(value, t) == text


def test_float_literals_keep_their_bits():
    random = np.random.default_rng(0)
    for bits in random.integers(0, 0x7F800000, 2000, dtype="u4"):
        value = bits.view("f4")
        text = literal(float(value), dt.float32).rstrip("f")
        assert struct.pack("<f", np.float32(text)) == struct.pack("<I", int(bits))


@needs_nvrtc
def test_cache_on_disk(tmp_path, monkeypatch):
    from facula.config import settings

    monkeypatch.setattr(settings, "cache", True)
    monkeypatch.setattr(settings, "cache_dir", tmp_path)
    text = 'extern "C" __global__ void one(float* p) { p[threadIdx.x] = 1.0f; }'
    first = nvrtc.cubin(text, "sm_80")
    assert first[:4] == b"\x7fELF" and len(list(tmp_path.glob("cuda/??/*.code"))) == 1
    monkeypatch.setattr(nvrtc, "build", None)  # not called again
    assert nvrtc.cubin(text, "sm_80") == first
    with pytest.raises(TypeError):
        nvrtc.cubin(text, "sm_90")
