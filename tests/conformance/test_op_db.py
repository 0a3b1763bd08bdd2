"""A sample of each entry of `op_db`: the first sample of every dtype, all checks. Whole: see `records/op_db.py`.

What is known to fail stands in `records/gaps.json` ({check: [entries]}) and must fail: an entry that passes is to be
taken out (`FACULA_UPDATE_GAPS=1 pytest tests/conformance/test_op_db.py` writes the file anew).
"""

import json
import os
from pathlib import Path

import pytest

from .records.op_db import CHECKS, ENTRIES, check, label

GAPS = Path(__file__).parent / "records" / "gaps.json"
KNOWN: dict[str, list[str]] = json.loads(GAPS.read_text()) if GAPS.exists() else {}
UPDATE = bool(os.environ.get("FACULA_UPDATE_GAPS"))
FOUND: dict[str, list[str]] = {name: [] for name in CHECKS}


@pytest.fixture(scope="module", autouse=True)
def written():
    """Writes what failed, where that is asked for."""
    yield
    if UPDATE:
        GAPS.write_text(json.dumps({name: sorted(found) for name, found in FOUND.items()}, indent=1) + "\n")


@pytest.mark.parametrize("op", ENTRIES, ids=label)
def test_entry(op):
    wrong = []
    for name in CHECKS:
        failed = check(op, name, most=1)["failed"]
        if failed:
            FOUND[name].append(label(op))
        known = label(op) in KNOWN.get(name, ())
        if failed and not known:
            wrong += [f"{name}: {what}: {why}" for what, why in failed[:2]]
        elif known and not failed:
            wrong.append(f"{name} passes: take it out of {GAPS.name}")
    assert UPDATE or not wrong, "\n".join([f"{label(op)}:", *wrong])
