"""`facula doctor`: what a bug report should say of this machine and whether facula works on it; never fails itself.

Each section is a function that returns names and values; what goes wrong in one is said in its place.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

from facula import config

__all__ = ["SECTIONS", "examine", "main", "text"]

OPTIONAL = (
    "scipy", "scikit-learn", "matplotlib", "tqdm", "rich", "tensorboard", "safetensors", "pandas", "pytest",
    "hypothesis", "torch",
)  # fmt: skip
VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "PYTHONPATH", "PYTHONHASHSEED",
    "CUDA_VISIBLE_DEVICES", "XDG_CACHE_HOME", "LD_PRELOAD",
)  # fmt: skip
# Of the features that LLVM tells, those that decide which code is generated.
FEATURES = (
    "sse4.2 avx avx2 fma f16c bmi2 avx512f avx512bw avx512dq avx512vl avx512bf16 avx512fp16 amx-tile amx-bf16 neon "
    "fullfp16 bf16 sve sve2"
).split()


def versions() -> dict[str, Any]:
    """Python, facula, what it needs, the system."""
    found: dict[str, Any] = {
        "facula": config.VERSION, "API of PyTorch": "2.13.0", "Python": f"{sys.version.split()[0]} ({sys.executable})",
        "implementation": platform.python_implementation(), "GIL": "off" if _no_gil() else "on",
    }  # fmt: skip
    import numpy

    found["NumPy"] = numpy.__version__
    import llvmlite
    import llvmlite.binding as llvm

    found["llvmlite"] = llvmlite.__version__
    found["LLVM"] = ".".join(map(str, llvm.llvm_version_info))
    found["system"] = platform.platform()
    found["C library"] = " ".join(platform.libc_ver()) or "unknown"
    return found


def _no_gil() -> bool:
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def processor() -> dict[str, Any]:
    """The processor as LLVM sees it, cores, memory."""
    from facula.native import jit
    from facula.targets.cpu import emit

    machine = jit.machine.ready()
    on = {part[1:] for part in machine.features.split(",") if part.startswith("+")}
    bits, masks = emit.host()
    found = {
        "name": _processor_name(), "for LLVM": machine.cpu, "features": " ".join(f for f in FEATURES if f in on),
        "vectors": f"{bits} bits, {'with' if masks else 'without'} masked access", "cores": os.cpu_count(),
        "usable cores": config.usable_cores(),
    }  # fmt: skip
    if hasattr(os, "getloadavg"):
        found["load"] = " ".join(f"{x:.2f}" for x in os.getloadavg())
    if hasattr(os, "sysconf"):
        found["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    return found


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def threads() -> dict[str, Any]:
    """How many threads kernels use."""
    from facula import launch

    pool = launch.threads()
    return {"threads of kernels": pool.get_num_threads(), "asked for": config.settings.num_threads}


def cache() -> dict[str, Any]:
    """The folder of machine code: where, how large, whether it can be written, whether its entries are whole."""
    import tempfile

    from facula.codegen import cache as store

    folder = config.settings.cache_dir / "cpu"
    found: dict[str, Any] = {"folder": str(folder), "in use": config.settings.cache}
    if not config.settings.cache:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            found["writable"] = True
    except OSError as error:
        found["writable"] = f"no: {error}"
        return found
    count, size = store.size()
    found["entries"], found["bytes"] = count, f"{size / 2**20:.1f} MiB"
    keys = [
        (path.parent.name + path.name[: -len(store.SUFFIX)], path.parents[1].name)
        for path in store._entries()
        if path.name[0] != "."
    ]
    some = keys[:: max(1, len(keys) // 100)]
    damaged = sum(store.read(*key) is None for key in some)
    whole = f"{damaged} damaged (they are made anew)" if damaged else "all whole"
    found["health"] = f"{len(some)} entries looked at, {whole}"
    import shutil

    found["free on that disk"] = f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB"
    return found


def gpu() -> dict[str, Any]:
    """Which GPU there is, and why it is not used."""
    import glob
    import shutil

    found: dict[str, Any] = {}
    tool = shutil.which("nvidia-smi")
    if tool:
        import subprocess

        query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        result = subprocess.run(query, capture_output=True, text=True, timeout=20)
        found["NVIDIA"] = "; ".join(result.stdout.split("\n")).strip("; ") or result.stderr.strip().split("\n")[0]
    elif glob.glob("/proc/driver/nvidia/gpus/*") or glob.glob("/dev/nvidia[0-9]*"):
        found["NVIDIA"] = "a device, without nvidia-smi"
    else:
        found["NVIDIA"] = "none found"
    from facula import cuda

    used = cuda.is_available()
    found["used"] = used
    if not used:
        found["why not"] = cuda.reason()
    from facula.targets.cuda.libraries import found as libraries

    return {**found, **libraries.found()}


def libraries() -> dict[str, Any]:
    """BLAS and LAPACK of NumPy, which some linear algebra goes through."""
    import numpy

    built: dict[str, Any] = numpy.show_config(mode="dicts") or {}  # type: ignore[assignment]
    parts = built.get("Build Dependencies", {})
    return {
        name.upper(): " ".join(str(parts.get(name, {}).get(key, "")) for key in ("name", "version")).strip()
        or "unknown"
        for name in ("blas", "lapack")
    }


def optional() -> dict[str, Any]:
    """Packages that parts of facula use where they are present."""
    found = {}
    for name in OPTIONAL:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def environment() -> dict[str, Any]:
    """Variables that change what facula does, and the switches as they are."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith("FACULA_")}
    found |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    found |= {f"switch {switch.name}": str(getattr(config.settings, switch.name)) for switch in config.SWITCHES}
    return found


def self_test() -> dict[str, Any]:
    """Compiles a kernel, runs it, compares it with the interpreter of kernels; and a gradient with its formula."""
    import numpy

    from facula.core import dtype as dt
    from facula.ir import expr as ir
    from facula.ir.kernel import CONTIGUOUS, STRIDED, Access, Input, Kernel, Result
    from facula.targets import cpu, reference

    x = ir.load("x", dt.float32)
    e = ir.exp(x - ir.reduce("max", x))
    result = Result("out", dt.float32, e / ir.reduce("sum", e))
    kernel = Kernel("doctor", (Input("x", dt.float32),), (result,))
    access = Access(1, 1, (STRIDED + CONTIGUOUS,) * 2)
    given = numpy.linspace(-3, 3, 33 * 65, dtype=numpy.float32).reshape(33, 65)
    outs, times = [], []
    for target in (cpu, reference):
        cached, config.settings.cache = config.settings.cache, False  # compile, whatever the cache has
        start = time.perf_counter()
        try:
            code = target.compile(kernel, access)
        finally:
            config.settings.cache = cached
        times.append(time.perf_counter() - start)
        out = numpy.zeros_like(given)
        args = [out.ctypes.data, given.ctypes.data, 33, 65, 65, 65]
        start = time.perf_counter()
        code(*args)
        times.append(time.perf_counter() - start)
        outs.append(out)
    apart = float(numpy.abs(outs[0] - outs[1]).max())
    if not apart < 1e-6 or not numpy.allclose(outs[0].sum(1), 1, atol=1e-5):
        raise AssertionError(f"the compiled kernel is wrong: it differs from the interpreter's by {apart}")
    found = {
        "kernel": f"right (differs by {apart:.1e} at most)", "compiled in": f"{times[0] * 1e3:.1f} ms",
        "ran in": f"{times[1] * 1e6:.1f} us",
    }  # fmt: skip
    start = time.perf_counter()
    found["training step"] = _training_step()
    found["step in"] = f"{(time.perf_counter() - start) * 1e3:.0f} ms, compilation included"
    return found


def _training_step() -> str:
    """A step of gradient descent, compared with its formula."""
    import numpy

    from facula.operators import linear, ones, tensor

    rng = numpy.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(numpy.float32) for shape in ((8, 5), (3, 5), (3,)))
    weight: Any = tensor(w.tolist(), requires_grad=True)
    out: Any = linear(tensor(x.tolist()), weight, tensor(b.tolist()))
    (out * out * ones(8, 3)).sum().backward()
    expected = 2 * (x @ w.T + b).T @ x
    apart = float(numpy.abs(weight.grad.numpy() - expected).max())
    if not apart < 1e-3:
        raise AssertionError(f"the gradient of a linear layer is wrong by {apart}")
    return f"right (gradient differs by {apart:.1e} at most)"


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "versions": versions,
    "processor": processor,
    "threads": threads,
    "cache of machine code": cache,
    "GPU": gpu,
    "libraries of NumPy": libraries,
    "optional packages": optional,
    "environment": environment,
    "self-test": self_test,
}


def examine() -> dict[str, dict[str, Any]]:
    """All sections; an error in one is its entry `error`.

    >>> list(examine())[0]
    'versions'
    """
    found: dict[str, dict[str, Any]] = {}
    for title, section in SECTIONS.items():
        try:
            found[title] = section()
        except Exception as error:  # whatever it is: a report that says so is better than none
            found[title] = {"error": f"{type(error).__name__}: {error}"}
    return found


def text(found: dict[str, dict[str, Any]] | None = None) -> str:
    """The report to paste: a heading for each section, a line for each thing."""
    lines = []
    for title, values in (examine() if found is None else found).items():
        lines.append(f"{title}:")
        width = max(map(len, values), default=0)
        for name, value in values.items():
            first, *rest = str(value).splitlines() or [""]
            lines.append(f"  {name.ljust(width)}  {first}")
            lines += [" " * (width + 4) + line for line in rest]
        lines.append("")
    return "\n".join(lines).rstrip()


def main(as_json: bool = False) -> int:
    """Print the report; 1 where a section has an error, so that scripts can ask."""
    found = examine()
    print(json.dumps(found, indent=2, default=str) if as_json else text(found))
    return int(any("error" in values for values in found.values()))
