"""Every switch and environment variable, in one table, read once at import; who uses a switch is said in its row."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from facula.errors import fail

__all__ = ["SWITCHES", "VERSION", "Settings", "Switch", "settings", "usable_cores"]

VERSION = "0.1.0"


class Switch(NamedTuple):
    """A row of the table: attribute of `settings`, environment variables (the first one set counts), type, default."""

    name: str
    variables: tuple[str, ...]
    type: type
    default: Any  # a value, or a function of the environment
    text: str


def _cache_dir(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return Path("~/Library/Caches/facula").expanduser()
    if sys.platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "facula" / "cache"
    home = environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "facula"


def usable_cores(environ: Mapping[str, str] | None = None) -> int:
    """How many cores this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quarter_of_memory(environ: Mapping[str, str]) -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):
        return 1 << 30


SWITCHES = (
    Switch("target", ("FACULA_TARGET",), str, "", '"reference": run kernels in the NumPy interpreter instead'),
    Switch("cache", ("FACULA_CACHE",), bool, True, "keep machine code on disk between runs"),
    Switch("cache_dir", ("FACULA_CACHE_DIR",), Path, _cache_dir, "the folder of that machine code"),
    Switch("num_threads", ("FACULA_NUM_THREADS", "OMP_NUM_THREADS"), int, usable_cores, "how many threads kernels use"),
    Switch("spin_us", ("FACULA_SPIN_US",), int, 20, "microseconds that an idle worker looks for work before it sleeps"),
    Switch("pool_bytes", ("FACULA_POOL_BYTES",), int, _quarter_of_memory, "bytes of freed memory to keep for reuse"),
    Switch("notes", ("FACULA_NOTES",), bool, True, "errors have notes below PyTorch's message (docs/errors.md)"),
    Switch("dump_dir", ("FACULA_DUMP_DIR",), Path, None, "a folder for the LLVM text of all that is compiled"),
)  # fmt: skip

_BOOLS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_LOWEST = {"num_threads": 1, "spin_us": 0, "pool_bytes": 0}


def _parse(switch: Switch, variable: str, text: str) -> Any:
    """The value that the user wrote; ValueError naming the variable where it makes no sense."""
    if switch.type is bool:
        value = _BOOLS.get(text.strip().lower())
    elif switch.type is int:
        first = text.split(",")[0].strip()  # OMP_NUM_THREADS may list one number a nesting level
        value = int(first) if first.removeprefix("-").isdigit() else None
        if value is not None and value < _LOWEST.get(switch.name, value):
            value = None
    else:
        value = Path(text).expanduser() if switch.type is Path else text
    if value is None:
        lowest = f" of at least {_LOWEST[switch.name]}" if switch.name in _LOWEST else ""
        fail(
            ValueError,
            f"the environment variable {variable} is not understood",
            expected=f"{switch.type.__name__}{lowest}: {switch.text}",
            got=repr(text),
            mend=f"unset {variable}, or give it such a value",
        )
    return value


class Settings:
    """The value of each switch, as an attribute.

    >>> Settings({"FACULA_NUM_THREADS": "3"}).num_threads
    3
    """

    target: str
    cache: bool
    cache_dir: Path
    num_threads: int
    spin_us: int
    pool_bytes: int
    notes: bool
    dump_dir: Path | None

    def __init__(self, environ: Mapping[str, str]):
        for switch in SWITCHES:
            given = next((v for v in switch.variables if environ.get(v, "") != ""), None)
            if given is not None:
                value = _parse(switch, given, environ[given])
            else:
                value = switch.default(environ) if callable(switch.default) else switch.default
            setattr(self, switch.name, value)


settings = Settings(os.environ)
