"""Operators whose body, run on symbols, is their kernel; their gradients are such operators again."""

import inspect
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from facula import launch
from facula.autograd.node import Node, alias, dtype_title, edge_of
from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import broadcast, contiguous_strides
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.derivative import adjoints, is_row_level
from facula.ir.expr import Expr
from facula.ir.kernel import Input, Kernel, Param, Result
from facula.operators.override import foreign
from facula.operators.promotion import DEFAULT, number_dtype, of_defaults, opmath, result_type

from .away import common_device, differ, here
from .base import Operator, with_out
from .keywords import NUMPY
from .layout import broadcast_shapes_of, broadcast_strides, check_in_place, result_strides
from .recording import Packed, freed, keep, materialised, record, unkeep
from .repeats import Repeats, unknown
from .seams import CHECK_LEAF, CHECK_VIEW, COPY, INTERCEPT, OF_ARRAY, OVERLAP, PREPARE_OUT, REBASE, SUM_TO


class Plan:
    """All that a traced operator knows about operands of given specs: result specs, machine code, backward."""

    __slots__ = (
        "back", "backs", "common", "compute", "empty", "function", "key", "kernel_names", "mixed", "numbers", "out",
        "outs", "over", "pushes", "shape", "slots", "sources", "specs", "static", "tail", "targets",
    )  # fmt: skip


HALVES = (dt.float16, dt.bfloat16)
EXACT = (dt.bool_, dt.uint8, dt.int8)  # whose numbers both halves have
UNBOUND = launch.Bound(None, ())


class Back:
    """How to differentiate a plan for one choice of inputs that need it."""

    __slots__ = ("grads", "known", "numbers", "pull", "saves", "slots")


class Push:
    """How to carry tangents through a plan, for one choice of operands that have them."""

    __slots__ = ("operator", "parts", "results")

    operator: Any  # a Traced, or None: the tangents are zero
    parts: tuple[tuple[str, int], ...]  # its operands: ("tangent" or "operand", i), ("out", i), ("number", i)
    results: tuple[int, ...]  # of which results it computes tangents


class TracedNode(Node):
    """A recorded traced operator."""

    __slots__ = ("back", "numbers", "plan", "versions")

    def apply(self, *grads):
        back = self.back
        if back is None:
            return (self.operator.pull(self.plan, *grads),)
        if not LOCAL.grad and not LOCAL.special and (found := back.pull(self, *grads)) is not None:
            return found
        saved = self.saved
        if saved is None:
            freed(self)
        operands: list = [materialised(grads[i], self.outputs[i]) if grads[i] is None else grads[i] for i in back.grads]
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
        known = back.known
        if known is None:
            return [None] * len(self.edges)
        results = known.bare(*operands) if plain and not LOCAL.special else None
        if results is None:
            results = known.slowly(operands, {})
        elif back.pull is unknown:
            back.pull = _pull(self, known) or unknown
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


def _pull(node: TracedNode, known: Repeats) -> Callable | None:
    """The builtin that does what `TracedNode.apply` does for nodes like this one."""
    back = node.back
    operands = [("grad", i) for i in back.grads] + [("saved", i) for i in range(len(back.saves))]
    operands += [("number", i) for i in back.numbers]
    make = launch.native("pull", node.outputs[0].device)
    return make(known.bare, TracedNode, len(node.outputs), len(node.edges), operands, back.slots, SUM_TO[0])


class Traced(Operator):
    """An operator whose body, run on symbols, is its kernel."""

    node_kind = TracedNode

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
        lies: bool = False,
        over: Sequence[str] = (),
        check: Callable | None = None,
        wide: Sequence[str] = (),
        narrow: Sequence[str] = (),
        depth: int = 0,
    ):
        super().__init__(body, name)
        self.row_results = row_results  # which results are one number a row; None: those that are made of such alone
        self.over = tuple(over)  # operands that the last results are written over, where they are given
        self.lies = lies or not rows  # whether results lie in memory as operands do; else they are row-major
        self.check = check  # called with the operands' specs (or number types) when a plan is made
        self.only: frozenset[str] = frozenset()  # operands that may not be Python numbers
        self.exact = ""  # what to say of an out= of another dtype than the result's; "" where it may have one
        self.guard: Callable | None = (
            None  # called with the operands of whole numbers before each run: their values may be bad
        )
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
        # Where operands have 16 bits, numbers among them are rounded so first, but not those in `wide`; keywords are
        # not, but those in `narrow`. The kernel does it: a number comes to it as it was given.
        self.wide, self.narrow = frozenset(wide), frozenset(narrow)
        self.compute = compute
        self.title = self.name  # what errors call the kernel: PyTorch's name for it
        self.results = results  # dtype of each result; None: the common one; "compute": the one of the arithmetic
        self.kinds = kinds
        self.differentiable = differentiable
        self.entry: Callable | None = None
        self.plans: dict[Any, Plan] = of_defaults({})
        self.derived: dict[Any, Traced] = {}
        self.repeated: dict[Any, Repeats] = {}  # by what `call_rows` is told

    def fast(self) -> Callable:
        """The function of operands that applies the operator with the least overhead; the same one each time."""
        if self.entry is None:
            several = self.results is not None and len(self.results) > 1
            from .fast import binary, nary, unary  # they are made of what stands here

            self.entry = (nary if several else {1: unary, 2: binary}.get(len(self.operands), nary))(self)
        return self.entry

    def known(self, rows: tuple | None = None, numbers: int = 0) -> Repeats:
        """What is remembered of calls by position; of row operators, for each (dims, keepdim, shape, node class).

        So many numbers may follow the operands: all of the operator's scalars, or none.
        """
        key = (rows, numbers) if numbers else rows
        found = self.repeated.get(key)
        if found is None:
            if len(self.repeated) > 256:
                self.repeated.clear()
            found = self.repeated[key] = Repeats(self, len(self.operands) + numbers, rows=rows)
        return found

    def _numbers(self, scalars: dict[str, Any]) -> list | None:
        """The scalars in order, where all of them are given, and are arguments of the kernel; else None."""
        values = [scalars.get(n) for n in self.scalars]
        plain = all(v.__class__ is float or v.__class__ is int for v in values)
        return values if plain and len(values) == len(scalars) and not self.static else None

    def public_signature(self) -> inspect.Signature:
        """With the keyword `out` that every such operator takes."""
        return with_out(self.signature)

    # What a body computes, for given dtypes

    def _dtypes(self, kinds: Sequence[Spec | type]) -> tuple[dtype, dtype]:
        """The common dtype of the operands and the one that arithmetic is done in."""
        if self.compute is not None:
            return self.compute, self.compute
        common = result_type(
            k
            for n, k in zip(self.operands, kinds)
            if n not in self.keep and n not in self.follow and k is not type(None)
        )
        if self.promote == "float" and common.kind in "bui":
            common = DEFAULT.float
        elif self.promote == "sum" and common.kind in "bui":
            common = dt.int64
        if common.kind not in self.kinds:
            fail(NotImplementedError, f"\"{self.title}\" not implemented for '{dtype_title(common)}'")
        return common, opmath(common)

    def symbols(self, kinds: Sequence[Spec | type], common: dtype, compute: dtype) -> dict[str, Any]:
        """A symbol for each operand: a load, or a parameter for a Python number."""
        halves = common in HALVES and self.compute is None
        found: dict[str, Any] = {}  # Expr; None for an operand that was left out
        for name, kind in zip(self.operands, kinds):
            if kind is type(None):
                found[name] = None
                continue
            if isinstance(kind, Spec):
                value = ir.load(name, kind.dtype)
                found[name] = (
                    value if name in self.keep else ir.cast(value, opmath(kind.dtype) if self.compute else compute)
                )
                if self.compute and name not in self.keep and found[name].dtype.kind != "b":
                    found[name] = ir.cast(found[name], _join(found[name].dtype, compute))
                wide = name in self.wide and name not in self.follow and kind.numel == 1
                wide = wide or kind.dtype is common or kind.dtype in EXACT
            else:
                found[name] = _number_symbol(name, number_dtype(kind) if name in self.keep else compute)
                wide = name in self.wide or kind is bool
            if halves and not wide and name not in self.keep:
                found[name] = _rounded(found[name], common)
        return found

    def trace(self, symbols: dict[str, Expr | None], scalars: dict[str, Any]) -> tuple[Expr, ...]:
        """The body's results."""
        values = self.body(*[symbols[n] for n in self.operands], **scalars)
        return values if isinstance(values, tuple) else (values,)

    def scalar_symbols(self, given: dict[str, Any], common: dtype, compute: dtype) -> dict[str, Any]:
        """Each keyword: itself when it is static or its default, else a parameter of the kernel."""
        out: dict[str, Any] = {}
        for name, default in self.scalars.items():
            value = given.get(name, default)
            free = type(value) in (int, float, complex) and name not in self.static and name in given
            kind = dt.int64 if name in self.whole else _scalar_compute(compute, value)
            out[name] = _number_symbol(name, kind) if free else value
            if free and name in self.narrow and common in HALVES:
                out[name] = _rounded(out[name], common)
        return out

    # Plans

    def _form(self, scalars: dict[str, Any]) -> tuple:
        """What a plan depends on of keywords: the values that select a kernel, and of other numbers their types."""
        return tuple(
            sorted([(n, type(v) if type(v) in (int, float, complex) and n not in self.static else v)
                    for n, v in scalars.items()], key=itemgetter(0))
        )  # fmt: skip

    def plan(
        self, kinds: Sequence[Spec | type], *, scalars: dict[str, Any], dims=None, keepdim=False, shape=None, out=None,
        bind: bool = True,
    ) -> Plan:  # fmt: skip
        """Build the plan for operands of these specs (or Python number types); without `bind`, one that never runs."""
        if self.check is not None:
            self.check(*kinds)
        common, compute = self._dtypes(kinds)
        symbols = self.symbols(kinds, common, compute)
        free = self.scalar_symbols(scalars, common, compute)
        values = self.trace(symbols, free)
        tensors = [(n, k) for n, k in zip(self.operands, kinds) if isinstance(k, Spec)]
        over = [k for n, k in tensors if n in self.over]
        fresh = len(values) - len(over)
        where = common_device([k for _, k in tensors])
        if shape is None:
            if dims is None:
                shape = broadcast_shapes_of(self.name, [k.shape for _, k in tensors])
            else:
                shape = broadcast(*[k.shape for n, k in tensors if n not in self.per_row])
        row_dims = () if dims is None else dims
        outer_dims = [d for d in range(len(shape)) if d not in row_dims]
        level = is_row_level(ir.walk(*values), self.per_row) if self.rows else {}
        plan = Plan()
        plan.static = scalars
        plan.common, plan.compute, plan.shape, plan.back, plan.pushes = common, compute, shape, {}, {}
        plan.specs = tuple(kinds)
        plan.mixed = any(k.device is not where for _, k in tensors)  # numbers on the CPU among operands elsewhere
        results, out_specs, out_strides = [], [], []
        whole = [k for n, k in tensors if n not in self.per_row]
        own_strides = result_strides(shape, whole) if self.lies else None
        for i, value in enumerate(values):
            row = self.rows and (level[value] if self.row_results is None else self.row_results[i])
            kind = over[i - fresh].dtype if i >= fresh else self.results[i] if self.results else None
            memory: Any = compute if kind == "compute" else kind or _kept_as(value.dtype, compute, common)
            name = "_" * self.depth + ("out" if len(values) == 1 else f"out{i}")
            if row:
                size = tuple(1 if d in row_dims else n for d, n in enumerate(shape))
                full = contiguous_strides(size)
                out_strides.append([full[d] for d in outer_dims] if i < fresh else list(over[i - fresh].strides))
                shown = size if keepdim else tuple(shape[d] for d in outer_dims)
                out_specs.append(dense(memory, shown, where))
            else:
                s = spec(memory, where, shape, own_strides or contiguous_strides(shape))
                out_specs.append(s)
                out_strides.append([s.strides[d] for d in (*outer_dims, *row_dims)])
            results.append(Result(name, memory, value, per_row=row))
        if out is not None:
            for i, o in enumerate(out):
                value = values[i]
                if common in HALVES and not self.rows and results[i].dtype is common is not o.dtype:
                    value = _rounded(value, common)
                results[i] = Result(results[i].name, o.dtype, value, per_row=results[i].per_row)
                strides = o.strides
                if results[i].per_row:
                    strides = strides if not keepdim else tuple(strides[d] for d in outer_dims)
                    out_strides[i] = list(strides)
                else:
                    out_strides[i] = [strides[d] for d in (*outer_dims, *row_dims)]
            out_specs = list(out)
            for o in out:
                if o.device is not where:
                    differ(where, o.device)
        used = {n.value[0] for n in ir.walk(*values) if n.op == "load"}
        inputs = [(n, k) for n, k in tensors if n in used]
        parameters = [n for n in ir.walk(*values) if n.op == "param"]
        kernel = Kernel(
            self.name,
            tuple(Input(n, k.dtype) for n, k in inputs),
            tuple(results),
            tuple(Param(p.value, p.dtype) for p in parameters),
        )
        in_strides = []
        for n, k in inputs:
            strides = broadcast_strides(k, shape, row_dims if n in self.per_row else None)
            in_strides.append([strides[d] for d in (*outer_dims, *row_dims)])
        bound = UNBOUND
        if bind:
            bound = launch.bind(
                kernel,
                [shape[d] for d in outer_dims],
                [shape[d] for d in row_dims] if self.rows else None,
                out_strides + in_strides,
                where,
            )
        plan.function, plan.tail = bound.function, bound.tail
        plan.kernel_names = tuple(n for n, _ in inputs)
        plan.slots = tuple(self.operands.index(n) for n, _ in inputs)
        plan.numbers = tuple(_split_part(p.value) for p in parameters)
        plan.outs = tuple(out_specs[:fresh])
        plan.over = tuple([i for i, n in enumerate(self.operands) if n in self.over and isinstance(kinds[i], Spec)])
        plan.out = plan.outs[0]
        plan.empty = launch.allocator(where)
        plan.key = (dims, keepdim)
        plan.backs = {} if self.pull is None else dict.fromkeys(range(1 << len(self.operands)))
        order = (*self.operands, *self.scalars)
        seen = self.guard is not None and plan.common.kind in "ui"  # values are looked at before each run
        split = any(part is not None for _, part in plan.numbers) or (compute is dt.uint64 and bool(plan.numbers))
        plan.sources = (
            None
            if seen or split or plan.mixed or over
            else (*plan.slots, *[order.index(name) for name, _ in plan.numbers])
        )
        return plan

    def back(self, plan: Plan, mask: tuple[bool, ...]) -> Back:
        """The operator that computes the gradients of the operands in `mask`, and what it wants to be kept."""
        found = plan.back.get(mask)
        if found is None:
            found = plan.back[mask] = self._make_back(plan, mask)
            plan.backs[sum(1 << i for i, m in enumerate(mask) if m)] = found
        return found

    def _gradients(self, plan: Plan, needs: Sequence[str]) -> tuple:
        """The gradient of each operand in `needs` as an expression, and the symbols that these are made of."""
        symbols = self.symbols(plan.specs, plan.common, plan.compute)
        free = self.scalar_symbols(plan.static, plan.common, plan.compute)
        values = self.trace(symbols, free)
        single = len(values) == 1
        level = is_row_level(ir.walk(*values), self.per_row) if self.rows else {}
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
        return gradients, symbols, g_names, grads, o_names, row_names

    def _make_back(self, plan: Plan, mask: tuple[bool, ...]) -> Back:
        needs = [n for n, m in zip(self.operands, mask) if m]
        gradients, symbols, g_names, grads, o_names, row_names = self._gradients(plan, needs)
        back = Back()
        given_by: dict[str, Expr] = {n: g for n in needs if (g := gradients[n]) is not None}
        wanted = list(given_by)
        roots = [
            _as(g, plan.compute if symbols[n].dtype.kind != "c" else symbols[n].dtype) for n, g in given_by.items()
        ]
        used = {e.value[0] for e in ir.walk(*roots) if e.op == "load"}
        numbers = sorted({_split_part(e.value)[0] for e in ir.walk(*roots) if e.op == "param"})
        grad_names = [n for n in g_names if n in used] or [
            n for n, g in zip(g_names, grads) if g is not None and not used
        ]
        out_names = [n for n in o_names if n in used]
        in_names = [n for n in self.operands if n in used]
        back.grads = tuple(g_names.index(n) for n in grad_names)
        back.saves = tuple(
            [(False, self.operands.index(n)) for n in in_names] + [(True, o_names.index(n)) for n in out_names]
        )
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
            same = tuple(s.shape) == whole and not (plan.mixed and s.device is not plan.out.device)
            targets.append(None if same else s)
            memory.append(s.dtype if same else plan.common if root.dtype is plan.compute else root.dtype)
        back.slots = tuple((self.operands.index(n), t) for n, t in zip(wanted, targets))
        key = (tuple(roots), names, tuple(memory), mask)
        operator = self.derived.get(key)
        if operator is None:
            operator = self.derived[key] = Traced(
                _Replay(tuple(roots), names), f"_derived_{self.name.strip('_')}_backward", names=names,
                compute=plan.compute,
                results=tuple(memory), rows=self.rows, per_row=row_names & set(names), keep=names,
                depth=self.depth + 1, row_results=tuple(n in self.per_row for n in wanted) if self.rows else None,
            )  # fmt: skip
        back.known, back.pull = None, unknown
        if wanted:
            back.known = operator.known((dims, keepdim, plan.shape, None) if self.rows else None)
        return back

    def push(self, plan: Plan, mask: tuple[bool, ...]) -> Push:
        """The operator that computes tangents of the results from those of the operands in `mask`.

        A gradient is linear in what arrives at the results: the transpose of that map is forward mode.
        """
        found = plan.pushes.get(mask)
        if found is None:
            found = plan.pushes[mask] = self._make_push(plan, mask)
        return found

    def _make_push(self, plan: Plan, mask: tuple[bool, ...]) -> Push:
        needs = [n for n, m in zip(self.operands, mask) if m]
        gradients, symbols, g_names, grads, o_names, row_names = self._gradients(plan, needs)
        prefix = "_" * self.depth
        specs = dict(zip(self.operands, plan.specs))
        wanted = [n for n in needs if gradients[n] is not None]
        titles = {n: f"{prefix}tangent_{n}" for n in wanted}
        pairs = []
        for n in wanted:
            root = _as(gradients[n], plan.compute if symbols[n].dtype.kind != "c" else symbols[n].dtype)
            pairs.append((root, _as(ir.load(titles[n], specs[n].dtype), root.dtype)))
        row_names |= {titles[n] for n in wanted if n in self.per_row}
        arriving = [None if g is None else ir.load(n, s.dtype) for n, g, s in zip(g_names, grads, plan.outs)]
        found = adjoints(pairs, [g for g in arriving if g is not None], frozenset(row_names))
        push = Push()
        push.results = tuple(i for i, g in enumerate(arriving) if g is not None and found[g] is not None)
        roots = tuple(found[arriving[i]] for i in push.results)
        used = {e.value[0] for e in ir.walk(*roots) if e.op == "load"}
        numbers = sorted({_split_part(e.value)[0] for e in ir.walk(*roots) if e.op == "param"})
        parts = [("tangent", self.operands.index(n), titles[n]) for n in wanted if titles[n] in used]
        parts += [("operand", i, n) for i, n in enumerate(self.operands) if n in used]
        parts += [("out", i, n) for i, n in enumerate(o_names) if n in used]
        order = [*self.operands, *self.scalars]
        parts += [("number", order.index(n), n) for n in numbers]
        push.parts = tuple((kind, i) for kind, i, _ in parts)
        names = tuple(n for _, _, n in parts)
        push.operator = None
        if roots:
            row_results = tuple(g_names[i] in row_names for i in push.results) if self.rows else None
            push.operator = Traced(
                _Replay(roots, names), f"_derived_{self.name.strip('_')}_forward", names=names, compute=plan.compute,
                results=tuple(plan.outs[i].dtype for i in push.results), rows=self.rows,
                per_row=row_names & set(names), keep=names, depth=self.depth + 1, row_results=row_results,
            )  # fmt: skip
        return push

    # Application

    def call(self, *operands, **kwargs):
        """Apply to operands in the order of `self.operands`; keywords are scalars, `out`, or operands by name."""
        out = kwargs.pop("out", None) if kwargs else None
        if len(operands) > len(self.operands):
            fail(
                TypeError,
                f"{self.name}() takes {len(self.operands)} positional arguments but {len(operands)} were given",
            )
        if kwargs or len(operands) < len(self.operands):
            operands, scalars = self._bind(operands, kwargs)
        else:
            scalars = {}
        if GUARD.active and LOCAL.special:
            return INTERCEPT[0](self, operands, scalars, out)
        kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in operands])
        key = (kinds, self._form(scalars) if scalars else None)
        if out is not None:
            return self._into(out, operands, kinds, scalars, key)
        try:
            plan = self.plans[key]
        except KeyError:
            if (made := foreign(*operands)) is not NotImplemented:
                return made
            if any(getattr(x, "ndim", 0) and not isinstance(x, Tensor) for x in operands):  # arrays of NumPy
                return self.call(*[OF_ARRAY[0](x) if hasattr(x, "__array__") else x for x in operands], **scalars)
            operands, kinds = self._checked(operands, kinds)
            plan = self.remember(key, self.plan(kinds, scalars=scalars))
        return self._run(plan, operands, scalars)

    def call_rows(
        self, *operands, dims: tuple[int, ...], keepdim=False, shape=None, out=None, node_class=None, **scalars
    ):
        """Apply over the row dims `dims` (normalised, sorted)."""
        rows = (dims, keepdim, shape, node_class)
        if out is None and len(operands) == len(self.operands):
            numbers = self._numbers(scalars) if scalars else ()
            if numbers is not None:
                known = self.known(rows, len(numbers))
                ask = known.run if not GUARD.active else known.in_mode()
                found = ask(*operands, *numbers)
                return self.rows_slowly(known, operands, rows, scalars) if found is None else found
        return self.rows_slowly(None, operands, rows, {**scalars, "out": out})

    def rows_slowly(self, known: Repeats | None, operands: Any, rows: tuple, scalars: dict) -> Any:
        """`call_rows` where machine code does not know the call; `known` will next time."""
        dims, keepdim, shape, node_class = rows
        out = scalars.pop("out", None)
        if GUARD.active and LOCAL.special:
            return INTERCEPT[0](self, operands, {**scalars, "dims": dims, "keepdim": keepdim, "shape": shape}, out)
        kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in operands])
        key = (kinds, dims, keepdim, shape, self._form(scalars) if scalars else None)
        if out is not None:
            return self._into(out, operands, kinds, scalars, key, dims=dims, keepdim=keepdim, shape=shape)
        plan = self.plans.get(key)
        if plan is None:
            if (made := foreign(*operands)) is not NotImplemented:
                return made
            operands, kinds = self._checked(operands, kinds)
            plan = self.remember(key, self.plan(kinds, scalars=scalars, dims=dims, keepdim=keepdim, shape=shape))
        made = self._run(plan, operands, scalars, node_class)
        if known is not None:
            numbers = [scalars[n] for n in self.scalars] if known.count > len(operands) else ()
            known.learn(key, (*operands, *numbers), node_class)
        return made

    def remember(self, key, plan: Plan) -> Plan:
        if len(self.plans) > 4096:  # ever-changing shapes
            self.plans.clear()
        self.plans[key] = plan
        return plan

    def _bind(self, operands: tuple, kwargs: dict) -> tuple[tuple, dict]:
        values = dict(zip(self.operands, operands))
        scalars = {}
        for name, value in kwargs.items():
            name = name if name in self.names else NUMPY.get(name, name)
            if name in self.scalars:
                if not (type(value) is type(self.scalars[name]) and value == self.scalars[name]):
                    scalars[name] = value.item() if isinstance(value, Tensor) else value
            elif name in values:
                fail(TypeError, f"{self.name}() got multiple values for argument '{name}'")
            elif name in self.operands:
                values[name] = value
            else:
                fail(
                    TypeError,
                    f"{self.name}() got an unexpected keyword argument '{name}'",
                    expected=f"{self.name}{self.signature}",
                )
        missing = [n for n in self.operands if n not in values]
        for n in list(missing):
            default = (
                self.signature.parameters[n].default if n in self.signature.parameters else inspect.Parameter.empty
            )
            if default is not inspect.Parameter.empty:
                values[n] = default
                missing.remove(n)
        if missing:
            fail(
                TypeError, f'{self.name}() missing {len(missing)} required positional arguments: "{", ".join(missing)}"'
            )
        return tuple(values[n] for n in self.operands), scalars

    def _checked(self, operands: tuple, kinds: tuple) -> tuple[tuple, tuple]:
        """Operands fit to be planned: tensors, Python numbers, None where a default says so."""
        good = []
        for i, (name, x) in enumerate(zip(self.operands, operands)):
            if isinstance(x, Tensor) or (type(x) in (bool, int, float, complex, type(None)) and name not in self.only):
                good.append(x)
            elif name not in self.only and hasattr(x, "dtype") and hasattr(x, "item"):
                good.append(x.item())  # a NumPy scalar
            else:
                fail(
                    TypeError,
                    f"{self.name}(): argument '{name}' (position {i + 1}) must be Tensor, not {type(x).__name__}",
                )
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
        if plan.mixed:
            operands = tuple([here(x, plan.out.device) if isinstance(x, Tensor) else x for x in operands])
        args += [operands[i].ptr for i in plan.slots]
        for name, part in plan.numbers:
            number = scalars[name] if name in scalars else operands[self.operands.index(name)]
            args.append(number if part is None else getattr(complex(number), part))
        try:
            plan.function(*args, *plan.tail)
        except OverflowError:  # the upper half of uint64, where whole numbers are that large
            if plan.compute is not dt.uint64:
                raise
            numbers = len(plan.numbers)
            wrapped = [a - 2**64 if 2**63 <= a < 2**64 else a for a in args[-numbers:]]
            plan.function(*args[:-numbers], *wrapped, *plan.tail)

    def _run(self, plan: Plan, operands: tuple, scalars: dict, node_class: type | None = None):
        outs = [plan.empty(s) for s in plan.outs]
        if plan.over:
            written = [operands[i] for i in plan.over]
            self._execute(plan, operands, scalars, [*outs, *written])
            for x in written:
                x.storage.version += 1
        else:
            self._execute(plan, operands, scalars, outs)
        if self.differentiable:
            for x in operands:
                if isinstance(x, Tensor) and x.needs_grad:
                    if not GUARD.active or LOCAL.grad:
                        self.record(plan, operands, scalars, outs, node_class)
                    break
        return outs[0] if len(outs) == 1 else tuple(outs)

    def record(
        self, plan: Plan, operands: tuple, scalars: dict, outs: Sequence[Tensor], node_class: type | None = None
    ) -> TracedNode | None:
        """Give `outs` a node that remembers how they were made."""
        edges = tuple([edge_of(x) if isinstance(x, Tensor) else None for x in operands])
        mask = tuple([e is not None for e in edges])
        if not any(o.spec.dtype.kind in "fc" for o in outs) or not any(mask):
            return None
        if self.pull is not None:
            node = record(node_class or self.node_class, edges, outs)
            node.plan, node.back = plan, None
            return node
        back = self.back(plan, mask)
        kept = [alias(outs[i]) if is_output else operands[i] for is_output, i in back.saves]
        node = record(node_class or self.node_class, edges, outs)
        node.plan = plan
        node.back = back
        node.saved, node.versions = keep(kept)
        node.numbers = (*operands, *[scalars.get(n, d) for n, d in self.scalars.items()]) if back.numbers else ()
        return node

    def _into(self, out, operands: tuple, kinds: tuple, scalars: dict, key: tuple, **rows):
        """The out= form: write into given tensors, resizing them as PyTorch does."""
        outs = tuple(out) if isinstance(out, (tuple, list)) else (out,)
        free = self.plans.get(key)
        if free is None:
            operands, kinds = self._checked(operands, kinds)
            key = (kinds, *key[1:])  # an array of one number counts as a number here alone
            free = self.plans.get(key) or self.remember(key, self.plan(kinds, scalars=scalars, **rows))
        if len(outs) != len(free.outs):
            fail(TypeError, f"{self.name}(): expected {len(free.outs)} out tensors, got {len(outs)}")
        for o, want in zip(outs, free.outs):
            if self.exact and isinstance(o, Tensor) and o.spec.dtype is not want.dtype:
                fail(RuntimeError, self.exact.format(want=dtype_title(want.dtype), got=dtype_title(o.spec.dtype)))
            PREPARE_OUT[0](self.name, o, want, operands)
        key = ("into", key, tuple([o.spec for o in outs]))
        plan = self.plans.get(key)
        if plan is None:
            operands, kinds = self._checked(operands, kinds)
            plan = self.remember(key, self.plan(kinds, scalars=scalars, out=key[-1], **rows))
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
        key = ("in place", kinds, self._form(scalars) if scalars else None)
        plan = self.plans.get(key)
        if plan is None:
            operands, kinds = self._checked(operands, kinds)
            free = self.plan(kinds, scalars=scalars)
            check_in_place(self.name, target.spec, free.outs[0])
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
        if target.base is not None:
            CHECK_VIEW[0](target, needs)
        if not needs or not self.differentiable:
            self._execute(plan, operands, scalars, (target,))
            target.storage.version += 1
            return target
        CHECK_LEAF[0](target)
        edges = tuple([edge_of(x) if isinstance(x, Tensor) else None for x in operands])
        back = self.back(plan, tuple([e is not None for e in edges]))
        original = None
        if (False, 0) in back.saves:  # the formula needs what is about to be overwritten
            original = COPY[0](target)
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


class _Replay:
    """A body that returns expressions which are there already."""

    def __init__(self, roots: tuple[Expr, ...], names: tuple[str, ...]):
        self.roots, self.names = roots, names
        self.__name__ = "replay"
        self.__doc__ = None
        self.__module__ = __name__
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
        )

    def __call__(self, *symbols):
        # Symbols of Python numbers and of loads have the names that the expressions use.
        return self.roots


def _call(formula: Callable, given: dict[str, Any]):
    return formula(*[given[n] for n in inspect.signature(formula).parameters])


def _join(a: dtype, b: dtype) -> dtype:
    return a if a.kind in "bui" else a


def _kept_as(value: dtype, compute: dtype, common: dtype) -> dtype:
    """What a result computed as `value` is in memory, where operands of `common` are computed as `compute`."""
    if value is compute:
        return common
    if common in dt.STORED_ONLY and value.kind in "fc":
        return {compute.to_real(): common.to_real(), compute.to_complex(): common.to_complex()}.get(value, value)
    return value


def _as(value: Expr, dtype: dtype) -> Expr:
    if value.dtype.kind == "c" and dtype.kind != "c":
        value = ir.real(value)
    return ir.cast(value, dtype)


def _rounded(value: Expr, dtype: dtype) -> Expr:
    """A number as one of a smaller dtype, by way of float32 as PyTorch goes."""
    return ir.cast(ir.cast(ir.cast(value, dt.float32), dtype), value.dtype)


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
