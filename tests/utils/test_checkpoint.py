"""Helpers of `torch.utils.checkpoint` that are not its checkpoints themselves."""

import warnings

import pytest

import facula as torch
from facula.utils import checkpoint as checkpoints


def test_helpers_of_checkpoints():
    x = torch.ones(2, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoints.check_backward_validity((x, 3))
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoints.check_backward_validity((x.detach(),))
    assert checkpoints.get_device_states(x, [x, 3]) == ([], [])
    checkpoints.set_device_states([], [])
    assert checkpoints.DefaultDeviceType.get_device_type() == "cpu"
    with (
        checkpoints.GraphExecGroup(),
        pytest.raises(RuntimeError, match="GraphExecGroup contexts cannot be nested"),
        checkpoints.GraphExecGroup(),
    ):
        pass
    with checkpoints.GraphExecGroup():
        assert not checkpoints.SAC_IGNORED_OPS
