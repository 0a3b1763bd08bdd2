"""`torch.__config__`: what facula was built with, which is nothing, and what it generates code for."""

from facula import doctor

__all__ = ["parallel_info", "show"]


def show() -> str:
    """The versions and the processor, as text.

    >>> show().splitlines()[0]
    'facula is not built: it generates machine code while it runs'
    """
    lines = ["facula is not built: it generates machine code while it runs"]
    for section in (doctor.versions, doctor.processor, doctor.libraries):
        try:
            lines += [f"  - {name}: {value}" for name, value in section().items()]
        except Exception as error:  # a description never fails
            lines.append(f"  - {section.__name__}: {type(error).__name__}: {error}")
    return "\n".join(lines) + "\n"


def parallel_info() -> str:
    """Threads, and the variables that set their number.

    >>> "get_num_threads" in parallel_info()
    True
    """
    import os

    from facula.threads import get_num_interop_threads, get_num_threads

    lines = ["facula/Parallel:", f"\tget_num_threads() : {get_num_threads()}",
             f"\tget_num_interop_threads() : {get_num_interop_threads()}", f"os.cpu_count() : {os.cpu_count()}",
             "Environment variables:"]  # fmt: skip
    for name in ("FACULA_NUM_THREADS", "OMP_NUM_THREADS"):
        lines.append(f"\t{name} : {os.environ.get(name, '[not set]')}")
    return "\n".join([*lines, "parallel backend: threads of facula's own", ""])


def _cxx_flags() -> str:
    """The flags of a C++ compiler: there was none."""
    return ""
