"""LLVM text in, addresses of machine code out: one target machine, one engine, a cache on disk; knows no kernel."""

import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter

import llvmlite
import llvmlite.binding as llvm

from facula.codegen import cache
from facula.config import VERSION, settings
from facula.errors import fail

__all__ = ["PIPELINES", "assembly", "attributes", "define", "load", "machine", "provide", "statistics"]

# What is done to the text before instructions are selected. The emitter writes explicit vectors and unrolls by itself,
# so no pipeline vectorises or unrolls. Milliseconds of a trivial kernel: 0.0, 0.1, 0.2, 0.5, 0.8; selecting
# instructions takes 1.4 whatever is chosen here (0.4 for the module, 0.8-1.0 for each function).
PIPELINES = {
    "none": "leave the text as it is (thin wrappers)",
    "registers": "SROA alone: variables on the stack become registers",
    "clean": "inline what is marked so, SROA, InstCombine, GVN, SimplifyCFG",
    "loops": "the above, then LLVM's function simplification: loop-invariant code motion, EarlyCSE, ...",
    "full": "LLVM's O2 for the module, inlining by cost included",
}
CODEGEN_LEVEL = 2

_lock = threading.RLock()
# A fork while another thread compiles must not leave the child with a lock that nobody will release.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

_loaded: dict[str, dict[str, int]] = {}
_known: set[str] = set()  # external symbols that are known to resolve
_providers: dict[str, Callable[[], object]] = {}  # who defines a symbol when it is first needed
WATCH: list[
    Callable[[Sequence[str], str, str], object]
] = []  # told of each text that is loaded: symbols, text, pipeline
_statistics = {"compiled": 0, "cached": 0, "compile_ms": 0.0, "load_ms": 0.0, "bytes": 0}


class machine:
    """What is compiled for; made at first use, since it costs milliseconds."""

    target: llvm.TargetMachine
    engine: llvm.ExecutionEngine
    cpu: str
    features: str
    identity: str  # everything besides the text that object code depends on
    _ready = False

    @classmethod
    def ready(cls) -> type["machine"]:
        """This class, with its fields set."""
        if not cls._ready:
            with _lock:
                if not cls._ready:
                    cls._start()
        return cls

    @classmethod
    def _start(cls) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cls.cpu = llvm.get_host_cpu_name()
        cls.features = llvm.get_host_cpu_features().flatten()
        triple = llvm.get_process_triple()
        cls.target = llvm.Target.from_triple(triple).create_target_machine(
            cpu=cls.cpu, features=cls.features, opt=CODEGEN_LEVEL, jit=True
        )
        # The engine owns (and would free) the target machine that it is given.
        own = llvm.Target.from_triple(triple).create_target_machine(cpu=cls.cpu, features=cls.features, jit=True)
        cls.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), own)
        cls.engine._owned = True  # never freed: worker threads run its code until the very end of the process
        version = ".".join(map(str, llvm.llvm_version_info))
        cls.identity = "\n".join((triple, cls.cpu, cls.features, version, llvmlite.__version__, VERSION, _source()))
        cls._ready = True


def _source() -> str:
    """This file's text: another list of passes, or another form of entries, makes other entries."""
    try:
        return Path(__file__).read_text()
    except OSError:  # packed away without its source: then VERSION tells
        return ""


def attributes(vector_bits: int = 0) -> str:
    """Function attributes that let LLVM keep vectors of `vector_bits` whole (0: leave it to LLVM)."""
    if not vector_bits:
        return "nounwind"
    return f'nounwind "prefer-vector-width"="{vector_bits}" "min-legal-vector-width"="{vector_bits}"'


def define(name: str, address: int) -> None:
    """Make `name` a symbol that loaded text may refer to; for addresses that differ from process to process."""
    with _lock:
        llvm.add_symbol(name, address)
        _known.add(name)


def provide(names: Iterable[str], start: Callable[[], object]) -> None:
    """Have `start`, which must `define` these names, called before the first text that needs one of them."""
    _providers.update(dict.fromkeys(names, start))


def load(text: str, symbols: Sequence[str], *, optimize: str = "loops") -> dict[str, int]:
    """The addresses of functions and globals defined in `text`.

    The same text is loaded once a process, and compiled once a machine. Names need not be unique among texts: those
    in `symbols` are renamed by the text's digest, all others become internal.

    Parameters
    ----------
    text : str
        LLVM assembly, without triple and data layout. External functions are found in the process (the C library,
        Python's C API) or among the names given to `define`.
    symbols : sequence of str
        What to return the addresses of.
    optimize : str
        A key of `PIPELINES`.

    Raises
    ------
    RuntimeError
        Where LLVM refuses the text, it defines no such symbol, or an external one does not exist.

    Examples
    --------
    >>> import ctypes
    >>> text = "define i64 @twice(i64 %x) { %y = shl i64 %x, 1 ret i64 %y }"
    >>> ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(load(text, ["twice"])["twice"])(21)
    42
    """
    host = machine.ready()
    key = cache.key(text, "\n".join(symbols), optimize, host.identity)
    found = _loaded.get(key)
    if found is not None:
        return found
    with _lock:
        found = _loaded.get(key)
        if found is not None:
            return found
        for told in WATCH:
            told(symbols, text, optimize)
        started = perf_counter()
        suffix = f".{key[:24]}"
        payload = cache.read(key)
        if payload is None:
            payload = _compile(text, symbols, optimize, suffix)
            cache.write(key, payload)
            _statistics["compiled"] += 1
            _statistics["compile_ms"] += (perf_counter() - started) * 1e3
            started = perf_counter()
        else:
            _statistics["cached"] += 1
        found = _link(payload, symbols, suffix)
        _statistics["load_ms"] += (perf_counter() - started) * 1e3
        _statistics["bytes"] += len(payload)
        _loaded[key] = found
        return found


def assembly(text: str, optimize: str = "loops") -> str:
    """The host's assembly of `text`, for people."""
    host = machine.ready()
    with _lock:
        module = _optimized(text, None, optimize, "")
        return host.target.emit_assembly(module)


def statistics() -> dict[str, int | float]:
    """Texts compiled, texts found in the cache, milliseconds spent on either, bytes of object code."""
    return dict(_statistics)


def _optimized(text: str, symbols: Sequence[str] | None, optimize: str, suffix: str) -> llvm.ModuleRef:
    """The module of `text` after the passes; with `symbols`, all others are made internal."""
    host = machine.ready()
    if optimize not in PIPELINES:
        raise ValueError(f"no pipeline {optimize!r}: one of {', '.join(PIPELINES)}")
    try:
        # A context of its own, so that everything LLVM interned for the text goes away with it.
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        fail(RuntimeError, f"LLVM refuses the generated text: {str(error).strip()}", got=_excerpt(text, str(error)))
    module.triple = host.target.triple
    module.data_layout = str(host.target.target_data)
    if symbols is not None:
        defined = [v for v in (*module.functions, *module.global_variables) if not v.is_declaration]
        missing = set(symbols) - {v.name for v in defined}
        if missing:
            fail(RuntimeError, f"the generated text does not define {', '.join(sorted(missing))}")
        for value in defined:
            if value.name in symbols:
                value.name += suffix
            else:
                value.linkage = llvm.Linkage.internal
    if optimize != "none":
        level = 1 if optimize == "clean" else 2
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = llvm.create_pass_builder(host.target, options)
        if optimize == "full":
            passes = builder.getModulePassManager()
            passes.run(module, builder)
        else:
            passes = llvm.create_new_module_pass_manager()
            if optimize != "registers":
                passes.add_always_inliner_pass()
            if optimize in ("registers", "clean"):
                passes.add_sroa_pass()
            if optimize == "clean":
                passes.add_instruction_combine_pass()
                passes.add_new_gvn_pass()
                passes.add_simplify_cfg_pass()
            passes.add_global_dead_code_eliminate_pass()
            passes.run(module, builder)
            if optimize == "loops":
                for function in module.functions:
                    if not function.is_declaration:
                        builder.getFunctionPassManager().run(function, builder)
    return module


def _compile(text: str, symbols: Sequence[str], optimize: str, suffix: str) -> bytes:
    """A cache entry: a line with the external symbols, then object code."""
    module = _optimized(text, symbols, optimize, suffix)
    externals = sorted(
        v.name
        for v in (*module.functions, *module.global_variables)
        if v.is_declaration and not v.name.startswith("llvm.")
    )
    if settings.dump_dir is not None:
        settings.dump_dir.mkdir(parents=True, exist_ok=True)
        (settings.dump_dir / f"{symbols[0] if symbols else 'module'}{suffix}.ll").write_text(text)
    return " ".join(externals).encode() + b"\n" + machine.target.emit_object(module)


def _link(payload: bytes, symbols: Sequence[str], suffix: str) -> dict[str, int]:
    """Adds object code to the engine; LLVM would end the process at an unknown external symbol, so look first."""
    head, _, code = payload.partition(b"\n")
    for name in head.decode().split():
        if name not in _known:
            if name in _providers:
                _providers[name]()
            if not llvm.address_of_symbol(name):
                fail(
                    RuntimeError,
                    f"the generated text calls {name}, which this process does not have",
                    mend="jit.define(name, address) before loading",
                )
            _known.add(name)
    engine = machine.engine
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {name: engine.get_global_value_address(name + suffix) for name in symbols}


def _excerpt(text: str, error: str) -> str:
    """The line of the text that LLVM's message names, with its neighbours."""
    place = re.search(r"<string>:(\d+):", error)
    if place is None:
        return text if len(text) < 400 else text[:400] + " ..."
    line = int(place[1])
    lines = text.splitlines()
    return "\n" + "\n".join(f"{n}: {lines[n - 1]}" for n in range(max(1, line - 2), min(len(lines), line + 2) + 1))
