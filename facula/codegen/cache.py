"""Object code on disk, keyed by what it was made from; a damaged or foreign entry counts as none."""

import os
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path

from facula.config import settings

__all__ = ["clear", "key", "read", "size", "write"]

# An entry is MAGIC, its own key, the digest of the rest, the rest.
MAGIC = b"facula\x00\x01"
DIGEST = 32
HEADER = len(MAGIC) + 2 * DIGEST
SUFFIX = ".code"
MACHINES = ("cpu", "cuda")  # a folder each
_told: set[str] = set()
_number = count()


def _note(problem: str, error: OSError) -> None:
    """Says once why there is no cache; the program runs on without."""
    if problem not in _told:
        import logging  # only then: its import takes longer than reading an entry

        _told.add(problem)
        logging.getLogger("facula.cache").debug("%s: %s; machine code is not kept on disk", problem, error)


def key(*parts: str) -> str:
    """A digest in hexadecimal that no other list of parts has."""
    state = blake2b(digest_size=DIGEST)
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def _folder(machine: str) -> Path | None:
    return settings.cache_dir / machine if settings.cache else None


def read(key: str, machine: str = "cpu") -> bytes | None:
    """What was written under `key`, or None; nothing that fails its checksum is ever returned."""
    folder = _folder(machine)
    if folder is None:
        return None
    try:
        with open(f"{folder}/{key[:2]}/{key[2:]}{SUFFIX}", "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _note(f"cannot read {folder}", error)
        return None
    payload = data[HEADER:]
    head = MAGIC + bytes.fromhex(key) + blake2b(payload, digest_size=DIGEST).digest()
    return payload if data[:HEADER] == head else None


def write(key: str, payload: bytes, machine: str = "cpu") -> None:
    """Keep `payload` under `key`; other processes see the whole entry or none."""
    folder = _folder(machine)
    if folder is None:
        return
    temporary = None
    try:
        folder = folder / key[:2]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # No two writers share a name: not processes, nor threads of one.
        temporary = folder / f".{os.getpid()}-{next(_number)}.part"
        with open(temporary, "wb") as file:
            file.write(MAGIC + bytes.fromhex(key) + blake2b(payload, digest_size=DIGEST).digest() + payload)
        os.replace(temporary, folder / f"{key[2:]}{SUFFIX}")
        temporary = None
    except OSError as error:
        _note(f"cannot write {folder}", error)
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _entries() -> list[Path]:
    found = []
    for machine in MACHINES:
        folder = _folder(machine)
        found += [] if folder is None else [*folder.glob(f"??/*{SUFFIX}"), *folder.glob("??/.*.part")]
    return found


def size() -> tuple[int, int]:
    """How many entries there are, and their bytes."""
    sizes = [path.stat().st_size for path in _entries() if path.is_file()]
    return len(sizes), sum(sizes)


def clear() -> int:
    """Delete all entries; returns how many there were."""
    entries = _entries()
    for path in entries:
        path.unlink(missing_ok=True)
    return len(entries)
