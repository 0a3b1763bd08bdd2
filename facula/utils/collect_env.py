"""`python -m torch.utils.collect_env`: PyTorch's name for the report of `facula doctor`."""

from typing import Any, NamedTuple

from facula import doctor

__all__ = ["SystemEnv", "get_env_info", "get_pretty_env_info", "main", "pretty_str"]


class SystemEnv(NamedTuple):
    """What PyTorch's report says by name; None where it has no meaning here."""

    torch_version: str
    is_debug_build: str
    cuda_compiled_version: str | None
    gcc_version: str | None
    clang_version: str | None
    cmake_version: str | None
    os: str
    libc_version: str
    python_version: str
    python_platform: str
    is_cuda_available: str
    cuda_runtime_version: str | None
    cuda_module_loading: str | None
    nvidia_driver_version: str | None
    nvidia_gpu_models: str | None
    cudnn_version: str | None
    is_xpu_available: str
    pip_version: str
    pip_packages: str
    conda_packages: str
    hip_compiled_version: str | None
    hip_runtime_version: str | None
    miopen_runtime_version: str | None
    caching_allocator_config: str
    is_xnnpack_available: str
    cpu_info: str


def get_env_info() -> SystemEnv:
    """The report's values under PyTorch's names.

    >>> get_env_info().is_cuda_available
    'False'
    """
    import platform
    import sys

    found = {name: _section(name) for name in ("versions", "processor", "GPU", "optional packages")}
    said: dict[str, Any] = found["versions"]
    packages = "\n".join(f"[pip3] {name}=={version}" for name, version in found["optional packages"].items()
                         if version != "absent")  # fmt: skip
    return SystemEnv(
        torch_version=f"2.13.0+facula ({said.get('facula')})", is_debug_build="False", cuda_compiled_version=None,
        gcc_version=None, clang_version=None, cmake_version=None, os=str(said.get("system")),
        libc_version=str(said.get("C library")), python_version=sys.version, python_platform=platform.platform(),
        is_cuda_available=str(found["GPU"].get("used", False)), cuda_runtime_version=None, cuda_module_loading=None,
        nvidia_driver_version=None, nvidia_gpu_models=found["GPU"].get("NVIDIA"), cudnn_version=None,
        is_xpu_available="False", pip_version="pip3", pip_packages=packages, conda_packages="",
        hip_compiled_version=None, hip_runtime_version=None, miopen_runtime_version=None, caching_allocator_config="",
        is_xnnpack_available="False",
        cpu_info="\n".join(f"{name}: {value}" for name, value in found["processor"].items()),
    )  # fmt: skip


def _section(name: str) -> dict[str, Any]:
    try:
        return doctor.SECTIONS[name]()
    except Exception as error:  # as `doctor.examine`: say it, and go on
        return {"error": f"{type(error).__name__}: {error}"}


def pretty_str(envinfo: SystemEnv) -> str:
    """The values, a line each."""
    return "\n".join(f"{name}: {value}" for name, value in envinfo._asdict().items())


def get_pretty_env_info() -> str:
    """The report of `facula doctor`.

    >>> get_pretty_env_info().splitlines()[0]
    'versions:'
    """
    return doctor.text()


def main() -> None:
    """Print it."""
    print("Collecting environment information...")
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
