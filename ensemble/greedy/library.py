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

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from ensemble.stack.align import Stack
from ensemble.stack.mean import EDGE
from hmtas.metric.matching import THRESHOLDS, cells
from hmtas.records import Events, HalfId
from hmtas.runs.ensemble import Space
from hmtas.spotting.table import num_cores

TOP = 65535  # the highest code
LEAST = float(THRESHOLDS[1])
"""Below the second threshold of the metric all confidences count alike."""


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
        """Bytes of the codes."""
        return sum(column.code_MX.nbytes for column in self.columns)

    def code_of(self, probability: np.ndarray) -> np.ndarray:
        """float64, not rounded: means of codes above it are means above the probability."""
        if self.space == "probability":
            return probability.astype(np.float64) * TOP
        with np.errstate(divide="ignore"):
            exact: np.ndarray = np.log(probability) - np.log1p(-probability)
        return (exact + EDGE) / (2 * EDGE) * TOP


def build_library(
    stacked: Stack,
    events: Mapping[HalfId, Events],
    *,
    space: Space = "probability",
    threshold: float = LEAST,
) -> Library:
    """Encode models, a few at a time.

    A half without annotations is taken as one without actions. A threshold of 0 keeps every moment,
    and takes memory for all of them.
    """
    names = sorted(stacked.models)
    halves = tuple(stacked.num_rows)
    start_H = firsts(list(stacked.num_rows.values()))
    used_AT = np.zeros((len(stacked.actions), start_H[-1]), dtype=np.bool_)

    def mark(name: str) -> None:
        for start, rows in zip(start_H, stacked.of_model(name).values(), strict=False):
            _mark(rows, threshold, used_AT[:, start:])

    with ThreadPoolExecutor(num_cores()) as pool:  # the compiled parts release the GIL
        list(pool.map(mark, names))  # two threads may both write True
        columns = [
            _column(used_T, start_H, _truth(halves, events, a), len(names), stacked.rate_hz)
            for a, used_T in enumerate(used_AT)
        ]

        def encode(job: tuple[int, str]) -> None:
            m, name = job
            for h, rows in enumerate(stacked.of_model(name).values()):
                for a, column in enumerate(columns):
                    part = slice(column.first_H[h], column.first_H[h + 1])
                    codes_X = column.code_MX[m, part]
                    _encode(rows[:, a], column.row_X[part], space == "logit", codes_X)

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
        rate_hz=stacked.rate_hz,
        space=space,
        threshold=threshold,
        columns=tuple(columns),
    )


def firsts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each part begins when they lie one after another, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


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
