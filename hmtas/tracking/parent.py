"""Many runs in MLflow, a parent and its children, written by the one process that drives them.

Trainings never import mlflow. What is to be sent lies in the run folders, with a note of what was
sent: sending again what MLflow has already changes nothing there.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hmtas.files import read_json, sha256_file, write_json
from hmtas.runs.record import MLFLOW_NOTE, RECORD
from hmtas.terminal.console import say
from hmtas.tracking.log import Status

ERROR = "hmtas.error"  # tag of a run that failed: why


class MlflowParent:
    """A parent run for a folder and a child for each run folder in it.

    Its methods raise what MLflow raises.

    Args:
        folder: That holds the run folders.
        experiment: Of all of them.
        kind: What the parent is.
    """

    def __init__(self, folder: Path, experiment: str, kind: str = "sweep") -> None:
        self.folder, self.experiment, self.kind = folder, experiment, kind

    def open(self, name: str, params: Mapping[str, Any]) -> None:
        """Find the parent's MLflow run, or create it."""
        from hmtas.tracking.client import public_uri
        from hmtas.tracking.run import open_parent, tracking_uri

        state, uri = self.folder / MLFLOW_NOTE, public_uri(tracking_uri())
        if state.is_file() and read_json(state)["tracking_uri"] == uri:
            return
        tags = {"hmtas.kind": self.kind, "hmtas.run_dir": str(self.folder)}
        parent = open_parent(self.experiment, name, tags, params)
        write_json(state, {"tracking_uri": uri, "parent": parent})

    def sync(self, run: Path, status: Status | None = None, error: str | None = None) -> None:
        """Bring a child up to date.

        Args:
            run: Its folder; nothing happens where no training has begun, unless it failed.
            status: What run.json cannot know (hmtas.tracking.run.sync_run).
            error: Why it failed.
        """
        from hmtas.tracking.run import sync_run

        tags = {} if error is None else {ERROR: error}
        if (run / RECORD).is_file():
            sync_run(
                run, experiment=self.experiment, parent=self._parent(), tags=tags, status=status
            )
        elif error is not None:
            self._never_began(run.name, tags)

    def attach(self, files: Sequence[Path]) -> None:
        """Log files of the folder as artifacts of the parent, in the folders they lie in.

        A file that MLflow has already as it is is not sent again.
        """
        from hmtas.tracking.run import log_parent_files

        state = read_json(self.folder / MLFLOW_NOTE)
        sent = state.setdefault("files", {})
        for file in files:
            name, sha256 = file.relative_to(self.folder).as_posix(), sha256_file(file)
            if sent.get(name) == sha256:
                continue
            log_parent_files(state["parent"], self.folder, [file])
            sent[name] = sha256
            write_json(self.folder / MLFLOW_NOTE, state)

    def log(self, metrics: Mapping[str, float], step: int, time_ms: int) -> None:
        """A point of each of the parent's curves; an equal one stays one. It runs from now on."""
        from hmtas.tracking.run import log_parent, reopen_parent

        state = read_json(self.folder / MLFLOW_NOTE)
        if state.pop("closed", None) is not None:
            reopen_parent(state["parent"])
            write_json(self.folder / MLFLOW_NOTE, state)
        log_parent(state["parent"], metrics, step, time_ms)

    def close(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """End the parent's MLflow run, with the last point of its curves; once."""
        from hmtas.tracking.run import close_parent

        state, closed = read_json(self.folder / MLFLOW_NOTE), {"step": step, **metrics}
        if state.get("closed") != closed:
            close_parent(state["parent"], "FINISHED", metrics, step)
            write_json(self.folder / MLFLOW_NOTE, {**state, "closed": closed})

    def _never_began(self, name: str, tags: Mapping[str, str]) -> None:
        """A child that failed before there was a run folder to speak of, once."""
        from hmtas.tracking.run import close_parent, open_parent

        state = read_json(self.folder / MLFLOW_NOTE)
        failed = state.setdefault("failed", {})
        if name in failed:
            return
        tags = {"hmtas.kind": "model", "hmtas.status": "failed", **tags}
        failed[name] = open_parent(self.experiment, name, tags, parent=self._parent())
        write_json(self.folder / MLFLOW_NOTE, state)
        close_parent(failed[name], "FAILED")

    def _parent(self) -> str:
        return str(read_json(self.folder / MLFLOW_NOTE)["parent"])


class MlflowSync:
    """The same for work that goes on without MLflow: what it raises is said once, then left."""

    def __init__(self, folder: Path, experiment: str, kind: str = "sweep") -> None:
        self.mlflow = MlflowParent(folder, experiment, kind)
        self.broken = False

    def open(self, name: str, params: Mapping[str, Any]) -> None:
        """Find the parent's MLflow run, or create it."""
        self._try(lambda: self.mlflow.open(name, params))

    def sync(self, run: Path, status: Status | None = None) -> None:
        """Bring a child run up to date."""
        self._try(lambda: self.mlflow.sync(run, status))

    def attach(self, files: Sequence[Path]) -> None:
        """Log files of the folder as artifacts of the parent, in the folders they lie in."""
        self._try(lambda: self.mlflow.attach(files))

    def close(self, metrics: Mapping[str, float]) -> None:
        """End the parent's MLflow run."""
        self._try(lambda: self.mlflow.close(metrics))

    def _try(self, action: Callable[[], None]) -> None:
        if self.broken:
            return
        try:
            action()
        except Exception as error:
            self.broken = True
            say(f"warning: MLflow failed and is left out from here on ({reason_of(error)})")


def reason_of(error: Exception) -> str:
    """The first line of what MLflow raised."""
    return (str(error).splitlines() or [type(error).__name__])[0]
