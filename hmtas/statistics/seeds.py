"""Trainings of one candidate that differ only in their seed: their mean and their noise."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import Resampled, resample


class Candidates(NamedTuple):
    """Candidates, each the mean of its trainings."""

    groups: list[list[int]]  # the trainings of each candidate, as indices into all trainings
    trainings: list[tuple[float, ...]]  # score of each training, by candidate
    deviation: float | None  # as `seed_deviation` says
    means: Resampled  # the candidates


def resample_candidates(
    counts: Sequence[Sequence[GameCounts]],
    num: int = 1000,
    *,
    seed_noise: bool = True,
    on_training: Callable[[], None] = lambda: None,
) -> Candidates:
    """Score candidates by all their trainings, on all games and on resampled ones.

    Args:
        counts: The trainings of each candidate, counted on the same games.
        num: Number of resamples.
        seed_noise: Add the noise of the seeds to the resamples; without it they vary with the
            games only.
        on_training: Called after each training.

    Raises:
        InputError: If they are not counted on the same games.
    """
    ends = accumulate(len(group) for group in counts)
    groups = [list(range(end - len(group), end)) for end, group in zip(ends, counts, strict=True)]
    resampled = resample([one for group in counts for one in group], num, on_model=on_training)
    deviation = seed_deviation(resampled.scores, groups)
    return Candidates(
        groups=groups,
        trainings=[tuple(resampled.scores[group].tolist()) for group in groups],
        deviation=deviation,
        means=average_seeds(resampled, groups, deviation=(deviation or 0.0) if seed_noise else 0.0),
    )


def seed_deviation(scores_M: np.ndarray, groups: Sequence[Sequence[int]]) -> float | None:
    """Standard deviation between trainings that differ only in their seed, pooled.

    Returns:
        None if no candidate was trained twice.
    """
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return None
    squares = sum(((scores_M[list(g)] - scores_M[list(g)].mean()) ** 2).sum() for g in groups)
    return float(np.sqrt(squares / freedom))


def average_seeds(
    resampled: Resampled,
    groups: Sequence[Sequence[int]],
    *,
    deviation: float = 0.0,
) -> Resampled:
    """Candidates instead of trainings: the mean of each group takes its place.

    A `deviation` between trainings that differ only in their seed is added to the resamples as
    noise; with 0 they vary with the games only.
    """
    rng = np.random.default_rng(0)
    means = [resampled.resamples[:, list(group)].mean(axis=1) for group in groups]
    noise = [
        rng.normal(0, deviation / np.sqrt(len(group)), len(resampled.resamples)) for group in groups
    ]
    return Resampled(
        num_games=resampled.num_games,
        scores=np.array([resampled.scores[list(group)].mean() for group in groups]),
        resamples=np.stack(means, axis=1) + np.stack(noise, axis=1),
    )
