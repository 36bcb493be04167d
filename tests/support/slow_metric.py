"""The metric in the plainest words, one action at a time: what the fast one is compared with."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from hmtas.metric.matching import THRESHOLDS
from hmtas.records import Events, HalfId, Spots

RECALL_LEVELS = np.arange(11) / 10


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


def average_maps(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    num_actions: int,
    tolerances_s: Sequence[float],
    grid_hz: int,
) -> tuple[float, list[float]]:
    """Average-mAP, and the precision of each action (0 without events), in whole cells.

    Several tolerances are averaged as the evaluator does: over neighbours, then over the pairs.
    """
    per_tolerance: list[list[float]] = []
    for tolerance_s in tolerances_s:
        per_tolerance.append([])
        for a in range(num_actions):
            hits, confidences, num_truth = [np.empty(0, dtype=bool)], [np.empty(0)], 0
            for half, event in events.items():
                in_cell: dict[int, float] = {}
                spot = spots[half]
                for time_s, action, confidence in zip(
                    spot.time_s, spot.action, spot.confidence, strict=True
                ):
                    if action == a:
                        in_cell[int(time_s * grid_hz)] = confidence
                cell = np.array(sorted(in_cell))
                confidence_N = np.array([in_cell[c] for c in sorted(in_cell)])
                truth = np.array(
                    sorted({int(t * grid_hz) for t in event.time_s[event.action == a]})
                )
                hits.append(match_spots(cell, confidence_N, truth, tolerance_s * grid_hz))
                confidences.append(confidence_N)
                num_truth += len(truth)
            found = average_precision(np.concatenate(confidences), np.concatenate(hits), num_truth)
            per_tolerance[-1].append(0.0 if np.isnan(found) else found)
    if len(per_tolerance) > 1:
        pairs = pairwise(per_tolerance)
        per_tolerance = [[(x + y) / 2 for x, y in zip(*pair, strict=True)] for pair in pairs]
    per_action = np.mean(per_tolerance, axis=0)
    return float(per_action.mean()), per_action.tolist()
