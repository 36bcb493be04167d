"""The trials of a study on disk: DIR/NAME/trials.jsonl, to which each change is appended.

A line is an object with the trial's `id` and what changed of its row; the first line of a trial has
all of it. Nothing is ever rewritten while trials run, so that a change costs the same however many
trials there are. Only the study's driver writes. A line counts once it ends: of one that was cut
short by a crash, or that is being written, a reader sees nothing.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from hmtas.errors import InputError
from hmtas.files import full_disk, parse_json, write_text
from hmtas.validation import Frozen, validated

FILE = "trials.jsonl"

TrialStatus = Literal["waiting", "running", "done", "stopped", "failed"]


class TrialRow(Frozen):
    """One trial; `stopped` is one that a comparison with the others ended early.

    `asked_after`, `told` and `repeats` are what the next driver needs to resume the study
    (tune.search.ask_tell).
    """

    id: str
    status: TrialStatus
    settings: dict[str, Any]  # the sampled point, by setting path
    best_tight: float | None = None  # on the games that stop the training, in [0, 1]
    best_loose: float | None = None  # of the same epoch
    epochs: int = 0
    seconds: float = 0.0
    run: str  # run folder, relative to the study
    error: str | None = None
    again: bool = False  # it failed for a transient reason: the next driver starts it again
    asked_after: int = 0  # trials whose scores the sampler knew when it proposed this one
    told: int | None = None  # its place among the trials whose end the sampler heard of
    repeats: int = 0  # points that were proposed before this one, though they were tried already

    @property
    def is_open(self) -> bool:
        """Is it still to run, or running?"""
        return self.status in ("waiting", "running")

    @property
    def succeeded(self) -> bool:
        """Did it end with a score, by itself or stopped early?"""
        return self.status in ("done", "stopped")


def read_rows(folder: Path) -> tuple[TrialRow, ...] | None:
    """The trials of a study in the order they were proposed; None if there is no such file.

    Raises:
        InputError: If a line is no such object, or a trial lacks a part of its row.
    """
    path = folder / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(content[: _end_of_lines(content)].splitlines(), start=1):
        place = f"{path}, line {number}"
        change = parse_json(line, place)
        if not isinstance(change, dict) or not isinstance(change.get("id"), str):
            raise InputError(f"{place}: a trial's change must be an object with its id")
        found.setdefault(change["id"], {}).update(change)
    return tuple(validated(TrialRow, row, f"{path}, trial {name}") for name, row in found.items())


def write_rows(folder: Path, rows: Iterable[TrialRow]) -> None:
    """Write the file anew, atomically: a line a trial."""
    write_text(folder / FILE, "".join(f"{_line_of(row)}\n" for row in rows))


class RowFile:
    """The file of a study that is driven, open to be appended to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        content = self.path.read_bytes()
        self._length = _end_of_lines(content)
        os.ftruncate(self._file, self._length)  # what an earlier driver did not come to end

    def append(self, row: TrialRow, before: TrialRow | None) -> None:
        """Add what changed of a row; all of it if there was none.

        Whoever starts or ends a trial waits for the disk. What a trial reported in between is in
        its run folder too.

        Raises:
            TransientError: If the disk is full; the file is as it was.
        """
        line = f"{_line_of(row, before)}\n".encode()
        try:
            with full_disk(self.path):
                if os.write(self._file, line) < len(line):
                    os.write(self._file, b" ")  # says why, if the disk is full
                    raise OSError(f"{self.path}: a line was cut short")
                if before is None or before.is_open != row.is_open:
                    os.fsync(self._file)
        except BaseException:
            os.ftruncate(self._file, self._length)
            raise
        self._length += len(line)

    def close(self) -> None:
        """Append no more."""
        os.close(self._file)


def _line_of(row: TrialRow, before: TrialRow | None = None) -> str:
    if before is None:
        now = row.model_dump(mode="json", exclude_defaults=True)
    else:
        names = TrialRow.model_fields
        changed = {name for name in names if getattr(row, name) != getattr(before, name)}
        now = row.model_dump(mode="json", include={"id", *changed})
    return json.dumps(now, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _end_of_lines(content: bytes) -> int:
    return content.rfind(b"\n") + 1
