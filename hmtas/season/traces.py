"""Which traces an action leaves in a stream: where in time, how large, and shared with what.

`NEAR` is the ordinary season: an action shows within seconds of its moment, and a window of a few
rows sees nearly all of it. `CONTEXT` is a season that needs a long context. There, similar actions
hardly differ at the moment. What tells them apart is a weak build-up 10 to 30 s before, a weak
aftermath up to 30 s behind, and the events around: after a foul, an indirect free kick comes sooner
than a direct one. A moment that only looks like an action has neither build-up nor aftermath.
Moments are narrow and labels exact, so that rows of a second tell the half second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hmtas.formats.actions import ACTIONS
from hmtas.season.match import LABEL_JITTER_S
from hmtas.season.profiles import StreamProfile

KINDS = (
    ("Penalty", "Goal", "Shots on target", "Shots off target"),
    ("Foul", "Offside", "Yellow card", "Red card", "Yellow->red card", "Substitution"),
    ("Corner", "Direct free-kick", "Indirect free-kick", "Kick-off"),
    ("Ball out of play", "Throw-in", "Clearance"),
)
"""Actions that share a part of their moments, and their build-up and aftermath."""
LOOKALIKES = (
    ("Goal", "Shots on target", "Shots off target"),
    ("Penalty", "Direct free-kick", "Indirect free-kick", "Kick-off"),
    ("Corner", "Throw-in", "Clearance"),
    ("Yellow card", "Red card", "Yellow->red card", "Substitution"),
    ("Foul", "Offside", "Ball out of play"),
)
"""Actions that `CONTEXT` hardly tells apart at the moment."""


class Trace(NamedTuple):
    """A bell curve in time that an event leaves in one feature of a stream."""

    feature_A: np.ndarray  # (A,) int64, the feature of each action
    offset_s: float  # centre, from the moment as the stream sees it
    spread_s: float  # standard deviation of the centre between events
    width_s: float  # standard deviation of the curve
    size: float  # beside a moment of 1
    of_false_marks: bool = True  # what only looks like an action leaves it too


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """What all streams of a season have in common."""

    kind_A: np.ndarray  # (A,) int64; actions of a kind look alike at the moment
    shared_size: float  # what a kind shares of its moments, beside the own part of 1
    num_features: int  # K; the first A show the moments
    delay_spread: float  # of a profile's `delay_spread_s`
    false_overlooked: float  # share of the lookalikes of an action that a stream is not fooled by
    label_jitter_s: float  # standard deviation of an annotator
    traces: Callable[[StreamProfile], tuple[Trace, ...]]


def _index_of(kinds: tuple[tuple[str, ...], ...]) -> np.ndarray:
    return np.array([[action in kind for kind in kinds].index(True) for action in ACTIONS])


_MOMENT_A = np.arange(len(ACTIONS))
_KIND_A = _index_of(KINDS)


def _near_traces(profile: StreamProfile) -> tuple[Trace, ...]:
    blur_s = profile.blur_s
    before_A = len(ACTIONS) + _KIND_A
    after_A = before_A + len(KINDS)
    return (
        Trace(_MOMENT_A, 0.0, 0.0, blur_s, 1.0),
        Trace(before_A, -2.0, 0.0, blur_s, profile.build_up),
        Trace(after_A, 2.5, 0.0, blur_s, profile.aftermath),
    )


def _context_traces(profile: StreamProfile) -> tuple[Trace, ...]:
    blur_s = profile.blur_s
    before_A = len(ACTIONS) + _MOMENT_A
    after_A = before_A + len(ACTIONS)
    return (
        Trace(_MOMENT_A, 0.0, 0.0, 0.5 * blur_s, 1.0),
        Trace(before_A, -17.0, 3.0, 4 * blur_s, 0.5 * profile.build_up, of_false_marks=False),
        Trace(after_A, 14.0, 3.0, 4 * blur_s, 0.5 * profile.aftermath, of_false_marks=False),
    )


NEAR = Layout(
    kind_A=_KIND_A,
    shared_size=0.6,
    num_features=len(ACTIONS) + 2 * len(KINDS),
    delay_spread=1.0,
    false_overlooked=0.5,
    label_jitter_s=LABEL_JITTER_S,
    traces=_near_traces,
)
CONTEXT = Layout(
    kind_A=_index_of(LOOKALIKES),
    shared_size=5.0,
    num_features=3 * len(ACTIONS),
    delay_spread=0.2,
    false_overlooked=0.2,
    label_jitter_s=0.15,
    traces=_context_traces,
)
