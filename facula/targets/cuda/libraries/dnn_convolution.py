"""Whole convolutions by cuDNN: of one to three dims, transposed or not, in groups, and the gradient of the weights.

Plans are made once for sizes and layouts, and kept by who asked. The switches are those of `torch.backends.cudnn`; its
`depthwise_kernel` leaves what has a group for each channel to the generated kernel where it is "native".
"""

from collections.abc import Callable, Sequence

from facula.core.precision import CONVOLUTIONS
from facula.core.spec import Spec
from facula.core.switches import cudnn

from .. import driver, launcher
from ..memory.pool import Block
from .dnn_api import reason
from .dnn_graph import ALIGNMENT, Graph, Policy, chosen, free

__all__ = ["convolution", "graph_of"]

TYPES = ("float16", "bfloat16", "float32", "float64")
RESULTS = {"forward": 2, "input": 0, "weight": 1}  # which of x, w and y a convolution makes


def convolution(
    kind: str, x: Spec, w: Spec, y: Spec, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    bias: bool = False,
) -> Callable[..., None] | None:  # fmt: skip
    """A convolution as a function of addresses: its result, the others of x, w and y, the bias where there is one.

    Parameters
    ----------
    kind : str
        "forward": y from x and w; "input": x from w and y; "weight": w from x and y.
    x, w, y : Spec
        (N, C, ...), (O, C / groups, ...), (N, O, ...) of one dtype, dense: row-major or channels innermost.
    stride, padding, dilation : sequence of int
        A number a dim.
    bias : bool
        Whether a bias of O elements is added to y ("forward" alone).

    Returns
    -------
    callable or None
        None where cuDNN is missing, is switched off, or does not do this.
    """
    kinds = x.dtype.name
    if not cudnn.enabled or kinds not in TYPES or not _fits(x, w, y, stride, padding, dilation) or reason():
        return None
    if cudnn.depthwise_kernel == "native" and w.shape[1] == 1 < x.shape[1]:
        return None
    exact = kinds == "float32"
    policy = Policy(deterministic=not free(), full=exact and not CONVOLUTIONS.tf32, exact=exact)
    found = chosen(graph_of(kind, x, w, y, stride, padding, dilation, bias), policy)
    if found is None:
        return None
    sizes = [s.nbytes for s in (x, w, y)]
    sizes = [0, *(size for place, size in enumerate(sizes) if place != RESULTS[kind]), y.shape[1] * y.dtype.itemsize]

    def slowly(*operands: int) -> None:
        if any(address % ALIGNMENT for address in operands):  # of views into tensors; results are whole blocks
            aligned, kept = _aligned(operands, sizes)
            found(*aligned)
            del kept  # work that comes later may have its memory
        else:
            found(*operands)

    return found.builtin(slowly)


def _fits(x: Spec, w: Spec, y: Spec, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> bool:
    """Whether y's sizes are those of the convolution of x, and nothing is empty.

    They are not where a transposed convolution's output padding leaves out a window, or a gradient's a part.
    """
    if 0 in (x.numel, w.numel, y.numel):
        return False
    return all(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 == m
        for n, k, m, s, p, d in zip(x.shape[2:], w.shape[2:], y.shape[2:], stride, padding, dilation)
    )


def graph_of(
    kind: str, x: Spec, w: Spec, y: Spec, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    bias: bool,
) -> Graph:  # fmt: skip
    """Operands: the result, the others of x, w, y, and the bias where there is one."""
    type = x.dtype.name
    graph = Graph("float64" if type == "float64" else "float32")
    laid = [_layout(s) for s in (x, w, y)]
    if x.ndim == 3:  # cuDNN has two dims at least
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    x_at, w_at, y_at = (graph.operand(type, *layout) for layout in laid)
    graph.operands.insert(0, graph.operands.pop(RESULTS[kind]))
    if not bias:
        graph.convolution(kind, x_at, w_at, y_at, stride, padding, dilation)
        return graph
    sizes, strides = laid[2]
    ones = (1,) * (len(sizes) - 2)
    row = graph.operand(type, (1, sizes[1], *ones), (sizes[1], 1, *(sizes[1] for _ in ones)))
    product = graph.between(sizes, strides)
    graph.convolution(kind, x_at, w_at, product, stride, padding, dilation)
    graph.pointwise("add", product, row, y=y_at)
    return graph


def _layout(s: Spec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and strides, of two dims at least."""
    sizes, strides = tuple(s.shape), tuple(s.strides)
    if s.ndim > 3:
        return sizes, strides
    n, step = sizes[-1], strides[-1]
    return (*sizes[:2], 1, n), (*strides[:2], n * step, step)


def _aligned(operands: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[Block]]:
    """Addresses of the same values where kernels can read 16 bytes at a time, and the blocks that hold them."""
    gpu = driver.gpu()
    made, kept = list(operands), []
    for place, (address, size) in enumerate(zip(operands, sizes)):
        if address % ALIGNMENT:
            block = launcher.taken(size)
            gpu.enter()
            copied = driver.api().cuMemcpyDtoDAsync(block.ptr, address, size, gpu.stream.handle)
            driver.good(copied, "cuMemcpyDtoDAsync")
            made[place] = block.ptr
            kept.append(block)
    return made, kept
