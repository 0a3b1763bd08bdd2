"""Writing into existing tensors: what must be checked, how history is rewritten, also through views."""

import ctypes
import gc
import sys
from typing import Any

from facula import launch
from facula.autograd.node import CUSTOM, NO_GRAD, REGENERATE, STALE, Node, Output, alias, edge_of
from facula.core import dtype as dt
from facula.core import shared
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import Size, contiguous_strides, reach
from facula.core.spec import Spec, dense
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.core.wrapped import WRAPPED, anywhere, followed
from facula.errors import fail

from . import creation
from .copying import copied, copy_of, copy_values, dense_order, overwrite
from .creation import dtype_c_name, fill_values, number, zeros_of
from .declare import ASSIGN, CHECK_LEAF, CHECK_VIEW, OPERATORS, OVERLAP, PREPARE_OUT, REBASE, check_cast, record, traced
from .view import as_strided_part

__all__ = ["copy_", "detach_", "fill_", "rebase", "recording", "resize_", "write", "zero_"]


RETAIN: list = []  # operators/methods.py


def stands_in(*tensors) -> bool:
    """Whether one of the tensors stands for others: writing is then the business of `assignment.py`."""
    return any(isinstance(t, Tensor) and t.spec.kind is WRAPPED for t in tensors)


def recording(*tensors) -> bool:
    """Whether an operation on these tensors is to be recorded."""
    if GUARD.active:
        if LOCAL.special and stands_in(*tensors):
            return True
        if not LOCAL.grad:
            return False
    needs = any(isinstance(t, Tensor) and t.needs_grad for t in tensors)
    first = tensors[0]
    if isinstance(first, Tensor) and first.base is not None:
        check_view(first, needs)
    return needs


def check_view(target: Tensor, needs: bool) -> None:
    """RuntimeError for a view that was made while nothing was recorded, when its change would have to be."""
    base: Any = target.base
    if target.seen == NO_GRAD and (not GUARD.active or LOCAL.grad) and (needs or base.needs_grad):
        fail(
            RuntimeError,
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this "
            "use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view "
            "and the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or "
            "both outside (if you want the inplace to be tracked).",
        )


def check_leaf(target: Tensor) -> None:
    """RuntimeError for a leaf that requires a gradient, or for a view of one."""
    if target.needs_grad and target.edge is None:
        fail(
            RuntimeError,
            "a leaf Variable that requires grad is being used in an in-place operation.",
            mend="change it under torch.no_grad(), or work on x.clone()",
        )
    base = target.base
    if base is not None and base.needs_grad and base.edge is None:
        fail(
            RuntimeError,
            "a view of a leaf Variable that requires grad is being used in an in-place operation.",
            mend="change it under torch.no_grad(), or work on x.clone()",
        )
    if base is not None and target.seen == CUSTOM:
        number, node = (target.edge.number, target.edge.node) if type(target.edge) is Output else (0, target.edge)
        fail(
            RuntimeError,
            f"Output {number} of {node.title()} is a view and is being modified inplace. This view was created inside "
            "a custom Function (or because an input was returned as-is) and the autograd logic to handle view+inplace "
            "would override the custom backward associated with the custom Function, leading to incorrect gradients. "
            "This behavior is forbidden. You can fix this by cloning the output of the custom Function.",
        )
    if base is not None and type(target.edge) is Output:
        fail(
            RuntimeError,
            f"Output {target.edge.number} of {target.edge.node.title()} is a view and is being modified inplace. This "
            "view is the output of a function that returns multiple views. Such functions do not allow the output "
            "views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
        )


def check_overlap(target: Tensor, others=()) -> None:
    """RuntimeError where elements of the target share memory, or overlap an input other than exactly."""
    s = target.spec
    if 0 in s.strides and any(n > 1 and st == 0 for n, st in zip(s.shape, s.strides)) and s.numel:
        fail(
            RuntimeError,
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation.",
            got=f"shape {tuple(s.shape)} with strides {s.strides}",
        )
    for x in others:
        if isinstance(x, Tensor) and x.storage is target.storage and (x.ptr != target.ptr or x.spec is not s):
            if _share(target, x):
                _refuse_overlap()


def _refuse_overlap():
    fail(
        RuntimeError,
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
        "location. Please clone() the tensor before performing the operation.",
    )


def _share(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one storage have bytes in common, but are not the very same elements."""
    if a.ptr == b.ptr and a.spec.shape == b.spec.shape and a.spec.strides == b.spec.strides:
        return False  # each is read before it is written
    return _meet(a, b)


def _meet(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one storage have bytes in common (exact for dense ones, else by bounds)."""
    item = a.spec.dtype.itemsize
    low_a, high_a = reach(a.spec.shape, a.spec.strides)
    low_b, high_b = reach(b.spec.shape, b.spec.strides)
    if high_a < low_a or high_b < low_b:
        return False
    first_a, last_a = a.ptr + low_a * item, a.ptr + (high_a + 1) * item
    first_b, last_b = b.ptr + low_b * b.spec.dtype.itemsize, b.ptr + (high_b + 1) * b.spec.dtype.itemsize
    if last_a <= first_b or last_b <= first_a:
        return False
    # Layouts with gaps may well be disjoint: PyTorch lets them pass too.
    return dense_order(a.spec) is not None and dense_order(b.spec) is not None


# Functions whose out= may not be an operand, though others' may; whose out= must have the result's dtype.
APART = frozenset(("bernoulli", "cat", "gather", "index_select", "kthvalue", "masked_select", "take"))
SAME_DTYPE = frozenset(("gather", "scatter", "scatter_add", "scatter_reduce"))


def _check_apart(out: Tensor, operands) -> None:
    """RuntimeError where the target has memory in common with an operand."""
    for x in operands:
        if isinstance(x, Tensor) and x.storage is out.storage and _meet(out, x):
            _refuse_overlap()


def prepare_out(name: str, out: Tensor, want: Spec, operands) -> None:
    """Make `out` fit a result: its shape (resizing with a warning), its dtype, no history."""
    if not isinstance(out, Tensor):
        fail(TypeError, f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if out.spec.device is not want.device:
        fail(
            RuntimeError,
            f"Attempting to copy from device {want.device} to device {out.spec.device}, but cross-device copies are "
            "not allowed!",
            mend="make the out= tensor on the device of the operands",
        )
    check_cast(want.dtype, out.spec.dtype)
    if name in SAME_DTYPE and out.spec.dtype is not want.dtype:
        fail(
            RuntimeError,
            f"Expected out tensor to have dtype {dtype_c_name(want.dtype)}, but got {dtype_c_name(out.spec.dtype)} "
            "instead",
        )
    if name in APART:
        check_overlap(out)
        _check_apart(out, operands)
    if recording(out, *operands):
        fail(
            RuntimeError,
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad.",
            mend="call it without out=, or under torch.no_grad()",
        )
    if out.spec.shape != want.shape:
        if out.spec.numel:
            import warnings

            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.spec.shape)}, which "
                f"does not match the required output shape {list(want.shape)}. This behavior is deprecated, and in a "
                "future PyTorch release outputs will not be resized unless they have zero elements.",
                UserWarning,
                stacklevel=4,
            )
        resize_(out, want.shape)
        if name in APART:
            _check_apart(out, operands)
    check_overlap(out, operands)


def resize_(input: Tensor, *args, size=None, memory_format=None) -> Tensor:
    """Another shape for the same record; new memory where the storage is too small."""
    from .view import ints

    shape = Size(ints(args if size is None else (size,)))
    if any(n < 0 for n in shape):
        fail(RuntimeError, f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    new = dense(input.spec.dtype, shape, input.spec.device)
    start = input.ptr - input.storage.ptr
    if start + new.nbytes > input.storage.nbytes:
        holders = [input] if _holds_alone(input) else None
        grow(input.storage, start + new.nbytes, input.spec.device, holders)
    input.spec = new
    input.ptr = input.storage.ptr + start
    return input


def copy_bytes(target, source, count: int) -> None:
    """The first bytes of a storage into another one."""
    from .creation import record_of

    to, start = (record_of(dense(dt.uint8, (count,), s.device), s, s.ptr) for s in (target, source))
    copy_values(to, start)


def grow(storage, nbytes: int, device, holders: list | None = None) -> None:
    """Larger memory for a storage: all tensors on it follow, which are `holders` where that is known."""
    if shared.is_shared(storage):
        fail(RuntimeError, "Trying to resize storage that is not resizable", got="memory that processes share")
    new = launch.new_storage(nbytes, device)
    copy_bytes(new, storage, min(storage.nbytes, nbytes))
    move([storage], [new], holders)


def share(*tensors) -> None:
    """Move the memory of tensors, or storages, to where other processes can see it: all tensors on it follow."""
    alone = len(tensors) == 1 and isinstance(tensors[0], Tensor) and _holds_alone(tensors[0])
    found = {id(s): s for s in (t.storage if isinstance(t, Tensor) else t for t in tensors)}.values()
    private = [storage for storage in found if not shared.is_shared(storage) and storage.device.type == "cpu"]
    news = []
    for storage in private:
        news.append(new := shared.create(storage.nbytes))
        ctypes.memmove(new.ptr, storage.ptr, storage.nbytes)
    move(private, news, [tensors[0]] if alone else None)


def _count(tensor) -> int:
    return sys.getrefcount(tensor.storage)


def _holds_alone(tensor) -> bool:
    """Whether nobody else refers to the tensor's storage."""
    return _count(tensor) == _count(launch.empty(dense(dt.uint8, (1,))))


def move(storages: list, news: list, holders: list | None = None) -> None:
    """Let storages have the memory of new ones: the tensors on them follow, NumPy's arrays keep what they show."""
    if not storages:
        return
    if holders is None:  # rare, as it looks through all objects
        gc.unfreeze()  # the collector does not look for referrers among frozen ones
        holders = gc.get_referrers(*storages)
    follow: dict[int, list] = {id(storage): [] for storage in storages}
    for holder in holders:
        if isinstance(holder, Tensor | creation._Memory) and id(holder.storage) in follow:
            follow[id(holder.storage)].append(holder)
    for storage, new in zip(storages, news):
        old = Storage(storage.ptr, storage.nbytes, storage.owner, storage.device)
        for holder in follow[id(storage)]:
            if isinstance(holder, Tensor):
                holder.ptr += new.ptr - storage.ptr
            else:
                holder.storage = old
        storage.ptr, storage.nbytes, storage.owner = new.ptr, new.nbytes, new.owner


# --- history ------------------------------------------------------------------------------------------------------


class CopySlices(Node):
    """A base written through a view: the view's part of the gradient goes through the operation, the rest on."""

    __slots__ = ("inner", "part")

    def name(self) -> str:
        return "torch::autograd::CopySlices"

    def apply(self, grad):
        size, stride, offset = self.part
        whole = (
            copy_values(launch.empty(dense(grad.spec.dtype, grad.spec.shape, grad.spec.device)), grad)
            if not LOCAL.grad and not LOCAL.special
            else grad.clone()
        )
        part = as_strided_part(whole, size, stride, offset)
        results = list(self.inner.apply(part.clone()))
        inside = results[0]
        if LOCAL.grad or LOCAL.special:
            copy_(part, inside if inside is not None else zeros_of(dense(part.spec.dtype, part.spec.shape)))
        elif inside is None:
            fill_values(part, 0)
        else:
            copy_values(part, inside)
        results[0] = whole
        return results

    def release(self) -> None:
        self.inner.release()


CopySlices.__module__ = "torch.autograd"


def rebase(target: Tensor, node: Node) -> None:
    """Make `node` the history of a tensor that was just written in place; for a view, of its base too."""
    base = target.base
    if not (target if base is None else base).needs_grad:
        _tell_views(target, target if base is None else base)
    if base is None:
        target.edge = node
        target.needs_grad = True
        if target.extra and "retain" in target.extra:  # what is retained is the gradient of the tensor as it is now
            target.extra.pop("retain").remove()
            RETAIN[0](target)
        return
    inner = node
    outer = object.__new__(CopySlices)
    outer.inner = inner
    item = base.spec.dtype.itemsize
    # The gradient of the base is dense: the view's place in it follows from its place in the base.
    outer.part = _place_in_dense(target, base, (target.ptr - base.ptr) // item)
    outer.edges = (edge_of(base), *inner.edges[1:])
    outer.sequence, outer.line = inner.sequence, inner.line
    outer.pre_hooks = outer.post_hooks = None
    outer.saved = ()
    outer.outputs = (base.spec,)
    base.edge = outer
    base.needs_grad = True
    target.needs_grad = True
    target.seen = target.storage.version - 1
    regenerate(target)


def _tell_views(target: Tensor, base: Tensor) -> None:
    """Views of a tensor that comes to need a gradient need one too; they make their nodes when they are used."""
    if sys.getrefcount(base.storage) <= 4 + (
        target is not base
    ):  # the base, a shell of the target, the target: no other view
        return
    for holder in gc.get_referrers(base.storage):  # rare
        if isinstance(holder, Tensor) and holder.base is base and holder is not target and holder.seen > NO_GRAD:
            holder.needs_grad, holder.seen = True, STALE


def _place_in_dense(view: Tensor, base: Tensor, offset: int) -> tuple:
    if base.spec.contiguous:
        return tuple(view.spec.shape), view.spec.strides, offset
    # Translate through coordinates of the base's own layout.
    order = sorted(range(base.spec.ndim), key=lambda d: -base.spec.strides[d])
    row_major = contiguous_strides(base.spec.shape)

    def translate(distance: int) -> int:
        found = 0
        for d in order:
            if base.spec.strides[d] and base.spec.shape[d] > 1:
                steps, distance = divmod(distance, base.spec.strides[d])
                found += steps * row_major[d]
        return found

    return tuple(view.spec.shape), tuple(translate(st) for st in view.spec.strides), translate(offset)


def regenerate(view: Tensor) -> None:
    """A view's node after its base was written: the view of the base as it is now."""
    base: Any = view.base
    if base.needs_grad:
        size, stride, offset = _place_in_dense(view, base, (view.ptr - base.ptr) // base.spec.dtype.itemsize)
        operator = as_strided_part.operator
        shell = alias(view)
        node = record(operator.node_class, (edge_of(base),), (shell,))
        node.spec, node.args, node.kwargs = (
            dense(base.spec.dtype, base.spec.shape, base.spec.device),
            (size, stride, offset),
            {},
        )
        view.edge, view.needs_grad = node, True
    view.seen = view.storage.version


REGENERATE[0] = regenerate
CHECK_LEAF.append(check_leaf)
CHECK_VIEW.append(check_view)
OVERLAP.append(check_overlap)
PREPARE_OUT.append(prepare_out)
REBASE.append(rebase)


def write(target: Tensor, make, *inputs: Tensor, needs_input: bool = False) -> Tensor:
    """In-place form of any function: `make(x)` gives a tensor whose values and history `target` takes over.

    `needs_input`: the gradient mentions what is overwritten, so that a copy must be kept for it.
    """
    if GUARD.active and LOCAL.special and stands_in(target, *inputs):
        own = OPERATORS["clone"].call(target) if any(map(anywhere, (target, *inputs))) else target
        return ASSIGN[0](target, make(own))
    check_overlap(target)
    recorded = recording(target, *inputs)
    if recorded:
        check_leaf(target)
    source = target
    if recorded and needs_input:
        source = copy_of(target)
        if target.needs_grad:
            source.edge, source.needs_grad = edge_of(target), True
    made = make(source)
    if made.spec.dtype is not target.spec.dtype:
        fail(
            RuntimeError,
            f"Bad in-place call: input tensor dtype {dtype_c_name(target.spec.dtype)} and output tensor dtype "
            f"{dtype_c_name(made.spec.dtype)} should match",
        )
    if made.spec.shape != target.spec.shape:
        fail(
            RuntimeError,
            f"output with shape {list(target.spec.shape)} doesn't match the broadcast shape {list(made.spec.shape)}",
        )
    if not recorded:
        return overwrite(target, made)
    edge = made.edge
    overwrite(target, made)
    if target.base is None:
        target.edge = edge
        target.needs_grad = made.needs_grad or edge is not None
        return target
    # Through a view: the part is overwritten by `made`.
    shell = alias(target)
    node = record(copied.operator.node_class, (None, edge_of(made)), (shell,))
    node.back, node.numbers, node.versions = copied.operator._recipe(_SOURCE), {"source_spec": made.spec}, ()
    node.plan = None
    rebase(target, node)
    return target


_SOURCE = (1, 2)  # the pattern of `copied`: only the source needs a gradient


# --- the plain writes ---------------------------------------------------------------------------------------------


def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write the elements of `src`, broadcast and converted, over those of `input`."""
    if not isinstance(src, Tensor):
        src = creation.as_tensor(src)
    if input is src:
        return input
    if GUARD.active and LOCAL.special and stands_in(input, src):
        return ASSIGN[0](input, src)
    check_overlap(input)
    if not recording(input, src):
        return overwrite(input, src, non_blocking)
    check_leaf(input)
    if input.spec.dtype.kind not in "fc":
        return overwrite(input, src, non_blocking)
    shell = alias(input)
    source_edge = edge_of(src) if src.spec.dtype.kind in "fc" else None
    own_edge = edge_of(input) if input.base is None else None  # a part of a larger tensor: `CopySlices` zeroes it
    overwrite(input, src, non_blocking)
    node = record(copied.operator.node_class, (own_edge, source_edge), (shell,))
    node.back = copied.operator._recipe((1 + (own_edge is not None), 1 + (source_edge is not None)))
    node.numbers, node.versions, node.plan = {"source_spec": src.spec, "input_spec": input.spec}, (), None
    rebase(input, node)
    return input


@traced(promote="same")
def filled(input, value):
    """`value` in the shape of `input`: the record of `fill_`."""
    return value


filled.operator.node_class.__name__ = "FillBackward0"


def fill_(input: Tensor, value) -> Tensor:
    """Write one number over all elements."""
    if isinstance(value, Tensor):
        if value.spec.ndim:
            fail(
                RuntimeError,
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.spec.ndim} dimensions.",
            )
        return copy_(input, value)
    value = number(value, input.spec.dtype)
    if GUARD.active and LOCAL.special and stands_in(input):
        return ASSIGN[0](input, zeros_of(dense(input.spec.dtype, ())) + value)
    check_overlap(input)
    if not recording(input):
        fill_values(input, value)
        input.storage.version += 1
        return input
    return filled.operator.in_place(input, value)


def zero_(input: Tensor) -> Tensor:
    """Write zeros over all elements."""
    if followed(input) or not input.spec.contiguous or input.spec.dtype.kind == "c":
        return fill_(input, 0)
    fill_values(input, 0)
    input.storage.version += 1
    return input


def detach_(input: Tensor) -> Tensor:
    """Forget the tensor's history: it becomes a leaf that needs no gradient."""
    if input.base is not None:
        fail(
            RuntimeError,
            "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for "
            "training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence "
            "detach_() cannot be called on these gradients.",
        )
    input.edge = None
    input.needs_grad = False
    return input
