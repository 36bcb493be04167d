"""Suppression keeps what the plain greedy rules keep, hard and soft, ties to the earliest."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.config import NmsKind
from hmtas.records import HalfId, Probabilities
from hmtas.spotting.nms import make_rule, non_max_suppression, suppress_column

SOFT: list[NmsKind] = ["linear", "squared", "gaussian"]
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
    with pytest.raises(ValueError, match=r"kind must be 'hard', 'thesis', .* got 'soft'"):
        kept_rows([0.5], 1, "soft")


def softly(
    column: np.ndarray, window_s: float, threshold: float, kind: str, rate_hz: float
) -> dict[int, float]:
    """The soft rule in words: keep the best, multiply what is around it, repeat."""
    left = {row: float(value) for row, value in enumerate(column)}
    kept: dict[int, float] = {}
    half_s = window_s / 2
    while left:
        best = max(left, key=lambda row: (left[row], -row))
        value = left.pop(best)
        if value < threshold:
            break
        kept[best] = value
        for row in left:
            distance_s = abs(row - best) / rate_hz
            if distance_s <= half_s:
                overlap = (half_s - distance_s) / (half_s + distance_s)
                left[row] *= {
                    "linear": distance_s / half_s,
                    "squared": (distance_s / half_s) ** 2,
                    "gaussian": math.exp(-(overlap**2) / 0.5),
                }[kind]
    return kept


@settings(deadline=None, max_examples=500)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(1, 60),
    sparse=st.sampled_from([1, 8]),
    window_s=st.sampled_from([0.4, 1, 2, 2.5, 3, 7, 9, 20, 100]),
    threshold=st.sampled_from([0.0, 0.001, 0.2, 0.5]),
    kind=st.sampled_from(SOFT),
    rate_hz=st.sampled_from([1.0, 2.0, 0.5]),
)
def test_the_fast_soft_rules_are_the_plain_ones(
    *,
    seed: int,
    num_rows: int,
    sparse: int,
    window_s: float,
    threshold: float,
    kind: NmsKind,
    rate_hz: float,
) -> None:
    generator = np.random.default_rng(seed)
    values = (generator.random((num_rows, 2)) ** sparse).astype(np.float32)
    half = Probabilities(half=HALF, values=values, rate_hz=rate_hz)
    windows_s = np.array([window_s, 5.0])
    found = non_max_suppression(half, windows_s, threshold, kind)
    for action in (0, 1):
        kept = softly(values[:, action], windows_s[action], threshold, kind, rate_hz)
        mine = found.action == action
        assert (found.time_s[mine] * rate_hz).tolist() == sorted(kept)
        # Two decays in the other order differ in the last digit.
        expected = [kept[row] for row in sorted(kept)]
        np.testing.assert_allclose(found.confidence[mine], expected, rtol=1e-12)
        assert (found.confidence[mine] <= values[sorted(kept), action]).all()


def softened(column: list[float], window_s: float, kind: NmsKind) -> list[float]:
    found = non_max_suppression(probabilities(column), np.array([window_s]), 0.0, kind)
    assert found.time_s.tolist() == list(range(len(column)))
    return found.confidence.tolist()


def test_soft_rules_multiply_by_their_factor_of_the_distance() -> None:
    # Half a window is 2 s: the row at 1 s is half way out, the one at 2 s keeps what it has.
    column = [1.0, 0.5, 0.5, 0.5]
    linear, squared = softened(column, 4, "linear"), softened(column, 4, "squared")
    assert linear == pytest.approx([1, 0.25 * 0.5, 0.5, 0.5 * 0.5])
    assert squared == pytest.approx([1, 0.5 * 0.25 * 0.25, 0.5, 0.5 * 0.25])
    third = math.exp(-((1 / 3) ** 2) / 0.5)  # 1 s of 3 s in common
    gaussian = softened(column, 4, "gaussian")
    assert gaussian == pytest.approx([1, 0.5 * third * third, 0.5, 0.5 * third])


def test_a_row_that_was_decayed_is_overtaken_by_one_further_away() -> None:
    # 0.8 falls to 0.4 beside 1.0; then 0.7 comes before it, and decays it to 0.2.
    assert softened([1.0, 0.8, 0.7], 4, "linear") == pytest.approx([1, 0.8 * 0.5 * 0.5, 0.7])


def test_of_equal_rows_the_earliest_decays_the_others() -> None:
    assert softened([0.5, 0.5, 0.5], 4, "linear") == pytest.approx([0.5, 0.125, 0.5])
    assert softened([0.5, 0.5], 4, "linear") == pytest.approx([0.5, 0.25])


def test_a_row_that_fell_below_the_threshold_decays_nothing() -> None:
    half = probabilities([1.0, 0.5, 0.0, 0.5, 0.0, 0.4])
    found = non_max_suppression(half, np.array([6.0]), 0.3, "linear")
    # 0.5 beside 1.0 falls to a sixth and is gone; the other one, 3 s off, keeps what it has.
    assert found.time_s.tolist() == [0, 3]
    assert found.confidence.tolist() == [1.0, 0.5]


def test_each_action_has_its_own_rule() -> None:
    half = probabilities([0.9, 0.8], [0.9, 0.8], [0.9, 0.8])
    found = non_max_suppression(half, np.full(3, 4.0), 0.0, ["linear", "hard", "squared"])
    assert found.action.tolist() == [0, 0, 1, 2, 2]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.4, 0.9, 0.9, 0.2])


def test_a_long_ramp_is_softened_in_linear_steps() -> None:
    ramp = np.linspace(0.1, 1, 20_000, dtype=np.float32)[:, None]
    found = non_max_suppression(
        Probabilities(half=HALF, values=ramp), np.array([9.0]), 0, "gaussian"
    )
    assert len(found.time_s) == 20_000
    assert found.confidence[-1] == 1


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    window_rows=st.sampled_from([1.0, 2, 5, 9, 30]),
    kind=st.sampled_from(SOFT),
    floor=st.sampled_from([0.005, 0.1, 0.5]),
)
def test_rows_below_the_floor_change_nothing_above_it(
    *, seed: int, window_rows: float, kind: NmsKind, floor: float
) -> None:
    values = (np.random.default_rng(seed).random(80) ** 3).astype(np.float32)
    whole, floored = np.empty(80), np.empty(80)
    rule = make_rule(window_rows, kind)
    assert suppress_column(values, 0.0, 0.0, rule, whole) == 80
    assert suppress_column(values, 0.0, floor, rule, floored) == 80
    np.testing.assert_allclose(floored, np.where(whole >= floor, whole, 0), rtol=1e-12)
