"""The table of switches: types, defaults, the environment, and what is said of values that make no sense."""

from pathlib import Path

import pytest

from facula.config import SWITCHES, Settings, usable_cores


def test_defaults():
    settings = Settings({})
    assert settings.num_threads == usable_cores() >= 1
    assert settings.cache is True and settings.dump_dir is None and settings.pool_bytes > 0


def test_environment():
    settings = Settings(
        {"FACULA_CACHE": "off", "FACULA_CACHE_DIR": "~/x", "FACULA_POOL_BYTES": "0", "OMP_NUM_THREADS": "3,2"}
    )
    assert settings.cache is False
    assert settings.cache_dir == Path.home() / "x"
    assert settings.pool_bytes == 0
    assert settings.num_threads == 3
    assert Settings({"FACULA_NUM_THREADS": "5", "OMP_NUM_THREADS": "3"}).num_threads == 5
    assert Settings({"FACULA_NUM_THREADS": ""}).num_threads == usable_cores()


def test_cache_folder_of_the_system(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    assert Settings({"XDG_CACHE_HOME": "/somewhere"}).cache_dir == Path("/somewhere/facula")
    assert Settings({"XDG_CACHE_HOME": "relative"}).cache_dir == Path.home() / ".cache/facula"
    monkeypatch.setattr("sys.platform", "darwin")
    assert Settings({}).cache_dir == Path.home() / "Library/Caches/facula"


@pytest.mark.parametrize(
    "variable, value",
    [
        ("FACULA_NUM_THREADS", "0"),
        ("FACULA_NUM_THREADS", "many"),
        ("FACULA_POOL_BYTES", "-1"),
        ("FACULA_CACHE", "maybe"),
    ],
)
def test_nonsense_is_refused_by_name(variable, value):
    with pytest.raises(ValueError, match=f"{variable} is not understood(.|\n)*got: '{value}'"):
        Settings({variable: value})


def test_each_switch_is_one_sentence():
    for switch in SWITCHES:
        assert switch.text and not switch.text.endswith(".") and switch.variables[0].startswith("FACULA_")
        assert hasattr(Settings({}), switch.name)
