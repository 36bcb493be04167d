"""Many runs in MLflow, a parent and its children, written by the one process that drives them.

Trainings never import mlflow. A failure in MLflow is said once and costs the work nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hmtas.console import say
from hmtas.files import read_json, write_json
from hmtas.mlflow_log import Status
from hmtas.runs import RECORD

STATE = "mlflow.json"


class MlflowSync:
    """A parent run for a folder and a child for each run folder in it."""

    def __init__(self, folder: Path, experiment: str, kind: str = "sweep") -> None:
        self.folder = folder
        self.experiment = experiment
        self.kind = kind
        self.broken = False

    def open(self, name: str, params: Mapping[str, Any]) -> None:
        """Find the parent's MLflow run, or create it."""
        self._try(lambda: self._open(name, params))

    def sync(self, run: Path, status: Status | None = None) -> None:
        """Bring a child run up to date."""
        if (run / RECORD).is_file():
            self._try(lambda: self._sync(run, status))

    def attach(self, files: Sequence[Path]) -> None:
        """Log files of the folder as artifacts of the parent, in the folders they lie in."""
        self._try(lambda: self._attach(files))

    def close(self, metrics: Mapping[str, float]) -> None:
        """End the parent's MLflow run."""
        self._try(lambda: self._close(metrics))

    def _open(self, name: str, params: Mapping[str, Any]) -> None:
        from hmtas.mlflow_client import public_uri
        from hmtas.tracking import open_parent, tracking_uri

        state, uri = self.folder / STATE, public_uri(tracking_uri())
        if state.is_file() and read_json(state)["tracking_uri"] == uri:
            return
        tags = {"hmtas.kind": self.kind, "hmtas.run_dir": str(self.folder)}
        parent = open_parent(self.experiment, name, tags, params)
        write_json(state, {"tracking_uri": uri, "parent": parent})

    def _sync(self, run: Path, status: Status | None) -> None:
        from hmtas.tracking import sync_run

        sync_run(run, experiment=self.experiment, parent=self._parent(), status=status)

    def _attach(self, files: Sequence[Path]) -> None:
        from hmtas.tracking import log_parent_files

        log_parent_files(self._parent(), self.folder, files)

    def _close(self, metrics: Mapping[str, float]) -> None:
        from hmtas.tracking import close_parent

        close_parent(self._parent(), "FINISHED", metrics)

    def _parent(self) -> str:
        return str(read_json(self.folder / STATE)["parent"])

    def _try(self, action: Callable[[], None]) -> None:
        """Tracking must never cost the work: whatever MLflow raises is said once, then left."""
        if self.broken:
            return
        try:
            action()
        except Exception as error:
            self.broken = True
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            say(f"warning: MLflow failed and is left out from here on ({reason})")
