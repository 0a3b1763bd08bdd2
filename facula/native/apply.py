"""One builtin that applies an operator: finds the plan of its operands, makes the results, runs the kernel, records.

It does in machine code what `operators/declare` does in Python, for calls that are like one before: operands of the
same specs, nothing unusual switched on. For all others it returns None, and Python does it, step by step.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from facula.core.locks import lasting_lock
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor

from . import builtins, jit, layout, records
from .entry import Entry
from .text import Value

__all__ = ["LINES", "Machine", "Memo", "Recording", "user_line"]

WAYS = 256  # places of a table; a call looks at two of them
ARGUMENTS, RESULTS, SLOTS, TAIL = 10, 4, 16, 96  # of a plan, at most
RECORDED = 3  # operands of a call that is recorded, at most: a place for each choice of them
CLASSES = 4  # of tensors: Tensor and subclasses that were met

# What machine code sees of a plan: words, in this order; arrays last.
FIELDS = (
    "owner", "plan", "kernel", "long", "node_class", "specs", "results", "slots", "tail", "smooth", "callable",
    "numbers", "fresh", "run", "floats",
)  # fmt: skip
AT = {name: 8 * i for i, name in enumerate(FIELDS)}
ARRAYS = {}  # offset of each array
_end = 8 * len(FIELDS)
for _array, _size in (
    ("keys", ARGUMENTS),  # what the arguments must be
    ("outs", 4 * RESULTS),  # of each result: spec, bytes, bytes as a Python int, device
    ("sources", SLOTS),  # of each argument of the kernel after the results: 4 * its position + how it is read
    ("backs", 1 << RECORDED),  # for each choice of operands that need a gradient: a Kept, or 0
    ("sizes", TAIL),  # of a plan with steps, for each: kernel, offset in bytes, position of the operand, tail
):
    ARRAYS[_array] = _end
    _end += 8 * _size
WORDS = _end // 8
KEPT = {"back": 0, "numbers": 8, "count": 16, "saves": 24}  # saves: the number of an operand, or -1 - that of a result

_TENSOR, _F64, _I64, _I32 = range(4)
_NUMBER = _F64  # whatever is no tensor, for what is no machine code
_READ = {"ptr": _TENSOR, "f64": _F64, "f32": _F64, "i64": _I64, "i32": _I32}


class Recording(NamedTuple):
    """What recording needs to know of `autograd`."""

    node: type  # has the slots edges, outputs, sequence, line, saved, versions, plan, back, numbers, pre/post_hooks
    edge_of: Callable[[Tensor], object]  # where the gradient of a view goes
    sequence: Callable[[], int]
    active: list  # empty while nothing unusual is switched on
    inside: bytes  # how the names of modules begin that no user's line is in
    output: type  # has the slots node and number: of one of several results


_CONTEXT = (
    "table", "classes", "storage", "tensor", "zero", "empty", "name", "edge_of", "sequence", "active", "output", "mode",
)  # fmt: skip

# What `user_line` needs.
LINES = """
@PyUnicode_Type = external global i8
declare void @PyErr_Clear()
declare ptr @PyTuple_New(i64)
declare ptr @PyEval_GetFrame()
declare ptr @PyFrame_GetGlobals(ptr)
declare ptr @PyFrame_GetBack(ptr)
declare ptr @PyFrame_GetCode(ptr)
declare i32 @PyFrame_GetLasti(ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare ptr @PyUnicode_AsUTF8AndSize(ptr, ptr)
declare i32 @strncmp(ptr, ptr, i64)
"""

_DECLARATIONS = f"""
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@_Py_TrueStruct = external global i8
declare i64 @facula_as_i64(ptr)
declare i64 @facula_as_i32(ptr)
declare double @facula_as_f64(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Occurred()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
{LINES}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def _words(f: Entry) -> None:
    """Reads the context into attributes of `f`."""
    for position, name in enumerate(_CONTEXT):
        setattr(f, f"own_{name}", f.context(position))


def _keys(f: Entry, count: int, fixed: tuple[bool, ...]) -> tuple[list[Value], list[Value], list[Value]]:
    """The arguments, what each must be (a spec, a type of number, or the very object), whether it is a tensor."""
    spec_at = layout.slots(Tensor)["spec"]
    place = f.address(f.own_classes)
    classes = [f.load("ptr", f.item(place, i)) for i in range(CLASSES)]
    given, keys, tensors = [], [], []
    for i in range(count):
        argument = f.load("ptr", f.item(f.args, i))
        given.append(argument)
        if fixed[i]:
            keys.append(argument)
            tensors.append(f.constant("i1", 0))
            continue
        key, tensor = f.variable("ptr", argument), f.variable("i1", 0)
        type = f.slot(argument, layout.TYPE)
        name = f.fresh("argument")
        for one in classes:
            f.leave(f.same(type, one), f"{name}.tensor")
        number = f.same(type, f.symbol_value("PyFloat_Type")) | f.same(type, f.symbol_value("PyLong_Type"))
        f.leave(number, f"{name}.number")
        f.leave(f.same(argument, f.symbol_value("_Py_NoneStruct")), f"{name}.known")
        f.branch("miss")
        f.label(f"{name}.number")
        key.set(type)
        f.branch(f"{name}.known")
        f.label(f"{name}.tensor")
        key.set(f.slot(argument, spec_at))
        tensor.set(f.constant("i1", 1))
        f.branch(f"{name}.known")
        f.label(f"{name}.known")
        keys.append(key.get())
        tensors.append(tensor.get())
    return given, keys, tensors


def _look(f: Entry, keys: Sequence[Value]) -> Value:
    """The plan for these keys; else on to `miss`."""
    mixed = f.constant("i64", 0)
    for key in keys:
        word = f.value("i64", f"ptrtoint ptr {key.name} to i64")
        mixed = f.value("i64", f"xor i64 {word.name}, {mixed.name}") * -7046029254386353131
    first = mixed >> (64 - WAYS.bit_length() + 1)
    places = f.address(f.own_table)
    plan = f.variable("ptr", f.constant("ptr", 0))
    for number, place in enumerate((first, f.value("i64", f"xor i64 {first.name}, 1"))):
        found = f.load("ptr", f.item(places, place))
        other = "look.on" if number == 0 else "miss"
        f.leave(f.null(found), other)
        for i, key in enumerate(keys):
            equal = f.same(f.slot(found, ARRAYS["keys"] + 8 * i), key)
            f.leave(f.value("i1", f"xor i1 {equal.name}, true"), other)
        plan.set(found)
        f.branch("hit")
        if number == 0:
            f.label("look.on")
    f.label("miss")
    f.emit(builtins.NONE.strip())
    f.label("hit")
    return plan.get()


def _wants(f: Entry, given, tensors, operands: int) -> Value:
    """A bit for each operand that needs a gradient."""
    needs_at = layout.slots(Tensor)["needs_grad"]
    mask = f.variable("i64", 0)
    for i in range(operands):
        with f.when(tensors[i]):
            wants = f.same(f.slot(given[i], needs_at), f.symbol_value("_Py_TrueStruct"))
            mask.set(mask.get() | f.select(wants, 1 << i, 0))
    return mask.get()


def _choice(f: Entry, plan: Value, mask: Value, operands: int) -> Value:
    """What is kept for backward (a Kept), or null where nothing is recorded; unknown choices go to `miss`."""
    kept = f.variable("ptr", f.constant("ptr", 0))
    smooth = f.load("i64", f.at(plan, AT["smooth"]))
    with f.when(mask.ne(0) & smooth.ne(0)):
        if operands > RECORDED:
            f.emit("br label %miss")
            f.label(f.fresh("never"))
        else:
            kept.set(f.load("ptr", f.item(plan, mask, ARRAYS["backs"])))
            f.leave(f.null(kept.get()), "miss")
    return kept.get()


def _results(f: Any, plan: Value, tensors: Value, words: Value) -> Value:
    """Makes the results; how many there are."""
    results, fresh = f.load("i64", f.at(plan, AT["results"])), f.slot(plan, AT["fresh"])
    with f.loop(0, results) as loop:
        f.made.set(loop.index)
        out = f.at(plan, loop.index * 32 + ARRAYS["outs"])
        made = f.call(
            "ptr", fresh.name, f.own_storage, f.own_tensor, f.own_zero,
            f.slot(out, 0), f.load("i64", f.at(out, 8)), f.slot(out, 16), f.slot(out, 24),
        )  # fmt: skip
        f.leave(f.null(made), "undo")
        f.store(made, f.item(tensors, loop.index))
        f.store(f.call("i64", "@facula_as_i64", f.slot(made, layout.slots(Tensor)["ptr"])), f.item(words, loop.index))
    f.made.set(results)
    return results


def _start(f: Any, plan: Value, kernel: Value, words: Value, long: Value | None = None) -> None:
    """Calls a kernel with its arguments in words, by itself or through what starts it and may refuse."""
    run = f.slot(plan, AT["run"])
    with f.either(f.null(run)) as here:
        if long is None:
            f.emit(f"call void {kernel.name}(ptr {words.name})")
        else:
            with f.either(long) as alone:
                state = f.call("ptr", "@PyEval_SaveThread")
                f.emit(f"call void {kernel.name}(ptr {words.name})")
                f.call("void", "@PyEval_RestoreThread", state)
                alone.otherwise()
                f.emit(f"call void {kernel.name}(ptr {words.name})")
        here.otherwise()
        f.leave(f.call("i32", run.name, words, kernel).ne(0), "undo")


def _call_python(f: Any, plan: Value, results: Value, tensors: Value) -> None:
    """Calls what is no machine code with the addresses and numbers that it takes."""
    objects = f.alloca("ptr", RESULTS + SLOTS + TAIL)
    at = layout.slots(Tensor)["ptr"]
    slots, tail = (f.load("i64", f.at(plan, AT[name])) for name in ("slots", "tail"))
    with f.loop(0, results) as loop:
        f.store(f.slot(f.load("ptr", f.item(tensors, loop.index)), at), f.item(objects, loop.index))
    with f.loop(0, slots) as loop:
        code = f.load("i64", f.item(plan, loop.index, ARRAYS["sources"]))
        value = f.variable("ptr", f.load("ptr", f.item(f.args, code >> 2)))
        with f.when((code & 3).eq(_TENSOR)):
            value.set(f.slot(value.get(), at))
        f.store(value.get(), f.item(objects, results + loop.index))
    numbers, rest = f.slot(plan, AT["numbers"]), results + slots
    with f.loop(0, tail) as loop:
        f.store(f.slot(f.item(numbers, loop.index), layout.TUPLE_ITEMS), f.item(objects, rest + loop.index))
    function = f.slot(plan, AT["callable"])
    told = f.call("ptr", "@PyObject_Vectorcall", function, objects, rest + tail, f.constant("ptr", 0))
    f.leave(f.null(told), "undo")
    f.call("void", "@Py_DecRef", told)


def _run(f: Any, plan: Value, results: Value, tensors: Value, words: Value) -> None:
    """Gathers the kernel's arguments and calls it."""
    kernel = f.slot(plan, AT["kernel"])
    f.leave(f.null(kernel), "no.kernel")
    slots = f.load("i64", f.at(plan, AT["slots"]))
    with f.loop(0, slots) as loop:
        code = f.load("i64", f.item(plan, loop.index, ARRAYS["sources"]))
        source = f.load("ptr", f.item(f.args, code >> 2))
        word = f.variable("i64", 0)
        name = f.fresh("source")
        f.emit(
            f"switch i64 {(code & 3).name}, label %{name}.tensor "
            f"[i64 {_F64}, label %{name}.f64  i64 {_I64}, label %{name}.i64  i64 {_I32}, label %{name}.i32]"
        )
        f.label(f"{name}.tensor")
        word.set(f.call("i64", "@facula_as_i64", f.slot(source, layout.slots(Tensor)["ptr"])))
        f.branch(f"{name}.read")
        for label, reader in (
            ("f64", "double @facula_as_f64"),
            ("i64", "i64 @facula_as_i64"),
            ("i32", "i64 @facula_as_i32"),
        ):
            f.label(f"{name}.{label}")
            read = f.call(*reader.split(), source)
            word.set(f.value("i64", f"bitcast double {read.name} to i64") if label == "f64" else read)
            f.branch(f"{name}.check")
        f.label(f"{name}.check")  # -1 may mean an error
        odd = word.get().eq(-1) | word.get().eq(-4616189618054758400)
        with f.when(odd):
            error = f.call("ptr", "@PyErr_Occurred")
            f.leave(f.value("i1", f"icmp ne ptr {error.name}, null"), "undo")
        f.branch(f"{name}.read")
        f.label(f"{name}.read")
        f.store(word.get(), f.item(words, results + loop.index))
    tail = f.load("i64", f.at(plan, AT["tail"]))
    f.emit(
        f"call void @llvm.memcpy.p0.p0.i64(ptr {f.item(words, results + slots).name}, "
        f"ptr {f.at(plan, ARRAYS['sizes']).name}, i64 {(tail * 8).name}, i1 false)"
    )
    _start(f, plan, kernel, words, f.load("i64", f.at(plan, AT["long"])).ne(0))
    f.branch("after")
    f.label("no.kernel")
    f.leave(f.null(f.slot(plan, AT["callable"])), "after")
    _call_python(f, plan, results, tensors)
    f.branch("after")
    f.label("after")


def _steps(f: Entry, plan: Value, words: Value) -> None:
    """Calls one kernel after another: each reads one operand and writes a part of the result."""
    place = f.variable("ptr", f.at(plan, ARRAYS["sizes"]))
    start = f.load("i64", words)
    with f.loop(0, f.load("i64", f.at(plan, AT["slots"]))):
        step = place.get()
        source = f.load("ptr", f.item(f.args, f.load("i64", f.at(step, 16))))
        f.store(start + f.load("i64", f.at(step, 8)), words)
        f.store(f.call("i64", "@facula_as_i64", f.slot(source, layout.slots(Tensor)["ptr"])), f.at(words, 8))
        tail = f.load("i64", f.at(step, 24)) * 8
        f.emit(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {f.at(words, 16).name}, ptr {f.at(step, 32).name}, "
            f"i64 {tail.name}, i1 false)"
        )
        _start(f, plan, f.slot(step, 0), words)
        place.set(f.at(f.at(step, 32), tail))


def _tuple(f: Entry, size: Value | int) -> Value:
    made = f.call("ptr", "@PyTuple_New", size if isinstance(size, Value) else f.constant("i64", size))
    f.leave(f.null(made), "undo")
    return made


def _own(f: Entry, result: Value, edge: Value) -> None:
    """The result needs a gradient, which goes to an edge; takes over the reference."""
    at, true = layout.slots(Tensor), f.symbol_value("_Py_TrueStruct")
    for slot, value in (("edge", edge), ("needs_grad", f.count(true))):
        f.call("void", "@Py_DecRef", f.slot(result, at[slot]))
        f.store(value, f.at(result, at[slot]))


def _record(
    f: Any, plan: Value, kept: Value, made_tensors: Value, results: Value, given, tensors, form: "Form"
) -> None:
    """Gives the results a node, as `operators/declare/recording.py` does."""
    at, none = layout.slots(Tensor), f.symbol_value("_Py_NoneStruct")
    operands, node, output = form.operands, dict(form.node), dict(form.output)
    made = f.call("ptr", "@PyType_GenericAlloc", f.slot(plan, AT["node_class"]), f.constant("i64", 0))
    f.leave(f.null(made), "undo")
    f.node.set(made)
    # From here on the results own the node: whatever fails, dropping the results frees all. The slots must be filled
    # in the order in which they can be read, and an empty slot is no error for the collector.
    with f.either(results.eq(1)) as alone:
        _own(f, f.load("ptr", made_tensors), made)
        alone.otherwise()
        floats = f.load("i64", f.at(plan, AT["floats"]))
        with f.loop(0, results) as loop:
            with f.when(((floats >> loop.index) & 1).ne(0)):
                one = f.call("ptr", "@PyType_GenericAlloc", f.own_output, f.constant("i64", 0))
                f.leave(f.null(one), "undo.node")
                f.store(f.count(made), f.at(one, output["node"]))
                _own(f, f.load("ptr", f.item(made_tensors, loop.index)), one)
                number = f.call("ptr", "@PyLong_FromLongLong", loop.index)
                f.leave(f.null(number), "undo.node")
                f.store(number, f.at(one, output["number"]))
        f.call("void", "@Py_DecRef", made)

    def put(slot: str, value: Value, count: bool = True) -> None:
        f.store(f.count(value) if count else value, f.at(made, node[slot]))

    edges = _tuple(f, operands)
    put("edges", edges, count=False)
    for i in range(operands):
        edge = f.variable("ptr", none)
        with f.when(tensors[i]):
            needs = f.same(f.slot(given[i], at["needs_grad"]), f.symbol_value("_Py_TrueStruct"))
            with f.when(needs):
                with f.either(f.same(f.slot(given[i], at["base"]), none)) as whole:
                    own = f.slot(given[i], at["edge"])
                    edge.set(f.select(f.same(own, none), given[i], own))
                    f.count(edge.get())
                    whole.otherwise()
                    edge.set(f.call("ptr", "@PyObject_CallOneArg", f.own_edge_of, given[i]))
                    f.leave(f.null(edge.get()), "undo")
        with f.when(f.same(edge.get(), none)):
            f.count(none)
        f.store(edge.get(), f.item(edges, i, layout.TUPLE_ITEMS))
    put("outputs", f.slot(plan, AT["specs"]))
    put("plan", f.slot(plan, AT["plan"]))
    put("back", f.slot(kept, KEPT["back"]))
    put("pre_hooks", none)
    put("post_hooks", none)
    sequence = f.call("ptr", "@PyObject_CallNoArgs", f.own_sequence)
    f.leave(f.null(sequence), "undo")
    put("sequence", sequence, count=False)
    line = f.call("ptr", "@user_line", f.own_name)
    f.leave(f.null(line), "undo")
    put("line", line, count=False)
    saves = f.load("i64", f.at(kept, KEPT["count"]))
    held, versions = _tuple(f, saves), f.variable("ptr", none)
    put("saved", held, count=False)
    versions.set(_tuple(f, saves))
    put("versions", versions.get(), count=False)
    with f.loop(0, saves) as loop:
        which = f.load("i64", f.item(kept, loop.index, KEPT["saves"]))
        value = f.variable("ptr", none)
        with f.either(which < 0) as output:
            result = f.load("ptr", f.item(made_tensors, f.constant("i64", -1) - which))
            twin = f.call(
                "ptr", "@record", f.own_tensor, f.slot(result, at["spec"]), f.slot(result, at["storage"]),
                f.slot(result, at["ptr"]), f.own_zero,
            )  # fmt: skip
            f.leave(f.null(twin), "undo")
            f.count(f.slot(result, at["storage"]))
            f.count(f.slot(result, at["ptr"]))
            value.set(twin)
            output.otherwise()
            value.set(f.count(f.load("ptr", f.item(f.args, which))))
        f.store(value.get(), f.item(held, loop.index, layout.TUPLE_ITEMS))
        version = f.slot(f.slot(value.get(), at["storage"]), layout.slots(Storage)["version"])
        f.store(f.count(version), f.item(versions.get(), loop.index, layout.TUPLE_ITEMS))
    with f.either(f.load("i64", f.at(kept, KEPT["numbers"])).ne(0)) as numbers:
        values = _tuple(f, len(given))
        put("numbers", values, count=False)
        for i, value in enumerate(given):
            f.store(f.count(value), f.item(values, i, layout.TUPLE_ITEMS))
        numbers.otherwise()
        put("numbers", f.own_empty)


def user_line(inside: bytes) -> str:
    """`user_line(name key)`: (code, instruction) of the innermost frame whose module is not inside; None without."""
    f = Entry("user_line", "ptr key", "ptr")
    length = f.alloca("i64")
    none = f.symbol_value("_Py_NoneStruct")
    frame = f.variable("ptr", f.call("ptr", "@PyEval_GetFrame"))
    with f.when(f.value("i1", f"icmp ne ptr {frame.get().name}, null")):
        f.count(frame.get())
    f.branch("walk")
    f.label("walk")
    now = frame.get()
    f.leave(f.null(now), "outermost")
    names = f.call("ptr", "@PyFrame_GetGlobals", now)
    name = f.call("ptr", "@PyDict_GetItemWithError", names, f.key)
    f.call("void", "@Py_DecRef", names)  # the frame holds it
    f.leave(f.null(name), "found")
    unicode = f.same(f.slot(name, layout.TYPE), f.symbol_value("PyUnicode_Type"))
    f.leave(f.value("i1", f"xor i1 {unicode.name}, true"), "found")
    characters = f.call("ptr", "@PyUnicode_AsUTF8AndSize", name, length)
    f.leave(f.null(characters), "found")
    differs = f.call("i32", "@strncmp", characters, f.symbol_value("inside"), f.constant("i64", len(inside)))
    f.leave(differs.ne(0), "found")
    outer = f.call("ptr", "@PyFrame_GetBack", now)
    f.call("void", "@Py_DecRef", now)
    frame.set(outer)
    f.branch("walk")
    f.label("outermost")
    f.count(none)
    f.done(none)
    f.label("found")
    f.emit("call void @PyErr_Clear()")
    pair = f.call("ptr", "@PyTuple_New", f.constant("i64", 2))
    f.leave(f.null(pair), "failed")
    code = f.call("ptr", "@PyFrame_GetCode", now)
    instruction = f.call("i32", "@PyFrame_GetLasti", now)
    wide = f.value("i64", f"sext i32 {instruction.name} to i64")
    number = f.call("ptr", "@PyLong_FromLongLong", wide)
    f.call("void", "@Py_DecRef", now)
    f.store(code, f.item(pair, 0, layout.TUPLE_ITEMS))
    f.store(number, f.item(pair, 1, layout.TUPLE_ITEMS))
    f.branch("failed")
    f.label("failed")
    f.done(pair)
    return builtins.string("inside", inside.decode()) + f.text()


class Form(NamedTuple):
    """What the text of a builtin depends on; whether it records and asks for modes is told by its context."""

    operands: int
    fixed: tuple[bool, ...]  # for each argument: compared by identity
    node: tuple[tuple[str, int], ...]  # the slots of nodes; without, calls that would be recorded are not known
    inside: bytes
    steps: bool  # plans are lists of kernels
    output: tuple[tuple[str, int], ...]  # the slots of one of several results


@cache
def _text(form: Form) -> str:
    count, operands = len(form.fixed), form.operands
    f: Any = Entry("apply", "ptr self, ptr args, i64 given", "ptr", linkage="")
    words, made = f.alloca("i64", RESULTS + SLOTS + TAIL), f.alloca("ptr", RESULTS)
    f.made = f.variable("i64", 0)  # how many results there are, for `undo`
    f.node = f.variable("ptr", f.constant("ptr", 0))  # for `undo.node`
    f.leave(f.given.ne(count), "misfit")
    _words(f)
    with f.when(f.same(f.own_mode, f.symbol_value("_Py_TrueStruct"))):
        f.leave(f.load("i64", f.at(f.own_active, 16)).ne(0), "miss")  # the length of a list
    given, keys, tensors = _keys(f, count, form.fixed)
    plan = _look(f, keys)
    kept = f.variable("ptr", f.constant("ptr", 0))
    bare = f.same(f.own_mode, f.symbol_value("_Py_NoneStruct"))
    with f.when(f.value("i1", f"xor i1 {bare.name}, true")):
        mask = _wants(f, given, tensors, operands)
        if form.node:
            kept.set(_choice(f, plan, mask, operands))
        else:
            f.leave(mask.ne(0), "miss")
    owner = f.count(f.slot(plan, AT["owner"]))  # another thread may forget the call while a long kernel runs
    results = _results(f, plan, made, words)
    if form.steps:
        _steps(f, plan, words)
    else:
        _run(f, plan, results, made, words)
    if form.node:
        with f.when(f.value("i1", f"icmp ne ptr {kept.get().name}, null")):
            _record(f, plan, kept.get(), made, results, given, tensors, form)
    f.leave(results.eq(1), "one")
    several = _tuple(f, results)
    with f.loop(0, results) as loop:
        f.store(f.load("ptr", f.item(made, loop.index)), f.item(several, loop.index, layout.TUPLE_ITEMS))
    f.call("void", "@Py_DecRef", owner)
    f.done(several)
    f.label("one")
    f.call("void", "@Py_DecRef", owner)
    f.done(f.load("ptr", made))
    if form.node:
        f.label("undo.node")
        f.call("void", "@Py_DecRef", f.node.get())
        f.branch("undo")
    f.label("undo")  # out of memory, or a number that does not fit: an error is set
    with f.loop(0, f.made.get()) as loop:
        f.call("void", "@Py_DecRef", f.load("ptr", f.item(made, loop.index)))
    f.call("void", "@Py_DecRef", owner)
    f.emit("ret ptr null")
    f.label("misfit")
    f.done(f.call("ptr", "@facula_bad_count", f.symbol_value("title"), f.constant("i64", count), f.given))
    line = user_line(form.inside) if form.node else ""
    return f"{records.text()}\n{_DECLARATIONS}\n{builtins.string('title', 'apply')}\n{line}\n{f.text()}"


_CLASSES = (ctypes.c_int64 * CLASSES)(*[id(Tensor)] * CLASSES)


_publishing = lasting_lock()
_MET: list[type] = []  # keeps them alive


def _meet(kind: type) -> bool:
    """Whether machine code knows tensors of this class; there is room for a few subclasses."""
    if id(kind) not in list(_CLASSES):
        if len(_MET) == CLASSES - 1:
            return False
        _MET.append(kind)
        _CLASSES[len(_MET)] = id(kind)
    return True


def _builtin(form: Form, context: tuple) -> Callable[..., Any]:
    return builtins.make(jit.load(_text(form), ["apply"], optimize="clean")["apply"], "apply", None, context)


class Machine(NamedTuple):
    """What differs from target to target; called with the arguments of `Memo`, it makes one."""

    fresh: Callable[[], int]  # gives the address of what makes results: `records.makers`
    packed: Callable[[Callable, tuple], builtins.Packed | None]  # machine code of a plan's function and its tail
    # Gives the address of the function (words, address in `packed`) that starts kernels, where these are not called by
    # themselves: it returns 0, or something else with an error set. Then plans may also call what is no machine code.
    run: Callable[[], int] | None = None

    Recording = Recording

    def __call__(self, *arguments: Any, **options: Any) -> "Memo":
        return Memo(*arguments, **options)


class Memo:
    """Calls of one operator that machine code can repeat.

    `run(*arguments)` returns the result, or None for a call that is not known and while unusual modes are switched on;
    `force` and `bare` do not ask for modes; `bare` never records. `add` makes a call known.

    Parameters
    ----------
    operands : int
        How many of the arguments, from the first, are operands: tensors, numbers or None.
    numbers : int
        How many numbers follow.
    others : int
        How many constants follow (a dim, a bool, a spec, None), compared by identity.
    recording : Recording
    differentiable : bool
        Where there is no gradient, nothing is recorded and no mode counts.
    steps : bool
        Plans are lists of kernels, of which nothing is recorded: `run` knows no call of operands that need a gradient.
    """

    __slots__ = ("_count", "_held", "_moving", "_operands", "_places", "bare", "force", "run")

    def __init__(
        self, operands: int, numbers: int, others: int, recording: Recording, differentiable=True, steps=False
    ):
        self._operands, self._moving, self._count = operands, operands + numbers, operands + numbers + others
        self._places = (ctypes.c_int64 * WAYS)()
        self._held: dict[int, tuple[list[int], tuple]] = {}  # by place: the keys, and what the place points at
        fixed = (False,) * self._moving + (True,) * others
        node, output = (() if steps else tuple(layout.slots(t).items()) for t in (recording.node, recording.output))
        form = Form(operands, fixed, node, recording.inside, steps, output)
        context = (ctypes.addressof(self._places), ctypes.addressof(_CLASSES), Storage, Tensor, 0, (), "__name__")
        context += (recording.edge_of, recording.sequence, recording.active, recording.output)
        held = (self._places, self._held)  # a builtin may outlive its memo
        self.bare = _builtin(form, (*context, None, *held))
        self.run = self.force = self.bare
        if differentiable:
            self.force, self.run = (_builtin(form, (*context, asks, *held)) for asks in (False, True))

    def clear(self) -> None:
        """Forget all calls."""
        old = dict(self._held)
        self._held.clear()  # first, since `_publish` looks for its own after it has set a place
        ctypes.memset(self._places, 0, ctypes.sizeof(self._places))
        del old  # only now does nothing point at it

    def _keys(self, arguments: Sequence[Any]) -> list[Any] | None:
        """What the arguments of a call like this one must be; None where machine code cannot tell."""
        keys: list[Any] = []
        for number, argument in enumerate(arguments):
            kind = argument.__class__
            if number >= self._moving:
                own = kind in (bool, str) or (kind is int and -5 <= argument <= 256)  # numbers beyond have no identity
                keys.append(argument)
                if not own and kind.__eq__ is not object.__eq__:
                    return None
            elif isinstance(argument, Tensor):
                keys.append(argument.spec)
                if not _meet(kind) or argument.spec.kind is not None:
                    return None
            elif kind is float or kind is int:
                keys.append(kind)
            elif argument is None:
                keys.append(None)
            else:
                return None
        return keys

    def add(
        self, arguments: Sequence[Any], plan: Any, sources: Sequence[int], machine: Machine,
        node_class: type | None = None,
    ) -> bool:  # fmt: skip
        """Make the call known; False where machine code cannot do it.

        Parameters
        ----------
        arguments : the call's
        plan : object
            With `function` and `tail` as `launch.Bound` has them, `outs` (the specs of the results) and `backs`: by
            choice of operands that need a gradient what is kept (with `saves` and `numbers`), or None for nothing.
        sources : sequence of int
            For each argument of the kernel between results and sizes, the position among `arguments`.
        machine : Machine
            Where the plan's results are.
        node_class : type, optional
            Of the nodes to record.
        """
        function, outs, tail = plan.function, plan.outs, plan.tail
        packed = machine.packed(function, tail) if function is not None else None
        keys = self._keys(arguments) if len(arguments) == self._count else None
        if keys is None or len(outs) > RESULTS:
            return False
        if function is not None and packed is None and machine.run is None:
            return False
        if len(sources) > SLOTS or len(tail) > TAIL or len(arguments) > ARGUMENTS:
            return False
        if packed is not None and not all(kind in _READ for kind in packed.kinds[len(outs) : len(outs) + len(sources)]):
            return False
        block = (ctypes.c_int64 * WORDS)()
        self._head(block, keys, outs, machine)
        held: list[Any] = [plan, outs, node_class, function, tail, packed]
        recorded = node_class is not None and any(out.dtype.kind in "fc" for out in outs)
        words = {"plan": id(plan), "node_class": id(node_class), "specs": id(outs), "smooth": recorded}
        words["floats"] = sum(1 << i for i, out in enumerate(outs) if out.dtype.kind in "fc")
        words |= {"slots": len(sources), "tail": len(tail)}
        words |= {"numbers": id(tail), "callable": id(function) if function is not None and packed is None else 0}
        at = ARRAYS["sources"] // 8
        block[at : at + len(sources)] = [
            4 * source + (_TENSOR if isinstance(arguments[source], Tensor) else _NUMBER) for source in sources
        ]
        if packed is not None:
            values = [0] * len(outs) + [getattr(arguments[i], "ptr", arguments[i]) for i in sources] + list(tail)
            cost = packed.cost
            for number in packed.work:
                cost *= values[number]
            words |= {"kernel": packed.address, "long": cost > builtins.RELEASE_NS}
            block[at : at + len(sources)] = [
                4 * source + _READ[kind] for source, kind in zip(sources, packed.kinds[len(outs) :])
            ]
        at = ARRAYS["sizes"] // 8
        block[at : at + len(tail)] = [builtins.word(x) for x in tail] if packed is not None else [0] * len(tail)
        for name, value in words.items():
            block[AT[name] // 8] = value
        for mask, back in plan.backs.items() if self._operands <= RECORDED else ():
            saves = [-1 - i if is_output else i for is_output, i in back.saves] if back is not None else []
            numbers = back is not None and bool(back.numbers)
            kept = (ctypes.c_int64 * (len(saves) + 3))(id(back), numbers, len(saves), *saves)
            held += [back, kept]
            block[ARRAYS["backs"] // 8 + mask] = ctypes.addressof(kept)
        self._publish(block, keys, held)
        return True

    def add_steps(
        self, arguments: Sequence[Any], out: Spec, steps: Sequence[tuple[int, int, Callable, tuple]], machine: Machine
    ) -> bool:
        """Make a call known whose result is written piece by piece; False where machine code cannot do it.

        Each step is (the position of its operand, the offset in bytes of its piece, the kernel, its sizes).
        """
        keys = self._keys(arguments) if len(arguments) == self._count <= ARGUMENTS else None
        packed = [machine.packed(function, tail) for _, _, function, tail in steps]
        if keys is None or None in packed or sum(4 + len(tail) for *_, tail in steps) > TAIL:
            return False
        block = (ctypes.c_int64 * WORDS)()
        self._head(block, keys, (out,), machine)
        at = ARRAYS["sizes"] // 8
        for (position, offset, _, tail), code in zip(steps, filter(None, packed)):
            block[at : at + 4 + len(tail)] = [code.address, offset, position, len(tail), *tail]
            at += 4 + len(tail)
        block[AT["slots"] // 8] = len(steps)
        self._publish(block, keys, [out, *packed])
        return True

    @staticmethod
    def _head(block: Any, keys: list[Any], outs: Sequence[Spec], machine: Machine) -> None:
        """What every plan begins with: its keys, its results, its machine."""
        block[AT["fresh"] // 8], block[AT["run"] // 8] = machine.fresh(), machine.run() if machine.run else 0
        block[AT["results"] // 8] = len(outs)
        for i, key in enumerate(keys):
            block[ARRAYS["keys"] // 8 + i] = id(key)
        for i, out in enumerate(outs):
            at = ARRAYS["outs"] // 8 + 4 * i
            block[at : at + 4] = [id(out), out.nbytes, id(out.nbytes), id(out.device)]

    def _publish(self, block: Any, keys: list[Any], held: list[Any]) -> None:
        """Let calls find the plan, which lives as long as they can."""
        owner = (block, *keys, *held)
        block[AT["owner"] // 8] = id(owner)
        wanted = [id(key) for key in keys]
        if not _publishing.acquire(blocking=False):  # another thread, or one that is interrupted here: it is no loss
            return
        try:
            place = self._place(wanted)
            entry, old = (wanted, owner), self._held.get(place)
            self._held[place] = entry
            self._places[place] = ctypes.addressof(block)
            if self._held.get(place) is not entry:  # another thread forgot all calls meanwhile
                self._places[place] = 0
            del old  # only now does nothing point at it
        finally:
            _publishing.release()

    def _place(self, keys: list[int]) -> int:
        mixed = 0
        for key in keys:
            mixed = (key ^ mixed) * 0x9E3779B97F4A7C15 % (1 << 64)
        first = mixed >> (64 - WAYS.bit_length() + 1)
        ways = (first, first ^ 1)
        for place in ways:
            if place in self._held and self._held[place][0] == keys:
                return place
        return next((place for place in ways if place not in self._held), first)
