"""The zip archive of a checkpoint: uncompressed, aligned records; no size in it is believed before it is checked."""

import contextlib
import os
import secrets
import stat
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from hashlib import blake2b
from typing import NoReturn

from facula.errors import explained, fail

__all__ = ["ALIGNMENT", "ArchiveReader", "ArchiveWriter", "write_all", "write_atomically"]

ALIGNMENT = 64  # of each record's bytes in the file, so that mapped storages are aligned


class ArchiveWriter:
    """Writes records as PyTorch does: uncompressed, aligned, sizes in a descriptor after the data."""

    LIMIT = 0xFFFFFFFF  # sizes and offsets from here on need the 64-bit fields

    def __init__(self, file, prefix: str, checksums: bool = True, alignment: int = ALIGNMENT):
        self.file = file
        self.prefix = prefix
        self.checksums = checksums
        self.alignment = alignment
        self.position = 0
        self.directory: list[bytes] = []
        self.names: list[bytes] = []
        self.checks = blake2b(digest_size=8)

    def record(self, name: str, data) -> None:
        """Append one record."""
        data = memoryview(data).cast("B")
        self._record(name, len(data), _checking(data) if self.checksums else _unchecked, data)

    def gap(self, name: str, size: int) -> None:
        """Append a record whose bytes are to be filled in later."""
        self._record(name, size, _unchecked, None)

    def _record(self, name: str, size: int, checked: Callable[[], int], data: memoryview | None) -> None:
        encoded = f"{self.prefix}/{name}".encode()
        start = self.position
        flags = 0x800 | (0x8 if size else 0)  # UTF-8 name; a descriptor follows, except after nothing
        large = size >= self.LIMIT or start >= self.LIMIT
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if large else b""
        begin = start + 30 + len(encoded) + len(extra) + 4
        padding = -begin % self.alignment
        extra += struct.pack("<HH", 0x4246, padding) + b"Z" * padding
        self._write(
            struct.pack(
                "<IHHHHHIIIHH", 0x04034B50, 45 if large else 0, flags, 0, 0, 0, 0, 0, 0, len(encoded), len(extra)
            )
        )
        self._write(encoded + extra)
        if size:
            if data is None:
                self._skip(size)
            else:
                self._write(data)
        check = checked()
        if size:
            self._write(struct.pack("<IIQQ" if large else "<IIII", 0x08074B50, check, size, size))
        small = min(size, self.LIMIT), min(start, self.LIMIT)
        wide = struct.pack("<HHQQQ", 1, 24, size, size, start) if large else b""
        if large:
            small = self.LIMIT, self.LIMIT
        self.directory.append(
            struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 45 if large else 0, flags, 0, 0, 0, check, small[0],
                        small[0], len(encoded), len(wide), 0, 0, 0, 0, small[1]) + encoded + wide
        )  # fmt: skip
        self.names.append(encoded)
        self.checks.update(struct.pack("<I", check))

    def finish(self) -> None:
        """Append the version, the archive's identity and the directory."""
        self.record("version", b"3\n")
        if f"{self.prefix}/byteorder".encode() not in self.names:
            self.record("byteorder", sys.byteorder.encode())
        names = blake2b(b"\0".join(self.names), digest_size=8).digest()
        identity = (int.from_bytes(part, "little") for part in (names, self.checks.digest()))
        self.record(".data/serialization_id", "".join(f"{number:020d}" for number in identity).encode())
        start, count = self.position, len(self.directory)
        for entry in self.directory:
            self._write(entry)
        size, end = self.position - start, self.position
        # PyTorch always writes the directory's end in both widths.
        self._write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 0x031E, 45, 0, 0, count, count, size, start))
        self._write(struct.pack("<IIQI", 0x07064B50, 0, end, 1))
        few = min(count, 0xFFFF)
        self._write(
            struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, few, few, min(size, self.LIMIT), min(start, self.LIMIT), 0)
        )

    def _write(self, data) -> None:
        write_all(self.file, data)
        self.position += len(data)

    def _skip(self, size: int) -> None:
        """A hole in the file where that is possible, zeros elsewhere."""
        try:
            seekable = self.file.seekable()
        except AttributeError:
            seekable = False
        if seekable:
            self.file.seek(size, os.SEEK_CUR)
            self.position += size
        else:
            zeros = bytes(min(size, 1 << 20))
            for begin in range(0, size, len(zeros) or 1):
                self._write(zeros[: size - begin])


AHEAD = 1 << 20  # bytes from which a checksum is worth a thread


def _unchecked() -> int:
    return 0


def _checking(data: memoryview) -> Callable[[], int]:
    """A function that gives the checksum; that of much data is computed from now on, while the data is written."""
    if len(data) < AHEAD:
        return lambda: zlib.crc32(data)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(zlib.crc32(data)), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no threads are to be had, as at the end of the interpreter
        return lambda: zlib.crc32(data)

    def wait() -> int:
        thread.join()
        return found[0]

    return wait


class ArchiveReader:
    """Finds records of a zip archive; every size is checked against the file before any memory is asked for."""

    def __init__(self, file, name: str):
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        try:
            entries = zipfile.ZipFile(file).infolist()
        except Exception as error:  # zipfile raises many kinds for damaged directories
            self.damaged("failed finding central directory", str(error), cause=error)
        self.records: dict[str, zipfile.ZipInfo] = {}
        if not entries or "/" not in entries[0].filename:
            self.damaged("file in archive is not in a subdirectory", name)
        prefix = entries[0].filename.split("/")[0] + "/"
        for entry in entries:
            short = entry.filename.removeprefix(prefix)
            if short in self.records:
                self.damaged(f"record {short} is there twice", name)
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.compress_size != entry.file_size
                or entry.flag_bits & 1
            ):
                fail(
                    RuntimeError,
                    f"PytorchStreamReader failed reading file {short}: file read failed",
                    expected="records stored as they are, as torch.save does, so that none is larger than the file",
                    got="a compressed or encrypted record",
                    mend="unpack the archive and pack it again without compression (zip -0), if you trust its source",
                )
            self.records[short] = entry
        total = sum(entry.file_size for entry in entries)
        if total > self.size:
            self.damaged("records overlap", f"{total} bytes of records in a file of {self.size}")
        if "version" not in self.records:
            self.damaged("failed locating file version: file not found", name)

    def damaged(self, what: str, got: str, cause: BaseException | None = None) -> NoReturn:
        """RuntimeError in the words of PyTorch's reader."""
        raise explained(
            RuntimeError,
            f"PytorchStreamReader failed reading zip archive: {what}",
            expected="a file written by torch.save or facula.save",
            got=got,
            mend="the file was cut short or changed after it was written: copy it again, or load an earlier one",
        ) from cause

    def entry(self, name: str) -> zipfile.ZipInfo:
        found = self.records.get(name)
        if found is None:
            fail(
                RuntimeError,
                f"PytorchStreamReader failed locating file {name}: file not found",
                got=f"records {', '.join(sorted(self.records)[:8])}{', ...' if len(self.records) > 8 else ''}",
                mend="the archive is incomplete: copy it again, or load an earlier checkpoint",
            )
        return found

    def offset(self, name: str) -> int:
        """Where in the file the record's bytes begin."""
        entry = self.entry(name)
        header = b""
        if 0 <= entry.header_offset < self.size:
            self.file.seek(entry.header_offset)
            header = self.file.read(30)
        if len(header) == 30 and header[:4] == b"PK\x03\x04":
            length, extra = struct.unpack_from("<HH", header, 26)
            begin = entry.header_offset + 30 + length + extra
            if begin + entry.file_size <= self.size and self.file.read(length) == entry.orig_filename.encode(
                "utf-8", "replace"
            ):
                return begin
        self.damaged(
            f"failed reading file {name}: its header is damaged", f"offset {entry.header_offset} of {self.size}"
        )

    def read_into(self, name: str, memory) -> None:
        """Fill `memory`, whose length is the record's, and verify the checksum."""
        begin = self.offset(name)
        memory = memoryview(memory).cast("B")
        self.file.seek(begin)
        filled = 0
        while filled < len(memory):
            if hasattr(self.file, "readinto"):
                count = self.file.readinto(memory[filled:])
            else:
                data = self.file.read(len(memory) - filled)
                count = len(data)
                memory[filled : filled + count] = data
            if not count:
                self.damaged(f"failed reading file {name}: file read failed", f"{filled} of {len(memory)} bytes")
            filled += count
        check = self.entry(name).CRC  # 0 where the writer was told to compute none, or left the bytes to others
        if check and zlib.crc32(memory) != check:
            self.damaged(f"failed reading file {name}: file read failed", "a wrong checksum: bytes have changed")

    def read(self, name: str) -> bytes:
        data = bytearray(self.entry(name).file_size)
        self.read_into(name, data)
        return bytes(data)


def write_all(file, data) -> None:
    """Write all bytes, also to a raw file, which may take fewer at a time."""
    count = file.write(data)
    while isinstance(count, int) and 0 < count < len(data):
        data = memoryview(data)[count:]
        count = file.write(data)


def write_atomically(path: str, write: Callable) -> None:
    """Write a file beside `path`, make sure that it is on the disk, and put it in its place."""
    path = os.path.realpath(path)  # a link keeps pointing where it points
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        fail(
            RuntimeError,
            f"Parent directory {folder} does not exist.",
            mend="make it with os.makedirs(folder, exist_ok=True)",
        )
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):  # a device or a pipe cannot be replaced; a folder raises here
        with open(path, "wb") as file:
            return write(file)
    temporary = os.path.join(folder, f"{os.path.basename(path)[:100]}.{secrets.token_hex(4)}.tmp")
    # A new file gets what the umask leaves of these permissions; one that is replaced keeps its own.
    permissions = 0o666 if mode is None else 0o600
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, permissions)) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Let the new name reach the disk too, where folders can be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
