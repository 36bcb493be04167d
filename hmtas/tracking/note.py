"""FOLDER/mlflow.json: where MLflow keeps a run or a parent of runs, and what it was given.

A note moves with its folder, and its database perhaps with it; a copy is not what the note means.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hmtas.files import read_json, write_json
from hmtas.place import home_of, where_now
from hmtas.runs.record import MLFLOW_NOTE, find_run
from hmtas.tracking.client import sqlite_path, sqlite_uri, tracking_uri

Status = Literal["RUNNING", "FINISHED", "FAILED"]
N = TypeVar("N", bound="Note")


class LoggedFile(BaseModel):
    """A file that was logged; size and time save reading it again to see that it is the same."""

    size: int
    mtime_ns: int
    sha256: str


class Note(BaseModel):
    """FOLDER/mlflow.json, as far as it is the same for runs and for parents of runs."""

    tracking_uri: str
    home: str | None = None  # its folder when it was written; None once it is read


class RunLog(Note):
    """RUN/mlflow.json: where MLflow keeps this run, and what it was given."""

    model_config = ConfigDict(extra="forbid")

    experiment: str
    run_id: str
    created: str  # of the run record: another one means that the folder holds another run
    status: Status = "RUNNING"
    params: bool = False  # logged?
    epochs: int = 0  # the last one logged
    tags: dict[str, str] = {}
    scores: dict[str, tuple[int, str]] = {}  # split to the step it was logged as, and its SHA-256
    artifacts: dict[str, LoggedFile] = {}


class Tracked(NamedTuple):
    """Where MLflow has a run folder: the store, the experiment, the run."""

    uri: str
    experiment: str
    run_id: str


def read_note(folder: Path, kind: type[N]) -> N | None:
    """What was logged of a folder; None if nothing, or if the file is not ours to understand.

    A database that moved along is where it lies now. What a copied folder says of its original is
    not read.

    Raises:
        InputError: If the file is no JSON.
    """
    if not (folder / MLFLOW_NOTE).is_file():
        return None
    found = read_json(folder / MLFLOW_NOTE)
    try:
        note = kind.model_validate(found)
    except ValidationError:
        return None
    uri = _uri_now(note, folder)
    if uri == note.tracking_uri and _original(folder, note, found):
        return None
    note.tracking_uri, note.home = uri, None
    return note


def write_note(folder: Path, note: Note) -> None:
    """Note what was logged of a folder."""
    at_home = note.model_copy(update={"home": home_of(folder)})
    write_json(folder / MLFLOW_NOTE, at_home.model_dump(mode="json"))


def original_of(folder: Path) -> Path | None:
    """The folder that this one was copied from, if MLflow's run of it, in its store, is meant.

    None as well where the store was copied along: there, the run is that of the copy.
    """
    if not (folder / MLFLOW_NOTE).is_file():
        return None
    found = read_json(folder / MLFLOW_NOTE)
    try:
        note = Note.model_validate(found)
    except ValidationError:
        return None
    return _original(folder, note, found) if _uri_now(note, folder) == note.tracking_uri else None


def _original(folder: Path, note: Note, found: dict[str, Any]) -> Path | None:
    """The other folder that still has this note, if there is one."""
    home = Path(note.home or folder)
    if str(home) == home_of(folder) or not (home / MLFLOW_NOTE).is_file() or home.samefile(folder):
        return None
    theirs = read_json(home / MLFLOW_NOTE)
    same = all(found.get(key) == theirs.get(key) for key in ("run_id", "parent"))
    return home if same else None


def _uri_now(note: Note, folder: Path) -> str:
    database = sqlite_path(note.tracking_uri)
    if database is None:
        return note.tracking_uri
    return sqlite_uri(where_now(str(database), note.home, folder))


def store_of(folder: Path) -> str:
    """The store that has a folder's run, or a parent of runs; if none has, the one for new runs.

    A new run of a study belongs where the study is, a new ensemble where its members are.
    """
    note = read_note(folder, Note) or read_note(folder.absolute().parent.parent, Note)
    record = find_run(folder) if note is None else None
    for member in record.ensemble.members if record and record.ensemble else ():
        note = note or read_note(folder / member.run, Note)
    return tracking_uri(note.tracking_uri if note else None)


def tracked_at(run: Path) -> Tracked | None:
    """Where MLflow has a run folder; None if it was never logged."""
    note = read_note(run, RunLog)
    return Tracked(store_of(run), note.experiment, note.run_id) if note else None


def tracked(runs: Iterable[Path]) -> list[Path]:
    """Those of some run folders that MLflow has."""
    return [run for run in runs if (run / MLFLOW_NOTE).is_file()]
