"""The metric is the official evaluator's: cases worked by hand, then SoccerNet itself on anything.

`tests/golden/metric.json` holds what SoccerNet 0.2.0 said of seeded random games, so that the
check runs without it; `python tests/test_metrics.py` writes it anew.
"""

import importlib
import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.matching import NUM_CELLS, match_cells
from hmtas.metrics import (
    LOOSE_S,
    TIGHT_S,
    average_map,
    average_precision,
    histograms,
    match_spots,
    score,
)
from hmtas.records import Events, HalfId, Score, Spots

GOLDEN = Path(__file__).parent / "golden" / "metric.json"
HALF = HalfId("league/season/game", 1)
NAMES = ("average_map", "per_action", "visible", "per_action_visible", "unshown",
         "per_action_unshown")  # fmt: skip

needs_soccernet = pytest.mark.skipif(
    importlib.util.find_spec("SoccerNet") is None, reason="SoccerNet is not installed"
)


# By hand.


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


def spots(*rows: tuple[float, int, float], half: HalfId = HALF) -> Spots:
    columns = np.array(rows, dtype=float).reshape(-1, 3).T
    return Spots(
        half=half, time_s=columns[0], action=columns[1].astype(np.int64), confidence=columns[2]
    )


def events(*rows: tuple[float, int, bool], half: HalfId = HALF) -> Events:
    columns = np.array(rows, dtype=float).reshape(-1, 3).T
    return Events(
        half=half,
        time_s=columns[0],
        action=columns[1].astype(np.int64),
        visible=columns[2].astype(np.bool_),
    )


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


# Sums of histograms.


def random_games(seed: int, num_games: int, num_actions: int, length_s: float = 60) -> Any:
    """Seeded spots and events that touch every rule: ties, shared cells, unshown, empty halves."""
    generator = np.random.default_rng(seed)
    spot, event = {}, {}
    for game in range(num_games):
        for number in (1, 2):
            half = HalfId(f"league/season/game {game}", number)
            n, m = generator.integers(0, 40), generator.integers(0, 15)
            confidence = generator.choice([0, 1, 0.5, *generator.random(6)], n)
            spot[half] = Spots(
                half=half,
                time_s=generator.integers(0, int(length_s * 1000), n) / 1000,
                action=generator.integers(0, num_actions, n),
                confidence=np.asarray(confidence, dtype=float),
            )
            event[half] = Events(
                half=half,
                time_s=np.sort(generator.integers(0, int(length_s * 1000), m)) / 1000,
                action=generator.integers(0, max(1, num_actions - game % 2), m),
                visible=generator.random(m) < 0.7,
            )
    return spot, event


def assert_same(a: Score, b: Score) -> None:
    for name in (*NAMES, "per_tolerance", "num_events"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_subset_of_games_is_scored_as_if_the_others_did_not_exist() -> None:
    spot, event = random_games(seed=1, num_games=5, num_actions=3)
    chosen = ["league/season/game 1", "league/season/game 4"]
    alone = average_map(
        {half: s for half, s in spot.items() if half.game in chosen},
        {half: e for half, e in event.items() if half.game in chosen},
        3,
    )
    subset = score(histograms(spot, event, TIGHT_S, 3), chosen)
    assert_same(alone, subset)
    assert subset.num_games == 2


def test_a_weight_is_that_many_copies_of_the_game() -> None:
    spot, event = random_games(seed=2, num_games=3, num_actions=2)
    counts = histograms(spot, event, TIGHT_S, 2)
    games = counts.games
    copied = score(counts, [games[0], games[0], games[2]])
    assert_same(copied, score(counts, games, [2, 0, 1]))
    tripled = score(counts, weights=[3, 3, 3])
    assert tripled.average_map == pytest.approx(score(counts).average_map, abs=1e-12)
    assert tripled.num_events.tolist() == (3 * score(counts).num_events).tolist()


def test_score_refuses_unknown_games_and_wrong_weights() -> None:
    counts = histograms({HALF: spots()}, {HALF: events()}, (1,), 1)
    with pytest.raises(ValueError, match="'elsewhere' is not among the 1 counted games"):
        score(counts, ["elsewhere"])
    with pytest.raises(ValueError, match="weights must be 1 numbers >= 0"):
        score(counts, weights=[1, 2])
    with pytest.raises(ValueError, match="weights must be 1 numbers >= 0"):
        score(counts, weights=[-1])


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


# Against SoccerNet.


def official(
    spot: Mapping[HalfId, Spots],
    event: Mapping[HalfId, Events],
    num_actions: int,
    tolerances_s: Sequence[float],
    num_cells: int = NUM_CELLS,
) -> dict[str, Any]:
    """The six outputs of SoccerNet's `average_mAP`, with its own vectors, shorter if asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = importlib.import_module("SoccerNet.Evaluation.ActionSpotting")
        evaluator.tqdm = lambda steps: steps  # no progress bars
        targets, detections, closests = [], [], []
        for half in sorted(event):
            target, detection = (
                np.zeros((num_cells, num_actions)),
                np.full((num_cells, num_actions), -1.0),
            )
            rows = zip(event[half].time_s, event[half].action, event[half].visible, strict=True)
            for time_s, action, visible in rows:
                target[min(int(2 * time_s), num_cells - 1), action] = 1 if visible else -1
            found = spot[half]
            for time_s, action, value in zip(
                found.time_s, found.action, found.confidence, strict=True
            ):
                detection[min(int(2 * time_s), num_cells - 1), action] = value
            targets.append(target)
            detections.append(detection)
            closests.append(official_closest(target))
        with np.errstate(all="ignore"):
            outputs = evaluator.average_mAP(
                targets, detections, closests, 2, np.array(tolerances_s)
            )
    return {name: np.asarray(value).tolist() for name, value in zip(NAMES, outputs, strict=True)}


def official_closest(target: np.ndarray) -> np.ndarray:
    """As `evaluate` has it inline, line by line."""
    closest = np.zeros(target.shape) - 1
    for c in range(target.shape[1]):
        indexes = np.where(target[:, c] != 0)[0].tolist()
        if not indexes:
            continue
        indexes.insert(0, -indexes[0])
        indexes.append(2 * closest.shape[0])
        for i in range(1, len(indexes) - 1):
            start = max(0, (indexes[i - 1] + indexes[i]) // 2)
            stop = min(closest.shape[0], (indexes[i] + indexes[i + 1]) // 2)
            closest[start:stop, c] = target[indexes[i], c]
    return closest


def assert_official(result: Score, expected: Mapping[str, Any]) -> None:
    for name in NAMES:
        ours = np.nan_to_num(getattr(result, name), nan=0.0)
        np.testing.assert_allclose(ours, expected[name], rtol=0, atol=1e-12, err_msg=name)


@needs_soccernet
@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_games=st.integers(1, 2),
    num_actions=st.integers(1, 2),
    tolerances=st.sampled_from([(1, 2), (5, 10), (1,), (7.5,), (60, 30)]),
)
def test_all_six_outputs_equal_soccernets(
    seed: int, num_games: int, num_actions: int, tolerances: tuple[float, ...]
) -> None:
    spot, event = random_games(seed, num_games, num_actions, length_s=30)
    expected = official(spot, event, num_actions, tolerances, num_cells=80)
    assert_official(average_map(spot, event, num_actions, tolerances), expected)


GOLDEN_CASES = [
    {"seed": 11, "num_games": 3, "num_actions": 4, "length_s": 60.0, "tolerances_s": TIGHT_S},
    {"seed": 12, "num_games": 3, "num_actions": 4, "length_s": 600.0, "tolerances_s": LOOSE_S},
    {"seed": 13, "num_games": 2, "num_actions": 2, "length_s": 60.0, "tolerances_s": (1,)},
    {"seed": 14, "num_games": 2, "num_actions": 3, "length_s": 7500.0, "tolerances_s": LOOSE_S},
]


def golden_input(case: Mapping[str, Any]) -> Any:
    return random_games(case["seed"], case["num_games"], case["num_actions"], case["length_s"])


@pytest.mark.parametrize("number", range(len(GOLDEN_CASES)))
def test_golden_outputs_of_soccernet(number: int) -> None:
    stored = json.loads(GOLDEN.read_text())[number]
    spot = {HalfId(*row.pop("half")): row for row in stored["spots"]}
    event = {HalfId(*row.pop("half")): row for row in stored["events"]}
    result = average_map(
        {half: Spots(half=half, **as_arrays(row)) for half, row in spot.items()},
        {half: Events(half=half, **as_arrays(row)) for half, row in event.items()},
        stored["num_actions"],
        stored["tolerances_s"],
    )
    assert_official(result, stored["official"])
    assert 0 < result.average_map < 1


TYPES = {"time_s": np.float64, "action": np.int64, "confidence": np.float64, "visible": np.bool_}


def as_arrays(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.array(values, dtype=TYPES[name]) for name, values in row.items()}


def write_golden() -> None:
    """Inputs are stored too: numpy does not promise the same random numbers for ever."""
    stored = []
    for case in GOLDEN_CASES:
        spot, event = golden_input(case)
        stored.append({
            "num_actions": case["num_actions"],
            "tolerances_s": case["tolerances_s"],
            "spots": [
                {"half": half, "time_s": s.time_s.tolist(), "action": s.action.tolist(),
                 "confidence": s.confidence.tolist()}
                for half, s in spot.items()
            ],
            "events": [
                {"half": half, "time_s": e.time_s.tolist(), "action": e.action.tolist(),
                 "visible": e.visible.tolist()}
                for half, e in event.items()
            ],
            "official": official(spot, event, case["num_actions"], case["tolerances_s"]),
        })  # fmt: skip
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(case) for case in stored) + "\n]\n")


if __name__ == "__main__":
    write_golden()
