"""Zips that somebody else made: sound, of a bearable size, with names that are read right."""

import contextlib
import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from hmtas.errors import InputError, first_line

MOST_GAME_BYTES = 1e8  # four times what a spot per half second and action takes
MOST_BYTES = 4e9
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


def gigabytes(num_bytes: float) -> str:
    """A size in words."""
    return f"{num_bytes / 1e9:.1f} GB"


LIMITS = (
    f"spots of a game may take {gigabytes(MOST_GAME_BYTES)} and all of them "
    f"{gigabytes(MOST_BYTES)}: are these spots?"
)


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip to read from.

    Raises:
        InputError: If it is not sound, there or where the block reads it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before its begin
            raise
        raise InputError(
            f"{path}: not a sound zip ({first_line(error)}); spots are a folder or a zip, was it "
            "cut short?"
        ) from None


def check_packed(entry: zipfile.ZipInfo, place: str, most_bytes: float) -> None:
    """Refuse a file of a zip that is too large, or packed as few programs do.

    Raises:
        InputError: If it is.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{place} is packed in an unusual way; make the zip with 'deflate'")
    if entry.file_size > most_bytes:
        raise InputError(f"{place} unpacks to {gigabytes(entry.file_size)}; {LIMITS}")


def name_of(entry: zipfile.ZipInfo) -> str:
    """Its name in the zip; Macs write UTF-8 without saying so, which reads as cp437."""
    says_utf8 = entry.flag_bits & 0x800
    if not says_utf8:
        with contextlib.suppress(UnicodeError):
            return entry.filename.encode("cp437").decode()
    return entry.filename
