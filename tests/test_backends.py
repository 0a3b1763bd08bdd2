"""Switches that programs set, and what they are told of engines that facula does not call."""

import subprocess
import sys

import facula as torch

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
