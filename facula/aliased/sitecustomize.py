"""Run at the start of Python processes that a `facula run` program starts: `import torch` means facula in them too."""

import os
import sys


def _start() -> None:
    """Leave no trace on the path, run the sitecustomize that this one hides, install the alias."""
    import importlib.util
    from importlib.machinery import PathFinder

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    hidden = PathFinder.find_spec("sitecustomize", sys.path)
    if hidden is not None and hidden.loader is not None:
        module = importlib.util.module_from_spec(hidden)
        sys.modules["sitecustomize"] = module
        hidden.loader.exec_module(module)
    if os.environ.get("FACULA_ALIAS") == "1":
        package = os.path.dirname(here)
        spec = importlib.util.spec_from_file_location("_facula_alias", os.path.join(package, "alias.py"))
        assert spec is not None and spec.loader is not None
        alias = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(alias)
        alias.install()
        if PathFinder.find_spec("facula", sys.path) is None and importlib.util.find_spec("facula") is None:
            sys.path.append(os.path.dirname(package))  # facula was found through the parent's own path


if __name__ == "sitecustomize":
    _start()
