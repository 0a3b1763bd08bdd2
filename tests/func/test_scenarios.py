"""Function transforms and interception: what small programs print under facula is what they printed under PyTorch."""

import pytest

import facula
from tests.func.scenarios import SCENARIOS
from tests.scenarios import compare, recorded, run


@pytest.mark.parametrize("program", SCENARIOS, ids=lambda p: p.__name__)
def test_scenario(program):
    compare(run(program, facula), recorded("func")[program.__name__], program.__name__)
