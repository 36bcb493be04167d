"""The best models of a study on the split that they predicted, with intervals over games.

Those are the trials that were trained again, each as the mean of its trainings; of a study without
them, the best trials themselves. The split had no part in the search, so nothing here was picked
by its own score, unless the best were trained again and compared there (tune.search.retrain).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from hmtas.errors import InputError
from hmtas.runs.record import predictions_path
from hmtas.scoring.run import count_run
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import Resampled, action_intervals
from hmtas.statistics.seeds import resample_candidates
from hmtas.statistics.verdicts import compare_to
from hmtas.terminal.text import interval, points
from tune.study.finalists import ComparedToPicked, Final
from tune.study.options import Metric
from tune.study.record import StudyRecord, choose_finalists

MOST = 3  # models without a second training


class Estimate(NamedTuple):
    """A score in [0, 1] with its 95 % interval over games; None where there are too few games."""

    score: float
    interval: tuple[float, float] | None


class Candidate(NamedTuple):
    """One of the best, best first."""

    trial: str
    trainings: tuple[float, ...]  # score of each training, by the metric of the study
    scores: dict[Metric, Estimate]  # mean of the trainings, whose noise is in the interval
    actions: dict[str, Estimate]  # by the metric of the study; the interval is over games alone
    against: ComparedToPicked | None  # minus the first one; None for the first one


class Scores(NamedTuple):
    """The best of a study on games that had no part in the search."""

    metric: Metric
    split: str
    num_games: int
    again: bool  # were they trained again?
    num_events: dict[str, int]  # by action
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Estimate:
        """Score of the first one."""
        return self.candidates[0].scores[self.metric]


def score_best(folder: Path, record: StudyRecord, final: Final | None) -> Scores:
    """Score the best models of a study; `final`: those that were trained again, if any were.

    Raises:
        InputError: If no trial has predicted, or the store is not there or is another one.
    """
    settings, metric = record.settings, record.settings.options.metric
    runs = _runs(folder, record, final)
    if not runs:
        raise InputError(f"no trial has predicted the {settings.split} games yet")
    store = settings.open_store(folder)
    counts = {
        name: [
            [count_run(run, store, settings.split, name) for run in found]
            for found in runs.values()
        ]
        for name in get_args(Metric)
    }
    scored = {name: resample_candidates(counts[name]) for name in counts}
    against = _against(final, scored[metric].means, list(runs))
    first = counts[metric][0][0]
    return Scores(
        metric=metric,
        split=settings.split,
        num_games=len(first.games),
        again=final is not None,
        num_events=dict(zip(store.actions, first.num_events.sum(axis=0).tolist(), strict=True)),
        candidates=tuple(
            Candidate(
                trial=trial,
                trainings=scored[metric].trainings[c],
                scores={name: _estimate(one.means, c) for name, one in scored.items()},
                actions=_actions(counts[metric][c], store.actions),
                against=against.get(trial),
            )
            for c, trial in enumerate(runs)
        ),
    )


def verdict_of_scores(scores: Scores) -> str:
    """What the best trials say where none was trained again, in a sentence or two."""
    text = "None of them was trained again, so luck with a seed is not in the intervals."
    if len(scores.candidates) == 1:
        return text
    second, against = scores.candidates[1].trial, scores.candidates[1].against
    assert against is not None
    told = {
        "cannot tell": f"It cannot be told from {second}, the second of the search: its lead",
        "worse": f"It is better than {second}, the second of the search: its lead",
        "better": f"The second of the search, {second}, is better: the lead over it",
    }
    ends = interval((-against.high, -against.low), signed=True)
    lead = points(-against.difference)
    return f"{told[against.verdict]} is {lead} points (95 %: {ends}). {text}"


def _runs(folder: Path, record: StudyRecord, final: Final | None) -> dict[str, list[Path]]:
    """Trial to the run folders that stand for it, the best trial first."""
    if final is not None:
        found = {one.trial: [folder / run for run in one.runs] for one in final.finalists}
    else:
        found = {row.id: [folder / row.run] for row in choose_finalists(record, MOST)}
    split = record.settings.split
    return {
        trial: there
        for trial, runs in found.items()
        if (there := [run for run in runs if predictions_path(run, split).is_file()])
    }


def _against(
    final: Final | None, means: Resampled, trials: Sequence[str]
) -> dict[str, ComparedToPicked]:
    """The differences from the first one; those of the final comparison, where there was one."""
    if final is not None:
        return {one.trial: one.against for one in final.finalists if one.against is not None}
    if len(trials) == 1:
        return {}
    compared = compare_to(means, 0, picked=False)  # other games put it first
    return {trials[c]: ComparedToPicked.of(one) for c, one in compared.items()}


def _estimate(means: Resampled, candidate: int) -> Estimate:
    score = float(means.scores[candidate])
    return Estimate(score, means.interval(candidate) if means.num_games > 1 else None)


def _actions(counts: Sequence[GameCounts], actions: Sequence[str]) -> dict[str, Estimate]:
    return {
        action: Estimate(float(score), None if np.isnan(low) else (float(low), float(high)))
        for action, score, low, high in zip(actions, *action_intervals(counts), strict=True)
        if not np.isnan(score)
    }
