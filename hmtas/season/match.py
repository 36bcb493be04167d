"""What happens in an invented football match, at the rates of thesis Table 5.1."""

import numpy as np

from hmtas.formats.actions import ACTIONS
from hmtas.season.chains import Course, Link, SimulatedHalf, simulate_part

EVENTS_IN_500_GAMES = {
    "Penalty": 173,
    "Kick-off": 2566,
    "Goal": 1703,
    "Substitution": 2839,
    "Offside": 2098,
    "Shots on target": 5820,
    "Shots off target": 5256,
    "Clearance": 7896,
    "Ball out of play": 31810,
    "Throw-in": 18918,
    "Foul": 11674,
    "Indirect free-kick": 10521,
    "Direct free-kick": 2200,
    "Corner": 4836,
    "Yellow card": 2047,
    "Red card": 55,
    "Yellow->red card": 46,
}
"""Thesis Table 5.1."""

NOT_SHOWN = {
    "Kick-off": 0.72,
    "Clearance": 0.55,
    "Indirect free-kick": 0.46,
    "Throw-in": 0.29,
    "Substitution": 0.18,
    "Corner": 0.13,
    "Direct free-kick": 0.09,
    "Yellow card": 0.07,
    "Offside": 0.06,
    "Ball out of play": 0.04,
    "Foul": 0.02,
}
"""Share of events that the broadcast misses, as annotated in real matches; 0 for the others."""


# Shares and delays as in the annotations of real matches (an event and the one just before it).
LINKS = (
    Link("Ball out of play", "Throw-in", 0.95, 10, same_side=False),
    Link("Ball out of play", "Clearance", 0.90, 23, same_side=False),
    Link("Ball out of play", "Corner", 0.97, 25),
    Link("Ball out of play", "Substitution", 0.50, 30),
    Link("Ball out of play", "Yellow card", 0.06, 10.5),
    Link("Foul", "Indirect free-kick", 0.68, 16.5, same_side=False),
    Link("Foul", "Direct free-kick", 0.70, 44, same_side=False),
    Link("Foul", "Penalty", 0.52, 57, same_side=False),
    Link("Foul", "Yellow card", 0.86, 7),
    Link("Foul", "Red card", 0.86, 7),
    Link("Foul", "Yellow->red card", 0.86, 8),
    Link("Foul", "Substitution", 0.13, 30),
    Link("Offside", "Indirect free-kick", 0.16, 19, same_side=False),
    Link("Offside", "Substitution", 0.045, 33),
    Link("Yellow card", "Indirect free-kick", 0.09, 27, same_side=False),
    Link("Yellow card", "Direct free-kick", 0.24, 50, same_side=False),
    Link("Yellow card", "Penalty", 0.44, 54, same_side=False),
    Link("Yellow card", "Yellow->red card", 0.13, 3),
    Link("Yellow card", "Substitution", 0.05, 38),
    Link("Substitution", "Substitution", 0.12, 12, same_side=False),
    Link("Substitution", "Throw-in", 0.04, 10),
    Link("Substitution", "Clearance", 0.07, 12),
    Link("Substitution", "Corner", 0.02, 14),
    Link("Substitution", "Indirect free-kick", 0.05, 11),
    Link("Substitution", "Direct free-kick", 0.04, 18),
    Link("Corner", "Shots on target", 0.126, 4.9),
    Link("Corner", "Shots off target", 0.18, 4.2),
    Link("Direct free-kick", "Shots on target", 0.086, 1),
    Link("Direct free-kick", "Shots off target", 0.085, 1),
    Link("Penalty", "Shots on target", 0.012, 0.5),
    Link("Penalty", "Goal", 0.055, 0.5),
    Link("Shots on target", "Goal", 0.91, 0.6),
    Link("Shots on target", "Ball out of play", 0.08, 2),
    Link("Shots on target", "Shots off target", 0.03, 6),
    Link("Shots off target", "Ball out of play", 0.14, 1),
    # Two kick-offs of a match open the halves; 0.61 of the rest is 0.92 of the goals.
    Link("Goal", "Kick-off", 0.61, 45, same_side=False),
)

HALF_MINUTES = 45.0
STOPPAGE_S = (60.0, 180.0)  # mean of the first and of the second half
EXTRA_TIME_SHARE = 1 / 3  # length of a part of extra time beside a half
EXTRA_STOPPAGE_S = (20.0, 60.0)
MATCH_S = 2 * 60 * HALF_MINUTES + sum(STOPPAGE_S)
LABEL_JITTER_S = 0.5  # standard deviation of an annotator
FOOTBALL = Course(
    num_events={action: EVENTS_IN_500_GAMES[action] / 500 for action in ACTIONS},
    length_s=MATCH_S,
    links=LINKS,
    open_play_s=8.0,
    opener="Kick-off",
    not_shown=NOT_SHOWN,
)


def simulate_match(
    rng: np.random.Generator,
    minutes: float,
    *,
    extra_time: bool = False,
    label_jitter_s: float = LABEL_JITTER_S,
) -> tuple[SimulatedHalf, ...]:
    """Invent the two halves of a match, and perhaps the two parts of extra time after them.

    Args:
        rng: Source of the match.
        minutes: Regular length of a half; stoppage and extra time shrink with it, rates per minute
            stay.
        extra_time: Go on into parts 3 and 4; the halves are the same as without.
        label_jitter_s: Standard deviation of an annotator; the match is the same for all.
    """
    home_first = bool(rng.random() < 0.5)
    scale = minutes / HALF_MINUTES
    lengths = [(minutes, stoppage_s) for stoppage_s in STOPPAGE_S]
    if extra_time:
        lengths += [(EXTRA_TIME_SHARE * minutes, stoppage_s) for stoppage_s in EXTRA_STOPPAGE_S]
    parts = []
    for number, (part_minutes, stoppage_s) in enumerate(lengths):
        parts.append(
            simulate_part(
                rng,
                FOOTBALL,
                round(60 * part_minutes + scale * rng.gamma(4.0, stoppage_s / 4.0)),
                opened_by_home=home_first == (number % 2 == 0),
                label_jitter_s=label_jitter_s,
            )
        )
    return tuple(parts)
