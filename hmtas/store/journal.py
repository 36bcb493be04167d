"""What packing has finished, one line per half, so that an interrupted packing resumes there.

A line is the SHA-256 of the rest of the line, a space, and JSON. A line that was cut short by a
crash, or damaged, does not match and counts as not there: its half is packed again.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hmtas.files import full_disk, sha256_file, write_text
from hmtas.records import HalfId
from hmtas.store.index import StoredHalf


class Entry(NamedTuple):
    """A half that is done."""

    settings: str  # checksum of what else its file depends on: streams, rate, actions, version
    sources: dict[str, list[int]]  # name of each source file to its size and mtime in ns
    mtime_ns: int  # of the finished file
    stored: StoredHalf  # what the index will say of it

    def is_sound(self, store: Path) -> bool:
        """Whether the finished file is still what was written.

        Size and time of change suffice; where only the time differs (a store that was copied)
        the checksum decides.
        """
        file = store / self.stored.file
        if not file.is_file() or file.stat().st_size != self.stored.num_bytes:
            return False
        unchanged = file.stat().st_mtime_ns == self.mtime_ns
        return unchanged or sha256_file(file) == self.stored.sha256


def read_journal(path: Path) -> tuple[dict[HalfId, Entry], list[int]]:
    """Read a journal, the last line of a half counting.

    Returns:
        The entries, and the numbers of the lines that are damaged.
    """
    entries: dict[HalfId, Entry] = {}
    damaged = []
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines, start=1):
        checksum, _, text = line.partition(b" ")
        if number == len(lines) and not line:
            break  # what follows the last line's end
        if checksum.decode(errors="replace") != hashlib.sha256(text).hexdigest():
            damaged.append(number)
            continue
        settings, sources, mtime_ns, stored = json.loads(text)
        (game, half), num_rows, streams, *rest = stored
        item = StoredHalf(HalfId(game, half), num_rows, tuple(streams), *rest)
        entries[item.half] = Entry(settings, sources, mtime_ns, item)
    return entries, damaged


def write_journal(path: Path, entries: Iterable[Entry]) -> None:
    """Replace a journal atomically."""
    write_text(path, "".join(_line(entry) for entry in entries))


def append(path: Path, entry: Entry) -> None:
    """Add a line and wait until the disk has it."""
    with full_disk(path), path.open("a", encoding="utf-8") as file:
        file.write(_line(entry))
        file.flush()
        os.fsync(file.fileno())


def _line(entry: Entry) -> str:
    text = json.dumps(entry, ensure_ascii=False)
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}\n"
