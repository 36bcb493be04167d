"""What the metric counts in each half, once; every score is a sum of these counts.

Spots and events are matched by half at every tolerance (hmtas.metric.matching). A score of some
games, a fold or a bootstrap resample is then a weighted sum over halves, about a millisecond
(`hmtas.metric.averages.score`, hmtas.statistics.games).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmtas.metric.matching import (
    THRESHOLDS,
    UNSHOWN,
    VISIBLE,
    Counts,
    GridEvents,
    GridSpots,
    cells,
    count_half,
    threshold_bins,
    weighted_sum,
)
from hmtas.records import Events, HalfId, Spots


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
