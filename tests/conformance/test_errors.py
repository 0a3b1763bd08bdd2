"""The situations of `tests/explain/` under PyTorch: the same type of error, the same first line."""

import pytest
import torch

from tests.explain.situations import ALONE, GPU, said, situations

ALL = situations()


@pytest.mark.parametrize("situation", ALL, ids=[s.name for s in ALL])
def test_type_and_first_line(situation):
    theirs = said(situation.program, torch)
    if situation.name.endswith(ALONE):
        assert theirs == ""
    elif situation.name.endswith(GPU):
        assert theirs.startswith("RuntimeError: Tensor on device ")
        assert situation.text.startswith(
            "RuntimeError: Expected all tensors to be on the same device, but found at least"
        )
    else:
        assert situation.text.split("\n")[0] == theirs.split("\n")[0]
