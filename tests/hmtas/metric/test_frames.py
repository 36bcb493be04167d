"""mAP by frames is E2E-Spot's: worked by hand, against a plain version, against its own numbers.

`tests/golden/frames.json` holds what `compute_mAPs` of util/score.py said of seeded games
(github.com/jhong93/spot, commit 1daf9611d1550b2017d80c3b05687fb3553f0448).
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.metric.frames import count_frames, frame_maps, frame_precisions, match_frames
from hmtas.records import HalfId
from hmtas.statistics.intervals import bootstrap_interval, draw_weights, resample
from hmtas.statistics.winner import corrected_winner
from tests.support.frame_games import frame_games
from tests.support.metric_games import HALF, Games, events, spots
from tests.support.paths import ROOT
from tests.support.slow_frames import slow_frame_precision

TOLERANCES = (0, 1, 2, 4)


def map_of(
    games: Games, tolerances: tuple[int, ...], num_actions: int = 1, fps: float = 1
) -> float:
    counts = count_frames(*games, tolerances, num_actions, fps)
    return float(frame_maps(counts, np.ones((1, len(counts.games))))[0])


@pytest.mark.parametrize(
    ("spot", "truth", "reach", "expected"),
    [
        pytest.param([10], [11], 1, [True], id="one frame away"),
        pytest.param([10], [12], 1, [False], id="two frames away"),
        pytest.param([10], [10], 0, [True], id="no tolerance, the same frame"),
        pytest.param([10], [11], 0, [False], id="no tolerance, the next frame"),
        pytest.param([10, 10], [10], 2, [True, False], id="an event is taken once"),
        pytest.param([10, 9], [9, 11], 1, [True, False], id="of equally near ones the first"),
        pytest.param([10, 11], [9, 11], 1, [True, True], id="and the other one is left"),
        pytest.param([10, 10], [9, 12], 2, [True, True], id="the nearest that is not taken"),
        pytest.param([10, 10, 10], [8, 9, 14], 4, [True, True, True], id="past those taken"),
        pytest.param([0], [5], 4, [False], id="before the first"),
        pytest.param([99], [5], 4, [False], id="after the last"),
    ],
)
def test_which_spots_are_hits(
    spot: list[int], truth: list[int], reach: int, expected: list[bool]
) -> None:
    assert match_frames(np.array(spot), np.array(truth), reach).tolist() == expected


def test_the_surest_chooses_first_and_precision_is_the_best_from_there_on() -> None:
    # Ranked: miss, hit, hit, miss, hit. Precision at the hits 1/2, 2/3, 3/5; from the right 2/3,
    # 2/3, 3/5. Four events.
    truth = events((10, 0, True), (20, 0, True), (30, 0, True), (40, 0, True))
    found = spots((30, 0, 0.1), (10, 0, 0.8), (90, 0, 0.9), (20, 0, 0.7), (91, 0, 0.6))
    expected = (2 / 3 + 2 / 3 + 3 / 5) / 4
    assert map_of(({HALF: found}, {HALF: truth}), (0,)) == pytest.approx(expected)


def test_there_is_no_grid_and_confidence_counts_by_rank_only() -> None:
    truth = {HALF: events((10, 0, True), (10.04, 0, True))}
    found = {HALF: spots((10, 0, 0.002), (10.04, 0, 0.001))}
    assert map_of((found, truth), (0,), fps=25) == 1


def test_events_on_one_frame_are_taken_together_and_count_apart() -> None:
    truth = {HALF: events((10, 0, True), (10, 0, True))}
    found = {HALF: spots((10, 0, 0.9), (10, 0, 0.8))}
    assert map_of((found, truth), (1,)) == pytest.approx(1 / 2)


def test_actions_without_events_are_left_out_of_the_mean() -> None:
    truth = {HALF: events((10, 0, True))}
    assert map_of(({HALF: spots((10, 0, 0.9), (10, 1, 0.9))}, truth), (0,), 3) == 1
    assert map_of(({}, {HALF: events()}), (0,), 3) == 0


def test_the_mean_over_tolerances_is_the_plain_one() -> None:
    truth = {HALF: events((10, 0, True))}
    assert map_of(({HALF: spots((12, 0, 0.9))}, truth), (0, 1, 2, 4)) == pytest.approx(1 / 2)


def test_halves_are_videos_of_their_own_and_may_lack_spots_or_events() -> None:
    other = HalfId("another game", 2)
    truth = {HALF: events((10, 0, True))}
    assert map_of(({other: spots((10, 0, 0.9), half=other)}, truth), (4,)) == 0
    found = {HALF: spots((10, 0, 0.5)), other: spots((10, 0, 0.9), half=other)}
    assert map_of((found, truth), (4,)) == pytest.approx(1 / 2)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    fps=st.sampled_from([1.0, 10.0, 25.0, 29.97, 2.0833]),
    num_actions=st.integers(1, 3),
    tolerances=st.sampled_from([(0,), (1,), TOLERANCES, (3, 50)]),
)
def test_a_plain_version_says_the_same_of_games_and_of_resamples_of_them(
    seed: int, fps: float, num_actions: int, tolerances: tuple[int, ...]
) -> None:
    spot, event = frame_games(seed, 3, num_actions, fps)
    counts = count_frames(spot, event, tolerances, num_actions, fps)
    weights = np.concatenate([np.ones((1, 3)), draw_weights(3, 3, seed)])
    found = frame_precisions(counts, weights)
    for weight_G, found_DA in zip(weights, found, strict=True):
        times = dict(zip(counts.games, weight_G.astype(int).tolist(), strict=True))
        expected = [
            [slow_frame_precision(spot, event, a, t, fps, times=times) for a in range(num_actions)]
            for t in tolerances
        ]
        np.testing.assert_allclose(found_DA, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "case", json.loads((ROOT / "tests/golden/frames.json").read_text()), ids=range(4)
)
def test_the_published_code_said_the_same(case: dict[str, object]) -> None:
    spot, event = frame_games(*(case[key] for key in ("seed", "num_games", "num_actions", "fps")))
    counts = count_frames(spot, event, TOLERANCES, case["num_actions"], case["fps"])
    found = frame_precisions(counts, np.ones((1, len(counts.games))))[0]
    np.testing.assert_allclose(found, np.array(case["per_action"]).T, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.mean(axis=1), case["maps"], rtol=0, atol=1e-9)
    total = frame_maps(counts, np.ones((1, len(counts.games))))
    assert total == pytest.approx(np.mean(case["maps"]), abs=1e-9)
    assert 0.1 < total < 0.9  # half right, so that mistakes show


def test_games_are_resampled_for_intervals_and_pairs() -> None:
    good, truth = frame_games(1, 20, 3, 25)
    bad = {half: spots(half=half) for half in good}
    models = [count_frames(found, truth, TOLERANCES, 3, 25) for found in (good, bad)]
    low, high = bootstrap_interval(models[0])
    score = map_of((good, truth), TOLERANCES, 3, 25)
    assert low < score < high
    assert high - low < 0.4
    paired = resample(models)
    assert paired.scores.tolist() == pytest.approx([score, 0])
    assert corrected_winner(models).candidate == 0
    for other in (count_frames(bad, truth, (0, 1), 3, 25), count_frames(bad, truth, (1,), 3, 30)):
        with pytest.raises(ValueError, match="the same tolerances"):
            resample([models[0], other])


@pytest.mark.parametrize(("tolerances", "fps"), [((), 25), ((-1, 1), 25), ((1,), 0)])
def test_what_frames_cannot_be_is_refused(tolerances: tuple[int, ...], fps: float) -> None:
    with pytest.raises(ValueError, match="tolerances must be frames >= 0 at fps > 0"):
        count_frames({}, {}, tolerances, 1, fps)
