"""The samples table with tensors on 'cuda', against the CPU: values of all samples and gradients.

python -m tests.targets.cuda.table               on the GPU
python -m tests.targets.cuda.table --part 0/4    the first of four parts of it
python -m tests.targets.cuda.table --emulated    on the fake driver, whose kernels run in the emulator (needs g++);
                                                 --checked: what touches a wrong address ends it;
                                                 --races: launches whose threads race fail (`races.h`)

With --generated, products are those of generated kernels and not cuBLASLt's (in the emulator: a fake of it).

Prints what differs, then what the target has no routine for; ends with 1 where something differs.
"""

import collections
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facula
from facula.targets.cuda.libraries import cublaslt
from tests.operators import results
from tests.operators.table import Maker, load_all

# What random numbers make: GPUs draw those of PyTorch's GPUs (test_random.py), so that only shapes are compared here.
DRAWN = set(
    """rand randn randint randperm rand_like randn_like randint_like normal bernoulli poisson multinomial dropout
    alpha_dropout feature_dropout feature_alpha_dropout nn.functional.rrelu nn.functional.fractional_max_pool2d
    nn.functional.fractional_max_pool3d""".split()
)


def moved(x: facula.Tensor, device: str = "cuda") -> facula.Tensor:
    """A leaf with the same elements, laid out alike in memory of another device."""
    whole = x.untyped_storage().nbytes() // x.dtype.itemsize
    memory = x.detach().as_strided((whole,), (1,), 0).to(device)
    return memory.as_strided(x.shape, x.stride(), x.storage_offset()).requires_grad_(x.requires_grad)


class Away(Maker):
    """Makes the tensors of a sample on the GPU."""

    def tensor(self, what):
        self.made[-1] = moved(super().tensor(what))
        return self.made[-1]


def blank(found: Any) -> Any:
    """Results without their numbers."""
    return [np.zeros_like(x) if isinstance(x, np.ndarray) else x for x in found] if isinstance(found, list) else found


@contextmanager
def samples_away() -> Iterator[None]:
    """The tensors of samples, and what gradients start from, are on the GPU."""
    from tests.operators import test_operators

    seed = results.seed_like
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "Maker", Away)
        patch.setattr(test_operators, "Maker", Away)
        patch.setattr(results, "seed_like", lambda out, key=3: seed(out, key).to(out.device))
        yield


def compare(names: list[str]) -> int:
    """How many results differ; prints them, and which routines are missing."""
    from tests.operators.test_operators import agree

    rows = {name: row for name, row in load_all().items() if name in names}
    counts, missing, elsewhere = collections.Counter(), collections.Counter(), {}
    for name, row in rows.items():
        if not row.compare:
            continue
        wanted = results.everything(row)
        with samples_away():
            found = results.everything(row)
        for key, value in wanted.items():
            got = found[key]
            lack = re.search(r"facula has no routine '(\w+)' for the device", got) if isinstance(got, str) else None
            if lack is not None:
                missing[lack[1]] += 1
                elsewhere.setdefault(lack[1], {})[name] = None
                continue
            dtype = key[2] if len(key) > 2 else "float64" if key[0] == "gradients" else row.dtypes[0]
            if dtype in row.blind:
                continue
            counts["compared"] += 1
            if name in DRAWN:
                got, value = (blank(x) for x in (got, value))
            try:
                agree(row, got, value, dtype, f"{name} {key}")
            except AssertionError as error:
                counts["different"] += 1
                print(re.sub(r"\s+", " ", str(error))[:300], flush=True)
    print(f"{counts['compared']} results compared, {counts['different']} differ")
    for routine, number in missing.most_common():
        print(f"no routine {routine!r}: {number} results of {', '.join(elsewhere[routine])}"[:600])
    return counts["different"]


def part_of(names: list[Any], arguments: list[str]) -> list[Any]:
    """Every n-th name from the k-th on, where the arguments have `--part k/n`."""
    if "--part" not in arguments:
        return names
    first, step = arguments[arguments.index("--part") + 1].split("/")
    return names[int(first) :: int(step)]


def exact() -> AbstractContextManager:
    """float32 is multiplied as such: PyTorch has cuDNN round it to TF32 unless a program says otherwise."""
    return facula.backends.cudnn.flags(enabled=True, allow_tf32=False)


@contextmanager
def device(arguments: list[str], prepare: Callable[[], object]) -> Iterator[None]:
    """The GPU, or with --emulated the fake driver, for which `prepare` runs the kernels that will be asked for here."""
    if "--generated" in arguments:
        cublaslt.use(None)
    if "--emulated" not in arguments:
        if not facula.cuda.is_available():
            sys.exit(facula.cuda.reason())
        with exact():
            yield
        return
    from tests.targets.cuda.emulator import CHECKED, Emulator, restart_checked
    from tests.targets.cuda.fake_blas import FakeBlas

    if "--checked" in arguments and not CHECKED:
        restart_checked()
    from tests.targets.cuda.fake_dnn import FakeDnn, in_place
    from tests.targets.cuda.fake_driver import FakeDriver, installed
    from tests.targets.cuda.programs import kernels, texts

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        emulator = Emulator(Path(folder), "--races" in arguments)
        prepare()
        emulator.build_all(texts(kernels()))
        fake = FakeDriver(emulator, memory=8 << 30, strict=True)
        blas = None if "--generated" in arguments else FakeBlas(fake)
        with installed(fake, patch, blas), in_place(FakeDnn(fake)), exact():
            yield


def main(arguments: list[str]) -> int:
    given = [a for a in arguments if not a.startswith("--") and "/" not in a]
    names = part_of(sorted(given or load_all()), arguments)
    with device(arguments, lambda: [results.everything(row) for name, row in load_all().items() if name in names]):
        return compare(names)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
