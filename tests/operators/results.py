"""Runs samples with facula and gives plain results; as a program, writes those of all rows on the reference target."""

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np

import facula
from tests.operators.table import Maker, Row, Sample, flat, load_all, resolve


def plain(x):
    """A result as data: arrays (of what NumPy lacks as float32 or complex64), numbers."""
    if not isinstance(x, facula.Tensor):
        return x
    x = x.detach()
    return x.numpy(force=True).copy()


def call(row: Row, number: int, sample, dtype: str, layout: str = "dense", requires_grad: bool = False):
    """(results, tensors made, args, kwargs) of one call."""
    args, kwargs, made = Maker(facula, dtype, layout, requires_grad).call(row.name, number, sample)
    facula.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flat(resolve(facula, row.name)(*args, **kwargs)), made, args, kwargs


def seed_like(out, key: int = 3):
    """A gradient to start from, the same for equal shapes."""
    values = np.random.default_rng(key).uniform(0.5, 1.5, tuple(out.shape))
    return facula.from_numpy(np.asarray(values)).to(out.dtype)


def gradients(row: Row, number: int, sample, dtype: str = "float64", layout: str = "dense", create_graph: bool = False):
    """(gradients, tensors that have them, outputs): None where nothing is differentiable."""
    results, made, _, _ = call(row, number, sample, dtype, layout, True)
    outs = [r for r in results if isinstance(r, facula.Tensor) and r.requires_grad]
    wanted = [x for x in made if x.requires_grad]
    if not outs or not wanted:
        return None
    found = facula.autograd.grad(
        outs, wanted, [seed_like(o, 3 + i) for i, o in enumerate(outs)], create_graph=create_graph, allow_unused=True
    )
    return found, wanted, outs


def everything(row: Row) -> dict:
    """All results of a row: values of each sample, of the first in each dtype, and gradients in float64."""
    found = {}
    for n, sample in enumerate(row.samples):
        found["values", n] = _attempt(lambda: [plain(x) for x in call(row, n, sample, row.dtypes[0])[0]])  # noqa: B023
        if row.grad and "float64" in row.dtypes:
            found["gradients", n] = _attempt(lambda: _gradients(row, n, sample))  # noqa: B023
    for dtype in row.dtypes[1:]:
        found["values", 0, dtype] = _attempt(lambda: [plain(x) for x in call(row, 0, row.samples[0], dtype)[0]])  # noqa: B023
    return found


def _gradients(row: Row, number: int, sample: Sample):
    found = gradients(row, number, sample)
    return None if found is None else [None if g is None else plain(g) for g in found[0]]


def _attempt(make):
    try:
        return make()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def table() -> dict:
    """Results of all rows by name."""
    return {name: everything(row) for name, row in load_all().items()}


def of_reference_target(path) -> dict:
    """The results of the whole table in a process that runs kernels in the NumPy interpreter."""
    environment = {**os.environ, "FACULA_TARGET": "reference", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", __name__, str(path)], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the reference run failed:\n{done.stderr[-3000:]}")
    with open(path, "rb") as file:
        return pickle.load(file)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        pickle.dump(table(), file)
