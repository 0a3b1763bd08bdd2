"""One builtin that runs the backward of a recorded operator: gathers what was kept, calls, hands out the gradients.

It does in machine code what `TracedNode.apply` does in Python; where a kept value was changed, replaced by a hook or
freed, where a gradient is missing, or where `apply.py` does not know the call, it returns None and Python does it.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor

from . import apply, builtins, jit, layout, records
from .entry import Entry

__all__ = ["pull"]

MOST = 12  # operands of a gradient's operator
_GRAD, _SAVED, _NUMBER = range(3)
_CONTEXT = ("program", "classes", "call", "sum_to")

_DECLARATIONS = """
declare ptr @PyList_New(i64)
"""


@cache
def _text(node: tuple[tuple[str, int], ...]) -> str:
    """`pull(node, *grads)`; the program is: gradients, edges, operands, slots, then a word an operand, two a slot."""
    at, slots_of = layout.slots(Tensor), dict(node)
    version_at = layout.slots(Storage)["version"]
    f: Any = Entry("pull", "ptr self, ptr args, i64 given", "ptr", linkage="")
    none = f.symbol_value("_Py_NoneStruct")
    operands = f.alloca("ptr", MOST + 1)
    for position, name in enumerate(_CONTEXT):
        setattr(f, f"own_{name}", f.context(position))
    program = f.address(f.own_program)
    classes = f.address(f.own_classes)
    grads, edges, count, slots = (f.load("i64", f.item(program, i)) for i in range(4))
    f.leave((grads + 1).ne(f.given), "unknown")
    record = f.load("ptr", f.args)
    saved, versions, numbers = (f.slot(record, slots_of[name]) for name in ("saved", "versions", "numbers"))
    for pointer in (saved, versions, numbers):
        f.leave(f.null(pointer), "unknown")
    f.leave(f.same(saved, none), "unknown")
    with f.loop(0, count) as loop:
        code = f.load("i64", f.item(program, loop.index, 32))
        kind, number = code & 3, code >> 2
        value = f.variable("ptr", none)
        name = f.fresh("operand")
        f.emit(
            f"switch i64 {kind.name}, label %{name}.grad "
            f"[i64 {_SAVED}, label %{name}.saved  i64 {_NUMBER}, label %{name}.number]"
        )
        f.label(f"{name}.grad")
        value.set(f.load("ptr", f.item(f.args, number + 1)))
        f.leave(f.same(value.get(), none), "unknown")
        f.branch(f"{name}.known")
        f.label(f"{name}.saved")
        held = f.load("ptr", f.item(saved, number, layout.TUPLE_ITEMS))
        type = f.slot(held, layout.TYPE)
        for i in range(apply.CLASSES):
            f.leave(f.same(type, f.load("ptr", f.item(classes, i))), f"{name}.tensor")
        f.branch("unknown")
        f.label(f"{name}.tensor")
        now = f.slot(f.slot(held, at["storage"]), version_at)
        value.set(held)
        # The version is the same object where nothing was written; equal ones that are not go the long way.
        f.leave(f.same(now, f.load("ptr", f.item(versions, number, layout.TUPLE_ITEMS))), f"{name}.known")
        f.branch("unknown")
        f.label(f"{name}.number")
        value.set(f.load("ptr", f.item(numbers, number, layout.TUPLE_ITEMS)))
        f.branch(f"{name}.known")
        f.label(f"{name}.known")
        f.store(value.get(), f.item(operands, loop.index))
    result = f.call("ptr", "@PyObject_Vectorcall", f.own_call, operands, count, f.constant("ptr", 0))
    f.leave(f.null(result), "failed")
    f.leave(f.same(result, none), "refused")
    found = f.call("ptr", "@PyList_New", edges)
    f.leave(f.null(found), "drop")
    items = f.slot(found, layout.LIST_ITEMS)
    with f.loop(0, edges) as loop:
        f.store(f.count(none), f.item(items, loop.index))
    where = f.at(program, 32 + 8 * MOST)
    single = slots.eq(1)
    with f.loop(0, slots) as loop:
        place = f.load("i64", f.at(where, loop.index * 16))
        target = f.load("ptr", f.at(f.at(where, loop.index * 16), 8))
        one = f.variable("ptr", result)
        with f.when(f.value("i1", f"xor i1 {single.name}, true")):
            one.set(f.load("ptr", f.item(result, loop.index, layout.TUPLE_ITEMS)))
        fits = f.same(f.slot(one.get(), at["spec"]), target) | f.null(target)
        with f.either(fits) as kept:
            f.count(one.get())
            kept.otherwise()
            f.store(one.get(), operands)
            f.store(target, f.at(operands, 8))
            one.set(
                f.call(
                    "ptr", "@PyObject_Vectorcall", f.own_sum_to, operands, f.constant("i64", 2), f.constant("ptr", 0)
                )
            )
            f.leave(f.null(one.get()), "drop.list")
        f.call("void", "@Py_DecRef", f.load("ptr", f.item(items, place)))
        f.store(one.get(), f.item(items, place))
    f.call("void", "@Py_DecRef", result)
    f.done(found)
    f.label("drop.list")
    f.call("void", "@Py_DecRef", found)
    f.branch("drop")
    f.label("drop")
    f.call("void", "@Py_DecRef", result)
    f.branch("failed")
    f.label("failed")
    f.emit("ret ptr null")
    f.label("refused")
    f.done(result)  # None
    f.label("unknown")
    f.emit(builtins.NONE.strip())
    return f"{records.text()}\n{apply._DECLARATIONS}\n{_DECLARATIONS}\n{f.text()}"


def pull(
    call: Callable, node: type, grads: int, edges: int, operands: Sequence[tuple[str, int]],
    slots: Sequence[tuple[int, Spec | None]], sum_to: Callable,
) -> Callable | None:  # fmt: skip
    """The builtin (node, *grads) -> gradients of the node's inputs, a list, or None where Python must do it.

    Parameters
    ----------
    call : builtin
        What makes the gradients: `Memo.bare` of the gradient's operator.
    node : type
        Has the slots saved, versions and numbers.
    grads, edges : int
        How many outputs and inputs the node has.
    operands : sequence of (str, int)
        Of `call`, each by where it comes from: "grad", "saved" or "number", and its position there.
    slots : sequence of (int, Spec or None)
        For each result of `call`, the input that it belongs to, and what it is to be summed to (None: as it is).
    sum_to : callable
        (gradient, spec) -> gradient.
    """
    if len(operands) > MOST:
        return None
    kinds = {"grad": _GRAD, "saved": _SAVED, "number": _NUMBER}
    words = [grads, edges, len(operands), len(slots)]
    words += [4 * number + kinds[kind] for kind, number in operands] + [0] * (MOST - len(operands))
    for place, target in slots:
        words += [place, 0 if target is None else id(target)]
    program = (ctypes.c_int64 * len(words))(*words)
    context = (ctypes.addressof(program), ctypes.addressof(apply._CLASSES), call, sum_to, program, tuple(slots))
    text = _text(tuple(layout.slots(node).items()))
    return builtins.make(jit.load(text, ["pull"], optimize="clean")["pull"], "pull", None, context)
