"""Replays a step that went wrong, with a look at each operator's result, until it is known who made the first NaN.

In order: the parameters (an update made it), what the modules were called with, each call again with its random
numbers, what the program itself computed after it (from the values that the graph keeps), then backward, node by node.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from ctypes import memmove
from heapq import heappop, heappush
from typing import Any, NamedTuple

from facula.autograd.node import Node, Output, edge_of, grad_fn_of
from facula.core.generator import default_generator, restore, snapshot_gpus
from facula.core.mersenne import RECORD
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.errors import NOTED, lines
from facula.nn.module import Module
from facula.operators import isinf, isnan
from facula.operators.declare.function import FunctionNode
from facula.operators.declare.recording import Packed
from facula.operators.declare.seams import COPY, INTERCEPT, load_transforms
from facula.operators.declare.traced import Traced, TracedNode
from facula.utils._pytree import tree_leaves

from .history import step_lines
from .scene import modules_around, place, user_frame
from .values import by_name, made_by, module_text, path_of, value_text
from .watching import Call, NotFinite, Watch, finite

__all__ = ["find"]


class Event(NamedTuple):
    """An operator that had a result with NaN or infinities."""

    operator: str
    made: Tensor
    nan: bool  # whether there is a NaN, not only infinities
    inputs: list[Tensor]
    from_nan: bool  # whether an operand had one
    from_inf: bool  # whether an operand, or a number given to the operator, was infinite
    where: str
    source: str
    modules: list[Module]


def find(watches: list[Watch], roots: list[Tensor], grads: list[Tensor | None]) -> NotFinite:
    """The error that names who made the first NaN or infinity of a step."""
    random, of_gpus = default_generator.record.copy(), snapshot_gpus()
    special, grad = LOCAL.special, LOCAL.grad
    before = [(w, w.depth) for w in watches]
    for w in watches:
        w.depth = 1  # its modules are called as if nobody looked
    try:
        for look in (_in_parameters, _in_inputs, _in_forward, _in_loss, _in_backward, _in_sums):
            found = look(watches, roots, grads)
            if found is not None:
                return found
        return _error("", "", "the loss or a gradient is not finite, but the replay of the step is", [_RANDOM])
    except Exception as error:  # of the program: its forward may not be one that can be called again
        return _error("", "", f"the loss or a gradient is not finite, and the replay of the step failed: {error!r}", [])
    finally:
        default_generator.record[:] = random
        restore(of_gpus)
        LOCAL.special, LOCAL.grad = special, grad
        for w, depth in before:
            w.depth = depth


_RANDOM = "  something random is not torch's, or state that is no buffer of the module has changed"


# --- what is said ---------------------------------------------------------------------------------------------------


def _error(
    operator: str, phase: str, message: str, notes: list[str], *, module: str = "", line: str = "",
    tensor: Tensor | None = None, mend: str | None = None,
) -> NotFinite:  # fmt: skip
    error = NotFinite(message)
    setattr(error, NOTED, True)
    error.operator, error.phase, error.module, error.line = operator, phase, module, line
    if tensor is not None:
        error.index, error.value = _element(tensor)
    for note in [*notes, *lines(mend=mend)]:
        error.add_note(note)
    return error


def _element(x: Tensor) -> tuple[tuple[int, ...], float]:
    """The place and value of the first NaN, or else infinity."""
    x = x.detach()
    bad = isnan(x)
    bad = bad if bool(bad.any()) else isinf(x)
    if not x.ndim:
        return (), x.item()
    index = tuple(bad.nonzero()[0].tolist())
    value = x[index].item()
    return index, value


def _at(name: str, x: Tensor) -> str:
    index, value = _element(x)
    return f"{name}{list(index) if index else ''} is {value}"


def _word(x: Tensor) -> str:
    return "nan" if bool(isnan(x.detach()).any()) else "inf"


def _bad(x: Any) -> bool:
    return isinstance(x, Tensor) and x.spec.dtype.kind in "fc" and not x.is_sparse and not finite([x])


# --- before the step ------------------------------------------------------------------------------------------------


def _in_parameters(watches: list[Watch], *_: Any) -> NotFinite | None:
    """A parameter that an update spoilt: it was good at the last test."""
    for w in watches:
        if finite(w.parameters):
            continue
        for model in w.models:
            for name, p in model.named_parameters():
                if _bad(p):
                    return _of_update(model, name, p)
    return None


def _of_update(model: Module, name: str, p: Tensor) -> NotFinite:
    """Who updated a parameter: the optimizer that has it, and its state at that element."""
    index, _ = _element(p)
    owner = _owner(p)
    notes = [f"  {_at(name, p)}"]
    steps = step_lines(user_frame(), p)
    notes += [f"  {text}" for text in steps]
    title = "an update"
    if owner is not None:
        title = f"{type(owner).__name__}.step()"
        for key, value in owner.state.get(p, {}).items():
            if isinstance(value, Tensor) and value.spec.shape == p.spec.shape:
                notes.append(f"  {key}{list(index)} of its state is {value[index].item():.6g}")
        group = next(g for g in owner.param_groups if any(q is p for q in g["params"]))
        shown = {k: v for k, v in group.items() if k in ("lr", "eps", "weight_decay", "momentum") and v}
        notes.append("  with " + ", ".join(f"{k}={v}" for k, v in shown.items()))
    line = steps[0].rpartition("at ")[2].partition(": ")[0] if steps else ""
    return _error(
        title, "update", f"{title} made {_word(p)} of a finite parameter and a finite gradient", notes,
        module=name.rpartition(".")[0], line=line, tensor=p, mend="a smaller lr, or a larger eps",
    )  # fmt: skip


def _owner(p: Tensor) -> Any:
    """The optimizer of a parameter."""
    for holder in gc.get_objects():
        groups = getattr(holder, "__dict__", {}).get("param_groups") if hasattr(type(holder), "zero_grad") else None
        if groups and any(q is p for g in groups for q in g["params"]):
            return holder
    return None


def _in_inputs(watches: list[Watch], *_: Any) -> NotFinite | None:
    """A NaN in what a module was called with; infinities may be meant, as in masks."""
    for call in _calls(watches):
        names = _argument_names(call)
        for name, value in names:
            for x in tree_leaves(value):
                if _bad(x) and grad_fn_of(x) is None and bool(isnan(x).any()):
                    kind = type(call.model).__name__
                    notes = [f"  {_at(name, x)}", f"  {name}: {value_text(x)}"]
                    return _error(
                        "", "input", f"the input of {kind} has {_word(x)}", notes, tensor=x,
                        mend="look at the data: torch.isfinite(x).all()",
                    )  # fmt: skip
    return None


def _argument_names(call: Call) -> list[tuple[str, Any]]:
    code = getattr(getattr(type(call.model).forward, "__code__", None), "co_varnames", ())[1:]
    names = [*code[: len(call.args)], *(f"args[{i}]" for i in range(len(code), len(call.args)))]
    return [*zip(names, call.args), *call.kwargs.items()]


def _calls(watches: list[Watch]) -> list[Call]:
    return sorted((c for w in watches for c in w.remembered), key=lambda c: c.last)


# --- forward --------------------------------------------------------------------------------------------------------


class _Looking:
    """While it is open, each operator's results are looked at; those that are not finite become events."""

    def __init__(self):
        self.events: list[Event] = []
        self.modules: dict[int, list[Module]] = {}  # of each recorded node
        self.nodes: list[Node] = []  # keeps them alive

    def __enter__(self) -> "_Looking":
        load_transforms()
        self.inner = INTERCEPT[0]
        INTERCEPT[0] = self.look
        LOCAL.special += 1
        GUARD.change(1)
        return self

    def __exit__(self, *_) -> None:
        GUARD.change(-1)
        LOCAL.special -= 1
        INTERCEPT[0] = self.inner

    def look(self, operator: Any, args: tuple, kwargs: dict, out: Any) -> Any:
        target = out if isinstance(out, Tensor) and args and out is args[0] else None
        old = None if target is None else COPY[0](target)
        made = self.inner(operator, args, kwargs, out)
        special = LOCAL.special
        LOCAL.special = 0
        try:
            self._see(operator, args if old is None else (old, *args[1:]), kwargs, made)
        finally:
            LOCAL.special = special
        return made

    def _see(self, operator: Any, args: tuple, kwargs: dict, made: Any) -> None:
        results = [x for x in tree_leaves(made) if isinstance(x, Tensor)]
        modules = modules_around()
        for x in results:
            node = grad_fn_of(x)
            if node is not None and id(node) not in self.modules:
                self.modules[id(node)] = modules
                self.nodes.append(node)
        bad = next((x for x in results if _bad(x)), None)
        if bad is None:
            return
        values = tree_leaves((args, kwargs))
        inputs = [x for x in values if isinstance(x, Tensor)]
        numbers = [x for x in values if isinstance(x, float)]
        spoilt = [x for x in inputs if x is not bad and _bad(x)]
        nan = bool(isnan(bad.detach()).any())
        from_nan = any(bool(isnan(x.detach()).any()) for x in spoilt)
        from_inf = bool(spoilt) or any(x - x != 0.0 for x in numbers)
        frame = user_frame()
        where = place(frame.f_code, frame.f_lasti)
        kept = [x.detach().clone() for x in inputs[:3]]
        name = by_name(operator.node_class) if isinstance(operator, Traced) else operator.name
        self.events.append(Event(name, bad.detach(), nan, kept, from_nan, from_inf, where, _line(where), modules))


def _line(where: str) -> str:
    import linecache

    file, _, number = where.rpartition(":")
    return linecache.getline(file, int(number)).strip() if number.isdigit() else ""


def _again(call: Call) -> tuple[Any, _Looking]:
    """A call once more, from the state in which it was made."""
    state, of_gpus = call.random
    memmove(default_generator.ptr, state, RECORD)
    restore(of_gpus)
    now = [(b, b.detach().clone()) for b, _ in call.buffers]
    autocast = LOCAL.autocast
    LOCAL.autocast, LOCAL.grad = call.autocast, True
    looking = _Looking()
    try:
        _restore(call.buffers)
        with looking:
            result = call.model.forward(*call.args, **call.kwargs)
    finally:
        LOCAL.autocast = autocast
        _restore(now)
    return result, looking


def _restore(buffers: list[tuple[Tensor, Tensor]]) -> None:
    grad, LOCAL.grad = LOCAL.grad, False
    GUARD.change(1)
    try:
        for b, value in buffers:
            b.copy_(value)
    finally:
        GUARD.change(-1)
        LOCAL.grad = grad


def _in_forward(watches: list[Watch], roots: list[Tensor], grads: Any) -> NotFinite | None:
    """The operator inside a module that made the first NaN, where the loss is not finite."""
    if not any(map(_bad, roots)):
        return None
    for call in _calls(watches):
        result, looking = _again(call)
        before, now = (any(map(_bad, tree_leaves(x))) for x in (call.result, result))
        if before and not now:
            return _error("", "forward", "a result in forward is not finite, but its replay is", [_RANDOM])
        error = _of_events(looking.events) if now else None
        if error is not None:
            return error
    return None


def _of_events(events: list[Event]) -> NotFinite | None:
    """The origin of what is not finite: the first NaN; or the infinity that it was made of, unless it was meant."""
    first = next((e for e in events if e.nan and not e.from_nan), None)
    overflow = next((e for e in events if not e.nan and not e.from_inf), None)
    if first is None or (first.from_inf and overflow is not None and events.index(overflow) < events.index(first)):
        event, later = overflow or first, first if overflow is not None else None
    else:
        event, later = first, None
    if event is None:
        return None
    word = "nan" if event.nan else "inf"
    of = "numbers that are not" if event.from_inf else "finite numbers"
    notes = [f"  in {module_text(event.modules)}"] if event.modules else []
    notes.append(f"  at {event.where}: {event.source}")
    notes.append("  " + _at("its result", event.made) + f", {value_text(event.made)}")
    index, _ = _element(event.made)
    for number, x in enumerate(event.inputs):
        shown = value_text(x)
        if index and x.spec.shape == event.made.spec.shape:
            shown += f", there {x[index].item():.6g}"
        elif not x.spec.shape:
            shown += f", {x.item():.6g}"
        notes.append(f"  operand {number + 1}: {shown}")
    if later is not None:
        notes.append(f"  then {later.operator} at {later.where} made nan of it")
    return _error(
        event.operator, "forward", f"{event.operator} made {word} of {of}", notes,
        module=path_of(event.modules), line=event.where, tensor=event.made,
    )  # fmt: skip


# --- what the program computed itself -------------------------------------------------------------------------------


def _end(edge: Any) -> tuple[Any, int]:
    """The vertex that an edge leads to, and which of its outputs."""
    return (edge.node, edge.number) if type(edge) is Output else (edge, 0)


def _nodes(roots: Sequence[Tensor]) -> list[Node]:
    """The nodes that roots reach and that keep their values, the earliest first."""
    found: dict[Node, None] = {}
    stack: list[Any] = [grad_fn_of(r) for r in roots]
    while stack:
        node = stack.pop()
        if node is not None and node not in found and node.saved is not None:
            found[node] = None
            stack += [e.node if type(e) is Output else e for e in node.edges if isinstance(e, (Node, Output))]
    return sorted(found, key=lambda n: n.sequence)


def _saved(node: Node) -> Iterator[tuple[bool, int, Tensor]]:
    """What a node keeps: (whether it is a result, which operand or result, value)."""
    if isinstance(node, TracedNode) and node.back is not None:
        saves: Any = node.back.saves
    elif isinstance(node, FunctionNode):
        saves = node.back.saves
    else:
        return
    for (is_output, number), value in zip(saves, node.saved or ()):
        if not isinstance(value, Packed):
            yield is_output, number, value


def _in_loss(watches: list[Watch], roots: list[Tensor], grads: Any) -> NotFinite | None:
    """The operation after the modules' calls that made the first NaN, where the loss is not finite."""
    if not any(map(_bad, roots)):
        return None
    nodes = _nodes(roots)
    known: dict[tuple[Node, int], Tensor] = {}
    for root in roots:
        known[_end(edge_of(root))] = root
    operands: dict[Node, dict[int, Any]] = {}
    for node in nodes:
        own = operands.setdefault(node, {})
        for is_output, number, value in _saved(node):
            if is_output:
                known[node, number] = value
                continue
            own[number] = value
            edge = node.edges[number] if number < len(node.edges) else None
            if isinstance(edge, (Node, Output)) and isinstance(node, TracedNode):
                known.setdefault(_end(edge), value)
        if isinstance(node, TracedNode):  # operands that its gradient mentions by value: numbers, mostly
            for number, value in enumerate(getattr(node, "numbers", ())[: len(node.edges)]):
                if isinstance(value, (Tensor, int, float)):
                    own.setdefault(number, value)
    for node in nodes:
        own = operands[node]
        for number, edge in enumerate(node.edges if isinstance(node, TracedNode) else ()):
            if isinstance(edge, Tensor):
                own.setdefault(number, edge)
            elif edge is not None:
                value = known.get(_end(edge))
                if value is not None:
                    own.setdefault(number, value)
        made = [known[node, i] for i in range(len(node.outputs)) if (node, i) in known] or _computed(node, own)
        for number, x in enumerate(made):
            known.setdefault((node, number), x)
        bad = next(filter(_bad, made), None)
        if bad is not None:
            return _of_node(node, bad, [own[i] for i in sorted(own)], _unknown(node, known))
    return None


def _unknown(node: Node, known: dict) -> list[Node]:
    """The operations right before a node whose results nobody keeps."""
    found: list[Node] = []
    stack = list(node.edges)
    while stack:
        edge = stack.pop()
        if isinstance(edge, (Node, Output)) and _end(edge) not in known:
            before = _end(edge)[0]
            if before not in found and before.saved is not None:
                found.append(before)
                stack += before.edges
    return sorted(found, key=lambda n: n.sequence)


def _computed(node: Node, operands: dict[int, Any]) -> list[Tensor]:
    """The result of a traced operation, where all its operands are known."""
    operator: Any = node.operator
    if not isinstance(node, TracedNode) or operator is None or len(operands) != len(operator.operands):
        return []
    dims, keepdim = node.plan.key
    values = [x.detach() if isinstance(x, Tensor) else x for _, x in sorted(operands.items())]
    scalars = dict(node.plan.static)
    if any(type(v) in (int, float) for v in scalars.values()) or not any(isinstance(x, Tensor) for x in values):
        return []
    made = (
        operator.call(*values, **scalars)
        if dims is None
        else operator.call_rows(*values, dims=dims, keepdim=keepdim, **scalars)
    )
    return list(made) if isinstance(made, tuple) else [made]


def _of_node(node: Node, made: Tensor, operands: list[Any], unknown: list[Node]) -> NotFinite:
    name, where = by_name(node), place(*node.line) if node.line is not None else ""
    notes = [f"  at {where}: {_line(where)}", "  " + _at("its result", made) + f", {value_text(made.detach())}"]
    index, _ = _element(made)
    for number, x in enumerate(operands[:3]):
        shown = value_text(x.detach() if isinstance(x, Tensor) else x)
        if isinstance(x, Tensor) and index and x.spec.shape == made.spec.shape:
            shown += f", there {x.detach()[index].item():.6g}"
        notes.append(f"  operand {number + 1}: {shown}")
    word = _word(made)
    if unknown:
        notes += [f"  or it was {made_by(n).removeprefix('by ')}, whose result nobody keeps" for n in unknown[-4:]]
        message = f"{word} is first seen in what {name} made"
    else:
        spoilt = any(_bad(x) or (isinstance(x, float) and x - x != 0.0) for x in operands)
        of = "numbers that are not" if spoilt else "finite numbers"
        message = f"{name} made {word} of {of}"
    return _error(name, "forward", message, notes, line=where, tensor=made)


# --- backward -------------------------------------------------------------------------------------------------------


class _Found(Exception):
    """A gradient formula's first result that is not finite."""

    def __init__(self, node: Node, number: int, grad: Tensor, incoming: Sequence):
        self.node, self.number, self.grad, self.incoming = node, number, grad, incoming


def _backward(
    roots: Sequence[Tensor], grads: Sequence[Tensor | None], inside: Callable[[Node], bool]
) -> dict[tuple[Any, int], Tensor]:
    """The gradients that arrive at leaves and at nodes that are not `inside`; raises `_Found`."""
    ready: list[tuple[int, int, Node]] = []
    slots: dict[Any, list] = {}
    arrived: dict[tuple[Any, int], Tensor] = {}

    def hand(edge: Any, grad: Tensor | None) -> None:
        if edge is None or grad is None:
            return
        vertex, number = _end(edge)
        if not isinstance(vertex, Node) or not inside(vertex):
            key = (vertex, number)
            arrived[key] = grad if key not in arrived else arrived[key] + grad
            return
        if vertex not in slots:
            slots[vertex] = [None] * len(vertex.outputs)
            heappush(ready, (-vertex.sequence, id(vertex), vertex))
        own = slots[vertex]
        own[number] = grad if own[number] is None else own[number] + grad

    grad_mode, LOCAL.grad = LOCAL.grad, False
    GUARD.change(1)
    try:
        for root, grad in zip(roots, grads):
            hand(edge_of(root), grad)
        while ready:
            _, _, node = heappop(ready)
            outs = slots.pop(node)
            made = node.apply(*outs)
            for number, grad in enumerate(made):
                if _bad(grad):
                    raise _Found(node, number, grad, outs)
            for edge, grad in zip(node.edges, made):
                hand(edge, grad)
    finally:
        GUARD.change(-1)
        LOCAL.grad = grad_mode
    return arrived


def _in_backward(watches: list[Watch], roots: list[Tensor], grads: list[Tensor | None]) -> NotFinite | None:
    """The node whose gradient formula made the first NaN."""
    calls = _calls(watches)
    last = calls[0].last if calls else -1
    modules: dict[int, list[Module]] = {}
    try:
        arrived = _backward(roots, grads, lambda node: node.sequence >= last and node.saved is not None)
        if not calls:
            return None
        result, looking = _again(calls[0])
        modules = looking.modules
        ends, arriving = [], []
        for old, new in zip(tree_leaves(calls[0].result), tree_leaves(result)):
            if isinstance(old, Tensor) and old.needs_grad:
                grad = arrived.get(_end(edge_of(old)))
                if grad is not None:
                    ends.append(new)
                    arriving.append(grad)
        first = min((n.sequence for n in looking.nodes), default=0)
        _backward(ends, arriving, lambda node: node.sequence >= first)
    except _Found as found:
        return _of_gradient(found, modules.get(id(found.node), []))
    return None


def _of_gradient(found: _Found, modules: list[Module]) -> NotFinite:
    node, grad = found.node, found.grad
    name, where = by_name(node), place(*node.line) if node.line is not None else ""
    notes = [f"  in {module_text(modules)}"] if modules else []
    notes.append(f"  recorded at {where}: {_line(where)}")
    notes.append("  " + _at(f"the gradient of operand {found.number + 1}", grad) + f", {value_text(grad)}")
    index, _ = _element(grad)
    for is_output, number, x in _saved(node):
        shown = value_text(x.detach())
        if index and x.spec.shape == grad.spec.shape:
            shown += f", there {x.detach()[index].item():.6g}"
        elif not x.spec.shape:
            shown += f", {x.item():.6g}"
        notes.append(f"  {'its result' if is_output else f'operand {number + 1}'}: {shown}")
    for x in found.incoming:
        if isinstance(x, Tensor):
            shown = value_text(x)
            if index and x.spec.shape == grad.spec.shape:
                shown += f", there {x[index].item():.6g}"
            notes.append(f"  the gradient that came: {shown}")
    of = "numbers that are not" if any(map(_bad, found.incoming)) else "finite numbers"
    return _error(
        name, "backward", f"backward of {name} made {_word(grad)} of {of}", notes,
        module=path_of(modules), line=where, tensor=grad,
        mend="keep its operand away from there: x.clamp(min=eps), or x + eps" if name in _STEEP else None,
    )  # fmt: skip


_STEEP = frozenset(("sqrt", "pow", "log", "norm", "linalg_vector_norm", "std", "acos", "asin", "div"))


def _in_sums(watches: list[Watch], *_: Any) -> NotFinite | None:
    """A gradient that overflowed as several were added."""
    for w in watches:
        for model in w.models:
            for name, p in model.named_parameters():
                if p._grad is not None and _bad(p._grad):
                    notes = [f"  {_at(f'{name}.grad', p._grad)}"]
                    return _error(
                        "add", "backward", f"the sum of several gradients is {_word(p._grad)}", notes,
                        module=name.rpartition(".")[0], tensor=p._grad, mend="call optimizer.zero_grad() once a step",
                    )  # fmt: skip
    return None
