"""Files in both formats, old and new, go from each framework to the other: the same values, layouts and sharing."""

import io
import os
import pickle
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import facula

DTYPES = (
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex32 complex64 "
    "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
).split()


def of_bytes(f, dtype: str, count: int = 6):
    """A tensor of these bytes, the same in both frameworks."""
    kind = getattr(f, dtype)
    if not count:
        return f.empty(0, dtype=kind)
    size = f.empty(0, dtype=kind).element_size()
    raw = np.arange(count * size, dtype=np.uint8) * (0 if dtype == "bool" else 5)
    return f.from_numpy(raw).view(kind)


def views(f):
    base = f.arange(24.0)
    return [base, base[4:10], base.view(4, 6).t(), base.view(2, 3, 4)[:, 1], base[::5], base.expand(3, 24), base[7]]


def parameters(f):
    marked = f.nn.Parameter(f.ones(2))
    marked.note = "kept"
    return [f.nn.Parameter(f.arange(6.0).view(2, 3).t()), f.nn.Parameter(f.ones(2), requires_grad=False), marked]


def trained(f):
    model = f.nn.Sequential(f.nn.Linear(2, 3), f.nn.BatchNorm1d(3))
    optimizer = f.optim.Adam(model.parameters(), lr=0.25)
    for parameter in model.parameters():
        parameter.data = f.arange(float(parameter.numel())).view(parameter.shape)
        parameter.grad = f.ones_like(parameter)
    optimizer.step()
    scheduler = f.optim.lr_scheduler.StepLR(optimizer, 2)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


def sparse(f):
    places, values = f.tensor([[0, 1, 1], [2, 0, 2]]), f.tensor([3.0, 4.0, 5.0])
    once = f.sparse_coo_tensor(places, values, (2, 4))
    twice = f.sparse_coo_tensor([[1, 0, 1]], f.arange(6.0).view(3, 2), (3, 2))
    return [once, once.coalesce(), twice, f.sparse_coo_tensor((3, 0))]


def generator(f):
    made = f.Generator()
    made.manual_seed(7)
    f.rand(5, generator=made)
    return made


MAKERS = {
    **{f"dtype {d}": lambda f, d=d: [of_bytes(f, d), of_bytes(f, d, 0), of_bytes(f, d)[2]] for d in DTYPES},
    "views": views,
    "expanded": lambda f: f.ones(1).expand(1000, 1000),
    "grad": lambda f: [f.ones(3, requires_grad=True), f.ones(3, requires_grad=True) * 2],
    "parameters": parameters,
    "buffer": lambda f: [f.nn.Buffer(f.ones(2)), f.nn.Buffer(f.zeros(2), persistent=False)],
    "training": trained,
    "sparse": sparse,
    "things": lambda f: [f.Size([2, 3]), f.device("cpu"), f.device("cuda:1"), f.float8_e5m2, f.strided, f.sparse_coo],
    "meta": lambda f: [f.empty(2, 3, device="meta"), f.empty(3, 2, device="meta").t()],
    "many": lambda f: [f.full((3,), float(i)) for i in range(120)],
    "metadata": lambda f: f.nn.BatchNorm1d(2).state_dict(),
}  # fmt: skip
TRUSTED = {
    "generator": generator,
    "uninitialized": lambda f: [f.nn.UninitializedParameter(), f.nn.parameter.UninitializedBuffer()],
    "results": lambda f: [f.arange(6.0).view(2, 3).max(0), f.linalg.qr(f.eye(2)), f.ones(3).sort()],
    "functions": lambda f: [f.nn.functional.relu, f.nn.functional.gelu, f.relu, f.nn.functional.softmax],
}


def raw(tensor) -> bytes:
    """The bytes of the elements in their logical order."""
    tensor = tensor.detach().contiguous().reshape(-1)
    f = torch if isinstance(tensor, torch.Tensor) else facula
    return tensor.view(f.uint8).numpy().tobytes()


def assert_alike(mine, theirs, path="") -> None:
    """AssertionError unless an object of facula says what PyTorch's says."""
    if isinstance(theirs, torch.nn.parameter.UninitializedTensorMixin):
        assert type(mine).__name__ == type(theirs).__name__ and mine.dtype is facula.float32
    elif isinstance(theirs, torch.Tensor):
        assert isinstance(mine, facula.Tensor), path
        assert type(mine) is facula.nn.Parameter if type(theirs) is torch.nn.Parameter else True, path
        assert str(mine.dtype) == str(theirs.dtype) and tuple(mine.shape) == tuple(theirs.shape), path
        assert mine.requires_grad == theirs.requires_grad and str(mine.device) == str(theirs.device), path
        assert repr(mine.layout) == repr(theirs.layout), path
        if theirs.is_sparse:
            assert mine.is_coalesced() == theirs.is_coalesced(), path
            assert_alike(mine._indices(), theirs._indices(), path)
            assert_alike(mine._values(), theirs._values(), path)
            return
        assert mine.stride() == theirs.stride() and mine.storage_offset() == theirs.storage_offset(), path
        assert mine.untyped_storage().nbytes() == theirs.untyped_storage().nbytes(), path
        assert {**mine.__dict__} == theirs.__dict__, path
        if theirs.device.type != "meta":
            assert raw(mine) == raw(theirs), path
    elif isinstance(theirs, dict):
        assert type(mine) is type(theirs) and list(mine) == list(theirs), path
        assert getattr(mine, "__dict__", None) == getattr(theirs, "__dict__", None), path
        for key in theirs:
            assert_alike(mine[key], theirs[key], f"{path}[{key!r}]")
    elif type(theirs).__module__ == "torch.return_types":
        assert type(mine).__name__ == type(theirs).__name__ and repr(mine) == repr(theirs)
        assert type(mine)(*mine) == mine
    elif type(theirs) in (list, tuple):
        assert type(mine) is type(theirs) and len(mine) == len(theirs), path
        for i, (a, b) in enumerate(zip(mine, theirs)):
            assert_alike(a, b, f"{path}[{i}]")
    elif isinstance(theirs, torch.Generator):
        assert isinstance(mine, facula.Generator) and mine.initial_seed() == theirs.initial_seed()
        assert mine.get_state().tolist() == theirs.get_state().tolist()
    elif callable(theirs) and not isinstance(theirs, type):
        name = theirs.__name__
        assert mine is getattr(facula.nn.functional, name, None) or mine is getattr(facula, name, None)
    elif hasattr(theirs, "__module__") and theirs.__module__ == "torch" or type(theirs).__module__ == "torch":
        assert repr(mine) == repr(theirs), path
    else:
        assert type(mine) is type(theirs) and (mine == theirs or mine != mine), path


def through(save, load, obj, old: bool = False, **options):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse and complex32 tensors are "beta" and "experimental"
        save(obj, buffer, _use_new_zipfile_serialization=not old)
        buffer.seek(0)
        found = load(buffer, **options)
        assert not old or not buffer.read()
    return found


# PyTorch 2.13 cannot read them from old files, not even from its own.
NO_CLASS = {"generator"} | {
    f"dtype {d}" for d in DTYPES if d.startswith(("uint1", "uint3", "uint6", "float8", "complex32"))
}
FORMATS = pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])


@FORMATS
@pytest.mark.parametrize("name", MAKERS)
def test_pytorch_to_facula(name, old):
    theirs = MAKERS[name](torch)
    for weights_only in (True, False):
        assert_alike(through(torch.save, facula.load, theirs, old, weights_only=weights_only), theirs)


@FORMATS
@pytest.mark.parametrize("name", MAKERS)
def test_facula_to_pytorch(name, old):
    mine = MAKERS[name](facula)
    if old and name in NO_CLASS:
        with pytest.raises(AttributeError, match="dtype"):
            through(facula.save, torch.load, mine, old)
        return
    for weights_only in (True, False):
        assert_alike(mine, through(facula.save, torch.load, mine, old, weights_only=weights_only))


@FORMATS
@pytest.mark.parametrize("name", [*MAKERS, *TRUSTED])
def test_facula_to_facula(name, old):
    """Both kinds of unpickler give what PyTorch's round trip gives."""
    maker = MAKERS.get(name) or TRUSTED[name]
    theirs = through(torch.save, torch.load, maker(torch), old and name not in NO_CLASS, weights_only=False)
    assert_alike(through(facula.save, facula.load, maker(facula), old, weights_only=False), theirs)
    if name in MAKERS:
        assert_alike(through(facula.save, facula.load, maker(facula), old), theirs)


@FORMATS
@pytest.mark.parametrize("name", TRUSTED)
def test_trusted_only(name, old):
    theirs, mine = TRUSTED[name](torch), TRUSTED[name](facula)
    assert_alike(through(torch.save, facula.load, theirs, old, weights_only=False), theirs)
    if not old or name not in NO_CLASS:
        assert_alike(mine, through(facula.save, torch.load, mine, old, weights_only=False))
    for save, load in ((torch.save, facula.load), (facula.save, torch.load), (facula.save, facula.load)):
        with pytest.raises(pickle.UnpicklingError, match="not an allowed global by default"):
            through(save, load, theirs if save is torch.save else mine, old)


@FORMATS
def test_sharing(old):
    """What shared memory shares it again; what did not does not."""
    mine = through(torch.save, facula.load, [*views(torch), torch.arange(24.0)], old)
    mine[0][5] = 99
    assert mine[1][1].item() == 99 and mine[5][2, 5].item() == 99 and mine[-1][5].item() == 5
    theirs = through(facula.save, torch.load, [*views(facula), facula.arange(24.0)], old)
    theirs[0][5] = 99
    assert theirs[1][1].item() == 99 and theirs[5][2, 5].item() == 99 and theirs[-1][5].item() == 5


@FORMATS
def test_storages(old):
    for f, g in ((torch, facula), (facula, torch)):
        for dtype in ("float32", "uint8", "bfloat16"):
            tensor = of_bytes(f, dtype)
            kind = {"float32": "FloatStorage", "uint8": "ByteStorage", "bfloat16": "BFloat16Storage"}[dtype]
            typed = f.storage.TypedStorage if f is torch else f.TypedStorage
            typed = typed(wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype)
            if old:  # mentions of untyped ones are what PyTorch 2.13 writes there, and cannot read
                loaded = through(f.save, g.load, [typed], old)
                assert loaded[0].untyped().tolist() == tensor.untyped_storage().tolist()
                continue
            loaded = through(f.save, g.load, [typed, tensor.untyped_storage().clone(), getattr(f, kind)])
            assert type(loaded[0]).__name__ == type(loaded[1]).__name__ == "TypedStorage"
            assert loaded[0].dtype is getattr(g, dtype) and loaded[1].dtype is g.uint8
            assert loaded[0].untyped().tolist() == loaded[1].tolist() == tensor.untyped_storage().tolist()
            assert loaded[2].dtype is getattr(g, dtype)


def test_conjugates_in_old_files():
    base = torch.complex(torch.arange(6.0), torch.ones(6))
    tree = [base, base.conj(), base[2:4].conj(), torch.complex(torch.ones(4), torch.arange(4.0)).conj().imag]
    loaded = through(torch.save, facula.load, tree, True)
    for mine, theirs in zip(loaded, tree):
        np.testing.assert_array_equal(mine.numpy(), theirs.resolve_conj().resolve_neg().numpy())


def test_several_objects_in_a_row():
    """Old files can follow each other in one stream; both frameworks leave it where the next one begins."""
    for save, load, f in ((torch.save, facula.load, torch), (facula.save, torch.load, facula)):
        buffer = io.BytesIO(b"head")
        buffer.seek(4)
        for i in range(3):
            save({"x": f.full((2,), float(i)), "i": i}, buffer, _use_new_zipfile_serialization=False)
        buffer.seek(4)
        assert [load(buffer)["x"].tolist() for _ in range(3)] == [[0, 0], [1, 1], [2, 2]]


def test_archive_behind_other_bytes(tmp_path):
    """An archive in the middle of a stream is read from where the stream is."""
    for save, load in ((torch.save, facula.load), (facula.save, torch.load), (facula.save, facula.load)):
        f = torch if save is torch.save else facula
        with open(tmp_path / "x", "wb") as file:
            file.write(b"other bytes")
            save({"x": f.arange(3.0)}, file)
        with open(tmp_path / "x", "rb") as file:
            file.seek(11)
            assert load(file)["x"].tolist() == [0, 1, 2]


def test_files_and_paths(tmp_path):
    for old in (False, True):
        for f, g in ((torch, facula), (facula, torch)):
            f.save(views(f), tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
            loaded = [g.load(tmp_path / "x.pt"), g.load(str(tmp_path / "x.pt"))]
            with open(tmp_path / "x.pt", "rb") as file:
                loaded.append(g.load(file))
            for tree in loaded:
                assert [x.tolist() for x in tree] == [x.tolist() for x in views(f)]
    with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
        facula.load(tmp_path / "x.pt", mmap=True)


class Doubled(torch.Tensor):
    pass


class Halved(facula.Tensor):
    pass


@FORMATS
def test_subclasses(old):
    """Classes are looked up by their own names; what they hold passes from one framework to the other."""
    mine = facula.ones(2).as_subclass(Halved)
    mine.note = [1]
    back = through(facula.save, facula.load, mine, old, weights_only=False)
    assert type(back) is Halved and back.note == [1] and back.tolist() == [1, 1]
    with pytest.raises(pickle.UnpicklingError, match="Halved was not an allowed global"):
        through(facula.save, facula.load, mine, old)
    with facula.serialization.safe_globals([Halved]):
        assert type(through(facula.save, facula.load, mine, old)) is Halved
    theirs = torch.ones(2).as_subclass(Doubled)
    theirs.note = [1]
    with torch.serialization.safe_globals([(Halved, f"{__name__}.Doubled")]):
        pass
    with facula.serialization.safe_globals([(Halved, f"{__name__}.Doubled")]):
        mine = through(torch.save, facula.load, theirs, old)
    assert type(mine) is Halved and mine.note == [1]


@FORMATS
def test_numpy_values(old):
    """Refused by default, read once NumPy's functions are allowed: the same ones in both frameworks."""
    tree = {"x": np.float64(1.5), "a": np.arange(4, dtype=np.int32)}
    allowed = [np._core.multiarray.scalar, np._core.multiarray._reconstruct, np.dtype, np.ndarray]
    allowed += [type(np.dtype("f8")), type(np.dtype("i4"))]
    for save, load, f in ((torch.save, facula.load, facula), (facula.save, torch.load, torch)):
        with pytest.raises(pickle.UnpicklingError, match="not an allowed global"):
            through(save, load, tree, old)
        with f.serialization.safe_globals(allowed):
            loaded = through(save, load, tree, old)
        assert loaded["x"] == 1.5 and loaded["a"].tolist() == [0, 1, 2, 3] and type(loaded["x"]) is np.float64


def test_hooks_are_left_out():
    for f in (torch, facula):
        tensor = f.ones(2, requires_grad=True)
        tensor.register_hook(lambda grad: grad)
        with pytest.warns(UserWarning, match="will not be serialized.  If this is expected, you can decorate"):
            f.save(tensor, io.BytesIO())
        marked = f.ones(2, requires_grad=True)
        marked.register_hook(f.utils.hooks.unserializable_hook(lambda grad: grad))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            f.save(marked, io.BytesIO())


def test_map_location():
    for old in (False, True):
        buffer = io.BytesIO()
        torch.save([torch.arange(3.0), torch.ones(2, dtype=torch.int8)], buffer, _use_new_zipfile_serialization=not old)
        seen = {}
        for f in (torch, facula):
            seen[f] = calls = []

            def place(storage, location, calls=calls):
                calls.append((type(storage).__name__, storage.nbytes(), location))
                return storage if storage.nbytes() == 2 else None

            for where in ("cpu", f.device("cpu"), {"cpu": "cpu"}, place):
                buffer.seek(0)
                assert [x.tolist() for x in f.load(buffer, map_location=where)] == [[0, 1, 2], [1, 1]]
            for where in ("meta", f.device("meta"), {"cpu": "meta"}):
                buffer.seek(0)
                assert [str(x.device) for x in f.load(buffer, map_location=where)] == ["meta", "meta"]
            buffer.seek(0)
            with pytest.raises(RuntimeError, match=r"torch.cuda.is_available\(\) is False"):
                f.load(buffer, map_location="cuda:0")
            buffer.seek(0)
            with pytest.raises(RuntimeError, match="don't know how to restore data location of torch.storage.Untyped"):
                f.load(buffer, map_location="nowhere")
        assert seen[torch] == seen[facula]


def test_packages():
    """Tags of one's own."""
    for f in (torch, facula):
        registry = f.serialization.places._PACKAGES if f is facula else f.serialization._package_registry
        before = list(registry)
        f.serialization.register_package(
            5,
            lambda storage: "odd" if storage.nbytes() % 2 else None,
            lambda storage, tag: storage if tag == "odd" else None,
        )
        try:
            odd, even = f.zeros(3, dtype=f.int8).untyped_storage(), f.zeros(4, dtype=f.int8).untyped_storage()
            assert [f.serialization.location_tag(s) for s in (odd, even)] == ["odd", "cpu"]
            buffer = io.BytesIO()
            f.save(f.ones(3, dtype=f.int8), buffer)
            assert b"odd" in buffer.getvalue()
            buffer.seek(0)
            assert f.load(buffer).tolist() == [1, 1, 1]
        finally:
            registry[:] = before


def test_options_of_serialization(tmp_path):
    """The functions of torch.serialization do the same to a file, read by the other framework."""
    orders = []
    for f, g in ((torch, facula), (facula, torch)):
        s = f.serialization
        assert s.get_crc32_options() is True and s.get_default_load_endianness() is None
        assert s.get_default_mmap_options() == 2
        s.set_crc32_options(False)
        f.save(f.ones(2), tmp_path / "crc.pt")
        s.set_crc32_options(True)
        assert g.load(tmp_path / "crc.pt").tolist() == [1, 1]
        f.save(f.ones(2), tmp_path / "order.pt", _disable_byteorder_record=True)
        with zipfile.ZipFile(tmp_path / "order.pt") as old, zipfile.ZipFile(tmp_path / "none.pt", "w") as new:
            orders.append(old.namelist())
            for entry in old.namelist():
                if "byteorder" not in entry:
                    new.writestr(entry, old.read(entry))
        g.serialization.set_default_load_endianness(g.serialization.LoadEndianness.BIG)
        try:
            swapped = np.ones(2, np.float32).byteswap().tolist()
            assert g.load(tmp_path / "none.pt").tolist() == swapped and g.load(tmp_path / "order.pt").tolist() == [1, 1]
        finally:
            g.serialization.set_default_load_endianness(None)
        assert g.load(tmp_path / "none.pt").tolist() == [1, 1]
        with pytest.raises(TypeError, match="Invalid argument"):
            s.set_default_load_endianness(3)
        with pytest.raises(ValueError, match="Invalid argument"):
            s.set_default_mmap_options(7)
        with f.utils.serialization.config.patch("save.storage_alignment", 4096):
            f.save([f.ones(2), f.ones(3)], tmp_path / "aligned.pt")
        loaded = g.load(tmp_path / "aligned.pt", mmap=True)
        assert all(x.data_ptr() % 4096 == 0 for x in loaded) and loaded[1].tolist() == [1, 1, 1]
        with s.skip_data():
            f.save([f.arange(3.0), f.ones(2)], tmp_path / "empty.pt")
            assert f.load(tmp_path / "aligned.pt")[1].shape == (3,)
        assert g.load(tmp_path / "empty.pt")[0].tolist() == [0, 0, 0]
        with pytest.raises(RuntimeError, match="Cannot use skip_data=True"), s.skip_data():
            f.save(1, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert orders[0] == orders[1]


def test_shared_mapping(tmp_path):
    """MAP_SHARED lets changes reach the file; the default keeps them in memory."""
    import mmap

    for f, g in ((torch, facula), (facula, torch)):
        f.save(f.arange(3.0), tmp_path / "x.pt")
        g.load(tmp_path / "x.pt", mmap=True)[0] = 5
        assert f.load(tmp_path / "x.pt").tolist() == [0, 1, 2]
        with g.serialization.set_default_mmap_options(mmap.MAP_SHARED):
            g.load(tmp_path / "x.pt", mmap=True)[0] = 5
        torch.serialization.set_crc32_options(True)
        assert torch.load(tmp_path / "x.pt").tolist() == [5, 1, 2]


def test_names_of_torch_serialization():
    assert set(torch.serialization.__all__) <= set(dir(facula.serialization)) | {
        name for name in torch.serialization.__all__ if hasattr(facula.serialization, name)
    }


def test_tar_files(tmp_path):
    """The format of PyTorch 0.1, as its writer made it: read alike, and only where the file is trusted."""
    values = np.arange(6, dtype=np.float32)
    storages, tensors, rest = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pickle.dump(1, storages, 2)
    pickle.dump((11, "cpu", torch.FloatStorage), storages, 2)
    storages.write((6).to_bytes(8, "little") + values.tobytes())
    pickle.dump([(12, 11, 2, 4)], storages, 2)
    pickle.dump(2, tensors, 2)
    for key, storage, shape, stride, offset in ((21, 11, (2, 2), (2, 1), 1), (22, 12, (3,), (1,), 1)):
        pickle.dump((key, storage, torch.FloatTensor), tensors, 2)
        tensors.write(np.array([len(shape), 0], "<i4").tobytes() + np.array([*shape, *stride, offset], "<i8").tobytes())

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return {"first": 21, "second": 22}.get(obj) if isinstance(obj, str) else None

    Pickler(rest, 2).dump(OrderedDict(a="first", b=["second", 3]))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, part in (("storages", storages), ("tensors", tensors), ("pickle", rest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(part.getvalue())
            archive.addfile(entry, io.BytesIO(part.getvalue()))
    for f in (torch, facula):
        with pytest.raises(RuntimeError, match="legacy .tar format"):
            f.load(tmp_path / "x.tar")
        loaded = f.load(tmp_path / "x.tar", weights_only=False)
        assert list(loaded) == ["a", "b"] and loaded["a"].tolist() == [[1, 2], [3, 4]]
        assert loaded["b"][0].tolist() == [3, 4, 5] and loaded["b"][1] == 3
        loaded["a"][1, 1] = 9
        assert loaded["b"][0].tolist() == [3, 9, 5]
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[:600])
    with pytest.raises(RuntimeError):
        facula.load(tmp_path / "x.tar", weights_only=False)


def test_safetensors(tmp_path):
    """Files of the library go both ways, also through `torch.load`."""
    import safetensors.torch

    path = tmp_path / "x.safetensors"
    known = [d for d in DTYPES if d not in ("complex32", "complex128")]
    theirs = {d: of_bytes(torch, d).view(2, 3) for d in known} | {"scalar": torch.tensor(2.5)}
    mine = {d: of_bytes(facula, d).view(2, 3) for d in known} | {"scalar": facula.tensor(2.5)}
    safetensors.torch.save_file({k: v for k, v in theirs.items() if k != "float8_e8m0fnu"}, path)
    for loaded in (facula.load(path), facula.safetensors.load_file(path)):
        assert_alike({k: loaded[k] for k in theirs if k in loaded}, {k: v for k, v in theirs.items() if k in loaded})
    facula.safetensors.save_file(mine, path)
    for loaded in (torch.load(path), safetensors.torch.load_file(path)):
        assert_alike(mine, {k: loaded[k] for k in mine})


UNDER_THE_ALIAS = """
import pickle, sys
from facula import alias
alias.install()
import torch
assert torch.__name__ == "facula"
folder = sys.argv[1]
x = torch.ones(2, 3)
for name in ("zip", "legacy"):
    model = torch.load(f"{folder}/{name}.pt", weights_only=False)
    assert type(model) is torch.nn.Sequential and type(model[0]) is torch.nn.Linear
    torch.save([model, model(x)], f"{folder}/{name}.out", _use_new_zipfile_serialization=name == "zip")
with open(f"{folder}/plain.pkl", "rb") as file:
    loaded = pickle.load(file)
assert loaded["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and type(loaded["p"]) is torch.nn.Parameter
assert loaded["h"].dtype is torch.bfloat16 and loaded["d"] is torch.float64 and loaded["s"] == torch.Size([2])
assert loaded["u"].dtype is torch.uint16 and loaded["t"].stride() == (1, 3)
"""


def test_programs_under_the_alias(tmp_path):
    """Whole modules and plain pickles of PyTorch, read by a program for which `import torch` means facula."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.BatchNorm1d(4)).eval()
    for name in ("zip", "legacy"):
        torch.save(model, tmp_path / f"{name}.pt", _use_new_zipfile_serialization=name == "zip")
    x = torch.arange(6.0).view(2, 3)
    tree = {"x": x, "t": x.t(), "p": torch.nn.Parameter(x), "h": x.bfloat16(), "d": torch.float64, "s": torch.Size([2]),
            "u": x.to(torch.uint16)}  # fmt: skip
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(tree))
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", UNDER_THE_ALIAS, str(tmp_path)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": root})
    expected = model(torch.ones(2, 3))
    for name in ("zip", "legacy"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            back, out = torch.load(tmp_path / f"{name}.out", weights_only=False)
        assert type(back) is torch.nn.Sequential and type(back[1]) is torch.nn.GELU
        torch.testing.assert_close(back(torch.ones(2, 3)), expected)
        torch.testing.assert_close(out, expected)


def test_mapped_tensors_are_not_copied(tmp_path):
    """Their memory is the file's, at PyTorch's places in it; what changes stays in memory."""
    for f in (torch, facula):
        f.save([f.arange(1_000_000), f.ones(3)], tmp_path / "x.pt")
        big, small = facula.load(tmp_path / "x.pt", mmap=True)
        with open("/proc/self/maps") as maps:
            ranges = [line.split()[0].split("-") for line in maps if line.rstrip().endswith("x.pt")]
        for tensor in (big, small):
            assert any(int(a, 16) <= tensor.data_ptr() < int(b, 16) for a, b in ranges)
        big += 1
        assert big.sum().item() == 1_000_000 * 1_000_001 // 2
        assert facula.load(tmp_path / "x.pt")[0][-1].item() == 999_999
        del big, small, tensor
