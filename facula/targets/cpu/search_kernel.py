"""The LLVM text of binary search in sorted rows; knows neither Python nor the cache.

Several values are searched for side by side, so that their reads overlap; a step of the search has no branch.
"""

from .matmul_kernel import Function, Value

__all__ = ["ARGUMENTS", "ELEMENTS", "module_text"]

ARGUMENTS = ("out", "sequence", "values", "rows", "n", "m", "row_step")
POINTERS = {"out", "sequence", "values"}
BLOCK = 1 << 12  # values of a task
LANES = 8  # values side by side
# What elements are compared as: (memory, compared, what converts, prefix of the comparison)
ELEMENTS = {
    "f32": ("float", "float", "", "f"), "f64": ("double", "double", "", "f"), "i64": ("i64", "i64", "", "s"),
    "i32": ("i32", "i32", "", "s"), "i16": ("i16", "i16", "", "s"), "i8": ("i8", "i8", "", "s"),
    "u8": ("i8", "i8", "", "u"), "b1": ("i8", "i8", "", "u"), "f16": ("half", "float", "fpext", "f"),
    "bf16": ("i16", "float", "bits", "f"),
}  # fmt: skip


def _load(f: Function, code: str, at: Value) -> Value:
    memory, compared, how, _ = ELEMENTS[code]
    x = f.load(memory, at)
    if how == "bits":
        wide = f.value("i32", f"zext i16 {x.name} to i32")
        wide = f.value("i32", f"shl i32 {wide.name}, 16")
        return f.value("float", f"bitcast i32 {wide.name} to float")
    return f.value(compared, f"fpext {memory} {x.name} to {compared}") if how else x


def _goes_on(f: Function, code: str, element: Value, value: Value, right: bool) -> Value:
    """Whether a place lies behind `element`: it is smaller than the value, or (`right`) not larger.

    As in PyTorch: not (element >= value), or not (element > value), so that a NaN is behind all.
    """
    kind = ELEMENTS[code][3]
    if kind == "f":
        word = f"fcmp {'ule' if right else 'ult'}"
    else:
        word = f"icmp {kind}{'le' if right else 'lt'}"
    return f.value("i1", f"{word} {element.type} {element.name}, {value.name}")


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
        wanted = [_load(f, code, item(values, first + k, memory)) for k in range(lanes)]
        lows = [f.variable("i64", 0) for _ in range(lanes)]
        highs = [f.variable("i64", n) for _ in range(lanes)]
        left = f.variable("i64", n)  # of the longest interval that may be left
        name = f.fresh("search")
        f.branch(f"{name}.head")
        f.label(f"{name}.head")
        size = left.get()
        f.emit(f"br i1 {(size > 0).name}, label %{name}.body, label %{name}.end")
        f.label(f"{name}.body")
        for value, low, high in zip(wanted, lows, highs):
            least, most = low.get(), high.get()
            middle = least + ((most - least) >> 1)
            on = _goes_on(f, code, _load(f, code, item(base, f.least(middle, n - 1), memory)), value, right)
            on = on & (least < most)
            low.set(f.select(on, middle + 1, least))
            high.set(f.select(on, most, middle))
        left.set(size >> 1)
        f.branch(f"{name}.head")
        f.label(f"{name}.end")
        for k, low in enumerate(lows):
            found = low.get()
            found = found if result == "i64" else f.value(result, f"trunc i64 {found.name} to {result}")
            f.store(found, item(out, first + k, result))

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
    return "\n\n".join(["declare void @facula_parallel(ptr, ptr, i64)", f.text(), entry.text()])
