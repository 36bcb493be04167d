"""The sports of synthetic seasons: what happens, how fast, what the streams see, how it is written.

Rates of football are those of real matches (`hmtas.season.match`). Those of the other sports are
inventions of the right order: they make a season that is like the sport to a program, not to a fan.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hmtas.formats.actions import ACTIONS
from hmtas.season.chains import Course, Link, simulate_part
from hmtas.season.forms import Form, Parts
from hmtas.season.frames import FrameLists
from hmtas.season.match import EXTRA_TIME_SHARE, simulate_match
from hmtas.season.osl import Osl
from hmtas.season.soccernet import BALL_LABEL_FILE, SoccerNet
from hmtas.season.traces import NEAR, Layout, near_layout

SportName = Literal["football", "football-extra-time", "ball", "tennis", "handball"]
EXTRA_TIME_EVERY = 3  # of the games, one goes on into extra time


@dataclass(frozen=True, kw_only=True, eq=False)
class Sport:
    """A sport as a season needs it."""

    play: Callable[[np.random.Generator, int, float, float], Parts]
    """Invents game `number`, from a generator, the minutes of a part and the label jitter."""
    layout: Layout  # where its evidence lies
    form: Form  # how it is written
    minutes: float = 45.0  # usual length of a part
    parts_per_game: float = 2.0  # on average, in such lengths
    rate_hz: float = 1.0  # usual rows per second


def _football(rng: np.random.Generator, number: int, minutes: float, jitter_s: float) -> Parts:
    del number
    return simulate_match(rng, minutes, label_jitter_s=jitter_s)


def _with_extra_time(
    rng: np.random.Generator, number: int, minutes: float, jitter_s: float
) -> Parts:
    # Game 0 too, so that the smallest season has extra time.
    extra_time = number % EXTRA_TIME_EVERY == 0
    return simulate_match(rng, minutes, extra_time=extra_time, label_jitter_s=jitter_s)


def _one_part(course: Course) -> Callable[[np.random.Generator, int, float, float], Parts]:
    """Games of one part, up to a tenth longer than asked."""

    def play(rng: np.random.Generator, number: int, minutes: float, jitter_s: float) -> Parts:
        del number
        duration_s = round(60 * minutes * rng.uniform(1, 1.1))
        opened_by_home = bool(rng.random() < 0.5)
        return (
            simulate_part(
                rng, course, duration_s, opened_by_home=opened_by_home, label_jitter_s=jitter_s
            ),
        )

    return play


BALL = Course(
    num_events={
        "PASS": 6.0,
        "DRIVE": 5.2,
        "HEADER": 0.9,
        "HIGH PASS": 0.9,
        "OUT": 0.7,
        "CROSS": 0.35,
        "THROW IN": 0.5,
        "SHOT": 0.25,
        "BALL PLAYER BLOCK": 0.3,
        "PLAYER SUCCESSFUL TACKLE": 0.15,
        "FREE KICK": 0.15,
        "GOAL": 0.08,
    },
    length_s=60,
    links=(
        Link("PASS", "DRIVE", 0.85, 1.5),
        Link("DRIVE", "PASS", 0.60, 1.8),
        Link("DRIVE", "HIGH PASS", 0.80, 2.0),
        Link("DRIVE", "CROSS", 0.90, 1.8),
        Link("DRIVE", "SHOT", 0.60, 1.5),
        Link("DRIVE", "PLAYER SUCCESSFUL TACKLE", 0.90, 1.2, same_side=False),
        Link("HIGH PASS", "HEADER", 0.50, 2.0),
        Link("CROSS", "HEADER", 0.15, 1.5),
        Link("HEADER", "PASS", 0.05, 1.5),
        Link("HEADER", "OUT", 0.20, 1.5),
        Link("PASS", "OUT", 0.30, 2.0),
        Link("SHOT", "BALL PLAYER BLOCK", 0.25, 0.8, same_side=False),
        Link("SHOT", "GOAL", 0.90, 1.0),
        Link("OUT", "THROW IN", 0.95, 8.0, same_side=False),
        Link("THROW IN", "DRIVE", 0.05, 1.5),
        Link("THROW IN", "PASS", 0.03, 1.5),
        Link("PLAYER SUCCESSFUL TACKLE", "FREE KICK", 0.30, 8.0, same_side=False),
    ),
    open_play_s=2.0,
)
"""The 12 ball actions of SoccerNet, events per minute: a pass, a drive, a pass, and so on."""
TENNIS = Course(
    num_events={
        "near_court_serve": 1.2,
        "near_court_swing": 2.85,
        "near_court_bounce": 3.5625,
        "far_court_serve": 1.2,
        "far_court_swing": 2.85,
        "far_court_bounce": 3.5625,
    },
    length_s=60,
    # A rally: 95 % of serves and 85 % of swings bounce on the other side, 80 % come back.
    links=tuple(
        link
        for here, there in (("near", "far"), ("far", "near"))
        for link in (
            Link(f"{here}_court_serve", f"{there}_court_bounce", 0.32, 0.8),
            Link(f"{here}_court_swing", f"{there}_court_bounce", 0.68, 1.2),
            Link(f"{here}_court_bounce", f"{here}_court_swing", 1.0, 0.6),
        )
    ),
    open_play_s=10.0,
)
"""Events per minute; a rally takes some five seconds, and the pause behind it 10 to 20."""
HANDBALL = Course(
    num_events={
        "goal": 0.9,
        "shot saved": 0.4,
        "shot missed": 0.35,
        "pass intercepted": 0.2,
        "seven-metre throw": 0.15,
        "two-minute suspension": 0.12,
        "timeout": 0.1,
        "throw-off": 0.855,
    },
    length_s=60,
    links=(
        Link("goal", "throw-off", 1.0, 9.0, same_side=False),
        Link("pass intercepted", "goal", 0.09, 6.0),
        Link("two-minute suspension", "seven-metre throw", 0.40, 30.0, same_side=False),
        Link("seven-metre throw", "goal", 0.12, 1.5),
        Link("seven-metre throw", "shot saved", 0.09, 1.5),
        Link("timeout", "shot missed", 0.05, 20.0),
    ),
    open_play_s=8.0,
    opener="throw-off",
)
"""Events per minute, without the throw-off that opens a recording; 95 % of goals bring another."""

SPORTS: dict[SportName, Sport] = {
    "football": Sport(play=_football, layout=NEAR, form=SoccerNet(actions=ACTIONS)),
    "football-extra-time": Sport(
        play=_with_extra_time,
        layout=NEAR,
        form=SoccerNet(actions=ACTIONS),
        parts_per_game=2 + 2 * EXTRA_TIME_SHARE / EXTRA_TIME_EVERY,
    ),
    "ball": Sport(
        play=_one_part(BALL),
        layout=near_layout(
            BALL.actions,
            (
                ("PASS", "HIGH PASS", "CROSS", "FREE KICK"),
                ("DRIVE", "PLAYER SUCCESSFUL TACKLE"),
                ("HEADER", "SHOT", "BALL PLAYER BLOCK", "GOAL"),
                ("OUT", "THROW IN"),
            ),
            {"GOAL": 1.8, "SHOT": 1.0, "BALL PLAYER BLOCK": 0.7, "FREE KICK": 0.6},
            pace=0.4,
            label_jitter_s=0.08,
        ),
        form=SoccerNet(
            actions=BALL.actions,
            goal="GOAL",
            label_file=BALL_LABEL_FILE,
            teams=("left", "right"),
            on_frames=True,
        ),
        parts_per_game=1,
    ),
    "tennis": Sport(
        play=_one_part(TENNIS),
        layout=near_layout(
            TENNIS.actions,
            [
                [f"{side}_court_{what}" for side in ("near", "far")]
                for what in ("serve", "swing", "bounce")
            ],
            {action: 1.0 for action in TENNIS.actions if not action.endswith("bounce")},
            pace=0.25,
            label_jitter_s=0.04,
        ),
        form=FrameLists(actions=TENNIS.actions),
        minutes=5,
        parts_per_game=1,
        rate_hz=2,
    ),
    "handball": Sport(
        play=_one_part(HANDBALL),
        layout=near_layout(
            HANDBALL.actions,
            (
                ("goal", "shot saved", "shot missed", "seven-metre throw"),
                ("pass intercepted", "two-minute suspension"),
                ("timeout", "throw-off"),
            ),
            {"goal": 1.8, "seven-metre throw": 1.2, "shot saved": 1.0, "timeout": 0.8},
            pace=0.8,
            label_jitter_s=0.3,
        ),
        form=Osl(actions=HANDBALL.actions, sport="handball"),
        minutes=60,
        parts_per_game=1,
    ),
}
