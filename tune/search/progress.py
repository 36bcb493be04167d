"""What the driver does while trials report: the study's record, and a word to the user.

Tune pickles its callbacks, so they hold a path and read the rest from it.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from hmtas.terminal.console import is_lively, say
from hmtas.terminal.text import counted
from tune.search.proposals import scores_of
from tune.search.view import score_text
from tune.search.workers import release_workers
from tune.study.budget import UNLIMITED_TRIALS
from tune.study.record import TRIALS, StudyRecord, TrialRow, read_study, score_of, write_study
from tune.study.summary import best_so_far

SAY_EVERY_S = 20.0  # between two lines about trials that are still running


class StudyCallback(Callback):
    """Keep DIR/NAME/study.json up to date and tell the user about trials as they end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        if time.monotonic() - self._spoken >= SAY_EVERY_S and not is_lively():
            running = [f"{row.id} at epoch {row.epochs}" for row in record.trials
                       if row.status == "running"]  # fmt: skip
            self._say(f"{self._count(record)}{', '.join(running)}")

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say how a trial ended, and free its workers."""
        release_workers(self.folder / TRIALS / str(trial.trial_id))
        record = self._write(trials)
        row = record.trial(trial.trial_id)
        if not row.is_open:  # else what it met ends the study, which says so
            self._say(self._count(record) + _line(record, row))

    on_trial_error = on_trial_complete

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say that a trial is started again."""
        self._say(f"{trial.trial_id} broke down and is started again from its last epoch")

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Note the last state of every trial."""
        self._write(trials)

    def _write(self, trials: list[Trial]) -> StudyRecord:
        """Bring the rows of trials that run up to date; `proposals` notes how one ended."""
        record = read_study(self.folder)
        running = {trial.trial_id: trial for trial in trials}
        rows = tuple(
            _row(row, running[row.id]) if row.id in running and row.is_open else row
            for row in record.trials
        )
        if rows != record.trials:
            record = record.model_copy(update={"trials": rows})
            write_study(self.folder, record)
        return record

    def _count(self, record: StudyRecord) -> str:
        """How far the study is, before what a line says; a live view says it better."""
        if is_lively():
            return ""
        ended = sum(not row.is_open for row in record.trials)
        of = "" if record.num_trials >= UNLIMITED_TRIALS else f"/{record.num_trials}"
        best = best_so_far(self.folder, record)
        return f"[{ended}{of}] " + (f"best {score_text(best)}  " if best else "")

    def _say(self, line: str) -> None:
        self._spoken = time.monotonic()
        say(line)


def _row(row: TrialRow, trial: Trial) -> TrialRow:
    """A trial that waits or runs, as Tune has it."""
    result: Mapping[str, Any] = trial.last_result or {}
    known = scores_of(result) if "epoch" in result else {}
    status = "running" if trial.status == Trial.RUNNING else "waiting"
    return row.model_copy(update={"status": status, **known})


def _line(record: StudyRecord, row: TrialRow) -> str:
    if row.status == "failed":
        return f"{row.id} failed: {row.error}"
    how = "stopped early after" if row.status == "stopped" else "finished"
    options = record.settings.options
    score = score_of(row, options.objective)
    found = "no score" if score is None else f"{options.metric} {100 * score:5.2f} %"
    return f"{row.id} {how} {counted(row.epochs, 'epoch')}, {row.seconds:.0f} s: {found}"
