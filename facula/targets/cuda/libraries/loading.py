"""Where NVIDIA's libraries are: `cuda.pathfinder` says, and of one that it does not know yet, its own package."""

import ctypes
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(name: str, file: str) -> Any:
    """A library by pathfinder's name; else `nvidia/<name>/lib/<file>`: cuDNN is known from pathfinder 1.7 on.

    Raises
    ------
    ImportError, OSError, RuntimeError
        Where there is none; pathfinder's DynamicLibNotFoundError is a RuntimeError.
    """
    pathfinder = import_module("cuda.pathfinder")
    try:
        found = pathfinder.load_nvidia_dynamic_lib(name).abs_path
    except (ValueError, RuntimeError) as error:  # before version 1.5 an unknown name is a ValueError
        packages = find_spec("nvidia")
        folders = packages.submodule_search_locations if packages is not None else None
        paths = [Path(folder, name, "lib", file) for folder in folders or ()]
        found = next((str(path) for path in paths if path.exists()), None)
        if found is None:
            raise error if isinstance(error, RuntimeError) else RuntimeError(str(error)) from None
    return ctypes.CDLL(found)
