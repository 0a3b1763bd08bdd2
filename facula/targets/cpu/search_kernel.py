"""The LLVM text of binary search in sorted rows; knows neither Python nor the cache.

Several values are searched for side by side, so that their reads overlap; a step of the search has no branch.
"""

from .matmul_kernel import Function, Value, literal

__all__ = ["ARGUMENTS", "ELEMENTS", "module_text"]

ARGUMENTS = ("out", "sequence", "values", "rows", "n", "m", "row_step")
POINTERS = {"out", "sequence", "values"}
BLOCK = 1 << 12  # values of a task
LANES = 16  # values side by side
SIZES = {"float": 4, "double": 8, "half": 2, "i8": 1, "i16": 2, "i32": 4, "i64": 8}
# What elements are compared as: (memory, compared, what converts, prefix of the comparison)
ELEMENTS = {
    "f32": ("float", "float", "", "f"), "f64": ("double", "double", "", "f"), "i64": ("i64", "i64", "", "s"),
    "i32": ("i32", "i32", "", "s"), "i16": ("i16", "i16", "", "s"), "i8": ("i8", "i8", "", "s"),
    "u8": ("i8", "i8", "", "u"), "b1": ("i8", "i8", "", "u"), "u16": ("i16", "i16", "", "u"),
    "u32": ("i32", "i32", "", "u"), "u64": ("i64", "i64", "", "u"), "f16": ("half", "float", "fpext", "f"),
    "bf16": ("i16", "float", "bits", "f"),
}  # fmt: skip


def _wide(type: str, lanes: int) -> str:
    return type if lanes == 1 else f"<{lanes} x {type}>"


def _splat(f: Function, x: Value, lanes: int) -> Value:
    if lanes == 1:
        return x
    type = _wide(x.type, lanes)
    one = f.value(type, f"insertelement {type} poison, {x.type} {x.name}, i64 0")
    return f.value(type, f"shufflevector {type} {one.name}, {type} poison, <{lanes} x i32> zeroinitializer")


def _load(f: Function, code: str, at: Value, lanes: int) -> Value:
    """Elements from one address on, or from as many addresses, as they are compared."""
    memory, compared, how, _ = ELEMENTS[code]
    type, to = _wide(memory, lanes), _wide(compared, lanes)
    if at.type == "ptr":
        x = f.load(type, at, SIZES[memory])
    else:
        given = f"{at.type} align {SIZES[memory]} {at.name}, <{lanes} x i1> splat (i1 true), {type} zeroinitializer"
        x = f.value(type, f"call {type} @llvm.masked.gather.{_short(type)}.v{lanes}p0({given})")
    if how == "bits":
        whole = _wide("i32", lanes)
        wide = f.value(whole, f"zext {type} {x.name} to {whole}")
        wide = f.value(whole, f"shl {whole} {wide.name}, {literal(16, whole)}")
        return f.value(to, f"bitcast {whole} {wide.name} to {to}")
    return f.value(to, f"fpext {type} {x.name} to {to}") if how else x


def _short(type: str) -> str:
    scalar = type[1:-1].split(" x ")[1]
    return f"v{LANES}{ {'float': 'f32', 'double': 'f64', 'half': 'f16'}.get(scalar, scalar) }".replace(" ", "")


def _goes_on(f: Function, code: str, element: Value, value: Value, right: bool) -> Value:
    """Whether a place lies behind `element`: it is smaller than the value, or (`right`) not larger.

    As in PyTorch: not (element >= value), or not (element > value), so that a NaN is behind all.
    """
    kind = ELEMENTS[code][3]
    word = f"fcmp {'ule' if right else 'ult'}" if kind == "f" else f"icmp {kind}{'le' if right else 'lt'}"
    result = "i1" if element.type[0] != "<" else f"<{LANES} x i1>"
    return f.value(result, f"{word} {element.type} {element.name}, {value.name}")


def module_text(code: str, right: bool, result: str, attributes: str) -> str:
    """The module of one dtype, side and dtype of places (i64 or i32); its function `search` takes `ARGUMENTS`.

    `rows` rows of `n` sorted elements, `row_step` apart, and of `m` values each.
    """
    memory = ELEMENTS[code][0]
    f = Function("search_block", "ptr record, i64 number", attributes=attributes)

    def field(name: str) -> Value:
        return f.load("ptr" if name in POINTERS else "i64", f.at(f.record, 8 * ARGUMENTS.index(name)))

    def item(base: Value, i: Value, type: str) -> Value:
        return f.value("ptr", f"getelementptr {type}, ptr {base.name}, i64 {i.name}")

    n, m = field("n"), field("m")
    blocks = (m + (BLOCK - 1)) // BLOCK
    row, block = f.number // blocks, f.number % blocks
    base = item(field("sequence"), row * field("row_step"), memory)
    values = item(field("values"), row * m, memory)
    out = item(field("out"), row * m, result)
    start = block * BLOCK
    end = f.least(start + BLOCK, m)

    def search(first: Value, lanes: int) -> None:
        places = _wide("i64", lanes)
        value = _load(f, code, item(values, first, memory), lanes)
        low, high = f.variable(places, 0), f.variable(places, _splat(f, n, lanes))
        last = _splat(f, n - 1, lanes)
        left = f.variable("i64", n)  # of the longest interval that may be left
        name = f.fresh("search")
        f.branch(f"{name}.head")
        f.label(f"{name}.head")
        size = left.get()
        f.emit(f"br i1 {(size > 0).name}, label %{name}.body, label %{name}.end")
        f.label(f"{name}.body")
        least, most = low.get(), high.get()
        middle = least + ((most - least) >> 1)
        inside = f.least(middle, last)
        at = f.value(_wide("ptr", lanes), f"getelementptr {memory}, ptr {base.name}, {places} {inside.name}")
        on = _goes_on(f, code, _load(f, code, at, lanes), value, right) & (least < most)
        low.set(f.select(on, middle + 1, least))
        high.set(f.select(on, most, middle))
        left.set(size >> 1)
        f.branch(f"{name}.head")
        f.label(f"{name}.end")
        found = low.get()
        if result != "i64":
            found = f.value(_wide(result, lanes), f"trunc {places} {found.name} to {_wide(result, lanes)}")
        f.store(found, item(out, first, result), align=SIZES[result])

    whole = start + ((end - start) & -LANES)
    with f.loop(start, whole, LANES) as loop:
        search(loop.index, LANES)
    with f.loop(whole, end) as loop:
        search(loop.index, 1)
    f.done()
    entry = Function(
        "search", ", ".join(f"{'ptr' if a in POINTERS else 'i64'} {a}" for a in ARGUMENTS), attributes=attributes,
        linkage="external",
    )  # fmt: skip
    record = entry.alloca("i64", len(ARGUMENTS))
    for i, name in enumerate(ARGUMENTS):
        entry.store(getattr(entry, name), entry.at(record, 8 * i))
    tasks = entry.rows * ((entry.m + (BLOCK - 1)) // BLOCK)
    entry.emit(f"call void @facula_parallel(ptr @search_block, ptr {record.name}, i64 {tasks.name})")
    entry.done()
    many = _wide(memory, LANES)
    gather = f"declare {many} @llvm.masked.gather.{_short(many)}.v{LANES}p0(<{LANES} x ptr>, <{LANES} x i1>, {many})"
    return "\n\n".join(["declare void @facula_parallel(ptr, ptr, i64)", gather, f.text(), entry.text()])
