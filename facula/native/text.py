"""LLVM text written as Python: values with operators, variables, loops and branches; knows no kernel and no machine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Either", "Function", "Loop", "Value", "Variable", "literal", "mangled"]


class Value:
    """An SSA value; arithmetic on it writes instructions."""

    __slots__ = ("f", "name", "type")

    def __init__(self, f: "Function", name: str, type: str):
        self.f, self.name, self.type = f, name, type

    def _operand(self, other: "Value | int | float") -> str:
        return other.name if isinstance(other, Value) else literal(other, self.type)

    def _binary(self, op: str, other: "Value | int | float") -> "Value":
        return self.f.value(self.type, f"{op} {self.type} {self.name}, {self._operand(other)}")

    def _compare(self, op: str, other: "Value | int") -> "Value":
        result = "i1" if not self.type.startswith("<") else f"{self.type.split(' x ')[0]} x i1>"
        return self.f.value(result, f"icmp {op} {self.type} {self.name}, {self._operand(other)}")

    def __add__(self, other):
        return self._binary("add", other)

    def __sub__(self, other):
        return self._binary("sub", other)

    def __mul__(self, other):
        return self._binary("mul", other)

    def __floordiv__(self, other):
        return self._binary("udiv", other)

    def __mod__(self, other):
        return self._binary("urem", other)

    def __and__(self, other):
        return self._binary("and", other)

    def __or__(self, other):
        return self._binary("or", other)

    def __rshift__(self, other):
        return self._binary("lshr", other)

    def __lt__(self, other):
        return self._compare("slt", other)

    def __le__(self, other):
        return self._compare("sle", other)

    def __gt__(self, other):
        return self._compare("sgt", other)

    def __ge__(self, other):
        return self._compare("sge", other)

    def eq(self, other) -> "Value":
        """Equality as an i1."""
        return self._compare("eq", other)

    def ne(self, other) -> "Value":
        """Inequality as an i1."""
        return self._compare("ne", other)


def literal(number: int | float, type: str) -> str:
    """A constant of `type`; a vector gets it in all lanes."""
    if type.startswith("<"):
        scalar = type[1:-1].split(" x ")[1]
        return "zeroinitializer" if number == 0 else f"splat ({scalar} {literal(number, scalar)})"
    if type == "ptr":
        return "null"
    return repr(float(number)) if type in ("half", "float", "double") else str(int(number))


class Variable:
    """A place in the frame for a value that changes; LLVM's SROA makes a register of it."""

    def __init__(self, f: "Function", type: str, initial: Value | int | float):
        self.f, self.type = f, type
        self.place = f.alloca(type)
        self.set(initial)

    def get(self) -> Value:
        """The current value."""
        return self.f.load(self.type, self.place)

    def set(self, value: Value | int | float) -> None:
        """Overwrite it."""
        self.f.store(value, self.place, self.type)


@dataclass
class Loop:
    """What a `with f.loop(...)` body sees: the index, the carried values, and where to put the next ones."""

    index: Value
    carried: list[Value]
    next: list[Value] = field(default_factory=list)


class Function:
    """The text of one function, written from top to bottom."""

    record: "Value"  # these two may also be set later, by an entry that has no such parameter
    bias: "Value"

    def __init__(
        self, name: str, parameters: str, result: str = "void", attributes: str = "nounwind", linkage: str = "internal"
    ):
        self.heading = f"define {linkage} {result} @{name}({_named(parameters)}) {attributes} {{"
        self.framed: list[str] = []
        self.written: list[str] = []
        self.numbered = 0
        self.label_now = "start"
        self.symbol = name
        for part in filter(None, (p.strip() for p in parameters.split(","))):
            type, _, parameter = part.rpartition(" ")
            assert parameter not in self.__dict__ and not hasattr(Function, parameter), parameter
            setattr(self, parameter, Value(self, f"%{parameter}", type))

    def __getattr__(self, name: str) -> Value:  # only parameters come here, and only for type checkers
        raise AttributeError(name)

    def text(self) -> str:
        """The finished definition."""
        return "\n".join([self.heading, "entry:", *self.framed, "  br label %start", "start:", *self.written, "}"])

    def fresh(self, stem: str = "v") -> str:
        self.numbered += 1
        return f"{stem}{self.numbered}"

    def emit(self, line: str) -> None:
        self.written.append("  " + line)

    def value(self, type: str, text: str) -> Value:
        name = f"%{self.fresh()}"
        self.written.append(f"  {name} = {text}")
        return Value(self, name, type)

    def constant(self, type: str, number: int | float) -> Value:
        return Value(self, literal(number, type), type)

    def alloca(self, type: str, count: int = 1) -> Value:
        name = f"%{self.fresh('frame')}"
        self.framed.append(f"  {name} = alloca {type}, i64 {count}, align 64")
        return Value(self, name, "ptr")

    def variable(self, type: str, initial: Value | int | float) -> Variable:
        return Variable(self, type, initial)

    def load(self, type: str, pointer: Value, align: int | None = None) -> Value:
        return self.value(type, f"load {type}, ptr {pointer.name}" + (f", align {align}" if align else ""))

    def store(
        self, value: Value | int | float, pointer: Value, type: str | None = None, align: int | None = None
    ) -> None:
        if not isinstance(value, Value):
            value = self.constant(type or "i64", value)
        self.emit(f"store {value.type} {value.name}, ptr {pointer.name}" + (f", align {align}" if align else ""))

    def at(self, pointer: Value, offset: Value | int) -> Value:
        """The address `offset` bytes on."""
        text = offset.name if isinstance(offset, Value) else str(offset)
        return pointer if text == "0" else self.value("ptr", f"getelementptr i8, ptr {pointer.name}, i64 {text}")

    def call(self, result: str, name: str, *arguments: Value) -> Value:
        text = f"call {result} {name}({', '.join(f'{a.type} {a.name}' for a in arguments)})"
        if result == "void":
            self.emit(text)
            return Value(self, "", "void")
        return self.value(result, text)

    def select(self, condition: Value, yes: Value | int | float, no: Value | int | float, type: str = "i64") -> Value:
        yes = yes if isinstance(yes, Value) else self.constant(no.type if isinstance(no, Value) else type, yes)
        no = no if isinstance(no, Value) else self.constant(yes.type, no)
        return self.value(
            yes.type, f"select {condition.type} {condition.name}, {yes.type} {yes.name}, {no.type} {no.name}"
        )

    def least(self, a: Value, b: Value | int) -> Value:
        return self.select(a < b, a, b)

    def label(self, name: str) -> None:
        self.written.append(f"{name}:")
        self.label_now = name

    def branch(self, name: str) -> None:
        self.emit(f"br label %{name}")

    @contextmanager
    def loop(self, start: Value | int, stop: Value, step: int = 1, carry: Sequence[Value] = ()) -> Iterator[Loop]:
        """`for index in range(start, stop, step)`; afterwards `carried` holds the final values."""
        name = self.fresh("loop")
        before = self.label_now
        self.branch(f"{name}.head")
        self.label(f"{name}.head")
        first = start.name if isinstance(start, Value) else str(start)
        index = self.value("i64", f"phi i64 [{first}, %{before}], [%{name}.next, %{name}.latch]")
        places = [len(self.written) + i for i in range(len(carry))]
        carried = [self.value(c.type, "") for c in carry]
        inside = self.value("i1", f"icmp slt i64 {index.name}, {stop.name}")
        self.emit(f"br i1 {inside.name}, label %{name}.body, label %{name}.end")
        self.label(f"{name}.body")
        state = Loop(index, carried)
        yield state
        self.branch(f"{name}.latch")
        self.label(f"{name}.latch")
        self.emit(f"%{name}.next = add nsw i64 {index.name}, {step}")
        self.branch(f"{name}.head")
        for place, now, initial, following in zip(places, carried, carry, state.next, strict=True):
            self.written[place] = (
                f"  {now.name} = phi {now.type} [{initial.name}, %{before}], [{following.name}, %{name}.latch]"
            )
        self.label(f"{name}.end")

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """`if condition:`; `otherwise` may follow inside `either`."""
        name = self.fresh("if")
        self.emit(f"br i1 {condition.name}, label %{name}.yes, label %{name}.end")
        self.label(f"{name}.yes")
        yield
        self.branch(f"{name}.end")
        self.label(f"{name}.end")

    @contextmanager
    def either(self, condition: Value) -> Iterator["Either"]:
        """`if condition: ... else: ...`: the body calls `.otherwise()` between the two."""
        name = self.fresh("if")
        self.emit(f"br i1 {condition.name}, label %{name}.yes, label %{name}.no")
        self.label(f"{name}.yes")
        yield Either(self, name)
        self.branch(f"{name}.end")
        self.label(f"{name}.end")

    def done(self, result: Value | None = None) -> None:
        self.emit("ret void" if result is None else f"ret {result.type} {result.name}")


class Either:
    """The seam between the two sides of `Function.either`."""

    def __init__(self, f: Function, name: str):
        self.f, self.name = f, name

    def otherwise(self) -> None:
        """What follows is done where the condition is false."""
        self.f.branch(f"{self.name}.end")
        self.f.label(f"{self.name}.no")


def _named(parameters: str) -> str:
    parts = [p.strip().rpartition(" ") for p in parameters.split(",") if p.strip()]
    return ", ".join(f"{type} %{name}" for type, _, name in parts)


def mangled(type: str) -> str:
    """How a scalar type is spelt in the name of an intrinsic function."""
    return {"float": "f32", "double": "f64", "half": "f16"}.get(type, type)
