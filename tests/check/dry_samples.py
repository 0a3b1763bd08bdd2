"""Runs the samples table twice on the target of dry runs: with numbers, and with operands that nobody computed.

Prints a line for each sample whose result (shapes, dtypes, strides, those of gradients, errors) is not the same.
"""

import warnings

import facula
from facula import launch
from facula.check import dry
from tests.operators.table import Maker, flat, load_all, resolve


class Hollow(Maker):
    """Makes the tensors of a sample without numbers."""

    def tensor(self, what):
        made = super().tensor(what)
        self.made[-1] = empty = facula.empty_strided(made.shape, made.stride(), dtype=made.dtype)
        return launch.forget(empty).requires_grad_(made.requires_grad)


def shown(x):
    return (tuple(x.shape), x.dtype, x.stride(), x.requires_grad) if isinstance(x, facula.Tensor) else type(x)


def run(maker, row, number, sample):
    args, kwargs, made = maker.call(row.name, number, sample)
    try:
        outs = flat(resolve(facula, row.name)(*args, **kwargs))
        ends = [o for o in outs if isinstance(o, facula.Tensor) and o.requires_grad]
        leaves = [x for x in made if x.requires_grad]
        grads = []
        if ends and leaves and row.grad:
            grads = facula.autograd.grad(ends, leaves, [facula.ones_like(o) for o in ends], allow_unused=True)
        return [shown(o) for o in outs], [shown(g) for g in grads]
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    launch.use("cpu", dry)
    for row in load_all().values():
        for number, sample in enumerate(row.samples):
            wanted = run(Maker(facula, row.dtypes[0], "dense", True), row, number, sample)
            found = run(Hollow(facula, row.dtypes[0], "dense", True), row, number, sample)
            if found != wanted:
                print(f"{row.name}: sample {number}: {found} for {wanted}")
