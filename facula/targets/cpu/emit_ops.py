"""One operation on vectors as LLVM instructions: a table from the names of `ir.expr.OPS` to functions that write text.

Transcendental functions are not here: `codegen` expands them before.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir.expr import Expr

from .emit_code import Code, literal, mangle, register, vector

if TYPE_CHECKING:
    from facula.core.float8 import Format

__all__ = ["OPERATIONS", "cast", "operation"]

Writer = Callable[[Code, dtype, str, int, list[str]], str]  # (code, operands' dtype, their LLVM type, lanes, operands)


def constant(value: bool | int | float, t: dtype, lanes: int) -> str:
    """A literal in all lanes."""
    text = literal(value, t)
    return text if lanes == 1 else f"splat ({register(t)} {text})"


def _by_kind(**instructions: str) -> Writer:
    """A binary instruction chosen by the kind of dtype (b u i f)."""

    def write(c: Code, t: dtype, ty: str, lanes: int, a: list[str]) -> str:
        return c.let(f"{instructions[t.kind]} {ty} {a[0]}, {a[1]}")

    return write


def _intrinsic(name: str, **by_kind: str) -> Writer:
    def write(c: Code, t: dtype, ty: str, lanes: int, a: list[str]) -> str:
        return c.intrinsic(by_kind.get(t.kind, name), ty, *a)

    return write


def _compare(f: str, u: str, i: str) -> Writer:
    predicates = {"f": f"fcmp {f}", "u": f"icmp {u}", "b": f"icmp {u}", "i": f"icmp {i}"}

    def write(c: Code, t: dtype, ty: str, lanes: int, a: list[str]) -> str:
        return c.let(f"{predicates[t.kind]} {ty} {a[0]}, {a[1]}")

    return write


def select(c: Code, condition: str, ty: str, lanes: int, a: str, b: str) -> str:
    """`a` where the condition holds, else `b`; lane by lane."""
    return c.let(f"select {vector('i1', lanes)} {condition}, {ty} {a}, {ty} {b}")


def _neg(c, t, ty, lanes, a):
    return c.let(f"fneg {ty} {a[0]}" if t.kind == "f" else f"sub {ty} {constant(0, t, lanes)}, {a[0]}")


def _abs(c, t, ty, lanes, a):
    if t.kind == "f":
        return c.intrinsic("fabs", ty, a[0])
    if t.kind == "u":
        return a[0]
    return c.call(ty, f"llvm.abs.{mangle(ty)}", (ty, a[0]), ("i1", "false"))


def _sign(c, t, ty, lanes, a):
    zero, one = constant(0, t, lanes), constant(1, t, lanes)
    above = c.let(f"{'fcmp ogt' if t.kind == 'f' else 'icmp ugt' if t.kind == 'u' else 'icmp sgt'} {ty} {a[0]}, {zero}")
    positive = select(c, above, ty, lanes, one, zero)
    if t.kind == "u":
        return positive
    below = c.let(f"{'fcmp olt' if t.kind == 'f' else 'icmp slt'} {ty} {a[0]}, {zero}")
    return select(c, below, ty, lanes, constant(-1, t, lanes), positive)


def _extreme(greater: bool) -> Writer:
    """maximum or minimum: NaN of either operand wins."""
    word = "max" if greater else "min"

    def write(c, t, ty, lanes, a):
        if t.kind == "b":
            return c.let(f"{'or' if greater else 'and'} {ty} {a[0]}, {a[1]}")
        if t.kind in "ui":
            return c.intrinsic(f"{t.kind.replace('i', 's')}{word}", ty, *a)
        first = c.let(f"fcmp {'ogt' if greater else 'olt'} {ty} {a[0]}, {a[1]}")
        best = select(c, first, ty, lanes, a[0], a[1])
        nan = c.let(f"fcmp uno {ty} {a[0]}, {a[0]}")
        return select(c, nan, ty, lanes, a[0], best)

    return write


def _signbit(c, t, ty, lanes, a):
    if t.kind == "u":
        return constant(False, dt.bool_, lanes)
    integer = ty
    if t.kind == "f":
        integer = vector(f"i{t.itemsize * 8}", lanes)
        a = [c.let(f"bitcast {ty} {a[0]} to {integer}")]
    return c.let(f"icmp slt {integer} {a[0]}, zeroinitializer" if lanes > 1 else f"icmp slt {integer} {a[0]}, 0")


def _isinf(c, t, ty, lanes, a):
    return c.let(f"fcmp oeq {ty} {c.intrinsic('fabs', ty, a[0])}, {constant(float('inf'), t, lanes)}")


def _isnan(c, t, ty, lanes, a):
    return c.let(f"fcmp uno {ty} {a[0]}, {a[0]}")


def _not(c, t, ty, lanes, a):
    return c.let(f"xor {ty} {a[0]}, {constant(True if t.kind == 'b' else -1, t, lanes)}")


def _shift(left: bool) -> Writer:
    """Shifts by less than 0 or by the width or more: 0, or for >> of signed types the sign, as in PyTorch."""

    def write(c, t, ty, lanes, a):
        bits = t.itemsize * 8
        inside = c.let(f"icmp ult {ty} {a[1]}, {constant(bits, t, lanes)}")
        if left or t.kind == "u":
            by = select(c, inside, ty, lanes, a[1], constant(0, t, lanes))
            moved = c.let(f"{'shl' if left else 'lshr'} {ty} {a[0]}, {by}")
            return select(c, inside, ty, lanes, moved, constant(0, t, lanes))
        by = select(c, inside, ty, lanes, a[1], constant(bits - 1, t, lanes))
        return c.let(f"ashr {ty} {a[0]}, {by}")

    return write


def _rsqrt(c, t, ty, lanes, a):
    return c.let(f"fdiv {ty} {constant(1, t, lanes)}, {c.intrinsic('sqrt', ty, a[0])}")


def _nextafter(c, t, ty, lanes, a):
    x, y = a
    bits = {4: dt.int32, 8: dt.int64}[t.itemsize]
    ity = vector(register(bits), lanes)
    zero = constant(0, t, lanes)
    number = c.let(f"bitcast {ty} {x} to {ity}")
    up = c.let(f"fcmp olt {ty} {x}, {y}")
    positive = c.let(f"fcmp ogt {ty} {x}, {zero}")
    away = c.let(f"icmp eq {vector('i1', lanes)} {up}, {positive}")
    step = select(c, away, ity, lanes, constant(1, bits, lanes), constant(-1, bits, lanes))
    moved = c.let(f"bitcast {ity} {c.let(f'add {ity} {number}, {step}')} to {ty}")
    tiny = (
        c.let(f"bitcast {ity} {constant(1, bits, lanes)} to {ty}") if lanes > 1 else c.let(f"bitcast {ity} 1 to {ty}")
    )
    from_zero = c.intrinsic("copysign", ty, tiny, y)
    result = select(c, c.let(f"fcmp oeq {ty} {x}, {zero}"), ty, lanes, from_zero, moved)
    result = select(c, c.let(f"fcmp oeq {ty} {x}, {y}"), ty, lanes, y, result)
    return select(c, c.let(f"fcmp uno {ty} {x}, {y}"), ty, lanes, c.let(f"fadd {ty} {x}, {y}"), result)


def _quotient(c: Code, t: dtype, ty: str, lanes: int, a: str, b: str) -> tuple[str, str]:
    """Integer a / b towards zero and what remains; 0 and 0 where b is 0, and no lane ever traps."""
    zero, one = constant(0, t, lanes), constant(1, t, lanes)
    none = c.let(f"icmp eq {ty} {b}, {zero}")
    safe = select(c, none, ty, lanes, one, b)
    if t.kind == "i":  # the lowest integer / -1 wraps around: divide by 1 and negate
        minus = c.let(f"icmp eq {ty} {b}, {constant(-1, t, lanes)}")
        safe = select(c, minus, ty, lanes, one, safe)
    letter = "u" if t.kind == "u" else "s"
    if lanes > 1 and t.itemsize == 8:
        q = _long_quotient(c, ty, lanes, a, safe, letter)
    elif lanes > 1:  # vectors have no integer division; the next float type's is exact enough
        wide = vector("float" if t.itemsize < 4 else "double", lanes)
        x, y = (c.let(f"{letter}itofp {ty} {v} to {wide}") for v in (a, safe))
        q = c.let(f"fpto{letter}i {wide} {c.let(f'fdiv {wide} {x}, {y}')} to {ty}")
    else:
        q = c.let(f"{letter}div {ty} {a}, {safe}")
    if t.kind == "i":
        q = select(c, minus, ty, lanes, c.let(f"sub {ty} {zero}, {q}"), q)
    q = select(c, none, ty, lanes, zero, q)
    r = c.let(f"sub {ty} {a}, {c.let(f'mul {ty} {q}, {b}')}")
    return q, select(c, none, ty, lanes, zero, r)


def _long_quotient(c: Code, ty: str, lanes: int, a: str, b: str, letter: str) -> str:
    """a / b towards zero of 64-bit integers, b not 0: as float64 where all lie within 2**52, else one by one."""
    wide, border = vector("double", lanes), constant(1 << 52, dt.int64, lanes)
    middle = (a, b) if letter == "u" else [c.let(f"add {ty} {v}, {border}") for v in (a, b)]
    near = [c.let(f"icmp ult {ty} {v}, {constant(1 << 53, dt.int64, lanes)}") for v in middle]
    inside = c.let(f"and <{lanes} x i1> {near[0]}, {near[1]}")
    low, one = (select(c, inside, ty, lanes, v, constant(k, dt.int64, lanes)) for v, k in ((a, 0), (b, 1)))
    x, y = (c.let(f"sitofp {ty} {v} to {wide}") for v in (low, one))
    quick = c.let(f"fptosi {wide} {c.let(f'fdiv {wide} {x}, {y}')} to {ty}")
    every = c.let(f"icmp eq i{lanes} {c.let(f'bitcast <{lanes} x i1> {inside} to i{lanes}')}, -1")
    before = c.label
    with c.when(c.let(f"xor i1 {every}, true"), rare=True):
        slow = c.let(f"{letter}div {ty} {a}, {b}")
        after = c.label
    return c.let(f"phi {ty} [ {quick}, %{before} ], [ {slow}, %{after} ]")


def _frem(c: Code, ty: str, a: list[str]) -> str:
    return c.let(f"frem {ty} {a[0]}, {a[1]}")


def _sign_differs(c: Code, ty: str, zero: str, r: str, b: str) -> str:
    """Where r is not 0 and its sign is not b's; float form."""
    nonzero = c.let(f"fcmp une {ty} {r}, {zero}")
    lanes = int(ty[1:].split()[0]) if ty[0] == "<" else 1
    i1 = vector("i1", lanes)
    signs = c.let(f"xor {i1} {c.let(f'fcmp olt {ty} {b}, {zero}')}, {c.let(f'fcmp olt {ty} {r}, {zero}')}")
    return c.let(f"and {i1} {nonzero}, {signs}")


def _floor_fix(c: Code, t: dtype, ty: str, lanes: int, r: str, b: str) -> str:
    """Where an integer remainder towards zero must be moved to get the one towards minus infinity."""
    zero = constant(0, t, lanes)
    nonzero = c.let(f"icmp ne {ty} {r}, {zero}")
    differ = c.let(f"icmp slt {ty} {c.let(f'xor {ty} {r}, {b}')}, {zero}")
    return c.let(f"and {vector('i1', lanes)} {nonzero}, {differ}")


def _floordiv(c, t, ty, lanes, a):
    zero = constant(0, t, lanes)
    if t.kind != "f":
        q, r = _quotient(c, t, ty, lanes, *a)
        if t.kind == "u":
            return q
        lower = c.let(f"sub {ty} {q}, {constant(1, t, lanes)}")
        return select(c, _floor_fix(c, t, ty, lanes, r, a[1]), ty, lanes, lower, q)
    mod = _frem(c, ty, a)
    div = c.let(f"fdiv {ty} {c.let(f'fsub {ty} {a[0]}, {mod}')}, {a[1]}")
    lower = c.let(f"fsub {ty} {div}, {constant(1, t, lanes)}")
    div = select(c, _sign_differs(c, ty, zero, mod, a[1]), ty, lanes, lower, div)
    floor = c.intrinsic("floor", ty, div)
    far = c.let(f"fcmp ogt {ty} {c.let(f'fsub {ty} {div}, {floor}')}, {constant(0.5, t, lanes)}")
    floor = select(c, far, ty, lanes, c.let(f"fadd {ty} {floor}, {constant(1, t, lanes)}"), floor)
    ratio = c.let(f"fdiv {ty} {a[0]}, {a[1]}")
    nothing = c.intrinsic("copysign", ty, zero, ratio)
    result = select(c, c.let(f"fcmp oeq {ty} {div}, {zero}"), ty, lanes, nothing, floor)
    return select(c, c.let(f"fcmp oeq {ty} {a[1]}, {zero}"), ty, lanes, ratio, result)


def _remainder(c, t, ty, lanes, a):
    if t.kind != "f":
        _, r = _quotient(c, t, ty, lanes, *a)
        if t.kind == "u":
            return r
        return select(c, _floor_fix(c, t, ty, lanes, r, a[1]), ty, lanes, c.let(f"add {ty} {r}, {a[1]}"), r)
    mod = _frem(c, ty, a)
    fix = _sign_differs(c, ty, constant(0, t, lanes), mod, a[1])
    return select(c, fix, ty, lanes, c.let(f"fadd {ty} {mod}, {a[1]}"), mod)


def _truncdiv(c, t, ty, lanes, a):
    if t.kind != "f":
        return _quotient(c, t, ty, lanes, *a)[0]
    return c.intrinsic("trunc", ty, c.let(f"fdiv {ty} {a[0]}, {a[1]}"))


def _fmod(c, t, ty, lanes, a):
    return _quotient(c, t, ty, lanes, *a)[1] if t.kind != "f" else _frem(c, ty, a)


POWER = """define internal i64 @power(i64 %a, i64 %b) nounwind {
entry:
  %negative = icmp slt i64 %b, 0
  br i1 %negative, label %inverse, label %head
inverse:
  %one = icmp eq i64 %a, 1
  %minus = icmp eq i64 %a, -1
  %odd = and i64 %b, 1
  %twice = shl i64 %odd, 1
  %sign = sub i64 1, %twice
  %s = select i1 %minus, i64 %sign, i64 0
  %i = select i1 %one, i64 1, i64 %s
  ret i64 %i
head:
  %r = phi i64 [ 1, %entry ], [ %r2, %body ]
  %x = phi i64 [ %a, %entry ], [ %x2, %body ]
  %n = phi i64 [ %b, %entry ], [ %n2, %body ]
  %more = icmp ne i64 %n, 0
  br i1 %more, label %body, label %done
body:
  %bit = trunc i64 %n to i1
  %rx = mul i64 %r, %x
  %r2 = select i1 %bit, i64 %rx, i64 %r
  %x2 = mul i64 %x, %x
  %n2 = lshr i64 %n, 1
  br label %head
done:
  ret i64 %r
}"""


def _lanes(c: Code, lanes: int, scalar: str, result: str, call: Callable[..., str], args: list[str]) -> str:
    """`call` on each lane by itself."""
    if lanes == 1:
        return call(*args)
    total = "poison"
    ty = vector(scalar, lanes)
    for k in range(lanes):
        one = call(*(c.let(f"extractelement {ty} {a}, i64 {k}") for a in args))
        total = c.let(f"insertelement {vector(result, lanes)} {total}, {result} {one}, i64 {k}")
    return total


def _pow(c, t, ty, lanes, a):
    """Integer powers by squaring; float powers are expanded before."""
    name, text = "power", POWER
    if t is dt.uint64:  # whose exponents are never negative
        name, text = "power.unsigned", POWER.replace("@power", "@power.unsigned").replace("icmp slt", "icmp ult")
    c.helpers[name] = text
    scalar, extend = register(t), "zext" if t.kind == "u" else "sext"

    def one(x: str, y: str) -> str:
        if t.itemsize == 8:
            return c.call("i64", name, ("i64", x), ("i64", y))
        x, y = (c.let(f"{extend} {scalar} {v} to i64") for v in (x, y))
        return c.let(f"trunc i64 {c.call('i64', 'power', ('i64', x), ('i64', y))} to {scalar}")

    return _lanes(c, lanes, scalar, scalar, one, a)


OPERATIONS: dict[str, Writer] = {
    "add": _by_kind(f="fadd", u="add", i="add", b="or"), "sub": _by_kind(f="fsub", u="sub", i="sub"),
    "mul": _by_kind(f="fmul", u="mul", i="mul", b="and"), "div": _by_kind(f="fdiv"), "neg": _neg,
    "fma": _intrinsic("fma"),
    "floordiv": _floordiv, "remainder": _remainder, "truncdiv": _truncdiv, "fmod": _fmod,
    "abs": _abs, "sign": _sign, "maximum": _extreme(True), "minimum": _extreme(False),
    "fmax": _intrinsic("maxnum"), "fmin": _intrinsic("minnum"),
    "floor": _intrinsic("floor"), "ceil": _intrinsic("ceil"), "trunc": _intrinsic("trunc"),
    "round": _intrinsic("roundeven"), "copysign": _intrinsic("copysign"), "nextafter": _nextafter,
    "eq": _compare("oeq", "eq", "eq"), "ne": _compare("une", "ne", "ne"),
    "lt": _compare("olt", "ult", "slt"), "le": _compare("ole", "ule", "sle"),
    "gt": _compare("ogt", "ugt", "sgt"), "ge": _compare("oge", "uge", "sge"),
    "isnan": _isnan, "isinf": _isinf, "signbit": _signbit,
    "and": _by_kind(b="and", u="and", i="and"), "or": _by_kind(b="or", u="or", i="or"),
    "xor": _by_kind(b="xor", u="xor", i="xor"), "not": _not, "shl": _shift(True), "shr": _shift(False),
    "sqrt": _intrinsic("sqrt"), "rsqrt": _rsqrt, "pow": _pow,
}  # fmt: skip


def operation(c: Code, node: Expr, lanes: int, args: list[str]) -> str:
    """The instructions of `node` on `lanes` lanes."""
    t = node.args[0].dtype
    ty = vector(register(t), lanes)
    match node.op:
        case "cast":
            return cast(c, args[0], t, node.dtype, lanes)
        case "bitcast":
            to = vector(register(node.dtype), lanes)
            return args[0] if to == ty else c.let(f"bitcast {ty} {args[0]} to {to}")
        case "select":
            return select(c, args[0], vector(register(node.dtype), lanes), lanes, args[1], args[2])
    return OPERATIONS[node.op](c, t, ty, lanes, args)


# Casts ----------------------------------------------------------------------------------------------------------------


def cast(c: Code, value: str, source: dtype, target: dtype, lanes: int) -> str:
    """`value` of `source` as `target`, as PyTorch converts on x86."""
    if source is target:
        return value
    if source.code == "f16":
        value, source = c.let(f"fpext {vector('half', lanes)} {value} to {vector('float', lanes)}"), dt.float32
        return cast(c, value, source, target, lanes)
    if source.code == "bf16":
        return cast(c, _from_bfloat(c, value, lanes), dt.float32, target, lanes)
    if source in dt.FLOAT8:
        return cast(c, _from_float8(c, value, _format(source), lanes), dt.float32, target, lanes)
    if target in dt.STORED_ONLY:
        value = cast(c, value, source, dt.float32, lanes)
        if target in dt.FLOAT8:
            return _to_float8(c, value, _format(target), lanes)
        if target.code == "bf16":
            return _to_bfloat(c, value, lanes)
        return c.let(f"fptrunc {vector('float', lanes)} {value} to {vector('half', lanes)}")
    s, t = vector(register(source), lanes), vector(register(target), lanes)
    if target.kind == "b":
        return c.let(f"{'fcmp une' if source.kind == 'f' else 'icmp ne'} {s} {value}, {constant(0, source, lanes)}")
    if source.kind == "f" and target.kind == "f":
        return c.let(f"{'fpext' if target.itemsize > source.itemsize else 'fptrunc'} {s} {value} to {t}")
    if target.kind == "f":
        return c.let(f"{'sitofp' if source.kind == 'i' else 'uitofp'} {s} {value} to {t}")
    if source.kind == "f":
        return _float_to_int(c, value, source, target, lanes)
    if s == t:
        return value
    if target.itemsize < source.itemsize:
        return c.let(f"trunc {s} {value} to {t}")
    return c.let(f"{'sext' if source.kind == 'i' else 'zext'} {s} {value} to {t}")


def _float_to_int(c: Code, value: str, source: dtype, target: dtype, lanes: int) -> str:
    """Towards zero; what does not fit becomes the lowest integer of the type it passes through, as cvtt does."""
    if target is dt.uint64:
        return _float_to_uint64(c, value, source, lanes)
    if target.kind == "i":
        wide = dt.int64 if target.itemsize == 8 else dt.int32
    else:
        wide = dt.int64 if target.itemsize == 4 or (target.itemsize == 1 and source.itemsize == 8) else dt.int32
    s, w = vector(register(source), lanes), vector(register(wide), lanes)
    limit = 2.0 ** (wide.itemsize * 8 - 1)
    above = c.let(f"fcmp oge {s} {value}, {constant(-limit, source, lanes)}")
    below = c.let(f"fcmp olt {s} {value}, {constant(limit, source, lanes)}")
    fits = c.let(f"and {vector('i1', lanes)} {above}, {below}")
    inside = select(c, fits, s, lanes, value, constant(0, source, lanes))
    number = c.let(f"fptosi {s} {inside} to {w}")
    number = select(c, fits, w, lanes, number, constant(-(2 ** (wide.itemsize * 8 - 1)), wide, lanes))
    t = vector(register(target), lanes)
    return number if t == w else c.let(f"trunc {w} {number} to {t}")


def _float_to_uint64(c: Code, value: str, source: dtype, lanes: int) -> str:
    """By way of int64, from 2**63 on with that much taken off."""
    s, w = vector(register(source), lanes), vector("i64", lanes)
    large = c.let(f"fcmp oge {s} {value}, {constant(2.0**63, source, lanes)}")
    rest = c.let(f"fsub {s} {value}, {constant(2.0**63, source, lanes)}")
    low = _float_to_int(c, select(c, large, s, lanes, rest, value), source, dt.int64, lanes)
    return select(c, large, w, lanes, c.let(f"xor {w} {low}, {constant(-(2**63), dt.int64, lanes)}"), low)


def _format(t: dtype) -> "Format":
    from facula.core.float8 import FORMATS  # rare

    return FORMATS[t.name]


def _from_float8(c: Code, code: str, f: "Format", lanes: int) -> str:
    """The float32 of an 8-bit float: its digits put in place, and the other bias multiplied away."""
    i32, f32 = vector("i32", lanes), vector("float", lanes)

    def number(n: int) -> str:
        return constant(n, dt.int32, lanes)

    wide = c.let(f"zext {vector('i8', lanes)} {code} to {i32}")
    if f.powers:
        bits = c.let(f"shl {i32} {wide}, {number(23)}")
        least = select(c, c.let(f"icmp eq {i32} {wide}, {number(0)}"), i32, lanes, number(1 << 22), bits)
        nan = c.let(f"icmp eq {i32} {wide}, {number(f.nan)}")
        return c.let(f"bitcast {i32} {select(c, nan, i32, lanes, number(0x7FC00000), least)} to {f32}")
    size = c.let(f"and {i32} {wide}, {number(0x7F)}")
    small = c.let(f"bitcast {i32} {c.let(f'shl {i32} {size}, {number(23 - f.mantissa)}')} to {f32}")
    value = c.let(f"fmul {f32} {small}, {constant(2.0 ** (127 - f.bias), dt.float32, lanes)}")
    if f.infinity is not None:
        infinite = c.let(f"icmp eq {i32} {size}, {number(f.infinity)}")
        value = select(c, infinite, f32, lanes, constant(float("inf"), dt.float32, lanes), value)
    sign = c.let(f"shl {i32} {c.let(f'and {i32} {wide}, {number(0x80)}')}, {number(24)}")
    signed = c.let(f"or {i32} {c.let(f'bitcast {f32} {value} to {i32}')}, {sign}")
    if f.unsigned_zero:
        nan = c.let(f"icmp eq {i32} {wide}, {number(f.nan)}")
    else:
        nan = c.let(f"icmp ugt {i32} {size}, {number(f.nan - 1 if f.infinity is None else f.infinity)}")
    return c.let(f"bitcast {i32} {select(c, nan, i32, lanes, number(0x7FC00000), signed)} to {f32}")


def _to_float8(c: Code, value: str, f: "Format", lanes: int) -> str:
    """Rounded to nearest even, as `core.float8.encode`."""
    i32, f32 = vector("i32", lanes), vector("float", lanes)

    def number(n: int) -> str:
        return constant(n, dt.int32, lanes)

    def test(word: str, a: str, n: int) -> str:
        return c.let(f"icmp {word} {i32} {a}, {number(n)}")

    def step(word: str, a: str, b: str | int) -> str:
        return c.let(f"{word} {i32} {a}, {b if isinstance(b, str) else number(b)}")

    bits = c.let(f"bitcast {f32} {value} to {i32}")
    if f.powers:
        exponent = step("and", step("lshr", bits, 23), 0xFF)
        i1, half = vector("i1", lanes), test("ne", step("and", bits, 0x400000), 0)
        beyond = c.let(f"or {i1} {test('ne', step('and', bits, 0x3FFFFF), 0)}, {test('ne', exponent, 0)}")
        up = c.let(f"zext {i1} {c.let(f'and {i1} {half}, {beyond}')} to {i32}")
        code = select(c, test("eq", exponent, 0xFF), i32, lanes, exponent, step("add", exponent, up))
        return c.let(f"trunc {i32} {code} to {vector('i8', lanes)}")
    size, shift = step("and", bits, 0x7FFFFFFF), 23 - f.mantissa
    tiny = (127 - f.bias + shift + 1) << 23  # adding this number leaves the digits of a subnormal one
    place = c.let(f"bitcast {i32} {number(tiny)} to {f32}")
    total = c.let(f"fadd {f32} {c.let(f'bitcast {i32} {size} to {f32}')}, {place}")
    low = step("sub", c.let(f"bitcast {f32} {total} to {i32}"), tiny)
    odd = step("and", step("lshr", size, shift), 1)
    rounded = step("add", step("add", size, odd), ((f.bias - 127) << 23) + (1 << shift - 1) - 1)
    code = select(c, test("ult", size, (128 - f.bias) << 23), i32, lanes, low, step("lshr", rounded, shift))
    most = c.intrinsic("umin", i32, code, number(f.overflow))
    far = test("uge", size, (127 - f.bias + (1 << 7 - f.mantissa)) << 23)
    code = select(c, far, i32, lanes, number(f.overflow), most)
    code = select(c, test("ugt", size, 0x7F800000), i32, lanes, number(f.nan), code)
    sign = step("and", step("lshr", bits, 24), 0x80)
    if f.unsigned_zero:
        sign = select(c, test("eq", code, 0), i32, lanes, number(0), sign)
    return c.let(f"trunc {i32} {step('or', code, sign)} to {vector('i8', lanes)}")


def _from_bfloat(c: Code, value: str, lanes: int) -> str:
    i32 = vector("i32", lanes)
    wide = c.let(f"zext {vector('i16', lanes)} {value} to {i32}")
    return c.let(
        f"bitcast {i32} {c.let(f'shl {i32} {wide}, {constant(16, dt.int32, lanes)}')} to {vector('float', lanes)}"
    )


def _to_bfloat(c: Code, value: str, lanes: int) -> str:
    """Round to nearest even; NaN becomes the quiet one."""
    i32, f32 = vector("i32", lanes), vector("float", lanes)

    def number(n: int) -> str:
        return constant(n, dt.int32, lanes)

    bits = c.let(f"bitcast {f32} {value} to {i32}")
    high = c.let(f"lshr {i32} {bits}, {number(16)}")
    odd = c.let(f"and {i32} {high}, {number(1)}")
    moved = c.let(f"add {i32} {c.let(f'add {i32} {bits}, {odd}')}, {number(0x7FFF)}")
    rounded = c.let(f"lshr {i32} {moved}, {number(16)}")
    nan = c.let(f"fcmp uno {f32} {value}, {value}")
    return c.let(f"trunc {i32} {select(c, nan, i32, lanes, number(0x7FC0), rounded)} to {vector('i16', lanes)}")
