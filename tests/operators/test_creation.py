"""Making tensors, dtypes, promotion, conversions: small programs against what they printed under PyTorch."""

import pytest

import facula
from tests.operators.scenarios import SCENARIOS
from tests.scenarios import compare, recorded, run


@pytest.mark.parametrize("program", SCENARIOS, ids=lambda p: p.__name__)
def test_scenario(program):
    compare(run(program, facula), recorded("operators")[program.__name__], program.__name__)
