"""The sweep in MLflow, written by the driver alone: trials never import mlflow."""

import shlex
import time
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from hmtas.runs.record import find_run
from hmtas.tracking.parent import Outbox, Parent
from tune.study.finalists import read_final
from tune.study.ledger import ledger_of
from tune.study.options import LOOSE, TIGHT
from tune.study.record import REPORT, TRIALS, StudyRecord
from tune.study.rows import TrialRow
from tune.study.summary import summarize

SYNC_S = 2.0  # between two looks at one running trial, or at the whole


class MlflowCallback(Callback):
    """Show the sweep in MLflow while it runs: a child per trial, live by the epoch."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._synced: dict[str, float] = {}
        self._told_s = -SYNC_S

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks, which nobody reads, and a thread cannot be."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Bring the curves of a trial up to date."""
        if time.monotonic() - self._synced.get(trial.trial_id, 0.0) >= SYNC_S:
            self.outbox.post(self._run(trial))
            self._synced[trial.trial_id] = time.monotonic()
        self._post_parent()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close a trial; the files of one that was stopped early follow after the study."""
        row = self._row(trial)
        run = self._run(trial)
        if row.status == "failed":
            self.outbox.post(run, "FAILED", row.error)
        elif (record := find_run(run)) is not None and record.status == "done":
            self.outbox.post(run)
        self._synced.pop(trial.trial_id, None)
        self._post_parent()

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Mark a trial as failed."""
        self.outbox.post(self._run(trial), "FAILED", self._row(trial).error)
        self._post_parent()

    def _post_parent(self) -> None:
        """Say from time to time how far the study is; its end says all (`send_study`)."""
        if time.monotonic() - self._told_s >= SYNC_S:
            folder = self.outbox.parent.folder
            self.outbox.post_parent(*parent_metrics(folder, ledger_of(folder).record))
            self._told_s = time.monotonic()

    def _run(self, trial: Trial) -> Path:
        return self.outbox.parent.folder / TRIALS / str(trial.trial_id)

    def _row(self, trial: Trial) -> TrialRow:
        return ledger_of(self.outbox.parent.folder).row(trial.trial_id)


def start_tracking(folder: Path, record: StudyRecord) -> Outbox:
    """Send the trials of a study to MLflow from now on."""
    outbox = Outbox(_parent(folder, record))
    outbox.start()
    return outbox


def finish_tracking(folder: Path, record: StudyRecord, outbox: Outbox) -> None:
    """Send what MLflow lacks of a study that is done; say how to do so later if it fails."""
    later = f"hmtas tune sync {shlex.quote(str(folder))}"
    outbox.finish(later, lambda: send_study(folder, record))


def send_study(folder: Path, record: StudyRecord) -> None:
    """Bring MLflow up to date with a study; what it has already stays as it is.

    Raises:
        InputError: If MLflow does not answer; and anything else that MLflow raises.
    """
    parent = _parent(folder, record)
    parent.open()
    for row in record.trials:
        if row.status == "failed":
            parent.sync(folder / row.run, "FAILED", row.error)
        else:
            parent.sync(folder / row.run, "FINISHED" if row.succeeded else None)
    report = folder / REPORT
    if report.is_file():
        parent.attach([report])
    final = read_final(folder)
    for run in [run for finalist in final.finalists for run in finalist.runs] if final else []:
        parent.sync(folder / run)
    if record.status == "done":
        parent.close(*parent_metrics(folder, record))


def parent_metrics(folder: Path, record: StudyRecord) -> tuple[dict[str, float], int]:
    """What MLflow shows of the sweep itself, and the step of these points: epochs trained so far.

    The curve of the best score over epochs says what a longer search may still be worth.
    """
    summary = summarize(folder, record)
    metrics = {
        "trials": len(record.trials),
        "trials_running": len(summary.running),
        "trials_done": summary.done,
        "trials_stopped": summary.stopped,
        "trials_failed": summary.failed,
        "hours": summary.spent_s / 3600,
    }
    best = summary.best
    if best is not None:
        scores = {TIGHT: best.tight, LOOSE: best.loose}
        metrics |= {name: value for name, value in scores.items() if value is not None}
        if best.interval is not None:
            metrics |= {"best_low": best.interval[0], "best_high": best.interval[1]}
    return {name: float(v) for name, v in metrics.items()}, sum(r.epochs for r in record.trials)


def _parent(folder: Path, record: StudyRecord) -> Parent:
    settings = record.settings
    params = {"preset": settings.preset, "trials": settings.num_trials, "store": settings.store}
    return Parent(folder, record.experiment, params=params)
