"""What the system refuses (access, space, memory, an encoding), as one line with its likely cause.

The command line turns whatever reaches it into such a line, so no verb has to foresee a full disk.
"""

import errno
import os
import re
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten

from hmtas.errors import InputError, TransientError, first_line

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OTHERS = "does it belong to another user? Look with `ls -l`"
_AGAIN = "free some space and run the same command again"
_CAUSES = {
    errno.EACCES: _OTHERS,
    errno.EPERM: _OTHERS,
    errno.EROFS: "write to another disk",
    errno.ENOENT: "was it moved, removed or misspelt?",
    errno.ENOTDIR: "a file stands where a folder should",
    errno.EISDIR: "name a file in it",
    errno.EMFILE: "raise the limit with `ulimit -n 4096`",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "does the disk, or the network behind it, work?",
    errno.ESTALE: "does the network disk work?",
    **dict.fromkeys(_FULL, _AGAIN),
}
_NO_MEMORY = (
    r".*(?:out of memory|low on memory|[Cc]an(?:no|')t allocate|failed to map segment"
    r"|_ALLOC_FAILED|Failed to CUDA [cm]alloc).*"
)
_NEEDS_LESS = "use a smaller train.batch_size, run less at once, or take a larger machine"


def is_full(error: OSError) -> bool:
    """Does a disk, or a user's share of it, have no space left?"""
    return error.errno in _FULL


def explain(error: BaseException) -> str | None:
    """What the system refused, where and why, in one line; None if it refused nothing.

    Libraries wrap what they meet, so the causes of `error` are looked at as well.
    """
    return next((line for one in _chain(error) if (line := _explain(one))), None)


def describe_error(error: BaseException) -> str:
    """Any error in one line; one that is neither bad input nor a refusal with its class."""
    if isinstance(error, InputError):
        return first_line(error)
    return explain(error) or f"{type(error).__name__}: {first_line(error)}"


def raise_if_refused(error: BaseException, place: Path) -> None:
    """Return where a file that could not be read is itself to blame: it is cut short, or changed.

    Raises:
        TransientError: If the system refused to read it. A missing file is none of these.
    """
    if not isinstance(error, FileNotFoundError) and (line := _explain(error, str(place))):
        raise TransientError(line) from error


def internal(error: BaseException) -> str:
    """A fault of ours in one line, with the innermost place in this program."""
    root = Path(__file__).parents[1]
    ours = tuple(str(root / name) + os.sep for name in ("hmtas", "tune", "ensemble"))
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((one for one in reversed(frames) if one.filename.startswith(ours)), None)
    place = f" at {Path(frame.filename).relative_to(root)}:{frame.lineno}" if frame else ""
    return (
        f"{type(error).__name__}{place}: {first_line(error)[:300]}; this is a fault of hmtas, "
        "please report it with what the same command prints as `hmtas --debug ...`"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from; what was handled meanwhile only where a library did."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        yield found
        seen.append(found)
        wraps = type(found).__module__ != "builtins" and not isinstance(found, InputError)
        found = found.__cause__ or (found.__context__ if wraps else None)


def _explain(error: BaseException, place: str = "") -> str | None:
    text = first_line(error)
    if inner := re.search(r"\(os error (\d+)\)", text):  # what Rust makes of the system's errors
        error = OSError(int(inner[1]), text)
    if isinstance(error, OSError) and re.search(r"\d requested and \d+ written", text):
        error = OSError(errno.ENOSPC, text)  # numpy tells no more of a full disk
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error, error.errno, place)
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop from"):
        return f"{text.partition(' from ')[2]}: a link that leads back to itself"
    if isinstance(error, UnicodeEncodeError):
        return (
            f"the encoding of this system, {sys.getfilesystemencoding()}, or of this terminal "
            f"cannot hold {error.object[:100]!a}; set PYTHONUTF8=1, or a UTF-8 locale such as "
            "LC_ALL=C.UTF-8"
        )
    if isinstance(error, sqlite3.Error):
        return f"a database failed ({text}); is its disk full, or the file read-only?"
    memory = re.search(
        _NO_MEMORY, str(error)
    )  # in any line: Ray's errors have a worker's traceback
    if memory or isinstance(error, MemoryError):
        said = shorten(memory[0] if memory else text, 160, placeholder=" ...")
        return f"not enough memory ({said}); {_NEEDS_LESS}"
    no_gpu = text.startswith("CUDA error") or "NVIDIA driver" in text
    return f"the GPU cannot be used ({text}); see `nvidia-smi`, or use a CPU" if no_gpu else None


def _of_system(error: OSError, number: int, place: str) -> str:
    """`PLACE: what the system says; the likely cause`."""
    if not place and isinstance(error.filename, str | bytes):
        place = os.fsdecode(error.filename)
    elif quoted := re.search(r"'([^']+)'", first_line(error)):  # as Arrow names a file
        place = place or quoted[1]
    cause = _CAUSES.get(number)
    said = os.strerror(number).lower() + (f"; {cause}" if cause else "")
    return f"{place}: {said}" if place else said
