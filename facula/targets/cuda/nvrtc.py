"""CUDA C++ text in, machine code of one architecture out: NVRTC, and the cache on disk; needs no GPU."""

from collections.abc import Sequence
from functools import cache as remembered
from importlib import import_module
from typing import Any

from facula.codegen import cache
from facula.config import VERSION, settings
from facula.errors import fail

__all__ = ["architecture", "build", "cubin", "version"]

# Products and sums are rounded each, as on other machines: where one rounding is meant the text says fma.
OPTIONS = ("--std=c++17", "--fmad=false")


@remembered
def _library() -> Any:
    """The bindings of NVRTC."""
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
        nvrtc.nvrtcVersion()  # loads the library, or says that there is none
    except (ImportError, RuntimeError) as error:  # pathfinder's DynamicLibNotFoundError is a RuntimeError
        fail(
            ModuleNotFoundError,
            "kernels for CUDA are compiled by NVRTC, which is not installed",
            got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            mend="pip install 'facula[cuda]'",
        )
    return nvrtc


@remembered
def version() -> tuple[int, int]:
    """NVRTC's version."""
    nvrtc = _library()
    return _good(nvrtc.nvrtcVersion(), "nvrtcVersion")


def architecture(capability: tuple[int, int]) -> str:
    """What texts are compiled for on a GPU: machine code of its own, or of an older one of its major version.

    For a GPU that is newer than NVRTC it is PTX of the newest one that NVRTC knows, which the driver compiles on.
    """
    nvrtc = _library()
    own, known = 10 * capability[0] + capability[1], _good(nvrtc.nvrtcGetSupportedArchs(), "nvrtcGetSupportedArchs")
    fit = [number for number in known if number <= own]
    if not fit:
        fail(RuntimeError, f"NVRTC {version()} has no machine code for compute capability {capability}", got=known)
    newest = max(fit)
    return f"sm_{newest}" if newest // 10 == capability[0] else f"compute_{newest}"


def _good(answer: tuple, call: str) -> Any:
    """What a call returned besides its status; RuntimeError where that is none of success."""
    status, *found = answer
    if int(status) != 0:
        fail(RuntimeError, f"{call} failed: {getattr(status, 'name', status)}")
    return found[0] if len(found) == 1 else tuple(found)


def build(text: str, architecture: str, more: Sequence[str] = ()) -> tuple[bytes, str]:
    """Machine code for an architecture, and what NVRTC said besides.

    Parameters
    ----------
    text : str
        CUDA C++ without includes.
    architecture : str
        `sm_90`: machine code for that one; `compute_90`: PTX, NVIDIA's assembly for any from that one on.
    more : sequence of str
        Options besides `OPTIONS`.

    Raises
    ------
    RuntimeError
        Where NVRTC refuses the text, with its words and the lines that it names.
    """
    nvrtc = _library()
    program = _good(nvrtc.nvrtcCreateProgram(text.encode(), b"kernel.cu", 0, [], []), "nvrtcCreateProgram")
    try:
        options = [option.encode() for option in (f"--gpu-architecture={architecture}", *OPTIONS, *more)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        log = bytearray(_good(nvrtc.nvrtcGetProgramLogSize(program), "nvrtcGetProgramLogSize"))
        _good(nvrtc.nvrtcGetProgramLog(program, log), "nvrtcGetProgramLog")
        said = log.decode(errors="replace").strip("\0 \n")
        if int(status) != 0:
            fail(RuntimeError, f"NVRTC refuses the generated text: {said[:2000]}", got=_excerpt(text, said))
        kind = "PTX" if architecture.startswith("compute_") else "CUBIN"
        code = bytearray(_good(getattr(nvrtc, f"nvrtcGet{kind}Size")(program), f"nvrtcGet{kind}Size"))
        _good(getattr(nvrtc, f"nvrtcGet{kind}")(program, code), f"nvrtcGet{kind}")
        return bytes(code), said
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def cubin(text: str, architecture: str, name: str = "kernel") -> bytes:
    """Machine code for an architecture such as `sm_90`: from the cache on disk, or compiled and kept there."""
    key = cache.key(text, architecture, " ".join(OPTIONS), "{}.{}".format(*version()), VERSION)
    code = cache.read(key, "cuda")
    if code is None:
        if settings.dump_dir is not None:
            settings.dump_dir.mkdir(parents=True, exist_ok=True)
            (settings.dump_dir / f"{name}.{key[:24]}.cu").write_text(text)
        code, _ = build(text, architecture)
        cache.write(key, code, "cuda")
    return code


def _excerpt(text: str, said: str) -> str:
    """The line of the text that NVRTC's first error names, with its neighbours."""
    _, found, rest = said.partition("kernel.cu(")
    number = rest.split(")")[0]
    if not found or not number.isdigit():
        return text if len(text) < 400 else text[:400] + " ..."
    line, lines = int(number), text.splitlines()
    return "\n" + "\n".join(f"{n}: {lines[n - 1]}" for n in range(max(1, line - 2), min(len(lines), line + 2) + 1))
