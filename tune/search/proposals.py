"""Tune's view of a study: which trial comes next, and what became of it.

A trial is on disk (tune.study.ledger) before it begins and its end is there before the next one is
proposed, so that a driver may die at any time. The next driver starts with the trials that had
begun: their run folders have all but the epoch that was lost (tune.search.objective).
"""

import contextlib
import hashlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial
from ray.tune.search.search_algorithm import SearchAlgorithm

from hmtas.errors import TransientError, first_line
from hmtas.runs.record import predictions_path
from hmtas.terminal.console import say
from hmtas.terminal.text import counted
from tune.search.ask_tell import AskTell
from tune.search.trial import FAILED, WAITED
from tune.space.dimensions import encoded, point_of, settings_of
from tune.study.budget import out_of_time
from tune.study.ledger import ledger_of
from tune.study.options import LOOSE, TIGHT
from tune.study.record import TRIALS, StudyRecord
from tune.study.rows import TrialRow, TrialStatus


class StudySearch(SearchAlgorithm):
    """Gives Tune the trials of a study, first those that an earlier driver left unfinished."""

    def __init__(self, folder: Path, concurrent: int) -> None:
        self.folder, self.concurrent = folder, concurrent
        self.ledger = ledger_of(folder)
        record = self.ledger.record
        self.ask_tell = AskTell(record.settings)
        if other := self.ask_tell.replay(record.trials):
            say(f"{folder}: {other} points would be others today; those that were trained count")
        rows = [_requeued(row) for row in record.trials]
        for row in rows:
            self.ledger.put(row)
        self._waiting = deque(row for row in rows if row.status == "waiting")
        self._total = record.num_trials
        self._spec: dict[str, Any] = {}
        self._live: dict[str, Trial] = {}
        self._problem: Exception | None = None

    @property
    def total_samples(self) -> int:
        """Trials of the study, all its drivers together."""
        return self._total

    def add_configurations(self, experiments: Any) -> None:
        """Called by Tune with the trainable and what surrounds it."""
        (experiment,) = experiments if isinstance(experiments, list) else [experiments]
        self._spec = experiment.spec

    def next_trial(self) -> Trial | None:
        """The next trial; None while enough of them run, and at the end.

        Raises:
            TransientError: If a trial met what would end the others too, such as a full disk.
        """
        if self._problem is not None:
            raise self._problem
        if len(self._live) >= self.concurrent:
            return None
        if self._waiting:
            row = self._waiting.popleft()
            return self._trial(row.id, encoded(point_of(row.settings, self.ask_tell.space)))
        if len(self.ledger) >= self._total or out_of_time(self.folder):
            self.set_finished()  # type: ignore[no-untyped-call]
            return None
        name = trial_id(self.ledger.head, len(self.ledger))
        repeats = self.ask_tell.num_repeats
        params = self.ask_tell.ask(name)
        repeats = self.ask_tell.num_repeats - repeats
        if repeats:
            points = counted(repeats, "point")
            say(f"{name}: {points} proposed before it had been tried already; not trained again")
        row = TrialRow(
            id=name,
            status="waiting",
            settings=settings_of(params, self.ask_tell.space),
            run=f"{TRIALS}/{name}",
            asked_after=self.ledger.num_told,
            repeats=repeats,
        )
        self.ledger.put(row)
        return self._trial(name, params)

    def is_finished(self) -> bool:
        """Is there no trial left to begin?"""
        if self._problem is not None:
            return False  # Tune asks for a trial once more, and hears of it
        return not self._waiting and (super().is_finished() or len(self.ledger) >= self._total)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note how a trial ended, then tell the sampler.

        Tune takes what is raised here for an error of the trial, so nothing is.
        """
        try:
            self._note_end(trial_id, result or {}, error)
        except Exception as problem:
            self._problem = problem

    def _note_end(self, trial_id: str, result: dict[str, Any], error: bool) -> None:
        trial = self._live.pop(trial_id, None)
        row = self.ledger.row(trial_id)
        if not row.is_open:
            return
        if error and trial is not None:
            row = _broken_row(row, _last_error(trial))
        else:
            row = _ended_row(row, result, self.folder, self.ledger.head.settings.split)
        row = row.model_copy(update={"told": 1 + self.ledger.last_told})
        self.ledger.put(row)
        self.ask_tell.tell_row(row)

    def _trial(self, name: str, params: Mapping[str, Any]) -> Trial:
        spec = self._spec
        self._live[name] = Trial(
            spec["run"],
            config={**(spec.get("config") or {}), **params},
            evaluated_params=dict(params),
            trial_id=name,
            storage=spec["storage"],
            placement_group_factory=spec["resources_per_trial"],
            trial_dirname_creator=spec["trial_dirname_creator"],
            max_failures=spec["max_failures"],
        )
        return self._live[name]


def trial_id(record: StudyRecord, number: int) -> str:
    """The name of a trial: the same for the same study, number and seed."""
    text = f"{record.name}/{record.settings.seed}/{number}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _last_error(trial: Trial) -> Exception:
    """What Tune noted last of a trial that broke down, if it could."""
    if trial.pickled_error_file is not None:
        with contextlib.suppress(OSError, EOFError):
            error: Exception = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
            return error
    return Exception("no message")


def _broken_row(row: TrialRow, error: Exception) -> TrialRow:
    """A trial whose process died each time it was started, and may live another day.

    Raises:
        TransientError: If it met an error that would end other trials too; errors of its own it
            reports as its result (tune.search.objective).
    """
    if isinstance(error, RayTaskError):
        raise TransientError(f"trial {row.id}: {error.cause}")
    reason = f"its process died each time it was started ({first_line(error)})"
    return row.model_copy(update={"status": "failed", "error": reason, "again": True})


def _requeued(row: TrialRow) -> TrialRow:
    """A trial as a new driver takes it over."""
    if row.status == "running" or row.again:
        return row.model_copy(update={"status": "waiting", "error": None, "again": False})
    return row


def _ended_row(row: TrialRow, result: Mapping[str, Any], folder: Path, split: str) -> TrialRow:
    """A trial that finished, was stopped early, or reported that it failed."""
    status: TrialStatus = "stopped"  # its predictions are made after the study
    error = result.get(FAILED)
    if TIGHT not in result and error is None:
        error = "it ended without a score"
    if error is not None:
        status = "failed"
    elif predictions_path(folder / row.run, split).is_file():
        status = "done"
    return row.model_copy(update={"status": status, "error": error, **scores_of(result)})


def scores_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of the record has of a trial's last report."""
    epochs = result.get("epoch", 0)
    return {
        "best_tight": result.get(TIGHT) if epochs else None,
        "best_loose": result.get(LOOSE) if epochs else None,
        "epochs": epochs,
        "seconds": round(result.get("time_total_s", 0.0) - result.get(WAITED, 0.0), 1),
    }
