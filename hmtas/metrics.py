"""Average-mAP, the SoccerNet spotting metric (thesis Section 5.2), by the evaluator's rules.

Conventions
    Times are seconds from the start of the half; the evaluator looks at them on a grid of half
    seconds, one value per cell and action, and a later one overwrites an earlier one.
    A tolerance is the full width of the interval centred on the annotation: at tolerance 1 a spot
    counts if it is at most 0.5 s away.
    Where events share a cell, the visibility of the last one counts. `Events` are in order of
    time, the evaluator goes by the file; no published label file makes a difference.

Differences from the thesis
    Equation 5.1 prints the area under the precision-recall curve. The SoccerNet evaluator, which
    produced Tables 5.2 to 5.7, takes 200 thresholds and the mean of 11 interpolated precisions.
    This module follows the evaluator, and confidences matter, not only their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmtas.matching import (
    THRESHOLDS,
    UNSHOWN,
    VISIBLE,
    Counts,
    GridEvents,
    GridSpots,
    cells,
    count_half,
    precisions,
    threshold_bins,
    weighted_sum,
)
from hmtas.records import Events, HalfId, Score, Spots

TIGHT_S = (1, 2, 3, 4, 5)
LOOSE_S = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60)
RECALL_LEVELS = np.arange(11) / 10
UNSHOWN_FACTOR = 17 / 13  # the evaluator's: 13 of the 17 actions have unshown test events


def match_spots(
    spot_s: np.ndarray, confidence: np.ndarray, truth_s: np.ndarray, tolerance_s: float
) -> np.ndarray:
    """Mark which spots of one action in one half are correct.

    Each annotation, in order of time, takes the most confident free spot in reach; of equals,
    the first.

    Args:
        spot_s: (N,) times of the spots on the grid, in seconds, ascending.
        confidence: (N,) in [0, 1].
        truth_s: (M,) times of the annotations on the grid, in seconds, ascending.
        tolerance_s: Full width of the accepted interval, in seconds, > 0.

    Returns:
        (N,) bool, at most M of them true.
    """
    hit = np.zeros(len(spot_s), dtype=np.bool_)
    for time_s in truth_s:
        in_reach = ~hit & (np.abs(spot_s - time_s) <= tolerance_s / 2)
        if in_reach.any():
            hit[np.argmax(np.where(in_reach, confidence, -1.0))] = True
    return hit


def average_precision(confidence: np.ndarray, hit: np.ndarray, num_truth: int) -> float:
    """11-point interpolated average precision of one action over all halves.

    Args:
        confidence: (N,) in [0, 1], spots of every half, in any order.
        hit: (N,) bool from `match_spots`.
        num_truth: Annotations of the action over the same halves.

    Returns:
        Value in [0, 1], or nan when the action has no annotation (nothing to measure).
    """
    if num_truth == 0:
        return float("nan")
    kept = confidence[:, None] >= THRESHOLDS
    num_hits = (kept & hit[:, None]).sum(axis=0)
    precision = num_hits / np.maximum(kept.sum(axis=0), 1)
    recall = num_hits / num_truth
    reached = recall >= RECALL_LEVELS[:, None]
    return float(np.where(reached, precision, 0.0).max(axis=1).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Histograms:
    """Everything the metric needs of a set of halves; scores of any games are sums of these.

    Attributes:
        halves: (H,) the halves, sorted.
        tolerances_s: (D,) float64 full widths in seconds.
        detections: (H, A, V, K) uint16, spots whose highest threshold is the k-th, by the
            visibility (0 visible, 1 unshown) of the nearest event.
        hit_half: int32, one for each hit at each tolerance: the half it is in.
        hit_bin: int32, the same length: its flat index into (A, D, V, K).
        num_events: (H, A, V) int64, annotated cells.
    """

    halves: tuple[HalfId, ...]
    tolerances_s: np.ndarray
    detections: np.ndarray
    hit_half: np.ndarray
    hit_bin: np.ndarray
    num_events: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """(H, A, D, V, K) uint16, those of `detections` that match an event."""
        hits = np.zeros((len(self.halves), int(np.prod(self._shape_of_half))), np.uint16)
        np.add.at(hits, (self.hit_half, self.hit_bin), 1)
        return hits.reshape(len(self.halves), *self._shape_of_half)

    @property
    def _shape_of_half(self) -> tuple[int, int, int, int]:
        """(A, D, V, K), what `hit_bin` points into."""
        _, num_actions, num_sides, num_thresholds = self.detections.shape
        return num_actions, len(self.tolerances_s), num_sides, num_thresholds

    def weighted_detections(self, weight_H: np.ndarray) -> np.ndarray:
        """(A, V, K) float64, the sum over halves, each times its weight."""
        flat = self.detections.reshape(len(self.halves), -1)
        return weighted_sum(flat, weight_H).reshape(self.detections.shape[1:])

    def weighted_hits(self, weight_H: np.ndarray) -> np.ndarray:
        """(A, D, V, K) float64, the sum over halves, each times its weight."""
        shape = self._shape_of_half
        weights = weight_H[self.hit_half]
        total = np.bincount(self.hit_bin, weights, minlength=int(np.prod(shape)))
        return total.reshape(shape)

    @cached_property
    def games(self) -> tuple[str, ...]:
        """The games, sorted."""
        return tuple(sorted({half.game for half in self.halves}))

    @cached_property
    def game_of_half(self) -> np.ndarray:
        """(H,) index into `games`."""
        index = {game: g for g, game in enumerate(self.games)}
        return np.array([index[half.game] for half in self.halves], dtype=np.int64)


def histograms(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    tolerances_s: Sequence[float],
    num_actions: int,
) -> Histograms:
    """Match every half at every tolerance.

    Args:
        spots: By half. A half that only `events` has counts as one without spots.
        events: By half. In a half that only `spots` has, every spot is wrong.
        tolerances_s: Full widths in seconds, ascending, > 0.
        num_actions: A.
    """
    widths = np.array(tolerances_s, dtype=np.float64)
    if widths.ndim != 1 or len(widths) == 0 or not (widths > 0).all():
        raise ValueError(f"tolerances must be one or more numbers > 0, got {tolerances_s}")
    halves = tuple(sorted(spots.keys() | events.keys()))
    detections = np.zeros((len(halves), num_actions, 2, len(THRESHOLDS)), np.uint16)
    num_events = np.zeros((len(halves), num_actions, 2), np.int64)
    hits = [np.empty(0, np.int32)]
    for h, half in enumerate(halves):
        spot = spots.get(half) or Spots.empty(half)
        event = events.get(half) or Events.empty(half)
        _check_actions(half, spot.action, event.action, num_actions)
        confidence = np.array(spot.confidence, dtype=np.float64)
        hits_of_half = count_half(
            GridSpots(
                cell=cells(spot.time_s),
                action=np.array(spot.action, dtype=np.int64),
                confidence=confidence,
                bin=threshold_bins(confidence),
            ),
            GridEvents(
                cell=cells(event.time_s),
                action=np.array(event.action, dtype=np.int64),
                side=np.where(event.visible, VISIBLE, UNSHOWN),
            ),
            widths,
            Counts(detections[h], num_events[h]),
        )
        hits.append(hits_of_half)
    return Histograms(
        halves=halves,
        tolerances_s=widths,
        detections=detections,
        hit_half=np.repeat(np.arange(len(halves), dtype=np.int32), [len(h) for h in hits[1:]]),
        hit_bin=np.concatenate(hits),
        num_events=num_events,
    )


def merge(parts: Sequence[Histograms]) -> Histograms:
    """Put the halves of several counts together, as if they had been counted at once.

    Args:
        parts: One or more, without a half in common.

    Raises:
        ValueError: If tolerances or actions differ, or a half is in two of them.
    """
    first = parts[0]
    halves = [half for part in parts for half in part.halves]
    if len(set(halves)) < len(halves):
        raise ValueError("a half is counted in two of the histograms")
    for part in parts:
        same_tolerances = np.array_equal(part.tolerances_s, first.tolerances_s)
        if not same_tolerances or part.num_events.shape[1:] != first.num_events.shape[1:]:
            raise ValueError("histograms of other tolerances or actions cannot be merged")
    order = sorted(range(len(halves)), key=lambda h: halves[h])
    place = np.empty(len(halves), dtype=np.int32)
    place[order] = np.arange(len(halves))
    starts = np.cumsum([0, *(len(part.halves) for part in parts)])
    hit_half = [part.hit_half + start for part, start in zip(parts, starts, strict=False)]
    return Histograms(
        halves=tuple(halves[h] for h in order),
        tolerances_s=first.tolerances_s,
        detections=np.concatenate([part.detections for part in parts])[order],
        hit_half=place[np.concatenate(hit_half)],
        hit_bin=np.concatenate([part.hit_bin for part in parts]),
        num_events=np.concatenate([part.num_events for part in parts])[order],
    )


def _check_actions(half: HalfId, spots: np.ndarray, events: np.ndarray, num_actions: int) -> None:
    """The compiled loops would write outside their arrays."""
    for action in (spots, events):
        if len(action) and not 0 <= action.min() <= action.max() < num_actions:
            raise ValueError(f"{half}: an action is not one of the {num_actions}")


def score(
    counts: Histograms,
    games: Sequence[str] | None = None,
    weights: Sequence[float] | np.ndarray | None = None,
) -> Score:
    """Average-mAP of some games: a sum of histograms, about a millisecond.

    Args:
        counts: From `histograms`.
        games: Those to score, all unless given; a game named twice counts twice.
        weights: A number >= 0 for each of `games` (or of `counts.games`), 1 unless given.

    Raises:
        ValueError: If a game is not among the counted ones, or a weight is negative.
    """
    games = counts.games if games is None else games
    weight = np.ones(len(games)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != (len(games),) or (weight < 0).any():
        raise ValueError(f"weights must be {len(games)} numbers >= 0, one for each game")
    index = {game: g for g, game in enumerate(counts.games)}
    unknown = [game for game in games if game not in index]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not among the {len(index)} counted games")
    weight_G = np.zeros(len(index))
    np.add.at(weight_G, [index[game] for game in games], weight)
    weight_H = weight_G[counts.game_of_half]
    return _score(
        counts.weighted_detections(weight_H),
        counts.weighted_hits(weight_H),
        np.tensordot(weight_H, counts.num_events, axes=1),
        counts.tolerances_s,
        num_games=len(games),
    )


def _score(
    detections_AVK: np.ndarray,
    hits_ADVK: np.ndarray,
    events_AV: np.ndarray,
    tolerances_s: np.ndarray,
    num_games: int,
) -> Score:
    all_DA, visible_DA, unshown_DA = (
        precisions(detections, hits, events)
        for detections, hits, events in (
            (detections_AVK.sum(axis=1), hits_ADVK.sum(axis=2), events_AV.sum(axis=1)),
            *(
                (detections_AVK[:, v].copy(), hits_ADVK[:, :, v].copy(), events_AV[:, v].copy())
                for v in (VISIBLE, UNSHOWN)
            ),
        )
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
        num_games=num_games,
    )


def trapezoid_weights(num_tolerances: int) -> np.ndarray:
    """(D,) weights, summing to 1, of the evaluator's average over equally spaced tolerances."""
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
) -> Score:
    """Score spots against events: `histograms`, then `score` over every game."""
    return score(histograms(spots, events, tolerances_s, num_actions))
