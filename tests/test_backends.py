"""Switches that programs set, and what they are told of engines that facula does not call."""

import subprocess
import sys

import pytest

import facula as torch
from facula.core import precision

PROGRAM = """
import torch
import torch.backends.cudnn as cudnn
cudnn.benchmark = True
cudnn.deterministic = True
torch.backends.cuda.matmul.allow_tf32 = True
assert torch.backends.cudnn.benchmark and torch.backends.cuda.matmul.allow_tf32
assert not torch.backends.mps.is_available() and torch.version.cuda is None
"""


def test_programs_set_switches():
    done = subprocess.run(
        [sys.executable, "-m", "facula", "run", "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_switches_go_back_after_a_block():
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    with cudnn.flags(enabled=False, benchmark=True), cuda.sdp_kernel(enable_flash=False):
        assert (cudnn.enabled, cudnn.benchmark, cuda.flash_sdp_enabled()) == (False, True, False)
    assert (cudnn.enabled, cudnn.benchmark, cuda.flash_sdp_enabled()) == (True, False, True)
    before = cudnn.set_flags(_deterministic=True)
    assert cudnn.deterministic
    cudnn.set_flags(*before)
    assert not cudnn.deterministic
    for name in ("cudnn", "mkl", "mkldnn", "mps", "nnpack", "openmp", "opt_einsum"):
        assert not getattr(torch.backends, name).is_available()
    assert not cuda.is_built()


@pytest.fixture
def switches(monkeypatch):
    """Switches of precision as they are in a fresh process."""
    monkeypatch.setattr(precision.NOW, "products", precision.Products())
    monkeypatch.setattr(precision.NOW, "matmul", "highest")
    for name in ("tf32", "told"):
        monkeypatch.setattr(precision.CONVOLUTIONS, name, True)
    for key, value in precision.FLOAT32.items():
        monkeypatch.setitem(precision.FLOAT32, key, value)


def seen(module) -> list:
    """What all names of the precision of products say, or the first words of their errors."""
    found = []
    for read in (
        lambda: module.backends.cuda.matmul.allow_tf32,
        lambda: module.backends.cuda.matmul.fp32_precision,
        module.get_float32_matmul_precision,
        lambda: module.backends.fp32_precision,
    ):
        try:
            found.append(read())
        except RuntimeError as error:
            found.append(str(error).split(",")[0])
    return found


TF32 = "PyTorch is checking whether allow_tf32_new is enabled for cuBlas matmul"
WHOLE = "PyTorch is checking the matmul precision without a specific backend name"
# Recorded from PyTorch 2.13, one after the other: what is done, what then is seen.
STEPS = [
    (lambda m: None, [False, "none", "highest", "none"]),
    (lambda m: setattr(m.backends.cuda.matmul, "allow_tf32", True), [True, "tf32", "high", "none"]),
    (lambda m: setattr(m.backends.cuda.matmul, "allow_tf32", False), [False, "ieee", "highest", "none"]),
    (lambda m: m.set_float32_matmul_precision("high"), [True, "tf32", "high", "none"]),
    (lambda m: m.set_float32_matmul_precision("medium"), [True, "tf32", "medium", "none"]),
    (lambda m: setattr(m.backends.cuda.matmul, "allow_tf32", True), [True, "tf32", WHOLE, "none"]),
    (lambda m: m.set_float32_matmul_precision("highest"), [False, "ieee", "highest", "none"]),
    (lambda m: setattr(m.backends.cuda.matmul, "fp32_precision", "tf32"), [TF32, "tf32", WHOLE, "none"]),
    (lambda m: setattr(m.backends.cuda.matmul, "fp32_precision", "none"), [False, "none", "highest", "none"]),
    (lambda m: setattr(m.backends, "fp32_precision", "tf32"), [TF32, "tf32", WHOLE, "tf32"]),
    (lambda m: setattr(m.backends, "fp32_precision", "bf16"), [False, "none", "highest", "bf16"]),
    (lambda m: setattr(m.backends, "fp32_precision", "none"), [False, "none", "highest", "none"]),
]


def test_names_of_the_precision_of_products(switches):
    for number, (step, wanted) in enumerate(STEPS):
        step(torch)
        assert seen(torch) == wanted, number
        assert precision.NOW.products.tf32 == (wanted[1] == "tf32")


def test_names_of_the_precision_of_convolutions(switches):
    """`tests/conformance/test_backends.py` has more of them, beside PyTorch."""
    cudnn, now = torch.backends.cudnn, lambda: precision.CONVOLUTIONS.tf32
    assert (cudnn.allow_tf32, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, now()) == (
        True,
        "tf32",
        "tf32",
        True,
    )
    cudnn.allow_tf32 = False
    assert (cudnn.allow_tf32, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, now()) == (
        False,
        "none",
        "none",
        False,
    )
    torch.backends.fp32_precision = "tf32"
    assert (cudnn.fp32_precision, cudnn.conv.fp32_precision, now()) == ("tf32", "tf32", True)
    with pytest.raises(RuntimeError, match="cuDNN conv and cuDNN RNN have different TF32 flags"):
        cudnn.allow_tf32  # noqa: B018
    cudnn.fp32_precision = "ieee"
    assert (cudnn.conv.fp32_precision, now()) == ("ieee", False)
    cudnn.conv.fp32_precision = "tf32"
    assert (cudnn.rnn.fp32_precision, now()) == ("ieee", True)
    with torch.backends.mkldnn.flags(allow_tf32=None), torch.backends.flags("bf16"):
        assert torch.backends.mkldnn.conv.fp32_precision == "bf16" and not torch.backends.mkldnn.enabled
    assert torch.backends.fp32_precision == "tf32" and torch.backends.mkldnn.enabled


def test_precision_that_makes_no_sense(switches):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with pytest.warns(UserWarning, match="foo is not one of 'highest', 'high', or 'medium'"):
        torch.set_float32_matmul_precision("foo")
    for error, words, what in (
        (RuntimeError, "Unknown precision: x", lambda: setattr(matmul, "fp32_precision", "x")),
        (RuntimeError, "backend 'cuda' does not support precision 'bf16'",
         lambda: setattr(matmul, "fp32_precision", "bf16")),
        (RuntimeError, "set_allow_tf32_cublas expects a bool, but got int", lambda: setattr(matmul, "allow_tf32", 1)),
        (RuntimeError, "set_float32_matmul_precision expects a str, but got int",
         lambda: torch.set_float32_matmul_precision(1)),
        (AttributeError, "Unknown attribute foo", lambda: setattr(matmul, "foo", 1)),
        (AttributeError, "Unknown attribute foo", lambda: matmul.foo),
        (AttributeError, "Unknown attribute foo", lambda: setattr(cudnn.conv, "foo", 1)),
        (AttributeError, "Unknown attribute foo", lambda: cudnn.conv.foo),
        (RuntimeError, "Unknown precision: x", lambda: setattr(cudnn.conv, "fp32_precision", "x")),
        (RuntimeError, "backend 'cuda' does not support precision 'bf16'",
         lambda: setattr(cudnn, "fp32_precision", "bf16")),
        (TypeError, "incompatible function arguments", lambda: setattr(cudnn, "fp32_precision", None)),
        (RuntimeError, "set_allow_tf32_cublas expects a bool, but got int", lambda: setattr(cudnn, "allow_tf32", 1)),
        (RuntimeError, "set_benchmark_cudnn expects a bool, but got int", lambda: setattr(cudnn, "benchmark", 1)),
        (RuntimeError, "Unknown cuDNN depthwise kernel mode: x. Expected one of: auto, cudnn, native",
         lambda: setattr(cudnn, "depthwise_kernel", "x")),
        (RuntimeError, "_set_onednn_allow_tf32 expects a bool, but got int",
         lambda: setattr(torch.backends.mkldnn, "allow_tf32", 1)),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            what()
    assert seen(torch) == STEPS[0][1]


def test_how_parts_of_sums_are_put_together(switches):
    matmul = torch.backends.cuda.matmul
    for kind in "fp16", "bf16":
        name = f"allow_{kind}_reduced_precision_reduction"
        for given, wanted in ((False, (False, True)), ((False, False), (False, False)), ([True], (True, True))):
            setattr(matmul, name, given)
            assert (getattr(matmul, name), getattr(matmul, f"{name}_split_k")) == wanted
            assert getattr(precision.NOW.products, f"{kind}_reduced") == wanted
        for error, words, given in (
            (RuntimeError, "allow_splitk=False is not supported", (True, False)),
            (TypeError, "expects a bool or a tuple/list of bools, but got <class 'int'>", 1),
            (TypeError, "expects at least one boolean argument", ()),
            (TypeError, "expects at most two boolean arguments", (True, True, True)),
            (TypeError, "expects a bool for allow_splitk, but got <class 'int'>", (False, 1)),
        ):
            with pytest.raises(error, match=words):
                setattr(matmul, name, given)
    assert not matmul.allow_fp16_accumulation
    matmul.allow_fp16_accumulation = True
    assert matmul.allow_fp16_accumulation and precision.NOW.products.fp16_accumulation


def test_settings_that_do_not_change_keep_their_record(switches):
    """Products look whether the record is the same one."""
    before = precision.NOW.products
    for same in ("ieee", "none"):
        torch.backends.cuda.matmul.fp32_precision = same
    assert precision.NOW.products is before
