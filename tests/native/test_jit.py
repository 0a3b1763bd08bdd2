"""From LLVM text to running code: addresses, unique names, errors; builtins and how they read their arguments."""

import ctypes
import subprocess
import sys
import threading

import pytest

from facula.native import builtins, jit

RETURNS = "define i64 @value() {{ ret i64 {} }}"


def call(address):
    return ctypes.CFUNCTYPE(ctypes.c_int64)(address)()


@pytest.mark.parametrize("optimize", jit.PIPELINES)
def test_text_becomes_code(optimize):
    text = """
    @table = internal constant [3 x i64] [i64 5, i64 6, i64 7]
    define internal i64 @at(i64 %i) alwaysinline {
      %p = getelementptr i64, ptr @table, i64 %i
      %v = load i64, ptr %p
      ret i64 %v
    }
    define i64 @sum() {
      %a = call i64 @at(i64 0)
      %b = call i64 @at(i64 2)
      %s = add i64 %a, %b
      ret i64 %s
    }
    define i64 @unused() { ret i64 1 }
    """
    assert call(jit.load(text, ["sum"], optimize=optimize)["sum"]) == 12


def test_same_names_in_different_texts_do_not_meet():
    found = [jit.load(RETURNS.format(i), ["value"])["value"] for i in range(5)]
    assert [call(address) for address in found] == list(range(5))


def test_same_text_is_loaded_once():
    text = RETURNS.format(101)
    before = jit.load(text, ["value"])
    counts = jit.statistics()
    assert jit.load(text, ["value"]) is before
    assert jit.statistics() == counts


def test_globals_have_addresses():
    found = jit.load("@number = global i64 77\n" + RETURNS.format(55), ["number", "value"])
    assert ctypes.c_int64.from_address(found["number"]).value == 77


def test_python_and_the_c_library_are_found():
    text = """
    declare ptr @PyLong_FromLong(i64)
    declare double @exp(double)
    define i64 @e() { %x = call double @exp(double 1.0) %y = fptosi double %x to i64 ret i64 %y }
    define ptr @seven() { %o = call ptr @PyLong_FromLong(i64 7) ret ptr %o }
    """
    found = jit.load(text, ["e", "seven"])
    assert call(found["e"]) == 2
    assert ctypes.PYFUNCTYPE(ctypes.py_object)(found["seven"])() == 7


def test_defined_symbols():
    number = ctypes.c_int64(12)
    jit.define("test_jit_number", ctypes.addressof(number))
    text = "@test_jit_number = external global i64 define i64 @get() { %v = load i64, ptr @test_jit_number ret i64 %v }"
    assert call(jit.load(text, ["get"])["get"]) == 12
    called = []
    jit.provide(["test_jit_late"], lambda: called.append(1) or jit.define("test_jit_late", ctypes.addressof(number)))
    text = text.replace("test_jit_number", "test_jit_late")
    assert called == []
    assert call(jit.load(text, ["get"])["get"]) == 12 and called == [1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("define i64 @f() {\n  ret i32 0\n}", r"LLVM refuses the generated text(.|\n)*2:   ret i32 0"),
        ("define void @f() { %x = add i64 %y, 1 ret void }", "LLVM refuses the generated text"),
        ("define void @g() { ret void }", "does not define f"),
        ("declare void @f()", "does not define f"),
        (
            "declare void @nowhere_at_all() define void @f() { call void @nowhere_at_all() ret void }",
            "calls nowhere_at_all",
        ),
    ],
)
def test_bad_text_is_an_error_not_an_abort(text, message):
    with pytest.raises(RuntimeError, match=message):
        jit.load(text, ["f"])


def test_unknown_pipeline():
    with pytest.raises(ValueError, match="no pipeline 'most'"):
        jit.load(RETURNS.format(103), ["value"], optimize="most")


def test_assembly_is_for_the_host():
    assert "value" in jit.assembly(RETURNS.format(104))


def test_threads_may_load_at_once():
    results = {}

    def work(i):
        results[i] = [call(jit.load(RETURNS.format(2000 + 5 * i + k % 7), ["value"])["value"]) for k in range(10)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: [2000 + 5 * i + k % 7 for k in range(10)] for i in range(4)}


# ---- builtins

ARITHMETIC = """
define i64 @sum(ptr %a, i64 %b, i64 %c, i64 %d) {
  %x = ptrtoint ptr %a to i64
  %y = add i64 %x, %b
  %z = add i64 %y, %c
  %w = add i64 %z, %d
  ret i64 %w
}
define double @mix(double %a, float %b, i1 %c, i32 %d) {
  %wide = fpext float %b to double
  %ab = fadd double %a, %wide
  %bit = uitofp i1 %c to double
  %abc = fadd double %ab, %bit
  %int = sitofp i32 %d to double
  %sum = fadd double %abc, %int
  ret double %sum
}
define void @nothing() { ret void }
"""
add = builtins.build(ARITHMETIC, "sum", ["ptr", "i64", "i64", "i64"], "i64", name="add", doc="adds")
mix = builtins.build(ARITHMETIC, "mix", ["f64", "f32", "b1", "i32"], "f64")
nothing = builtins.build(ARITHMETIC, "nothing", [])

EDGES = [0, 1, 7, 2**15, 2**30 - 1, 2**30, 2**30 + 1, 2**45 + 3, 2**59, 2**60 - 1, 2**60, 2**62, 2**63 - 1]


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Float:
    def __float__(self):
        return 2.5


def test_integers_of_every_length():
    for value in EDGES:
        assert add(0, value, 0, 0) == value
        assert add(0, -value, 0, 0) == -value
    assert add(0, -(2**63), 0, 0) == -(2**63)
    assert add(1, True, Index(5), False) == 7


def test_other_kinds():
    assert mix(1.5, 2.0, True, 3) == 7.5
    assert mix(1, Float(), [], -(2**31)) == 3.5 - 2**31
    assert mix(-1.0, -1.0, "x", -1) == -2.0
    assert mix(0.0, 0.1, False, 0) == ctypes.c_float(0.1).value
    assert nothing() is None


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        ((1, 2, 3), TypeError, r"add\(\) takes 4 positional arguments but 3 were given"),
        ((1, 2, 3, 4, 5), TypeError, "but 5 were given"),
        ((1, 2, 3, "x"), TypeError, "'str' object cannot be interpreted as an integer"),
        ((1, 2.5, 3, 4), TypeError, "'float' object cannot be interpreted as an integer"),
        ((None, Index(1), 3, 4), TypeError, "NoneType"),
        ((1, 2**63, 3, 4), OverflowError, "too (big|large)"),
        ((1, Index("x"), 3, 4), TypeError, "__index__ returned non-int"),
    ],
)
def test_bad_arguments(arguments, kind, message):
    with pytest.raises(kind, match=message):
        add(*arguments)


def test_bad_arguments_of_other_kinds():
    with pytest.raises(TypeError, match="must be real number, not str"):
        mix("1", 0.0, False, 0)
    with pytest.raises(OverflowError, match="32-bit"):
        mix(0.0, 0.0, False, 2**31)
    with pytest.raises(TypeError, match="keyword"):
        add(1, 2, 3, d=4)


def test_references_are_counted():
    value, real = 2**80 % 10**15, 1.25
    objects = [None, value, real]
    before = [sys.getrefcount(x) for x in objects]
    for _ in range(1000):
        nothing()
        add(value, value, 1, 1)
        mix(real, real, True, 1)
        with pytest.raises(TypeError):
            add(value, "x", value, real)
    after = [sys.getrefcount(x) for x in objects]
    assert after[1:] == before[1:] and abs(after[0] - before[0]) < 100  # pytest itself holds None now and then


def test_name_and_documentation():
    assert add.__name__ == "add" and add.__doc__ == "adds"


def test_long_kernels_let_go_of_the_gil():
    text = """
    declare i32 @usleep(i32)
    define void @nap(i64 %us) { %u = trunc i64 %us to i32 %r = call i32 @usleep(i32 %u) ret void }
    """
    nap = builtins.build(text, "nap", ["i64"], work=(0,), cost=1000.0)
    count, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            count[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    before = count[0]
    nap(30_000)
    during = count[0] - before
    stop.set()
    thread.join()
    assert during > 100


def test_interpreter_ends_cleanly_with_builtins_alive():
    code = "from facula.native import builtins as b; f = b.build('define void @f() { ret void }', 'f', []); f()"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
