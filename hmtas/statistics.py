"""How sure a score is: bootstrap over games, and paired differences of two models.

Seconds of one game resemble each other, games hardly do: the game is what is resampled. A resample
is a weight per game, and a score is a weighted sum of histograms: a fraction of a millisecond.

What an interval covers
    The truth is the expected score of as many unseen games of the same kind: what the same model
    would show on average over many such sets of games. (A score depends on their number, for few
    events of a rare action score higher than many.)
    An interval is the score, and to each side the standard error of the bootstrap times the
    quantile of Student's t: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993,
    chapters 6 and 12. Percentiles of the resamples are not used as they are: a game drawn twice
    counts twice what it did well, so resamples score about 0.4 points higher than the games they
    come from. `benchmarks/statistics.py` shows by simulation how often the intervals, and other
    kinds of them, cover the truth.

Differences from the official number
    A resample without any event of an action says nothing about that action, where the official
    mean would count it 0 and pull the whole interval down. The mean is taken over the other
    actions instead, and scaled by the share of actions that have events in all games; with every
    game counted once that is the official number.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numba import njit

from hmtas.errors import InputError
from hmtas.matching import interpolated_precision
from hmtas.metrics import Histograms, trapezoid_weights

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class GameCounts:
    """Histograms by game, visible and unshown together.

    Attributes:
        games: (G,) the games, sorted.
        tolerances_s: (D,) full widths in seconds, equally spaced.
        detections: (G, A, K) uint16, spots whose highest threshold is the k-th.
        hits: (G, A, D, K) uint16, those that match an event.
        num_events: (G, A) int64, annotated cells.
    """

    games: tuple[str, ...]
    tolerances_s: np.ndarray
    detections: np.ndarray
    hits: np.ndarray
    num_events: np.ndarray

    @classmethod
    def of(cls, counts: Histograms) -> "GameCounts":
        """Sum the halves of each game."""

        def by_game(values_H: np.ndarray) -> np.ndarray:
            total = np.zeros((len(counts.games), *values_H.shape[1:]), dtype=values_H.dtype)
            np.add.at(total, counts.game_of_half, values_H)
            return total

        return cls(
            games=counts.games,
            tolerances_s=counts.tolerances_s,
            detections=by_game(counts.detections.sum(axis=2, dtype=np.uint16)),
            hits=by_game(counts.hits.sum(axis=3, dtype=np.uint16)),
            num_events=by_game(counts.num_events.sum(axis=2)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """Average-mAP of some models, on all games and on the same resamples of them.

    Attributes:
        num_games: G.
        scores: (M,) on all games.
        resamples: (R, M).
    """

    num_games: int
    scores: np.ndarray
    resamples: np.ndarray

    def against(self, reference: int) -> "Resampled":
        """How much each model is better than one of them."""
        return Resampled(
            num_games=self.num_games,
            scores=self.scores - self.scores[reference],
            resamples=self.resamples - self.resamples[:, [reference]],
        )

    @property
    def standard_errors(self) -> np.ndarray:
        """(M,) standard deviations of the resamples, times sqrt(G / (G - 1)).

        Without the factor the bootstrap has the bias of a variance that is divided by G.
        """
        inflation = math.sqrt(self.num_games / max(self.num_games - 1, 1))
        error: np.ndarray = self.resamples.std(axis=0) * inflation
        return error


def resample(
    models: Sequence[GameCounts],
    num: int = 1000,
    seed: int = 0,
    *,
    on_model: Callable[[], None] = lambda: None,
) -> Resampled:
    """Score models on all games and on resampled ones, the same for every model.

    Args:
        models: Of the same games, tolerances and actions.
        num: Resamples.
        seed: The same seed draws the same games.
        on_model: Called after each model.

    Raises:
        InputError: If the models are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    check_paired(models)
    num_games = len(models[0].games)
    weights = np.concatenate([np.ones((1, num_games)), draw_weights(num_games, num, seed)])
    averages = np.empty((len(weights), len(models)))
    for m, counts in enumerate(models):
        averages[:, m] = resampled_averages(counts, weights)
        on_model()
    return Resampled(num_games=num_games, scores=averages[0], resamples=averages[1:])


def bootstrap_interval(
    counts: Histograms | GameCounts, num: int = 1000, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of Average-mAP (see above), within [0, 1].

    Args:
        counts: From `hmtas.metrics.histograms`.
        num: Resamples.
        seed: The same seed draws the same games for every model.
        level: How often such intervals are to cover the truth.
    """
    resampled = resample([_by_game(counts)], num, seed)
    reach = critical_value(resampled.num_games, level) * resampled.standard_errors[0]
    score = resampled.scores[0]
    return float(max(score - reach, 0.0)), float(min(score + reach, 1.0))


def paired_difference(
    first: Histograms | GameCounts,
    second: Histograms | GameCounts,
    num: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float, float]:
    """Average-mAP of `first` minus that of `second`, with its interval.

    Both are scored on the same resampled games, so that games that are hard for both cancel out.

    Returns:
        Difference, lower and upper end.

    Raises:
        InputError: If they are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    resampled = resample([_by_game(first), _by_game(second)], num, seed).against(1)
    reach = critical_value(resampled.num_games, level) * resampled.standard_errors[0]
    difference = resampled.scores[0]
    return float(difference), float(difference - reach), float(difference + reach)


def critical_value(num_games: int, level: float = LEVEL) -> float:
    """Standard errors to each side of one interval: a quantile of Student's t."""
    return float(as_student(NormalDist().inv_cdf((1 + level) / 2), num_games))


def as_student(normal: float | np.ndarray, num_games: int) -> np.ndarray:
    """The quantile of Student's t that belongs to a quantile >= 0 of the normal distribution.

    With one degree of freedom less than games, by the expansion of M. Abramowitz and I. Stegun,
    Handbook of Mathematical Functions, 1964, 26.7.5; for a 95 % interval that is right to 0.5 %
    from four games on. One game says nothing of how games differ: its standard error is 0, and it
    gets the normal quantile.
    """
    z = np.asarray(normal, dtype=np.float64)
    if num_games < 2:
        return z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    student: np.ndarray = z + sum(term / (num_games - 1) ** (i + 1) for i, term in enumerate(terms))
    return student


def check_paired(models: Sequence[GameCounts]) -> None:
    """Refuse to compare models that were not counted alike.

    Raises:
        InputError: If they are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    first = models[0]
    for other in models[1:]:
        if first.games != other.games:
            alone = sorted(set(first.games) ^ set(other.games))
            raise InputError(
                "a paired difference needs two models on the same games, but "
                f"{len(alone)} games, the first {alone[0]!r}, are scored for one of them only"
            )
        same_tolerances = np.array_equal(first.tolerances_s, other.tolerances_s)
        if not same_tolerances or first.num_events.shape != other.num_events.shape:
            raise ValueError("a paired difference needs the same tolerances and the same actions")


def draw_weights(num_games: int, num: int, seed: int) -> np.ndarray:
    """How often each game comes in each resample, shape (num, G)."""
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(num_games, np.full(num_games, 1 / num_games), size=num)
    return weights.astype(np.float64)


def resampled_averages(counts: Histograms | GameCounts, weights_RG: np.ndarray) -> np.ndarray:
    """Average-mAP of each row of weights, shape (R,)."""
    counts = _by_game(counts)
    return _averages(
        np.ascontiguousarray(weights_RG, dtype=np.float64),
        Sparse.of(counts.detections),
        Sparse.of(counts.hits),
        counts.num_events.astype(np.float64),
        trapezoid_weights(len(counts.tolerances_s)),
    )


class Sparse(NamedTuple):
    """The counts of all games that are not 0: nearly all are."""

    game: np.ndarray  # (N,) int64
    place: np.ndarray  # (N,) int64, flat index into the counts of a game
    value: np.ndarray  # (N,) float64
    shape: tuple[int, ...]  # of the counts of a game

    @classmethod
    def of(cls, counts_G: np.ndarray) -> "Sparse":
        """Take the counts of all games, games first."""
        flat = counts_G.reshape(len(counts_G), -1)
        game, place = flat.nonzero()
        return cls(game, place, flat[game, place].astype(np.float64), counts_G.shape[1:])


# Not a matrix product: its threads get in each other's way where several processes compute.
@njit(cache=True)
def _averages(
    weights_RG: np.ndarray,
    detections: Sparse,
    hits: Sparse,
    events_GA: np.ndarray,
    weight_D: np.ndarray,
) -> np.ndarray:
    num_games, num_actions = events_GA.shape
    with_events = (events_GA.sum(axis=0) > 0).sum()
    averages = np.zeros(len(weights_RG))
    detections_AK = np.empty(detections.shape)
    hits_ADK = np.empty(hits.shape)
    for r in range(len(weights_RG)):
        weight_G = weights_RG[r]
        _weigh(weight_G, detections, detections_AK.ravel())
        _weigh(weight_G, hits, hits_ADK.ravel())
        num_present = 0
        for a in range(num_actions):
            num_events = 0.0
            for g in range(num_games):
                num_events += weight_G[g] * events_GA[g, a]
            if num_events == 0:
                continue
            num_present += 1
            for d in range(len(weight_D)):
                averages[r] += weight_D[d] * interpolated_precision(
                    detections_AK[a], hits_ADK[a, d], num_events
                )
        if num_present > 0:
            averages[r] *= with_events / num_actions / num_present
    return averages


@njit(cache=True)
def _weigh(weight_G: np.ndarray, counts: Sparse, total: np.ndarray) -> None:
    total[:] = 0
    for i in range(len(counts.game)):
        total[counts.place[i]] += weight_G[counts.game[i]] * counts.value[i]


def _by_game(counts: Histograms | GameCounts) -> GameCounts:
    return GameCounts.of(counts) if isinstance(counts, Histograms) else counts
