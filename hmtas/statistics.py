"""How sure a score is: bootstrap over games, and paired differences of two models.

Seconds of one game resemble each other, games hardly do: the game is what is resampled. A resample
is a weight per game, and a score is a weighted sum of histograms, so that a thousand resamples
are one matrix product.

Differences from the official number
    A resample without any event of an action says nothing about that action, where the official
    mean would count it 0 and pull the whole interval down. The mean is taken over the other
    actions instead, and scaled by the share of actions that have events in all games; with every
    game counted once that is the official number.
"""

from collections.abc import Iterator

import numpy as np

from hmtas.errors import InputError
from hmtas.matching import precisions
from hmtas.metrics import Histograms, trapezoid_weights

LEVEL = 0.95
_AT_ONCE = 50  # resamples per matrix product: bounds its memory


def bootstrap_interval(
    counts: Histograms, num: int = 1000, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of Average-mAP over resampled games, around the score of all of them.

    Args:
        counts: From `hmtas.metrics.histograms`.
        num: Resamples.
        seed: The same seed draws the same games for every model.
        level: Share of the resamples inside.
    """
    averages = resampled_averages(counts, _once_and_drawn(counts, num, seed))
    low, high = _interval(averages[0], averages[1:], level)
    return max(low, 0.0), min(high, 1.0)


def paired_difference(
    first: Histograms, second: Histograms, num: int = 1000, seed: int = 0, level: float = LEVEL
) -> tuple[float, float, float]:
    """Average-mAP of `first` minus that of `second`, with its interval.

    Both are scored on the same resampled games, so that games that are hard for both cancel out.

    Returns:
        Difference, lower and upper end.

    Raises:
        InputError: If they are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    if first.games != second.games:
        alone = sorted(set(first.games) ^ set(second.games))
        raise InputError(
            "a paired difference needs two models on the same games, but "
            f"{len(alone)} games, the first {alone[0]!r}, are scored for one of them only"
        )
    same_tolerances = np.array_equal(first.tolerances_s, second.tolerances_s)
    if not same_tolerances or first.num_events.shape[1] != second.num_events.shape[1]:
        raise ValueError("a paired difference needs the same tolerances and the same actions")
    weights = _once_and_drawn(first, num, seed)
    difference = resampled_averages(first, weights) - resampled_averages(second, weights)
    return (float(difference[0]), *_interval(difference[0], difference[1:], level))


def draw_weights(num_games: int, num: int, seed: int) -> np.ndarray:
    """How often each game comes in each resample, shape (num, G)."""
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(num_games, np.full(num_games, 1 / num_games), size=num)
    return weights.astype(np.float64)


def resampled_averages(counts: Histograms, weights_RG: np.ndarray) -> np.ndarray:
    """Average-mAP of each row of weights, shape (R,)."""
    num_actions, num_tolerances = counts.hits.shape[1:3]
    events_GA = _by_game(counts, counts.num_events.sum(axis=2))
    detections_GX = _flat(_by_game(counts, counts.detections.sum(axis=2, dtype=np.float64)))
    # Counts of hits are exact in float32: no more than there are events.
    hits_GX = _flat(_by_game(counts, counts.hits.sum(axis=3, dtype=np.float32)))
    share = (events_GA.sum(axis=0) > 0).mean()
    weight_D = trapezoid_weights(num_tolerances)
    averages = []
    for weights in _chunks(weights_RG):
        detections = weights @ detections_GX
        hits = (weights.astype(np.float32) @ hits_GX).reshape(
            len(weights), num_actions, num_tolerances, -1
        )
        for r, num_events_A in enumerate(weights @ events_GA):
            precision_DA = precisions(detections[r].reshape(num_actions, -1), hits[r], num_events_A)
            averages.append(share * _mean_present(weight_D @ precision_DA))
    return np.array(averages)


def _mean_present(precision_A: np.ndarray) -> float:
    """Mean over the actions that have events; 0 where none has."""
    present = precision_A[~np.isnan(precision_A)]
    return float(present.mean()) if len(present) else 0.0


def _chunks(weights_RG: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(weights_RG), _AT_ONCE):
        yield weights_RG[start : start + _AT_ONCE]


def _by_game(counts: Histograms, values_H: np.ndarray) -> np.ndarray:
    """Sum the halves of each game."""
    total = np.zeros((len(counts.games), *values_H.shape[1:]), dtype=values_H.dtype)
    np.add.at(total, counts.game_of_half, values_H)
    return total


def _flat(values_G: np.ndarray) -> np.ndarray:
    return values_G.reshape(len(values_G), -1)


def _once_and_drawn(counts: Histograms, num: int, seed: int) -> np.ndarray:
    """Every game once, then the resamples; shape (1 + num, G)."""
    once = np.ones((1, len(counts.games)))
    return np.concatenate([once, draw_weights(len(counts.games), num, seed)])


def _interval(score: float, resampled: np.ndarray, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) + (score - resampled.mean())
    return float(low), float(high)
