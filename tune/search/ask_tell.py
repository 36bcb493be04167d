"""The points of a study in the order they were proposed, also after a driver resumes it.

Optuna's study lives in memory. Everything it knows follows from the order in which it was asked
for points and told of scores, and study.json has that order: a new driver asks and tells again,
and the sampler is where it was, its random numbers included. Nothing depends on a snapshot of
Tune's, which lags behind and may be cut short.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from tune.search.samplers import make_sampler
from tune.space.dimensions import encoded, first_points, point_of, suggest
from tune.study.optuna_trials import finished_trial, values_of
from tune.study.record import TrialRow
from tune.study.settings import StudySettings


class AskTell:
    """Optuna's side of a study: the points to try first, then the sampler's.

    The preset's own setting comes first of all, so that a search never loses to its start.
    """

    def __init__(self, settings: StudySettings) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.metrics = settings.space, settings.options.metrics
        self.study = optuna.create_study(
            directions=["maximize"] * len(self.metrics),
            sampler=make_sampler(
                settings.options,
                self.space,
                num_trials=settings.num_trials,
                seed=settings.seed,
            ),
        )
        warm = settings.options.warm
        for point in first_points(settings.base, self.space, tried=warm.tried if warm else ()):
            self.study.enqueue_trial(point)
        for told in warm.told if warm else ():
            self.study.add_trial(finished_trial(told.point, told.values, self.space))
        self._open: dict[str, optuna.Trial] = {}

    def ask(self, name: str) -> dict[str, Any]:
        """The next point, in the form of an Optuna trial (tune.space.dimensions.encoded)."""
        trial = self.study.ask()
        suggest(trial, space=self.space)
        self._open[name] = trial
        return dict(trial.params)

    def tell(self, name: str, values: Sequence[float] | None, point: Mapping[str, Any]) -> None:
        """Say what became of a point: each number that is maximised; None if the trial failed.

        `point`, by dimension, is used if this process did not ask the sampler for it.
        """
        trial = self._open.pop(name, None)
        if trial is None:
            if values is not None:
                self.study.add_trial(finished_trial(point, values, self.space))
        elif values is None:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, list(values))

    def replay(self, rows: Sequence[TrialRow]) -> int:
        """Ask and tell again what was asked and told, in the order of the study's rows.

        Returns:
            How many points differ from those asked for before, as they would with another version
            of Optuna: the sampler is told of the points that were trained instead.
        """
        told = sorted((row for row in rows if row.told), key=lambda row: row.told or 0)
        asked: set[str] = set()
        num_told = num_other = 0
        for row in rows:
            while num_told < min(row.asked_after, len(told)) and told[num_told].id in asked:
                self.tell_row(told[num_told])
                num_told += 1
            asked.add(row.id)
            if self.ask(row.id) != encoded(point_of(row.settings, self.space)):
                self.tell(row.id, None, {})
                num_other += 1
        for row in told[num_told:]:
            self.tell_row(row)
        return num_other

    def tell_row(self, row: TrialRow) -> None:
        """What became of a point, as the study notes it."""
        self.tell(row.id, values_of(row, self.metrics), point_of(row.settings, self.space))
