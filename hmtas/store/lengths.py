"""Whether the streams and labels of a half are as long as each other, and which rates they show."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from hmtas.records import Events, HalfId
from hmtas.store.sources import SourceHalf
from hmtas.terminal.text import counted, percent

STEPS_S = (0.5, 1.0, 0.96, 2.0, 0.2, 0.1, 0.04)
"""What extractors make a row of: half seconds, VGGish's 0.96 s, ... the frames of a video."""
_ALIKE = 0.005  # two ratios of lengths are the same within this share

# Every real half of SoccerNet has a label in its last tenth, and labels fall anywhere: thirty that
# all lie in the first 60 % by chance are rarer than one season in 100,000.
_FAR = 0.6
_MIN_LABELS = 30
_MIN_LABELS_OF_HALF = 20  # of one half among others: one in 25,000 by chance
_MOST_HALVES = 0.95  # the others may be odd


class LateLabel(NamedTuple):
    """An annotation past its half's last row, within the slack."""

    half: HalfId
    action: str
    time_s: float
    length_s: float


def check_lengths(source: SourceHalf, rate_hz: float, slack_s: float) -> list[str]:
    """The streams that end too long before the longest one of their half."""
    longest = max(source.files, key=lambda file: file.num_rows)
    name = longest.blocks[0].stream
    return [
        f"{source.half}: stream {file.blocks[0].stream!r} has {file.num_rows} rows but "
        f"{name!r} has {longest.num_rows}, more than {slack_s:g} s apart; "
        + _cause(file.blocks[0].stream, file.num_rows, name, longest.num_rows, rate_hz)
        for file in source.files
        if longest.num_rows - file.num_rows > slack_s * rate_hz
    ]


def _cause(short: str, num_short: int, long: str, num_long: int, rate_hz: float) -> str:
    """Why one stream has fewer rows than another: its rate, if one that is usual explains it."""
    usual = sorted(STEPS_S, key=lambda step_s: step_s != 1 / rate_hz)
    for short_s, long_s in product(usual, usual):
        alike = abs(num_short * short_s / (num_long * long_s) - 1) < _ALIKE
        if alike and short_s != long_s:
            return (
                f"is {short!r} one row per {short_s:g} s and {long!r} one per {long_s:g} s? "
                "All streams of a store have one rate"
            )
    return "is one of them cut short, or of another video?"


def late_labels(
    events: Events,
    source: SourceHalf,
    actions: Sequence[str],
    problems: list[str],
    *,
    rate_hz: float,
    slack_s: float,
) -> list[LateLabel]:
    """Annotations past the end of the half; those beyond the slack are one mistake together."""
    length_s = source.num_rows / rate_hz
    late = [
        LateLabel(events.half, actions[action], float(time_s), length_s)
        for time_s, action in zip(events.time_s, events.action, strict=True)
        if time_s > length_s
    ]
    beyond = [item for item in late if item.time_s > length_s + slack_s]
    if beyond:
        last = beyond[-1]
        more = f" (and {len(beyond) - 1} more)" if len(beyond) > 1 else ""
        times = round(last.time_s / length_s)
        rate = f", or of {rate_hz / times:g} rows a second (--rate-hz)" if times > 1 else ""
        problems.append(
            f"{events.half}: label {last.action!r} at {last.time_s:g} s lies past the end of "
            f"the half, {length_s:g} s, by more than {slack_s:g} s{more}; "
            f"are embeddings cut short, or of the other half{rate}?"
        )
    return [item for item in late if item.time_s <= length_s + slack_s]


def doubted_rate(
    halves: Sequence[SourceHalf], events: Mapping[HalfId, Events], rate_hz: float
) -> str:
    """A warning if the labels of nearly all halves, or of some, end long before the rows do."""
    labelled = [
        (events[source.half], source.num_rows / rate_hz)
        for source in halves
        if source.half in events and len(events[source.half].time_s)
    ]
    num_labels = sum(len(item.time_s) for item, _ in labelled)
    if num_labels < _MIN_LABELS:
        return ""
    shares = [float(item.time_s[-1]) / length_s for item, length_s in labelled]
    reached = float(np.quantile(shares, _MOST_HALVES))
    if 0 < reached < _FAR:
        shown_hz = f"{rate_hz * round(1 / reached):g}"
        return (
            f"the last label of nearly every half lies in the first {percent(reached, 0)} % of its "
            f"rows ({counted(num_labels, 'label')} in {counted(len(labelled), 'half')}), but "
            f"labels reach the end of real ones: packed at {rate_hz:g} Hz, are the rows of "
            f"{shown_hz} Hz (--rate-hz {shown_hz})?"
        )
    odd = [
        item.half
        for (item, _), share in zip(labelled, shares, strict=True)
        if 0 < share < _FAR and len(item.time_s) >= _MIN_LABELS_OF_HALF
    ]
    return (
        f"the last label of {counted(len(odd), 'half')} of {len(labelled)} lies in the first "
        f"{percent(_FAR, 0)} % of its rows, but those of the others near the end: are they of "
        f"another rate or another game? The first is {odd[0]}"
        if odd
        else ""
    )
