"""The texts of all kernels that the samples table runs, and NVRTC's word on them; needs no GPU.

python -m tests.targets.cuda.programs              compile all texts, in both widths, for sm_80 and sm_90
python -m tests.targets.cuda.programs --run        run all samples on the host instead (needs g++), and compare
"""

import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import facula
from facula import launch
from facula.config import usable_cores
from facula.ir.kernel import Access, Kernel
from facula.targets import cuda
from facula.targets.cuda import nvrtc
from facula.targets.cuda.many import many_program
from facula.targets.cuda.order.segments import variants
from facula.targets.cuda.texts.emit import Program, program
from tests.targets.cuda.emulator import Emulator, Idle, batch

# The files of `facula/targets/cuda` with texts that are written by hand.
FOLDER = Path(cuda.__file__).parent
WRITTEN = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if "\ndef all_programs" in path.read_text()
)
SYNTAX = "--fdevice-syntax-only"  # what the compiler's first part finds, warnings included, in a thirtieth of the time
NO_STEP = {facula.optim.Optimizer, facula.optim.LBFGS, facula.optim.SparseAdam, facula.optim.Muon}
BATCH = 64  # texts that are compiled as one: NVRTC takes 60 ms for an empty one


def kernels() -> list[tuple[Kernel, Access]]:
    """The kernels that this process has compiled for the CPU so far."""
    return [(kernel, access) for kernel, access, where in launch._COMPILED if where.type == "cpu"]


def texts(found: Sequence[tuple[Kernel, Access]], wide: bool = False) -> list[Program]:
    """Their programs, those of sorted writes and of kept rows too; each text once."""
    programs = [program(kernel, access, wide) for kernel, access in found]
    programs += [program(*which, wide, True) for which, p in zip(found, programs) if p.keep]
    programs += [p for kernel, access in found for p in variants(kernel, access, wide)]
    return list({p.text: p for p in programs}.values())


# Rows of the samples table that lead to kernels which no other machine asks for.
OWN = (
    "dot", "mv", "linalg.vecdot", "masked_select", "masked_scatter", "nonzero", "Tensor.__getitem__", "index_put",
    "index_add", "nn.functional.embedding",
)  # fmt: skip


def own_programs() -> list[Program]:
    """Texts that GPUs alone are asked for: of routines in place of the CPU's own, of optimizers, in graphs too."""
    from facula.optim import optimizer
    from tests.operators import results
    from tests.operators.table import load_all
    from tests.targets.cuda.fake_driver import FakeDriver, installed
    from tests.targets.cuda.table import samples_away

    with pytest.MonkeyPatch.context() as patch, installed(FakeDriver(Idle(), strict=True), patch) as fake:
        with samples_away():
            for name in OWN:
                row = load_all()[name]
                for n, sample in enumerate(row.samples):
                    for code in sorted({"float32", "float64", "bfloat16", "int64", "int8"} & set(row.dtypes)):
                        results._attempt(lambda: results.call(row, n, sample, code))  # noqa: B023
        kinds: list[Any] = [k for k in vars(facula.optim).values() if isinstance(k, type) and k not in NO_STEP]
        for kind in kinds:
            if issubclass(kind, optimizer.Optimizer):
                for dtype in (facula.float32, facula.bfloat16):
                    weights = [facula.nn.Parameter(facula.ones(2, 3, dtype=dtype, device="cuda")) for _ in range(2)]
                    for weight in weights:
                        weight.grad = facula.ones_like(weight)
                    made = kind(weights)
                    made.step()
                    made.step()
        many = [(kernel, columns) for kernel, columns, where in launch._MANY if where.type == "cuda"]
        asked = {**fake.programs}
    asked |= {p.text: p for which in many for late in (False, True) for p in [many_program(*which, late)]}
    known = {p.text for p in texts(kernels())}
    return [p for text, p in asked.items() if text not in known]


def routine_programs(name: str) -> list[Program]:
    """All texts of a file of routines that are written by hand."""
    found = import_module(f"facula.targets.cuda.{name}").all_programs()
    return list({p.text: p for p in found}.values())


def complaints(programs: Sequence[Program], architecture: str, *options: str) -> list[str]:
    """What NVRTC says against texts, errors and warnings."""

    def one(some: Sequence[Program]) -> str:
        text, _ = batch(some)
        try:
            _, said = nvrtc.build(text, architecture, options)
        except RuntimeError as error:
            return str(error)
        return said

    batches = [programs[i : i + BATCH] for i in range(0, len(programs), BATCH)]
    with ThreadPoolExecutor(usable_cores()) as pool:  # NVRTC works without the GIL
        return [said for said in pool.map(one, batches) if said]


def _record() -> list[tuple[Kernel, Access]]:
    """The kernels of the whole table, gradients in more dtypes than the tests take included."""
    from tests.operators import results
    from tests.operators.table import load_all

    results.table()
    for row in load_all().values():
        for dtype in {"float32", "bfloat16", "complex64"} & set(row.dtypes) if row.grad else ():
            for n, sample in enumerate(row.samples):
                results._attempt(lambda: results.gradients(row, n, sample, dtype))  # noqa: B023
    return kernels()


def _compile_all() -> int:
    found = _record()
    bad, by_hand = 0, [*own_programs(), *(p for name in WRITTEN for p in routine_programs(name))]
    for wide in (False, True):
        programs = texts(found, wide) + by_hand * (not wide)
        for architecture in ("sm_80", "sm_90"):
            said = complaints(programs, architecture)
            bad += len(said)
            print(f"{len(programs)} texts, {architecture}{', wide' * wide}: {len(said)} batches with complaints")
            print("\n".join(said)[:4000])
    return bad


def _run_all() -> int:
    """All samples on the host by CUDA texts, against the reference target."""
    from tests.operators import results
    from tests.operators.table import load_all
    from tests.operators.test_operators import ELSEWHERE, agree

    with tempfile.TemporaryDirectory() as folder:
        programs = texts(_record())
        Emulator(Path(folder)).build_all(programs, BATCH)
        Path(folder, "programs.pickle").write_bytes(pickle.dumps(programs))
        environment = {**os.environ, "FACULA_TARGET": "reference", "PYTHONPATH": os.pathsep.join(sys.path)}
        path = Path(folder, "results.pickle")
        subprocess.run([sys.executable, "-m", __name__, "--emulate", folder, str(path)], env=environment, check=True)
        found = pickle.loads(path.read_bytes())
        reference = results.of_reference_target(Path(folder, "reference.pickle"))
    bad = 0
    for name, row in load_all().items():
        for key, wanted in reference[name].items():
            if not row.compare or (isinstance(wanted, str) and wanted.endswith(ELSEWHERE)):
                continue
            dtype = key[2] if len(key) > 2 else "float64" if key[0] == "gradients" else row.dtypes[0]
            try:
                if dtype not in row.blind:
                    agree(row, found[name][key], wanted, dtype, f"{name} {key}")
            except AssertionError as error:
                bad += 1
                print(re.sub(r"\s+", " ", str(error))[:400])
    print(f"{bad} results differ from the reference target's")
    return bad


def _emulate(folder: str, path: str) -> None:
    """In a process with the reference target: its kernels replaced by CUDA texts."""
    from facula.targets import reference
    from tests.operators import results

    emulator = Emulator(Path(folder))
    programs = pickle.loads(Path(folder, "programs.pickle").read_bytes())
    for i in range(0, len(programs), BATCH):
        emulator.build(programs[i : i + BATCH])
    reference.compile = emulator.compile
    Path(path).write_bytes(pickle.dumps(results.table()))


if __name__ == "__main__":
    if "--emulate" in sys.argv:
        _emulate(*sys.argv[2:])
    else:
        sys.exit(bool(_run_all() if "--run" in sys.argv else _compile_all()))
