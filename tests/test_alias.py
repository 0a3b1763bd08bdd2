"""One module object under two names, and what is said of things that facula lacks."""

import importlib
import importlib.util
import pickle
import sys
import traceback
import types

import pytest

from facula import alias


@pytest.fixture
def torch_is_facula():
    """The alias, with whatever the process already had under `torch` put aside and back."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"}
    for name in before:
        del sys.modules[name]
    alias.install()
    yield
    alias.uninstall()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        del sys.modules[name]
    sys.modules.update(before)


def test_same_objects(torch_is_facula):
    import facula.utils.data

    before = facula.utils.data.__spec__
    import torch
    import torch.utils.data as theirs
    from torch.utils.data import Dataset

    assert torch is facula and theirs is facula.utils.data and Dataset is facula.utils.data.Dataset
    assert sys.modules["torch.utils.data"] is facula.utils.data
    assert facula.utils.data.__spec__ is before and before.name == "facula.utils.data"
    assert importlib.import_module("torch.utils") is facula.utils
    assert importlib.util.find_spec("torch.utils.data") is not None


def test_moved_modules(torch_is_facula):
    from torch.utils.data._utils.collate import default_collate
    from torch.utils.data.dataloader import DataLoader

    here = importlib.import_module("facula.utils.data")
    assert DataLoader is here.DataLoader and default_collate is here.default_collate


@pytest.mark.parametrize("name", ["torch.no_such", "torch.core", "torch.targets", "torch.utils.data.nothing"])
def test_no_such_module(torch_is_facula, name):
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'") as caught:
        importlib.import_module(name)
    assert caught.value.name.startswith("torch")


def test_other_names_are_untouched(torch_is_facula):
    for name in ("torchvision_no_such", "torches"):
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'$"):
            importlib.import_module(name)


def test_install_twice_and_environment(monkeypatch, torch_is_facula):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.delenv(alias.FLAG, raising=False)
    alias.install(children=True)
    alias.install(children=True)
    import os

    assert os.environ["PYTHONPATH"] == os.pathsep.join([alias.CHILDREN, "/somewhere"])
    assert sum(getattr(finder, "facula_alias", False) for finder in sys.meta_path) == 1
    alias.uninstall()
    assert os.environ["PYTHONPATH"] == "/somewhere" and alias.FLAG not in os.environ
    alias.install()


def test_refused_after_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(RuntimeError, match="PyTorch is already imported"):
        alias.install()


@pytest.fixture
def modules(monkeypatch):
    """A small namespace shaped like facula's."""
    for name, attributes in {
        "facula.made": ("softmax", "soft_max_", "relu"),
        "facula.made.functional": ("only_there", "softmax"),
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(dict.fromkeys(attributes, 1), __getattr__=alias.getattr_for(name))
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["facula.made"]


def test_missing_attribute(modules):
    with pytest.raises(AttributeError) as caught:
        _ = modules.softmx
    assert str(caught.value).split("\n") == [
        "module 'torch.made' has no attribute 'softmx'",
        "  got: facula has no torch.made.softmx",
        "  nearest: torch.made.softmax, torch.made.soft_max_",
    ]
    with pytest.raises(AttributeError, match="nearest: torch.made.functional.only_there"):
        _ = modules.only_there
    with pytest.raises(AttributeError) as caught:
        _ = modules.qqqqqqq
    assert "nearest" not in str(caught.value)
    assert "nearest" not in "".join(traceback.format_exception_only(caught.value))
    assert traceback.format_exception_only(caught.value)[0].startswith("AttributeError: module 'torch.made' has no")
    assert type(pickle.loads(pickle.dumps(caught.value))) is AttributeError
    assert not hasattr(modules, "anything") and getattr(modules, "anything", 5) == 5
    with pytest.raises(AttributeError) as caught:
        _ = modules.__path__
    assert not isinstance(caught.value, alias.MissingError)


def test_lazy_submodules():
    get = alias.getattr_for("facula", ("printing",))
    assert get("printing") is importlib.import_module("facula.printing")
    with pytest.raises(AttributeError):
        get("print_ing")
