"""Any tolerances on any grid: SoccerNet's own functions and a plain version say the same to 1e-9.

sn-teamspotting scores ball and team spotting with `average_mAP(..., framerate=25)` at 1 s.
"""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.metric.averages import TIGHT_S, average_map
from hmtas.metric.counts import histograms
from hmtas.metric.matching import cells, reaches
from hmtas.records import HalfId, Spots
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import resample
from tests.support.metric_games import HALF, events, random_games, spots
from tests.support.official import assert_official, needs_soccernet, official
from tests.support.slow_metric import average_maps

SETS_S = [(1,), TIGHT_S, (2, 4)]
GRIDS_HZ = [2, 25]


@pytest.mark.parametrize(
    ("grid_hz", "away_s", "found"),
    [
        pytest.param(2, 0.5, True, id="half a second is half of the width"),
        pytest.param(2, 0.99, True, id="the grid of half seconds looks no closer"),
        pytest.param(2, 1.0, False, id="two cells of half a second are too far"),
        pytest.param(25, 0.48, True, id="12 of the 12.5 cells in reach"),
        pytest.param(25, 0.52, False, id="13 cells are too far"),
    ],
)
def test_how_far_one_second_reaches(*, grid_hz: int, away_s: float, found: bool) -> None:
    truth = {HALF: events((10, 0, True))}
    result = average_map({HALF: spots((10 + away_s, 0, 0.9))}, truth, 1, (1,), grid_hz)
    assert result.average_map == float(found)


def test_two_events_a_twentieth_of_a_second_apart_share_a_cell_on_the_coarse_grid_only() -> None:
    truth = {HALF: events((10, 0, True), (10.05, 0, True))}
    num_events = [
        average_map({}, truth, 1, (1,), grid_hz).num_events.tolist() for grid_hz in GRIDS_HZ
    ]
    assert num_events == [[1], [2]]


def test_the_usual_grid_reaches_as_many_cells_as_there_are_seconds() -> None:
    assert reaches(TIGHT_S).tolist() == list(TIGHT_S)
    assert reaches((1, 2), 25).tolist() == [12.5, 25]


def test_the_last_cell_is_that_of_two_hours_on_every_grid() -> None:
    late = np.array([7199.99, 7200.0, 9000.0])
    assert cells(late).tolist() == [14_399] * 3
    assert cells(late, 25).tolist() == [179_999] * 3


@needs_soccernet
@pytest.mark.parametrize(("grid_hz", "tolerances_s"), list(product(GRIDS_HZ, SETS_S)))
def test_soccernets_functions_say_the_same(grid_hz: int, tolerances_s: tuple[int, ...]) -> None:
    for seed in range(6 if len(tolerances_s) < 3 else 3):
        num_actions = 1 + seed % 3
        spot, event = random_games(seed, num_games=3, num_actions=num_actions, length_s=30)
        expected = official(spot, event, num_actions, tolerances_s, 40 * grid_hz, grid_hz=grid_hz)
        result = average_map(spot, event, num_actions, tolerances_s, grid_hz)
        assert_official(result, expected)
        assert 0 < result.average_map < 1


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    grid_hz=st.sampled_from([1, 2, 5, 25, 30]),
    tolerances_s=st.sampled_from([*SETS_S, (0.5, 3), (0.04,), (1, 2, 8)]),
)
def test_a_plain_version_says_the_same(
    seed: int, grid_hz: int, tolerances_s: tuple[float, ...]
) -> None:
    spot, event = random_games(seed, num_games=2, num_actions=3, length_s=25)
    total, per_action = average_maps(spot, event, 3, tolerances_s, grid_hz)
    result = average_map(spot, event, 3, tolerances_s, grid_hz)
    assert result.average_map == pytest.approx(total, abs=1e-9)
    assert np.nan_to_num(result.per_action).tolist() == pytest.approx(per_action, abs=1e-9)


def test_a_game_with_a_spot_in_every_cell_is_counted_to_the_last_one() -> None:
    # More than 65,535 of one confidence: what sixteen bits hold.
    time_s = (np.arange(90_000) + 0.5) / 25  # the middle of each cell
    dense = {
        HalfId("l/s/a", half): Spots(
            half=HalfId("l/s/a", half),
            time_s=time_s,
            action=np.zeros(90_000, np.int64),
            confidence=np.zeros(90_000),
        )
        for half in (1, 2)
    }
    counts = histograms(dense, {HalfId("l/s/a", 1): events((10, 0, True))}, (1,), 1, 25)
    game = GameCounts.of(counts)
    assert counts.detections.sum() == game.detections.sum() == 180_000
    assert game.detections.max() == 180_000
    assert resample([game], 1).scores[0] == pytest.approx(1 / 180_000)
    assert histograms({}, {}, TIGHT_S, 1).detections.dtype == np.uint16  # the usual ones stay small
