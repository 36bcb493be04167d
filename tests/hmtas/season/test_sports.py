"""Every sport keeps its rates, links and pace, and its streams show its actions at any rate."""

from collections.abc import Iterator
from typing import NamedTuple, get_args

import numpy as np
import pytest

from hmtas.season.chains import Course, Link, SimulatedHalf, simulate_part
from hmtas.season.evidence import Marks, draw_marks, embed
from hmtas.season.match import FOOTBALL, simulate_match
from hmtas.season.sports import BALL, HANDBALL, SPORTS, TENNIS, SportName
from hmtas.season.traces import NEAR

OTHERS: dict[SportName, Course] = {"ball": BALL, "tennis": TENNIS, "handball": HANDBALL}
MINUTES = 30.0
NUM_GAMES = 80


@pytest.fixture(scope="module")
def played() -> dict[SportName, list[SimulatedHalf]]:
    return {
        name: [
            SPORTS[name].play(np.random.default_rng([4, k]), k, MINUTES, 0.0)[0]
            for k in range(NUM_GAMES)
        ]
        for name in OTHERS
    }


def test_the_names_are_those_of_the_option() -> None:
    assert tuple(SPORTS) == get_args(SportName)


@pytest.mark.parametrize("name", OTHERS)
def test_rates_are_as_asked(played: dict[SportName, list[SimulatedHalf]], name: SportName) -> None:
    course = OTHERS[name]
    parts = played[name]
    minutes = np.array([part.duration_s for part in parts]) / 60
    assert minutes.min() >= MINUTES
    assert minutes.max() <= 1.1 * MINUTES + 0.01
    count_GA = np.array(
        [np.bincount(part.action, minlength=len(course.actions)) for part in parts], dtype=float
    )
    if course.opener is not None:
        count_GA[:, course.actions.index(course.opener)] -= 1
    off_GA = count_GA - minutes[:, None] * course.rates
    # Actions of one chain come in bunches: their spread is measured, not that of a Poisson count.
    off_in_sigma_A = off_GA.mean(axis=0) / (off_GA.std(axis=0) / np.sqrt(len(parts)))
    assert np.abs(off_in_sigma_A).max() < 4
    assert abs(off_GA.sum() / (minutes.sum() * course.rates.sum())) < 0.02


@pytest.mark.parametrize("course", [FOOTBALL, *OTHERS.values()])
def test_chains_bring_no_action_more_often_than_it_is(course: Course) -> None:
    assert (course.follow_probability.sum(axis=1) <= 1).all()
    assert (course.rates - course.rates @ course.follow_probability > -1e-9).all()


@pytest.mark.parametrize(
    ("name", "link"),
    [
        pytest.param(name, link, id=f"{link.before} -> {link.after}")
        for name, course in OTHERS.items()
        for link in course.links
        if link.share >= 0.3
    ],
)
def test_links_join_what_they_say(
    played: dict[SportName, list[SimulatedHalf]], name: SportName, link: Link
) -> None:
    a, b = (OTHERS[name].actions.index(action) for action in (link.before, link.after))
    num_after = num_joined = 0
    for part in played[name]:
        assert (np.diff(part.time_s) > 0).all()
        at = np.flatnonzero(part.action == b)
        num_after += len(at)
        at = at[at > 0]
        delay_s = part.time_s[at] - part.time_s[at - 1]
        typical = np.abs(delay_s - link.delay_s) <= link.delay_s / 3 + 1e-9
        sides = (part.home[at] == part.home[at - 1]) == link.same_side
        num_joined += int((typical & sides & (part.action[at - 1] == a)).sum())
    # The throw-off that opens a recording follows nothing.
    num_after -= len(played[name]) * (link.after == OTHERS[name].opener)
    four_sigma = 4 * np.sqrt(max(link.share * (1 - link.share), 0.01) / num_after)
    # Two events of different chains can stand side by side too; seldom.
    assert link.share - four_sigma <= num_joined / num_after <= link.share + four_sigma + 0.05


def test_a_rally_alternates_a_second_apart_and_a_pause_follows(
    played: dict[SportName, list[SimulatedHalf]],
) -> None:
    gap_s, pause_s = [], []
    for part in played["tennis"]:
        serves = np.array([TENNIS.actions[a].endswith("serve") for a in part.action])
        between_s = np.diff(part.time_s)
        pause_s.append(between_s[serves[1:]])
        gap_s.append(between_s[~serves[1:]])
    assert np.concatenate(gap_s).max() < 1.7
    assert 0.7 < np.concatenate(gap_s).mean() < 1.1
    assert np.concatenate(pause_s).min() >= 10
    assert np.median(np.concatenate(pause_s)) < 20


def test_a_part_without_events_is_one() -> None:
    never = Course(num_events={"a": 0.0}, length_s=60, links=(), open_play_s=1)
    part = simulate_part(np.random.default_rng(0), never, 60, label_jitter_s=0.1)
    assert [len(x) for x in (part.time_s, part.action, part.label_s, part.visible)] == [0] * 4
    assert len(draw_marks(np.random.default_rng(0), part).time_s) == 0


def test_extra_time_comes_after_the_same_two_halves() -> None:
    for number in range(6):
        rng = np.random.default_rng(number)
        parts = SPORTS["football-extra-time"].play(rng, number, 45, 0.5)
        assert len(parts) == (4 if number % 3 == 0 else 2)
        halves = simulate_match(np.random.default_rng(number), 45)
        for part, half in zip(parts[:2], halves, strict=True):
            np.testing.assert_array_equal(part.label_s, half.label_s)
        for part in parts[2:]:
            assert 15 * 60 <= part.duration_s < 20 * 60
            assert FOOTBALL.actions[part.action[0]] == "Kick-off"
    short = SPORTS["football-extra-time"].play(np.random.default_rng(0), 0, 9, 0.5)
    assert [round(part.duration_s / 60) for part in short[2:]] == [3, 3]


@pytest.mark.parametrize("rate_hz", [0.5, 1.0, 2.0, 2.0833, 25.0])
def test_row_t_shows_the_moment_t_over_rate(rate_hz: float) -> None:
    size_T = np.zeros(round(80 * rate_hz))
    for k in range(60):
        marks = Marks(
            time_s=np.array([40.0]),
            action=np.array([2]),
            size=np.array([2.0]),
            false=np.array([False]),
        )
        rng = np.random.default_rng(k)
        x_TF = embed(rng, marks, stream="vtn", width=16, num_rows=len(size_T), seed=0,
                     rate_hz=rate_hz)  # fmt: skip
        size_T += (x_TF**2).sum(axis=1) / 60
    moment_s = np.arange(len(size_T)) / rate_hz
    seen_T = np.where(np.abs(moment_s - 40) < 9, size_T - 16, 0)  # above the noise
    assert abs((seen_T * moment_s).sum() / seen_T.sum() - 40) < 0.5
    away_s = moment_s - 40
    assert 1 < np.sqrt((seen_T * away_s**2).sum() / seen_T.sum()) < 2.5  # seconds, not rows
    noise = size_T[: round(25 * rate_hz)].mean() / 16
    assert noise == pytest.approx(1, abs=0.2)


def test_noise_remembers_a_second_ago_at_any_rate() -> None:
    nothing = Marks(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))
    for rate_hz in (1, 2, 5):
        x_TF = embed(np.random.default_rng(1), nothing, stream="vtn", width=8,
                     num_rows=4000, seed=0, rate_hz=rate_hz)  # fmt: skip
        assert (x_TF[rate_hz:] * x_TF[:-rate_hz]).mean() == pytest.approx(0.5, abs=0.06)


def test_a_faster_sport_shows_its_actions_for_a_shorter_time() -> None:
    def duration_s(name: SportName) -> float:
        marks = Marks(np.array([20.0]), np.array([0]), np.array([1.0]), np.array([False]))
        size_T = np.zeros(400)
        for k in range(30):
            seen = [
                embed(np.random.default_rng(k), marks._replace(size=np.array([size])),
                      stream="vtn", width=16, num_rows=400, seed=0, rate_hz=10,
                      layout=SPORTS[name].layout)
                for size in (1.0, 0.0)
            ]  # fmt: skip
            size_T += np.linalg.norm(seen[0] - seen[1], axis=1)
        return float((size_T > 0.1 * size_T.max()).sum() / 10)

    assert SPORTS["football"].layout is NEAR
    assert 5 < duration_s("football") < 12
    assert duration_s("handball") < duration_s("football")
    assert duration_s("ball") < 0.6 * duration_s("football")
    assert duration_s("tennis") < 3


class Rows(NamedTuple):
    """What two streams show in the 2 s around each row, and what happens there."""

    x_TF: np.ndarray
    y_TA: np.ndarray


def rows_of(name: SportName, games: range, minutes: float) -> Iterator[Rows]:
    sport = SPORTS[name]
    reach = round(2 * sport.rate_hz)
    for k in games:
        (part,) = sport.play(np.random.default_rng(k), k, minutes, sport.layout.label_jitter_s)
        marks = draw_marks(np.random.default_rng([k, 1]), part, sport.layout)
        num_rows = round(part.duration_s * sport.rate_hz)
        streams = [
            embed(np.random.default_rng([k, i]), marks, stream=stream, width=16, seed=0,
                  num_rows=num_rows, layout=sport.layout, rate_hz=sport.rate_hz)
            for i, stream in enumerate(("vtn", "tpn"))
        ]  # fmt: skip
        padded = np.pad(np.concatenate(streams, axis=1), ((reach, reach), (0, 0)))
        x_TF = np.concatenate([padded[i : i + num_rows] for i in range(2 * reach + 1)], axis=1)
        y_TA = np.zeros((num_rows, len(OTHERS[name].actions)))
        y_TA[np.rint(part.label_s * sport.rate_hz).astype(int), part.action] = 1
        yield Rows(x_TF, y_TA)


@pytest.mark.parametrize(("name", "at_least"), [("ball", 0.45), ("tennis", 0.7), ("handball", 0.3)])
def test_a_ridge_learns_the_actions(name: SportName, at_least: float) -> None:
    train = list(rows_of(name, range(5), 20))
    test = list(rows_of(name, range(500, 503), 20))
    x, y, asked, truth = (
        np.concatenate([rows[i] for rows in part]) for part in (train, test) for i in (0, 1)
    )
    x, asked = ((values - x.mean(axis=0)) / x.std(axis=0) for values in (x, asked))
    square = x.T @ x + 0.05 * len(x) * np.eye(x.shape[1])
    score = asked @ np.linalg.solve(square, x.T @ (y - y.mean(axis=0)))
    precisions = []
    for a in np.flatnonzero(truth.sum(axis=0) >= 8):
        hit = truth[np.argsort(-score[:, a]), a]
        precisions.append((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit > 0].mean())
    assert len(precisions) >= 5
    assert np.mean(precisions) > at_least  # of exact rows; a random ranking has 0.03 at most
