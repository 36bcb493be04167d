"""Many runs in MLflow, a parent and its children, written by the one process that drives them.

Trainings never import mlflow. What is to be sent lies in the run folders, with a note of what was
sent: sending again what MLflow has already changes nothing there.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from hmtas.files import sha256_file
from hmtas.runs.record import MLFLOW_NOTE, RECORD
from hmtas.terminal.console import say
from hmtas.tracking.client import connect, public_uri, reason_of
from hmtas.tracking.moved import RUN_DIR
from hmtas.tracking.note import Note, Status, read_note, store_of, write_note
from hmtas.tracking.run import create_run, is_active, log_file, log_metrics, log_params, sync_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

ERROR = "hmtas.error"  # tag of a run that failed: why
PAUSE_S = 2.0  # between two rounds: an epoch may take less
RETRY_S = 15.0  # after a round that failed
LEAVE_S = 15.0  # a call that takes longer is abandoned
HASTE_S = 2.0  # the same after a failure or an interrupt


class ParentNote(Note):
    """FOLDER/mlflow.json: where MLflow keeps the parent of a folder's runs, and what it has."""

    model_config = ConfigDict(extra="forbid")

    parent: str  # its run id
    files: dict[str, str] = Field(default_factory=dict)  # that were logged, with their SHA-256
    failed: dict[str, str] = Field(default_factory=dict)  # children that never began: run ids
    closed: dict[str, float] | None = None  # `step` and metrics it ended with; None while it runs


class Parent:
    """The MLflow run of a folder, created when it is first needed, and a child for each run in it.

    It has the folder's name. A new one is in the MLflow store of the run folder `beside`, if that
    is given. Its methods raise what MLflow raises.
    """

    def __init__(
        self,
        folder: Path,
        experiment: str,
        kind: str = "sweep",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        beside: Path | None = None,
    ) -> None:
        self.folder, self.experiment = folder.absolute(), experiment
        self.params, self.beside = params or {}, beside
        self.tags = {"hmtas.kind": kind, RUN_DIR: str(self.folder), **(tags or {})}
        self._found = ""  # id of the MLflow run that is known to be there

    @property
    def store(self) -> str:
        """The MLflow store that has it, or will have it."""
        is_new = self.beside is not None and read_note(self.folder, ParentNote) is None
        return store_of(self.beside if self.beside and is_new else self.folder)

    def open(self) -> tuple["MlflowClient", ParentNote]:
        """A client, and the note of the parent's MLflow run, which is created if there is none."""
        client, note = connect(self.store), read_note(self.folder, ParentNote)
        uri = public_uri(client.tracking_uri)
        if note is not None and note.parent != self._found:
            if is_active(client, note.parent):
                self._found = note.parent
            else:  # another database, or a new one in its place
                note = None
        if note is None:
            run_id = create_run(client, self.experiment, self.folder.name, self.tags)
            log_params(client, run_id, self.params)
            note = ParentNote(tracking_uri=uri, parent=run_id)
            write_note(self.folder, note)
        note.tracking_uri = uri  # of the same database, though it may have moved
        return client, note

    def sync(
        self,
        run: Path,
        status: Status | None = None,
        error: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Bring a child up to date; nothing happens where no training has begun, unless it failed.

        `status` is what run.json cannot know (hmtas.tracking.run.sync_run), `error` why it failed.
        """
        client, note = self.open()
        tags = {**(tags or {}), **({} if error is None else {ERROR: error})}
        if (run / RECORD).is_file():
            sync_run(
                run,
                experiment=self.experiment,
                parent=note.parent,
                tags=tags,
                status=status,
                uri=client.tracking_uri,
            )
        elif error is not None and run.name not in note.failed:  # before there was a run folder
            tags |= {"hmtas.kind": "model", "hmtas.status": "failed"}
            run_id = create_run(client, self.experiment, run.name, tags, parent=note.parent)
            note.failed[run.name] = run_id
            write_note(self.folder, note)
            client.set_terminated(run_id, "FAILED")

    def attach(self, files: Sequence[Path]) -> None:
        """Log files of the folder as artifacts of the parent, in the folders they lie in.

        A file that MLflow has already as it is is not sent again.
        """
        client, note = self.open()
        for file in files:
            name, sha256 = file.relative_to(self.folder).as_posix(), sha256_file(file)
            if note.files.get(name) != sha256:
                log_file(client, note.parent, self.folder, file)
                note.files[name] = sha256
                write_note(self.folder, note)

    def log(self, metrics: Mapping[str, float], step: int, time_ms: int) -> None:
        """A point of each of the parent's curves; an equal one stays one. It runs from now on."""
        from mlflow.entities import Metric

        client, note = self.open()
        if note.closed is not None:
            client.update_run(note.parent, status="RUNNING")
            note.closed = None
            write_note(self.folder, note)
        points = [Metric(name, value, time_ms, step) for name, value in metrics.items()]
        log_metrics(client, note.parent, points)

    def close(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """End the parent's MLflow run, with the last point of its curves; once."""
        client, note = self.open()
        closed = {"step": step, **metrics}
        if note.closed != closed:
            self.log(metrics, step, int(1000 * time.time()))
            client.set_terminated(note.parent, "FINISHED")
            write_note(self.folder, note.model_copy(update={"closed": closed}))

    def forget(self) -> None:
        """Delete the parent's MLflow run, if there is one: the folder is filled anew."""
        if (note := read_note(self.folder, ParentNote)) is not None:
            client = connect(self.store)
            if is_active(client, note.parent):
                client.delete_run(note.parent)
            (self.folder / MLFLOW_NOTE).unlink()


class Outbox:
    """Live results on their way to MLflow, in a thread: the work never waits for it.

    The run folders are the outbox; here is only a list of those that changed. Where MLflow fails
    that is said once, and they stay on the list and are tried again from time to time.
    """

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self._waiting: dict[Path, tuple[Status | None, str | None]] = {}
        self._metrics: tuple[Mapping[str, float], int, int] | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def post(self, run: Path, status: Status | None = None, error: str | None = None) -> None:
        """Note that a run folder changed; see `Parent.sync`. Takes no time."""
        with self._lock:
            self._waiting[run] = (status, error)

    def post_parent(self, metrics: Mapping[str, float], step: int) -> None:
        """Note how far all of the work is, instead of what was noted and not sent."""
        with self._lock:
            self._metrics = (metrics, step, int(1000 * time.time()))

    def leave(self, wait_s: float = LEAVE_S) -> bool:
        """Send no more; False if MLflow still holds a call up."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(wait_s)
        return not self._thread.is_alive()

    def finish(self, later: str, send: Callable[[], None] = lambda: None) -> None:
        """Send what still waits, and what `send` sends; else say which command does so later."""
        if not self.leave():
            say(f"warning: MLflow takes long; send the rest with: {later}")
            return
        try:
            self._send(stop=lambda: False)
            send()
        except Exception as error:
            say(
                f"warning: MLflow lacks part of {self.parent.folder} ({reason_of(error)}); "
                f"send the rest with: {later}"
            )

    def _run(self) -> None:
        pause_s, failing = 0.0, False
        while not self._ended.wait(pause_s):
            try:
                self._send(self._ended.is_set)
            except Exception as error:
                if not failing:
                    say(f"warning: MLflow failed, results wait for it ({reason_of(error)})")
                pause_s, failing = RETRY_S, True
            else:
                if failing:
                    say("MLflow answers again")
                pause_s, failing = PAUSE_S, False

    def _send(self, stop: Callable[[], bool]) -> None:
        """Send what waits, until it is sent or a call fails: then it waits behind the others."""
        self.parent.open()
        if (noted := self._metrics) is not None:
            self.parent.log(*noted)  # again if it fails half-way: an equal point stays one
            with self._lock:
                if self._metrics is noted:
                    self._metrics = None
        while not stop():
            with self._lock:
                if not self._waiting:
                    return
                run = next(iter(self._waiting))
                status_and_error = self._waiting.pop(run)
            try:
                self.parent.sync(run, *status_and_error)
            except Exception:
                with self._lock:
                    self._waiting.setdefault(run, status_and_error)
                raise
