"""How much products of floats may round, as programs set it: read by targets when they choose how to compute.

`torch.backends`, `torch.set_float32_matmul_precision` set it; CPUs always compute in full precision.
"""

from typing import NamedTuple

from facula.errors import fail

from .switches import Switches

__all__ = [
    "CONVOLUTIONS", "FLOAT32", "MATMUL", "NOW", "Products", "allow_cudnn_tf32", "allow_tf32", "change_products",
    "cudnn_tf32_allowed", "float32_precision", "matmul", "set_float32_precision", "set_matmul", "tf32_allowed",
]  # fmt: skip


class Products(NamedTuple):
    """What matrix products on GPUs may do; a record is never changed, so that `is` says whether one was."""

    tf32: bool = False  # float32 operands are rounded to TF32's 10 bits
    fp16_accumulation: bool = False  # float16 products are summed in float16
    fp16_reduced: tuple[bool, bool] = (True, True)  # partial sums of float16 products may be float16; may be at all
    bf16_reduced: tuple[bool, bool] = (True, True)


# What holds now; `matmul` is the word of `torch.set_float32_matmul_precision`.
NOW = Switches(products=Products(), matmul="highest")
# Of convolutions on GPUs: what holds now; what the older name was told.
CONVOLUTIONS = Switches(tf32=True, told=True)

# What (library, operation) was told: "none" asks the row of the library, then that of all libraries. Nobody asks for
# ("cuda", "rnn"): recurrent layers are made of products.
FLOAT32 = {
    ("generic", "all"): "none", ("mkldnn", "all"): "none", ("mkldnn", "conv"): "none", ("mkldnn", "rnn"): "none",
    ("mkldnn", "matmul"): "none", ("cuda", "all"): "none", ("cuda", "conv"): "tf32", ("cuda", "rnn"): "tf32",
    ("cuda", "matmul"): "none",
}  # fmt: skip
SUPPORTED = {
    "generic": ("ieee", "tf32", "bf16", "none"), "mkldnn": ("ieee", "tf32", "bf16", "none"),
    "cuda": ("ieee", "tf32", "none"),
}  # fmt: skip
_SEE = "https://pytorch.org/docs/main/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices"
_HOW = (
    "Current status indicate that you have used mix of the legacy and new APIs to set the {}. We suggest only using "
    f"the new API {{}}. See also: {_SEE}"
)


def float32_precision(library: str, operation: str) -> str:
    """What float32 operands of an operation may be rounded to: "ieee" (nothing), "tf32", "bf16" or "none": not said.

    >>> float32_precision("cuda", "conv"), float32_precision("cuda", "matmul")
    ('tf32', 'none')
    """
    for key in ((library, operation), (library, "all"), ("generic", "all")):
        if FLOAT32[key] != "none":
            return FLOAT32[key] if FLOAT32[key] in SUPPORTED[library] else "none"
    return "none"


def set_float32_precision(library: str, operation: str, precision: str) -> None:
    """Say what they may be rounded to; RuntimeError for what the library does not know."""
    if precision not in SUPPORTED["generic"]:
        fail(RuntimeError, f"Unknown precision: {precision}", expected=", ".join(SUPPORTED[library]))
    if precision not in SUPPORTED[library]:
        fail(RuntimeError, f"backend '{library}' does not support precision '{precision}'",
             expected=", ".join(SUPPORTED[library]))  # fmt: skip
    FLOAT32[library, operation] = precision
    _renew()


def _renew() -> None:
    change_products(tf32=float32_precision("cuda", "matmul") == "tf32")
    CONVOLUTIONS.tf32 = float32_precision("cuda", "conv") == "tf32"


def change_products(**changes: bool | tuple[bool, bool]) -> None:
    """Change some of what products may do."""
    NOW.products = NOW.products._replace(**changes)


def tf32_allowed() -> bool:
    """The older name of ("cuda", "matmul"): RuntimeError where both names were used and say different things."""
    new = float32_precision("cuda", "matmul") == "tf32"
    if new != (NOW.matmul != "highest"):
        said = _HOW.format("TF32 status for cublas matmul", "to set the TF32 flag")
        fail(RuntimeError, f"PyTorch is checking whether allow_tf32_new is enabled for cuBlas matmul,{said}")
    return new


def allow_tf32(allowed: bool) -> None:
    """Set it by its older name."""
    NOW.matmul = "high" if allowed else "highest"
    set_float32_precision("cuda", "matmul", "tf32" if allowed else "ieee")


def cudnn_tf32_allowed() -> bool:
    """The older name of ("cuda", "conv") and ("cuda", "rnn"): RuntimeError where these say something else."""
    now = {float32_precision("cuda", operation) == "tf32" for operation in ("conv", "rnn")}
    if now != {CONVOLUTIONS.told}:
        fail(
            RuntimeError,
            "PyTorch is checking whether allow_tf32 is enabled for cuDNN without a specific operator name,but the "
            "current flag(s) indicate that cuDNN conv and cuDNN RNN have different TF32 flags.This combination "
            "indicates that you have used a mix of the legacy and new APIs to set the TF32 flags. We suggest only "
            f"using the new API to set the TF32 flag(s). See also: {_SEE}",
        )
    return CONVOLUTIONS.told


def allow_cudnn_tf32(allowed: bool) -> None:
    """Set both by their older name."""
    CONVOLUTIONS.told = allowed
    for operation in ("rnn", "conv"):
        set_float32_precision("cuda", operation, "tf32" if allowed else "none")


MATMUL = {"highest": ("ieee", "ieee"), "high": ("tf32", "tf32"), "medium": ("tf32", "bf16")}  # of GPUs, of CPUs


def set_matmul(precision: str) -> None:
    """`torch.set_float32_matmul_precision`, of a name that is one of `MATMUL`."""
    NOW.matmul = precision
    for library, own in zip(("cuda", "mkldnn"), MATMUL[precision]):
        set_float32_precision(library, "matmul", own)


def matmul() -> str:
    """What `set_matmul` was called with; RuntimeError where other names say different things."""
    gpu, cpu = (float32_precision(library, "matmul") for library in ("cuda", "mkldnn"))
    low, half = gpu == "tf32" and NOW.matmul == "highest", cpu == "bf16" and NOW.matmul != "medium"
    if low or half or (cpu == "tf32" and NOW.matmul != "high"):
        said = _HOW.format("matmul precision", "for matmul precision")
        fail(RuntimeError, f"PyTorch is checking the matmul precision without a specific backend name,{said}")
    return NOW.matmul
