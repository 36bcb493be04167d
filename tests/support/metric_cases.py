"""Generated games for the metric, and a count of what occurs in them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from hmtas.metric.averages import LOOSE_S, TIGHT_S
from hmtas.metric.matching import NUM_CELLS, THRESHOLDS
from hmtas.records import Events, HalfId, Spots

SINGLE = [(1,), (2,), (3,), (4,), (5,), (0.7,), (7.5,), (30,), (60,)]
CONFIDENCES = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, 0.25]),
    st.sampled_from(THRESHOLDS.tolist()),
    st.sampled_from([float(np.nextafter(t, 0)) for t in THRESHOLDS[1:]]),
    st.floats(0, 1),
)


class Setting(NamedTuple):
    """What the games of one kind of case look like.

    Attributes:
        num_cases: Cases generated.
        tolerances_s: Sets of tolerances.
        num_actions: Lengths of the list of actions.
        start_ms: Earliest moment.
        lengths_ms: Lengths of time over which spots and events are spread.
        num_cells: Length of the official vectors.
    """

    num_cases: int
    tolerances_s: list[tuple[float, ...]]
    num_actions: list[int]
    start_ms: int = 0
    lengths_ms: tuple[int, ...] = (4_000, 20_000, 70_000)
    num_cells: int = 150


# The evaluator takes about 12 ms for each tolerance and action, hence few of both at once.
SETTINGS = {
    "single tolerances": Setting(1600, SINGLE, [1, 1, 2]),
    "tight": Setting(120, [TIGHT_S], [1]),
    "loose": Setting(60, [LOOSE_S], [1]),
    "lists of 3 and 5 actions": Setting(100, [*SINGLE, TIGHT_S], [3, 5]),
    "after two hours": Setting(
        150, SINGLE, [1], start_ms=7_190_000, lengths_ms=(12_000, 900_000), num_cells=NUM_CELLS
    ),
}


class Case(NamedTuple):
    spots: dict[HalfId, Spots]
    events: dict[HalfId, Events]
    num_actions: int
    tolerances_s: tuple[float, ...]


@st.composite
def cases(draw: st.DrawFn, setting: Setting) -> Case:
    """Up to four halves; the rows of each are drawn one by one, or in bulk from a seed."""
    num_actions = draw(st.sampled_from(setting.num_actions))
    length_ms = draw(st.sampled_from(setting.lengths_ms))
    shown = st.sampled_from(draw(st.sampled_from([[True], [False], [True, False]])))
    action = st.integers(0, num_actions - 1)
    ms = st.integers(setting.start_ms, setting.start_ms + length_ms - 1)
    spot_rows = st.lists(st.tuples(ms, action, CONFIDENCES), max_size=10)
    event_rows = st.lists(st.tuples(ms, action, shown), max_size=6)
    halves = draw(
        st.lists(
            st.builds(HalfId, st.sampled_from(["l/s/a", "l/s/b"]), st.sampled_from([1, 2])),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    spots, events = {}, {}
    for half in halves:
        if draw(st.booleans()):
            spots[half], events[half] = draw(spot_rows), draw(event_rows)
        else:
            generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
            levels = [0.0, 1.0, 0.5, *generator.random(6), *generator.choice(THRESHOLDS, 3)]
            n, m = generator.integers(0, [40, 15])
            times = setting.start_ms + generator.integers(0, length_ms, n + m)
            which = generator.integers(0, num_actions, n + m)
            spots[half] = list(zip(times[:n], which[:n], generator.choice(levels, n), strict=True))
            visible = [draw(shown) for _ in range(m)]
            events[half] = list(zip(times[n:], which[n:], visible, strict=True))
    return Case(
        {half: as_spots(half, rows) for half, rows in spots.items()},
        {half: as_events(half, rows) for half, rows in events.items()},
        num_actions,
        draw(st.sampled_from(setting.tolerances_s)),
    )


def as_spots(half: HalfId, rows: list[Any]) -> Spots:
    return Spots(
        half=half,
        time_s=np.array([row[0] for row in rows], dtype=np.float64) / 1000,
        action=np.array([row[1] for row in rows], dtype=np.int64),
        confidence=np.array([row[2] for row in rows], dtype=np.float64),
    )


def as_events(half: HalfId, rows: list[Any]) -> Events:
    ordered = sorted(rows, key=lambda row: row[0])
    return Events(
        half=half,
        time_s=np.array([row[0] for row in ordered], dtype=np.float64) / 1000,
        action=np.array([row[1] for row in ordered], dtype=np.int64),
        visible=np.array([row[2] for row in ordered], dtype=np.bool_),
    )


FEATURES = (
    "spots in one cell", "events in one cell", "events in one cell, one of them unshown",
    "an action without events", "an action without events in one half only", "a half without spots",
    "a half without events", "nothing at all", "all unshown", "shown and unshown", "score 0",
    "score 1", "score on a threshold", "score just below a threshold", "a tie in reach",
    "a spot in reach of two events", "one half of a game only", "several games", "half right",
)  # fmt: skip
COMMON = (
    "spots in one cell", "events in one cell", "all unshown", "score 0", "score 1",
    "score on a threshold", "a spot in reach of two events", "half right",
)  # fmt: skip
LATE = ("a spot after two hours", "an event after two hours")
INNER = THRESHOLDS[1:-1]


def features(case: Case) -> Iterator[str]:
    """What a case has of the things that a metric gets wrong."""
    halves = list(case.events)
    events, spots = list(case.events.values()), list(case.spots.values())
    visible = np.concatenate([e.visible for e in events])
    confidence = np.concatenate([s.confidence for s in spots])
    present = [set(e.action.tolist()) for e in events]
    both = set.union(*present)
    yield from (name for name, found in {
        "an action without events": len(both) < case.num_actions,
        "an action without events in one half only": any(both - one for one in present),
        "a half without spots": any(not len(s.time_s) for s in spots),
        "a half without events": any(not len(e.time_s) for e in events),
        "nothing at all": not len(visible) and not len(confidence),
        "all unshown": len(visible) > 0 and not visible.any(),
        "shown and unshown": len(set(visible.tolist())) == 2,
        "score 0": (confidence == 0).any(),
        "score 1": (confidence == 1).any(),
        "score on a threshold": np.isin(confidence, INNER).any(),
        "score just below a threshold": np.isin(confidence, np.nextafter(INNER, 0)).any(),
        "one half of a game only": len({half.game for half in halves}) < 2 > len(halves),
        "several games": len({half.game for half in halves}) == 2,
        "a spot after two hours": any((s.time_s >= 7200).any() for s in spots),
        "an event after two hours": any((e.time_s >= 7200).any() for e in events),
    }.items() if found)  # fmt: skip
    for half in halves:
        yield from features_of_half(case.spots[half], case.events[half], max(case.tolerances_s))


def features_of_half(spot: Spots, event: Events, tolerance_s: float) -> Iterator[str]:
    for action in set(event.action.tolist()) | set(spot.action.tolist()):
        time_s, confidence = (x[spot.action == action] for x in (spot.time_s, spot.confidence))
        truth_s, visible = (x[event.action == action] for x in (event.time_s, event.visible))
        cell, truth = (np.minimum(2 * x, NUM_CELLS - 1).astype(int) for x in (time_s, truth_s))
        if len(set(cell)) < len(cell):
            yield "spots in one cell"
        if len(set(truth)) < len(truth):
            yield "events in one cell"
        if any(len(set(visible[truth == t])) == 2 for t in truth):
            yield "events in one cell, one of them unshown"
        reach = np.abs(cell[:, None] - truth) <= tolerance_s
        if any(len(set(truth[row])) > 1 for row in reach):
            yield "a spot in reach of two events"
        for near in reach.T:
            tied = Counter(confidence[near & (confidence == c)].size for c in confidence[near])
            if any(size > 1 for size in tied) and len(set(cell[near])) > 1:
                yield "a tie in reach"
