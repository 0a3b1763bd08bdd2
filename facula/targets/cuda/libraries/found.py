"""NVIDIA's libraries that are called: which of them are there, for `facula doctor`."""

from collections.abc import Callable

from .. import nvrtc
from . import cublaslt, dnn_api

__all__ = ["found"]


def _nvrtc() -> str:
    try:
        return "{}.{}".format(*nvrtc.version())
    except ModuleNotFoundError as error:
        return f"absent ({error})"


def _cublaslt() -> str:
    return cublaslt.version() if cublaslt.library() is not None else f"absent ({cublaslt.reason()})"


def _cudnn() -> str:
    return str(dnn_api.version() or f"absent ({dnn_api.reason()})")


LIBRARIES: dict[str, Callable[[], str]] = {"NVRTC": _nvrtc, "cuBLASLt": _cublaslt, "cuDNN": _cudnn}


def found() -> dict[str, str]:
    """The version of each, or why it is not to be had."""
    return {name: ask() for name, ask in LIBRARIES.items()}
