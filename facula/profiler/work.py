"""What a recorded call had to do whatever the program: bytes read and written once, floating-point operations."""

from math import prod
from typing import Any

from .watching import BACKWARD, Record

__all__ = ["flops", "traffic"]

# Products: which tensor operand is the left one.
PRODUCTS = {
    "mm": 0, "matmul": 0, "linear": 0, "bmm": 0, "mv": 0, "dot": 0, "vdot": 0, "inner": 0, "addmm": 1, "baddbmm": 1,
    "addmv": 1, "addbmm": 1,
}  # fmt: skip
CONVOLUTIONS = frozenset("conv1d conv2d conv3d convolution".split())
TRANSPOSED = frozenset("conv_transpose1d conv_transpose2d conv_transpose3d".split())
ONE_EACH = frozenset("add add_ sub sub_ mul mul_ div div_ rsub".split())  # an operation an element
ACCUMULATION = "torch::autograd::AccumulateGrad"  # mostly hands over memory


def flat(found: Any) -> list[Any]:
    """The specs in what `watching.specs` made."""
    specs: list[Any] = []
    for x in found or ():
        if isinstance(x, tuple):
            specs += flat(x)
        elif x is not None:
            specs.append(x)
    return specs


def traffic(record: Record) -> int:
    """Bytes of what went in and came out, each tensor once; 0 of views."""
    if record.outputs is None or record.view or record.name == ACCUMULATION:
        return 0
    read = flat(record.inputs) + (flat(record.numbers) if record.kind == BACKWARD else [])
    return sum(s.nbytes for s in read) + sum(s.nbytes for s in flat(record.outputs))


def flops(record: Record, forward: Record | None = None) -> int:
    """Floating-point operations of a product, a convolution, attention or plain arithmetic; 0: unknown.

    That of a backward is told by its `forward`: a product for each matrix that needs a gradient.
    """
    if record.kind == BACKWARD:
        if forward is None or record.flow is None:
            return 0
        operator = getattr(record.flow[0], "operator", None)
        names = getattr(operator, "tensors", ())
        name = forward.name.removeprefix("aten::")
        if not names or not (name in PRODUCTS or name in CONVOLUTIONS or name in TRANSPOSED):
            return 0
        added = PRODUCTS.get(name, 0)
        wanted = [n for n, need in zip(names, record.flow[1]) if need and n != "bias" and not (added and n == "input")]
        return len(wanted) * flops(forward)
    given, made = flat(record.inputs), flat(record.outputs)
    name = record.name.removeprefix("aten::")
    if not given or not made or any(s.dtype.kind not in "fc" for s in made):
        return 0
    each = 4 if made[0].dtype.kind == "c" else 1
    if name in PRODUCTS and len(given) > PRODUCTS[name]:
        left = given[PRODUCTS[name]]
        return 2 * each * made[0].numel * (left.shape[-1] if left.shape else 1)
    if name in CONVOLUTIONS and len(given) > 1:
        return 2 * each * made[0].numel * prod(given[1].shape[1:])
    if name in TRANSPOSED and len(given) > 1:
        return 2 * each * given[0].numel * prod(given[1].shape[1:])
    if name == "scaled_dot_product_attention" and len(given) > 2:
        return 4 * given[0].numel * given[1].shape[-2]
    return each * made[0].numel if name in ONE_EACH else 0
