"""The sweep in MLflow, written by the driver alone: trials never import mlflow.

Tune pickles its callbacks before the first trial and restores them from there after a crash, so
they hold paths and names. A failure in MLflow is said once and costs the study nothing.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ray.tune import Callback
from ray.tune.experiment import Trial

from hmtas.console import say
from hmtas.files import read_json, write_json
from hmtas.runs import RECORD, read_run
from tune.record import TRIALS

STATE = "mlflow.json"
SYNC_S = 2.0  # between two syncs of one running trial

Status = Literal["RUNNING", "FINISHED", "FAILED"]


class MlflowSync:
    """A parent run per sweep and a child per trial, brought up to date by the driver alone."""

    def __init__(self, folder: Path, experiment: str) -> None:
        self.folder = folder
        self.experiment = experiment
        self.broken = False

    def open(self, name: str, params: Mapping[str, Any]) -> None:
        """Find the sweep's MLflow run, or create it."""
        self._try(lambda: self._open(name, params))

    def sync(self, run: Path, status: Status | None = None) -> None:
        """Bring the child run of a trial up to date."""
        if (run / RECORD).is_file():
            self._try(lambda: self._sync(run, status))

    def close(self, metrics: Mapping[str, float]) -> None:
        """End the sweep's MLflow run."""
        self._try(lambda: self._close(metrics))

    def _open(self, name: str, params: Mapping[str, Any]) -> None:
        from hmtas.mlflow_client import public_uri
        from hmtas.tracking import open_parent, tracking_uri

        state, uri = self.folder / STATE, public_uri(tracking_uri())
        if state.is_file() and read_json(state)["tracking_uri"] == uri:
            return
        parent = open_parent(self.experiment, name, {"hmtas.run_dir": str(self.folder)}, params)
        write_json(state, {"tracking_uri": uri, "parent": parent})

    def _sync(self, run: Path, status: Status | None) -> None:
        from hmtas.tracking import sync_run

        sync_run(run, experiment=self.experiment, parent=self._parent(), status=status)

    def _close(self, metrics: Mapping[str, float]) -> None:
        from hmtas.tracking import close_parent

        close_parent(self._parent(), "FINISHED", metrics)

    def _parent(self) -> str:
        return str(read_json(self.folder / STATE)["parent"])

    def _try(self, action: Callable[[], None]) -> None:
        """Tracking must never cost a sweep: whatever MLflow raises is said once, then left."""
        if self.broken:
            return
        try:
            action()
        except Exception as error:
            self.broken = True
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            say(f"warning: MLflow failed and is left out from here on ({reason})")


class MlflowCallback(Callback):
    """Show the sweep in MLflow while it runs: a child per trial, live by the epoch."""

    def __init__(self, sync: MlflowSync, name: str, params: Mapping[str, Any]) -> None:
        self.sync = sync
        self.name = name
        self.params = dict(params)
        self._synced: dict[str, float] = {}

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Called by Tune before the first trial."""
        self._synced = {}
        self.sync.broken = False
        self.sync.open(self.name, self.params)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Bring the curves of a trial up to date."""
        if time.monotonic() - self._synced.get(trial.trial_id, 0.0) >= SYNC_S:
            self.sync.sync(self._run(trial))
            self._synced[trial.trial_id] = time.monotonic()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close a trial; the files of one that was stopped early follow after the study."""
        run = self._run(trial)
        if (run / RECORD).is_file() and read_run(run).status == "done":
            self.sync.sync(run)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Mark a trial as failed."""
        self.sync.sync(self._run(trial), "FAILED")

    def _run(self, trial: Trial) -> Path:
        return self.sync.folder / TRIALS / str(trial.trial_id)
