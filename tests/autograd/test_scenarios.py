"""Autograd's semantics: what small programs print under facula is what they printed under PyTorch."""

import pytest

import facula
from tests.autograd.scenarios import SCENARIOS
from tests.scenarios import compare, recorded, run


@pytest.mark.parametrize("program", SCENARIOS, ids=lambda p: p.__name__)
def test_scenario(program):
    compare(run(program, facula), recorded("autograd")[program.__name__], program.__name__)
