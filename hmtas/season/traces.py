"""Which traces an action leaves in a stream: where in time, how large, and shared with what.

`NEAR` is the ordinary season: an action shows within seconds of its moment, and a window of a few
rows sees nearly all of it. `CONTEXT` is a season that needs a long context. There, similar actions
hardly differ at the moment. What tells them apart is a weak build-up 10 to 30 s before, a weak
aftermath up to 30 s behind, and the events around: after a foul, an indirect free kick comes sooner
than a direct one. A moment that only looks like an action has neither build-up nor aftermath.
Moments are narrow and labels exact, so that rows of a second tell the half second. Other sports
are laid out as `NEAR` at a pace of their own: the faster events follow, the narrower the traces.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hmtas.formats.actions import ACTIONS
from hmtas.season.match import LABEL_JITTER_S
from hmtas.season.profiles import LOUDNESS, QUIET, StreamProfile

Kinds = Sequence[Sequence[str]]  # every action in one of them

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
    loudness_A: np.ndarray  # (A,) size of a moment to a stream that hears
    pace: float  # how long everything takes, beside football
    delay_spread: float  # of a profile's `delay_spread_s`
    false_overlooked: float  # share of the lookalikes of an action that a stream is not fooled by
    label_jitter_s: float  # standard deviation of an annotator
    traces: Callable[[StreamProfile], tuple[Trace, ...]]


def near_layout(
    actions: Sequence[str],
    kinds: Kinds,
    loudness: Mapping[str, float],
    *,
    pace: float,
    label_jitter_s: float,
) -> Layout:
    """Evidence close to the moment.

    Args:
        actions: Names of the A actions.
        kinds: Groups that share a part of their moments, and their build-up and aftermath.
        loudness: Of the actions that are not `QUIET`.
        pace: How long everything takes beside football; 0.5 is twice as fast.
        label_jitter_s: Standard deviation of an annotator.
    """
    kind_A = _index_of(actions, kinds)
    before_A = len(actions) + kind_A
    after_A = before_A + len(kinds)

    def traces(profile: StreamProfile) -> tuple[Trace, ...]:
        blur_s = profile.blur_s
        return (
            Trace(np.arange(len(actions)), 0.0, 0.0, blur_s, 1.0),
            Trace(before_A, -2.0 * pace, 0.0, blur_s, profile.build_up),
            Trace(after_A, 2.5 * pace, 0.0, blur_s, profile.aftermath),
        )

    return Layout(
        kind_A=kind_A,
        shared_size=0.6,
        num_features=len(actions) + 2 * len(kinds),
        loudness_A=_loudness_of(actions, loudness),
        pace=pace,
        delay_spread=1.0,
        false_overlooked=0.5,
        label_jitter_s=label_jitter_s,
        traces=traces,
    )


def _index_of(actions: Sequence[str], kinds: Kinds) -> np.ndarray:
    return np.array([[action in kind for kind in kinds].index(True) for action in actions])


def _loudness_of(actions: Sequence[str], loudness: Mapping[str, float]) -> np.ndarray:
    return np.array([loudness.get(action, QUIET) for action in actions])


def _context_traces(profile: StreamProfile) -> tuple[Trace, ...]:
    blur_s = profile.blur_s
    moment_A = np.arange(len(ACTIONS))
    before_A = len(ACTIONS) + moment_A
    after_A = before_A + len(ACTIONS)
    return (
        Trace(moment_A, 0.0, 0.0, 0.5 * blur_s, 1.0),
        Trace(before_A, -17.0, 3.0, 4 * blur_s, 0.5 * profile.build_up, of_false_marks=False),
        Trace(after_A, 14.0, 3.0, 4 * blur_s, 0.5 * profile.aftermath, of_false_marks=False),
    )


NEAR = near_layout(ACTIONS, KINDS, LOUDNESS, pace=1.0, label_jitter_s=LABEL_JITTER_S)
CONTEXT = Layout(
    kind_A=_index_of(ACTIONS, LOOKALIKES),
    shared_size=5.0,
    num_features=3 * len(ACTIONS),
    loudness_A=_loudness_of(ACTIONS, LOUDNESS),
    pace=1.0,
    delay_spread=0.2,
    false_overlooked=0.2,
    label_jitter_s=0.15,
    traces=_context_traces,
)
