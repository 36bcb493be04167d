"""What happens in an invented match: chains of actions at the rates of thesis Table 5.1.

Actions come in chains: a foul, then perhaps a card, then a free kick; the ball out of play, then
a throw-in, a corner or a clearance. `LINKS` says which share of an action follows which other
one. A chain is a walk along the links, so the rate of an action is the rate at which chains
start with it plus what the links bring; chains start at exactly the rate that is missing to
Table 5.1, and no event is ever rejected, so the rates come out without bias.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hmtas.formats.actions import ACTIONS

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


class Link(NamedTuple):
    """`share` of the events of `after` follow an event of `before`."""

    before: str
    after: str
    share: float
    delay_s: float  # typical; a delay is uniform within a third of it
    same_side: bool = True


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
MATCH_S = 2 * 60 * HALF_MINUTES + sum(STOPPAGE_S)
OPEN_PLAY_S = 8.0  # at least this long between two chains
LABEL_JITTER_S = 0.5  # standard deviation of an annotator
_LAST_QUIET_S = 3.0  # nothing happens in the last seconds of a half
KICK_OFF = ACTIONS.index("Kick-off")
GOAL = ACTIONS.index("Goal")


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedHalf:
    """What happened in one half, in order of time, and what an annotator wrote down."""

    duration_s: int
    time_s: np.ndarray  # (M,) float64, the true moments
    action: np.ndarray  # (M,) int64, index into `ACTIONS`
    home: np.ndarray  # (M,) bool, True where the home team acted
    visible: np.ndarray  # (M,) bool, False where the broadcast did not show it
    label_s: np.ndarray  # (M,) float64, the annotated moments, not always in order


def rates_per_match() -> np.ndarray:
    """Events of each action in a match of full length, shape (A,)."""
    return np.array([EVENTS_IN_500_GAMES[action] for action in ACTIONS]) / 500


def follow_probability() -> np.ndarray:
    """Probability that the next event of a chain is b after a, shape (A, A); the rest ends it."""
    rate_A = rates_per_match()
    follow_AA = np.zeros((len(ACTIONS), len(ACTIONS)))
    for link in LINKS:
        a, b = ACTIONS.index(link.before), ACTIONS.index(link.after)
        follow_AA[a, b] = link.share * rate_A[b] / rate_A[a]
    return follow_AA


_FOLLOW_AA = follow_probability()
_LINKS_AFTER = [
    [(link, ACTIONS.index(link.after)) for link in LINKS if link.before == action]
    for action in ACTIONS
]


def simulate_match(
    rng: np.random.Generator, minutes: float, *, label_jitter_s: float = LABEL_JITTER_S
) -> tuple[SimulatedHalf, SimulatedHalf]:
    """Invent the two halves of a match.

    Args:
        rng: Source of the match.
        minutes: Regular length of a half; stoppage time shrinks with it, rates per minute stay.
        label_jitter_s: Standard deviation of an annotator; the match is the same for all.
    """
    home_first = bool(rng.random() < 0.5)
    scale = minutes / HALF_MINUTES
    halves = []
    for half, stoppage_s in enumerate(STOPPAGE_S):
        duration_s = round(60 * minutes + scale * rng.gamma(4.0, stoppage_s / 4.0))
        opened_by_home = home_first == (half == 0)
        halves.append(_simulate_half(rng, duration_s, opened_by_home, label_jitter_s))
    return halves[0], halves[1]


class _Event(NamedTuple):
    offset_s: float
    action: int
    home: bool


def _simulate_half(
    rng: np.random.Generator, duration_s: int, opened_by_home: bool, label_jitter_s: float
) -> SimulatedHalf:
    opening = _Event(rng.uniform(0, 2), KICK_OFF, opened_by_home)
    events = [opening, *_lay_out(rng, _draw_chains(rng, duration_s), opening, duration_s)]
    action = np.array([event.action for event in events], dtype=np.int64)
    time_s = np.array([event.offset_s for event in events])
    not_shown_A = np.array([NOT_SHOWN.get(name, 0.0) for name in ACTIONS])
    jitter_s = label_jitter_s * np.clip(rng.standard_normal(len(events)), -3, 3)
    return SimulatedHalf(
        duration_s=duration_s,
        time_s=time_s,
        action=action,
        home=np.array([event.home for event in events]),
        visible=rng.random(len(events)) >= not_shown_A[action],
        label_s=np.clip(time_s + jitter_s, 0, duration_s - 1),
    )


def _draw_chains(rng: np.random.Generator, duration_s: int) -> list[list[_Event]]:
    """The chains of a half in random order; offsets count from the start of each chain."""
    rate_A = rates_per_match()
    root_A = np.maximum(rate_A - rate_A @ _FOLLOW_AA, 0)
    root_A[KICK_OFF] = 0  # opens a half or follows a goal
    count_A = rng.poisson(root_A * duration_s / MATCH_S)
    roots = rng.permutation(np.repeat(np.arange(len(ACTIONS)), count_A))
    return [_walk(rng, int(root)) for root in roots]


def _walk(rng: np.random.Generator, root: int) -> list[_Event]:
    """One chain: follow the links until they end."""
    chain = [_Event(0.0, root, bool(rng.random() < 0.5))]
    while True:
        last = chain[-1]
        draw = rng.random()
        for link, b in _LINKS_AFTER[last.action]:
            draw -= _FOLLOW_AA[last.action, b]
            if draw < 0:
                delay_s = link.delay_s * rng.uniform(2 / 3, 4 / 3)
                home = last.home == link.same_side
                chain.append(_Event(last.offset_s + delay_s, b, home))
                break
        else:
            return chain


def _lay_out(
    rng: np.random.Generator, chains: list[list[_Event]], opening: _Event, duration_s: int
) -> list[_Event]:
    """Put the chains one after another, open play of random length between them.

    Chains that do not fit are left out: in a half of a few minutes it happens, in one of 45 not.
    """
    start_s = opening.offset_s + OPEN_PLAY_S
    room_s = duration_s - _LAST_QUIET_S - start_s
    fitting: list[list[_Event]] = []
    for chain in chains:
        needed_s = chain[-1].offset_s + OPEN_PLAY_S
        if needed_s <= room_s:
            fitting.append(chain)
            room_s -= needed_s
    # Sorted uniform points share the spare time out as a Poisson process would.
    spare_s = np.sort(rng.uniform(0, max(room_s, 0), size=len(fitting)))
    events = []
    for chain, extra_s in zip(fitting, spare_s, strict=True):
        events += [event._replace(offset_s=start_s + extra_s + event.offset_s) for event in chain]
        start_s += chain[-1].offset_s + OPEN_PLAY_S
    return events
