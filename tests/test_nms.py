"""Suppression keeps exactly the rows that the plain greedy rule keeps, ties to the earliest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.nms import non_max_suppression
from hmtas.records import HalfId, Probabilities

HALF = HalfId("league/season/game", 1)


def probabilities(*columns: list[float], rate_hz: float = 1.0) -> Probabilities:
    return Probabilities(
        half=HALF, values=np.array(columns, dtype=np.float32).T.copy(), rate_hz=rate_hz
    )


def kept_rows(column: list[float], window_s: float, kind: str = "hard") -> list[float]:
    found = non_max_suppression(
        probabilities(column),
        np.array([window_s]),
        0.0,
        kind,  # type: ignore[arg-type]
    )
    return found.time_s.tolist()


def greedy(
    column: np.ndarray, window_s: float, threshold: float, kind: str, rate_hz: float
) -> list[int]:
    """The rule in words: keep the best, drop around it, repeat."""
    left = np.where(column >= threshold, column, -1.0)
    kept = []
    while left.max() >= 0:
        i = int(np.argmax(left))  # the first of equals
        kept.append(i)
        for j in range(len(column)):
            if kind == "hard":
                dropped = abs(j - i) / rate_hz <= window_s / 2
            else:
                w = window_s * rate_hz
                dropped = max(0, int(i - w / 2)) <= j < i + int(w / 2)
            if dropped or j == i:
                left[j] = -1.0
    return sorted(kept)


@settings(deadline=None, max_examples=500)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(1, 60),
    levels=st.sampled_from([2, 5, 1000]),
    window_s=st.sampled_from([0.4, 1, 2, 2.5, 3, 7, 9, 20, 100]),
    threshold=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    kind=st.sampled_from(["hard", "thesis"]),
    rate_hz=st.sampled_from([1.0, 2.0, 0.5]),
)
def test_the_fast_rule_is_the_plain_one(
    *,
    seed: int,
    num_rows: int,
    levels: int,
    window_s: float,
    threshold: float,
    kind: str,
    rate_hz: float,
) -> None:
    generator = np.random.default_rng(seed)
    values = (generator.integers(0, levels + 1, (num_rows, 2)) / levels).astype(np.float32)
    half = Probabilities(half=HALF, values=values, rate_hz=rate_hz)
    windows_s = np.array([window_s, 5.0])
    found = non_max_suppression(half, windows_s, threshold, kind)  # type: ignore[arg-type]
    for action in (0, 1):
        rows = greedy(values[:, action], windows_s[action], threshold, kind, rate_hz)
        mine = found.action == action
        assert (found.time_s[mine] * rate_hz).tolist() == rows
        assert found.confidence[mine].tolist() == values[rows, action].tolist()


def test_a_row_exactly_half_a_window_away_is_dropped() -> None:
    assert kept_rows([0.9, 0.0, 0.0, 0.8, 0.7], window_s=6) == [0, 4]
    assert kept_rows([0.9, 0.0, 0.0, 0.8, 0.7], window_s=5.9) == [0, 3]


def test_the_thesis_rule_reaches_further_back_than_on() -> None:
    peak_last, peak_first = [0.5, 0.4, 0.3, 0.2, 0.9], [0.9, 0.2, 0.3, 0.4, 0.5]
    # w = 7 around row 4: rows [int(0.5), 4 + 3) = 0 to 6; around row 0: rows 0 to 2.
    assert kept_rows(peak_last, 7, "thesis") == [4]
    assert kept_rows(peak_first, 7, "thesis") == [0, 4]
    assert kept_rows([0.9, 0.0, 0.0, 0.8], 7, "thesis") == [0, 3]
    assert kept_rows([0.9, 0.0, 0.0, 0.8], 7, "hard") == [0]
    assert kept_rows(peak_first, 7, "hard") == [0, 4]
    assert kept_rows(peak_last, 7, "hard") == [0, 4]


def test_of_equal_rows_the_earliest_is_kept() -> None:
    assert kept_rows([0.5, 0.5, 0.5, 0.5, 0.5], window_s=4) == [0, 3]


def test_a_dropped_row_does_not_drop_others() -> None:
    assert kept_rows([0.9, 0.8, 0.7], window_s=2) == [0, 2]


def test_the_threshold_keeps_rows_that_reach_it() -> None:
    half = probabilities([0.2, 0, 0, 0, 0.5], rate_hz=1)
    at = non_max_suppression(half, np.array([2.0]), np.float32(0.2).item())
    above = non_max_suppression(half, np.array([2.0]), 0.21)
    assert at.time_s.tolist() == [0, 4]
    assert above.time_s.tolist() == [4]


def test_times_and_windows_are_seconds_at_any_rate() -> None:
    half = probabilities([0.9, 0.8, 0.7, 0.6], rate_hz=2)
    found = non_max_suppression(half, np.array([1.0]), 0)  # reaches one row to each side
    assert found.time_s.tolist() == [0, 1]


def test_actions_do_not_see_each_other() -> None:
    half = probabilities([0.9, 0, 0], [0.1, 0.2, 0.3])
    found = non_max_suppression(half, np.array([10.0, 1.0]), 0)
    assert found.action.tolist() == [0, 1, 1, 1]
    assert found.time_s.tolist() == [0, 0, 1, 2]


def test_a_long_ramp_takes_no_more_than_linear_steps() -> None:
    ramp = np.linspace(0, 1, 20_000, dtype=np.float32)[:, None]
    found = non_max_suppression(Probabilities(half=HALF, values=ramp), np.array([2.0]), 0)
    assert found.time_s.tolist() == list(range(1, 20_000, 2))


@pytest.mark.parametrize("windows_s", [[], [1.0, 2.0], [0.0], [-1.0], [float("nan")]])
def test_windows_must_be_one_positive_number_per_action(windows_s: list[float]) -> None:
    with pytest.raises(ValueError, match="windows must be 1 numbers > 0 s"):
        non_max_suppression(probabilities([0.5]), np.array(windows_s))


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be 'hard' or 'thesis', got 'soft'"):
        kept_rows([0.5], 1, "soft")
