"""The public names are PyTorch's, with its parameters' names."""

import torch

import facula

OWN = {"get_printoptions", "memory_stats"}  # of torch._tensor_str, of facula's memory


def test_every_public_name_is_one_of_pytorch():
    assert {n for n in facula.__all__ if not hasattr(torch, n)} == OWN


def test_every_public_method_is_one_of_pytorch():
    record = {"base", "edge", "extra", "names", "needs_grad", "ptr", "seen", "spec"}
    own = {n for n in dir(facula.Tensor) if not n.startswith("_") and not hasattr(torch.Tensor, n)}
    assert own == record


def test_every_refused_name_is_one_of_pytorch():
    from facula.later import LATER

    assert {n for n in LATER if not hasattr(torch, n)} == {"show", "watch"}  # facula's own
