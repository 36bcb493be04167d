"""Every row has a window, centred as stated, and targets follow from the rows it covers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtas.model.windows import window_rows, window_targets
from hmtas.records import Events, HalfId

HALF = HalfId("game", 1)


def make_events(times: list[float], actions: list[int]) -> Events:
    return Events(
        half=HALF,
        time_s=np.array(times),
        action=np.array(actions, dtype=np.int64),
        visible=np.ones(len(times), dtype=np.bool_),
    )


@pytest.mark.parametrize(
    ("seq_len", "expected"),
    [
        pytest.param(1, [[0], [1], [2], [3]], id="one row is its own window"),
        pytest.param(3, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]], id="edges repeat"),
        pytest.param(2, [[0, 0], [0, 1], [1, 2], [2, 3]], id="even: one more before the centre"),
    ],
)
def test_window_rows(seq_len: int, expected: list[list[int]]) -> None:
    assert window_rows(4, seq_len).tolist() == expected


def test_a_goal_at_1834_marks_the_windows_of_1833_to_1835() -> None:
    target = window_targets(make_events([1834.4], [2]), 2700, 3, 17)
    assert np.flatnonzero(target[:, 3]).tolist() == [1833, 1834, 1835]
    assert np.flatnonzero(target[:, 0] == 0).tolist() == [1833, 1834, 1835]
    assert target.shape == (2700, 18)


@given(
    num_rows=st.integers(1, 30),
    seq_len=st.integers(1, 9),
    times=st.lists(st.floats(0, 40), max_size=5),
)
def test_a_window_is_positive_where_one_of_its_rows_holds_the_event(
    num_rows: int, seq_len: int, times: list[float]
) -> None:
    times.sort()
    events = make_events(times, [i % 2 for i in range(len(times))])
    target = window_targets(events, num_rows, seq_len, 2)
    for t in range(num_rows):
        covered = set(range(t - seq_len // 2, t - seq_len // 2 + seq_len))
        for action in range(2):
            rows = [min(int(s), num_rows - 1) for s in events.time_s[events.action == action]]
            assert target[t, 1 + action] == any(row in covered for row in rows)
        assert target[t, 0] == (target[t, 1:].sum() == 0)


def test_two_rows_a_second() -> None:
    target = window_targets(make_events([3.5], [0]), 20, 1, 1, rate_hz=2.0)
    assert np.flatnonzero(target[:, 1]).tolist() == [7]
