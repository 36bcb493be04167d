"""Team-mAP weighs the two teams of an action by their events, then takes the plain mean."""

from collections.abc import Sequence

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.metric.teams import team_map, team_pairs

ACTIONS = ("left pass", "right pass", "right high pass", "left high pass")


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
