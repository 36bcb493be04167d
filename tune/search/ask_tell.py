"""The points of a study in the order they were proposed, also after a driver resumes it.

Optuna's study lives in memory. Everything it knows follows from the order in which it was asked
for points and told of scores, and the record has that order: a new driver asks and tells again,
and the sampler is where it was, its random numbers included. Nothing depends on a snapshot of
Tune's, which lags behind and may be cut short.

A proposal costs a sampler more the more trials it knows, and without end that would be most of a
long sweep's driver. So from `MEMORY` trials on it starts afresh every `RENEWED` proposals, with the
best trials and the latest, which is also all that a new driver has to ask and tell again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna

from tune.search.samplers import make_sampler
from tune.space.dimensions import Space, encoded, first_points, point_of, suggest
from tune.study.optuna_trials import trial_at, values_of
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings

MEMORY = 300  # trials that a sampler has known when it starts afresh
RENEWED = 100  # proposals until it does so again
BEST = 50  # of its memory, by each number; TPE takes at most 25 for good
MOST_REPEATS = 20  # proposals in a row that were tried before: then chance proposes
MOST_DRAWS = 10_000  # of those that chance proposes


class _Open(NamedTuple):
    """A point that was asked for, and whose score is not known yet."""

    number: int | None  # of Optuna's trial; None where its study does not know it
    params: dict[str, Any]


class _Ended(NamedTuple):
    """A point and each number that is maximised."""

    params: Mapping[str, Any]
    values: tuple[float, ...]


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
        self.settings, self.space = settings, settings.space
        self.metrics = settings.options.metrics
        self._start(settings.seed)
        warm = settings.options.warm
        for point in first_points(settings.base, self.space, tried=warm.tried if warm else ()):
            self.study.enqueue_trial(point)
        self.num_repeats = self._num_asked = 0
        self._open: dict[str, _Open] = {}
        self._ended: dict[str, _Ended] = {}  # what the sampler is to know, in the order of telling
        self._tried: dict[str, str] = {}  # each point, and the trial that it was asked for
        self._known: dict[str, Sequence[float] | None] = {}  # what became of a trial
        for told in warm.told if warm else ():
            self.tell(f"before/{told.trial}", told.values, told.point)

    def ask(self, name: str) -> dict[str, Any]:
        """The next point, in the form of an Optuna trial (tune.space.dimensions.encoded)."""
        self._renew_in_time()
        trial = _proposed(self.study, self.space)
        for number in range(1, MOST_DRAWS):
            before = self._tried.get(_key(trial.params))
            if before is None or len(self._tried) >= self.space.num_points:
                break
            self.num_repeats += 1
            self._end(trial.number, self._known.get(before))
            if number >= MOST_REPEATS:
                self.study.enqueue_trial(_proposed(self._chance, self.space).params)
            trial = _proposed(self.study, self.space)
        return self._begin(name, trial)

    def tell(self, name: str, values: Sequence[float] | None, point: Mapping[str, Any]) -> None:
        """Say what became of a point: each number that is maximised; None if the trial failed.

        `point`, by dimension, is used if this process did not ask the sampler for it.
        """
        begun = self._open.pop(name, None)
        params = encoded(point) if begun is None else begun.params
        self._known[name] = values
        self._ended.pop(name, None)  # it failed for a while, or is told again
        if values is not None:
            self._ended[name] = _Ended(params, tuple(values))
        if begun is None and values is not None:
            self.study.add_trial(trial_at(params, self.space, values))
        elif begun is not None and begun.number is not None:
            self._end(begun.number, values)

    def replay(self, rows: Sequence[TrialRow]) -> int:
        """Ask and tell again what was asked and told, in the order of the study's rows.

        Where the sampler started afresh since, that is from there on.

        Returns:
            How many points differ from those asked for before, as they would with another version
            of Optuna: the sampler is told of the points that were trained instead.
        """
        told = sorted((row for row in rows if row.told), key=lambda row: row.told or 0)
        asked: set[str] = set()
        num_told = num_other = 0
        begin = self._renewed_last(len(rows))
        for place, row in enumerate(rows):
            while num_told < min(row.asked_after, len(told)) and told[num_told].id in asked:
                self.tell_row(told[num_told])
                num_told += 1
            asked.add(row.id)
            params = encoded(point_of(row.settings, self.space))
            if place < begin:
                self._note_begin(row.id, None, params)
            elif not self._asks_again(row.id, params):
                num_other += 1
        for row in told[num_told:]:
            self.tell_row(row)
        return num_other

    def tell_row(self, row: TrialRow) -> None:
        """What became of a point, as the study notes it."""
        self.tell(row.id, values_of(row, self.metrics), point_of(row.settings, self.space))

    def _asks_again(self, name: str, params: dict[str, Any]) -> bool:
        """Ask for a point that was asked for before; is it the same?"""
        if _key(params) in self._tried:  # an older version trained some points again
            self._renew_in_time()
            found = self._begin(name, _proposed(self.study, self.space))
        else:
            found = self.ask(name)
        if found == params:
            return True
        self.tell(name, None, {})
        if self._tried[_key(found)] == name:
            del self._tried[_key(found)]
        self._tried.setdefault(_key(params), name)
        return False

    def _begin(self, name: str, trial: optuna.Trial) -> dict[str, Any]:
        self._note_begin(name, trial.number, dict(trial.params))
        return dict(trial.params)

    def _note_begin(self, name: str, number: int | None, params: dict[str, Any]) -> None:
        self._num_asked += 1
        self._open[name] = _Open(number, params)
        self._tried.setdefault(_key(params), name)

    def _end(self, number: int, values: Sequence[float] | None) -> None:
        if values is None:
            self.study.tell(number, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(number, list(values))

    def _start(self, seed: int) -> None:
        """A sampler that knows nothing yet."""
        self.study = optuna.create_study(
            directions=["maximize"] * len(self.metrics),
            sampler=make_sampler(
                self.settings.options,
                self.space,
                num_trials=self.settings.num_trials,
                seed=seed,
            ),
        )
        self._chance = optuna.create_study(
            directions=self.study.directions,
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )

    def _renewed_last(self, num_asked: int) -> int:
        """After how many proposals, of so many, the sampler starts afresh for the last time."""
        if self.settings.options.sampler == "cmaes":  # each point continues the one before
            return 0
        return num_asked // RENEWED * RENEWED if num_asked >= MEMORY else 0

    def _renew_in_time(self) -> None:
        """Start afresh with the best trials, the latest, and those that run, where it is time."""
        number = self._num_asked
        if not number or self._renewed_last(number) != number:
            return
        self._start(_seed(self.settings.seed, number))
        latest = list(self._ended)[BEST - MEMORY :]
        best = (self._best(metric) for metric in range(len(self.metrics)))
        kept = {name for names in (latest, *best) for name in names}
        self._ended = {name: ended for name, ended in self._ended.items() if name in kept}
        for ended in self._ended.values():
            self.study.add_trial(trial_at(ended.params, self.space, ended.values))
        for place, (name, begun) in enumerate(self._open.items(), start=len(self._ended)):
            self._open[name] = _Open(place, begun.params)
            self.study.add_trial(trial_at(begun.params, self.space))

    def _best(self, metric: int) -> list[str]:
        by_value = sorted(self._ended, key=lambda name: -self._ended[name].values[metric])
        return by_value[:BEST]


def _proposed(study: optuna.Study, space: Space) -> optuna.Trial:
    trial = study.ask()
    suggest(trial, space=space)
    return trial


def _key(params: Mapping[str, Any]) -> str:
    """A point as one short word, the same for the same point."""
    text = json.dumps(params, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest())
