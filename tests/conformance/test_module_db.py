"""PyTorch's record of its modules, the first samples of each; `records/module_db.py` runs them all."""

import pytest

from .records import module_db

SAMPLES = 4


@pytest.mark.parametrize("info", module_db.ENTRIES, ids=module_db.label)
def test_module(info):
    for name in module_db.CHECKS:
        found = module_db.check(info, name, SAMPLES)
        assert not found["failed"], f"{name}: {len(found['failed'])} of {found['tried']}, first {found['failed'][0]}"


def test_all_are_there():
    assert len(module_db.ENTRIES) == 114
