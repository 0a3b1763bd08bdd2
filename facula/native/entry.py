"""LLVM text of functions that handle Python's objects."""

from . import layout
from .text import Function, Value

__all__ = ["Entry"]


class Entry(Function):
    """A function's text, with the idioms of code that handles Python's objects."""

    def symbol_value(self, name: str) -> Value:
        return Value(self, f"@{name}", "ptr")

    def leave(self, condition: Value, label: str) -> None:
        """Go to `label` where the condition holds, else on."""
        on = self.fresh("on")
        self.emit(f"br i1 {condition.name}, label %{label}, label %{on}")
        self.label(on)

    def null(self, pointer: Value) -> Value:
        return self.value("i1", f"icmp eq ptr {pointer.name}, null")

    def same(self, a: Value, b: Value) -> Value:
        return self.value("i1", f"icmp eq ptr {a.name}, {b.name}")

    def count(self, value: Value) -> Value:
        """One more reference to `value`."""
        self.emit(f"call void @incref(ptr {value.name})")
        return value

    def item(self, base: Value, number: Value | int, offset: int = 0) -> Value:
        """The address of a word of an array that begins `offset` bytes on."""
        start = self.at(base, offset)
        if isinstance(number, int):
            return self.at(start, 8 * number)
        return self.value("ptr", f"getelementptr ptr, ptr {start.name}, i64 {number.name}")

    def slot(self, record: Value, offset: int) -> Value:
        return self.load("ptr", self.at(record, offset))

    def context(self, position: int) -> Value:
        """An item of the tuple that a builtin was made with."""
        return self.slot(self.self, layout.TUPLE_ITEMS + 8 * position)

    def address(self, number: Value) -> Value:
        """A Python int as a pointer."""
        return self.value("ptr", f"inttoptr i64 {self.call('i64', '@facula_as_i64', number).name} to ptr")
