"""The cache on disk: whole entries or none, whatever happens to the files."""

import ctypes
import logging
import os
import subprocess
import sys

import pytest

from facula.codegen import cache
from facula.config import settings
from facula.native import jit

TEXT = "define i64 @value() { ret i64 4321 }"
PROGRAM = f"""
import ctypes
from facula.native import jit
before = jit.statistics()
found = jit.load({TEXT!r}, ["value"])["value"]
assert ctypes.CFUNCTYPE(ctypes.c_int64)(found)() == 4321
after = jit.statistics()
print(after["compiled"] - before["compiled"], after["cached"] - before["cached"])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "cache", True)
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")
    return tmp_path / "cache"


def start(folder, **variables):
    environ = dict(os.environ, FACULA_CACHE_DIR=str(folder), **variables)
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environ, stdout=subprocess.PIPE, text=True)


def run(folder, **variables):
    process = start(folder, **variables)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.split()


def entry(folder):
    (found,) = folder.glob("cpu/??/*.code")
    return found


def test_write_read_clear(folder):
    key = cache.key("a", "b")
    assert cache.read(key) is None
    cache.write(key, b"payload")
    assert cache.read(key) == b"payload"
    assert cache.size()[0] == 1 and cache.clear() == 1 and cache.read(key) is None


def test_keys_tell_parts_apart():
    assert len({cache.key("ab", "c"), cache.key("a", "bc"), cache.key("abc"), cache.key("abc", "")}) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "header", "longer", "text"])
def test_damaged_entries_are_not_trusted(folder, damage):
    key = cache.key("damaged")
    cache.write(key, b"x" * 1000)
    path = entry(folder)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-500] ^= 1
    path.write_bytes(
        {"cut": data[:500], "empty": b"", "header": data[:20], "longer": data + b"y", "text": b"no"}.get(damage, data)
    )
    assert cache.read(key) is None
    cache.write(key, b"again")
    assert cache.read(key) == b"again"


def test_an_entry_under_another_name_is_foreign(folder):
    one, two = cache.key("one"), cache.key("two")
    cache.write(one, b"code of one")
    target = folder / "cpu" / two[:2] / f"{two[2:]}.code"
    target.parent.mkdir(parents=True, exist_ok=True)
    entry(folder).rename(target)
    assert cache.read(two) is None


def test_a_second_process_finds_the_code(tmp_path):
    assert run(tmp_path) == ["1", "0"]
    assert run(tmp_path) == ["0", "1"]
    entries = {path: path.read_bytes() for path in tmp_path.glob("cpu/??/*.code")}
    for path, data in entries.items():
        path.write_bytes(data[:-7])
    assert run(tmp_path) == ["1", "0"]  # rebuilt
    assert {path: path.read_bytes() for path in entries} == entries  # the same text gives the same code
    assert run(tmp_path) == ["0", "1"]


def test_switched_off(tmp_path):
    assert run(tmp_path, FACULA_CACHE="0") == ["1", "0"]
    assert list(tmp_path.iterdir()) == []


def test_several_processes_may_write_the_same_entry(tmp_path):
    processes = [start(tmp_path) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert list(tmp_path.glob("cpu/*/.*.part")) == []
    assert run(tmp_path) == ["0", "1"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(settings, "cache", True)
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "file" / "below")
    monkeypatch.setattr(cache, "_told", set())
    text = "define i64 @value() { ret i64 99 }"
    with caplog.at_level(logging.DEBUG, "facula.cache"):
        found = jit.load(text, ["value"])["value"]
        cache.write(cache.key("more"), b"")
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(found)() == 99
    assert len([r for r in caplog.records if "cannot write" in r.message]) <= 2
    assert caplog.records
