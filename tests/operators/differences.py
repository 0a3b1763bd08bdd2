"""Central differences: the yardstick of gradients that need no other framework."""

import numpy as np

import facula.operators as ops
from facula.autograd import grad


def check_gradients(function, *arrays, second: bool = False, step: float = 1e-6, tolerance: float = 1e-6) -> None:
    """AssertionError unless the gradients of `function(*tensors)` by float64 arrays agree with differences of values.

    `second` checks the gradients of the gradients too.
    """
    tensors = [_leaf(a) for a in arrays]
    out = function(*tensors)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, tuple(out.shape))
    found = (
        grad(out, tensors, ops.from_numpy(weights), allow_unused=True) if out.requires_grad else [None] * len(tensors)
    )

    def value(*numbers) -> float:
        return float((function(*[ops.from_numpy(n) for n in numbers]).detach().numpy() * weights).sum())

    for position, (array, analytic) in enumerate(zip(arrays, found)):
        numeric = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            ends = []
            for side in (step, -step):
                moved = [a.copy() for a in arrays]
                moved[position][at] += side
                ends.append(value(*moved))
            numeric[at] = (ends[0] - ends[1]) / (2 * step)
        given = np.zeros_like(array) if analytic is None else analytic.numpy()  # None: it has no influence
        np.testing.assert_allclose(given, numeric, rtol=tolerance, atol=tolerance, err_msg=f"gradient {position}")
    if second:

        def first(*inner):
            made = function(*inner)
            parts = grad(made, inner, ops.from_numpy(weights), create_graph=True)
            total = None
            for k, part in enumerate(parts):
                factor = np.random.default_rng(k + 1).uniform(0.5, 1.5, tuple(part.shape))
                term = (part * ops.from_numpy(factor)).sum()
                total = term if total is None else total + term
            return total

        check_gradients(_recorded(first), *arrays, step=1e-5, tolerance=1e-5)


def _leaf(array: np.ndarray):
    made = ops.from_numpy(array.copy())
    made.requires_grad = True
    return made


def _recorded(function):
    """The function, with inputs that need gradients even where only its value is asked for."""

    def run(*tensors):
        return function(*[t if t.requires_grad else _leaf(t.numpy()) for t in tensors])

    return run
