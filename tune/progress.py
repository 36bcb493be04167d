"""What the driver does while trials report: the study's record, and a word to the user.

Tune pickles its callbacks before the first trial and restores them from there after a crash, so
they hold a path and read the rest from it.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from hmtas.console import say
from hmtas.runs import predictions_path
from tune.objective import METRIC
from tune.options import LOOSE
from tune.record import TRIALS, StudyRecord, TrialRow, TrialStatus, read_study, write_study
from tune.space import settings_of

QUIET_S = 20.0  # between two lines about trials that are still running


class StudyCallback(Callback):
    """Keep DIR/NAME/study.json up to date and tell the user about trials as they end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._spoken = 0.0

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Called by Tune before the first trial."""
        self._spoken = time.monotonic()

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Note that a trial runs."""
        self._write(trials)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Note an epoch; say so from time to time."""
        record = self._write(trials)
        if time.monotonic() - self._spoken >= QUIET_S:
            running = [f"{row.id} at epoch {row.epochs}" for row in record.trials
                       if row.status == "running"]  # fmt: skip
            self._say(f"{_count(record)}  {', '.join(running)}")

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say how a trial ended."""
        record = self._write(trials, ended=trial)
        self._say(_line(record, trial.trial_id))

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say why a trial failed; the study goes on."""
        record = self._write(trials, ended=trial, failed=True)
        self._say(_line(record, trial.trial_id))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Note the last state of every trial."""
        self._write(trials)

    def _write(
        self, trials: list[Trial], ended: Trial | None = None, failed: bool = False
    ) -> StudyRecord:
        record = read_study(self.folder)
        rows = tuple(
            _row(trial, self.folder, record, trial is ended, trial is ended and failed)
            for trial in trials
        )
        record = record.model_copy(update={"trials": rows})
        write_study(self.folder, record)
        return record

    def _say(self, line: str) -> None:
        self._spoken = time.monotonic()
        say(line)


def _row(trial: Trial, folder: Path, record: StudyRecord, ended: bool, failed: bool) -> TrialRow:
    """One line of the record; `ended` and `failed` are what Tune is about to say of the trial."""
    name = f"{TRIALS}/{trial.trial_id}"
    result: Mapping[str, Any] = trial.last_result or {}
    failed = failed or trial.status == Trial.ERROR
    status: TrialStatus = "running" if trial.status == Trial.RUNNING else "waiting"
    if failed:
        status = "failed"
    elif ended or trial.status == Trial.TERMINATED:
        complete = predictions_path(folder / name, record.settings.split).is_file()
        # A stopped trial is predicted after the study: one that goes on must not call it done.
        stopped = any(row.id == trial.trial_id and row.status == "stopped" for row in record.trials)
        status = "done" if complete and not stopped else "stopped"
    return TrialRow(
        id=trial.trial_id,
        status=status,
        settings=settings_of(trial.config, record.settings.space),
        best_tight=result.get(METRIC),
        best_loose=result.get(LOOSE),
        epochs=result.get("epoch", 0),
        seconds=round(result.get("time_total_s", 0.0), 1),
        run=name,
        error=_reason(trial) if failed else None,
    )


def _reason(trial: Trial) -> str:
    """The last line of what was raised in the trial: the rest is a stack of Ray's."""
    error = trial.get_error()
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _line(record: StudyRecord, trial_id: str) -> str:
    row = next(row for row in record.trials if row.id == trial_id)
    if row.status == "failed":
        return f"{_count(record)}  {row.id} failed: {row.error}"
    how = "stopped early after" if row.status == "stopped" else "finished"
    tight = "no score" if row.best_tight is None else f"tight {100 * row.best_tight:5.2f} %"
    return f"{_count(record)}  {row.id} {how} {row.epochs} epochs, {row.seconds:.0f} s: {tight}"


def _count(record: StudyRecord) -> str:
    ended = sum(row.status in ("done", "stopped", "failed") for row in record.trials)
    best = max((row.best_tight for row in record.trials if row.best_tight is not None), default=0.0)
    return f"[{ended}/{record.settings.num_trials}] best {100 * best:5.2f} %"
