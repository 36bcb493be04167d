"""What a report is about: all that is known of a study, read from its folder and its store."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from hmtas.errors import InputError
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import WINDOWS, RunRecord, find_run, predictions_path, score_path
from hmtas.scoring.games import refuse_test_split
from hmtas.scoring.score import read_score
from hmtas.spotting.spots import FittedWindows, read_windows
from hmtas.spotting.windows import cross_fit
from tune.report.importance import Importances, importances
from tune.report.scores import Estimate, Scores, score_best, verdict_of_scores
from tune.report.style import STATES
from tune.study.budget import Budget, read_budget
from tune.study.finalists import Final, read_final, verdict_of
from tune.study.lock import driver_of
from tune.study.record import StudyRecord, best_of, pareto_front, ranked, read_study
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings

SHOWN = 300  # trials that a page has, about
BEST = 100  # of them


class Windows(NamedTuple):
    """NMS windows that suit the best trial."""

    fitted: FittedWindows
    kept: bool  # did `hmtas tune windows` leave them in the run folder?
    score: Estimate | None  # tight, cross-fitted, with these windows, if that was kept as well


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a page is about."""

    folder: Path  # of the study
    record: StudyRecord
    shown: StudyRecord  # with the trials that pictures and tables show
    places: tuple[int, ...]  # of these in the study, from 1
    final: Final | None  # its best trials, trained again
    budget: Budget
    best: TrialRow | None
    runs: dict[str, RunRecord]  # the records of its trainings, by trial
    scores: Scores | None  # of the best models on the predicted split
    why_no_scores: str
    importances: Importances
    windows: Windows | None  # that suit the best trial, where any were fitted
    driver: str | None  # the process that is at work on it, if any
    now: datetime  # when the page is drawn

    @property
    def verdict(self) -> str:
        """What the best models say of each other, in a sentence or two."""
        if self.final is not None:
            said = verdict_of(self.final)
            return said[0].upper() + said[1:]
        return "" if self.scores is None else verdict_of_scores(self.scores)

    @property
    def states(self) -> str:
        """How many trials are in each state, in words."""
        counts = [(self.count(status), state.name) for status, state in STATES.items()]
        return ", ".join(f"{number} {name}" for number, name in counts if number)

    def count(self, *states: str) -> int:
        """Trials in one of some states."""
        return sum(row.status in states for row in self.record.trials)


def gather(folder: Path) -> Facts:
    """Read all that a page is about.

    Raises:
        InputError: If there is no study in the folder.
    """
    record, final = read_study(folder), read_final(folder)
    if record.status != "done":
        final = None  # of an earlier end, before there were more trials
    places = _shown(record)
    shown = record.model_copy(update={"trials": tuple(record.trials[n] for n in places)})
    runs = {row.id: run for row in shown.trials if (run := find_run(folder / row.run)) is not None}
    try:
        scores, why_not = score_best(folder, record, final), ""
    except (InputError, OSError) as error:
        scores, why_not = None, str(error)
    best, windows = best_of(record, final), None
    if best is not None and best.id in runs:
        windows = _windows(folder / best.run, runs[best.id], record.settings)
    return Facts(
        folder=folder,
        record=record,
        shown=shown,
        places=tuple(n + 1 for n in places),
        final=final,
        budget=read_budget(folder),
        best=best,
        runs=runs,
        scores=scores,
        why_no_scores=why_not,
        importances=importances(record),
        windows=windows,
        driver=driver_of(folder),
        now=datetime.now(UTC),
    )


def _shown(record: StudyRecord) -> list[int]:
    """Which trials are drawn: all, or of many the best, those that were the best so far, and some.

    A page of ten thousand could neither be opened nor read.
    """
    rows = record.trials
    if len(rows) <= SHOWN:
        return list(range(len(rows)))
    place = {row.id: n for n, row in enumerate(rows)}
    kept = {place[row.id] for row in [*ranked(record)[:BEST], *pareto_front(record)[:BEST]]}
    for metric in record.settings.options.metrics:
        highest = -1.0
        for n, row in enumerate(rows):
            score = getattr(row, metric)
            if score is not None and row.status != "failed" and score > highest:
                kept.add(n)
                highest = score
    others = [n for n in range(len(rows)) if n not in kept]
    num = max(1, SHOWN - len(kept))
    return sorted(kept.union(others[i * len(others) // num] for i in range(num)))


def _windows(folder: Path, run: RunRecord, settings: StudySettings) -> Windows | None:
    """The windows that `hmtas tune windows` left in a run folder, else those it would find.

    None where nothing is fitted: windows are part of the search, or there is nothing to fit on.
    """
    try:
        if (folder / WINDOWS).is_file():
            fitted = read_windows(folder / WINDOWS)
            return Windows(fitted, kept=True, score=_kept_score(folder, fitted.split))
        path = predictions_path(folder, settings.split)
        if run.config.train.stop_windows != "fitted" or not path.is_file():
            return None
        refuse_test_split(settings.split)
        stored, store = read_probabilities(path), settings.open_store(folder)
        events = store.events_of(store.games(settings.split))
        actions = stored.provenance.actions
        fitted = cross_fit(stored.halves, events, actions, split=settings.split)
        return Windows(fitted, kept=False, score=None)
    except (InputError, OSError):  # the scores of the best say why
        return None


def _kept_score(folder: Path, split: str) -> Estimate | None:
    path = score_path(folder, split)
    score = read_score(path) if path.is_file() else None
    if score is None or not score.cross_fitted:
        return None
    return Estimate(score.tight.average_map, score.tight.interval)
