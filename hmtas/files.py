"""Files that are either complete or absent: atomic writes, locks, checksums, JSON."""

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hmtas.errors import InputError, TransientError, quoted
from hmtas.refusals import is_full


@contextlib.contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Turn running out of space while `path` is written into a `TransientError`."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise TransientError(
                f"{path}: no space left on the disk while writing; "
                "free some space and run the same command again"
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path`; move it there when the block succeeds, else remove it.

    Raises:
        TransientError: If the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with full_disk(path):
            yield scratch
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def walk_files(root: Path) -> Iterator[Path]:
    """Every file below a folder, also through links to folders, but never round in a circle.

    A link to nothing counts as a file; folders that may not be read are passed over.
    """
    way = {root: frozenset[str]()}  # to a folder: the real paths of those above it
    for name, subfolders, files in os.walk(root, followlinks=True):
        folder = Path(name)
        above = way.pop(folder) | {os.path.realpath(folder)}
        subfolders[:] = sorted(n for n in subfolders if os.path.realpath(folder / n) not in above)
        way |= {folder / n: above for n in subfolders}
        yield from (folder / file for file in sorted(files))


def files_of(folder: Path, ending: str) -> list[Path]:
    """The files of a folder with an ending, sorted; none where it is not there.

    Raises:
        OSError: If it may not be read, which `Path.glob` takes for an empty folder.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == ending)


def is_free(folder: Path) -> bool:
    """May a new folder be written here: is there nothing, or an empty folder?"""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = -1, busy: str = "") -> Iterator[None]:
    """Hold a lock file against other threads and processes; the system frees it if we die.

    Args:
        path: The lock file; it stays, unless the block removes it.
        wait_s: Seconds to wait until it is free; -1 waits forever.
        busy: Message of the error.

    Raises:
        TransientError: If another thread or process holds it for longer.
    """
    lock = FileLock(path, timeout=wait_s)
    try:
        lock.acquire()
    except Timeout:
        raise TransientError(busy) from None
    except OSError as error:
        # Some network file systems have no locks; we have nothing better to offer there.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with atomic_path(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in their order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def looks_like(start: bytes) -> str:
    """What a file is by its first bytes, where it is not what its name says; '' if unknown."""
    known = {
        b"version https://git-lfs": "a pointer of Git LFS in place of the file: run `git lfs pull`",
        b"<!doctype html": "an HTML page, such as one that asks to log in: download it again",
        b"<html": "an HTML page, such as one that asks to log in: download it again",
        b"<?xml": "XML, such as the error of a service: download it again",
        b"\xff\xfe": "UTF-16, as PowerShell writes it: save it as UTF-8",
        b"\x93numpy": "an .npy file",
        b"pk\x03\x04": "a zip archive, such as .npz: unpack it",
        b"\x1f\x8b": "compressed with gzip: unpack it",
        b"\x89hdf": "an HDF5 file",
    }
    if not start.strip(b"\0 \r\n"):
        return "empty: did its download, or what wrote it, fail?"
    text = start[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((what for head, what in known.items() if text.startswith(head)), "")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: If the file is missing or is not JSON.
    """
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        what = "a link to nothing" if path.is_symlink() else "no such file"
        raise InputError(f"{path}: {what}") from None


def parse_json(content: bytes, place: str) -> Any:
    """Parse JSON that came from `place`.

    Raises:
        InputError: If it is not JSON, or an object has a key twice.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique)
    except InputError as error:
        raise InputError(f"{place}: {error}; which of the two counts?") from None
    except RecursionError:
        raise InputError(f"{place}: nested too deeply; is it what its name says?") from None
    except ValueError as error:  # also a number of more digits than Python converts
        found = looks_like(content)
        what = f"but {found}" if found else f"({error}); was the download cut short?"
        raise InputError(f"{place}: not JSON {what}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, none of whose keys may be lost to a second one of the same name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"an object has the key {quoted(twice)} twice")
    return found


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
