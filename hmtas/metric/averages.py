"""Average-mAP, the SoccerNet spotting metric (thesis Section 5.2), by the evaluator's rules.

Conventions
    Times are seconds from the start of the half; the evaluator looks at them on a grid, of half
    seconds unless told otherwise, one value per cell and action, and a later one overwrites an
    earlier one.
    A tolerance is the full width of the interval centred on the annotation: at tolerance 1 a spot
    counts if it is at most 0.5 s away.
    Where events share a cell, the visibility of the last one counts. `Events` are in order of
    time, the evaluator goes by the file; no published label file makes a difference.

Differences from the thesis
    Equation 5.1 prints the area under the precision-recall curve. The SoccerNet evaluator, which
    produced Tables 5.2 to 5.7, takes 200 thresholds and the mean of 11 interpolated precisions.
    This module follows the evaluator, and confidences matter, not only their order.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from hmtas.metric.counts import Histograms, histograms
from hmtas.metric.matching import GRID_HZ, UNSHOWN, VISIBLE, precisions
from hmtas.records import Events, HalfId, Score, Spots

TIGHT_S = (1, 2, 3, 4, 5)
LOOSE_S = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60)
Metric = Literal["tight", "loose"]
TOLERANCES_S: dict[Metric, tuple[int, ...]] = {"tight": TIGHT_S, "loose": LOOSE_S}
UNSHOWN_FACTOR = 17 / 13  # the evaluator's: 13 of the 17 actions have unshown test events


def score(counts: Histograms, games: Collection[str] | None = None) -> Score:
    """Average-mAP of some of the counted games, all unless given: about a millisecond.

    Raises:
        ValueError: If a game is not among the counted ones.
    """
    games = counts.games if games is None else games
    unknown = sorted(set(games) - set(counts.games))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not among the {len(counts.games)} counted games")
    chosen_H = np.array([half.game in games for half in counts.halves], dtype=np.bool_)
    tolerances_s = counts.tolerances_s
    detections_AVK = counts.detections[chosen_H].sum(axis=0, dtype=np.float64)
    hits_ADVK = counts.sum_hits(chosen_H).astype(np.float64)
    events_AV = counts.num_events[chosen_H].sum(axis=0, dtype=np.float64)
    all_DA, visible_DA, unshown_DA = (
        precisions(
            detections_AVK[:, sides].sum(axis=1),
            hits_ADVK[:, :, sides].sum(axis=2),
            events_AV[:, sides].sum(axis=1),
        )
        for sides in ([VISIBLE, UNSHOWN], [VISIBLE], [UNSHOWN])
    )
    weight_D = trapezoid_weights(len(tolerances_s))
    # The evaluator returns early for a single tolerance, before it multiplies.
    factor = UNSHOWN_FACTOR if len(tolerances_s) > 1 else 1.0
    return Score(
        tolerances_s=tolerances_s,
        average_map=float(weight_D @ official_mean(all_DA)),
        visible=float(weight_D @ official_mean(visible_DA)),
        unshown=float(weight_D @ official_mean(unshown_DA)) * factor,
        per_tolerance=official_mean(all_DA),
        per_action=weight_D @ all_DA,
        per_action_visible=weight_D @ visible_DA,
        per_action_unshown=weight_D @ unshown_DA,
        num_events=events_AV.sum(axis=1).astype(np.int64),
        num_games=len(games),
    )


def trapezoid_weights(num_tolerances: int) -> np.ndarray:
    """(D,) weights, summing to 1, of the evaluator's average, which ignores the spacing."""
    if num_tolerances == 1:
        return np.ones(1)
    weight = np.full(num_tolerances, 1 / (num_tolerances - 1))
    weight[[0, -1]] /= 2
    return weight


def official_mean(precision_DA: np.ndarray) -> np.ndarray:
    """(D,) mean over actions; one without events (nan) counts 0, as in the evaluator.

    The evaluator's values per action are those of `Score` with 0 in the place of nan.
    """
    mean: np.ndarray = np.nan_to_num(precision_DA, nan=0.0).mean(axis=1)
    return mean


def average_map(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    num_actions: int,
    tolerances_s: Sequence[float] = TIGHT_S,
    grid_hz: int = GRID_HZ,
) -> Score:
    """Score spots against events: `histograms`, then `score` over every game."""
    return score(histograms(spots, events, tolerances_s, num_actions, grid_hz))
