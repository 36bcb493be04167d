"""mAP by frames in the plainest words: every prediction in turn looks at every event."""

import math
from collections.abc import Mapping

import numpy as np

from hmtas.records import Events, HalfId, Spots


def slow_frame_precision(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    action: int,
    tolerance: int,
    fps: float,
    *,
    times: Mapping[str, int] | None = None,
) -> float:
    """Average precision of one action; nan without events.

    `times` says how often each game counts: as many copies of its halves, each a video of its own,
    their equal spots one after another.
    """
    predictions: list[tuple[float, HalfId, int, int]] = []
    free: dict[tuple[HalfId, int], list[int]] = {}
    num_truth = 0
    for half in sorted(events):
        copies = range(1 if times is None else times[half.game])
        event, spot = events[half], spots[half]
        truth = [math.floor(t * fps + 0.5) for t in event.time_s[event.action == action].tolist()]
        num_truth += len(truth) * len(copies)
        free |= {(half, copy): truth for copy in copies}
        for time_s, a, confidence in zip(
            spot.time_s.tolist(), spot.action, spot.confidence, strict=True
        ):
            if a == action:
                frame = math.floor(time_s * fps + 0.5)
                predictions += [(confidence, half, copy, frame) for copy in copies]
    if num_truth == 0:
        return float("nan")
    predictions.sort(key=lambda one: -one[0])
    precision = []
    for rank, (_, half, copy, frame) in enumerate(predictions, start=1):
        left = free[half, copy]
        if not left:
            continue
        nearest = min(left, key=lambda truth: abs(truth - frame))  # the first of equals
        if abs(nearest - frame) <= tolerance:
            free[half, copy] = [truth for truth in left if truth != nearest]
            precision.append((len(precision) + 1) / rank)
    best = [max(precision[i:]) for i in range(len(precision))]
    return float(np.sum(best) / num_truth)
