"""Products from machine code: `cublasLtMatmul` called through its address, in the thread's current stream.

What a call needs stands in words that `blas` makes; what is not known there, Python does. All of it runs under the GIL.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from facula.native import builtins, jit
from facula.native.entry import Entry

from .. import driver, launcher
from .cublaslt import ATTRIBUTES

__all__ = ["DECLARATIONS", "ORDER", "WORDS", "Table", "record", "settings", "settings_changed"]

# Of a call: the function, and that which sets an attribute of the descriptor; whether A and B change places, whether C
# is the bias, whether the bias (or sums) is the descriptor's, which one it has, whether Python is about to change it;
# bytes of workspace, and these as a Python int; then what the function takes besides addresses.
WORDS = (
    "function", "set", "turned", "matrix", "row", "seen", "busy", "workspace", "bytes", "handle", "descriptor", "alpha",
    "of_a", "of_b", "beta", "of_c", "of_d", "algorithm",
)  # fmt: skip
ORDER = ("c", "a", "b", "bias")  # of a builtin's arguments
_BIAS_POINTER = ATTRIBUTES["MatmulDesc"]["BIAS_POINTER"][0]
_SETTINGS = (ctypes.c_int64 * 1)(1)  # how often settings have changed
_SETTINGS_NUMBER = "@facula_cuda_settings = external global i64\n"
ALIGNED = 256

# What machine code that calls a library of NVIDIA's refers to.
DECLARATIONS = f"""
@facula_cuda_here = external global [{len(driver.HERE)} x i64]
@_Py_NoneStruct = external global i64
declare i32 @facula_cuda_ready(ptr)
declare ptr @facula_cuda_take(ptr, ptr, ptr)
declare ptr @facula_cuda_address(ptr)
declare void @Py_DecRef(ptr)
declare i64 @facula_as_i64(ptr)
declare ptr @PyErr_Occurred()
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
"""


def settings() -> int:
    """The number of the settings that hold now."""
    return _SETTINGS[0]


def settings_changed() -> None:
    """What was settled before holds no longer."""
    _SETTINGS[0] += 1


def _product(order: tuple[str, ...]) -> str:
    """A builtin of four addresses; its context: the address of a table's words, what does the rest, a device."""
    f: Any = Entry("product", "ptr self, ptr args, i64 given", "ptr", linkage="")
    null = f.constant("ptr", 0)
    taken, space, room = f.variable("ptr", null), f.variable("ptr", null), f.variable("i64", 0)
    pointer = f.alloca("i64")
    some = lambda pointer: f.value("i1", f"icmp ne ptr {pointer.name}, null")  # noqa: E731
    f.leave(f.given.ne(4), "slow")
    read = lambda name: f.call("i64", "@facula_as_i64", f.load("ptr", f.item(f.args, order.index(name))))  # noqa: E731
    c, a, b, bias = map(read, ORDER)
    f.leave(some(f.call("ptr", "@PyErr_Occurred")), "failed")
    f.leave(((c | a | b | bias) & (ALIGNED - 1)).ne(0), "slow")
    f.branch("look")
    f.label("look")
    # No Python runs between here and the call.
    f.leave(f.call("i32", "@facula_cuda_ready", f.context(2)).ne(0), "lost")
    table = f.address(f.context(0))
    now = f.load("i64", f.symbol_value("facula_cuda_settings"))
    f.leave(f.load("i64", table).ne(now), "slow")
    found = f.slot(f.item(table, f.select(bias.eq(0), 1, 2)), 0)
    f.leave(f.null(found), "slow")
    word = lambda name: f.load("i64", f.at(found, 8 * WORDS.index(name)))  # noqa: E731
    place = lambda value: f.value("ptr", f"inttoptr i64 {value.name} to ptr")  # noqa: E731
    f.leave(word("busy").ne(0), "slow")
    size = word("workspace")
    with f.when(size > room.get()):
        f.leave(some(taken.get()), "slow")  # that of a call that is known no more
        room.set(size)
        taken.set(
            f.call("ptr", "@facula_cuda_take", place(word("bytes")), f.symbol_value("_Py_NoneStruct"), f.context(2))
        )
        f.leave(f.null(taken.get()), "failed")
        number = f.call("ptr", "@facula_cuda_address", taken.get())
        f.leave(f.null(number), "lost")
        space.set(place(f.call("i64", "@facula_as_i64", number)))
        f.call("void", "@Py_DecRef", number)
        f.branch("look")  # Python may have run
        f.label("never")
    with f.when(f.value("i1", f"and i1 {word('row').ne(0).name}, {word('seen').ne(bias).name}")):
        f.store(bias, pointer)
        told = f.call(
            "i32", place(word("set")).name, place(word("descriptor")), f.constant("i32", _BIAS_POINTER), pointer,
            f.constant("i64", 8),
        )  # fmt: skip
        f.leave(told.ne(0), "slow")
        f.store(bias, f.at(found, 8 * WORDS.index("seen")))
    turned, matrix = word("turned").ne(0), word("matrix").ne(0)
    left, right, added = f.select(turned, b, a), f.select(turned, a, b), f.select(matrix, bias, c)

    def drop() -> None:
        with f.when(some(taken.get())):
            f.call("void", "@Py_DecRef", taken.get())  # later work of this stream takes it again

    stream = f.load("ptr", f.at(f.symbol_value("facula_cuda_here"), 8 * driver.WORDS.index("stream")))
    status = f.call(
        "i32", place(word("function")).name, place(word("handle")), place(word("descriptor")), place(word("alpha")),
        place(left), place(word("of_a")), place(right), place(word("of_b")), place(word("beta")), place(added),
        place(word("of_c")), place(c), place(word("of_d")), place(word("algorithm")), space.get(), size,
        stream,
    )  # fmt: skip
    f.leave(status.ne(0), "slow")  # where the same call raises
    drop()
    f.emit(builtins.NONE.strip())
    f.label("slow")
    drop()
    f.done(f.call("ptr", "@PyObject_Vectorcall", f.context(1), f.args, f.given, null))
    f.label("lost")
    drop()
    f.branch("failed")
    f.label("failed")
    f.emit("ret ptr null")
    return f.text()


@cache
def _address(order: tuple[str, ...]) -> int:
    launcher.run_address()  # has `facula_cuda_ready` and what it reads defined
    jit.define("facula_cuda_settings", ctypes.addressof(_SETTINGS))
    return jit.load(DECLARATIONS + _SETTINGS_NUMBER + _product(order), ["product"], optimize="clean")["product"]


def record(**words: int) -> Any:
    """The words of one call."""
    return (ctypes.c_int64 * len(WORDS))(*(words[name] for name in WORDS))


class Table:
    """What a builtin knows: the settings that it is for, a call without and one with a bias."""

    __slots__ = ("held", "words")

    def __init__(self):
        self.words = (ctypes.c_int64 * 3)()
        self.held: list[Any] = [None, None]

    def builtin(self, slow: Callable[..., None], where: Any, order: tuple[str, ...]) -> Callable[..., None]:
        """A function of addresses in some order, on a device, by what is known; `slow` for the rest."""
        return builtins.make(_address(order), "product", None, (ctypes.addressof(self.words), slow, where, self.words))

    def clear(self, settings: int) -> None:
        """Nothing is known; of which settings later calls are."""
        self.words[1] = self.words[2] = 0
        self.words[0] = settings
        self.held = [None, None]

    def know(self, biased: bool, call: Any) -> None:
        """A call for operands that are aligned well."""
        self.words[1 + biased] = 0
        self.held[biased] = call
        self.words[1 + biased] = ctypes.addressof(call)
