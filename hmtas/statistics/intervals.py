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
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hmtas.statistics.games import (
    Counts,
    GameCounts,
    check_paired,
    resampled_actions,
    resampled_averages,
)

LEVEL = 0.95
FEWEST_GAMES = 4  # with an event of an action, for an interval of its average precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """Average-mAP, or mAP, of some models, on all games and on the same resamples of them."""

    num_games: int  # G
    scores: np.ndarray  # (M,) on all games
    resamples: np.ndarray  # (R, M)

    def against(self, reference: int) -> "Resampled":
        """How much better each model is than one of them."""
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

    def reach(self, model: int) -> float:
        """How far the 95 % interval of one model extends to each side.

        Infinite for a single game, which says nothing about how games differ.
        """
        if self.num_games < 2:
            return math.inf
        return float(critical_value(self.num_games) * self.standard_errors[model])

    def interval(self, model: int) -> tuple[float, float]:
        """The interval of one model's score, within [0, 1]."""
        return clipped(float(self.scores[model]), self.reach(model))


def clipped(center: float, reach: float, lowest: float = 0.0) -> tuple[float, float]:
    """The ends of an interval, within what a score can be; `lowest` is -1 for a difference."""
    return float(max(center - reach, lowest)), float(min(center + reach, 1.0))


def resample(
    models: Sequence[Counts],
    num: int = 1000,
    seed: int = 0,
    *,
    on_model: Callable[[], None] = lambda: None,
) -> Resampled:
    """Score models on all games and on `num` resamples of them, the same for every model.

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


def bootstrap_interval(counts: Counts, num: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of Average-mAP (see above), within [0, 1], from `num` resamples."""
    return resample([counts], num, seed).interval(0)


def action_intervals(
    models: Sequence[GameCounts], num: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision of each action, the mean of some trainings of one model, with intervals.

    Only games with an event of the action say how games differ: Student's t has one degree of
    freedom less than there are such games, and fewer than `FEWEST_GAMES` give no interval. Each
    interval holds for one action; 17 of them do not hold together.

    Returns:
        Score, lower and upper end, (A,) each; nan for an action without events, or too few.
    """
    check_paired(models)
    num_games = len(models[0].games)
    weights = np.concatenate([np.ones((1, num_games)), draw_weights(num_games, num, seed)])
    found = np.mean([resampled_actions(counts, weights) for counts in models], axis=0)
    score, low, high = found[0], *np.full((2, found.shape[1]), np.nan)
    for a, games in enumerate((models[0].num_events > 0).sum(axis=0)):
        if games >= FEWEST_GAMES:
            spread = np.nanstd(found[1:, a]) * math.sqrt(num_games / (num_games - 1))
            reach = critical_value(int(games)) * spread
            low[a], high[a] = clipped(score[a], reach)
    return score, low, high


def paired_difference(
    first: Counts, second: Counts, num: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Average-mAP of `first` minus that of `second`, with its 95 % interval.

    Both are scored on the same resampled games, so that games that are hard for both cancel out.

    Returns:
        Difference, lower and upper end.

    Raises:
        InputError: If they are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    resampled = resample([first, second], num, seed).against(1)
    difference = float(resampled.scores[0])
    return difference, *clipped(difference, resampled.reach(0), lowest=-1.0)


def critical_value(num_games: int, level: float = LEVEL) -> float:
    """Standard errors to each side of one interval: a quantile of Student's t."""
    return float(as_student(NormalDist().inv_cdf((1 + level) / 2), num_games))


def as_student(normal: float | np.ndarray, num_games: int) -> np.ndarray:
    """The quantile of Student's t that belongs to a quantile >= 0 of the normal distribution.

    With one degree of freedom less than games, by the expansion of M. Abramowitz and I. Stegun,
    Handbook of Mathematical Functions, 1964, 26.7.5; for a 95 % interval that is right to 0.5 %
    from four games on, and too low for two. One game gets the normal quantile.
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


def draw_weights(num_games: int, num: int, seed: int) -> np.ndarray:
    """How often each game comes in each resample, shape (num, G)."""
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(num_games, np.full(num_games, 1 / num_games), size=num)
    return weights.astype(np.float64)
