"""The metric follows the evaluator's rules: cases worked by hand, and the compiled loops."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.metric.averages import TIGHT_S, average_map
from hmtas.metric.counts import histograms
from hmtas.metric.matching import match_cells
from hmtas.records import Events, HalfId, Score, Spots
from tests.support.metric_games import HALF, events, random_games, spots
from tests.support.slow_metric import average_precision, match_spots


@pytest.mark.parametrize(
    ("spot_s", "confidence", "truth_s", "expected"),
    [
        pytest.param([10.5], [0.9], [10.0], [True], id="half the tolerance away is a hit"),
        pytest.param([11.0], [0.9], [10.0], [False], id="the tolerance is a full width"),
        pytest.param([10, 10.5], [0.3, 0.9], [10.0], [False, True], id="the most confident wins"),
        pytest.param([9.5, 10.5], [0.9, 0.9], [10.0], [True, False], id="of equals, the earliest"),
        pytest.param([10.0], [0.9], [9.5, 10.5], [True], id="a spot is used once"),
        pytest.param([10.0, 11.0], [0.9, 0.5], [10.0, 10.5], [True, True], id="the next is free"),
        pytest.param([10.0], [0.0], [10.0], [True], id="confidence 0 is a spot"),
        pytest.param([10.0], [0.9], [], [False], id="no annotation, no hit"),
    ],
)
def test_match_spots_at_tolerance_1(
    spot_s: list[float], confidence: list[float], truth_s: list[float], expected: list[bool]
) -> None:
    spot, truth = np.array(spot_s, dtype=float), np.array(truth_s, dtype=float)
    scores = np.array(confidence)
    assert match_spots(spot, scores, truth, tolerance_s=1).tolist() == expected
    on_grid = [(2 * times).astype(np.int64) for times in (spot, truth)]
    assert match_cells(on_grid[0], scores, on_grid[1], 1.0).tolist() == expected


def test_perfect_spots_score_one() -> None:
    assert average_precision(np.array([0.9, 0.4]), np.array([True, True]), num_truth=2) == 1


def test_half_the_recall_scores_six_of_eleven_levels() -> None:
    ap = average_precision(np.array([0.9]), np.array([True]), num_truth=2)
    assert ap == pytest.approx(6 / 11)  # recall levels 0.0 to 0.5 are reached at precision 1


def test_class_without_annotations_is_nan() -> None:
    assert np.isnan(average_precision(np.array([0.9]), np.array([False]), num_truth=0))


def score_one(
    spot: Spots, event: Events, tolerances_s: Sequence[float] = TIGHT_S, num_actions: int = 2
) -> Score:
    return average_map({HALF: spot}, {HALF: event}, num_actions, tolerances_s)


def test_an_action_without_events_counts_0_and_is_nan_by_itself() -> None:
    result = score_one(spots((10, 0, 0.9)), events((10, 0, True)))
    assert result.average_map == pytest.approx(1 / 2)
    assert result.per_action[0] == 1
    assert np.isnan(result.per_action[1])
    assert result.num_events.tolist() == [1, 0]


def test_tolerances_are_averaged_by_trapezoid() -> None:
    # 2 s away is within half of 4 and 5, not of 1, 2, 3: (0 + 0 + 1/2 + 1) / 4.
    result = score_one(spots((12, 0, 0.9)), events((10, 0, True)), num_actions=1)
    assert result.per_tolerance.tolist() == [0, 0, 0, 1, 1]
    assert result.average_map == pytest.approx(3 / 8)


def test_a_later_spot_in_the_same_cell_overwrites() -> None:
    # At the same threshold as the wrong spot, the right one has precision 1/2.
    late = score_one(
        spots((10, 0, 0.9), (10.4, 0, 0.1), (99, 0, 0.1)), events((10, 0, True)), num_actions=1
    )
    early = score_one(
        spots((10.4, 0, 0.1), (10, 0, 0.9), (99, 0, 0.1)), events((10, 0, True)), num_actions=1
    )
    assert late.average_map == pytest.approx(1 / 2)
    assert early.average_map == pytest.approx(1)


def test_events_in_one_cell_are_one_event_with_the_visibility_of_the_last() -> None:
    result = score_one(spots(), events((10, 0, True), (10.4, 0, False)), num_actions=1)
    assert result.num_events.tolist() == [1]
    assert np.isnan(result.per_action_visible[0])
    assert result.per_action_unshown[0] == 0


def test_times_after_two_hours_fall_on_the_last_cell() -> None:
    result = score_one(spots((9000, 0, 0.9)), events((7199.5, 0, True)), num_actions=1)
    assert result.average_map == 1


def test_unshown_is_multiplied_except_at_a_single_tolerance() -> None:
    case = spots((10, 0, 0.9)), events((10, 0, False))
    assert score_one(*case, num_actions=1).unshown == pytest.approx(17 / 13)
    assert score_one(*case, tolerances_s=(5,), num_actions=1).unshown == 1


def test_the_border_between_two_events_belongs_to_the_later_one() -> None:
    # Cells 0 and 3: the border is cell 1, nearer to the first and still the second's.
    event = events((0, 0, True), (1.5, 0, False))
    spot = spots((0.5, 0, 0.9))
    counts = histograms({HALF: spot}, {HALF: event}, (1,), 1)
    assert counts.detections.sum(axis=(0, 1, 3)).tolist() == [0, 1]


def test_spots_of_an_action_without_events_in_the_half_are_unshown() -> None:
    counts = histograms({HALF: spots((10, 1, 0.9))}, {HALF: events((10, 0, True))}, (1,), 2)
    assert counts.detections[0, 1].sum(axis=1).tolist() == [0, 1]


def test_scores_matter_not_only_their_order() -> None:
    event = events(*((60.0 * i, 0, True) for i in range(1, 11)))
    rows = [(60.0 * i, 0, 0.9 - 0.01 * i) for i in range(1, 11)]
    rows += [(60.0 * i + 30, 0, 0.5 - 0.01 * i) for i in range(1, 11)]
    sharp = score_one(spots(*rows), event, num_actions=1).average_map
    flat = score_one(spots(*((t, a, c / 200) for t, a, c in rows)), event, num_actions=1)
    assert sharp == 1
    assert flat.average_map == pytest.approx(1 / 2)  # all above threshold 0, none above the next


def test_a_half_without_spots_or_without_events_still_counts() -> None:
    other = HalfId("another game", 2)
    event = {HALF: events((10, 0, True)), other: events((10, 0, True), half=other)}
    assert average_map({HALF: spots((10, 0, 0.9))}, event, 1).average_map == pytest.approx(6 / 11)
    spot = {HALF: spots((10, 0, 0.9)), other: spots((10, 0, 0.9), half=other)}
    assert average_map(spot, {HALF: event[HALF]}, 1).average_map == pytest.approx(1 / 2)


@pytest.mark.parametrize("tolerances_s", [(), (0,), (1, -1)])
def test_tolerances_must_be_positive(tolerances_s: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="tolerances must be one or more numbers > 0"):
        histograms({}, {}, tolerances_s, 1)


def test_an_action_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="an action is not one of the 1"):
        score_one(spots((1, 1, 0.5)), events(), num_actions=1)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), tolerance=st.sampled_from([*TIGHT_S, 0.7, 20, 60]))
def test_the_compiled_matching_is_the_plain_one(seed: int, tolerance: float) -> None:
    generator = np.random.default_rng(seed)
    cell = np.flatnonzero(generator.random(80) < 0.3)
    truth = np.flatnonzero(generator.random(80) < 0.15)
    confidence = generator.choice([0.0, 0.2, 0.5, 0.9], len(cell))
    plain = match_spots(cell / 2, confidence, truth / 2, tolerance)
    assert match_cells(cell, confidence, truth, float(tolerance)).tolist() == plain.tolist()


def test_histograms_give_the_plain_average_precision() -> None:
    spot, event = random_games(seed=3, num_games=4, num_actions=1, length_s=3000)
    hits, confidences, num_truth = [], [], 0
    for half in event:
        cell, last = np.unique((2 * spot[half].time_s[::-1]).astype(int), return_index=True)
        confidence = spot[half].confidence[::-1][last]
        truth = np.unique((2 * event[half].time_s).astype(int))
        hits.append(match_spots(cell / 2, confidence, truth / 2, 60))
        confidences.append(confidence)
        num_truth += len(truth)
    expected = average_precision(np.concatenate(confidences), np.concatenate(hits), num_truth)
    assert average_map(spot, event, 1, (60,)).average_map == pytest.approx(expected, abs=1e-12)
