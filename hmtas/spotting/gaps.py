"""NMS windows from how close the events of an action follow each other: a default, not a fit.

Hard suppression of full width w takes one of two spots of an action that are at most w / 2 apart.
So a window of twice the gap between two events loses one of them; a row less, and both stay. The
default is that window for the gap that 95 of 100 neighbours keep: where events are dense, it is
as wide as they allow, as every narrower window leaves more double detections. On invented
probabilities (`benchmarks/gaps.py`) it is on average 3 to 6 points of average precision below the
best window of an action, at 1 to 5 rows a second and gaps of 1 s to minutes; 9 s for all are 26 to
28 points below.
"""

from collections.abc import Iterable

import numpy as np

from hmtas.config import DEFAULT_WINDOW_S
from hmtas.records import Events

QUANTILE = 0.05  # of the gaps of an action
MIN_GAPS = 20  # below, this quantile is luck
WIDEST_S = 20.0  # the thesis has none wider (Section 5.3)


def windows_by_gaps(events: Iterable[Events], num_actions: int, rate_hz: float) -> np.ndarray:
    """A window for each action from the gaps between its events in each half.

    An action with too few gaps takes the median of the others, or 9 s where all have too few.

    Args:
        events: Annotations of halves, none of which is scored.
        num_actions: A, how many actions there are.
        rate_hz: Rows per second of the probabilities.

    Returns:
        (A,) full widths in seconds, from two rows to 20 s.
    """
    gaps: list[list[np.ndarray]] = [[] for _ in range(num_actions)]
    for half in events:
        for action in np.unique(half.action):
            gaps[action].append(np.diff(half.time_s[half.action == action]))
    together = [np.concatenate([np.empty(0), *of_action]) for of_action in gaps]
    told = {
        a: 2 * float(np.quantile(gap, QUANTILE)) - 1 / rate_hz
        for a, gap in enumerate(together)
        if len(gap) >= MIN_GAPS
    }
    usual = float(np.median(list(told.values()))) if told else DEFAULT_WINDOW_S
    windows_s = np.array([told.get(a, usual) for a in range(num_actions)])
    two_rows_s = np.ceil(200 / rate_hz) / 100  # not a whit less, which would be one row
    bounded_s: np.ndarray = np.clip(windows_s.round(2), two_rows_s, WIDEST_S)
    return bounded_s
