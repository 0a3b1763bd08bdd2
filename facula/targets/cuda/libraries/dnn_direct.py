"""Plans of cuDNN from machine code: packs of addresses, made or known, and `cudnnBackendExecute` in the current stream.

What a plan needs stands in words that `dnn_graph` makes. All of it runs under the GIL, which is the lock of the handle
that all threads share.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from facula.native import builtins, jit
from facula.native.entry import Entry
from facula.native.text import Value

from .. import driver, launcher
from . import direct, dnn_api

__all__ = ["ALIGNMENT", "Packs", "builtin", "words"]

ALIGNMENT = 16  # bytes, of every operand: kernels take 16 bytes at a time
MOST = 32  # addresses of a pack
PACKS = 128  # places of packs that a plan keeps: a training step has the same addresses each time
_MIX = -7046029254386353131
_CALLS = {
    "set_stream": "cudnnSetStream", "create": "cudnnBackendCreateDescriptor", "set": "cudnnBackendSetAttribute",
    "finalize": "cudnnBackendFinalize", "execute": "cudnnBackendExecute", "destroy": "cudnnBackendDestroyDescriptor",
}  # fmt: skip
# Of a plan: the handle and where its stream stands; the plan; how many operands it takes; numbers of all tensors in
# memory and where these stand; bytes of workspace and scratch, and these as a Python int; of scratch, how many and
# where they start; how many constants, and where the addresses of these are; its packs; functions.
WORDS = (
    "handle", "stream", "plan", "operands", "all", "ids", "need", "bytes", "scratches", "starts", "constants",
    "numbers", "packs", *_CALLS,
)  # fmt: skip
# Of a place of a pack: the pack, its workspace, its operands.
PACK, SPACE, OPERANDS = 0, 8, 16

_DECLARATIONS = f"""
{direct.DECLARATIONS}
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyObject_CallOneArg(ptr, ptr)
"""


def _here(f: Entry, name: str) -> Value:
    return f.load("i64", f.at(f.symbol_value("facula_cuda_here"), 8 * driver.WORDS.index(name)))


def _run() -> str:
    """`run(words, pointers, device)`: 0, a status of cuDNN, or -1 with an error set; operands stand in `pointers`."""
    f: Any = Entry("run", "ptr words, ptr pointers, ptr device", "i64")
    made, room = f.alloca("ptr"), f.alloca("i64")
    null = f.constant("ptr", 0)
    taken, status, pack = f.variable("ptr", null), f.variable("i32", 0), f.variable("ptr", null)
    space = f.variable("i64", 0)
    at = lambda name: f.at(f.words, 8 * WORDS.index(name))  # noqa: E731
    word, place = lambda name: f.load("i64", at(name)), lambda name: f.load("ptr", at(name))  # noqa: E731

    def ask(name: str, *given: Value, otherwise: str = "refused") -> None:
        """One call of the library."""
        status.set(f.call("i32", place(name).name, *given))
        f.leave(status.get().ne(0), otherwise)

    def drop() -> None:
        with f.when(f.value("i1", f"icmp ne ptr {taken.get().name}, null")):
            f.call("void", "@Py_DecRef", taken.get())  # later work of this stream takes it again

    with f.when(word("need").ne(0)):
        taken.set(f.call("ptr", "@facula_cuda_take", place("bytes"), f.symbol_value("_Py_NoneStruct"), f.device))
        f.leave(f.null(taken.get()), "lost")
        number = f.call("ptr", "@facula_cuda_address", taken.get())
        f.leave(f.null(number), "lost")
        space.set(f.call("i64", "@facula_as_i64", number))
        f.call("void", "@Py_DecRef", number)
    f.leave(f.call("i32", "@facula_cuda_ready", f.device).ne(0), "lost")
    # No Python runs between here and the call.
    stream = _here(f, "stream")
    with f.when(stream.ne(f.load("i64", place("stream")))):  # telling cuDNN costs it some calls of the driver
        ask("set_stream", place("handle"), f.value("ptr", f"inttoptr i64 {stream.name} to ptr"))
        f.store(stream, place("stream"))
    count, mixed = word("operands"), f.variable("i64", space.get())
    with f.loop(0, count) as loop:
        operand = f.load("i64", f.item(f.pointers, loop.index))
        mixed.set(f.value("i64", f"xor i64 {operand.name}, {mixed.get().name}") * _MIX)
    entry = f.at(place("packs"), (mixed.get() >> (64 - PACKS.bit_length() + 1)) * (count * 8 + OPERANDS))
    pack.set(f.slot(entry, PACK))
    f.leave(f.null(pack.get()), "make")
    f.leave(space.get().ne(f.load("i64", f.at(entry, SPACE))), "make")
    with f.loop(0, count) as loop:
        operand, known = f.load("i64", f.item(f.pointers, loop.index)), f.item(entry, loop.index, OPERANDS)
        f.leave(operand.ne(f.load("i64", known)), "make")
    f.branch("execute")
    f.label("make")
    scratches, one = word("scratches"), f.constant("i64", 1)
    with f.loop(0, scratches) as loop:
        start = f.load("i64", f.item(place("starts"), loop.index)) + space.get()
        f.store(start, f.item(f.pointers, count + loop.index))
    with f.loop(0, word("constants")) as loop:
        number = f.load("i64", f.item(place("numbers"), loop.index))
        f.store(number, f.item(f.pointers, count + scratches + loop.index))
    f.store(space.get(), room)
    kind = dnn_api.KINDS["pack"]
    ask("create", f.constant("i32", kind.number), made)
    given = {"ids": (word("all"), place("ids")), "pointers": (word("all"), f.pointers), "workspace": (one, room)}
    for name, values in given.items():
        number, type = kind.attributes[name]
        numbers = f.constant("i32", number), f.constant("i32", type.number)
        ask("set", f.load("ptr", made), *numbers, *values, otherwise="unmade")
    ask("finalize", f.load("ptr", made), otherwise="unmade")
    with f.when(f.value("i1", f"icmp ne ptr {f.slot(entry, PACK).name}, null")):
        f.call("i32", place("destroy").name, f.slot(entry, PACK))
    pack.set(f.load("ptr", made))
    f.store(pack.get(), f.at(entry, PACK))
    f.store(space.get(), f.at(entry, SPACE))
    with f.loop(0, count) as loop:
        f.store(f.load("i64", f.item(f.pointers, loop.index)), f.item(entry, loop.index, OPERANDS))
    f.branch("execute")
    f.label("execute")
    ask("execute", place("handle"), place("plan"), pack.get())
    drop()
    f.done(f.constant("i64", 0))
    f.label("unmade")
    f.call("i32", place("destroy").name, f.load("ptr", made))
    f.branch("refused")
    f.label("refused")
    drop()
    f.done(f.value("i64", f"sext i32 {status.get().name} to i64"))
    f.label("lost")
    drop()
    f.done(f.constant("i64", -1))
    return f.text()


def _builtin(name: str, whatever: bool) -> str:
    """`name(*operands)`; its context: where the address of a plan's words stands, what else may do it, a device, what
    raises. `whatever`: there is nothing else, and no operand or stream for which there should be.
    """
    f: Any = Entry(name, "ptr self, ptr args, i64 given", "ptr", linkage="")
    pointers, seen = f.alloca("i64", MOST), f.variable("i64", 0)
    words = f.slot(f.address(f.context(0)), 0)
    if not whatever:
        f.leave(f.null(words), "slow")
    f.leave(f.given.ne(f.load("i64", f.at(words, 8 * WORDS.index("operands")))), "misfit" if whatever else "slow")
    with f.loop(0, f.given) as loop:
        operand = f.call("i64", "@facula_as_i64", f.load("ptr", f.item(f.args, loop.index)))
        f.store(operand, f.item(pointers, loop.index))
        seen.set(seen.get() | operand)
    f.leave(f.value("i1", f"icmp ne ptr {f.call('ptr', '@PyErr_Occurred').name}, null"), "failed")
    if not whatever:
        f.leave((seen.get() & (ALIGNMENT - 1)).ne(0), "slow")
        f.leave(f.call("i32", "@facula_cuda_ready", f.context(2)).ne(0), "failed")
        f.leave(_here(f, "capture").ne(0), "slow")  # the graph must keep the plan
    status = f.call("i64", "@run", words, pointers, f.context(2))
    f.leave(status.eq(-1), "failed")
    f.leave(status.ne(0), "refused")
    f.emit(builtins.NONE.strip())
    f.label("refused")
    said = f.call("ptr", "@PyLong_FromLongLong", status)
    f.leave(f.null(said), "failed")
    f.call("ptr", "@PyObject_CallOneArg", f.context(3), said)  # which raises
    f.call("void", "@Py_DecRef", said)
    f.branch("failed")
    if whatever:
        f.label("misfit")
        count = f.load("i64", f.at(words, 8 * WORDS.index("operands")))
        f.done(f.call("ptr", "@facula_bad_count", f.symbol_value("title"), count, f.given))
    else:
        f.label("slow")
        f.done(f.call("ptr", "@PyObject_Vectorcall", f.context(1), f.args, f.given, f.constant("ptr", 0)))
    f.label("failed")
    f.emit("ret ptr null")
    return f.text()


_loaded: dict[str, int] = {}


def _address(name: str) -> int:
    if not _loaded:
        launcher.run_address()  # has `facula_cuda_ready` and what it reads defined
        declared = f"{_DECLARATIONS}declare ptr @facula_bad_count(ptr, i64, i64)\n"
        own = [builtins.string("title", "a plan"), _run(), _builtin("known", False), _builtin("start", True)]
        _loaded.update(jit.load("\n".join([declared, *own]), ["known", "start"], optimize="clean"))
    return _loaded[name]


class Packs:
    """Places for the packs of a plan of so many operands."""

    __slots__ = ("destroy", "step", "words")

    def __init__(self, operands: int):
        self.destroy, self.step = dnn_api.api().cudnnBackendDestroyDescriptor, operands + OPERANDS // 8
        self.words = (ctypes.c_int64 * (PACKS * self.step))()

    def __del__(self):
        for pack in self.words[:: self.step]:
            if pack:
                self.destroy(pack)


def words(given: dict[str, int]) -> Any:
    """The words of a plan."""
    if given["all"] > MOST:
        raise dnn_api.Unsupported(f"a graph with {given['all']} tensors in memory")
    given = given | {name: dnn_api.address(function) for name, function in _CALLS.items()}
    return (ctypes.c_int64 * len(WORDS))(*(given[name] for name in WORDS))


def _refused(status: int) -> None:
    dnn_api.good(status, "cudnnBackendExecute")


def builtin(cell: Any, slow: Callable[..., None] | None, where: Any, held: Sequence[Any] = ()) -> Callable[..., None]:
    """What runs the plan whose words' address stands in `cell` with addresses of its operands.

    `slow` does it where there is 0 in the cell, for addresses that are less aligned, and where a graph is recorded;
    without it, the plan does whatever is asked.
    """
    name = "start" if slow is None else "known"
    return builtins.make(_address(name), name, None, (ctypes.addressof(cell), slow, where, _refused, cell, *held))
