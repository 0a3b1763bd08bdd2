"""Checkpoints: round trips, a file recorded from PyTorch 2.13, damaged and hostile files, writes that fail half-way."""

import gzip
import io
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict, namedtuple
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import facula as torch
from facula import serialization
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.shape import Size
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.nn.parameter import Parameter
from facula.printing import host_values
from facula.serialization import load, save, saving
from facula.serialization.archive import ArchiveWriter
from facula.serialization.tensors import TypedStorage, view_of
from facula.serialization.unpickler import OPCODES
from facula.targets.reference import memory

RECORDED = Path(__file__).parent / "recorded_checkpoint.pt"


def tensor(values, dtype=None) -> Tensor:
    """A record on the memory of a NumPy array."""
    values = np.ascontiguousarray(values)
    dtype = dtype or dtypes.of_numpy(values.dtype)
    stride = tuple(s // values.itemsize for s in values.strides)
    return view_of(Storage(values.ctypes.data, values.nbytes, values), dtype, 0, values.shape, stride, False)


def part(base: Tensor, offset: int, shape, stride) -> Tensor:
    return view_of(base.storage, base.dtype, offset, shape, stride, False)


def through(obj, **options):
    buffer = io.BytesIO()
    save(obj, buffer)
    buffer.seek(0)
    return load(buffer, **options)


# Round trips


def test_dtypes():
    for dtype in dtypes.ALL:
        values = np.arange(6).reshape(2, 3).astype(dtype.bits)
        loaded = through(tensor(values, dtype))
        assert loaded.dtype is dtype and loaded.requires_grad is False and loaded.ptr % 64 == 0
        np.testing.assert_array_equal(host_values(loaded), memory.decode(values, dtype))


def test_values():
    tree = [
        1,
        -(2**70),
        1.5,
        True,
        None,
        "é",
        b"bytes",
        b"",
        bytearray(b"xy"),
        (1, (2, 3)),
        {1, 2},
        3 + 4j,
        {"a": [{}]},
    ]
    tree += [Size((2, 3)), device("cpu"), device("cuda:1"), dtypes.bfloat16]
    assert through(tree) == tree and through(tree, weights_only=False) == tree
    assert through(tree)[-4:] == tree[-4:] and type(through(Size((2,)))) is Size


@pytest.mark.parametrize("weights_only", [True, False])
def test_sharing(weights_only):
    base = tensor(np.arange(24, dtype=np.float32))
    loaded = through(
        [base, part(base, 4, (3, 2), (1, 6)), part(base, 5, (4, 2), (0, 0)), base], weights_only=weights_only
    )
    assert len({id(item.storage) for item in loaded}) == 1 and loaded[0] is loaded[3]
    np.testing.assert_array_equal(
        host_values(loaded[1]), np.arange(24).reshape(4, 6)[:, :].ravel()[[[4, 10], [5, 11], [6, 12]]]
    )
    host_values(loaded[0])[5] = 99
    assert (host_values(loaded[2]) == 99).all() and host_values(loaded[1])[1, 0] == 99


def test_only_mentioned_storages_are_written():
    assert len(io.BytesIO().getvalue()) == 0
    buffer = io.BytesIO()
    save([tensor(np.zeros(0, np.float32)), tensor(np.zeros((0, 3)))], buffer)
    loaded = load(io.BytesIO(buffer.getvalue()))
    assert [tuple(t.shape) for t in loaded] == [(0,), (0, 3)]


def test_state_dict_metadata():
    state = OrderedDict(a=tensor(np.ones(2)))
    state._metadata = {"": {"version": 1}}
    loaded = through(state)
    assert type(loaded) is OrderedDict and loaded._metadata == state._metadata


def test_attributes_of_tensors():
    t = tensor(np.ones(2))
    t.note = {"made": "here"}
    assert through(t).note == {"made": "here"}


def test_same_data_as_two_types():
    values = np.arange(4, dtype=np.float32)
    other = view_of(Storage(values.ctypes.data, 16, values), dtypes.int32, 0, (4,), (1,), False)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        save([tensor(values), other], io.BytesIO())


def test_recorded_checkpoint():
    for options in ({}, {"mmap": True}, {"weights_only": False}):
        loaded = load(RECORDED, **options)
        weight = loaded["model"]["weight"]
        assert type(weight) is Parameter and weight.requires_grad and host_values(weight).tolist() == [[1, 1, 1]] * 2
        assert loaded["model"]._metadata == OrderedDict({"": {"version": 1}})
        assert host_values(loaded["model"]["bias"]).tolist() == [2, 3, 4]
        assert loaded["model"]["bias"].storage is loaded["all"].storage
        assert host_values(loaded["half"]).tolist() == [1.5, -2.0]
        assert host_values(loaded["t"]).tolist() == [[0, 3], [1, 4], [2, 5]] and loaded["t"].spec.strides == (1, 3)
        assert loaded["lr"] == [0.1, {"betas": (0.9, 0.999)}] and loaded["step"] == 7
        assert loaded["size"] == Size((2, 3)) and loaded["dtype"] is dtypes.float64


def test_paths_and_files(tmp_path):
    for target in (tmp_path / "a.pt", str(tmp_path / "b.pt"), tmp_path / "é.pt", tmp_path / "noending"):
        save({"x": 1}, target)
        assert load(target) == {"x": 1}
        prefix = "archive" if "é" in str(target) else Path(target).stem
        assert zipfile.ZipFile(target).namelist()[0] == f"{prefix}/data.pkl"
        assert zipfile.ZipFile(target).testzip() is None
    with open(tmp_path / "c.pt", "wb") as file:
        save([2], file)
    with open(tmp_path / "c.pt", "rb") as file:
        assert load(file) == [2]
    with gzip.open(tmp_path / "d.gz", "wb") as file:
        save([tensor(np.arange(9.0))], file)
    with gzip.open(tmp_path / "d.gz", "rb") as file:
        assert host_values(load(file)[0]).tolist() == list(range(9))


def test_mapped_file_is_private(tmp_path):
    save(tensor(np.arange(5.0)), tmp_path / "x.pt")
    before = (tmp_path / "x.pt").read_bytes()
    loaded = load(tmp_path / "x.pt", mmap=True)
    host_values(loaded)[0] = 7
    assert host_values(loaded).tolist() == [7, 1, 2, 3, 4] and (tmp_path / "x.pt").read_bytes() == before
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        load(io.BytesIO(before), mmap=True)


def test_plain_pickle():
    base = tensor(np.arange(6.0))
    view = part(base, 1, (2, 2), (2, 1))
    assert host_values(pickle.loads(pickle.dumps(view))).tolist() == [[1, 2], [3, 4]]
    typed = TypedStorage.of(base.storage, base.dtype)
    again = pickle.loads(pickle.dumps(typed))
    assert type(again) is TypedStorage and again.nbytes() == 48


def test_other_pickler():
    import types

    module = types.SimpleNamespace(Pickler=pickle.Pickler, Unpickler=pickle.Unpickler, __name__="other")
    buffer = io.BytesIO()
    save([tensor(np.arange(3.0)), dtypes.int8, device("cpu"), Fraction(1, 2)], buffer, pickle_module=module)
    buffer.seek(0)
    loaded = load(buffer, pickle_module=module)
    assert host_values(loaded[0]).tolist() == [0, 1, 2] and loaded[1:] == [dtypes.int8, device("cpu"), Fraction(1, 2)]
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module"):
        load(buffer, pickle_module=module, weights_only=True)


def test_map_location():
    t = tensor(np.arange(3.0))
    for place in ("cpu", device("cpu"), {"cpu": "cpu"}, lambda storage, where: None, lambda storage, where: storage):
        assert through(t, map_location=place).device.type == "cpu"
    assert through(t, map_location="meta").device.type == "meta"
    with pytest.raises(RuntimeError, match=r"torch.cuda.is_available\(\) is False"):
        through(t, map_location="cuda")
    with pytest.raises(RuntimeError, match="don't know how to restore data location"):
        through(t, map_location={"cpu": "nowhere"})
    with pytest.raises(KeyError, match="mine"):
        through(t, map_location=lambda storage, where: {}["mine"])
    with pytest.raises(TypeError):
        through(t, map_location=3)


def test_safe_globals():
    with pytest.raises(pickle.UnpicklingError, match="^Weights only load failed.*") as caught:
        through(Fraction(1, 3))
    assert "GLOBAL fractions.Fraction was not an allowed global by default" in str(caught.value)
    assert "add_safe_globals([fractions.Fraction])" in str(caught.value)
    with serialization.safe_globals([Fraction]):
        assert through(Fraction(1, 3)) == Fraction(1, 3)
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([(Point, f"{__name__}.Point")])
    try:
        assert through(Point(1, 2)) == Point(1, 2)
    finally:
        serialization.clear_safe_globals()
    assert through(Fraction(1, 3), weights_only=False) == Fraction(1, 3)
    with serialization.safe_globals([os.system]), pytest.raises(pickle.UnpicklingError, match="is blocked"):
        load(with_pickle(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R."))


Point = namedtuple("Point", "x y")


# Writing


def test_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    save("old", path)
    path.chmod(0o640)

    class Bad:
        def __reduce__(self):
            raise ValueError("cannot")

    with pytest.raises(ValueError, match="cannot"):
        save([Bad()], path)
    assert load(path) == "old"

    def broken(self):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveWriter, "finish", broken)
        with pytest.raises(OSError, match="disk full"):
            save("new", path)
    assert load(path) == "old" and os.listdir(tmp_path) == ["x.pt"]
    save("new", path)
    assert load(path) == "new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    link = tmp_path / "link.pt"
    link.symlink_to(path)
    save("newer", link)
    assert link.is_symlink() and load(path) == "newer"


def test_permissions_follow_umask(tmp_path):
    before = os.umask(0o027)
    try:
        save(1, tmp_path / "x.pt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.pt").stat().st_mode) == 0o640


def test_bad_targets(tmp_path):
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        save(1, tmp_path / "none" / "x.pt")
    with pytest.raises(AttributeError, match="expected 'f' to be string, path, or a file-like object"):
        save(1, 5)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.pt")
    with pytest.raises(IsADirectoryError):
        save(1, tmp_path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save(lambda: 0, tmp_path / "l.pt")
    assert not os.listdir(tmp_path)


def test_large_archive_fields():
    """Offsets beyond 4 GiB, without writing them: the writer only counts."""

    class Sparse(io.BytesIO):
        skipped = 0

        def write(self, data):
            return super().write(data)

    sink = Sparse()
    writer = ArchiveWriter(sink, "a")
    writer.record("data.pkl", b"xy")
    writer.position += 5 << 30
    before = sink.tell()
    writer.record("data/0", b"abc")
    header = sink.getvalue()[before:]
    assert header[:4] == b"PK\x03\x04" and header[30 + 8 : 30 + 8 + 4] == struct.pack("<HH", 1, 16)
    assert struct.unpack("<IIQQ", header[-24:])[2:] == (3, 3)
    begin = (5 << 30) + before + header.index(b"abc")
    assert begin % 64 == 0
    writer.finish()
    start = sink.getvalue().index(b"PK\x01\x02", before)
    entry = sink.getvalue()[start:]
    second = entry[entry.index(b"PK\x01\x02", 4) :]
    info = zipfile.ZipInfo()
    info.extra = second[46 + 8 : 46 + 8 + 28]
    assert struct.unpack("<HHQQQ", info.extra) == (1, 24, 3, 3, (5 << 30) + before)


# Damaged and hostile files


def good() -> bytes:
    buffer = io.BytesIO()
    save({"w": tensor(np.arange(6, dtype=np.float32)), "s": [1, "x"]}, buffer)
    return buffer.getvalue()


def with_pickle(data: bytes, drop=(), compression=zipfile.ZIP_STORED, **records: bytes) -> io.BytesIO:
    """A checkpoint with this pickle and a storage `data/0` of two float32."""
    contents = {
        "data.pkl": data,
        "byteorder": b"little",
        "data/0": struct.pack("<ff", 1, 2),
        "version": b"3\n",
    } | records
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in contents.items():
            if name not in drop:
                archive.writestr(f"archive/{name}", content)
    buffer.seek(0)
    return buffer


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def rebuild(
    offset, size, stride, numel=2, key="0", kind="FloatStorage", function="_rebuild_tensor_v2", grad=b"\x89"
) -> bytes:
    """The pickle of a tensor."""
    text = lambda value: b"X" + struct.pack("<I", len(value)) + value.encode()  # noqa: E731
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(numel) + b"tQ"
    layout = b"".join(b"(" + b"".join(map(number, values)) + b"t" for values in (size, stride))
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"\x80\x02"
        + f"ctorch._utils\n{function}\n(".encode()
        + storage
        + number(offset)
        + layout
        + grad
        + hooks
        + b"tR."
    )


HUGE = 1 << 40


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((0, (3,), (1,)), r"requiring a storage size of 12 are out of bounds for storage of size 8"),
        ((2, (1,), (1,)), "out of bounds"),
        ((0, (2,), (2,)), "out of bounds"),
        ((0, (2, 2), (1, 1)), "out of bounds"),
        ((-1, (1,), (1,)), "invalid storage offset -1"),
        ((1, (2,), (-1,)), "Negative strides are not supported"),
        ((0, (-2,), (1,)), "negative dimension -2"),
        ((0, (2,), (1, 1)), r"unequal size length \(1\) and stride length \(2\)"),
        ((0, (HUGE, HUGE), (0, 0)), "integer multiplication overflow"),
        ((0, (HUGE * HUGE,), (0,)), "integer multiplication overflow"),
        ((HUGE * HUGE, (1,), (1,)), "integer multiplication overflow"),
        ((0, (2,), (HUGE * HUGE,)), "integer multiplication overflow"),
        ((1 << 62, (0,), (1,)), "integer multiplication overflow"),
        ((0, (1,) * 65, (1,) * 65), "at most 64 dimensions"),
        ((0, (2,), (1,), 3), r"record size \(8 bytes\) does not match expected size \(12 bytes"),
        ((0, (2,), (1,), 1), "does not match expected size"),
        ((0, (2,), (1,), 2, "7"), "failed locating file data/7: file not found"),
        ((0, (2,), (1,), 2, "../../etc/passwd"), "failed locating file"),
        ((0, (2,), (1,), 2, "0", "LongStorage"), "does not match expected size"),
        ((0, (1,), (1,), 1, "0", "LongStorage", "_rebuild_tensor_v2", b"\x88"), "floating point"),
    ],
)
def test_tensors_outside_their_storage(arguments, text):
    for weights_only in (True, False):
        with pytest.raises(RuntimeError, match=text):
            load(with_pickle(rebuild(*arguments)), weights_only=weights_only)


def test_tensors_inside_their_storage():
    assert host_values(load(with_pickle(rebuild(1, (1,), (1,))))).tolist() == [2]
    assert tuple(load(with_pickle(rebuild(0, (HUGE, 2), (0, 1)))).shape) == (HUGE, 2)
    assert tuple(load(with_pickle(rebuild(5, (0, 3), (3, 1)))).shape) == (0, 3)


TEXT_A = b"X\x01\0\0\0a"
CODE = {
    "os.system": b"\x80\x02cos\nsystem\nX\x0d\0\0\0touch /tmp/pwn\x85R.",
    "posix": b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.",
    "eval": b"\x80\x02c__builtin__\neval\n" + TEXT_A + b"\x85R.",
    "getattr": b"\x80\x02c__builtin__\ngetattr\n" + TEXT_A + TEXT_A + b"\x86R.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x0bSize.__new__\x93.",
    "io.open": b"\x80\x02cio\nopen\n" + TEXT_A + b"\x85R.",
    "subclass": b"\x80\x02cfacula.serialization.tensors\n_load_from_bytes\nX\0\0\0\0\x85R.",
    "facula module": b"\x80\x02cfacula.serialization.saving\nos\n.",
    "load": b"\x80\x02cfacula.serialization\nload\n" + TEXT_A + b"\x85R.",
    "INST": b"\x80\x02(ios\nsystem\n.",
    "OBJ": b"\x80\x02(cos\nsystem\no.",
    "EXT": b"\x80\x02\x82\x01.",
    "call a result": b"\x80\x02ccollections\nOrderedDict\n)R)R.",
    "call a list": b"\x80\x02])R.",
    "build an int": b"\x80\x02K\x01}b.",
    "build a dtype": b"\x80\x02ctorch\nfloat32\n}" + TEXT_A + b"K\x01sb.",
    "append to a dict": b"\x80\x02}K\x01a.",
    "set in a list": b"\x80\x02]K\x01K\x01s.",
    "new dtype": b"\x80\x02ctorch\nfloat32\n)\x81.",
    "unhashable key": b"\x80\x02}]K\x01s.",
    "deep key": b"\x80\x02}" + b"K\x01" + b"\x85" * 10000 + b"K\x01s.",
    "repetitive key": b"\x80\x02}K\x01" + b"q\x01h\x01\x86" * 45 + b"K\x01s.",
    "copies": b"\x80\x02(" + b"K\x01" * 10000 + b"tq\x01" + b"0ctorch\nSize\nh\x01\x85R" * 2000 + b".",
    "big bytearray": b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "other codec": b"\x80\x02c_codecs\nencode\n" + TEXT_A + b"X\x05\0\0\0rot13\x86R.",
    "not a storage": b"\x80\x02(X\x06\0\0\0modulectorch\nFloatStorage\n" + TEXT_A + TEXT_A + b"K\x01tQ.",
    "storage of strings": b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nK\x01K\x01K\x01tQ.",
    "storage of a class": b"\x80\x02(X\x07\0\0\0storagectorch\nfloat32\n" + TEXT_A + TEXT_A + b"K\x01tQ.",
    "huge storage": b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\n"
    + TEXT_A
    + TEXT_A
    + b"\x8a\xff"
    + b"\x01" * 255
    + b"tQ.",
    "text id": b"\x80\x02" + TEXT_A + b"Q.",
    "size of text": b"\x80\x02ctorch\nSize\n" + TEXT_A + b"\x85\x85R.",
    "tensor without storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\0)))\x89NtR.",
    "wrong arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "no such dtype": b"\x80\x02ctorch\nuint17\n.",
    "from type": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nctorch\nSize\n)NtR.",
    "empty": b"",
    "short": b"\x80\x02",
    "nothing left": b"\x80\x02R.",
    "no memo": b"\x80\x02h\x05.",
    "no mark": b"\x80\x02t.",
    "too few": b"\x80\x02K\x01\x87.",
    "long text": b"\x80\x02X\xff\xff\xff\xffa.",
    "bad text": b"\x80\x02X\x01\0\0\0\xff.",
    "name without end": b"\x80\x02cos",
    "no stop": b"\x80\x02N",
}


@pytest.mark.parametrize("name", CODE)
def test_nothing_is_executed(name):
    with pytest.raises(pickle.UnpicklingError, match="^Weights only load failed"):
        load(with_pickle(CODE[name]))


def test_no_code_of_a_real_exploit(tmp_path):
    """An object whose unpickling would make a file, through the usual road."""

    class Exploit:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path = tmp_path / "x.pt"
    save({"w": tensor(np.ones(2)), "x": Exploit()}, path)
    with pytest.raises(pickle.UnpicklingError, match="module posix is blocked|not an allowed global"):
        load(path)
    assert not (tmp_path / "made").exists()
    load(path, weights_only=False)
    assert (tmp_path / "made").exists()
    assert serialization.get_unsafe_globals_in_checkpoint(path) == ["posix.mkdir" if os.name == "posix" else "nt.mkdir"]


def test_state_cannot_move_a_tensor():
    """Attributes named like the record's slots do not change where a tensor looks."""
    inner = rebuild(0, (2,), (1,))[2:-1]
    state = b"}" + b"X\x03\0\0\0ptrK\x01sX\x07\0\0\0storageK\x01s"
    loaded = load(with_pickle(b"\x80\x02" + inner + state + b"b."))
    assert host_values(loaded).tolist() == [1, 2] and loaded.ptr != 1
    with pytest.raises(RuntimeError, match="slots cannot be set"):
        load(with_pickle(b"\x80\x02" + inner + b"N" + state + b"\x86b."))


def test_archives():
    data = good()
    with pytest.raises(EOFError, match="Ran out of input"):
        load(io.BytesIO(b""))
    with pytest.raises(pickle.UnpicklingError, match="^Weights only load failed"):
        load(io.BytesIO(b"hello world"))
    fine = rebuild(0, (2,), (1,))
    for name, text in (("data/0", "file not found"), ("data.pkl", "file not found"), ("version", "file not found")):
        with pytest.raises(RuntimeError, match=text):
            load(with_pickle(fine, drop=(name,)))
    with pytest.raises(ValueError, match="Unknown endianness type: xxx"):
        load(with_pickle(fine, byteorder=b"xxx"))
    assert host_values(load(with_pickle(fine, byteorder=b"big", **{"data/0": struct.pack(">ff", 1, 2)}))).tolist() == [
        1,
        2,
    ]
    with pytest.raises(RuntimeError, match="file read failed"):  # a bomb: never larger than the file
        load(with_pickle(fine, compression=zipfile.ZIP_DEFLATED, **{"data/0": bytes(1 << 24)}))
    with pytest.warns(UserWarning, match="Duplicate"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in ("archive/data.pkl", "archive/data.pkl", "archive/version"):
                archive.writestr(name, b"N.")
    with pytest.raises(RuntimeError, match="twice"):
        load(io.BytesIO(buffer.getvalue()))
    assert load(io.BytesIO(data))["s"] == [1, "x"]


def test_overlapping_records():
    """Many names for the same bytes, as some bombs have."""
    buffer = io.BytesIO()
    writer = ArchiveWriter(buffer, "a")
    writer.record("data.pkl", b"\x80\x02N.")
    writer.record("data/0", bytes(10000))
    writer.directory += [writer.directory[-1].replace(b"data/0", b"data/%d" % i) for i in range(1, 9)]
    writer.finish()
    with pytest.raises(RuntimeError, match="overlap"):
        load(io.BytesIO(buffer.getvalue()))


def test_truncated_anywhere():
    data = good()
    for end in [*range(0, len(data), 7), *range(len(data) - 100, len(data))]:
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            load(io.BytesIO(data[:end]))


@pytest.mark.parametrize("checked", [True, False], ids=["as it is", "without checksums"])
def test_flipped_bits(checked):
    """Every byte of a file, one bit at a time: an error, or a change that the archive does not record."""
    serialization.set_crc32_options(checked)  # without checksums the changes reach the unpickler
    try:
        data, choose, loaded = good(), random.Random(0), 0
    finally:
        serialization.set_crc32_options(True)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << choose.randrange(8)
        try:
            result = load(io.BytesIO(bytes(changed)))
        except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            continue
        loaded += 1
        for value in result.values() if isinstance(result, dict) else ():
            if isinstance(value, Tensor):
                begin, end = value.storage.ptr, value.storage.ptr + value.storage.nbytes
                assert begin <= value.ptr <= end
                host_values(value).sum()
        if checked:
            assert result["s"] == [1, "x"] and host_values(result["w"]).tolist() == list(range(6))
    assert loaded < len(data)


def test_random_pickles():
    """Nonsense made of valid instructions: only errors that say so, and no crash."""
    choose = random.Random(1)
    pieces = [bytes([code]) for code in OPCODES] + [
        b"K\x01",
        b"h\x00",
        b"q\x00",
        TEXT_A,
        b"(",
        b"t",
        b"R",
        b"}",
        b"]",
    ]
    pieces += [
        b"ctorch\nSize\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nfloat32\n",
    ]
    pieces.append(rebuild(0, (2,), (1,))[2:-1])
    for _ in range(3000):
        data = b"\x80\x02" + b"".join(choose.choices(pieces, k=choose.randrange(1, 25))) + b"."
        try:
            load(with_pickle(data))
        except (RuntimeError, pickle.UnpicklingError):
            pass


def test_unseekable():
    class Stream:
        def read(self, count=-1):
            return b""

    with pytest.raises(AttributeError, match="You can only torch.load from a file that is seekable"):
        load(Stream())


def test_torch_is_never_imported():
    code = """
import io, sys
from facula.serialization import load, save, saving
buffer = io.BytesIO()
save({"x": 1}, buffer)
buffer.seek(0)
load(buffer)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


NAMED = {
    "tensors": lambda: [torch.ones(2), torch.bool, torch.Size([1]), device("cpu"), torch.ones(2, dtype=torch.uint16)],
    "parameters": lambda: torch.nn.Linear(2, 2).state_dict(),
    "modules": lambda: torch.nn.Sequential(torch.nn.LSTM(2, 2), torch.nn.TransformerEncoderLayer(2, 1)),
    "optimizers": lambda: torch.optim.Adam(torch.nn.Linear(1, 1).parameters()),
    "storages": lambda: [torch.ones(2).untyped_storage(), torch.sparse_coo_tensor([[0]], [1.0])],
    "functions": lambda: [torch.nn.functional.relu, Fraction(1, 2), namedtuple],
}


@pytest.mark.parametrize("name", NAMED)
def test_both_picklers_write_the_same(name):
    """The one in C whose names are replaced, and the one in Python that writes each name itself."""
    obj = NAMED[name]()
    quick, slow = (saving.pickled(obj, pickle, 2, saving.StorageTable().persistent_id, quick=q) for q in (True, False))
    assert quick == slow and saving._quickly(obj, 2, saving.StorageTable().persistent_id) == slow


def test_text_like_an_instruction():
    """Bytes of the user's own that look like a name in the pickle are left as they are."""
    text = "cfacula.serialization.tensors\n_rebuild_tensor_v2\n"
    assert saving._quickly([text, torch.ones(1)], 2, saving.StorageTable().persistent_id) is None
    loaded = through([text, torch.ones(1), {text: 1}])
    assert loaded[0] == text and loaded[1].tolist() == [1] and loaded[2] == {text: 1}
    assert through([torch.FloatStorage, torch.ones(1)])[0].dtype is dtypes.float32  # not in the module it says


def test_plain_pickles_have_bytes_and_no_addresses():
    import facula as torch

    for x in (torch.arange(4.0), torch.tensor([1.0, 2.0]).to(torch.float8_e5m2)):
        again = pickle.loads(pickle.dumps((x, x[1:])))
        assert again[0].dtype is x.dtype and again[0].tolist() == x.tolist() and again[1].tolist() == x[1:].tolist()
        assert again[0].data_ptr() != x.data_ptr()
