"""A default window is as wide as the gaps between events of its action allow, and no wider."""

from collections.abc import Sequence

import numpy as np
import pytest

from hmtas.records import Events, HalfId, Probabilities
from hmtas.spotting.gaps import MIN_GAPS, windows_by_gaps
from hmtas.spotting.nms import non_max_suppression


def every(step_s: float, num: int = MIN_GAPS + 1, *, half: int = 1, action: int = 0) -> Events:
    """Events of one action, a step apart."""
    return by_hand([i * step_s for i in range(num)], [action] * num, half=half)


def by_hand(time_s: Sequence[float], action: Sequence[int], *, half: int = 1) -> Events:
    return Events(
        half=HalfId("a", half),
        time_s=np.array(time_s, np.float64),
        action=np.array(action, np.int64),
        visible=np.ones(len(action), np.bool_),
    )


@pytest.mark.parametrize(
    ("step_s", "rate_hz", "window_s"),
    [
        (2.0, 1.0, 3.0),  # 2 * 2 s less a row
        (2.0, 2.0, 3.5),
        (2.0, 25.0, 3.96),
        (1.0, 1.0, 2.0),  # 1 s would be less than two rows
        (0.02, 25.0, 0.08),
        (0.02, 2.0833, 0.97),  # up: 0.96 s are 1.99997 rows
        (10.5, 1.0, 20.0),
        (300.0, 1.0, 20.0),  # no wider than any of the thesis
    ],
)
def test_a_window_is_twice_the_gap_less_a_row_within_bounds(
    step_s: float, rate_hz: float, window_s: float
) -> None:
    assert windows_by_gaps([every(step_s)], 1, rate_hz).tolist() == [window_s]


@pytest.mark.parametrize("step_rows", [2, 3, 4, 7])
@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 25 / 12, 25.0])
def test_suppression_leaves_both_of_two_spots_that_are_a_usual_gap_apart(
    step_rows: int, rate_hz: float
) -> None:
    events = every(step_rows / rate_hz)
    windows_s = windows_by_gaps([events], 1, rate_hz)
    values = np.full((step_rows * len(events.time_s), 1), 0.1, np.float32)
    values[::step_rows] = 0.9
    found = non_max_suppression(
        Probabilities(half=events.half, values=values, rate_hz=rate_hz), windows_s, 0.5
    )
    assert len(found.time_s) == len(events.time_s)


def test_one_gap_in_twenty_may_be_narrower() -> None:
    times = np.cumsum([0.0, 1.0, *[5.0] * 39])  # 1 of 40 gaps is short
    assert windows_by_gaps([by_hand(times, [0] * 41)], 1, 1.0).tolist() == [9.0]
    times = np.cumsum([0.0, *[1.0] * 6, *[5.0] * 34])
    assert windows_by_gaps([by_hand(times, [0] * 41)], 1, 1.0).tolist() == [2.0]


def test_only_gaps_between_events_of_one_action_and_one_half_count() -> None:
    both = by_hand([t for i in range(25) for t in (4.0 * i, 4.0 * i + 0.5)], [0, 1] * 25)
    halves = [every(3.0, 11, half=half) for half in (1, 2, 3)]  # 10 gaps each
    assert windows_by_gaps([both], 2, 1.0).tolist() == [7.0, 7.0]
    assert windows_by_gaps(halves, 1, 1.0).tolist() == [5.0]
    assert windows_by_gaps(halves[:1], 1, 1.0).tolist() == [9.0], "10 gaps say nothing"


def test_an_action_that_is_too_rare_takes_the_median_of_the_others_else_9_s() -> None:
    events = [every(step, action=a) for a, step in enumerate((2.0, 3.0, 5.0))]
    events += [every(1.0, MIN_GAPS, action=3)]  # a gap too few
    assert windows_by_gaps(events, 5, 1.0).tolist() == [3.0, 5.0, 9.0, 5.0, 5.0]
    assert windows_by_gaps(events[3:], 5, 1.0).tolist() == [9.0] * 5
    assert windows_by_gaps([], 2, 1.0).tolist() == [9.0, 9.0]
    assert windows_by_gaps([], 1, 0.1).tolist() == [20.0], "two rows, but no wider than 20 s"


def test_events_at_one_moment_leave_a_window_of_two_rows() -> None:
    assert windows_by_gaps([every(0.0, 30)], 1, 2.0).tolist() == [1.0]
