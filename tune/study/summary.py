"""How far a study is, in one small record: what the live view, `tune status` and MLflow show.

It is made from the files of the study alone, and only reads them: any process may ask at any time.
"""

import math
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Literal

from hmtas.runs.record import history_of
from hmtas.validation import Frozen
from tune.study.budget import UNLIMITED_TRIALS, budget_now
from tune.study.ledger import study_now
from tune.study.lock import driver_of
from tune.study.record import StudyRecord, ranked, score_of
from tune.study.rows import TrialRow

MAX_RUNNING_SHARE = 0.9  # of a trial that runs longer than the others took: it is not over yet


class BestTrial(Frozen):
    """The best trial so far, on the games that stop the training; scores in [0, 1]."""

    trial: str  # its id
    epoch: int | None  # its best epoch, which has the scores; None if its record cannot be read
    metric: Literal["tight", "loose"]  # the score it is the best by
    tight: float | None
    loose: float | None
    # 95 %, of `metric`, over games; not corrected for having been picked
    interval: tuple[float, float] | None


class RunningTrial(Frozen):
    """A trial that runs: epochs it has behind it, and its best score so far."""

    trial: str
    epoch: int
    score: float | None


class Summary(Frozen):
    """Trials by what became of them, the best one, time."""

    name: str
    status: Literal["running", "interrupted", "done"]  # interrupted: nobody drives it
    driver: str | None  # such as "process 7 on host"
    total: int | None  # trials it is to have; None where only its hours say
    done: int
    stopped: int
    failed: int
    waiting: int  # proposed, but not running
    repeats: int  # proposed again, and not trained again
    points: int | None  # of its space; None where they cannot be counted
    running: tuple[RunningTrial, ...]
    max_epochs: int  # of one trial
    best: BestTrial | None
    hours: float | None
    spent_s: float  # on trials, in all drivers' lives
    left_s: float | None  # of its hours; None where it has none
    rest_s: float | None  # until it ends, at most `left_s`; None where nothing is known yet

    @property
    def ended(self) -> int:
        """Trials that came to their end, one way or another."""
        return self.done + self.stopped + self.failed


def read_summary(folder: Path) -> Summary:
    """How far the study in a folder is.

    Raises:
        InputError: If there is none.
    """
    return summarize(folder, study_now(folder))


def summarize(folder: Path, record: StudyRecord) -> Summary:
    """How far a study is, by its record and what lies beside it."""
    driver = driver_of(folder)
    unfinished: Literal["running", "interrupted"] = "running" if driver else "interrupted"
    rows, objective = record.trials, record.settings.options.objective
    budget = budget_now(folder, alive=driver is not None)
    total = None if record.num_trials >= UNLIMITED_TRIALS else record.num_trials
    running = tuple(
        RunningTrial(trial=row.id, epoch=row.epochs, score=score_of(row, objective))
        for row in rows
        if row.status == "running" and driver is not None
    )
    num, points = Counter(row.status for row in rows), record.settings.space.num_points
    return Summary(
        name=record.name,
        status="done" if record.status == "done" else unfinished,
        driver=driver,
        total=total,
        done=num["done"],
        stopped=num["stopped"],
        failed=num["failed"],
        waiting=sum(row.is_open for row in rows) - len(running),
        repeats=sum(row.repeats for row in rows),
        points=None if math.isinf(points) else int(points),
        running=running,
        max_epochs=record.settings.base.train.max_epochs,
        best=best_trial_of(folder, record, next(iter(ranked(record)), None)),
        hours=budget.hours,
        spent_s=budget.spent_s,
        left_s=budget.left_s,
        rest_s=rest_s(rows, total, budget.spent_s, budget.left_s),
    )


def best_trial_of(folder: Path, record: StudyRecord, row: TrialRow | None) -> BestTrial | None:
    """The best trial of a study, a row of it, with its interval; None before the first epoch."""
    if row is None:
        return None
    options = record.settings.options
    score, metric = score_of(row, options.objective), options.metric
    # The run folder may be an epoch ahead of the record.
    epoch = next((e for e in history_of(folder / row.run) if getattr(e, metric) == score), None)
    found = None if epoch is None else epoch.intervals.get(metric)
    return BestTrial(
        trial=row.id,
        epoch=None if epoch is None else epoch.epoch,
        metric=metric,
        tight=row.best_tight,
        loose=row.best_loose,
        interval=found,
    )


def rest_s(
    rows: tuple[TrialRow, ...], total: int | None, spent_s: float, left_s: float | None
) -> float | None:
    """Seconds to go if the trials to come take as long as those that have ended.

    `total` is None where the hours end the study, `left_s` where there is no limit.
    """
    ended = [row.seconds for row in rows if not row.is_open]
    if total is None:
        return left_s
    if not ended or not spent_s:
        return None
    mean_s = fmean(ended)
    begun = [row.seconds / mean_s for row in rows if row.is_open and mean_s > 0]
    work = len(ended) + sum(min(share, MAX_RUNNING_SHARE) for share in begun)
    return min(spent_s * (total - work) / work, float("inf") if left_s is None else left_s)
