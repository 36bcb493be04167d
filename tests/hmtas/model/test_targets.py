"""Targets and displacements of steps, worked by hand and against a slow version."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.config import ContextConfig
from hmtas.model.targets import step_shifts, step_targets
from hmtas.records import Events, HalfId

HALF = HalfId("game", 1)
NUM_ACTIONS = 2


def make_events(*found: tuple[float, int]) -> Events:
    """Moments and actions."""
    times = np.array([time_s for time_s, _ in found], dtype=float)
    action = np.array([action for _, action in found], dtype=np.int64)
    return Events(half=HALF, time_s=times, action=action, visible=np.ones(len(found), bool))


def targets(events: Events, num_steps: int, hz: float = 1.0, **settings: object) -> np.ndarray:
    config = ContextConfig.model_validate(settings)
    return step_targets(events, num_steps, NUM_ACTIONS, hz, config)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("hard", [0, 0, 1, 1, 1, 1, 1, 0]),
        ("triangular", [0, 0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0]),
        ("gaussian", [0, 0, math.exp(-2), math.exp(-0.5), 1, math.exp(-0.5), math.exp(-2), 0]),
    ],
)
def test_a_radius_of_2_s_around_second_4(target: str, expected: list[float]) -> None:
    found = targets(make_events((4.0, 1)), 8, radius_s=2.0, target=target)
    np.testing.assert_allclose(found[:, 2], expected, atol=1e-7)
    np.testing.assert_allclose(found[:, 0], 1 - np.array(expected), atol=1e-7)
    assert not found[:, 1].any()


def test_at_2_hz_a_radius_has_twice_the_steps() -> None:
    events = make_events((2.0, 0))
    hard = targets(events, 8, hz=2.0, radius_s=1.0, target="hard")[:, 1]
    assert hard.tolist() == [0, 0, 1, 1, 1, 1, 1, 0]
    soft = targets(events, 8, hz=2.0, radius_s=1.0, target="triangular")[:, 1]
    np.testing.assert_allclose(soft, [0, 0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0], atol=1e-7)


def test_between_two_steps_only_the_steps_within_the_radius() -> None:
    assert targets(make_events((3.5, 0)), 8, radius_s=1.0)[:, 1].nonzero()[0].tolist() == [3, 4]
    assert targets(make_events((3.5, 0)), 8, radius_s=1.5)[:, 1].nonzero()[0].tolist() == [
        2,
        3,
        4,
        5,
    ]
    assert targets(make_events((3.5, 0)), 8, radius_s=0.5)[:, 1].nonzero()[0].tolist() == [3, 4], (
        "the smallest radius at 1 Hz: each event has a step"
    )


def test_of_two_events_near_each_other_the_nearer_counts() -> None:
    events = make_events((2.0, 0), (4.0, 0))
    found = targets(events, 7, radius_s=2.0, target="triangular")[:, 1]
    np.testing.assert_allclose(found, [1 / 3, 2 / 3, 1, 2 / 3, 1, 2 / 3, 1 / 3], atol=1e-7)
    shifts = step_shifts(events, 7, NUM_ACTIONS, 1.0, radius_s=2.0)
    assert shifts[:, 0].tolist() == [2, 1, 0, -1, 0, -1, -2]  # the first of two as far
    assert np.isnan(shifts[:, 1]).all()


def test_an_event_past_the_end_counts_for_the_last_step() -> None:
    events = make_events((9.0, 1))
    assert targets(events, 6, radius_s=1.0, target="hard")[:, 2].tolist() == [0, 0, 0, 0, 1, 1]
    shifts = step_shifts(events, 6, NUM_ACTIONS, 1.0, radius_s=1.0)
    assert shifts[3:, 1].tolist()[1:] == [1, 0]
    assert np.isnan(shifts[3, 1])


def test_displacements_point_to_the_event() -> None:
    shifts = step_shifts(make_events((1.25, 0)), 8, NUM_ACTIONS, 2.0, radius_s=1.0)[:, 0]
    np.testing.assert_array_equal(shifts, [np.nan, 0.75, 0.25, -0.25, -0.75] + [np.nan] * 3)


def test_a_half_without_events_is_background() -> None:
    assert targets(Events.empty(HALF), 3).tolist() == [[1, 0, 0]] * 3


@st.composite
def seasons(draw: st.DrawFn) -> tuple[Events, int, float, float]:
    """Events, steps, their rate and a radius, on a grid that meets the ends of the radius."""
    num_steps, hz = draw(st.integers(1, 30)), draw(st.sampled_from([1.0, 2.0, 3.0]))
    event = st.tuples(st.integers(0, 80).map(lambda n: n / 4), st.integers(0, NUM_ACTIONS - 1))
    found = sorted(draw(st.lists(event, max_size=6)))
    return make_events(*found), num_steps, hz, draw(st.integers(2, 24)) / 4


@settings(max_examples=150, deadline=None)
@given(seasons(), st.sampled_from(["hard", "triangular", "gaussian"]))
def test_every_step_by_its_nearest_event(
    season: tuple[Events, int, float, float], target: str
) -> None:
    events, num_steps, hz, radius_s = season
    found = targets(events, num_steps, hz, radius_s=radius_s, target=target)
    shifts = step_shifts(events, num_steps, NUM_ACTIONS, hz, radius_s)
    for step in range(num_steps):
        values = []
        for action in range(NUM_ACTIONS):
            end_s = (num_steps - 1) / hz
            far = [min(t, end_s) - step / hz for t in events.time_s[events.action == action]]
            away = min(map(abs, far), default=math.inf)
            if away > radius_s + 1e-9:
                values.append(0.0)
                assert np.isnan(shifts[step, action])
                continue
            share = away / radius_s
            values.append(
                {
                    "hard": 1.0,
                    "triangular": 1 - away / (radius_s + 1 / hz),
                    "gaussian": math.exp(-2 * share**2),
                }[target]
            )
            assert min(abs(shifts[step, action] - shift) for shift in far) < 1e-5
            assert abs(shifts[step, action]) == pytest.approx(away, abs=1e-5)
        np.testing.assert_allclose(found[step], [1 - max(values), *values], atol=1e-6)
