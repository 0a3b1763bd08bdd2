"""Checkpoints in both directions between facula and PyTorch: same values, same sharing, same layout of the file."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

import facula
from facula import serialization
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.shape import Size
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.printing import host_values
from facula.serialization.tensors import _rebuild_meta_tensor_no_storage, view_of

RNG = np.random.default_rng(0)


def oracle_tensor(dtype: dtypes.dtype, shape) -> torch.Tensor:
    values = torch.from_numpy(np.asarray(RNG.standard_normal(shape) * 50))
    if dtype.kind == "c":
        values = values + 1j * torch.from_numpy(np.asarray(RNG.standard_normal(shape)))
    return (values.abs() if dtype.kind == "u" else values).to(getattr(torch, dtype.name))


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """The elements; what NumPy lacks as float32 or complex64."""
    dtype = dtypes.BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    if dtype.numpy is None:
        tensor = tensor.to(torch.complex64 if dtype.kind == "c" else torch.float32)
    return tensor.numpy()


def ours(tensor: torch.Tensor) -> Tensor:
    """The same tensor as a record of facula, on the same memory."""
    storage = Storage(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes(), tensor)
    dtype = dtypes.BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    return view_of(storage, dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.requires_grad)


def assert_same(mine, theirs, path="") -> None:
    """AssertionError unless both frameworks' objects say the same."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(mine, Tensor), path
        assert mine.dtype.name == str(theirs.dtype).removeprefix("torch."), path
        assert tuple(mine.shape) == tuple(theirs.shape) and mine.requires_grad == theirs.requires_grad, path
        assert mine.spec.strides == theirs.stride() or theirs.is_conj() or theirs.is_neg(), path
        if theirs.device.type == "meta":
            assert mine.device.type == "meta"
            return
        theirs = theirs.detach().resolve_conj().resolve_neg()
        np.testing.assert_array_equal(host_values(mine), numbers(theirs), path)
    elif isinstance(theirs, torch.dtype | torch.device | torch.Size):
        assert repr(mine) == repr(theirs)
    elif isinstance(theirs, dict):
        assert type(mine) is type(theirs) and list(mine) == list(theirs), path
        assert getattr(mine, "__dict__", None) == getattr(theirs, "__dict__", None)
        for key in theirs:
            assert_same(mine[key], theirs[key], f"{path}[{key!r}]")
    elif isinstance(theirs, list | tuple):
        assert type(mine) is type(theirs) and len(mine) == len(theirs), path
        for i, (a, b) in enumerate(zip(mine, theirs)):
            assert_same(a, b, f"{path}[{i}]")
    else:
        assert type(mine) is type(theirs) and (mine == theirs or mine != mine), path


SHAPES = ((), (1,), (0,), (0, 3), (5,), (3, 4), (2, 3, 4))


def trees() -> dict:
    base = torch.arange(24.0)
    state = OrderedDict(weight=torch.ones(2, 3), bias=base[3:5])
    state._metadata = OrderedDict({"": {"version": 1}})
    return {
        **{f"{d}{s}": oracle_tensor(d, s) for d in dtypes.ALL for s in SHAPES},
        "views": [base, base[4:10], base.view(4, 6).t(), base.view(2, 3, 4)[:, 1], base[::5], base.expand(3, 24)],
        "grad": torch.ones(3, requires_grad=True),
        "history": torch.ones(3, requires_grad=True) * 2,
        "state": state,
        "things": [1, -1, 2**31, -(2**70), 1.5, float("inf"), True, None, "text é \U0001f600", b"bytes", (1,),
                   bytearray(b"xy"), (), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1, 2}, 3 + 4j, Counter("aab"), [[[]]],
                   {"a": {"b": [{}]}}, 70000],
        "torch": [torch.Size([2, 3]), torch.Size([]), torch.device("cpu"), torch.device("cuda:1"), torch.float32,
                  torch.bfloat16],
        "meta": torch.empty(2, 3, device="meta"),
        "many": [torch.full((3,), float(i)) for i in range(300)],
    }  # fmt: skip


def translate(tree):
    """The same tree with facula's tensors, Size, device and dtypes; storages stay shared."""
    storages = {}

    def walk(node):
        if isinstance(node, torch.Tensor):
            if node.device.type == "meta":
                dtype = dtypes.BY_NAME[str(node.dtype).removeprefix("torch.")]
                return _rebuild_meta_tensor_no_storage(dtype, tuple(node.shape), node.stride(), node.requires_grad)
            made = ours(node)
            made.storage = storages.setdefault(node.untyped_storage()._cdata, made.storage)
            return made
        if isinstance(node, torch.dtype):
            return dtypes.BY_NAME[str(node).removeprefix("torch.")]
        if isinstance(node, torch.device):
            return device(str(node))
        if isinstance(node, torch.Size):
            return Size(node)
        if isinstance(node, OrderedDict):
            made = OrderedDict((key, walk(value)) for key, value in node.items())
            made.__dict__.update(node.__dict__)
            return made
        if type(node) is dict:
            return {key: walk(value) for key, value in node.items()}
        if type(node) in (list, tuple):
            return type(node)(map(walk, node))
        return node

    return walk(tree)


TREES = trees()


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("weights_only", [True, False])
def test_pytorch_to_facula(name, weights_only):
    buffer = io.BytesIO()
    torch.save(TREES[name], buffer)
    buffer.seek(0)
    assert_same(serialization.load(buffer, weights_only=weights_only), TREES[name])


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("options", [{}, {"mmap": True}, {"weights_only": False}], ids=str)
def test_facula_to_pytorch(name, options, tmp_path):
    path = tmp_path / "model.v1.pt"
    serialization.save(translate(TREES[name]), path)
    loaded = torch.load(path, **{"weights_only": True, **options})
    buffer = io.BytesIO()
    torch.save(loaded, buffer)
    buffer.seek(0)
    assert_same(serialization.load(buffer), TREES[name])  # the other direction is tested by itself
    assert repr(loaded) == repr(TREES[name]) or name in ("history", "meta")


@pytest.mark.parametrize("name", ["views", "state", "things", "torch", "torch.int16(0, 3)"])
def test_same_layout(name, tmp_path):
    """Records lie where PyTorch puts them, whose loader can compute their places; the pickles say the same."""
    serialization.save(translate(TREES[name]), tmp_path / "a.pt")
    torch.save(TREES[name], tmp_path / "b.pt")
    a, b = zipfile.ZipFile(tmp_path / "a.pt"), zipfile.ZipFile(tmp_path / "b.pt")
    assert a.testzip() is None
    names = [i.filename[2:] for i in a.infolist()]
    assert names == [i.filename[2:] for i in b.infolist()]
    for i, j in zip(a.infolist(), b.infolist()):
        assert (i.file_size, i.flag_bits, i.extra) == (j.file_size, j.flag_bits, j.extra)
        assert i.header_offset == j.header_offset
        if not i.filename.endswith("serialization_id"):
            assert a.read(i) == b.read(j)
    mine, theirs = ((tmp_path / name).read_bytes() for name in ("a.pt", "b.pt"))
    identities = [archive.read(archive.namelist()[-1]) for archive in (a, b)]
    assert mine.replace(identities[0], b"").count(b"PK") == theirs.replace(identities[1], b"").count(b"PK")
    assert len(mine) == len(theirs) and mine[: a.infolist()[-1].header_offset] == theirs[
        : a.infolist()[-1].header_offset
    ].replace(b"b/", b"a/")


def test_computed_offsets(tmp_path, monkeypatch):
    """PyTorch's loader that computes where records lie, with its own assertions on."""
    from torch.utils.serialization import config

    monkeypatch.setenv("TORCH_SERIALIZATION_DEBUG", "1")
    tree = [TREES["many"], torch.empty(0), TREES["views"]]
    serialization.save(translate(tree), tmp_path / "x.pt")
    with config.patch("load.calculate_storage_offsets", True):
        assert repr(torch.load(tmp_path / "x.pt", mmap=True)) == repr(tree)


def test_mmap_of_pytorch_files(tmp_path):
    for name in ("views", "state", "many", "torch.bfloat16(3, 4)", "torch.complex64(5,)", "torch.bool(0,)"):
        torch.save(TREES[name], tmp_path / "x.pt")
        assert_same(serialization.load(tmp_path / "x.pt", mmap=True), TREES[name])


def test_conjugate_and_negative_views():
    base = torch.complex(torch.arange(6.0), torch.ones(6))
    negative = torch.complex(torch.ones(4), torch.arange(4.0)).conj().imag
    tree = [base, base.conj(), base[2:4].conj(), negative, negative[1:], base.view(2, 3).t().conj()]
    assert negative.is_neg()
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    buffer.seek(0)
    assert_same(serialization.load(buffer), tree)


def test_files_without_checksums(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(TREES["state"], tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(serialization.load(tmp_path / "x.pt"), TREES["state"])


def test_storage_of_untyped_bytes():
    buffer = io.BytesIO()
    torch.save(torch.arange(3, dtype=torch.uint8).untyped_storage(), buffer)
    buffer.seek(0)
    assert serialization.load(buffer).nbytes() == 3
    buffer = io.BytesIO()
    serialization.save(ours(torch.arange(3.0)).storage, buffer)
    buffer.seek(0)
    assert len(torch.load(buffer)) == 12


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol):
    buffer = io.BytesIO()
    serialization.save(translate([TREES["views"], TREES["things"]]), buffer, pickle_protocol=protocol)
    buffer.seek(0)
    assert_same(serialization.load(buffer), [TREES["views"], TREES["things"]])
    buffer.seek(0)
    assert repr(torch.load(buffer, weights_only=False)) == repr([TREES["views"], TREES["things"]])


def test_big_endian_file():
    buffer = io.BytesIO()
    torch.save(torch.tensor([1.0, 2.0]), buffer)
    source, target = zipfile.ZipFile(buffer), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            new = {"archive/byteorder": b"big", "archive/data/0": struct.pack(">ff", 1, 2)}
            archive.writestr(name, new.get(name, source.read(name)))
    target.seek(0)
    assert host_values(serialization.load(target)).tolist() == [1.0, 2.0]


HOSTILE = {
    "os.system": b"\x80\x02cos\nsystem\nX\x04\0\0\0echo\x85R.",
    "eval": b"\x80\x02c__builtin__\neval\nX\x01\0\0\0001\x85R.",
    "numpy": pickle.dumps(np.float64(1.5), 2),
    "append to text": b"\x80\x02X\x01\0\0\0aK\x01a.",
    "build a list": b"\x80\x02]}b.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_same_refusals(name):
    """Both raise pickle.UnpicklingError with the same first words."""
    buffer = io.BytesIO()
    torch.save(0, buffer)
    source, target = zipfile.ZipFile(buffer), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for record in source.namelist():
            archive.writestr(record, HOSTILE[name] if record.endswith("data.pkl") else source.read(record))
    messages = []
    for load in (torch.load, serialization.load):
        target.seek(0)
        with pytest.raises(pickle.UnpicklingError) as caught:
            load(target)
        messages.append(str(caught.value).partition(".")[0])
    assert messages == ["Weights only load failed"] * 2


def test_unsafe_globals():
    buffer = io.BytesIO()
    torch.save([torch.nn.Linear(1, 1), np.float64(1)], buffer)
    buffer.seek(0)
    theirs = torch.serialization.get_unsafe_globals_in_checkpoint(buffer)
    buffer.seek(0)
    assert set(serialization.get_unsafe_globals_in_checkpoint(buffer)) == set(theirs)


def through(save, load, obj, **options):
    buffer = io.BytesIO()
    save(obj, buffer)
    buffer.seek(0)
    return load(buffer, **options)


def networks(framework):
    nn = framework.nn
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2, bias=False)))


def test_state_dicts_of_models():
    """A model's state goes to the other framework and back, and the models then agree."""
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    mine, theirs = networks(facula), networks(torch)
    mine.load_state_dict(through(torch.save, serialization.load, theirs.state_dict()))
    expected = theirs.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(mine.eval()(facula.from_numpy(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    fresh = networks(torch)
    fresh.load_state_dict(through(serialization.save, torch.load, mine.state_dict(), weights_only=True))
    np.testing.assert_array_equal(fresh.eval()(torch.from_numpy(x)).detach().numpy(), expected)


def test_parameters():
    theirs = torch.nn.Parameter(torch.arange(6.0).view(2, 3).t())
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    marked = torch.nn.Parameter(torch.ones(2))
    marked.note = "kept"
    for weights_only in (True, False):
        loaded = through(torch.save, serialization.load, [theirs, frozen, marked], weights_only=weights_only)
        assert [type(p) is facula.nn.Parameter for p in loaded] == [True] * 3 and loaded[2].note == "kept"
        for mine, other in zip(loaded, (theirs, frozen, marked)):
            assert_same(mine, other)
        back = through(serialization.save, torch.load, loaded, weights_only=weights_only)
        assert repr(back) == repr([theirs, frozen, marked]) and back[2].note == "kept"
        assert [type(p) is torch.nn.Parameter for p in back] == [True] * 3


def step(framework, state=None):
    """An optimizer after two steps, on a model whose gradients are all ones."""
    model = framework.nn.Linear(2, 2)
    optimizer = framework.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = framework.ones_like(parameter)
        optimizer.step()
    return optimizer


def test_optimizer_states():
    mine, theirs = step(facula), step(torch)
    state = through(torch.save, serialization.load, theirs.state_dict())
    assert_same(state, theirs.state_dict())
    mine.load_state_dict(state)
    back = through(serialization.save, torch.load, mine.state_dict(), weights_only=True)
    step(torch).load_state_dict(back)
    np.testing.assert_allclose(back["state"][0]["exp_avg"].numpy(), theirs.state_dict()["state"][0]["exp_avg"].numpy())


def test_whole_modules():
    x = np.ones((2, 3), np.float32)
    mine = networks(facula).eval()
    loaded = through(serialization.save, serialization.load, mine, weights_only=False)
    np.testing.assert_array_equal(
        loaded(facula.from_numpy(x)).detach().numpy(), mine(facula.from_numpy(x)).detach().numpy()
    )
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        through(serialization.save, serialization.load, mine)
    theirs = networks(torch).eval()
    loaded = through(torch.save, serialization.load, theirs, weights_only=False)
    assert type(loaded[0]) is facula.nn.Linear
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(loaded(facula.from_numpy(x)).detach().numpy(), expected, rtol=1e-5)
