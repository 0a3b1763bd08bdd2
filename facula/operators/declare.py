"""How operators are declared and applied: traced bodies that become one kernel, functions with gradients, views.

`traced` takes a Python function on symbols and makes it an operator: checks, promotion, broadcasting, one kernel, its
gradient (given for some inputs on symbols too, derived for the others), in-place and out= forms.
`function` takes a Python function on tensors, with a gradient formula for each input. `view` takes a function from a
spec to another spec of the same memory. No operator says anything of devices, and none of them saves anything by hand:
the parameter names of a gradient (grad, out, the inputs' names) say what is kept.
"""

import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from facula import launch
from facula.autograd.node import Node, Output, alias, dtype_title, edge_of, grad_fn_of, type_name
from facula.core import dtype as dt
from facula.core.device import CPU
from facula.core.dtype import dtype
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import Size, broadcast, contiguous_strides
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.derivative import _is_row_level, adjoints
from facula.ir.expr import Expr
from facula.ir.kernel import Input, Kernel, Param, Result

from .promotion import DEFAULT, number_dtype, of_defaults, opmath, result_type

__all__ = ["OPERATORS", "Operator", "function", "record", "traced", "view"]

OPERATORS: dict[str, Any] = {}  # every declared operator by name: documentation, tests and tools read it
_SEQUENCE = itertools.count().__next__


def VIEW(*fields) -> Tensor:
    """A record (spec, storage, ptr, base, seen) on given memory; the native maker takes this place at the first call."""
    global VIEW
    VIEW = launch.view_record()
    return VIEW(*fields)



class Operator:
    """What all declared operators share: a name, a documented signature, gradients by input."""

    call: Callable  # applies the operator

    def __init__(self, body: Callable, name: str | None = None):
        self.name = name or body.__name__
        self.body: Any = body
        self.signature = inspect.signature(body)
        self.names = tuple(self.signature.parameters)
        self.gradients: dict[str, Callable] = {}
        self.joint: list[tuple[tuple[str, ...], Callable]] = []  # formulas for several inputs at once
        self.node_class = _node_class(self)
        if name is None or not name.startswith("_derived"):
            OPERATORS[self.name] = self

    def gradient(self, *names: str):
        """Declare the formula for the gradient of one input, or of several (then it returns a tuple)."""

        def decorate(formula: Callable) -> Callable:
            for n in names:
                if n not in self.names:
                    raise TypeError(f"{self.name} has no input {n!r} for a gradient")
            if len(names) == 1:
                self.gradients[names[0]] = formula
            else:
                self.joint.append((names, formula))
            return formula

        return decorate

    def export(self, entry: Any) -> Any:
        """The public function: `entry` with this operator's name, documentation and declaration."""
        entry.__name__ = entry.__qualname__ = self.name
        entry.__doc__ = self.body.__doc__
        entry.__module__ = self.body.__module__
        entry.__signature__ = self.signature
        entry.operator = self
        entry.gradient = self.gradient
        return entry


def _node_class(operator: Operator) -> type[Node]:
    title = "".join(part.capitalize() for part in operator.name.strip("_").split("_"))
    kind = {Traced: TracedNode, Function: FunctionNode, View: ViewNode}[type(operator)]
    return type(title + "Backward0", (kind,), {"__slots__": (), "operator": operator, "__module__": "torch.autograd"})


def _user_line(depth: int) -> tuple[Any, int] | None:
    """Code and instruction of the innermost frame outside this package; `depth` frames are known to be inside."""
    frame = sys._getframe(depth)
    while frame is not None:
        if frame.f_globals.get("__name__", "")[:7] != "facula.":
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None


def record(node_class: type[Node], edges: tuple, outs: Sequence[Tensor]) -> Node:
    """A new node with these edges whose outputs are `outs`; the caller sets `saved` and its own slots."""
    node = object.__new__(node_class)
    node.edges = edges
    node.sequence = _SEQUENCE()
    node.line = _user_line(3)
    node.pre_hooks = node.post_hooks = None
    node.saved = ()
    if len(outs) == 1:
        out = outs[0]
        node.outputs = (out.spec,)
        out.edge = node
        out.needs_grad = True
    else:
        node.outputs = tuple(o.spec for o in outs)
        for number, out in enumerate(outs):
            if out.spec.dtype.kind in "fc":
                out.edge = Output(node, number)
                out.needs_grad = True
    return node


class Packed:
    """A kept value that a saved-tensor hook has replaced."""

    __slots__ = ("unpack", "value")


def keep(tensors: Sequence[Tensor]) -> tuple[tuple, tuple]:
    """Values to be kept for backward and their versions (outputs must be passed as aliases)."""
    if GUARD.active and LOCAL.saved_hooks:
        pack, unpack = LOCAL.saved_hooks[-1]
        held = []
        for t in tensors:
            p = Packed()
            p.unpack, p.value = unpack, pack(t)
            held.append(p)
        return tuple(held), tuple(t.storage.version for t in tensors)
    return tuple(tensors), tuple([t.storage.version for t in tensors])


def unkeep(node: Node, held, version: int, is_output: bool, number: int = 0) -> Tensor:
    """The kept value; RuntimeError when it was written in place since."""
    if type(held) is Packed:
        value = held.unpack(held.value)
    else:
        if held.storage.version != version:
            _changed(node, held, version, is_output)
        value = held
    if is_output and LOCAL.grad:
        value = alias(value)
        value.needs_grad = True
        value.edge = node if len(node.outputs) == 1 else Output(node, number)
    return value


def _changed(node: Node, tensor: Tensor, version: int, is_output: bool):
    maker = node if is_output else grad_fn_of(tensor)
    number = tensor.edge.number if type(tensor.edge) is Output else 0
    made = f", which is output {number} of {maker.name()}," if maker is not None else ""
    where = node.where()
    fail(
        RuntimeError,
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{type_name(tensor)} {list(tensor.spec.shape)}]{made} is at version {tensor.storage.version}; expected version "
        f"{version} instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, "
        "with torch.autograd.set_detect_anomaly(True).",
        got=f"the value was kept by {node.name()}" + (f", recorded at {where}" if where else ""),
        mend="use the out-of-place form (x = x + 1 for x += 1), or clone() the value before changing it",
    )


def freed(node: Node):
    where = node.where()
    fail(
        RuntimeError,
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
        "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
        "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
        "saved tensors after calling backward.",
        got=f"{node.name()}" + (f", recorded at {where}" if where else ""),
    )


# --- traced operators ---------------------------------------------------------------------------------------------


class Plan:
    """All that a traced operator knows about operands of given specs: result specs, machine code, backward."""

    __slots__ = (
        "back", "backs", "common", "compute", "empty", "function", "key", "kernel_names", "numbers", "out", "outs", "pulled", "shape", "slots", "smooth", "specs",
        "static", "tail", "targets",
    )  # fmt: skip


class Back:
    """How to differentiate a plan for one choice of inputs that need it."""

    __slots__ = ("collect", "entry", "grads", "numbers", "saves", "shape_arg", "slots")


class TracedNode(Node):
    """A recorded traced operator."""

    __slots__ = ("back", "numbers", "plan", "versions")

    def apply(self, *grads):
        back = self.back
        if back is None:
            return (self.operator.pull(self.plan, *grads),)
        saved = self.saved
        if saved is None:
            freed(self)
        operands: list = [_materialised(grads[i], self.outputs[i]) if grads[i] is None else grads[i] for i in back.grads]
        plain = not LOCAL.grad
        i = 0
        for held in saved:
            if plain and held.__class__ is not Packed and held.storage.version == self.versions[i]:
                operands.append(held)
            else:
                operands.append(unkeep(self, held, self.versions[i], *back.saves[i]))
            i += 1
        if back.numbers:
            operands += [self.numbers[i] for i in back.numbers]
        if back.entry is None:
            return [None] * len(self.edges)
        results = back.entry(*operands, **back.shape_arg)
        out: list = [None] * len(self.edges)
        if results.__class__ is not tuple:
            results = (results,)
        i = 0
        for slot, target in back.slots:
            result = results[i]
            out[slot] = result if target is None or result.spec is target else SUM_TO[0](result, target)
            i += 1
        return out

    def release(self) -> None:
        if self.saved:
            self.saved = None


def _materialised(grad: Tensor | None, spec: Spec) -> Tensor:
    return ZEROS[0](spec) if grad is None else grad


SUM_TO: list[Callable] = []  # operators/reduction.py: sums a gradient over broadcast dims and casts it to a spec
ZEROS: list[Callable] = []  # operators/creation.py: zeros of a spec


class Traced(Operator):
    """An operator whose body, run on symbols, is its kernel."""

    def __init__(
        self,
        body: Callable,
        name: str | None = None,
        *,
        promote: str = "same",
        rows: bool = False,
        per_row: Sequence[str] = (),
        keep: Sequence[str] = (),
        follow: Sequence[str] = (),
        static: Sequence[str] = (),
        whole: Sequence[str] = (),
        compute: dtype | None = None,
        results: Sequence[dtype | str | None] | None = None,
        names: Sequence[str] | None = None,
        kinds: str = "buifc",
        differentiable: bool = True,
        row_results: Sequence[bool] | None = None,
        check: Callable | None = None,
        depth: int = 0,
    ):
        super().__init__(body, name)
        self.row_results = row_results  # which results are one number a row; None: those that are made of such alone
        self.check = check  # called with the operands' specs (or number types) when a plan is made
        self.guard: Callable | None = None  # called with the operands of whole numbers before each run: their values may be bad
        self.pull: Callable | None = None  # (plan, grad) -> gradient of the first operand, where no kernel is needed
        self.depth = depth  # 0: declared; 1: a derived gradient; 2: the gradient of that
        parameters = self.signature.parameters.values()
        self.operands = tuple(names or (p.name for p in parameters if p.kind is not p.KEYWORD_ONLY))
        self.scalars = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        if names:
            self.names = (*names, *self.scalars)
        self.promote = promote  # same; float: integers become the default float; sum: integers become int64
        self.rows = rows
        self.per_row = frozenset(per_row)
        self.keep = frozenset(keep)  # operands that take no part in promotion
        self.follow = frozenset(follow)  # operands that take no part in it either, but are cast to its result
        self.static = frozenset(static)
        self.whole = frozenset(whole)  # scalars that are int64 (sizes, strides), whatever the operands are
        self.compute = compute
        self.title = self.name  # what errors call the kernel: PyTorch's name for it
        self.results = results  # dtype of each result; None: the common one; "compute": the one of the arithmetic
        self.kinds = kinds
        self.differentiable = differentiable
        self.entry: Callable | None = None
        self.plans: dict[Any, Plan] = of_defaults({})
        self.derived: dict[Any, Traced] = {}

    def fast(self) -> Callable:
        """The function of operands that applies the operator with the least overhead; the same one each time."""
        if self.entry is None:
            several = self.results is not None and len(self.results) > 1
            self.entry = (_nary if several else {1: _unary, 2: _binary}.get(len(self.operands), _nary))(self)
        return self.entry

    # What a body computes, for given dtypes

    def _dtypes(self, kinds: Sequence[Spec | type]) -> tuple[dtype, dtype]:
        """The common dtype of the operands and the one that arithmetic is done in."""
        if self.compute is not None:
            return self.compute, self.compute
        common = result_type(
            k for n, k in zip(self.operands, kinds) if n not in self.keep and n not in self.follow and k is not type(None)
        )
        if self.promote == "float" and common.kind in "bui":
            common = DEFAULT.float
        elif self.promote == "sum" and common.kind in "bui":
            common = dt.int64
        if common.kind not in self.kinds:
            fail(NotImplementedError, f'"{self.title}" not implemented for \'{dtype_title(common)}\'')
        return common, opmath(common)

    def symbols(self, kinds: Sequence[Spec | type], compute: dtype) -> dict[str, Expr | None]:
        """A symbol for each operand: a load, or a parameter for a Python number."""
        found: dict[str, Expr | None] = {}
        for name, kind in zip(self.operands, kinds):
            if kind is type(None):
                found[name] = None
            elif isinstance(kind, Spec):
                value = ir.load(name, kind.dtype)
                found[name] = value if name in self.keep else ir.cast(value, opmath(kind.dtype) if self.compute else compute)
                if self.compute and name not in self.keep and found[name].dtype.kind != "b":
                    found[name] = ir.cast(found[name], _join(found[name].dtype, compute))
            else:
                found[name] = _number_symbol(name, number_dtype(kind) if name in self.keep else compute)
        return found

    def trace(self, symbols: dict[str, Expr | None], scalars: dict[str, Any]) -> tuple[Expr, ...]:
        """The body's results."""
        values = self.body(*[symbols[n] for n in self.operands], **scalars)
        return values if isinstance(values, tuple) else (values,)

    def scalar_symbols(self, given: dict[str, Any], compute: dtype) -> dict[str, Any]:
        """Each keyword: itself when it is static or its default, else a parameter of the kernel."""
        out = {}
        for name, default in self.scalars.items():
            value = given.get(name, default)
            free = type(value) in (int, float, complex) and name not in self.static and name in given
            kind = dt.int64 if name in self.whole else _scalar_compute(compute, value)
            out[name] = _number_symbol(name, kind) if free else value
        return out

    # Plans

    def plan(self, kinds: Sequence[Spec | type], *, scalars: dict[str, Any], dims=None, keepdim=False, shape=None, out=None) -> Plan:
        """Build the plan for operands of these specs (or Python number types)."""
        if self.check is not None:
            self.check(*kinds)
        common, compute = self._dtypes(kinds)
        symbols = self.symbols(kinds, compute)
        free = self.scalar_symbols(scalars, compute)
        values = self.trace(symbols, free)
        tensors = [(n, k) for n, k in zip(self.operands, kinds) if isinstance(k, Spec)]
        where = next((k.device for _, k in tensors), CPU)
        for n, k in tensors:
            if k.device is not where and k.shape:
                fail(
                    RuntimeError,
                    f"Expected all tensors to be on the same device, but found at least two devices, {where} and {k.device}!",
                    mend=f"move them to one device first, e.g. {n}.to('{where}')",
                )
        if shape is None:
            if dims is None:
                shape = _broadcast(self.name, [k.shape for _, k in tensors])
            else:
                shape = broadcast(*[k.shape for n, k in tensors if n not in self.per_row])
        row_dims = () if dims is None else dims
        outer_dims = [d for d in range(len(shape)) if d not in row_dims]
        level = _is_row_level(ir.walk(*values), self.per_row) if self.rows else {}
        plan = Plan()
        plan.static = scalars
        plan.common, plan.compute, plan.shape, plan.back = common, compute, shape, {}
        plan.specs = tuple(kinds)
        results, out_specs, out_strides = [], [], []
        own_strides = None if self.rows else _result_strides(shape, [k for _, k in tensors])
        for i, value in enumerate(values):
            row = self.rows and (level[value] if self.row_results is None else self.row_results[i])
            kind = self.results[i] if self.results else None
            memory = compute if kind == "compute" else kind or (common if value.dtype is compute else value.dtype)
            name = "_" * self.depth + ("out" if len(values) == 1 else f"out{i}")
            if row:
                size = tuple(1 if d in row_dims else n for d, n in enumerate(shape))
                full = contiguous_strides(size)
                out_strides.append([full[d] for d in outer_dims])
                shown = size if keepdim else tuple(shape[d] for d in outer_dims)
                out_specs.append(dense(memory, shown, where))
            else:
                s = spec(memory, where, shape, own_strides or contiguous_strides(shape))
                out_specs.append(s)
                out_strides.append([s.strides[d] for d in (*outer_dims, *row_dims)])
            results.append(Result(name, memory, value, per_row=row))
        if out is not None:
            for i, o in enumerate(out):
                results[i] = Result(results[i].name, o.dtype, _to_memory(values[i], o.dtype), per_row=results[i].per_row)
                strides = o.strides
                if results[i].per_row:
                    strides = strides if not keepdim else tuple(strides[d] for d in outer_dims)
                    out_strides[i] = list(strides)
                else:
                    out_strides[i] = [strides[d] for d in (*outer_dims, *row_dims)]
            out_specs = list(out)
        used = {n.value[0] for n in ir.walk(*values) if n.op == "load"}
        inputs = [(n, k) for n, k in tensors if n in used]
        parameters = [n for n in ir.walk(*values) if n.op == "param"]
        kernel = Kernel(
            self.name, tuple(Input(n, k.dtype) for n, k in inputs), tuple(results), tuple(Param(p.value, p.dtype) for p in parameters)
        )
        in_strides = []
        for n, k in inputs:
            strides = _broadcast_strides(k, shape, row_dims if n in self.per_row else None)
            in_strides.append([strides[d] for d in (*outer_dims, *row_dims)])
        bound = launch.bind(
            kernel, [shape[d] for d in outer_dims], [shape[d] for d in row_dims] if self.rows else None, out_strides + in_strides, where
        )
        plan.function, plan.tail = bound.function, bound.tail
        plan.kernel_names = tuple(n for n, _ in inputs)
        plan.slots = tuple(self.operands.index(n) for n, _ in inputs)
        plan.numbers = tuple(_split_part(p.value) for p in parameters)
        plan.outs = tuple(out_specs)
        plan.out = plan.outs[0]
        plan.empty = launch.allocator(where)
        plan.key = (dims, keepdim)
        plan.backs = {}
        plan.pulled = self.pull is not None
        plan.smooth = plan.out.dtype.kind in "fc"
        return plan

    def back(self, plan: Plan, mask: tuple[bool, ...]) -> Back:
        """The operator that computes the gradients of the operands in `mask`, and what it wants to be kept."""
        found = plan.back.get(mask)
        if found is None:
            found = plan.back[mask] = self._make_back(plan, mask)
        return found

    def _make_back(self, plan: Plan, mask: tuple[bool, ...]) -> Back:
        needs = [n for n, m in zip(self.operands, mask) if m]
        symbols = self.symbols(plan.specs, plan.compute)
        free = self.scalar_symbols(plan.static, plan.compute)
        values = self.trace(symbols, free)
        single = len(values) == 1
        level = _is_row_level(ir.walk(*values), self.per_row) if self.rows else {}
        grads, outs, row_names = [], [], set(self.per_row)
        # A derived operator has operands called grad and out already: its own get a longer name.
        prefix = "_" * self.depth
        g_names = [f"{prefix}grad" if single else f"{prefix}grad{i}" for i in range(len(values))]
        o_names = [f"{prefix}out" if single else f"{prefix}out{i}" for i in range(len(values))]
        for i, (value, memory) in enumerate(zip(values, plan.outs)):
            g, o = g_names[i], o_names[i]
            grads.append(_as(ir.load(g, memory.dtype), value.dtype) if value.dtype.kind in "fc" else None)
            outs.append(_as(ir.load(o, memory.dtype), value.dtype))
            if self.rows and (level[value] if self.row_results is None else self.row_results[i]):
                row_names |= {g, o}
        gradients: dict[str, Expr | None] = {}
        given = {**symbols, **free, "grad": grads[0], "out": outs[0]}
        given.update(zip(g_names, grads))
        given.update(zip(o_names, outs))
        for n in needs:
            if n in self.gradients:
                gradients[n] = _call(self.gradients[n], given)
        for names, formula in self.joint:
            if any(n in needs and n not in gradients for n in names):
                gradients.update({n: g for n, g in zip(names, _call(formula, given)) if n in needs})
        rest = [n for n in needs if n not in gradients]
        if rest:
            pairs = [(v, g) for v, g in zip(values, grads) if g is not None]
            derived = adjoints(pairs, [symbols[n] for n in rest], frozenset(row_names))
            # A result that the formulas mention is read, not computed again.
            known = {v: o for v, o in zip(values, outs) if v.op not in ("load", "const", "param", "cast")}
            for n in rest:
                g = derived[symbols[n]]
                gradients[n] = None if g is None else ir.substitute((g,), known.get)[0]
        back = Back()
        wanted = [n for n in needs if gradients[n] is not None]
        roots = [_as(gradients[n], plan.compute if symbols[n].dtype.kind != "c" else symbols[n].dtype) for n in wanted]
        used = {e.value[0] for e in ir.walk(*roots) if e.op == "load"}
        numbers = sorted({_split_part(e.value)[0] for e in ir.walk(*roots) if e.op == "param"})
        grad_names = [n for n in g_names if n in used] or [n for n, g in zip(g_names, grads) if g is not None and not used]
        out_names = [n for n in o_names if n in used]
        in_names = [n for n in self.operands if n in used]
        back.grads = tuple(g_names.index(n) for n in grad_names)
        back.saves = tuple([(False, self.operands.index(n)) for n in in_names] + [(True, o_names.index(n)) for n in out_names])
        back.collect = _collector(back.saves)
        order = [*self.operands, *self.scalars]
        back.numbers = tuple(order.index(n) for n in numbers)
        names = (*grad_names, *in_names, *out_names, *numbers)
        specs = [plan.specs[self.operands.index(n)] for n in wanted]
        targets, memory = [], []
        dims, keepdim = plan.key
        if self.rows and any(n in self.per_row and s.ndim == len(plan.shape) for n, s in zip(wanted, specs)):
            keepdim = True  # the gradients of such operands have their dims of size 1
        for n, s, root in zip(wanted, specs, roots):
            if self.rows and n in self.per_row:
                whole = tuple(m if d not in dims else 1 for d, m in enumerate(plan.shape) if keepdim or d not in dims)
            else:
                whole = tuple(plan.shape)
            same = tuple(s.shape) == whole
            targets.append(None if same else s)
            memory.append(s.dtype if same else plan.common if root.dtype is plan.compute else root.dtype)
        back.slots = tuple((self.operands.index(n), t) for n, t in zip(wanted, targets))
        back.shape_arg = {"dims": dims, "keepdim": keepdim, "shape": plan.shape} if self.rows else {}
        key = (tuple(roots), names, tuple(memory), mask)
        operator = self.derived.get(key)
        if operator is None:
            operator = self.derived[key] = Traced(
                _Replay(tuple(roots), names), f"_derived_{self.name.strip('_')}_backward", names=names, compute=plan.compute,
                results=tuple(memory), rows=self.rows, per_row=row_names & set(names), keep=names,
                depth=self.depth + 1, row_results=tuple(n in self.per_row for n in wanted) if self.rows else None,
            )  # fmt: skip
        back.entry = (operator.call_rows if self.rows else operator.fast()) if wanted else None
        return back

    # Application

    def call(self, *operands, **kwargs):
        """Apply to operands in the order of `self.operands`; keywords are scalars, `out`, or operands by name."""
        out = kwargs.pop("out", None) if kwargs else None
        if len(operands) > len(self.operands):
            fail(TypeError, f"{self.name}() takes {len(self.operands)} positional arguments but {len(operands)} were given")
        if kwargs or len(operands) < len(self.operands):
            operands, scalars = self._bind(operands, kwargs)
        else:
            scalars = {}
        if GUARD.active and LOCAL.special:
            return INTERCEPT[0](self, operands, scalars, out)
        kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in operands])
        key = (kinds, tuple(sorted(scalars.items())) if scalars else None)
        if out is not None:
            return self._into(out, operands, kinds, scalars)
        try:
            plan = self.plans[key]
        except KeyError:
            operands, kinds = self._checked(operands, kinds)
            plan = self.remember(key, self.plan(kinds, scalars=scalars))
        return self._run(plan, operands, scalars)

    def call_rows(self, *operands, dims: tuple[int, ...], keepdim: bool = False, shape=None, out=None, **scalars):
        """Apply over the row dims `dims` (normalised, sorted)."""
        if GUARD.active and LOCAL.special:
            return INTERCEPT[0](self, operands, {**scalars, "dims": dims, "keepdim": keepdim, "shape": shape}, out)
        kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in operands])
        key = (kinds, dims, keepdim, shape, tuple(sorted(scalars.items())) if scalars else None)
        if out is not None:
            return self._into(out, operands, kinds, scalars, dims=dims, keepdim=keepdim, shape=shape)
        plan = self.plans.get(key)
        if plan is None:
            operands, kinds = self._checked(operands, kinds)
            plan = self.remember(key, self.plan(kinds, scalars=scalars, dims=dims, keepdim=keepdim, shape=shape))
        return self._run(plan, operands, scalars)

    def remember(self, key, plan: Plan) -> Plan:
        if len(self.plans) > 4096:  # ever-changing shapes
            self.plans.clear()
        self.plans[key] = plan
        return plan

    def _bind(self, operands: tuple, kwargs: dict) -> tuple[tuple, dict]:
        values = dict(zip(self.operands, operands))
        scalars = {}
        for name, value in kwargs.items():
            if name in self.scalars:
                if not (type(value) is type(self.scalars[name]) and value == self.scalars[name]):
                    scalars[name] = value.item() if isinstance(value, Tensor) else value
            elif name in values:
                fail(TypeError, f"{self.name}() got multiple values for argument '{name}'")
            elif name in self.operands:
                values[name] = value
            else:
                fail(TypeError, f"{self.name}() got an unexpected keyword argument '{name}'", expected=f"{self.name}{self.signature}")
        missing = [n for n in self.operands if n not in values]
        for n in list(missing):
            default = self.signature.parameters[n].default if n in self.signature.parameters else inspect.Parameter.empty
            if default is not inspect.Parameter.empty:
                values[n] = default
                missing.remove(n)
        if missing:
            fail(TypeError, f'{self.name}() missing {len(missing)} required positional arguments: "{", ".join(missing)}"')
        return tuple(values[n] for n in self.operands), scalars

    def _checked(self, operands: tuple, kinds: tuple) -> tuple[tuple, tuple]:
        """Operands fit to be planned: tensors, Python numbers, None where a default says so."""
        good = []
        for i, (name, x) in enumerate(zip(self.operands, operands)):
            if isinstance(x, Tensor) or type(x) in (bool, int, float, complex, type(None)):
                good.append(x)
            elif hasattr(x, "dtype") and hasattr(x, "item"):
                good.append(x.item())  # a NumPy scalar
            else:
                fail(TypeError, f"{self.name}(): argument '{name}' (position {i + 1}) must be Tensor, not {type(x).__name__}")
        if not any(isinstance(x, Tensor) for x in good):
            first = type(good[0]).__name__ if good else "nothing"
            fail(TypeError, f"{self.name}(): argument '{self.operands[0]}' (position 1) must be Tensor, not {first}")
        return tuple(good), tuple([x.spec if isinstance(x, Tensor) else type(x) for x in good])

    def _execute(self, plan: Plan, operands: tuple, scalars: dict, outs: Sequence[Tensor]) -> None:
        if plan.function is None:
            return
        if self.guard is not None and plan.common.kind in "ui":
            self.guard(*operands)
        args = [o.ptr for o in outs]
        args += [operands[i].ptr for i in plan.slots]
        for name, part in plan.numbers:
            number = scalars[name] if name in scalars else operands[self.operands.index(name)]
            args.append(number if part is None else getattr(complex(number), part))
        plan.function(*args, *plan.tail)

    def _run(self, plan: Plan, operands: tuple, scalars: dict):
        outs = [plan.empty(s) for s in plan.outs]
        self._execute(plan, operands, scalars, outs)
        if self.differentiable:
            for x in operands:
                if isinstance(x, Tensor) and x.needs_grad:
                    if not GUARD.active or LOCAL.grad:
                        self.record(plan, operands, scalars, outs)
                    break
        return outs[0] if len(outs) == 1 else tuple(outs)

    def record(self, plan: Plan, operands: tuple, scalars: dict, outs: Sequence[Tensor]) -> TracedNode | None:
        """Give `outs` a node that remembers how they were made."""
        edges = tuple([edge_of(x) if isinstance(x, Tensor) else None for x in operands])
        mask = tuple([e is not None for e in edges])
        if not any(o.spec.dtype.kind in "fc" for o in outs) or not any(mask):
            return None
        if self.pull is not None:
            node = record(self.node_class, edges, outs)
            node.plan, node.back = plan, None
            return node
        back = self.back(plan, mask)
        kept = [alias(outs[i]) if is_output else operands[i] for is_output, i in back.saves]
        node = record(self.node_class, edges, outs)
        node.plan = plan
        node.back = back
        node.saved, node.versions = keep(kept)
        node.numbers = (*operands, *[scalars.get(n, d) for n, d in self.scalars.items()]) if back.numbers else ()
        return node

    def _into(self, out, operands: tuple, kinds: tuple, scalars: dict, **rows):
        """The out= form: write into given tensors, resizing them as PyTorch does."""
        outs = tuple(out) if isinstance(out, (tuple, list)) else (out,)
        operands, kinds = self._checked(operands, kinds)
        free = self.plan(kinds, scalars=scalars, **rows)
        if len(outs) != len(free.outs):
            fail(TypeError, f"{self.name}(): expected {len(free.outs)} out tensors, got {len(outs)}")
        for o, want in zip(outs, free.outs):
            PREPARE_OUT[0](self.name, o, want, operands)
        plan = self.plan(kinds, scalars=scalars, out=tuple(o.spec for o in outs), **rows)
        self._execute(plan, operands, scalars, outs)
        for o in outs:
            o.storage.version += 1
        return out

    def in_place(self, *operands, **kwargs):
        """Write the result over the first operand."""
        if kwargs or len(operands) != len(self.operands):
            operands, scalars = self._bind(operands, kwargs)
        else:
            scalars = {}
        target = operands[0]
        if GUARD.active and LOCAL.special:
            return INTERCEPT[0](self, operands, scalars, target)
        kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in operands])
        key = ("in place", kinds, tuple(sorted(scalars.items())) if scalars else None)
        plan = self.plans.get(key)
        if plan is None:
            operands, kinds = self._checked(operands, kinds)
            free = self.plan(kinds, scalars=scalars)
            _check_in_place(self.name, target.spec, free.outs[0])
            plan = self.remember(key, self.plan(kinds, scalars=scalars, out=(target.spec,)))
        needs = False
        for x in operands:
            if isinstance(x, Tensor):
                needs = needs or x.needs_grad
                if x is not target and x.storage is target.storage:
                    OVERLAP[0](target, operands[1:])
        needs = needs and (not GUARD.active or LOCAL.grad)
        if not target.spec.contiguous:
            OVERLAP[0](target)
        if not needs or not self.differentiable:
            self._execute(plan, operands, scalars, (target,))
            target.storage.version += 1
            return target
        CHECK_LEAF[0](target)
        edges = tuple([edge_of(x) if isinstance(x, Tensor) else None for x in operands])
        back = self.back(plan, tuple([e is not None for e in edges]))
        original = None
        if (False, 0) in back.saves:  # the formula needs what is about to be overwritten
            original = copy_of(target)
            if edges[0] is not None:
                original.edge, original.needs_grad = edges[0], True
        before = {i: operands[i].storage.version for is_output, i in back.saves if not is_output}
        self._execute(plan, operands, scalars, (target,))
        target.storage.version += 1
        shell = alias(target)
        kept = [alias(target) if is_output else operands[i] if i else original for is_output, i in back.saves]
        if original is not None:
            before[0] = original.storage.version
        node = record(self.node_class, edges, (shell,))
        node.plan, node.back = plan, back
        node.saved, versions = keep(kept)
        node.versions = tuple(v if is_output else before[i] for v, (is_output, i) in zip(versions, back.saves))
        node.numbers = (*operands, *[scalars.get(n, d) for n, d in self.scalars.items()]) if back.numbers else ()
        REBASE[0](target, node)
        return target


def fast_in_place(operator: Traced) -> Callable:
    """The method that writes over its own elements; what needs recording or checking goes to `Traced.in_place`."""
    plans: dict[tuple, Plan] = of_defaults({})
    slow = operator.in_place
    unary = len(operator.operands) == 1

    def plain(self, other) -> Plan | None:
        """The plan for dense operands that share no memory and need no gradient."""
        number = other.__class__ is float or other.__class__ is int
        kinds = (self.spec,) if unary else (self.spec, other.__class__ if number else other.spec)
        if any(isinstance(k, Spec) and (k.kind is not None or not k.contiguous) for k in kinds):
            return None
        free = operator.plan(kinds, scalars={})
        _check_in_place(operator.name, self.spec, free.outs[0])
        plan = operator.plan(kinds, scalars={}, out=(self.spec,))
        names = operator.operands[:1] if unary or number else operator.operands
        if operator.guard is not None and plan.common.kind in "ui":
            return None
        if plan.kernel_names != names or plan.numbers != (((operator.operands[1], None),) if number else ()):
            return None
        if len(plans) > 4096:
            plans.clear()
        plans[kinds if not unary else self.spec] = plan
        return plan

    def one(self, *args, **kwargs):
        if args or kwargs or self.needs_grad or self.base is not None or (GUARD.active and LOCAL.special):
            return slow(self, *args, **kwargs)
        plan = plans.get(self.spec) or plain(self, None)
        if plan is None:
            return slow(self)
        if plan.function is not None:
            plan.function(self.ptr, self.ptr, *plan.tail)
        self.storage.version += 1
        return self

    def two(self, *args, **kwargs):
        if len(args) != 1 or kwargs or self.needs_grad or self.base is not None or (GUARD.active and LOCAL.special):
            return slow(self, *args, **kwargs)
        (other,) = args
        if other.__class__ is float or other.__class__ is int:
            plan = plans.get((self.spec, other.__class__)) or plain(self, other)
            if plan is None:
                return slow(self, other)
            if plan.function is not None:
                plan.function(self.ptr, self.ptr, other, *plan.tail)
        elif isinstance(other, Tensor) and not other.needs_grad and other.storage is not self.storage:
            plan = plans.get((self.spec, other.spec)) or plain(self, other)
            if plan is None:
                return slow(self, other)
            if plan.function is not None:
                plan.function(self.ptr, self.ptr, other.ptr, *plan.tail)
        else:
            return slow(self, other)
        self.storage.version += 1
        return self

    return one if unary else two if len(operator.operands) == 2 else lambda self, *args, **kwargs: slow(self, *args, **kwargs)


INTERCEPT: list[Callable] = []  # operators/intercept.py: autocast, subclasses, capture, vmap
INTO: list[Callable] = []  # operators/matmul.py: (name, out, made, inputs) -> out
PREPARE_OUT: list[Callable] = []  # operators/inplace.py
OVERLAP: list[Callable] = []
CHECK_LEAF: list[Callable] = []
REBASE: list[Callable] = []


class _Replay:
    """A body that returns expressions which are there already."""

    def __init__(self, roots: tuple[Expr, ...], names: tuple[str, ...]):
        self.roots, self.names = roots, names
        self.__name__ = "replay"
        self.__doc__ = None
        self.__module__ = __name__
        self.__signature__ = inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names])

    def __call__(self, *symbols):
        # Symbols of Python numbers and of loads have the names that the expressions use.
        return self.roots


def _call(formula: Callable, given: dict[str, Any]):
    return formula(*[given[n] for n in inspect.signature(formula).parameters])


def _join(a: dtype, b: dtype) -> dtype:
    return a if a.kind in "bui" else a


def _as(value: Expr, dtype: dtype) -> Expr:
    if value.dtype.kind == "c" and dtype.kind != "c":
        value = ir.real(value)
    return ir.cast(value, dtype)


def _to_memory(value: Expr, dtype: dtype) -> Expr:
    return value


def _number_symbol(name: str, dtype: dtype) -> Expr:
    if dtype.kind == "c":
        part = dtype.to_real()
        return ir.complex(ir.param(f"{name}.real", part), ir.param(f"{name}.imag", part))
    return ir.param(name, dtype)


def _scalar_compute(compute: dtype, value) -> dtype:
    if isinstance(value, complex) and compute.kind != "c":
        return compute.to_complex()
    return compute if compute.kind != "b" else dt.int64


def _split_part(name: str) -> tuple[str, str | None]:
    base, _, part = name.partition(".")
    return base, part or None


def _broadcast(name: str, shapes: Sequence[Size]) -> Size:
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    return broadcast(*shapes)


def _broadcast_strides(s: Spec, shape: Size, row_dims=None) -> list[int]:
    """Strides of an operand along the dims of `shape`, 0 where it is broadcast; per-row operands may lack the row dims."""
    sizes, strides = list(s.shape), list(s.strides)
    if row_dims is not None and len(sizes) == len(shape) - len(row_dims):
        for d in row_dims:
            sizes.insert(d, 1)
            strides.insert(d, 0)
    lead = len(shape) - len(sizes)
    return [0] * lead + [0 if n == 1 else st for n, st in zip(sizes, strides)]


def _result_strides(shape: Size, specs: Sequence[Spec]) -> tuple[int, ...] | None:
    """Strides of a new result: those of the operands' common layout; None for row-major."""
    if len(shape) < 2 or all(s.contiguous for s in specs):
        return None
    # As PyTorch's TensorIterator: dims sorted by the operands' strides, the first operand that tells deciding.
    full = [
        [0] * (len(shape) - s.ndim) + [0 if n == 1 != m else st for n, m, st in zip(s.shape, shape[len(shape) - s.ndim :], s.strides)]
        for s in specs
    ]
    order = list(range(len(shape) - 1, -1, -1))  # innermost first

    def compare(a: int, b: int) -> int:
        for strides in full:
            x, y = strides[a], strides[b]
            if x == 0 or y == 0:
                continue
            if x != y:
                return -1 if x < y else 1
            if shape[a] > shape[b]:
                return 1
        return 0

    for i in range(1, len(order)):  # insertion sort that moves past undecided pairs, as there
        at = i
        for j in range(i - 1, -1, -1):
            c = compare(order[j], order[at])
            if c > 0:
                order[j], order[at] = order[at], order[j]
                at = j
            elif c < 0:
                break
    strides, step = [0] * len(shape), 1
    for d in order:
        strides[d] = step
        step *= max(shape[d], 1)
    return tuple(strides)


def copy_of(x: Tensor) -> Tensor:
    """The elements of `x` in new memory, without history."""
    from .copying import copy_values, like_layout

    return copy_values(launch.empty(like_layout(x.spec)), x)


def _check_in_place(name: str, target: Spec, result: Spec) -> None:
    if target.shape != result.shape:
        fail(
            RuntimeError,
            f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(result.shape)}",
            mend="the operand written in place must have the full shape already; use the out-of-place form",
        )
    check_cast(result.dtype, target.dtype)


def check_cast(source: dtype, target: dtype) -> None:
    """RuntimeError where a result of dtype `source` may not be written into `target` (a lower kind)."""
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if kinds[source.kind] > kinds[target.kind]:
        fail(
            RuntimeError,
            f"result type {dtype_title(source)} can't be cast to the desired output type {dtype_title(target)}",
            mend=f"use the out-of-place form, or convert the target first with .to({source!r})",
        )


def traced(body: Callable | None = None, **options) -> Any:
    """Declare an operator by a function on symbols. Options: see `Traced`; `rows=True` for bodies with reductions."""
    if body is None:
        return lambda body: traced(body, **options)
    operator = Traced(body, **options)
    if operator.rows:
        return operator.export(_plain(operator.call_rows))
    return operator.export(operator.fast())


def _plain(method: Callable) -> Callable:
    def entry(*args, **kwargs):
        return method(*args, **kwargs)

    return entry


def _nary(operator: Traced) -> Callable:
    """The fast path of any number of operands and results."""
    plans: dict[tuple, Plan] = of_defaults({})
    call, run = operator.call, operator._run
    count = len(operator.operands)

    def entry(*args, **kwargs):
        if kwargs or len(args) != count or (GUARD.active and LOCAL.special):
            return call(*args, **kwargs)
        key = tuple([x.spec if isinstance(x, Tensor) else x.__class__ for x in args])
        plan = plans.get(key)
        if plan is None:
            args, kinds = operator._checked(args, key)
            if len(plans) > 4096:
                plans.clear()
            plan = operator.plan(kinds, scalars={})
            if kinds == key and not any(isinstance(k, Spec) and k.kind is not None for k in key):
                plans[key] = plan
        return run(plan, args, {})

    return entry


def fast_rows(entry: Callable) -> Callable:
    """The fast path of a reduction of one operand: (input, dim as the user gave it, keepdim)."""
    from .reduction import row_dims

    operator = entry.operator
    plans: dict[tuple, Plan] = of_defaults({})
    remember = _recorder(operator)
    differentiable, call_rows = operator.differentiable, operator.call_rows

    def fast(input, dim, keepdim):
        if dim.__class__ is list:
            dim = tuple(dim)
        try:
            plan = plans[input.spec, dim, keepdim]
        except KeyError:
            dims = row_dims(input.spec, dim)
            if input.spec.kind is not None or (GUARD.active and LOCAL.special):
                return call_rows(input, dims=dims, keepdim=keepdim)
            if len(plans) > 4096:
                plans.clear()
            plan = plans[input.spec, dim, keepdim] = operator.plan((input.spec,), scalars={}, dims=dims, keepdim=keepdim)
        if GUARD.active and LOCAL.special:
            return call_rows(input, dims=plan.key[0], keepdim=keepdim)
        out = plan.empty(plan.out)
        if plan.function is not None:
            plan.function(out.ptr, input.ptr, *plan.tail)
        if input.needs_grad and differentiable and (not GUARD.active or LOCAL.grad):
            edge = input.edge if input.base is None else edge_of(input)
            remember(plan, (input,), (input if edge is None else edge,), 1, out)
        return out

    return fast


@cache
def _collector(saves: tuple[tuple[bool, int], ...]) -> Callable:
    """A function (operands, out) -> (values to keep, their versions) for one pattern of what a gradient mentions."""
    names = [f"alias(out)" if is_output else f"operands[{i}]" for is_output, i in saves]
    versions = [f"{'out' if is_output else f'operands[{i}]'}.storage.version" for is_output, i in saves]
    text = f"lambda operands, out: (({', '.join(names)}{',' if names else ''}), ({', '.join(versions)}{',' if names else ''}))"
    return eval(text, {"alias": alias})


def _recorder(operator: Traced) -> Callable:
    """The fast form of `Traced.record` for one result: (plan, operands, their edges, out)."""
    node_class = operator.node_class
    make: Callable | None = None
    slow = operator.record
    line = _user_line

    def remember(plan: Plan, operands: tuple, edges: tuple, mask: int, out: Tensor) -> None:
        nonlocal make
        if not plan.smooth:
            return
        if GUARD.active and LOCAL.saved_hooks:
            slow(plan, operands, {}, (out,))
            return
        if plan.pulled:
            back, saved, versions, numbers = None, (), (), ()
        else:
            back = plan.backs.get(mask)
            if back is None:
                back = plan.backs[mask] = operator.back(plan, tuple([e is not None for e in edges]))
            saved, versions = back.collect(operands, out)
            numbers = operands if back.numbers else ()
        if make is None:
            make = launch.constructor(
                node_class, ("edges", "outputs", "sequence", "line", "saved", "versions", "plan", "back", "numbers"),
                {"pre_hooks": None, "post_hooks": None},
            )  # fmt: skip
        out.edge = make(edges, plan.outs, _SEQUENCE(), line(3), saved, versions, plan, back, numbers)
        out.needs_grad = True

    return remember


class _Missing:
    """Stands for an operand that was not given by position."""

    spec = None


_MISSING = _Missing()


def _unary(operator: Traced) -> Callable:
    """The fast path of one operand; whatever is unusual goes to `call`."""
    plans: dict[Spec, Plan] = of_defaults({})
    call, plan_for, differentiable = operator.call, operator.plan, operator.differentiable
    remember = _recorder(operator)

    def entry(input=_MISSING, **kwargs):
        if kwargs or (GUARD.active and LOCAL.special):
            return call(input, **kwargs) if input is not _MISSING else call(**kwargs)
        try:
            plan = plans[input.spec]
        except (KeyError, AttributeError):
            if not isinstance(input, Tensor) or input.spec.kind is not None:
                return call(input) if input is not _MISSING else call()
            if len(plans) > 4096:
                plans.clear()
            plan = plan_for((input.spec,), scalars={})
            if plan.kernel_names != operator.operands:
                return call(input)  # the kernel does not read it
            plans[input.spec] = plan
        out = plan.empty(plan.out)
        if plan.function is not None:
            plan.function(out.ptr, input.ptr, *plan.tail)
        if input.needs_grad and differentiable and (not GUARD.active or LOCAL.grad):
            edge = input.edge if input.base is None else edge_of(input)
            remember(plan, (input,), (input if edge is None else edge,), 1, out)
        return out

    return entry


def _binary(operator: Traced) -> Callable:
    """The fast path of two tensors, or a tensor and a number; keywords and whatever is unusual go to `call`."""
    plans: dict[tuple, Plan] = of_defaults({})
    call, plan_for, differentiable = operator.call, operator.plan, operator.differentiable
    remember = _recorder(operator)
    both, first_only = operator.operands, operator.operands[:1]

    def new_plan(input, other) -> Plan | None:
        """The plan of an ordinary call; None where it is none."""
        number = other.__class__ is float or other.__class__ is int
        if not isinstance(input, Tensor) or not (number or isinstance(other, Tensor)):
            return None
        if input.spec.kind is not None or not (number or other.spec.kind is None):
            return None
        kinds = (input.spec, other.__class__ if number else other.spec)
        plan = plan_for(kinds, scalars={})
        if operator.guard is not None and plan.common.kind in "ui":
            return None  # values are looked at before each run
        if plan.kernel_names != (first_only if number else both) or plan.numbers != (((both[1], None),) if number else ()) or len(plan.outs) > 1:
            return None  # the kernel does not read all operands in order
        if len(plans) > 4096:
            plans.clear()
        plans[kinds] = plan
        return plan

    def entry(input=_MISSING, other=_MISSING, **kwargs):
        if kwargs or (GUARD.active and LOCAL.special):
            return call(*[x for x in (input, other) if x is not _MISSING], **kwargs)
        try:
            if other.__class__ is float or other.__class__ is int:
                plan = plans[input.spec, other.__class__]
                out = plan.empty(plan.out)
                if plan.function is not None:
                    plan.function(out.ptr, input.ptr, other, *plan.tail)
                if input.needs_grad and differentiable and (not GUARD.active or LOCAL.grad):
                    edge = input.edge if input.base is None else edge_of(input)
                    remember(plan, (input, other), (input if edge is None else edge, None), 1, out)
                return out
            plan = plans[input.spec, other.spec]
        except (KeyError, AttributeError):
            if new_plan(input, other) is None:
                return call(*[x for x in (input, other) if x is not _MISSING])
            return entry(input, other)
        out = plan.empty(plan.out)
        if plan.function is not None:
            plan.function(out.ptr, input.ptr, other.ptr, *plan.tail)
        if differentiable and (input.needs_grad or other.needs_grad) and (not GUARD.active or LOCAL.grad):
            first = second = None
            mask = 0
            if input.needs_grad:
                first = input.edge if input.base is None else edge_of(input)
                if first is None:
                    first = input
                mask = 1
            if other.needs_grad:
                second = other.edge if other.base is None else edge_of(other)
                if second is None:
                    second = other
                mask += 2
            remember(plan, (input, other), (first, second), mask, out)
        return out

    return entry


# --- functions with gradients -------------------------------------------------------------------------------------


class Recipe:
    """How a function is recorded for one pattern of arguments: its formulas, what they mention, and how that is kept."""

    __slots__ = ("collect", "formulas", "inputs", "needs", "outputs")


class FunctionNode(Node):
    """A recorded function: the arguments that its formulas mention, those that are tensors with their versions."""

    __slots__ = ("arguments", "recipe", "versions")

    def apply(self, *grads):
        saved = self.saved
        if saved is None:
            freed(self)
        operator, recipe = self.operator, self.recipe
        known = dict(self.arguments)
        at = 0
        for name in recipe.inputs:
            known[name] = unkeep(self, saved[at], self.versions[at], False)
            at += 1
        for name, number in recipe.outputs:
            known[name] = unkeep(self, saved[at], self.versions[at], True, number)
            at += 1
        known["needs"] = recipe.needs
        known["grad"] = grads[0]
        if len(grads) > 1 or not operator.outputs:
            known["grads"] = grads
            for i, (n, g) in enumerate(zip(operator.outputs, grads)):
                known[f"grad_{n}"] = _materialised(g, self.outputs[i]) if operator.fill else g
        out: list = [None] * len(self.edges)
        for slots, formula, wanted in recipe.formulas:
            results = formula(*[known[n] for n in wanted])
            if not isinstance(results, tuple):
                results = (results,)
            for slot, result in zip(slots, results):
                if self.edges[slot] is not None:
                    out[slot] = result
        return out

    def release(self) -> None:
        if self.saved:
            self.saved = None
            self.arguments = None


def _specs(x):
    """The specs of an argument: of a tensor, of a list of tensors, None of anything else."""
    return [t.spec for t in x] if x.__class__ in (list, tuple) else x.spec if isinstance(x, Tensor) else None


class Function(Operator):
    """An operator that is a Python function on tensors; gradients are formulas with operators."""

    def __init__(self, body: Callable, name: str | None = None, *, tensors: Sequence[str], outputs: Sequence[str] = ("out",), fill: bool = True,
        out: bool = False,
    ):  # fmt: skip
        super().__init__(body, name)
        self.out = out  # whether calls may name a tensor to write into
        # The arguments that may be differentiated, in the order of the signature (a list of tensors counts as several).
        self.tensors = tuple(sorted(tensors, key=self.names.index))
        self.outputs = tuple(outputs)
        self.fill = fill  # missing gradients of some outputs are zeros
        parameters = self.signature.parameters.values()
        self.defaults = tuple(p.default for p in parameters)
        self.positions = {n: i for i, n in enumerate(self.names)}
        self.recipes: dict[tuple, Recipe] = {}
        self.make: Callable | None = None
        # Lists of tensors are looked into for those arguments alone that are called so.
        self.lists = frozenset(i for i, n in enumerate(self.names) if n in self.tensors and n == "tensors")
        self.call = _calling(self)

    def _recipe(self, key: tuple) -> Recipe:
        """The recipe for one pattern of arguments: for each, 0 no tensor, 1 a tensor, 2 one that needs a gradient (a tuple for lists)."""
        recipe = Recipe()
        slots: dict[str, list[int]] = {}
        at = 0
        recipe.needs = {}
        for n in self.tensors:
            k = key[self.positions[n]]
            width = len(k) if k.__class__ is tuple else 1
            slots[n] = list(range(at, at + width))
            at += width
            recipe.needs[n] = 2 in k if k.__class__ is tuple else k == 2
        recipe.formulas, mentioned = [], {}
        for names, formula in [((n,), f) for n, f in self.gradients.items()] + self.joint:
            if any(recipe.needs[n] for n in names):
                wanted = tuple(inspect.signature(formula).parameters)
                recipe.formulas.append(([i for n in names for i in slots[n]], formula, wanted))
                mentioned.update(dict.fromkeys(wanted))
        recipe.outputs = tuple((n, self.outputs.index(n)) for n in mentioned if n in self.outputs)
        own = [n for n in mentioned if n in self.positions and n not in self.outputs]
        recipe.inputs = tuple(n for n in own if key[self.positions[n]] in (1, 2))
        kept = [f"args[{self.positions[n]}]" for n in recipe.inputs] + [f"alias(outs[{i}])" for _, i in recipe.outputs]
        owners = [f"args[{self.positions[n]}]" for n in recipe.inputs] + [f"outs[{i}]" for _, i in recipe.outputs]
        versions = [f"{owner}.storage.version" for owner in owners]
        plain = [f"{n!r}: args[{self.positions[n]}]" for n in own if n not in recipe.inputs]
        plain += [f"{n!r}: specs(args[{self.positions[n[:-5]]}])" for n in mentioned if n.endswith("_spec")]
        comma = "," if kept else ""
        recipe.collect = eval(
            f"lambda args, outs: (({', '.join(kept)}{comma}), ({', '.join(versions)}{comma}), {{{', '.join(plain)}}})",
            {"alias": alias, "specs": _specs},
        )
        return recipe

    def record(self, args: tuple, result):
        """Give the result a node; `args` are all arguments in the order of the signature."""
        outs = (result,) if isinstance(result, Tensor) else tuple(result)
        edges: list = []
        pattern: list = []
        tensors = self.tensors
        for i, x in enumerate(args):
            if isinstance(x, Tensor):
                if self.names[i] in tensors:
                    edge = edge_of(x) if x.needs_grad or x.base is not None else None
                    edges.append(edge)
                    pattern.append(1 if edge is None else 2)
                else:
                    pattern.append(1)
            elif i in self.lists:
                own = [edge_of(y) if isinstance(y, Tensor) else None for y in x]
                edges += own
                pattern.append(tuple([1 if e is None else 2 for e in own]))
            else:
                if self.names[i] in tensors:
                    edges.append(None)
                pattern.append(0)
        for o in outs:
            if o.spec.dtype.kind in "fc":
                break
        else:
            return result
        key = tuple(pattern)
        recipe = self.recipes.get(key)
        if recipe is None:
            recipe = self.recipes[key] = self._recipe(key)
        saved, versions, arguments = recipe.collect(args, outs)
        if GUARD.active and LOCAL.saved_hooks:
            saved, versions = keep(saved)
        if self.make is None:
            self.make = launch.constructor(
                self.node_class, ("edges", "outputs", "sequence", "line", "saved", "versions", "arguments", "recipe"),
                {"pre_hooks": None, "post_hooks": None},
            )  # fmt: skip
        node = self.make(
            tuple(edges), tuple([o.spec for o in outs]), _SEQUENCE(), _user_line(2), saved, versions, arguments, recipe
        )
        if len(outs) == 1 and result is outs[0]:
            result.edge = node
            result.needs_grad = True
        else:
            for number, out in enumerate(outs):
                if out.spec.dtype.kind in "fc":
                    out.edge = Output(node, number) if len(outs) > 1 else node
                    out.needs_grad = True
        return result


def _calling(operator: Function) -> Callable:
    """The function that runs the operator's body and records it when an argument needs a gradient."""
    body, record, lists, names = operator.body, operator.record, operator.lists, operator.names
    count, defaults, positions = len(names), operator.defaults, operator.positions

    def call(*args, **kwargs):
        if kwargs and operator.out and "out" in kwargs:
            out = kwargs.pop("out")
            made = call(*args, **kwargs)
            return made if out is None else INTO[0](operator.name, out, made, args)
        if GUARD.active:
            if LOCAL.special:
                return INTERCEPT[0](operator, args, kwargs, None)
            if not LOCAL.grad:
                return body(*args, **kwargs)
        for x in args:
            if isinstance(x, Tensor):
                if x.needs_grad:
                    break
            elif lists and (x.__class__ is tuple or x.__class__ is list):
                if any([isinstance(y, Tensor) and y.needs_grad for y in x]):
                    break
        else:
            if not kwargs or not any([isinstance(x, Tensor) and x.needs_grad for x in kwargs.values()]):
                return body(*args, **kwargs)
        GUARD.active.append(None)
        LOCAL.grad = False
        try:
            result = body(*args, **kwargs)
        finally:
            LOCAL.grad = True
            GUARD.active.pop()
        if kwargs or len(args) != count:
            values = list(args) + list(defaults[len(args) :])
            for name, value in kwargs.items():
                values[positions[name]] = value
            args = tuple(values)
        return record(args, result)

    return call


def function(body: Callable | None = None, **options) -> Any:
    """Declare an operator by a function on tensors; `tensors` names the arguments that can have gradients."""
    if body is None:
        return lambda body: function(body, **options)
    operator = Function(body, **options)
    return operator.export(operator.call)


# --- views --------------------------------------------------------------------------------------------------------


class ViewNode(Node):
    """A recorded view: the gradient is put where the view looked."""

    __slots__ = ("args", "kwargs", "spec")

    def apply(self, grad):
        operator = self.operator
        if "input" in operator.gradients:
            return (operator.gradients["input"](grad, self.spec, *self.args, **self.kwargs),)
        return (EMBED[0](grad, self.spec, operator, self.args, self.kwargs),)


EMBED: list[Callable] = []  # operators/view.py


class View(Operator):
    """An operator whose result is another spec on the same memory."""

    def __init__(self, body: Callable, name: str | None = None):
        super().__init__(body, name)
        self.names = ("input", *self.names[1:])
        self.plans: dict[tuple, tuple[Spec, int]] = {}
        self.call = _viewing(self)

    def _plan(self, input: Tensor, args: tuple, kwargs: dict) -> tuple[Spec, int]:
        source = input.spec
        shape, strides, offset, *other = self.body(source, *args, **kwargs)
        kind = other[0] if other else source.dtype  # a view as another dtype counts in its elements
        found = (spec(kind, source.device, Size(shape), tuple(strides), source.kind), offset * kind.itemsize)
        if len(self.plans) > 4096:  # ever-changing shapes
            self.plans.clear()
        try:
            self.plans[(source, *args, *kwargs.items()) if kwargs else (source, *args)] = found
        except TypeError:
            pass  # an argument that is no key (a list): planned anew each time
        return found


def _viewing(operator: View) -> Callable:
    """The function (input, arguments) -> view; the spec of the result is planned once for each spec and arguments."""
    plans, plan, node_class = operator.plans, operator._plan, operator.node_class

    def call(input, *args, **kwargs):
        if GUARD.active and LOCAL.special:
            return INTERCEPT[0](operator, (input, *args), kwargs, None)
        try:
            found, offset = plans[(input.spec, *args, *kwargs.items()) if kwargs else (input.spec, *args)]
        except (KeyError, TypeError):
            found, offset = plan(input, args, kwargs)
        except AttributeError:
            fail(TypeError, f"{operator.name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        base, storage = input.base, input.storage
        out = VIEW(found, storage, input.ptr + offset, input if base is None else base, storage.version)
        if input.needs_grad and (not GUARD.active or LOCAL.grad):
            node = record(node_class, (edge_of(input),), (out,))
            node.spec, node.args, node.kwargs = input.spec, args, kwargs
        return out

    return call


def view_of(base: Tensor, spec: Spec, offset_bytes: int) -> Tensor:
    """Another record on the memory of `base`."""
    storage = base.storage
    return VIEW(spec, storage, base.ptr + offset_bytes, base if base.base is None else base.base, storage.version)


def view(body: Callable) -> Any:
    """Declare a view by a function (spec, arguments) -> (shape, strides, offset in elements)."""
    operator = View(body)
    return operator.export(operator.call)
