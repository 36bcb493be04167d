"""What the driver does while trials report: the study's record, and a word to the user.

Tune pickles its callbacks, so they hold a path and ask the ledger of the study.
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
from tune.study.ledger import ledger_of
from tune.study.record import TRIALS, StudyRecord, score_of
from tune.study.rows import TrialRow
from tune.study.summary import best_trial_of

MAX_SHOWN = 8  # trials that run, in such a line
SAY_EVERY_S = 20.0  # between two lines about trials that are still running


class StudyCallback(Callback):
    """Keep the trials of a study up to date and tell the user about trials as they end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._spoken = time.monotonic()

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Note that a trial runs."""
        self._note(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Note an epoch; say so from time to time."""
        self._note(trial)
        if time.monotonic() - self._spoken >= SAY_EVERY_S and not is_lively():
            rows = [row for row in ledger_of(self.folder).record.trials if row.status == "running"]
            running = [f"{row.id} at epoch {row.epochs}" for row in rows[:MAX_SHOWN]]
            if len(rows) > MAX_SHOWN:
                running.append(f"and {len(rows) - MAX_SHOWN} more")
            self._say(f"{self._count()}{', '.join(running)}")

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say how a trial ended, and free its workers."""
        release_workers(self.folder / TRIALS / str(trial.trial_id))
        row = self._note(trial)
        if not row.is_open:  # else what it met ends the study, which says so
            self._say(self._count() + _line(ledger_of(self.folder).head, row))

    on_trial_error = on_trial_complete

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say that a trial is started again."""
        self._note(trial)
        self._say(f"{trial.trial_id} broke down and is started again from its last epoch")

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Note the last state of every trial."""
        for trial in trials:
            self._note(trial)

    def _note(self, trial: Trial) -> TrialRow:
        """Bring the row of a trial that runs up to date; `proposals` notes how one ended."""
        ledger = ledger_of(self.folder)
        row = ledger.row(trial.trial_id)
        if row.is_open:
            row = _row(row, trial)
            ledger.put(row)
        return row

    def _count(self) -> str:
        """How far the study is, before what a line says; a live view says it better."""
        if is_lively():
            return ""
        ledger = ledger_of(self.folder)
        of = "" if ledger.total >= UNLIMITED_TRIALS else f"/{ledger.total}"
        best = best_trial_of(self.folder, ledger.head, ledger.best)
        return f"[{ledger.num_ended}{of}] " + (f"best {score_text(best)}  " if best else "")

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
