"""Function transforms and interception beside real PyTorch, and PyTorch beside what is recorded of it."""

import pytest
import torch

import facula
from tests.func.scenarios import SCENARIOS
from tests.scenarios import compare, recorded, run


@pytest.mark.parametrize("program", SCENARIOS, ids=lambda p: p.__name__)
def test_scenario(program):
    theirs = run(program, torch)
    compare(run(program, facula), theirs, program.__name__)
    compare(theirs, recorded("func")[program.__name__], f"the record of {program.__name__}")


def test_records_are_complete():
    assert set(recorded("func")) == {p.__name__ for p in SCENARIOS}
