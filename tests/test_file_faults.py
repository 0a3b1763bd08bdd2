"""Files meet what goes wrong: processes killed and disks full while they write, damaged files, and hostile ones.

Damaged and hostile files are read in a child process that may have little memory and time, and that an audit hook ends
if anything in the file gets to run.
"""

import errno
import io
import os
import pickle
import random
import resource
import signal
import struct
import sys
import time
import traceback
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator

import pytest

import facula as torch
from facula.serialization.archive import ArchiveWriter

CLEAR = (RuntimeError, ValueError, EOFError, pickle.UnpicklingError)  # what a damaged file may raise
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "subprocess.",
             "socket.", "shutil.", "exec", "ctypes.dlopen", "import")  # fmt: skip


def in_child(function: Callable, memory: int | None = None, seconds: int = 60) -> None:
    """Call a function in a forked process; AssertionError with its traceback unless it returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            signal.alarm(seconds)
            if memory is not None:
                now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
            function()
        except BaseException:
            os.write(writer, traceback.format_exc()[-4000:].encode())
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"exit status {status}: {said}"


def guard() -> None:
    """End the process as soon as something runs that no file may run, or a file is opened for writing."""

    def hook(event: str, args: tuple) -> None:
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if writes or any(event == name or event.startswith(name) and name[-1] == "." for name in FORBIDDEN):
            os.write(2, f"{event} {args}\n".encode())
            os._exit(3)

    sys.addaudithook(hook)


# Writing


def value(number: int) -> dict:
    return {"x": torch.full((200_000,), float(number)), "n": number, "y": torch.full((7,), float(number))}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_killed_while_saving(tmp_path, old):
    """The file is the old one or the new one, never half of one."""
    path = tmp_path / "x.pt"
    torch.save(value(0), path, _use_new_zipfile_serialization=not old)
    began = time.monotonic()
    torch.save(value(0), path, _use_new_zipfile_serialization=not old)
    lasting = time.monotonic() - began
    choose, seen = random.Random(0), set()
    for tries in range(60):
        if tries >= 12 and len(seen) > 1:
            break
        child = os.fork()
        if not child:
            try:
                for number in range(1, 1000):
                    torch.save(value(number), path, _use_new_zipfile_serialization=not old)
            finally:
                os._exit(1)
        time.sleep(lasting * choose.uniform(0, 5 + tries))  # a child may be slower
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = torch.load(path)
        assert found["x"].tolist() == [found["n"]] * 200_000 and found["y"].tolist() == [found["n"]] * 7
        seen.add(found["n"])
    assert len(seen) > 1
    assert all(name.startswith("x.pt") for name in os.listdir(tmp_path))


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_disk_full(tmp_path, kind):
    """The old file stays whole, and nothing is left beside it."""
    path = tmp_path / f"x.{kind}"

    def write(tensors: dict) -> None:
        if kind == "safetensors":
            torch.safetensors.save_file(tensors, path)
        else:
            torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")

    write({"x": torch.ones(100)})
    before = path.read_bytes()

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit in (0, 100, 4096, 100_000, 300_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                write({"x": torch.ones(100_000), "y": torch.ones(3)})
            except Exception as error:
                assert getattr(error, "errno", errno.EFBIG) == errno.EFBIG, error
            else:
                raise AssertionError(f"no error at {limit}")

    in_child(fill)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_no_space_left():
    """A device that is full, and an open file that is: the error is the system's."""
    for target in ("/dev/full", open("/dev/full", "wb")):
        with pytest.raises(OSError) as caught:
            torch.save(value(1), target)
        assert caught.value.errno == errno.ENOSPC


def test_files_that_take_little_at_a_time():
    class Slow(io.RawIOBase):
        def __init__(self):
            self.data = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.data += memoryview(data)[:1000]
            return min(len(data), 1000)

    for old in (False, True):
        slow = Slow()
        torch.save(value(3), slow, _use_new_zipfile_serialization=not old)
        assert torch.load(io.BytesIO(bytes(slow.data)))["y"].tolist() == [3.0] * 7


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 250 + ".pt")
    torch.save(1, path)
    torch.save(2, path)
    assert torch.load(path) == 2 and len(os.listdir(tmp_path)) == 1


# Damaged files


def tree() -> dict:
    state = OrderedDict(weight=torch.arange(12.0).view(3, 4), bias=torch.ones(3, dtype=torch.bfloat16))
    state._metadata = OrderedDict({"": {"version": 1}})
    sparse = torch.sparse_coo_tensor([[0, 2], [1, 0]], [1.0, 2.0], (3, 2))
    return {
        "model": state, "view": state["weight"].t()[1:], "sparse": sparse, "half": torch.ones(2).half(), "lr": 0.5,
        "p": torch.nn.Parameter(torch.ones(2)), "names": ["a", ("b", 3)], "size": torch.Size([2, 3]), "step": 70000,
        "dtype": torch.float64, "u": torch.ones(2, dtype=torch.uint16), "set": {1, 2}, "text": "x" * 300,
    }  # fmt: skip


def whole(kind: str) -> bytes:
    if kind == "safetensors":
        return torch.safetensors.save({"a": torch.arange(12.0).view(3, 4), "b": torch.ones(3, dtype=torch.bfloat16)})
    buffer = io.BytesIO()
    torch.serialization.set_crc32_options(kind != "zip without checksums")
    try:
        torch.save(tree(), buffer, _use_new_zipfile_serialization=kind != "legacy")
    finally:
        torch.serialization.set_crc32_options(True)
    return buffer.getvalue()


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The bytes of a file with something wrong: a piece missing, bits flipped, numbers huge, parts in a wrong place."""
    choose = random.Random(seed)
    pickled = max(data.find(b"\x80\x02"), 0)
    for _ in range(count):
        changed = bytearray(data)
        where = choose.randrange(len(data)) if choose.random() < 0.4 else choose.randrange(
            pickled, min(len(data), pickled + 1500)
        )  # fmt: skip
        kind = choose.randrange(8)
        if kind == 0:
            del changed[where:]
        elif kind == 1:
            del changed[where : where + choose.randrange(1, 200)]
        elif kind == 2:
            for _ in range(choose.randrange(1, 6)):
                changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(8)
        elif kind == 3:
            changed[where] = choose.randrange(256)
        elif kind == 4:
            changed[where : where + choose.choice([1, 2, 4, 8])] = b"\xff" * choose.choice([1, 2, 4, 8])
        elif kind == 5:
            changed[where:where] = choose.randbytes(choose.randrange(1, 20))
        elif kind == 6:
            other = choose.randrange(len(changed))
            changed[where : where + 40] = changed[other : other + 40]
        else:
            changed[where : where + 4] = struct.pack("<I", choose.choice([0, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 30]))
        yield bytes(changed)


def look_at(found: object) -> None:
    """Read all that was loaded: each element of each tensor must be inside its memory."""
    if isinstance(found, torch.Tensor):
        if found.is_sparse:
            look_at(found._indices())
            look_at(found._values())
            found.to_dense() if found.numel() < 1_000_000 else None
        elif found.numel() < 1_000_000 and found.device.type == "cpu":
            begin, end = found.storage.ptr, found.storage.ptr + found.storage.nbytes
            assert begin <= found.data_ptr() <= end
            found.clone()
            str(found)
    elif isinstance(found, dict):
        for item in list(found.items()):
            look_at(item)
    elif isinstance(found, list | tuple | set):
        for item in found:
            look_at(item)


@pytest.mark.parametrize("kind", ["zip", "zip without checksums", "legacy", "safetensors"])
def test_damaged_files(tmp_path, kind):
    """500 damages: a clear error or a value each time."""
    data = whole(kind)
    path = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pt")
    clear = CLEAR
    if kind == "safetensors":
        from safetensors import SafetensorError

        clear += (SafetensorError,)
    look_at(torch.safetensors.load(data) if kind == "safetensors" else torch.load(io.BytesIO(data)))

    def read_all() -> None:
        outcomes = [0, 0]
        files = []
        for number, changed in enumerate(mutations(data, 500, 1)):
            if number % 5 == 0:
                path.write_bytes(changed)
                files.append(path)
            source = path if number % 5 == 0 else io.BytesIO(changed)
            mapped = {"mmap": True} if number % 10 == 0 and kind.startswith("zip") else {}
            try:
                if kind == "safetensors":
                    found = torch.load(path) if source is path else torch.safetensors.load(changed)
                else:
                    found = torch.load(source, **mapped)
            except clear:
                outcomes[0] += 1
            else:
                outcomes[1] += 1
                look_at(found)
        assert outcomes[0] > 100, outcomes

    in_child(read_all, memory=1 << 29)


def test_damaged_files_run_nothing():
    """The same, watched: reading opens nothing for writing and starts nothing."""
    data = {kind: whole(kind) for kind in ("zip without checksums", "legacy")}

    def read_all() -> None:
        for kind in data:
            torch.load(io.BytesIO(data[kind]))  # what is imported on first use
        guard()
        for kind in data:
            for changed in mutations(data[kind], 300, 2):
                try:
                    torch.load(io.BytesIO(changed))
                except CLEAR:
                    pass

    in_child(read_all)


# Hostile files


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def storage(kind: str = "Float", key: str = "0", numel: int = 2, old: bool = False, view: bytes = b"N") -> bytes:
    named = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu") + number(numel)
    return named + (view if old else b"") + b"tQ"


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(made: bytes, offset: int = 0, size=(2,), stride=(1,)) -> bytes:
    layout = number(offset) + numbers(*size) + numbers(*stride)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + made + layout + b"\x89" + HOOKS + b"tR"


def sparse(places: bytes, kept: bytes, size=(3, 3), rest: bytes = b"") -> bytes:
    parts = b"(" + places + kept + numbers(*size) + rest + b"t"
    layout = b"ctorch.serialization\n_get_layout\n" + text("torch.sparse_coo") + b"\x85R"
    return b"ctorch._utils\n_rebuild_sparse_tensor\n(" + layout + parts + b"tR"


def archive(data: bytes, **records: bytes) -> bytes:
    buffer = io.BytesIO()
    writer = ArchiveWriter(buffer, "archive")
    contents = {"data.pkl": data, "byteorder": b"little", "data/0": struct.pack("<ff", 1, 2),
                "data/1": struct.pack("<qqqq", 0, 1, 2, 3)} | records  # fmt: skip
    for name, content in contents.items():
        writer.record(name, content)
    writer.finish()
    return buffer.getvalue()


def old_file(data: bytes, keys: tuple = ("0",), storages: bytes = struct.pack("<qff", 2, 1, 2)) -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return head + data + pickle.dumps(list(keys), 2) + storages


PROTO = b"\x80\x02"
SYSTEM = text("touch /tmp/facula-was-here")
LONG = tensor(storage("Long", "1", 4), 0, (2, 2), (2, 1))
RUNS = {
    "REDUCE": b"cos\nsystem\n" + SYSTEM + b"\x85R",
    "REDUCE posix": b"cposix\nsystem\n" + SYSTEM + b"\x85R",
    "REDUCE exec": b"c__builtin__\nexec\n" + text("import os") + b"\x85R",
    "REDUCE getattr": b"c__builtin__\ngetattr\nctorch\nSize\n" + text("__new__") + b"\x86R",
    "REDUCE import": b"c__builtin__\n__import__\n" + text("os") + b"\x85R",
    "REDUCE apply": b"cfunctools\npartial\ncos\nsystem\n\x85R",
    "REDUCE facula": b"cfacula\ncompile\n" + text("x") + b"\x85R",
    "REDUCE torch.load": b"ctorch\nload\n" + text("x") + b"\x85R",
    "REDUCE plain storage": b"ctorch.storage\n_load_from_bytes\n" + text("x") + b"\x85R",
    "REDUCE generator": b"ctorch._C\nGenerator\n)R",
    "NEWOBJ": b"csubprocess\nPopen\n" + SYSTEM + b"\x85\x81",
    "NEWOBJ type": b"c__builtin__\ntype\n" + text("X") + b")}\x87\x81",
    "NEWOBJ_EX": b"csubprocess\nPopen\n" + SYSTEM + b"\x85}\x92",
    "INST": b"(" + SYSTEM + b"ios\nsystem\n",
    "OBJ": b"(cos\nsystem\n" + SYSTEM + b"o",
    "EXT1": b"\x82\x01",
    "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "BUILD a class": b"ctorch\nSize\n}" + text("__module__") + text("x") + b"sb",
    "BUILD a function": b"ctorch._utils\n_rebuild_tensor_v2\n}" + text("__code__") + b"Nsb",
    "BUILD setstate": HOOKS + b"}" + text("__setstate__") + b"cos\nsystem\nsb" + SYSTEM + b"b",
    "BUILD a Size": b"ctorch\nSize\n)\x85R}b",
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93",
    "PERSID": b"Pos.system\n",
    "BINPERSID of a module": b"(" + text("module") + b"cos\nsystem\nNNtQ",
    "nested": b"}" + text("model") + b"}" + text("weight") + b"(K\x01]cos\nsystem\n" + SYSTEM + b"\x85Ratss",
    "a key": b"}cos\nsystem\n" + SYSTEM + b"\x85RK\x01s",
    "sizes": b"ctorch\nSize\ncos\nsystem\n" + SYSTEM + b"\x85R\x85R",
    "hooks": b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + number(0) + numbers(2) + numbers(1) + b"\x89"
    + b"}K\x01cos\nsystem\nstR",
    "subclass": b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\ncos\nsystem\n)NtR",
    "rebuilder": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n" + SYSTEM + b"\x85NtR",
}  # fmt: skip
BOMBS = {
    "memo": b"]q\x00" + b"".join(b"]q%c" % (i + 1) + b"(" + b"h%c" % i * 90 + b"e" for i in range(60))
    + b"}h\x3dK\x01s",
    "key of repeated tuples": b"}K\x01" + b"q\x01h\x01\x86" * 60 + b"K\x01s",
    "deep key": b"}K\x01" + b"\x85" * 100_000 + b"K\x01s",
    "copied states": b"}" + b"".join(text(f"k{i}") + b"K\x01s" for i in range(5000)) + b"q\x010" + b"("
    + b"ccollections\nOrderedDict\nq\x02)Rh\x01b" + b"h\x02)Rh\x01b" * 100_000 + b"t",
    "copied text": text("x" * 100_000) + b"q\x010(" + b"c_codecs\nencode\nq\x02h\x01" + text("latin1") + b"q\x03\x86R"
    + b"h\x02h\x01h\x03\x86R" * 100_000 + b"t",
    "copied sizes": b"(" + b"K\x01" * 10_000 + b"tq\x010(ctorch\nSize\nq\x02h\x01\x85R" + b"h\x02h\x01\x85R" * 50_000
    + b"t",
    "bytearray": b"c__builtin__\nbytearray\n" + number(1 << 40) + b"\x85R",
    "long text": b"X\xff\xff\xff\x7fx",
    "long number": b"\x8b\xff\xff\xff\x7fx",
    "long bytes": b"\x8e" + struct.pack("<Q", 1 << 60),
    "storage": tensor(storage(numel=1 << 50), 0, (1 << 50,)),
    "storage beyond 64 bits": tensor(storage(numel=1 << 62), 0, (1,)),
    "sparse places": sparse(
        tensor(storage("Long", "1", 4), 0, (2, 1 << 40), (1, 0)), tensor(storage(), 0, (1 << 40,), (0,))
    ),
    "expanded": b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n(" + tensor(storage(), 0, (1 << 40,), (0,))
    + b"ctorch\nfloat64\n" + text("cpu") + b"\x89tR",
    "colliding keys": b"}(" + b"".join(number(i * ((1 << 61) - 1)) + b"N" for i in range(60_000)) + b"u",
    "colliding items": b"\x8f(" + b"".join(number(i * ((1 << 61) - 1)) for i in range(60_000)) + b"\x90",
}  # fmt: skip
OUTSIDE = {
    "places outside": sparse(LONG, tensor(storage()), (1, 9)),
    "negative places": sparse(tensor(storage("Long", "1", 4), 0, (2, 2), (0, 1)), tensor(storage()), (-1, 3)),
    "other values": sparse(LONG, tensor(storage(), 0, (1,)), (9, 9)),
    "dims": sparse(LONG, tensor(storage()), (9,)),
    "float places": sparse(tensor(storage(), 0, (1, 2), (2, 1)), tensor(storage()), (9,)),
    "not in order": sparse(tensor(storage("Long", "1", 4), 0, (1, 2), (2, 0)), tensor(storage()), (9,), b"\x88"),
    "sparse of a list": sparse(b"]", b"]"),
    "layout": b"ctorch.serialization\n_get_layout\n" + text("torch.sparse_csr") + b"\x85R",
    "layout of a list": b"ctorch.serialization\n_get_layout\n]\x85R",
    "offset": tensor(storage(), 2), "negative offset": tensor(storage(), -1),
    "stride": tensor(storage(), 0, (2,), (2,)), "negative stride": tensor(storage(), 1, (2,), (-1,)),
    "size": tensor(storage(), 0, (3,)), "negative size": tensor(storage(), 0, (-1,)),
    "product": tensor(storage(), 0, (1 << 40, 1 << 40), (0, 0)),
    "other size": tensor(storage(numel=1), 0, (1,)), "other type": tensor(storage("Double"), 0, (1,)),
    "no such storage": tensor(storage(key="9")), "path": tensor(storage(key="../data.pkl")),
    "quantized": b"ctorch._utils\n_rebuild_qtensor\n(NNtR", "nested": b"ctorch._utils\n_rebuild_nested_tensor\n(NtR",
}  # fmt: skip
HOSTILE = {
    **{f"runs {name}": data for name, data in RUNS.items()},
    **{f"bomb {name}": data for name, data in BOMBS.items()},
    **{f"outside {name}": data for name, data in OUTSIDE.items()},
}


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_hostile_pickles(kind):
    """Refused clearly and quickly, with little memory, and nothing of them runs."""
    make = archive if kind == "zip" else old_file
    fine = make(PROTO + tensor(storage(old=kind == "legacy")) + b".")
    assert torch.load(io.BytesIO(fine)).tolist() == [1, 2]

    def read_all() -> None:
        for data in (whole("legacy"), whole("zip")):
            torch.load(io.BytesIO(data))
        guard()
        accepted = []
        for name, part in HOSTILE.items():
            if kind == "legacy":  # the persistent ids have one thing more there
                part = part.replace(b"tQ", b"NtQ")
            began = time.monotonic()
            try:
                torch.load(io.BytesIO(make(PROTO + part + b".")))
            except (RuntimeError, pickle.UnpicklingError):
                pass
            except BaseException as error:
                accepted.append(f"{name}: {type(error).__name__} {error}"[:300])
            else:
                accepted.append(name)
            if time.monotonic() - began > 10:
                accepted.append(f"{name} took long")
        assert not accepted, accepted

    in_child(read_all, memory=1 << 29)


def test_deep_values():
    """Deep nesting is a value like others; only asking for its text is too much for Python."""

    def read() -> None:
        depth = 200_000
        for kind, data in (("list", b"]" * depth + b"a" * (depth - 1)), ("tuple", b")" + b"\x85" * depth)):
            found = torch.load(io.BytesIO(archive(PROTO + data + b".")))
            levels = 0
            while found:
                found, levels = found[0], levels + 1
            assert levels >= depth - 1, (kind, levels)

    in_child(read, memory=1 << 29)


def test_old_files_that_lie():
    """Sizes and names behind the pickle that are not those in it."""
    one = PROTO + tensor(storage(old=True)) + b"."
    view = b"(" + text("5") + number(1) + number(1) + b"t"
    before = b"(" + text("5") + number(-1) + number(1) + b"t"
    assert torch.load(io.BytesIO(old_file(PROTO + tensor(storage(old=True, view=view), 0, (1,)) + b"."))).tolist() == [
        2
    ]
    for data, what in (
        (old_file(one, ("0", "1")), "list of storages"),
        (old_file(one, ()), "list of storages"),
        (old_file(one, ("1",)), "list of storages"),
        (old_file(one, storages=struct.pack("<qff", 3, 1, 2)), "wrong byte size"),
        (old_file(one, storages=struct.pack("<qff", -2, 1, 2)), "wrong byte size"),
        (old_file(one, storages=struct.pack("<qf", 2, 1)), "unexpected EOF"),
        (old_file(PROTO + tensor(storage(old=True, numel=1 << 40), 0, (1,)) + b"."), "larger than the file"),
        (old_file(PROTO + tensor(storage(old=True, view=view.replace(number(1), number(2), 1)), 0, (1,)) + b"."),
         "lies outside of it"),
        (old_file(PROTO + tensor(storage(old=True, view=before), 0, (1,)) + b"."),
         "lies outside of it"),
        (pickle.dumps(3, 2), "Invalid magic number"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(7, 2), "Invalid protocol version: 7"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=what):
            torch.load(io.BytesIO(data))


def test_archives_that_lie():
    """Directories that name paths, compress, or give sizes which are not there."""
    fine = archive(PROTO + tensor(storage()) + b".")
    assert torch.load(io.BytesIO(fine)).tolist() == [1, 2]
    outcomes = []

    def packed(compression: int, names: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as target:
            for name, content in names.items():
                target.writestr(name, content)
        return buffer.getvalue()

    data = PROTO + tensor(storage()) + b"."
    bomb = {"a/data.pkl": data, "a/data/0": bytes(1 << 26), "a/version": b"3\n"}
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        outcomes.append(packed(method, bomb))
    for prefix in ("../a", "/etc", "..", "a/../b"):
        outcomes.append(packed(zipfile.ZIP_STORED, {f"{prefix}/data.pkl": data, f"{prefix}/../data/0": b"12345678"}))
    entry = fine.rindex(b"archive/data/0") - 46
    assert fine[entry : entry + 4] == b"PK\x01\x02"
    for size in (0, 7, 9, 1 << 20, 0xFFFFFFFE, 0xFFFFFFFF):
        changed = bytearray(fine)
        changed[entry + 20 : entry + 28] = struct.pack("<II", size, size)
        outcomes.append(bytes(changed))
    for offset in (0, 1, len(fine) - 10, 0xFFFFFFFE, 0xFFFFFFFF):
        changed = bytearray(fine)
        changed[entry + 42 : entry + 46] = struct.pack("<I", offset)
        outcomes.append(bytes(changed))

    def read_all() -> None:
        for number, changed in enumerate(outcomes):
            try:
                torch.load(io.BytesIO(changed))
            except RuntimeError:
                continue
            raise AssertionError(f"archive {number} was accepted")

    in_child(read_all, memory=1 << 28)
