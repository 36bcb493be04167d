"""Average precision of ensembles that differ by one model: the compiled part of greedy selection.

For each action and half: add a model's codes to the sum, keep the peaks (ensemble.greedy.peaks),
match them to the events and count as hmtas.metric.matching does. It gives what those give, on whole
numbers, without a copy or an allocation per half.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from ensemble.greedy.library import Column
from ensemble.greedy.peaks import (
    FIRST,
    KEPT,
    NUM_ROWS,
    STOP,
    keep_peaks,
    make_key,
    place_of,
    value_of,
)
from hmtas.metric.matching import THRESHOLDS, interpolated_precision

CELL, VALUE, HIT = 0, 1, 2  # rows of the spots
NO_CODES = np.empty(0, dtype=np.uint16)


class Blocks(NamedTuple):
    """One action's rows cut into blocks that hold at most one spot."""

    reach: int  # rows to each side that a kept row suppresses
    start_B: np.ndarray  # int64, where each block that has rows begins in X; ends with X
    first_H: np.ndarray  # (H + 1,) int64, where each half begins in `start_B`


class Scale(NamedTuple):
    """What the codes mean."""

    floor: float  # the least code that counts
    edge_K: np.ndarray  # codes of the metric's thresholds, ascending
    bin_of: np.ndarray  # (65536,) int64, the highest threshold that each code reaches
    reach_D: np.ndarray  # (D,) int64 cells to each side of an event, ascending
    weight_D: np.ndarray  # their weights in the average


def cut(column: Column, reach: int) -> Blocks:
    """Cut an action's rows into blocks of `reach + 1`."""
    half_X = np.repeat(np.arange(len(column.first_H) - 1), np.diff(column.first_H))
    block_X = column.row_X // (reach + 1)
    new = np.ones(len(block_X), dtype=np.bool_)
    new[1:] = (np.diff(half_X) != 0) | (np.diff(block_X) != 0)
    start_B = np.append(np.flatnonzero(new), len(block_X)).astype(np.int64)
    first_H = np.searchsorted(start_B[:-1], column.first_H).astype(np.int64)
    return Blocks(reach, start_B, first_H)


class Counts(NamedTuple):
    """Histograms of one action for each candidate, over the halves counted so far."""

    detections_CK: np.ndarray  # int32, spots whose highest threshold is the k-th
    hits_CDK: np.ndarray  # int32, those that match an event

    @classmethod
    def zeros(cls, num_candidates: int, num_tolerances: int) -> "Counts":
        """Nothing counted yet."""
        shape = (num_candidates, num_tolerances, len(THRESHOLDS))
        return cls(np.zeros((shape[0], shape[2]), np.int32), np.zeros(shape, np.int32))


class Total(NamedTuple):
    """The members so far: the sum of their codes, (X,) int32, and how many they are."""

    code_X: np.ndarray
    num: int


class Action(NamedTuple):
    """Everything about one action that stays the same while models are selected."""

    column: Column
    blocks: Blocks
    scale: Scale


class Weighted(NamedTuple):
    """Halves to count: their index and how often each counts, both int64."""

    half_N: np.ndarray
    weight_N: np.ndarray


@njit(cache=True, nogil=True)
def count(
    action: Action, total: Total, candidate_C: np.ndarray, halves: Weighted, counts: Counts
) -> None:
    """Add some halves to the counts of one action when each candidate joins the members.

    Candidates, int64, are tried one at a time; -1 tries the members as they are.
    """
    column, blocks, scale = action
    num_rows, num_blocks = np.diff(column.first_H).max(), np.diff(blocks.first_H).max()
    key_X = np.empty(num_rows, dtype=np.int64)
    block_SB = np.empty((NUM_ROWS, num_blocks), dtype=np.int64)
    spot_SN = np.empty((3, num_blocks), dtype=np.int64)
    for c in range(len(candidate_C)):
        m = candidate_C[c]
        num = total.num + (1 if m >= 0 else 0)
        least = int(np.ceil(scale.floor * num))
        for n in range(len(halves.half_N)):
            h = halves.half_N[n]
            first, stop = column.first_H[h], column.first_H[h + 1]
            code_X = column.code_MX[m, first:stop] if m >= 0 else NO_CODES
            _fill(total.code_X[first:stop], code_X, least, key_X)
            start_B = blocks.start_B[blocks.first_H[h] : blocks.first_H[h + 1] + 1] - first
            of_half_SB = block_SB[:, : len(start_B) - 1]
            of_half_SB[FIRST], of_half_SB[STOP] = start_B[:-1], start_B[1:]
            keep_peaks(key_X, column.row_X[first:stop], blocks.reach, of_half_SB)
            spots_SN = _lay_out(of_half_SB[KEPT], column.cell_X[first:stop], spot_SN)
            truth_M = column.truth_M[column.truth_first_H[h] : column.truth_first_H[h + 1]]
            _match(truth_M, scale.reach_D, spots_SN)
            _rank(spots_SN, num, scale)
            for i in range(spots_SN.shape[1]):
                k, hit = spots_SN[VALUE, i], spots_SN[HIT, i]
                counts.detections_CK[c, k] += halves.weight_N[n]
                for d in range(len(scale.reach_D)):
                    if hit >> d & 1:
                        counts.hits_CDK[c, d, k] += halves.weight_N[n]


@njit(cache=True, nogil=True)
def _fill(total_X: np.ndarray, code_X: np.ndarray, least: int, key_X: np.ndarray) -> None:
    """Keys of the sum of the members and a candidate, if any; -1 for sums below `least`."""
    for x in range(len(total_X)):
        value = int(total_X[x])
        if len(code_X) > 0:
            value += int(code_X[x])
        key_X[x] = make_key(value, x) if value >= least else -1


@njit(cache=True, nogil=True)
def _lay_out(kept_B: np.ndarray, cell_X: np.ndarray, spot_SN: np.ndarray) -> np.ndarray:
    """The spots in order of time; of two in one cell, the later one."""
    num_spots = 0
    for key in kept_B:
        if key >= 0:
            cell = cell_X[place_of(key)]
            if num_spots == 0 or spot_SN[CELL, num_spots - 1] != cell:
                num_spots += 1
            spot_SN[CELL, num_spots - 1] = cell
            spot_SN[VALUE, num_spots - 1] = value_of(key)
    return spot_SN[:, :num_spots]


@njit(cache=True, nogil=True)
def _match(truth_M: np.ndarray, reach_D: np.ndarray, spot_SN: np.ndarray) -> None:
    """Set a bit of HIT for each tolerance, as `hmtas.metric.matching.match_cells` does."""
    num_spots = spot_SN.shape[1]
    spot_SN[HIT] = 0
    for d in range(len(reach_D)):
        bit, start = 1 << d, 0
        for m in range(len(truth_M)):
            low, high = truth_M[m] - reach_D[d], truth_M[m] + reach_D[d]
            if start < num_spots and spot_SN[CELL, start] < low:
                start += np.searchsorted(spot_SN[CELL, start:], low)
            best = -1
            i = start
            while i < num_spots and spot_SN[CELL, i] <= high:
                free = spot_SN[HIT, i] & bit == 0
                if free and (best < 0 or spot_SN[VALUE, i] > spot_SN[VALUE, best]):
                    best = i
                i += 1
            if best >= 0:
                spot_SN[HIT, best] |= bit


@njit(cache=True, nogil=True)
def _rank(spot_SN: np.ndarray, num: int, scale: Scale) -> None:
    """Replace the sum of `num` codes by the highest threshold that their mean reaches."""
    for i in range(spot_SN.shape[1]):
        value = spot_SN[VALUE, i]
        k = scale.bin_of[value // num]
        while k + 1 < len(scale.edge_K) and value >= num * scale.edge_K[k + 1]:
            k += 1  # the rest of the division reaches a threshold between two codes
        spot_SN[VALUE, i] = k


@njit(cache=True, nogil=True)
def precisions(counts: Counts, num_events: float, weight_D: np.ndarray) -> np.ndarray:
    """(C,) average precision of each candidate; 0 without events, as in the official mean."""
    result = np.zeros(len(counts.detections_CK))
    if num_events == 0:
        return result
    for c in range(len(result)):
        for d in range(len(weight_D)):
            result[c] += weight_D[d] * interpolated_precision(
                counts.detections_CK[c], counts.hits_CDK[c, d], num_events
            )
    return result
