"""Kernel and access pattern in, CPython builtin out: stages of `codegen`, LLVM text, machine code."""

from collections.abc import Callable

from facula.codegen import prepare
from facula.ir.kernel import Access, Kernel
from facula.native import builtins, jit

from . import threads  # noqa: F401  (threads provides facula_parallel)
from .emit_nest import Nest
from .emit_run import module

__all__ = ["compile", "text"]


def host() -> tuple[int, bool]:
    """Bits of a vector register, and whether any lane of a memory access can be left out cheaply."""
    features = jit.machine.ready().features
    if all(f"+{name}" in features for name in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
        return 512, True
    return (256, False) if "+avx2" in features else (128, False)


def _module(kernel: Kernel, access: Access, bits: int | None) -> tuple[Nest, str]:
    found, masks = host() if bits is None else (bits, bits == 512)
    nest = Nest(prepare(kernel), access, found, masks)
    return nest, f"{module(nest)}\n\nattributes #0 = {{ {jit.attributes(found)} }}\n"


def text(kernel: Kernel, access: Access, bits: int | None = None) -> str:
    """The LLVM text of a kernel: a function `run` whose arguments are `ir.kernel.arguments(kernel, access)`."""
    return _module(kernel, access, bits)[1]


RESULT = """
declare ptr @PyTuple_Pack(i64, ...)
declare void @Py_DecRef(ptr)
define internal ptr @verdict(i64 %failure) nounwind {
entry:
  %fine = icmp eq i64 %failure, 0
  br i1 %fine, label %none, label %bad
bad:
  %marks = inttoptr i64 %failure to ptr
  %number = load i64, ptr %marks
  %value.at = getelementptr i64, ptr %marks, i64 1
  %value = load i64, ptr %value.at
  call void @free(ptr %marks)
  %v = call ptr @PyLong_FromLongLong(i64 %value)
  SEVERAL
none:NONE
}
"""
SEVERAL = """%n = call ptr @PyLong_FromLongLong(i64 %number)
  %pair = call ptr (i64, ...) @PyTuple_Pack(i64 2, ptr %n, ptr %v)
  call void @Py_DecRef(ptr %n)
  call void @Py_DecRef(ptr %v)
  ret ptr %pair"""
KINDS = {"ptr": "ptr", "i64": "i64", "double": "f64", "float": "f32", "i1": "b1"}
builtins.RESULTS.setdefault("verdict", ("i64", "verdict"))


def compile(kernel: Kernel, access: Access, bits: int | None = None) -> Callable:
    """A builtin whose positional arguments are `ir.kernel.arguments(kernel, access)`.

    It returns None, or the value of the first failing check: (number, value) where the kernel has several checks.
    `bits` is the size of a vector register, by default the host's.
    """
    nest, source = _module(kernel, access, bits)
    if kernel.checks:
        several = SEVERAL if len(kernel.checks) > 1 else "ret ptr %v"
        source += RESULT.replace("SEVERAL", several).replace("NONE", builtins.NONE)
    names = nest.names()
    work = [i for i, (_, name) in enumerate(names) if name[0] == "n" and name[1:].isdigit()]
    return builtins.build(
        source, "run", [KINDS[ty] for ty, _ in names], "verdict" if kernel.checks else "none",
        name=kernel.name, work=work, cost=nest.cost, optimize="registers",
    )  # fmt: skip
