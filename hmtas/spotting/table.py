"""Average precision of every action under every NMS setting, exactly, on all cores.

A setting is a rule and a window. Under one, an action of a half is a column of rows that is
suppressed, matched and counted by itself, so that a table of thousands of settings needs no spots
in memory and takes a second or so per hundred.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from hmtas.config import NmsKind
from hmtas.metric.averages import TIGHT_S, trapezoid_weights
from hmtas.metric.matching import (
    GRID_HZ,
    THRESHOLDS,
    cells,
    interpolated_precision,
    match_cells,
    reaches,
    threshold_bin,
)
from hmtas.records import Events, HalfId, Probabilities
from hmtas.spotting.nms import DROPPED, Rule, make_rule, suppress_column


class Setting(NamedTuple):
    """A rule of suppression and its window."""

    kind: NmsKind
    window_s: float


class Table(NamedTuple):
    """Average precision of every action under every setting."""

    settings: tuple[Setting, ...]  # (W,)
    precision: np.ndarray  # (W, A) trapezoid over the tolerances; 0 for an action without events
    num_events: np.ndarray  # (A,) in the games


class Columns(NamedTuple):
    """One action in all halves, one after another. X: rows of all halves; M: its events there."""

    value_X: np.ndarray  # float32 probabilities
    cell_X: np.ndarray  # cells of the rows (hmtas.metric.matching)
    first_H: np.ndarray  # (H + 1,) where each half begins in X
    truth_M: np.ndarray  # cells of the events, ascending in each half, none twice
    truth_first_H: np.ndarray  # (H + 1,) where each half begins in M
    group_H: np.ndarray  # halves with the same number are counted together
    num_groups: int  # G


def tabulate(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    game_sets: Sequence[Sequence[str]],
    settings: Iterable[Setting],
    *,
    threshold: float = 0.0,
    tolerances_s: Sequence[float] = TIGHT_S,
    grid_hz: int = GRID_HZ,
    on_setting: Callable[[], None] = lambda: None,
) -> list[Table]:
    """Suppress, match and count once per setting, and score it on each set of games.

    Args:
        halves: Stored probabilities of every half, all of one rate.
        events: Annotations of the same halves.
        game_sets: Games of each table.
        settings: What to try.
        threshold: Spots below it are dropped.
        tolerances_s: (D,) full widths in seconds, ascending.
        grid_hz: Cells a second.
        on_setting: Called after each setting.

    Returns:
        One table per set of games.
    """
    settings = tuple(settings)
    member_SH = np.array([[half.game in set(games) for half in halves] for games in game_sets])
    # Halves that no set tells apart are counted together: with folds, those of a fold.
    member_SG, group_H = np.unique(member_SH, axis=1, return_inverse=True)
    weight_SG = member_SG.astype(np.float64)
    columns_A = _lay_out(halves, events, group_H.ravel(), member_SG.shape[1], grid_hz)
    num_actions = len(columns_A)
    events_AH = np.array([np.diff(columns.truth_first_H) for columns in columns_A])
    events_SA = member_SH.astype(np.int64) @ events_AH.T
    reach_D = reaches(tolerances_s, grid_hz)
    rate_hz = next(iter(halves.values())).rate_hz
    rules = [make_rule(s.window_s * rate_hz, s.kind) for s in settings]
    keys = [(rule.before, rule.after, rule.factor.tobytes()) for rule in rules]
    new = {key: w for w, key in reversed(list(enumerate(keys)))}  # at 1 Hz, hard 2 s is 3 s

    def measure(job: tuple[int, int]) -> np.ndarray:
        w, a = job
        detections_GK, hits_GDK = count_action(columns_A[a], threshold, rules[w], reach_D)
        return _precision(weight_SG, detections_GK, hits_GDK, events_SA[:, a])

    precision_SWA = np.zeros((len(game_sets), len(settings), num_actions))
    jobs = [(w, a) for w in sorted(new.values()) for a in range(num_actions)]
    with ThreadPoolExecutor(num_cores()) as pool:  # the compiled part lets go of the interpreter
        for (w, a), precision_S in zip(jobs, pool.map(measure, jobs), strict=True):
            precision_SWA[:, w, a] = precision_S
            if a == num_actions - 1:
                on_setting()
    for w, key in enumerate(keys):
        if new[key] != w:
            precision_SWA[:, w] = precision_SWA[:, new[key]]
            on_setting()
    return [
        Table(settings, precision_WA, num_events_A)
        for precision_WA, num_events_A in zip(precision_SWA, events_SA, strict=True)
    ]


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _lay_out(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    group_H: np.ndarray,
    num_groups: int,
    grid_hz: int,
) -> list[Columns]:
    """The columns of each action."""
    parts = list(halves.values())
    num_rows = [len(part.values) for part in parts]
    cell_X = np.concatenate([cells(np.arange(len(p.values)) / p.rate_hz, grid_hz) for p in parts])
    value_AX = np.empty((parts[0].values.shape[1], len(cell_X)), dtype=np.float32)
    first_H = _firsts(num_rows)
    for part, first in zip(parts, first_H, strict=False):
        value_AX[:, first : first + len(part.values)] = part.values.T
    columns_A = []
    for a, value_X in enumerate(value_AX):
        truth = [
            np.unique(cells(events[half].time_s[events[half].action == a], grid_hz))
            for half in halves
        ]
        columns_A.append(
            Columns(
                value_X=value_X,
                cell_X=cell_X,
                first_H=first_H,
                truth_M=np.concatenate(truth),
                truth_first_H=_firsts([len(cell) for cell in truth]),
                group_H=group_H,
                num_groups=num_groups,
            )
        )
    return columns_A


def _firsts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _precision(
    weight_SG: np.ndarray, detections_GK: np.ndarray, hits_GDK: np.ndarray, num_events_S: np.ndarray
) -> np.ndarray:
    """Average precision on each set of games, shape (S,); 0 without events."""
    detections_SK = weight_SG @ detections_GK
    hits_SDK = np.tensordot(weight_SG, hits_GDK, axes=1)
    weight_D = trapezoid_weights(hits_SDK.shape[1])
    result = np.zeros(len(weight_SG))
    for s in np.flatnonzero(num_events_S):
        result[s] = weight_D @ [
            interpolated_precision(detections_SK[s], hits_K, float(num_events_S[s]))
            for hits_K in hits_SDK[s]
        ]
    return result


@njit(cache=True, nogil=True)
def count_action(
    columns: Columns, threshold: float, rule: Rule, reach_D: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Suppress one action in every half and count as `hmtas.metric.matching.count_half` does.

    Rows below the threshold are dropped; `reach_D` are cells to each side, ascending.

    Returns:
        Detections (G, K) and hits (G, D, K), both float64.
    """
    num_bins = len(THRESHOLDS)
    detections_GK = np.zeros((columns.num_groups, num_bins))
    hits_GDK = np.zeros((columns.num_groups, len(reach_D), num_bins))
    reach = reach_D[-1]
    for h in range(len(columns.group_H)):
        g = columns.group_H[h]
        first, stop = columns.first_H[h], columns.first_H[h + 1]
        value, cell = columns.value_X[first:stop], columns.cell_X[first:stop]
        truth = columns.truth_M[columns.truth_first_H[h] : columns.truth_first_H[h + 1]]
        floor = 0.0
        if threshold == 0.0 and len(rule.factor) > 0 and _are_apart(truth, 2 * reach):
            # Below the second threshold all confidences count alike, and where no spot is in
            # reach of two events it makes no difference which of them an event takes.
            floor = THRESHOLDS[1]
        kept = np.empty(len(value))
        suppress_column(value, threshold, floor, rule, kept)
        num_spots = 0
        spot_cell = np.empty(len(value), dtype=np.int64)
        for t in range(len(value)):
            if kept[t] != DROPPED:
                if num_spots == 0 or spot_cell[num_spots - 1] != cell[t]:
                    num_spots += 1
                spot_cell[num_spots - 1] = cell[t]  # a later spot overwrites one in its cell
                kept[num_spots - 1] = kept[t]
        spot_cell, confidence = spot_cell[:num_spots], kept[:num_spots]
        for n in range(num_spots):
            detections_GK[g, threshold_bin(confidence[n])] += 1
        near = _near(spot_cell, truth, reach)
        for d in range(len(reach_D)):
            hit = match_cells(spot_cell[near], confidence[near], truth, reach_D[d])
            for n in range(len(near)):
                if hit[n]:
                    hits_GDK[g, d, threshold_bin(confidence[near[n]])] += 1
    return detections_GK, hits_GDK


@njit(cache=True, nogil=True)
def _are_apart(truth: np.ndarray, cells_apart: float) -> bool:
    """Is every event more than this many cells from the next?"""
    return bool((np.diff(truth) > cells_apart).all())


@njit(cache=True, nogil=True)
def _near(spot_cell: np.ndarray, truth: np.ndarray, reach: float) -> np.ndarray:
    """Indices, ascending, of the spots in reach of an event: no other can match."""
    near = np.empty(len(spot_cell), dtype=np.int64)
    count = 0
    n = 0
    for m in range(len(truth)):
        n = max(n, np.searchsorted(spot_cell, truth[m] - reach))
        while n < len(spot_cell) and spot_cell[n] <= truth[m] + reach:
            near[count] = n
            count += 1
            n += 1
    return near[:count]
