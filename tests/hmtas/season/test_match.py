"""Invented matches have the action rates of Table 5.1, chains, quiet gaps and unshown events."""

import numpy as np
import pytest

from hmtas.formats.actions import ACTIONS
from hmtas.season.chains import SimulatedHalf
from hmtas.season.match import (
    EVENTS_IN_500_GAMES,
    FOOTBALL,
    LINKS,
    NOT_SHOWN,
    simulate_match,
)

NUM_MATCHES = 300


@pytest.fixture(scope="module")
def halves() -> list[SimulatedHalf]:
    matches = [simulate_match(np.random.default_rng([7, k]), 45) for k in range(NUM_MATCHES)]
    return [half for match in matches for half in match]


def count(halves: list[SimulatedHalf]) -> np.ndarray:
    return np.bincount(np.concatenate([half.action for half in halves]), minlength=len(ACTIONS))


def test_the_table_holds_every_action() -> None:
    assert set(EVENTS_IN_500_GAMES) == set(ACTIONS)
    assert sum(EVENTS_IN_500_GAMES.values()) == 110458


def test_rates_are_those_of_the_table(halves: list[SimulatedHalf]) -> None:
    expected_A = NUM_MATCHES * FOOTBALL.rates
    off_in_sigma_A = (count(halves) - expected_A) / np.sqrt(expected_A)
    assert np.abs(off_in_sigma_A).max() < 4


def test_a_short_half_keeps_the_rates_per_minute() -> None:
    matches = [simulate_match(np.random.default_rng([3, k]), 15) for k in range(90)]
    short = [half for match in matches for half in match]
    kick_off = ACTIONS.index("Kick-off")
    expected_A = 30 * FOOTBALL.rates  # 90 matches of a third of the length
    # The kick-off after the break does not get rarer with the minutes.
    expected_A[kick_off] += 2 * 60
    off_in_sigma_A = (count(short) - expected_A) / np.sqrt(expected_A)
    assert np.abs(off_in_sigma_A).max() < 4


def test_chains_bring_no_action_more_often_than_it_is() -> None:
    follow_AA = FOOTBALL.follow_probability
    rate_A = FOOTBALL.rates
    assert (follow_AA.sum(axis=1) <= 1).all()
    missing_A = rate_A - rate_A @ follow_AA
    assert (missing_A >= 0).all()
    # Two kick-offs, and no chain, open the halves.
    assert missing_A[ACTIONS.index("Kick-off")] == pytest.approx(2, abs=0.005)


def test_events_of_one_action_keep_their_distance(halves: list[SimulatedHalf]) -> None:
    for half in halves:
        assert (np.diff(half.time_s) >= 0).all()
        for action in range(len(ACTIONS)):
            assert (np.diff(half.time_s[half.action == action]) >= 6.0).all()


def test_a_kick_off_opens_each_half_and_the_sides_take_turns() -> None:
    for k in range(10):
        first, second = simulate_match(np.random.default_rng(k), 45)
        assert ACTIONS[first.action[0]] == ACTIONS[second.action[0]] == "Kick-off"
        assert first.time_s[0] < 2
        assert first.home[0] != second.home[0]


def test_the_other_side_kicks_off_30_to_60_s_after_a_goal(halves: list[SimulatedHalf]) -> None:
    goal, kick_off = ACTIONS.index("Goal"), ACTIONS.index("Kick-off")
    num_goals = num_restarts = 0
    for half in halves:
        for i in np.flatnonzero(half.action == goal):
            num_goals += 1
            if i + 1 < len(half.action) and half.action[i + 1] == kick_off:
                num_restarts += 1
                assert 30 <= half.time_s[i + 1] - half.time_s[i] <= 60
                assert half.home[i + 1] != half.home[i]
    # 2566 kick-offs of 500 matches less 1000 that open a half, over 1703 goals: 0.92.
    assert num_restarts / num_goals == pytest.approx(0.92, abs=0.04)


@pytest.mark.parametrize("link", [link for link in LINKS if link.share >= 0.5], ids=str)
def test_links_join_what_they_say(
    halves: list[SimulatedHalf], link: tuple[str, str, float]
) -> None:
    before, after, share = link[:3]
    a, b = ACTIONS.index(before), ACTIONS.index(after)
    num_after = num_joined = 0
    for half in halves:
        at = np.flatnonzero(half.action == b)
        num_after += len(at)
        num_joined += int((half.action[at[at > 0] - 1] == a).sum())
    four_sigma = 4 * np.sqrt(share * (1 - share) / num_after)
    # Two events of different chains can stand side by side too; seldom.
    assert share - four_sigma <= num_joined / num_after <= share + four_sigma + 0.05


def test_a_goal_is_always_shown_and_nearly_a_fifth_is_not(halves: list[SimulatedHalf]) -> None:
    action = np.concatenate([half.action for half in halves])
    visible = np.concatenate([half.visible for half in halves])
    assert visible[action == ACTIONS.index("Goal")].all()
    assert 1 - visible.mean() == pytest.approx(0.18, abs=0.01)
    for name, share in NOT_SHOWN.items():
        hidden = ~visible[action == ACTIONS.index(name)]
        assert hidden.mean() == pytest.approx(
            share, abs=4 * np.sqrt(share * (1 - share) / len(hidden))
        )


def test_annotators_are_off_by_half_a_second(halves: list[SimulatedHalf]) -> None:
    off_s = np.concatenate([half.label_s - half.time_s for half in halves])
    assert np.sqrt((off_s**2).mean()) == pytest.approx(0.5, abs=0.02)
    assert np.abs(off_s).max() <= 1.5
    for half in halves:
        assert half.label_s.min() >= 0
        assert half.label_s.max() <= half.duration_s - 1


def test_halves_last_45_minutes_and_stoppage(halves: list[SimulatedHalf]) -> None:
    duration_s = np.array([half.duration_s for half in halves])
    assert duration_s.min() >= 2700
    assert np.ptp(duration_s) > 60
    assert duration_s[::2].mean() == pytest.approx(2760, abs=10)
    assert duration_s[1::2].mean() == pytest.approx(2880, abs=25)


def test_a_minute_of_football_still_fits() -> None:
    for k in range(200):
        for half in simulate_match(np.random.default_rng(k), 1):
            assert half.time_s.max() < half.duration_s
