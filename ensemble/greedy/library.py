"""Many models' probabilities as 16-bit codes, laid out for greedy selection.

Two hundred models of a hundred games are 7.3 GB in float32. Here every action has its own matrix
of codes, a row for each model, and only the moments at which some model reaches the threshold: an
average of models that all lie below it lies below it too, and such a moment is neither kept by
non-maximum suppression nor does it suppress another. Nothing that counts is left out.

A code is a rounded probability, or a rounded logit where averages are taken of logits. Sums of
codes are whole numbers, so that no order of summing makes a difference and equal means equal.

Shape letters besides those of `hmtas.records`:
    X  moments of one action that are kept, all halves one after another    H  halves
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from ensemble.stack.mean import EDGE
from hmtas.errors import InputError
from hmtas.metric.matching import THRESHOLDS, cells
from hmtas.records import Events, HalfId
from hmtas.runs.ensemble import Space

TOP = 65535  # the highest code
LEAST = float(THRESHOLDS[1])
"""Below the second threshold of the metric all confidences count alike."""

Source = Callable[[], Mapping[HalfId, np.ndarray]]
"""Reads one model's halves, each float32 (T, A); called twice, and let go in between."""


class Column(NamedTuple):
    """One action of all models in all halves."""

    code_MX: np.ndarray  # (M, X) uint16
    row_X: np.ndarray  # int32, the row within its half
    cell_X: np.ndarray  # int32, its cell (hmtas.metric.matching)
    first_H: np.ndarray  # (H + 1,) int64, where each half begins in X
    truth_M: np.ndarray  # int64 cells of the events, ascending in each half, none twice
    truth_first_H: np.ndarray  # (H + 1,) int64, where each half begins in `truth_M`

    @property
    def num_events(self) -> np.ndarray:
        """(H,) int64, of each half."""
        return np.diff(self.truth_first_H)


@dataclass(frozen=True, kw_only=True, eq=False)
class Library:
    """Models to select from."""

    names: tuple[str, ...]  # (M,) sorted
    copies: dict[str, str]  # models left out, each with the one that says exactly the same
    halves: tuple[HalfId, ...]  # (H,) sorted
    rate_hz: float
    space: Space  # what averages are taken of
    threshold: float  # spots below it do not count
    columns: tuple[Column, ...]  # one for each action

    @property
    def games(self) -> tuple[str, ...]:
        """The games, sorted."""
        return tuple(sorted({half.game for half in self.halves}))

    @property
    def num_bytes(self) -> int:
        """Of the codes."""
        return sum(column.code_MX.nbytes for column in self.columns)

    def code_of(self, probability: np.ndarray) -> np.ndarray:
        """float64, not rounded: means of codes above it are means above the probability."""
        if self.space == "probability":
            return probability.astype(np.float64) * TOP
        with np.errstate(divide="ignore"):
            exact: np.ndarray = np.log(probability) - np.log1p(-probability)
        return (exact + EDGE) / (2 * EDGE) * TOP


def build_library(
    sources: Mapping[str, Source],
    events: Mapping[HalfId, Events],
    *,
    rate_hz: float = 1.0,
    space: Space = "probability",
    threshold: float = LEAST,
) -> Library:
    """Encode models, two at a time.

    Args:
        sources: Name to what reads its halves, all on one grid of rows and of the same actions.
        events: Annotations; a half without is taken as one without actions.
        rate_hz: Rows per second.
        space: What averages are taken of.
        threshold: Spots below it do not count. 0 keeps every moment: memory for all of them.

    Raises:
        InputError: If there is no model, or one lacks a half that another has.
    """
    if not sources:
        raise InputError("a selection needs at least one model, got none")
    names = sorted(sources)
    first = sources[names[0]]()
    num_rows = {half: len(first[half]) for half in sorted(first)}
    num_actions = next(iter(first.values())).shape[1] if first else 0
    del first
    halves = tuple(num_rows)
    start_H = firsts(list(num_rows.values()))
    used_AT = np.zeros((num_actions, start_H[-1]), dtype=np.bool_)

    def mark(name: str) -> None:
        for start, rows in zip(start_H, _in_order(name, sources[name](), num_rows), strict=False):
            _mark(rows, threshold, used_AT[:, start:])

    with ThreadPoolExecutor(num_cores()) as pool:  # the compiled parts let go of the interpreter
        list(pool.map(mark, names))  # two threads may both write True
        columns = [
            _column(used_T, start_H, _truth(halves, events, a), len(names), rate_hz)
            for a, used_T in enumerate(used_AT)
        ]

        def encode(job: tuple[int, str]) -> None:
            m, name = job
            for h, rows in enumerate(_in_order(name, sources[name](), num_rows)):
                for a, column in enumerate(columns):
                    part = slice(column.first_H[h], column.first_H[h + 1])
                    _encode(
                        rows[:, a],
                        column.row_X[part],
                        space == "logit",
                        column.code_MX[m, part],
                    )

        list(pool.map(encode, enumerate(names)))
    copies = _copies(names, columns)
    kept = [m for m, name in enumerate(names) if name not in copies]
    if copies:
        for a, column in enumerate(columns):  # one at a time: all of it twice may not fit
            columns[a] = column._replace(code_MX=column.code_MX[kept])
    return Library(
        names=tuple(names[m] for m in kept),
        copies=copies,
        halves=halves,
        rate_hz=rate_hz,
        space=space,
        threshold=threshold,
        columns=tuple(columns),
    )


def firsts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each part begins when they lie one after another, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(
    name: str, found: Mapping[HalfId, np.ndarray], num_rows: Mapping[HalfId, int]
) -> list[np.ndarray]:
    missing = sorted(num_rows.keys() ^ found.keys())
    if missing:
        raise InputError(
            f"{name} and the model before it differ in {missing[0]} and {len(missing) - 1} more "
            "halves; predict the same split with every model"
        )
    rows = [found[half] for half in num_rows]
    for half, of_half in zip(num_rows, rows, strict=True):
        if len(of_half) != num_rows[half]:
            raise ValueError(f"{name}, {half}: {len(of_half)} rows instead of {num_rows[half]}")
    return rows


def _truth(
    halves: Sequence[HalfId], events: Mapping[HalfId, Events], action: int
) -> list[np.ndarray]:
    """Cells of one action's events in each half."""
    found = [events.get(half) or Events.empty(half) for half in halves]
    return [np.unique(cells(part.time_s[part.action == action])) for part in found]


def _column(
    used_T: np.ndarray,
    start_H: np.ndarray,
    truth: Sequence[np.ndarray],
    num_models: int,
    rate_hz: float,
) -> Column:
    """One action with room for the codes."""
    place_X = np.flatnonzero(used_T)
    first_H = np.searchsorted(place_X, start_H)
    row_X = place_X - np.repeat(start_H[:-1], np.diff(first_H))
    return Column(
        code_MX=np.empty((num_models, len(place_X)), dtype=np.uint16),
        row_X=row_X.astype(np.int32),
        cell_X=cells(row_X / rate_hz).astype(np.int32),
        first_H=first_H,
        truth_M=np.concatenate([np.empty(0, np.int64), *truth]),
        truth_first_H=firsts([len(cell) for cell in truth]),
    )


def _copies(names: Sequence[str], columns: Sequence[Column]) -> dict[str, str]:
    """Models whose codes are those of an earlier one."""
    first_with: dict[tuple[int, ...], list[int]] = {}
    copies: dict[str, str] = {}
    for m, name in enumerate(names):
        key = tuple(int(column.code_MX[m].sum(dtype=np.int64)) for column in columns)
        alike = first_with.setdefault(key, [])
        same = (
            o
            for o in alike
            if all(np.array_equal(column.code_MX[o], column.code_MX[m]) for column in columns)
        )
        original = next(same, None)
        if original is None:
            alike.append(m)
        else:
            copies[name] = names[original]
    return copies


@njit(cache=True, nogil=True)
def _mark(rows_TA: np.ndarray, threshold: float, used_AT: np.ndarray) -> None:
    for t in range(rows_TA.shape[0]):
        for a in range(rows_TA.shape[1]):
            if rows_TA[t, a] >= threshold:
                used_AT[a, t] = True


@njit(cache=True, nogil=True)
def _encode(value_T: np.ndarray, row_X: np.ndarray, logit: bool, code_X: np.ndarray) -> None:
    for x in range(len(row_X)):
        share = np.float64(value_T[row_X[x]])
        if logit:
            least = 1 / (1 + np.exp(EDGE))
            share = min(max(share, least), 1 - least)
            share = (np.log(share / (1 - share)) + EDGE) / (2 * EDGE)
        code_X[x] = np.uint16(min(max(share, 0.0), 1.0) * TOP + 0.5)
