"""`facula doctor`: what it says, and that it says it whatever is broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import facula as torch
from facula import config, doctor

ROOT = str(Path(__file__).parent.parent)


def run(*words, **environment):
    environ = os.environ | {"PYTHONPATH": ROOT} | environment
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environ, timeout=120)


def test_report():
    found = run("-m", "facula", "doctor", FACULA_NUM_THREADS="1")
    assert (found.returncode, found.stderr) == (0, "")
    for text in ("versions:", f"facula          {config.VERSION}", "for LLVM", "FACULA_NUM_THREADS", "kernel", "right"):
        assert text in found.stdout


def test_json(tmp_path):
    found = json.loads(run("-m", "facula", "doctor", "--json", FACULA_CACHE_DIR=str(tmp_path)).stdout)
    assert list(found) == list(doctor.SECTIONS) and "error" not in found["self-test"]
    assert found["cache of machine code"]["writable"] is True and found["GPU"]["used"] is False
    assert found["versions"]["NumPy"] and found["optional packages"]["pytest"] != "absent"


@pytest.mark.parametrize("section", list(doctor.SECTIONS))
def test_a_broken_section(section, monkeypatch, capsys):
    def broken():
        raise RuntimeError("out of order")

    others = {name: (broken if name == section else lambda: {"fine": True}) for name in doctor.SECTIONS}
    monkeypatch.setattr(doctor, "SECTIONS", others)
    assert doctor.main() == 1
    said = capsys.readouterr().out
    assert "error  RuntimeError: out of order" in said and said.count("fine") == len(others) - 1


def test_a_wrong_kernel_is_noticed(monkeypatch):
    from facula.targets import reference

    compiled = reference.compile

    def wrong(kernel, access):
        code = compiled(kernel, access)

        def run(*args):
            code(*args)
            import ctypes

            ctypes.c_float.from_address(args[0]).value += 1

        return run

    monkeypatch.setattr(reference, "compile", wrong)
    with pytest.raises(AssertionError, match="the compiled kernel is wrong"):
        doctor.self_test()
    assert config.settings.cache is True


def test_a_folder_that_cannot_be(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(config.settings, "cache_dir", tmp_path / "file" / "cache")
    assert doctor.cache()["writable"].startswith("no: ")
    monkeypatch.setattr(config.settings, "cache", False)
    assert doctor.cache() == {"folder": str(tmp_path / "file" / "cache" / "cpu"), "in use": False}


def test_damaged_entries_are_counted(tmp_path, monkeypatch):
    from facula.codegen import cache

    monkeypatch.setattr(config.settings, "cache_dir", tmp_path)
    key = cache.key("a")
    cache.write(key, b"code")
    assert doctor.cache()["health"] == "1 entries looked at, all whole"
    (file,) = (tmp_path / "cpu").glob("??/*.code")
    file.write_bytes(file.read_bytes() + b"!")
    assert "1 damaged" in doctor.cache()["health"]


def test_pytorchs_names():
    assert torch.utils.collect_env.get_pretty_env_info().splitlines()[0] == "versions:"
    info = torch.utils.collect_env.get_env_info()
    assert info.python_version == sys.version and "torch_version" in torch.utils.collect_env.pretty_str(info)
    assert "LLVM" in torch.__config__.show() and "get_num_threads() : " in torch.__config__.parallel_info()
    found = run("-m", "facula", "run", "-m", "torch.utils.collect_env")
    assert found.returncode == 0 and "versions:" in found.stdout and found.stderr == ""
