"""What the metric counts in each half, once; every score is a sum of these counts.

Spots and events are matched by half at every tolerance (hmtas.metric.matching). The score of all
games, of a fold or of a bootstrap resample is then a sum over halves, about a millisecond
(`hmtas.metric.averages.score`, hmtas.statistics.games).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmtas.metric.matching import (
    GRID_HZ,
    LONGEST_S,
    THRESHOLDS,
    UNSHOWN,
    VISIBLE,
    Counts,
    GridEvents,
    GridSpots,
    cells,
    count_half,
    reaches,
)
from hmtas.records import Events, HalfId, Spots


@dataclass(frozen=True, kw_only=True, eq=False)
class Histograms:
    """Everything the metric needs to know of H halves; scores of any games are sums of these."""

    halves: tuple[HalfId, ...]  # (H,) sorted
    tolerances_s: np.ndarray  # (D,) float64 full widths
    # (H, A, V, K) unsigned, spots whose highest threshold is the k-th, by the visibility of the
    # nearest event
    detections: np.ndarray
    # int32, for each hit at each tolerance: its half, and its flat index into (A, D, V, K)
    hit_half: np.ndarray
    hit_bin: np.ndarray
    num_events: np.ndarray  # (H, A, V) int64 annotated cells

    @property
    def hits(self) -> np.ndarray:
        """(H, A, D, V, K) like `detections`, those of `detections` that match an event."""
        hits = np.zeros(
            (len(self.halves), int(np.prod(self._shape_of_half))), self.detections.dtype
        )
        np.add.at(hits, (self.hit_half, self.hit_bin), 1)
        return hits.reshape(len(self.halves), *self._shape_of_half)

    @property
    def _shape_of_half(self) -> tuple[int, int, int, int]:
        """(A, D, V, K), what `hit_bin` points into."""
        _, num_actions, num_sides, num_thresholds = self.detections.shape
        return num_actions, len(self.tolerances_s), num_sides, num_thresholds

    def sum_hits(self, chosen_H: np.ndarray) -> np.ndarray:
        """(A, D, V, K) int64, the sum of `hits` over some halves, by a mask."""
        shape = self._shape_of_half
        chosen = self.hit_bin[chosen_H[self.hit_half]]
        return np.bincount(chosen, minlength=int(np.prod(shape))).reshape(shape)

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
    grid_hz: int = GRID_HZ,
) -> Histograms:
    """Match every half at every tolerance.

    Args:
        spots: By half. A half that only `events` has counts as one without spots.
        events: By half. In a half that only `spots` has, every spot is wrong.
        tolerances_s: Full widths in seconds, ascending, > 0.
        num_actions: A.
        grid_hz: Cells a second.
    """
    widths = np.array(tolerances_s, dtype=np.float64)
    if widths.ndim != 1 or len(widths) == 0 or not (widths > 0).all():
        raise ValueError(f"tolerances must be one or more numbers > 0, got {tolerances_s}")
    reach_D = reaches(widths, grid_hz)
    halves = tuple(sorted(spots.keys() | events.keys()))
    # Wide enough for a spot in every cell of a game, also when its halves are summed.
    most_halves = max(Counter(half.game for half in halves).values(), default=1)
    unsigned = np.min_scalar_type(LONGEST_S * grid_hz * most_halves)
    detections = np.zeros((len(halves), num_actions, 2, len(THRESHOLDS)), unsigned)
    num_events = np.zeros((len(halves), num_actions, 2), np.int64)
    hits = [np.empty(0, np.int32)]
    for h, half in enumerate(halves):
        spot = spots.get(half) or Spots.empty(half)
        event = events.get(half) or Events.empty(half)
        for action in (spot.action, event.action):
            # The compiled loops would write outside their arrays.
            if len(action) and not 0 <= action.min() <= action.max() < num_actions:
                raise ValueError(f"{half}: an action is not one of the {num_actions}")
        hits_of_half = count_half(
            GridSpots(
                cell=cells(spot.time_s, grid_hz),
                action=np.array(spot.action, dtype=np.int64),
                confidence=np.array(spot.confidence, dtype=np.float64),
            ),
            GridEvents(
                cell=cells(event.time_s, grid_hz),
                action=np.array(event.action, dtype=np.int64),
                side=np.where(event.visible, VISIBLE, UNSHOWN),
            ),
            reach_D,
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
