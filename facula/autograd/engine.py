"""Backward: hands gradients down the graph, the latest operation first; knows no operator.

A vertex of the graph is a `Node` or a leaf tensor. Each waits until all its users have run.
"""

import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from heapq import heappop, heappush, heappushpop
from sys import getrefcount
from typing import Any

from facula.core.locks import lasting_lock
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.errors import explained, note, noted

from .node import Node, Output, edge_of

__all__ = ["ANOMALY", "ARITHMETIC", "WATCH", "run"]


class Arithmetic:
    """What backward and custom functions do with tensors; `operators` fills it in."""

    add: Callable[[Tensor, Tensor], Tensor]  # a new tensor
    add_in_place: Callable[[Tensor, Tensor], Any]
    copy: Callable[[Tensor, Tensor], Tensor]  # of a gradient, in the layout of a leaf
    ones: Callable[[Tensor], Tensor]  # in the layout of a tensor, row-major where that has gaps
    zeros: Callable[[Any], Tensor]
    stack: Callable[[Sequence[Tensor]], Tensor]
    unbatched: Callable[..., Tensor]  # (stand-in, level, dim=0): the tensor with the batch at `dim`
    sum_to: Callable[[Tensor, Any], Tensor]  # over the dims that broadcasting added to a spec
    keep: Callable
    unkeep: Callable
    freed: Callable
    has_nan: Callable[[Tensor], bool]
    check_leaf: Callable
    rebase: Callable
    to_device: Callable[[Tensor, Any], Tensor]


class Anomaly:
    """Whether `detect_anomaly` is on, and whether it looks for NaN; of all threads, as in PyTorch."""

    enabled = False
    check_nan = True


class Watch:
    """Who looks at each backward that adds to `.grad` (`facula/explain/watching.py`), if anybody does."""

    after: Callable[[Sequence[Tensor], Sequence[Tensor | None]], None] | None = None
    kept_from = sys.maxsize  # the number from which on nodes keep their values


WATCH = Watch()
ARITHMETIC = Arithmetic()
ANOMALY = Anomaly()


class Run(threading.local):
    """The number of the backward that this thread is in."""

    number = 0


RUN = Run()
_NUMBERS = itertools.count(1)
_ACCUMULATING = lasting_lock()


def run(
    roots: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    *,
    inputs: Sequence[Tensor] | None = None,
    accumulate: bool = True,
    keep: bool = False,
    create: bool = False,
) -> list[Tensor | None]:
    """Differentiate `roots`, given the gradients that arrive at them.

    Without `inputs` every leaf's `.grad` receives its gradient. With `inputs` only these do (`accumulate`), or their
    gradients are returned. `keep` keeps the graph for another run; `create` records backward itself.
    """
    start = [edge_of(t) for t in roots]
    users = _count_users(start)
    targets: dict[tuple, Tensor] | None = None if inputs is None else {_key(t): t for t in inputs}
    needed = None if targets is None else _needed(start, targets)
    captured: dict[tuple, Tensor] = {}
    pending: dict[Any, list] = {}
    ready: list[tuple[int, int, Node, list]] = []  # each with its gradients
    edges: Sequence = start
    results = list(reversed(grads))
    grad_mode, outer = LOCAL.grad, RUN.number
    kept_from = -1 if keep else WATCH.kept_from
    RUN.number = next(_NUMBERS)
    LOCAL.grad = create
    GUARD.change(1)
    try:
        while True:
            # Hand the results to the vertices that the edges lead to.
            latest = None  # of the nodes that are ready now: one that is alone need not go through the heap
            for edge in edges:
                grad = results.pop()
                if edge is None:
                    continue
                if edge.__class__ is Output:
                    vertex, number, inner = edge.node, edge.number, True
                else:
                    vertex, number, inner = edge, 0, isinstance(edge, Node)
                left = users[vertex] = users[vertex] - 1
                slots: Any = pending.pop(vertex, None) if pending else None
                if slots is None:
                    slots = [None] * len(vertex.outputs) if inner else [None]
                if grad is not None:
                    slots[number] = grad if slots[number] is None else ARITHMETIC.add(slots[number], grad)
                grad = None  # a leaf may keep memory that nobody else holds: see `_leaf`
                if left:
                    pending[vertex] = slots
                elif inner:
                    if latest is not None:
                        heappush(ready, latest)
                    latest = (-vertex.sequence, id(vertex), vertex, slots)
                elif targets is None or (vertex, 0) in targets:
                    _leaf(vertex, slots, None if accumulate else captured, create)
            # Run the latest node whose users have all run.
            if latest is not None:
                latest = heappushpop(ready, latest) if ready else latest
            elif ready:
                latest = heappop(ready)
            else:
                break
            slots = edges = ()
            _, _, node, outs = latest
            latest = None
            if node.pre_hooks:
                _pre_hooks(node, outs)
            if needed is not None and targets is not None:
                _capture(node, outs, targets, captured, accumulate)
                if node not in needed:
                    continue  # nothing below it is wanted: it stays as it is for another run
            if outs[0] is None and False not in [g is None for g in outs]:
                found: Any = (None,) * len(node.edges)
            else:
                try:
                    found = node.apply(*outs)
                except Exception as error:
                    noted(error)
                    _explain(error, node)
                    raise
                if ANOMALY.enabled and ANOMALY.check_nan:
                    _check_nan(node, found)
            if node.post_hooks:
                found = _post_hooks(node, found, outs)
            edges = node.edges
            results = list(found)
            results.reverse()
            outs = found = None
            if node.sequence < kept_from:
                node.release()
    finally:
        LOCAL.grad, RUN.number = grad_mode, outer
        GUARD.change(-1)
    if WATCH.after is not None and accumulate and not outer:
        WATCH.after(roots, grads)
    return [captured.get(_key(t)) for t in inputs or ()]


def _vertex(edge):
    return edge.node if type(edge) is Output else edge


def _key(tensor: Tensor) -> tuple:
    edge = edge_of(tensor)
    return (edge.node, edge.number) if type(edge) is Output else (edge, 0)


def _count_users(start: Sequence) -> dict[Any, int]:
    """For each vertex that the roots reach, how many gradients it will receive."""
    users: dict[Any, int] = {}
    lists: list[Sequence] = [start]  # of edges to follow; it grows
    for edges in lists:
        for edge in edges:
            if edge is not None:
                vertex = edge.node if edge.__class__ is Output else edge
                if vertex in users:
                    users[vertex] += 1
                else:
                    users[vertex] = 1
                    if isinstance(vertex, Node):
                        lists.append(vertex.edges)
    return users


def _needed(start: Sequence, targets: dict[tuple, Tensor]) -> set:
    """The nodes below which there is a target, and so those to run (iterative: children finish before parents)."""
    goals = {vertex for vertex, _ in targets}
    needed: set = set()
    seen: set = set()
    stack = [(_vertex(edge), False) for edge in start]
    while stack:
        vertex, done = stack.pop()
        children = [_vertex(e) for e in vertex.edges if e is not None] if isinstance(vertex, Node) else []
        if done:
            if any(child in needed or child in goals for child in children):
                needed.add(vertex)
        elif vertex not in seen:
            seen.add(vertex)
            stack.append((vertex, True))
            stack.extend((child, False) for child in children)
    return needed


def _leaf(leaf: Tensor, slots: list, captured: dict | None, create: bool) -> None:
    """Hooks of a leaf, then its gradient goes to `captured` or into `.grad`."""
    grad = slots.pop()
    if grad is None:
        return
    extra = leaf.extra
    if extra:
        for hook in list(extra.get("hooks", {}).values()):
            grad = _replaced(hook(grad), grad)
        node = extra.get("accumulator")
        node = node and node()
        if node is not None and node.pre_hooks:
            slots = [grad]
            _pre_hooks(node, slots)
            grad = slots.pop()
    if captured is not None:
        captured[leaf, 0] = grad
        return
    with _ACCUMULATING:
        old = leaf._grad
        if grad.is_sparse or (old is not None and old.is_sparse):
            leaf._grad = grad if old is None else ARITHMETIC.add(old, grad)
        elif old is None:
            # 2: the name `grad` and getrefcount's argument, so nobody else will see the memory change.
            own = (
                getrefcount(grad) == 2
                and getrefcount(grad.storage) == 2
                and grad.spec is leaf.spec
                and grad.edge is None
            )
            leaf._grad = grad if create or own else ARITHMETIC.copy(grad, leaf)
            if own and not create:
                grad.needs_grad = False
        elif create:
            leaf._grad = ARITHMETIC.add(old, grad)
        else:
            ARITHMETIC.add_in_place(old, grad)
    if extra:
        for hook in list(extra.get("after", {}).values()):
            hook(leaf)
        if node is not None and node.post_hooks:
            _post_hooks(node, (), (grad,))


def _replaced(new, old):
    return old if new is None else new


def _pre_hooks(node: Node, outs: list) -> None:
    """Hooks on the node's outputs (tensor hooks have their number, node hooks None, retained gradients -1 - number)."""
    for number, hook in list(node.pre_hooks.values()):
        if number is None:
            outs[:] = _replaced(hook(tuple(outs)), outs)
        elif outs[number] is not None:
            outs[number] = _replaced(hook(outs[number]), outs[number])


def _post_hooks(node: Node, results, outs):
    for hook in list(node.post_hooks.values()):
        results = _replaced(hook(tuple(results), tuple(outs)), results)
    return results


def _capture(node: Node, outs: list, targets: dict, captured: dict, accumulate: bool) -> None:
    for number, grad in enumerate(outs):
        target = targets.get((node, number))
        if target is not None and grad is not None:
            if accumulate and not (target.extra and "retain" in target.extra):  # a retained gradient has its own hook
                target._grad = grad if target._grad is None else ARITHMETIC.add(target._grad, grad)
            else:
                captured[node, number] = grad


def _check_nan(node: Node, grads: Sequence) -> None:
    """RuntimeError where a gradient formula made a NaN."""
    for number, grad in enumerate(grads):
        if grad is not None and ARITHMETIC.has_nan(grad):
            raise _explained(node, f"Function '{node.name()}' returned nan values in its {number}th output.")


def _explained(node: Node, message: str) -> BaseException:
    error = explained(RuntimeError, message)
    _explain(error, node)
    return error


def _explain(error: BaseException, node: Node) -> None:
    where = node.where()
    note(error, f"  in backward of {node.name()}" + (f", recorded at {where}" if where else ""))
