"""Whether the streams and labels of a half are as long as each other, and which rates they show."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from hmtas.packing.sources import SourceFile, SourceHalf
from hmtas.records import Events, HalfId
from hmtas.terminal.text import counted, percent

STEPS_S = (0.5, 1.0, 0.96, 2.0, 0.2, 0.1, 0.04)
"""What extractors make a row of: half seconds, VGGish's 0.96 s, ... the frames of a video."""
_ALIKE = 0.005  # two ratios of lengths are the same within this share
_ROUNDING_S = 1e-6
_MOST_RAGGED = 2  # rows by which the files of a half differ for no reason

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


class _Rows(NamedTuple):
    """The rows of a stream in a half, or in several."""

    file: SourceFile  # one of them
    number: int
    rate_hz: float  # as given
    is_resampled: bool  # is that not the rate of the store?

    @property
    def stream(self) -> str:
        return self.file.blocks[0].stream

    @property
    def length_s(self) -> float:
        return self.number / self.rate_hz


def _rows_of(source: SourceHalf, rate_hz: float) -> list[_Rows]:
    """The rows of each file of a half."""
    return [
        _Rows(
            file,
            file.num_rows,
            source.rate_of(file, rate_hz),
            is_resampled=file.blocks[0].stream in source.resampled,
        )
        for file in sorted(source.files, key=lambda file: file.name)
    ]


def check_lengths(source: SourceHalf, rate_hz: float, slack_s: float) -> list[str]:
    """The streams that end too long before the longest one of their half."""
    every = _rows_of(source, rate_hz)
    longest = max(every, key=lambda rows: rows.length_s)
    return [
        f"{source.half}: stream {rows.stream!r} has {_shown(rows, ' rows')} but "
        f"{longest.stream!r} has {_shown(longest)}, more than {slack_s:g} s apart; "
        + _cause(rows, longest)
        for rows in every
        if longest.length_s - rows.length_s > slack_s + _ROUNDING_S
    ]


def _shown(rows: _Rows, noun: str = "") -> str:
    """How many rows there are, and of which rate if that is not the store's."""
    return f"{rows.number}{noun}" + (f" of {rows.rate_hz:g} Hz" if rows.is_resampled else "")


def _cause(short: _Rows, long: _Rows) -> str:
    """Why one stream ends before another: it is transposed, or a usual rate explains it."""
    for rows in (short, long):
        if rows.file.why_transposed:
            return f"{rows.file.path.name}: {rows.file.why_transposed}"
    steps = _usual_steps(short, long)
    return _ask(short, long, steps) if steps else "is one of them cut short, or of another video?"


def _usual_steps(short: _Rows, long: _Rows) -> tuple[float, float] | None:
    """Seconds per row, of usual rates, by which two streams are as long as each other."""
    own = (1 / short.rate_hz, 1 / long.rate_hz)
    steps = [dict.fromkeys((step_s, *STEPS_S)) for step_s in own]
    # To change one rate is likelier than two, and one that is odd already than the store's.
    costs = [2 if rows.is_resampled else 3 for rows in (short, long)]
    for short_s, long_s in sorted(
        product(*steps),
        key=lambda pair: costs[0] * (pair[0] != own[0]) + costs[1] * (pair[1] != own[1]),
    ):
        alike = abs(short.number * short_s / (long.number * long_s) - 1) < _ALIKE
        if alike and abs(short_s / long_s / (own[0] / own[1]) - 1) > _ALIKE:
            return short_s, long_s
    return None


def _ask(short: _Rows, long: _Rows, steps: tuple[float, float]) -> str:
    """Ask for the rates of two streams, with the options that give them."""
    options = " ".join(
        f"--rate-hz {rows.file.name}={1 / step_s:.5g}"
        for rows, step_s in zip((short, long), steps, strict=True)
        if step_s != 1 / rows.rate_hz
    )
    return (
        f"is {short.stream!r} one row per {steps[0]:.3g} s and {long.stream!r} one per "
        f"{steps[1]:.3g} s? Then say so: {options}"
    )


def doubted_streams(halves: Sequence[SourceHalf], rate_hz: float) -> list[str]:
    """Warnings of streams whose lengths differ as usual rates do, within the slack of all halves.

    In the short halves of some sports every difference is within it.
    """
    pairs: dict[tuple[str, str], list[tuple[SourceHalf, _Rows, _Rows]]] = {}
    for source in halves:
        for one, two in combinations(_rows_of(source, rate_hz), 2):
            pairs.setdefault((one.file.name, two.file.name), []).append((source, one, two))
    return list(filter(None, map(_doubt, pairs.values())))


def _doubt(found: Sequence[tuple[SourceHalf, _Rows, _Rows]]) -> str:
    """A warning if two streams differ alike in nearly all halves; '' if not."""
    halves = [(one, two) for _, one, two in found]
    totals = [
        side[0]._replace(number=sum(rows.number for rows in side))
        for side in zip(*halves, strict=True)
    ]
    if totals[0].length_s > totals[1].length_s:
        totals.reverse()
        halves = [(long, short) for short, long in halves]
    steps = _usual_steps(totals[0], totals[1])
    if steps is None:
        return ""
    num_alike = sum(
        abs(short.number * steps[0] - long.number * steps[1]) <= max(steps) + _ROUNDING_S
        for short, long in halves
    )
    apart_s = [long.length_s - short.length_s for short, long in halves]
    farthest = apart_s.index(max(apart_s))
    row_s = max(1 / rows.rate_hz for rows in totals)
    if num_alike < _MOST_HALVES * len(halves) or apart_s[farthest] <= _MOST_RAGGED * row_s:
        return ""
    short, long = halves[farthest]
    return (
        f"streams {short.stream!r} and {long.stream!r} differ alike in {num_alike} of "
        f"{counted(len(halves), 'half')}, as with {short.number} and {long.number} rows of "
        f"{found[farthest][0].half}: {_ask(totals[0], totals[1], steps)}"
    )


def check_duration(
    source: SourceHalf, rate_hz: float, slack_s: float, duration_s: float | None
) -> list[str]:
    """A half whose rows do not last as long as its label file says that its video does."""
    length_s = source.num_rows / rate_hz
    if duration_s is None or abs(length_s - duration_s) <= slack_s:
        return []
    meant_hz = source.num_rows / duration_s
    usual = next((hz for hz in (1 / step for step in STEPS_S) if abs(meant_hz / hz - 1) < 0.02), 0)
    cause = (
        f"are there {usual:.5g} rows a second (--rate-hz {usual:.5g})?"
        if usual and abs(usual / rate_hz - 1) > _ALIKE
        else "are the embeddings cut short, or of another video?"
    )
    return [
        f"{source.half}: {source.num_rows} rows at {rate_hz:g} Hz last {length_s:g} s, but its "
        f"video {duration_s:g} s, as its label file says; {cause}"
    ]


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
        problems.append(
            f"{events.half}: label {last.action!r} at {last.time_s:g} s lies past the end of "
            f"the half, {length_s:g} s, by more than {slack_s:g} s{more}; "
            + _cause_of_late(source, round(last.time_s / length_s), rate_hz)
        )
    return [item for item in late if item.time_s <= length_s + slack_s]


def _cause_of_late(source: SourceHalf, times: int, rate_hz: float) -> str:
    """Why the last label of a half lies at so many times its length."""
    for file in source.files:
        if file.why_transposed:
            return f"{file.path.name}: {file.why_transposed}"
    longest = max(source.files, key=source.rows_of)
    stream = longest.blocks[0].stream
    slower_hz = source.rate_of(longest, rate_hz) / max(times, 1)
    rate = f", or of {slower_hz:g} rows a second (--rate-hz)" if times > 1 else ""
    if stream in source.resampled and times > 1:
        rate = f", or is {stream!r} of {slower_hz:g} Hz (--rate-hz {longest.name}={slower_hz:g})"
    return f"are embeddings cut short, or of the other half{rate}?"


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
        return (
            f"the last label of nearly every half lies in the first {percent(reached, 0)} % of its "
            f"rows ({counted(num_labels, 'label')} in {counted(len(labelled), 'half')}), but "
            f"labels reach the end of real ones: {_faster(halves, round(1 / reached), rate_hz)}"
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


def _faster(halves: Sequence[SourceHalf], times: int, rate_hz: float) -> str:
    """Ask whether all rows are of a rate that is so many times as high."""
    named = {
        file.name if file.blocks[0].stream in source.resampled else "": source.rate_of(
            file, rate_hz
        )
        for source in halves
        for file in source.files
    }
    faster = {name: f"{hz * times:g}" for name, hz in sorted(named.items())}
    options = " ".join(
        f"--rate-hz {name}={hz}" if name else f"--rate-hz {hz}" for name, hz in faster.items()
    )
    shown = " and ".join(dict.fromkeys(faster.values()))
    return f"packed at {rate_hz:g} Hz, are the rows of {shown} Hz ({options})?"
