"""What happens in one invented part of a game: chains of actions at the rates of a sport.

Actions come in chains: a foul, then perhaps a card, then a free kick; a serve, a bounce, a swing.
The links of a sport say which share of an action follows which other one. A chain is a walk along
the links, so the rate of an action is the rate at which chains start with it plus what the links
bring; chains start at exactly the rate that is missing, and no event is ever rejected, so the
rates come out without bias.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

_LAST_QUIET_S = 3.0  # nothing happens in the last seconds of a part


class Link(NamedTuple):
    """`share` of the events of `after` follow an event of `before`."""

    before: str
    after: str
    share: float
    delay_s: float  # typical; a delay is uniform within a third of it
    same_side: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """How a sport is played: what happens, how often, and what follows what."""

    num_events: Mapping[str, float]  # of each action, in `length_s` of play
    length_s: float
    links: tuple[Link, ...]
    open_play_s: float  # at least this long between two chains
    opener: str | None = None  # opens every part, and no other chain
    not_shown: Mapping[str, float] = field(default_factory=dict)  # shares; 0 for the others

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the A actions, in the order of every array."""
        return tuple(self.num_events)

    @cached_property
    def rates(self) -> np.ndarray:
        """Events of each action in `length_s` of play, (A,)."""
        return np.array(list(self.num_events.values()), dtype=np.float64)

    @cached_property
    def follow_probability(self) -> np.ndarray:
        """Probability that the next event of a chain is b after a, (A, A); the rest ends it."""
        follow_AA = np.zeros((len(self.actions), len(self.actions)))
        for link in self.links:
            a, b = self.actions.index(link.before), self.actions.index(link.after)
            follow_AA[a, b] = link.share * self.rates[b] / self.rates[a]
        return follow_AA

    @cached_property
    def root_rates(self) -> np.ndarray:
        """Chains that start with each action in `length_s` of play, (A,)."""
        root_A: np.ndarray = np.maximum(self.rates - self.rates @ self.follow_probability, 0)
        if self.opener is not None:
            root_A[self.actions.index(self.opener)] = 0
        return root_A

    @cached_property
    def links_after(self) -> list[list[tuple[Link, int]]]:
        """The links from each action, each with the index of where it leads."""
        return [
            [(link, self.actions.index(link.after)) for link in self.links if link.before == action]
            for action in self.actions
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedHalf:
    """What happened in one part of a game, in order of time, and what an annotator wrote down."""

    duration_s: int
    time_s: np.ndarray  # (M,) float64, the true moments
    action: np.ndarray  # (M,) int64, index into the actions of the sport
    home: np.ndarray  # (M,) bool, True where the home team acted
    visible: np.ndarray  # (M,) bool, False where the broadcast did not show it
    label_s: np.ndarray  # (M,) float64, the annotated moments, not always in order


class _Event(NamedTuple):
    offset_s: float
    action: int
    home: bool


def simulate_part(
    rng: np.random.Generator,
    course: Course,
    duration_s: int,
    *,
    opened_by_home: bool = True,
    label_jitter_s: float,
) -> SimulatedHalf:
    """Invent one part of a game.

    Args:
        rng: Source of the part.
        course: How the sport is played.
        duration_s: Length of the part.
        opened_by_home: Side of the opener, where the sport has one.
        label_jitter_s: Standard deviation of an annotator; what happens is the same for all.
    """
    events: list[_Event] = []
    start_s = 0.0
    if course.opener is not None:
        opener = course.actions.index(course.opener)
        events.append(_Event(rng.uniform(0, 2), opener, opened_by_home))
        start_s = events[0].offset_s + course.open_play_s
    chains = _draw_chains(rng, course, duration_s)
    events += _lay_out(rng, chains, start_s, duration_s, course.open_play_s)
    action = np.array([event.action for event in events], dtype=np.int64)
    time_s = np.array([event.offset_s for event in events], dtype=np.float64)
    not_shown_A = np.array([course.not_shown.get(name, 0.0) for name in course.actions])
    jitter_s = label_jitter_s * np.clip(rng.standard_normal(len(events)), -3, 3)
    return SimulatedHalf(
        duration_s=duration_s,
        time_s=time_s,
        action=action,
        home=np.array([event.home for event in events], dtype=np.bool_),
        visible=rng.random(len(events)) >= not_shown_A[action],
        label_s=np.clip(time_s + jitter_s, 0, duration_s - 1),
    )


def _draw_chains(rng: np.random.Generator, course: Course, duration_s: int) -> list[list[_Event]]:
    """The chains of a part in random order; offsets count from the start of each chain."""
    count_A = rng.poisson(course.root_rates * duration_s / course.length_s)
    roots = rng.permutation(np.repeat(np.arange(len(course.actions)), count_A))
    return [_walk(rng, course, int(root)) for root in roots]


def _walk(rng: np.random.Generator, course: Course, root: int) -> list[_Event]:
    """One chain: follow the links until they end."""
    chain = [_Event(0.0, root, bool(rng.random() < 0.5))]
    while True:
        last = chain[-1]
        draw = rng.random()
        for link, b in course.links_after[last.action]:
            draw -= course.follow_probability[last.action, b]
            if draw < 0:
                delay_s = link.delay_s * rng.uniform(2 / 3, 4 / 3)
                home = last.home == link.same_side
                chain.append(_Event(last.offset_s + delay_s, b, home))
                break
        else:
            return chain


def _lay_out(
    rng: np.random.Generator,
    chains: list[list[_Event]],
    start_s: float,
    duration_s: int,
    open_play_s: float,
) -> list[_Event]:
    """Put the chains one after another, open play of random length between them.

    Chains that do not fit are left out: in a part of a few minutes it happens, in a long one not.
    """
    room_s = duration_s - _LAST_QUIET_S - start_s
    fitting: list[list[_Event]] = []
    for chain in chains:
        needed_s = chain[-1].offset_s + open_play_s
        if needed_s <= room_s:
            fitting.append(chain)
            room_s -= needed_s
    # Sorted uniform points share the spare time out as a Poisson process would.
    spare_s = np.sort(rng.uniform(0, max(room_s, 0), size=len(fitting)))
    events = []
    for chain, extra_s in zip(fitting, spare_s, strict=True):
        events += [event._replace(offset_s=start_s + extra_s + event.offset_s) for event in chain]
        start_s += chain[-1].offset_s + open_play_s
    return events
