"""Greedy selection with replacement, on the official metric itself.

R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, Ensemble Selection from Libraries of Models,
ICML 2004: begin with the best models as long as each helps, then keep adding the model with which
the average scores highest; one may be added more than once, and the weights are the counts. To keep
luck out, the choice is made in several bags, each of some of the models and of games drawn anew
with replacement, and the weights are averaged over the bags.

What is maximised is tight Average-mAP: a candidate is suppressed, matched and counted in every half
(ensemble.greedy.counting). An action counts by itself, so that actions and candidates are divided
among the cores. Where there are many candidates, those that are behind on a part of the games are
left out (`STAGES`): a score that is compared with others is always of all games.

Ties go to the first name, and a model that says exactly what another one says is left out
(ensemble.greedy.library): neither the order of models nor a copy changes anything.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from pydantic import Field

from ensemble.greedy.counting import Action, Counts, Scale, Total, Weighted, count, cut, precisions
from ensemble.greedy.library import LEAST, TOP, Library
from hmtas.errors import InputError
from hmtas.metric.averages import TIGHT_S, trapezoid_weights
from hmtas.metric.matching import THRESHOLDS, reaches
from hmtas.spotting.table import num_cores
from hmtas.validation import Frozen

SAME = 1e-12  # scores closer than this are ties
CHUNK = 16  # candidates of one job
FEW = 16  # this many candidates, or fewer, are never screened
FINALISTS = 8  # of one pick, never screened out in the next
STAGES = ((0.125, 1.0), (0.375, 0.333), (1.0, 0.125))
"""Screening: on an eighth of the halves all candidates are counted, up to three eighths the best
third by then, on the rest the best eighth. Counts are kept from one stage to the next: this costs
0.29 of counting all. The finalists of the pick before stay in, as good models stay good."""
MAX_WINDOW_ROWS = 10_000  # far beyond a half's useful windows; keeps block numbers small


class GreedyConfig(Frozen):
    """How models are selected."""

    picks: int = Field(default=50, ge=1, description="most picks of a bag, the first ones included")
    first: int = Field(default=10, ge=1, description="most models to begin with")
    patience: int = Field(default=3, ge=1, description="picks without a better score")
    bags: int = Field(default=8, ge=1, description="1 takes all models and all games, once")
    model_share: float = Field(default=0.5, gt=0, le=1, description="of the models, in each bag")
    threshold: float = Field(
        default=LEAST, ge=0, lt=1, description="spots below it do not count while selecting"
    )
    screen: bool = Field(
        default=True, description="leave out candidates that are behind on a part of the games"
    )
    seed: int = Field(default=0, ge=0)


class Bag(NamedTuple):
    """One selection."""

    picked: tuple[str, ...]  # names in the order of picking, up to the best score
    scores: tuple[float, ...]  # tight Average-mAP after each of them, on the games of the bag


class Selection(NamedTuple):
    """What was selected."""

    weights: dict[str, float]  # > 0, summing to 1; models without are left out
    bags: tuple[Bag, ...]  # that the weights are averaged over


def select(
    library: Library,
    windows_s: np.ndarray,
    *,
    games: Sequence[str] | None = None,
    config: GreedyConfig | None = None,
    on_bag: Callable[[], None] = lambda: None,
) -> Selection:
    """Select models by their joint score on some games, all of the library unless given.

    The windows, (A,) full widths in seconds of hard, symmetric suppression, are fitted on the same
    games, or on none.

    Raises:
        InputError: If a game is not in the library, or no model scores anything.
        ValueError: If the windows are not A numbers > 0.
    """
    config = config or GreedyConfig()
    games = sorted(library.games if games is None else set(games))
    unknown = sorted(set(games) - set(library.games))
    if unknown or not games:
        raise InputError(
            f"{unknown[0] if unknown else 'no game'!r} is not among the {len(library.games)} games "
            "to select on; were other games predicted?"
        )
    bags = []
    with ThreadPoolExecutor(num_cores()) as pool:  # the compiled part releases the GIL
        judge = _Judge(library, windows_s, pool, screen=config.screen)
        for number in range(config.bags):
            rng = np.random.default_rng([config.seed, number])
            models, weight_of = _draw(rng, len(library.names), games, config)
            judge.look_at(weight_of, rng.permutation(games).tolist())
            bags.append(_select_bag(judge, models, config))
            on_bag()
    weights = dict.fromkeys(library.names, 0.0)
    for bag in bags:
        for name in bag.picked:
            weights[name] += 1 / len(bag.picked) / len(bags)
    return Selection({name: w for name, w in weights.items() if w > 0}, tuple(bags))


def _draw(
    rng: np.random.Generator, num_models: int, games: Sequence[str], config: GreedyConfig
) -> tuple[np.ndarray, dict[str, int]]:
    """The models of one bag, ascending, and how often each game counts."""
    if config.bags == 1:
        return np.arange(num_models), dict.fromkeys(games, 1)
    num_drawn = max(1, round(config.model_share * num_models))
    models = np.sort(rng.permutation(num_models)[:num_drawn])
    times = np.bincount(rng.integers(len(games), size=len(games)), minlength=len(games))
    return models, dict(zip(games, times.tolist(), strict=True))


def _select_bag(judge: "_Judge", models: np.ndarray, config: GreedyConfig) -> Bag:
    alone_C = judge.scores(models)
    if alone_C.max() <= 0:
        raise InputError(
            f"none of {len(models)} models scores anything on the games to select on; "
            "are they trained at all, and are these their labels?"
        )
    ranked = models[np.argsort(np.round(-alone_C, 12), kind="stable")]
    picked: list[int] = []
    scores: list[float] = []
    for m in ranked[: min(config.first, config.picks)]:
        judge.add(int(m))
        picked.append(int(m))
        scores.append(float(judge.scores(np.array([-1]))[0]))
    best = _first_best(scores)
    for m in picked[best + 1 :]:
        judge.add(m, times=-1)
    del picked[best + 1 :], scores[best + 1 :]
    finalists: list[int] = []
    while len(picked) < config.picks and len(picked) - 1 - best < config.patience:
        score_C = judge.scores(models, finalists)
        finalists = models[np.argsort(-score_C, kind="stable")[:FINALISTS]].tolist()
        c = _first_best(score_C)
        judge.add(int(models[c]))
        picked.append(int(models[c]))
        scores.append(float(score_C[c]))
        best = _first_best(scores)
    names = judge.library.names
    return Bag(tuple(names[m] for m in picked[: best + 1]), tuple(scores[: best + 1]))


def _first_best(scores: Sequence[float] | np.ndarray) -> int:
    values = np.asarray(scores)
    return int(np.flatnonzero(values >= values.max() - SAME)[0])


class _Judge:
    """Scores ensembles that differ from the present one by a model."""

    def __init__(
        self, library: Library, windows_s: np.ndarray, pool: ThreadPoolExecutor, *, screen: bool
    ) -> None:
        if windows_s.shape != (len(library.columns),) or not (windows_s > 0).all():
            raise ValueError(
                f"windows must be {len(library.columns)} numbers > 0 s, got {windows_s.tolist()}"
            )
        reach_A = np.minimum(windows_s * library.rate_hz / 2, MAX_WINDOW_ROWS).astype(np.int64)
        edge_K = library.code_of(THRESHOLDS)
        self.library = library
        self._pool = pool
        self._screen = screen
        scale = Scale(
            floor=max(float(library.code_of(np.array(library.threshold))), 0.0),
            edge_K=edge_K,
            bin_of=np.searchsorted(edge_K, np.arange(TOP + 1), side="right") - 1,
            reach_D=reaches(TIGHT_S).astype(np.int64),
            weight_D=trapezoid_weights(len(TIGHT_S)),
        )
        self._actions = [
            Action(column, cut(column, int(reach)), scale)
            for column, reach in zip(library.columns, reach_A, strict=True)
        ]
        self._total_A: list[np.ndarray] = []
        self._num_total = 0
        self._weight_H = np.zeros(len(library.halves), dtype=np.int64)
        self._half_H = np.empty(0, dtype=np.int64)

    def look_at(self, weight_of: Mapping[str, int], games: Sequence[str]) -> None:
        """Begin anew without members, on games in some order and how often each counts."""
        halves = self.library.halves
        order = {game: g for g, game in enumerate(games)}
        self._weight_H = np.array([weight_of.get(half.game, 0) for half in halves], dtype=np.int64)
        counted = [h for h, half in enumerate(halves) if self._weight_H[h] > 0]
        counted.sort(key=lambda h: order[halves[h].game])
        self._half_H = np.array(counted, dtype=np.int64)
        self._total_A = [
            np.zeros(column.code_MX.shape[1], dtype=np.int32) for column in self.library.columns
        ]
        self._num_total = 0

    def add(self, model: int, times: int = 1) -> None:
        """Add a model to the present ensemble; -1 times takes it out."""
        for column, total_X in zip(self.library.columns, self._total_A, strict=True):
            np.add(total_X, times * column.code_MX[model].astype(np.int32), out=total_X)
        self._num_total += times

    def scores(self, candidates: np.ndarray, finalists: Sequence[int] = ()) -> np.ndarray:
        """(C,) tight Average-mAP on all halves with each candidate, one at a time; -1 is none.

        Candidates that screening left out have -inf; finalists are never left out.
        """
        alive = np.arange(len(candidates))
        counts_A = [Counts.zeros(len(candidates), len(TIGHT_S)) for _ in self.library.columns]
        safe = np.isin(candidates, finalists)
        score_C = np.zeros(len(candidates))
        screened = self._screen and len(candidates) > FEW
        stages = STAGES if screened else ((1.0, 1.0),)
        begin = 0
        for share_of_halves, share_of_candidates in stages:
            end = round(share_of_halves * len(self._half_H))
            if begin > 0:
                num_kept = max(FEW, round(share_of_candidates * len(candidates)))
                best = np.argsort(-score_C[alive], kind="stable")[:num_kept]
                alive = alive[np.isin(np.arange(len(alive)), best) | safe[alive]]
            self._count(candidates, alive, slice(begin, end), counts_A)
            score_C[:] = -np.inf
            score_C[alive] = self._mean_precision(alive, end, counts_A)
            begin = end
        return score_C

    def _count(
        self, candidates: np.ndarray, alive: np.ndarray, part: slice, counts_A: list[Counts]
    ) -> None:
        """Count more halves for the candidates that are left, on all cores."""
        halves = Weighted(self._half_H[part], self._weight_H[self._half_H[part]])

        def measure(job: tuple[int, np.ndarray]) -> None:
            a, chosen = job
            found = Counts.zeros(len(chosen), len(TIGHT_S))
            total = Total(self._total_A[a], self._num_total)
            count(self._actions[a], total, candidates[chosen], halves, found)
            counts_A[a].detections_CK[chosen] += found.detections_CK
            counts_A[a].hits_CDK[chosen] += found.hits_CDK

        jobs = [
            (a, alive[start : start + CHUNK])
            for a in range(len(counts_A))
            for start in range(0, len(alive), CHUNK)
        ]
        list(self._pool.map(measure, jobs))

    def _mean_precision(self, alive: np.ndarray, end: int, counts_A: list[Counts]) -> np.ndarray:
        halves = self._half_H[:end]
        total_C = np.zeros(len(alive))
        for column, counts in zip(self.library.columns, counts_A, strict=True):
            num_events = float(self._weight_H[halves] @ column.num_events[halves])
            chosen = Counts(counts.detections_CK[alive], counts.hits_CDK[alive])
            total_C += precisions(chosen, num_events, self._actions[0].scale.weight_D)
        mean: np.ndarray = total_C / len(counts_A)
        return mean
