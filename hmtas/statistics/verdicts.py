"""Better, worse or cannot tell: any number of models against one of them.

Fifty comparisons at 95 % find two "better" models among equals. The intervals here are therefore
simultaneous: under the null all of them together hold the truth in 95 % of cases. Each
is the difference and q standard errors to each side, where q is the 95 % quantile, over the
resamples, of the largest standardised difference of any comparison: max-T, P. Westfall and
S. Young, Resampling-Based Multiple Testing, 1993, chapter 2. As models that are scored on the same
games err together, this asks for less than Bonferroni or Holm do.

A reference that was picked for its score on these very games is another matter: it looks better
than its equals by having been picked. Then the largest difference of any two models counts,
whichever would have been picked (the studentised range of J. Tukey, by the same resamples).
"""

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np

from hmtas.statistics.intervals import LEVEL, Resampled, as_student

Verdict = Literal["better", "worse", "cannot tell"]

POWER = 0.8
MOST_GAMES = 10_000  # more are never available, and the approximation would be meaningless


@dataclass(frozen=True)
class Comparison:
    """One model against the reference, in shares of 1."""

    difference: float  # the model minus the reference
    low: float  # simultaneous 95 % interval; -1 to 1 for a single game, which says nothing
    high: float
    standard_error: float
    p_value: float  # corrected for the number of comparisons; two-sided
    verdict: Verdict  # on the model
    games_needed: int | None  # more than there are if they cannot tell; None: over MOST_GAMES


def compare_to(resampled: Resampled, reference: int, *, picked: bool) -> dict[int, Comparison]:
    """Compare every other model with one of them.

    Args:
        resampled: Scores of two or more models.
        reference: Index of the model to compare with.
        picked: Was it chosen for its score on these games? No if other games chose it, or if it
            was named beforehand.

    Returns:
        By index of the model, without the reference.
    """
    num_models = len(resampled.scores)
    others = [m for m in range(num_models) if m != reference]
    pairs = [(m, reference) for m in others]
    normal = NormalDist().inv_cdf((1 + LEVEL) / 2)
    largest = _largest(resampled, list(combinations(range(num_models), 2)) if picked else pairs)
    # With a single comparison there is nothing to correct for, and no need of resampled tails.
    quantile = normal if num_models == 2 else max(normal, float(np.quantile(largest, LEVEL)))
    against = resampled.against(reference)
    errors = against.standard_errors
    return {
        m: _compare(
            float(against.scores[m]),
            float(errors[m]),
            quantile=quantile,
            largest=None if num_models == 2 else largest,
            num_games=resampled.num_games,
        )
        for m in others
    }


def games_needed(
    difference: float, standard_error: float, num_games: int, quantile: float
) -> int | None:
    """Games of the same kind on which a difference of this size would be told from none.

    The assumption is that the true difference is the one observed, and each game adds as much to
    the variance as these `num_games` do on average (normal approximation). Then a new set of that
    many games gives a verdict with 80 % probability. `quantile` is the half-width of the interval
    of many games, in standard errors.

    Returns:
        Their number; None if it is above `MOST_GAMES`.
    """
    if difference == 0:
        return None
    from_zero = quantile + NormalDist().inv_cdf(POWER)
    needed = num_games * (from_zero * standard_error / difference) ** 2
    return max(math.ceil(needed), 1) if needed <= MOST_GAMES else None


def _compare(
    difference: float,
    standard_error: float,
    *,
    quantile: float,
    largest: np.ndarray | None,
    num_games: int,
) -> Comparison:
    if num_games < 2:
        return Comparison(difference, -1.0, 1.0, standard_error, 1.0, "cannot tell", None)
    # Few games: the standard error is not known but estimated, the wider the tail the more so.
    reach = float(as_student(quantile, num_games)) * standard_error
    low, high = difference - reach, difference + reach
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    statistic = _in_errors(difference, standard_error, num_games)
    p_value = 2 * (1 - NormalDist().cdf(statistic))
    needed = games_needed(difference, standard_error, num_games, quantile)
    if verdict == "cannot tell" and needed is not None and needed <= num_games:
        # The games are too few for the normal approximation; Student's t asks for more than they.
        wide = float(as_student(quantile, num_games))
        needed = games_needed(difference, standard_error, num_games, wide)
    if largest is not None:
        # One more than were drawn, so that no p-value is 0: the observed one is possible too.
        p_value = max(p_value, float((1 + (largest >= statistic).sum()) / (1 + len(largest))))
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        standard_error=standard_error,
        p_value=p_value,
        verdict=verdict,
        games_needed=needed,
    )


def _in_errors(difference: float, standard_error: float, num_games: int) -> float:
    """The normal quantile that the size of a difference is equal to; 0 for no difference."""
    if difference == 0:
        return 0.0
    if standard_error == 0:
        return math.inf
    normal = np.linspace(0, 40, 4001)
    student = as_student(normal, num_games)
    return float(np.interp(abs(difference) / standard_error, student, normal))


def _largest(resampled: Resampled, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Largest standardised difference of any pair, by resample (R,), as if all were equal."""
    noise_RM = resampled.resamples - resampled.resamples.mean(axis=0)
    largest = np.zeros(len(noise_RM))
    for first, second in pairs:
        difference = noise_RM[:, first] - noise_RM[:, second]
        error = difference.std()
        if error > 0:
            np.maximum(largest, np.abs(difference) / error, out=largest)
    return largest
