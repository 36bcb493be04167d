"""Team-mAP weighs the two teams of an action by their events, then takes the plain mean.

`PUBLISHED` is what `compute_amAP(..., framerate=25, event_team=True)` of evaluation/score.py said
of `team_games` (github.com/SoccerNet/sn-teamspotting, commit
1eac8af109be99019f24326bb16276b6aa5659ff; SoccerNet 0.2.0).
"""

from collections.abc import Sequence

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.metric.averages import TIGHT_S, average_map
from hmtas.metric.teams import team_map, team_pairs
from tests.support.frame_games import frame_games
from tests.support.metric_games import Games

ACTIONS = ("left pass", "right pass", "right high pass", "left high pass")
PUBLISHED = [
    (31, (1,), 0.38133543224452315),
    (32, (1,), 0.4235481328435873),
    (33, TIGHT_S, 0.581939859637518),
]


def team_games(seed: int) -> Games:
    """Close spots of four actions, every event visible."""
    return frame_games(seed, num_games=6, num_actions=4, fps=8)


@pytest.mark.parametrize(("seed", "tolerances_s", "expected"), PUBLISHED)
def test_the_published_code_said_the_same(
    seed: int, tolerances_s: tuple[int, ...], expected: float
) -> None:
    found = average_map(*team_games(seed), len(ACTIONS), tolerances_s, grid_hz=25)
    pairs = np.array([[0, 1], [2, 3]])
    assert team_map(found.per_action, found.num_events, pairs) == pytest.approx(expected, abs=1e-9)
    assert abs(expected - found.average_map) > 1e-3  # not the plain mean


def test_the_two_actions_of_each_base_action_belong_together() -> None:
    assert team_pairs(ACTIONS, "run").tolist() == [[0, 1], [2, 3]]


def test_teams_are_weighted_by_their_events_and_actions_are_not() -> None:
    precision = np.array([0.9, 0.3, 0.5, 0.1])
    num_events = np.array([1, 2, 1000, 3000])
    pass_, high_pass = (0.9 * 1 + 0.3 * 2) / 3, (0.5 * 1000 + 0.1 * 3000) / 4000
    found = team_map(precision, num_events, team_pairs(ACTIONS, "run"))
    assert found == pytest.approx((pass_ + high_pass) / 2)


def test_a_team_without_events_weighs_nothing_and_an_action_without_any_counts_0() -> None:
    found = team_map(
        np.array([0.8, np.nan, np.nan, np.nan]), np.array([5, 0, 0, 0]), team_pairs(ACTIONS, "run")
    )
    assert found == pytest.approx((0.8 + 0) / 2)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (("Goal", "Foul"), ("'Goal'", "<team> <action>", "without teams")),
        (("left pass", "right shot"), ("'pass'", "two teams", "left")),
        (("left pass", "right pass", "middle pass"), ("'pass'", "left, right, middle")),
        (("left pass", "left pass"), ("'pass'", "left, left")),
        (("left pass", "right "), ("'right '",)),
    ],
)
def test_other_actions_are_refused(actions: Sequence[str], words: Sequence[str]) -> None:
    with pytest.raises(InputError) as raised:
        team_pairs(actions, "runs/m7")
    assert all(word in str(raised.value) for word in ("runs/m7", *words))
    assert "\n" not in str(raised.value)
