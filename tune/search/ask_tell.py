"""The points of a study in the order they were proposed, also after a driver resumes it.

Optuna's study lives in memory. Everything it knows follows from the order in which it was asked
for points and told of scores, and study.json has that order: a new driver asks and tells again,
and the sampler is where it was, its random numbers included. Nothing depends on a snapshot of
Tune's, which lags behind and may be cut short.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from tune.search.samplers import make_sampler
from tune.space.dimensions import Space, encoded, first_points, point_of, suggest
from tune.study.optuna_trials import finished_trial, values_of
from tune.study.record import TrialRow
from tune.study.settings import StudySettings

MOST_REPEATS = 20  # proposals in a row that were tried before: then chance proposes
MOST_DRAWS = 10_000  # of those that chance proposes


class AskTell:
    """Optuna's side of a study: the points to try first, then the sampler's.

    The preset's own setting comes first of all, so that a search never loses to its start. No
    point comes twice as long as there is another: of one that was tried before the sampler hears
    the score that is known, and proposes again.

    Attributes:
        num_repeats: Points that it proposed again, so far.
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
        self._tried: dict[str, str] = {}  # each point, and the trial that it was asked for
        self._known: dict[str, Sequence[float] | None] = {}  # what became of a trial
        self._chance = optuna.create_study(
            directions=self.study.directions,
            sampler=optuna.samplers.RandomSampler(seed=settings.seed),
        )
        self.num_repeats = 0

    def ask(self, name: str) -> dict[str, Any]:
        """The next point, in the form of an Optuna trial (tune.space.dimensions.encoded)."""
        trial = _proposed(self.study, self.space)
        for number in range(1, MOST_DRAWS):
            before = self._tried.get(_key(trial.params))
            if before is None or len(self._tried) >= self.space.num_points:
                break
            self.num_repeats += 1
            self._end(trial, self._known.get(before))
            if number >= MOST_REPEATS:
                self.study.enqueue_trial(_proposed(self._chance, self.space).params)
            trial = _proposed(self.study, self.space)
        return self._begin(name, trial)

    def tell(self, name: str, values: Sequence[float] | None, point: Mapping[str, Any]) -> None:
        """Say what became of a point: each number that is maximised; None if the trial failed.

        `point`, by dimension, is used if this process did not ask the sampler for it.
        """
        self._known[name] = values
        trial = self._open.pop(name, None)
        if trial is not None:
            self._end(trial, values)
        elif values is not None:
            self.study.add_trial(finished_trial(point, values, self.space))

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
            point = encoded(point_of(row.settings, self.space))
            if _key(point) in self._tried:  # an older version trained some points again
                params = self._begin(row.id, _proposed(self.study, self.space))
            else:
                params = self.ask(row.id)
            if params != point:
                self.tell(row.id, None, {})
                num_other += 1
                if self._tried[_key(params)] == row.id:
                    del self._tried[_key(params)]
                self._tried.setdefault(_key(point), row.id)
        for row in told[num_told:]:
            self.tell_row(row)
        return num_other

    def tell_row(self, row: TrialRow) -> None:
        """What became of a point, as the study notes it."""
        self.tell(row.id, values_of(row, self.metrics), point_of(row.settings, self.space))

    def _begin(self, name: str, trial: optuna.Trial) -> dict[str, Any]:
        self._open[name] = trial
        self._tried.setdefault(_key(trial.params), name)
        return dict(trial.params)

    def _end(self, trial: optuna.Trial, values: Sequence[float] | None) -> None:
        if values is None:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, list(values))


def _proposed(study: optuna.Study, space: Space) -> optuna.Trial:
    trial = study.ask()
    suggest(trial, space=space)
    return trial


def _key(params: Mapping[str, Any]) -> str:
    """A point as one word, the same for the same point."""
    return json.dumps(params, sort_keys=True)
