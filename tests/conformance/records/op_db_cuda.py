"""`op_db` of PyTorch with tensors of facula on 'cuda', against PyTorch on the CPU: a few samples an entry.

python -m tests.conformance.records.op_db_cuda --emulated add fft.

Entries whose name begins so; the same options as `tests.targets.cuda.table`.

What fails here and not with facula's tensors on the CPU is printed. Entries that draw random numbers are left out.
"""

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import facula
from tests.conformance.records import mirror, op_db
from tests.targets.cuda.table import device, moved, part_of

CHECKS = {"forward": 6, "gradient": 4, "inplace": 1, "out": 1}  # name -> samples
DTYPES = ("float64", "int64", "bool", "complex128", "float32")  # the first that an entry has: `table` has the others
DRAWN = set(
    """bernoulli cauchy exponential geometric log_normal multinomial normal nn.functional.alpha_dropout
    nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d nn.functional.feature_alpha_dropout
    nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d nn.functional.rrelu
    nn.functional.scaled_dot_product_attention pca_lowrank rand_like randint randint_like randn randn_like
    svd_lowrank uniform""".split()
)


@contextmanager
def twins_away() -> Iterator[None]:
    """Twins of PyTorch's tensors are on the GPU."""
    from_numpy = facula.from_numpy

    class Away:
        """The module facula, but what it makes of arrays is on the GPU."""

        def __getattr__(self, name: str):
            return getattr(facula, name)

        @staticmethod
        def from_numpy(array: np.ndarray):
            return moved(from_numpy(array))

    def of_ours(x):
        return own(x.cpu())

    own = op_db.of_ours
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror, "facula", Away())
        patch.setattr(op_db, "of_ours", of_ours)
        yield


def checked(op) -> dict[str, dict]:
    """Check -> what fails."""
    return {name: op_db.check(op, name, most) for name, most in CHECKS.items()}


def first(dtypes: Iterable[Any]) -> list[Any]:
    """What of the dtypes of an entry is tried."""
    known = {str(dtype).removeprefix("torch."): dtype for dtype in dtypes}
    return [known[name] for name in DTYPES if name in known][:1]


def main(arguments: list[str]) -> int:
    given = [a for a in arguments if not a.startswith("--") and "/" not in a]
    entries = [
        op for op in op_db.ENTRIES if op.name not in DRAWN and (not given or op_db.label(op).startswith(tuple(given)))
    ]
    entries = part_of(entries, arguments)
    here: dict[str, dict] = {}

    def on_the_cpu() -> None:
        here.update((op_db.label(op), checked(op)) for op in entries)

    bad = tried = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(op_db, "dtypes", first)
        with device(arguments, on_the_cpu):
            if not here:
                on_the_cpu()
            with twins_away():
                for op in entries:
                    label, found = op_db.label(op), checked(op)
                    for check, one in found.items():
                        known = {what for what, _ in here[label][check]["failed"]}
                        new = [(what, why) for what, why in one["failed"] if what not in known]
                        tried += one["tried"]
                        bad += len(new)
                        for what, why in new[:4]:
                            print(f"{label} {check} ({len(new)}): {what}: {why}"[:500], flush=True)
    print(f"{len(entries)} entries, {tried} samples, {bad} fail")
    return bad


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.exit(bool(main(sys.argv[1:])))
