"""The compiled part of the metric: spots against events on the evaluator's grid of cells.

A half is counted once, at every tolerance, into histograms over the evaluator's 200 thresholds.
Whatever is scored afterwards, any set of games with any weights, is a sum of histograms.

Shape letters besides those of `hmtas.records`:
    D  tolerances    V  visibility of the nearest event: 0 visible, 1 unshown
    K  thresholds    N, M  occupied cells of one action: of spots, of events
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

GRID_HZ = 2  # cells a second, of tight and loose
LONGEST_S = 120 * 60  # the evaluator's two hours; what comes later falls on the last cell
NUM_CELLS = LONGEST_S * GRID_HZ
THRESHOLDS = np.linspace(0, 1, 200)
NUM_LEVELS = 11  # recall 0, 0.1, ... 1
VISIBLE, UNSHOWN = 0, 1


class GridSpots(NamedTuple):
    """Spots of one half, in their order."""

    cell: np.ndarray  # (N,) int64
    action: np.ndarray  # (N,) int64
    confidence: np.ndarray  # (N,) float64


class GridEvents(NamedTuple):
    """Events of one half, in their order."""

    cell: np.ndarray  # (M,) int64
    action: np.ndarray  # (M,) int64
    side: np.ndarray  # (M,) int64, VISIBLE or UNSHOWN


class Counts(NamedTuple):
    """Where `count_half` counts: one half of `hmtas.metric.counts.Histograms`."""

    detections_AVK: np.ndarray
    events_AV: np.ndarray


def cells(time_s: np.ndarray, grid_hz: int = GRID_HZ) -> np.ndarray:
    """Cell of each moment: `int(grid_hz * time_s)`, at most the last of two hours."""
    return np.minimum((grid_hz * time_s).astype(np.int64), LONGEST_S * grid_hz - 1)


def reaches(tolerances_s: Sequence[float] | np.ndarray, grid_hz: int = GRID_HZ) -> np.ndarray:
    """(D,) cells to each side of an event, float64: half of each full width, halves included.

    At two cells a second that is the number of seconds.
    """
    reach_D: np.ndarray = np.asarray(tolerances_s, dtype=np.float64) * grid_hz / 2
    return reach_D


@njit(cache=True, nogil=True)
def threshold_bin(confidence: float) -> int:
    """Index of the highest threshold that a confidence reaches (confidence >= threshold)."""
    k = min(int(confidence * (len(THRESHOLDS) - 1)), len(THRESHOLDS) - 1)
    while k + 1 < len(THRESHOLDS) and THRESHOLDS[k + 1] <= confidence:
        k += 1
    while THRESHOLDS[k] > confidence:
        k -= 1
    return k


@njit(cache=True)
def last_of_each_cell(cell: np.ndarray, action: np.ndarray, num_actions: int) -> np.ndarray:
    """Which entry holds each cell: one value per cell and action, a later entry overwrites.

    Returns:
        (A, cells) index into `cell`, -1 where the cell is empty.
    """
    num_cells = 1 if len(cell) == 0 else cell.max() + 1
    holder = np.full((num_actions, num_cells), -1, dtype=np.int64)
    for i in range(len(cell)):
        holder[action[i], cell[i]] = i
    return holder


@njit(cache=True)
def nearest_visibility(
    spot_cell: np.ndarray, truth_cell: np.ndarray, truth_side: np.ndarray
) -> np.ndarray:
    """Visibility of the event nearest to each spot, as the evaluator sees it.

    Between events in cells a and b the border is floor((a + b) / 2), which itself belongs to b.
    In a half without an event of the action every spot counts as unshown.
    """
    side = np.full(len(spot_cell), UNSHOWN, dtype=np.int64)
    if len(truth_cell) == 0:
        return side
    j = 0
    for i in range(len(spot_cell)):
        while j + 1 < len(truth_cell) and spot_cell[i] >= (truth_cell[j] + truth_cell[j + 1]) // 2:
            j += 1
        side[i] = truth_side[j]
    return side


@njit(cache=True)
def match_cells(
    spot_cell: np.ndarray, confidence: np.ndarray, truth_cell: np.ndarray, reach: float
) -> np.ndarray:
    """Mark the correct spots of one action in one half (plainly: tests/support/slow_metric.py).

    Args:
        spot_cell: (N,) ascending cells.
        confidence: (N,) in [0, 1].
        truth_cell: (M,) ascending cells.
        reach: Cells to each side of an event (`reaches`).

    Returns:
        (N,) bool.
    """
    hit = np.zeros(len(spot_cell), dtype=np.bool_)
    first = 0
    for truth in truth_cell:
        while first < len(spot_cell) and spot_cell[first] < truth - reach:
            first += 1
        best = -1
        i = first
        while i < len(spot_cell) and spot_cell[i] <= truth + reach:
            if not hit[i] and (best < 0 or confidence[i] > confidence[best]):
                best = i
            i += 1
        if best >= 0:
            hit[best] = True
    return hit


@njit(cache=True)
def count_half(
    spots: GridSpots, events: GridEvents, reach_D: np.ndarray, counts: Counts
) -> np.ndarray:
    """Add one half to `counts`, in place.

    Returns:
        Flat index into (A, D, V, K) of every hit, int32. There are at most as many as events
        times tolerances, a few hundred where the array they point into has 80,000 numbers.
    """
    num_actions, num_sides = counts.events_AV.shape
    num_thresholds, num_tolerances = counts.detections_AVK.shape[2], len(reach_D)
    spot_of = last_of_each_cell(spots.cell, spots.action, num_actions)
    event_of = last_of_each_cell(events.cell, events.action, num_actions)
    hits = np.empty(len(events.cell) * num_tolerances, dtype=np.int32)
    num_hits = 0
    for a in range(num_actions):
        truth_cell = np.flatnonzero(event_of[a] >= 0)
        truth_side = events.side[event_of[a][truth_cell]]
        for v in truth_side:
            counts.events_AV[a, v] += 1
        cell = np.flatnonzero(spot_of[a] >= 0)
        if len(cell) == 0:
            continue
        confidence = spots.confidence[spot_of[a][cell]]
        side = nearest_visibility(cell, truth_cell, truth_side)
        for i in range(len(cell)):
            counts.detections_AVK[a, side[i], threshold_bin(confidence[i])] += 1
        if len(truth_cell) == 0:
            continue
        for d in range(num_tolerances):
            hit = match_cells(cell, confidence, truth_cell, reach_D[d])
            for n in np.flatnonzero(hit):
                row = (a * num_tolerances + d) * num_sides + side[n]
                hits[num_hits] = row * num_thresholds + threshold_bin(confidence[n])
                num_hits += 1
    return hits[:num_hits].copy()


@njit(cache=True)
def interpolated_precision(
    detections_K: np.ndarray, hits_K: np.ndarray, num_events: float
) -> float:
    """Mean over 11 recall levels of the best precision at that recall or more.

    Returns:
        Value in [0, 1]; nan without events.
    """
    if num_events == 0:
        return float(np.nan)
    best = np.zeros(NUM_LEVELS)
    level = 0
    detected = 0.0
    correct = 0.0
    for k in range(len(detections_K) - 1, -1, -1):  # from the highest threshold down
        if detections_K[k] == 0:
            continue  # the same precision and recall as one threshold above
        detected += detections_K[k]
        correct += hits_K[k]
        while level + 1 < NUM_LEVELS and correct / num_events >= (level + 1) / 10:
            level += 1
        best[level] = max(best[level], correct / detected)
    for j in range(NUM_LEVELS - 2, -1, -1):
        best[j] = max(best[j], best[j + 1])
    return float(best.sum() / NUM_LEVELS)


@njit(cache=True)
def precisions(
    detections_AK: np.ndarray, hits_ADK: np.ndarray, num_events_A: np.ndarray
) -> np.ndarray:
    """`interpolated_precision` of every tolerance and action, shape (D, A)."""
    num_actions, num_tolerances = hits_ADK.shape[:2]
    result = np.empty((num_tolerances, num_actions))
    for a in range(num_actions):
        for d in range(num_tolerances):
            result[d, a] = interpolated_precision(detections_AK[a], hits_ADK[a, d], num_events_A[a])
    return result
