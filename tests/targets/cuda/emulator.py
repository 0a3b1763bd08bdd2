"""Runs generated CUDA texts on the host: g++ compiles them with `emulator.h`; where there is no g++, nothing runs.

Threads are run one after the other, in either order, and barriers that some threads miss are found; what a GPU does
with memory that several threads touch at once is not seen.
"""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np

from facula.config import usable_cores
from facula.ir.kernel import Access, Kernel
from facula.targets.cuda.texts import schedule
from facula.targets.cuda.texts.emit import Program, program
from facula.targets.cuda.texts.helpers import prelude

HEADER = Path(__file__).with_name("emulator.h")
COMPILER = shutil.which("g++")
OPTIONS = ["-std=c++17", "-O0", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv", "-w"]
# With sanitizers: addresses outside an operand or a shared array, and accesses that are not aligned, end the run.
CHECKS = ["-fsanitize=address,alignment,bounds", "-fno-sanitize-recover=all", "--param", "asan-stack=0"]
CHECKED = "FACULA_CHECKED_EMULATOR" in os.environ
OPTIONS += CHECKS if CHECKED else ["-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables"]
LIBRARIES = [] if CHECKED else ["-nodefaultlibs", "-lm", "-lc", "-lgcc"]  # without C++'s, which take the linker long
# Each access to memory is a call of what `races.h` has, and nothing of a text is shared between libraries.
RACES = Path(__file__).with_name("races.h")
RACE_OPTIONS = [
    *("-c", "-g1", "-DFACULA_RACES", "-fsanitize=thread", "-fno-gnu-unique", "-fno-threadsafe-statics"),
    *("--param", "tsan-distinguish-volatile=1", "--param", "tsan-instrument-func-entry-exit=0"),
]
# Functions whose instructions the host lacks.
OVERRIDES = {
    "from_half": """inline float from_half(unsigned short bits) {
  return (float)same_bits<_Float16>(bits);
}""",
    "to_half": """inline unsigned short to_half(float value) {
  return same_bits<unsigned short>((_Float16)value);
}""",
    "to_bfloat": """inline unsigned short to_bfloat(float value) {
  const unsigned bits = __float_as_uint(value);
  return value != value ? 0x7fff : (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}""",
    "matrices": "using emulated::matrices;",
    **{
        f"multiply_{name}": f"""inline void multiply_{name}(
    float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1) {{
  float* const c[4] = {{&c0, &c1, &c2, &c3}};
  emulated::multiply<emulated::{name}_value>(c, a, b0, b1);
}}"""
        for name in ("half", "bfloat")
    },
}


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def batch(programs: Sequence[Program], replaced: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Several programs as one text, and the names of their functions: each stands in a namespace of its own."""
    helpers = set().union(*(p.helpers for p in programs))
    texts = prelude(helpers, replaced)
    names = []
    for p in programs:
        own = f"{p.name}_{digest(p.text)}"
        names.append(own)
        texts.append(f"namespace in_{own} {{\n{re.sub(rf'{p.name}(?=[(])', own, p.body)}\n}}")
    return "\n\n".join(texts), names


_written = functools.cache(program)


def chosen(kernel: Kernel, access: Access, values: Sequence, wide: bool | None = None) -> Program:
    """The text that a launch with these arguments takes, among those of a kernel."""
    some = _written(kernel, access)
    tail = values[len(values) - len(some.arguments) + some.tail :]
    kept = schedule.kept(some, tail[: some.outer + some.row])
    width = not schedule.narrow(kernel, access, tail) if wide is None else wide
    return _written(kernel, access, width, kept)


def restart_checked() -> NoReturn:
    """This program once more, with g++'s address sanitizer loaded before all else, as it must be."""
    assert COMPILER is not None
    library = subprocess.run([COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    os.environ |= {
        "FACULA_CHECKED_EMULATOR": "1",
        "LD_PRELOAD": library.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    os.execv(sys.executable, sys.orig_argv)


def compile_host(given: Sequence[str], to: Path, options: Sequence[str] = OPTIONS) -> None:
    """One run of g++."""
    assert COMPILER is not None
    command = [COMPILER, *options, "-o", f"{to}.part", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr[:4000]}"
    Path(f"{to}.part").rename(to)


class Emulator:
    """Texts compiled so far, in a folder that may outlive the process; with `races`, a race ends its launch."""

    def __init__(self, folder: Path, races: bool = "FACULA_RACES" in os.environ):
        self.folder, self.races = folder, races
        self.options = [o for o in OPTIONS if o != "-shared"] + RACE_OPTIONS if races else OPTIONS
        self.entries: dict[str, Callable] = {}
        self.lock = threading.Lock()

    def header(self) -> Path:
        """The header, with what g++ makes of it beside it: reading that takes a quarter of the time."""
        text = HEADER.read_text().replace('#include "races.h"', RACES.read_text())
        copy = self.folder / f"{digest(text + ' '.join(self.options))}.h"
        compiled = copy.with_name(f"{copy.name}.gch")
        with self.lock:
            if not compiled.exists():
                copy.write_text(text)
                compile_host(["-x", "c++-header", str(copy)], compiled, self.options)
        return copy

    def build(self, programs: Iterable[Program]) -> None:
        """Compile what is not there yet, in one text."""
        new = list({p.text: p for p in programs if p.text not in self.entries}.values())
        if not new:
            return
        text, names = batch(new, OVERRIDES)
        entries = "\n".join(
            f'extern "C" const char* run_{n}(const unsigned* dims, void** arguments, int order) {{\n'
            f"  return emulated::launch(in_{n}::{n}, dims, arguments, order, {int(waits(p))});\n}}"
            for n, p in zip(names, new)
        )
        whole = f'#include "{self.header()}"\n\n{text}\n\n{entries}\n'
        source = self.folder / f"{digest(whole)}.cpp"
        library = source.with_suffix(".so")
        if not library.exists():
            source.write_text(whole)
            if self.races:  # linked by itself: not with the sanitizer's library
                compile_host([str(source)], source.with_suffix(".o"), self.options)
                compile_host([str(source.with_suffix(".o")), *LIBRARIES], library)
            else:
                compile_host([str(source), *LIBRARIES], library)
        loaded = ctypes.PyDLL(str(library))  # which keeps the GIL: fibers are one thread's at a time
        for n, p in zip(names, new):
            entry = getattr(loaded, f"run_{n}")
            entry.restype = ctypes.c_char_p
            self.entries[p.text] = functools.partial(_explained, entry, library) if self.races else entry

    def build_all(self, programs: Sequence[Program], size: int = 60) -> None:
        """Many texts, on all cores."""
        batches = [programs[i : i + size] for i in range(0, len(programs), size)]
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(self.build, batches))

    def compile(self, kernel: Kernel, access: Access, order: int = 0, wide: bool | None = None) -> Callable:
        """What a target's `compile` returns: a function of the arguments in `ir.kernel.arguments`."""
        return lambda *values: self.run(chosen(kernel, access, values, wide), values, order)

    def run(self, p: Program, values: Sequence, order: int = 0):
        """Launches as the driver would; returns what checks found."""
        self.build([p])
        sizes = values[p.tail : p.tail + p.outer + p.row]
        todo, pieces = schedule.launches(p, sizes)
        rows = int(np.prod(sizes[: p.outer]))
        scratch = np.full(max(1, p.state * rows * pieces), 0xFF, np.uint8)
        status = np.zeros(4, np.int64)
        for launch in todo:
            boxes = [KINDS[kind](value) for (kind, _), value in zip(p.arguments, values, strict=True)]
            if p.splits:
                boxes += [ctypes.c_void_p(scratch.ctypes.data), ctypes.c_int(pieces), ctypes.c_int(launch.mode)]
            if p.checks:
                boxes += [ctypes.c_void_p(status.ctypes.data), ctypes.c_longlong(1)]
            given = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(b) for b in boxes))
            dims = (ctypes.c_uint * 4)(*launch.grid, *launch.block)
            trouble = self.entries[p.text](dims, given, order)
            assert trouble is None, f"{p.name}: {trouble.decode()}\n{p.body}"
        if status[1] == 0:
            return None
        value = int(status[3])
        return value if p.checks == 1 else (int(status[0] >> 32), value)


def _explained(entry: Callable, library: Path, *values) -> bytes | None:
    """What an entry says, with lines of the text in place of addresses."""
    trouble = entry(*values)
    if trouble is None:
        return None

    def line(found: re.Match) -> str:
        command = ["addr2line", "-e", str(library), hex(int(found[1], 16) - 1)]
        where = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
        file, _, number = where.rpartition(":")
        return f"`{Path(file).read_text().splitlines()[int(number) - 1].strip()}`" if number.isdigit() else where

    return re.sub(r"line @([0-9a-f]+)", line, trouble.decode()).encode()


class _Nothing(dict):
    """Text -> a function that does nothing."""

    def __missing__(self, text: str) -> Callable:
        return lambda dims, arguments, order: None


class Idle(Emulator):
    """Runs nothing and needs no compiler: for what is asked of the driver, not for numbers."""

    def __init__(self):
        super().__init__(Path())
        self.entries = _Nothing()

    def build(self, programs: Iterable[Program]) -> None:
        """All texts are as good as compiled."""


class _Kinds(dict):
    """C++ type -> how ctypes passes it."""

    def __missing__(self, kind: str):
        return ctypes.c_void_p if kind.endswith("*") else self["long long"]


KINDS = _Kinds({"long long": ctypes.c_longlong, "float": ctypes.c_float, "double": ctypes.c_double})


def waits(p: Program) -> bool:
    """Whether threads of a block wait for each other."""
    return any(word in p.text for word in ("__syncthreads", "__syncwarp", "__shfl", "__ballot"))
