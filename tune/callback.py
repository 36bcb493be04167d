"""The sweep in MLflow, written by the driver alone: trials never import mlflow.

Tune pickles its callbacks before the first trial and restores them from there after a crash, so
they hold paths and names.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from hmtas.mlflow_sync import MlflowSync
from hmtas.runs import RECORD, read_run
from tune.record import TRIALS

SYNC_S = 2.0  # between two syncs of one running trial


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
