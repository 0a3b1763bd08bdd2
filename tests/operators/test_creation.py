"""Making tensors, dtypes, promotion, conversions: small programs against what they printed under PyTorch."""

import pytest

import facula
from tests.operators.scenarios import SCENARIOS
from tests.scenarios import compare, recorded, run


@pytest.mark.parametrize("program", SCENARIOS, ids=lambda p: p.__name__)
def test_scenario(program):
    compare(run(program, facula), recorded("operators")[program.__name__], program.__name__)


def test_a_device_is_a_block_in_which_tensors_are_made():
    torch = facula
    cpu = torch.device("cpu")
    with cpu as where, torch.device("cpu"):
        assert where is cpu and torch.get_default_device() == cpu and torch.zeros(2).device == cpu
    with pytest.raises(AssertionError, match="CUDA"), torch.device("cuda"):
        torch.zeros(2)
    assert torch.get_default_device() == cpu  # also after an error

    @cpu
    def made(n):
        """Documented."""
        return torch.ones(n)

    assert made(3).tolist() == [1, 1, 1] and made.__doc__ == "Documented."


def test_what_is_remembered_of_zeros_goes_with_the_defaults():
    assert facula.zeros(3).dtype is facula.float32
    facula.set_default_dtype(facula.float64)
    try:
        assert facula.zeros(3).dtype is facula.float64
    finally:
        facula.set_default_dtype(facula.float32)
    assert facula.zeros(3).dtype is facula.float32


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [("uint8", "unsigned char", 255), ("uint16", "short unsigned int", 65535), ("int16", "short", 32767)],
)
def test_bounds_of_whole_numbers(kind, name, most):
    dtype = getattr(facula, kind)
    assert facula.randint(most, most + 1, (2,), dtype=dtype).tolist() == [most, most]
    with pytest.raises(RuntimeError, match=f"to - 1 is out of bounds for {name}"):
        facula.randint(0, most + 2, (2,), dtype=dtype)
