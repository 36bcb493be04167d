"""Counts of each game, and Average-mAP of games with weights.

Differences from the official number
    A resample without any event of an action says nothing about that action, where the official
    mean would count it 0 and pull the whole interval down. The mean is taken over the other
    actions instead, and scaled by the share of actions that have events in all games; with every
    game counted once that is the official number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit

from hmtas.errors import InputError
from hmtas.metric.averages import trapezoid_weights
from hmtas.metric.counts import Histograms
from hmtas.metric.frames import FrameCounts, frame_maps
from hmtas.metric.matching import interpolated_precision


@dataclass(frozen=True, kw_only=True, eq=False)
class GameCounts:
    """Histograms by game, visible and unshown together."""

    games: tuple[str, ...]  # (G,) sorted
    tolerances_s: np.ndarray  # (D,) full widths, ascending
    detections: np.ndarray  # (G, A, K) unsigned, spots whose highest threshold is the k-th
    hits: np.ndarray  # (G, A, D, K) unsigned, those that match an event
    num_events: np.ndarray  # (G, A) int64 annotated cells

    @classmethod
    def of(cls, counts: Histograms) -> "GameCounts":
        """Sum the halves of each game."""

        def summed(values_H: np.ndarray) -> np.ndarray:
            total = np.zeros((len(counts.games), *values_H.shape[1:]), dtype=values_H.dtype)
            np.add.at(total, counts.game_of_half, values_H)
            return total

        return cls(
            games=counts.games,
            tolerances_s=counts.tolerances_s,
            detections=summed(counts.detections.sum(axis=2, dtype=counts.detections.dtype)),
            hits=summed(counts.hits.sum(axis=3, dtype=counts.detections.dtype)),
            num_events=summed(counts.num_events.sum(axis=2)),
        )


Counts = GameCounts | FrameCounts


def check_paired(models: Sequence[Counts], names: Sequence[str] = ()) -> None:
    """Refuse to compare models that were not counted alike; `names` is for the message.

    Raises:
        InputError: If they are not scored on the same games with the same labels.
        ValueError: If their tolerances or actions differ.
    """
    first = models[0]
    for m, other in enumerate(models[1:], start=1):
        place = f"{names[0]} and {names[m]}: " if names else ""
        if first.games != other.games:
            alone = sorted(set(first.games) ^ set(other.games))
            raise InputError(
                f"{place}models are compared on the same games, but {len(alone)} games, the first "
                f"{alone[0]!r}, are scored for one of them only; were they predicted on "
                "different stores?"
            )
        if (
            _metric_of(first) != _metric_of(other)
            or first.num_events.shape != other.num_events.shape
        ):
            raise ValueError("a comparison needs the same tolerances and the same actions")
        if not np.array_equal(first.num_events, other.num_events):
            raise InputError(
                f"{place}their stores have other labels for the same games; predict both on one "
                "store"
            )


def _metric_of(counts: Counts) -> tuple[float, ...]:
    """Frames a second, 0 where seconds count, and the tolerances."""
    if isinstance(counts, FrameCounts):
        return counts.fps, *counts.tolerances.tolist()
    return 0.0, *counts.tolerances_s.tolist()


def resampled_averages(counts: Counts, weights_RG: np.ndarray) -> np.ndarray:
    """Average-mAP of each row of weights, or mAP by frames, shape (R,)."""
    if isinstance(counts, FrameCounts):
        return frame_maps(counts, weights_RG)
    return _averages(
        np.ascontiguousarray(weights_RG, dtype=np.float64),
        Sparse.of(counts.detections),
        Sparse.of(counts.hits),
        counts.num_events.astype(np.float64),
        trapezoid_weights(len(counts.tolerances_s)),
    )


def average_of(counts: Counts) -> float:
    """The score of all games."""
    return float(resampled_averages(counts, np.ones((1, len(counts.games))))[0])


def resampled_actions(counts: GameCounts, weights_RG: np.ndarray) -> np.ndarray:
    """Average precision of each action under each row of weights, the mean over tolerances.

    Returns:
        (R, A), nan where the weighted games have no event of the action.
    """
    found = np.full((len(weights_RG), counts.num_events.shape[1]), np.nan)
    for a in range(found.shape[1]):
        alone = replace(
            counts,
            detections=counts.detections[:, [a]],
            hits=counts.hits[:, [a]],
            num_events=counts.num_events[:, [a]],
        )
        has_events = weights_RG @ alone.num_events[:, 0] > 0
        found[has_events, a] = resampled_averages(alone, weights_RG[has_events])
    return found


class Sparse(NamedTuple):
    """The counts of all games that are not 0: nearly all are."""

    game: np.ndarray  # (N,) int64
    place: np.ndarray  # (N,) int64, flat index into the counts of a game
    value: np.ndarray  # (N,) float64
    shape: tuple[int, ...]  # of the counts of a game

    @classmethod
    def of(cls, counts_G: np.ndarray) -> "Sparse":
        """Take the counts of all games, games first."""
        flat = counts_G.reshape(len(counts_G), -1)
        game, place = flat.nonzero()
        return cls(game, place, flat[game, place].astype(np.float64), counts_G.shape[1:])


# Not a matrix product: its threads get in each other's way where several processes compute.
@njit(cache=True)
def _averages(
    weights_RG: np.ndarray,
    detections: Sparse,
    hits: Sparse,
    events_GA: np.ndarray,
    weight_D: np.ndarray,
) -> np.ndarray:
    num_games, num_actions = events_GA.shape
    with_events = (events_GA.sum(axis=0) > 0).sum()
    averages = np.zeros(len(weights_RG))
    detections_AK = np.empty(detections.shape)
    hits_ADK = np.empty(hits.shape)
    for r in range(len(weights_RG)):
        weight_G = weights_RG[r]
        _weigh(weight_G, detections, detections_AK.ravel())
        _weigh(weight_G, hits, hits_ADK.ravel())
        num_present = 0
        for a in range(num_actions):
            num_events = 0.0
            for g in range(num_games):
                num_events += weight_G[g] * events_GA[g, a]
            if num_events == 0:
                continue
            num_present += 1
            for d in range(len(weight_D)):
                averages[r] += weight_D[d] * interpolated_precision(
                    detections_AK[a], hits_ADK[a, d], num_events
                )
        if num_present > 0:
            averages[r] *= with_events / num_actions / num_present
    return averages


@njit(cache=True)
def _weigh(weight_G: np.ndarray, counts: Sparse, total: np.ndarray) -> None:
    total[:] = 0
    for i in range(len(counts.game)):
        total[counts.place[i]] += weight_G[counts.game[i]] * counts.value[i]
