"""Places: tried out before the work whose results go there, and found again after a move."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hmtas.errors import InputError


def check_folder(*folders: Path) -> None:
    """Refuse folders that cannot be written, or made where they do not exist; nothing is left.

    Raises:
        InputError: Naming the first such folder, and why.
    """
    for folder in folders:
        if reason := unwritable(folder):
            raise InputError(f"{folder}: cannot be written ({reason}); choose another place")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written or replaced."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    check_folder(path.parent)


def check_space(folder: Path, num_bytes: int, what: str, remedy: str) -> None:
    """Refuse to write more bytes into a folder, which may not exist yet, than its disk can hold.

    Args:
        folder: Where the bytes go.
        num_bytes: How many more are needed.
        what: What needs them, in the plural.
        remedy: What else to do than free some space.
    """
    free = free_bytes(folder)
    if num_bytes > free:
        raise InputError(
            f"{folder}: {what} need {num_bytes:,} bytes more, but the disk has {free:,} free; "
            f"free some space or {remedy}"
        )


def home_of(folder: Path) -> str:
    """What a record notes of the folder that it is written in, for `where_now`."""
    return str(folder.resolve())


def where_now(
    path: str, home: str | None, folder: Path, is_it: Callable[[Path], bool] = Path.exists
) -> str:
    """A recorded path where it lies now: whatever moved, or was copied, together is used together.

    Args:
        path: As recorded, absolute; an address stays as it is.
        home: Folder that the record was written in; None in records of older versions.
        folder: Folder that the record lies in now.
        is_it: Is what was recorded in this place?

    Returns:
        The path that is to `folder` what the recorded one was to `home`, if it is there; else the
        recorded one.
    """
    if home is None or not Path(path).is_absolute():
        return path
    near = os.path.normpath(folder.resolve() / os.path.relpath(path, home))
    return near if near != path and is_it(Path(near)) else path


def free_bytes(folder: Path) -> int:
    """Bytes that the disk of a folder, which may not exist yet, has free."""
    return shutil.disk_usage(_existing(folder)).free


def unwritable(folder: Path) -> str:
    """Why no file can be written into a folder, which may not exist yet; '' if one can.

    A file without a name is written there, as permissions alone do not tell: the disk may be
    full or read-only, and root may do almost anything.
    """
    there = _existing(folder)
    missing = folder.absolute().relative_to(there).parts
    if missing and missing[0].startswith("~"):
        return f"no shell has replaced {missing[0]}; write $HOME instead"
    if not there.is_dir():
        return f"{there} is {'a link to nothing' if there.is_symlink() else 'a file'}"
    try:
        with tempfile.TemporaryFile(dir=there, buffering=0) as file:
            file.write(b"\0")
    except OSError as error:
        return f"{there}: {error.strerror}"
    return ""


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest place above it that exists."""
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    return there
