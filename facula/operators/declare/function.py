"""Operators that are Python functions on tensors, with a formula for the gradient of each input."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from facula import launch
from facula.autograd.node import Node, Output, alias, edge_of
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.errors import Unread, explained, noted
from facula.operators.override import foreign

from .away import elsewhere
from .base import Operator, with_out
from .keywords import renamed
from .recording import SEQUENCE, Packed, freed, keep, materialised, unkeep, user_line
from .seams import INTERCEPT, INTO


class Recipe:
    """How a function is recorded for one pattern of arguments: its formulas, what they mention, how that is kept."""

    __slots__ = ("collect", "formulas", "inputs", "needs", "numbers", "outputs", "pull", "saves", "together")


class FunctionNode(Node):
    """A recorded function: the arguments that its formulas mention, those that are tensors with their versions."""

    __slots__ = ("back", "numbers", "plan", "versions")
    back: Recipe
    plan: Any  # of a call that machine code repeated: what its formulas mention apart from tensors; else None
    numbers: Any  # the same of other calls, a dict

    def apply(self, *grads):
        saved = self.saved
        if saved is None:
            freed(self)
        operator, recipe = self.operator, self.back
        if len(grads) == 1 and operator.outputs:
            return recipe.pull(self, grads[0], saved)
        known = dict(self.numbers if self.plan is None else self.plan.arguments)
        at = 0
        for name in recipe.inputs:
            known[name] = unkeep(self, saved[at], self.versions[at], False)
            at += 1
        for name, number in recipe.outputs:
            known[name] = unkeep(self, saved[at], self.versions[at], True, number)
            at += 1
        known["needs"] = recipe.needs
        known["grad"], known["grads"] = grads[0], grads
        for i, (n, g) in enumerate(zip(operator.outputs, grads)):
            known[f"grad_{n}"] = materialised(g, self.outputs[i]) if operator.fill else g
        out: list = [None] * len(self.edges)
        for slots, formula, wanted in recipe.formulas:
            given = [known[n] for n in wanted]
            try:
                results = formula(*given)
            except Unread:
                results = elsewhere(formula, tuple(given), {})
            if not isinstance(results, tuple):
                results = (results,)
            for slot, result in zip(slots, results):
                if self.edges[slot] is not None:
                    out[slot] = result
        return out

    def release(self) -> None:
        if self.saved:
            self.saved = None
            self.numbers = ()


def _puller(recipe: Recipe) -> Callable[[FunctionNode, Any, tuple], list]:
    """What `FunctionNode.apply` does for a function of one result, written out: (node, gradient, saved)."""
    lines = [
        "def pull(node, grad, saved):",
        "  edges, versions = node.edges, node.versions",
        "  known = node.numbers if node.plan is None else node.plan.arguments",
        "  out = [None] * len(edges)",
    ]
    values = {}
    for at, name in enumerate(recipe.inputs):
        values[name] = held = f"input{at}"
        lines += [
            f"  {held} = saved[{at}]",
            f"  if {held}.__class__ is Packed or {held}.storage.version != versions[{at}]:",
            f"    {held} = unkeep(node, {held}, versions[{at}], False)",
        ]
    for at, (name, number) in enumerate(recipe.outputs, len(recipe.inputs)):
        values[name] = held = f"output{at}"
        lines.append(f"  {held} = unkeep(node, saved[{at}], versions[{at}], True, {number})")
    values |= {"needs": "needs", "grad": "grad"}
    names: dict[str, Any] = {"needs": recipe.needs, "unkeep": unkeep, "Packed": Packed, "Unread": Unread}
    names |= {"elsewhere": elsewhere, "__name__": __name__}
    for at, (slots, formula, wanted) in enumerate(recipe.formulas):
        names[f"formula{at}"] = formula
        given = ", ".join([values.get(n) or f"known[{n!r}]" for n in wanted])
        comma = "," if wanted else ""
        lines += [
            "  try:",
            f"    made = formula{at}({given})",
            "  except Unread:",
            f"    made = elsewhere(formula{at}, ({given}{comma}), {{}})",
        ]
        if len(slots) == 1:
            lines.append(f"  if edges[{slots[0]}] is not None:")
            lines.append(f"    out[{slots[0]}] = made[0] if isinstance(made, tuple) else made")
        elif formula in recipe.together:
            lines.append("  " + ", ".join(f"out[{slot}]" for slot in slots) + " = made")
        else:
            lines += [
                f"  for slot, one in zip({slots}, made if isinstance(made, tuple) else (made,)):",
                "    if edges[slot] is not None:",
                "      out[slot] = one",
            ]
    lines.append("  return out")
    exec(compile("\n".join(lines), "<gradients>", "exec"), names)
    return names["pull"]


def _specs(x):
    """The specs of an argument: of a tensor, of a list of tensors, None of anything else."""
    return [t.spec for t in x] if x.__class__ in (list, tuple) else x.spec if isinstance(x, Tensor) else None


class Function(Operator):
    """An operator that is a Python function on tensors; gradients are formulas with operators."""

    node_kind = FunctionNode

    def __init__(self, body: Callable, name: str | None = None, *, tensors: Sequence[str],
        outputs: Sequence[str] = ("out",), fill: bool = True,
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
        # For each argument: 0, its gradient is never asked for; 1, it may be; 2, it may be a list of such.
        self.flags = tuple((2 if i in self.lists else 1) if n in self.tensors else 0 for i, n in enumerate(self.names))
        self.call = _calling(self)

    def public_signature(self) -> inspect.Signature:
        """With the keyword `out`, where calls may name a tensor to write into."""
        return with_out(self.signature) if self.out else self.signature

    def _recipe(self, key: tuple) -> Recipe:
        """The recipe for one pattern of arguments.

        For each: 0 no tensor, 1 a tensor, 2 one that needs a gradient; a tuple of these for a list.
        """
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
        whole = [(names, f) for names, f in self.joint if all(recipe.needs[n] for n in names)]
        recipe.together = [] if self.lists else [f for _, f in whole]
        joint = [each for each in self.joint if each in whole or each[0][0] not in self.gradients]
        alone = [((n,), f) for n, f in self.gradients.items() if not any(n in names for names, _ in joint)]
        for names, formula in alone + joint:
            if any(recipe.needs[n] for n in names):
                wanted = tuple(inspect.signature(formula).parameters)
                recipe.formulas.append(([i for n in names for i in slots[n]], formula, wanted))
                mentioned.update(dict.fromkeys(wanted))
        recipe.outputs = tuple((n, self.outputs.index(n)) for n in mentioned if n in self.outputs)
        own = [n for n in mentioned if n in self.positions and n not in self.outputs]
        recipe.inputs = tuple(n for n in own if key[self.positions[n]] in (1, 2))
        recipe.saves = [(False, self.positions[n]) for n in recipe.inputs] + [(True, i) for _, i in recipe.outputs]
        recipe.numbers = ()
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
        recipe.pull = _puller(recipe)
        return recipe

    def record(self, args: tuple, result):
        """Give the result a node; `args` are all arguments in the order of the signature."""
        outs = (result,) if isinstance(result, Tensor) else tuple(result)
        for o in outs:
            if o.spec.dtype.kind in "fc":
                break
        else:
            return result
        edges: list = []
        pattern: list = []
        for x, differs in zip(args, self.flags):
            if isinstance(x, Tensor):
                if differs:
                    edge = None
                    if x.base is not None:
                        edge = edge_of(x)
                    elif x.needs_grad:
                        edge = x.edge
                        if edge is None:
                            edge = x
                    edges.append(edge)
                    pattern.append(1 if edge is None else 2)
                else:
                    pattern.append(1)
            elif differs == 2 and (x.__class__ is tuple or x.__class__ is list):
                own = [edge_of(y) if isinstance(y, Tensor) else None for y in x]
                edges += own
                pattern.append(tuple([1 if e is None else 2 for e in own]))
            else:
                if differs:
                    edges.append(None)
                pattern.append(0)
        key = tuple(pattern)
        recipe = self.recipes.get(key)
        if recipe is None:
            recipe = self.recipes[key] = self._recipe(key)
        saved, versions, arguments = recipe.collect(args, outs)
        if GUARD.active and LOCAL.saved_hooks:
            saved, versions = keep(saved)
        if self.make is None:
            self.make = launch.constructor(
                self.node_class, ("edges", "outputs", "sequence", "line", "saved", "versions", "numbers", "back"),
                {"pre_hooks": None, "post_hooks": None, "plan": None},
            )  # fmt: skip
        node = self.make(
            tuple(edges),
            (result.spec,) if result is outs[0] else tuple([o.spec for o in outs]),
            SEQUENCE(),
            user_line(2),
            saved,
            versions,
            arguments,
            recipe,
        )
        if len(outs) == 1 and result is outs[0]:
            result.edge = node
            result.needs_grad = True
            if result.base is not None:
                _settle(result, args)
        else:
            for number, out in enumerate(outs):
                if out.spec.dtype.kind in "fc":
                    out.edge = Output(node, number) if len(outs) > 1 else node
                    out.needs_grad = True
                    if out.base is not None:
                        _settle(out, args)
        return result


def _settle(out: Tensor, args: tuple) -> None:
    """A result that the body made as a view: of an argument, which later changes must reach, or of its own memory."""
    for x in args:
        if isinstance(x, Tensor) and x.storage is out.storage:
            out.seen = out.storage.version
            return
    out.base = None


def _refuse_others(operator: Function, args: tuple, error: Exception) -> None:
    """TypeError in PyTorch's words where an error came of an operand that is no tensor."""
    if isinstance(error, AttributeError):
        for number, (name, x) in enumerate(zip(operator.names, args), 1):
            if name in operator.tensors and not isinstance(x, (Tensor, type(None))):
                kind = type(x)
                title = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
                text = f"{operator.name}(): argument '{name}' (position {number}) must be Tensor, not {title}"
                raise explained(TypeError, text) from None


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
                return INTERCEPT[0](operator, args, kwargs and renamed(operator.name, names, kwargs) or kwargs, None)
            if not LOCAL.grad:
                try:
                    return body(*args, **kwargs)
                except Unread:
                    return elsewhere(body, args, kwargs)
                except TypeError:
                    if (true := renamed(operator.name, names, kwargs)) is None:
                        raise
                    return call(*args, **true)
        for x in args:
            if isinstance(x, Tensor):
                if x.needs_grad:
                    break
            elif lists and (x.__class__ is tuple or x.__class__ is list):
                if True in [isinstance(y, Tensor) and y.needs_grad for y in x]:
                    break
        else:
            if not kwargs or True not in [isinstance(x, Tensor) and x.needs_grad for x in kwargs.values()]:
                try:
                    return body(*args, **kwargs)
                except Unread:
                    return elsewhere(body, args, kwargs)
                except Exception as error:
                    if isinstance(error, TypeError) and (true := renamed(operator.name, names, kwargs)) is not None:
                        return call(*args, **true)
                    if isinstance(error, AttributeError) and (made := foreign(*args)) is not NotImplemented:
                        return made
                    _refuse_others(operator, args, error)
                    noted(error)
                    raise
        GUARD.active.append(None)
        LOCAL.grad = False
        try:
            result = body(*args, **kwargs)
        except Unread:
            result = elsewhere(body, args, kwargs)
        except Exception as error:
            true = renamed(operator.name, names, kwargs) if isinstance(error, TypeError) else None
            if true is None:
                _refuse_others(operator, args, error)
                noted(error)
                raise
            result, kwargs = None, true
        finally:
            LOCAL.grad = True
            GUARD.active.pop()
        if result is None:
            return call(*args, **kwargs)
        if kwargs or len(args) != count:
            values = list(args) + list(defaults[len(args) :])
            for name, value in kwargs.items():
                values[positions[name]] = value
            args = tuple(values)
        return record(args, result)

    return call
