"""Writes what PyTorch makes of all scenarios to `tests/data/scenarios.json`: `python -m tests.conformance.record`."""

import json

import torch

from tests.autograd import scenarios as autograd
from tests.func import scenarios as func
from tests.operators import scenarios as operators
from tests.scenarios import RECORDS, run

GROUPS = {"autograd": autograd.SCENARIOS, "func": func.SCENARIOS, "operators": operators.SCENARIOS}


def record() -> dict:
    """The results of all scenarios under PyTorch."""
    return {group: {p.__name__: run(p, torch) for p in programs} for group, programs in GROUPS.items()}


if __name__ == "__main__":
    lines = (
        f"{json.dumps(g)}:{{\n"
        + ",\n".join(f"{json.dumps(n)}:{json.dumps(r, separators=(',', ':'))}" for n, r in found.items())
        + "\n}"
        for g, found in record().items()
    )
    RECORDS.write_text("{" + ",\n".join(lines) + "}\n")  # a line for each scenario
