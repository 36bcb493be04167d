"""mAP within so many frames, as E2E-Spot measures it: no grid, no thresholds, every spot by rank.

Source: `util/score.py` of github.com/jhong93/spot (J. Hong et al., Spotting Temporally Precise,
Fine-Grained Events in Video, ECCV 2022).

Rules
    A video is a half. Times become frames (`nearest_frames`). The spots of an action in all
    videos are ranked by confidence; equal ones keep the order of games, halves and spots. Each
    looks at the nearest event of its action and video that is not taken, of equally near ones at
    the first, and is a hit if that is at most the tolerance away: the tolerance is the reach to
    one side. Events of one action on one frame are taken together and still count apart.
    Average precision is the sum, over the hits, of the best precision at this hit or a later one,
    divided by the number of events. mAP is the mean over the actions that have events, and the
    mean of that over the tolerances.

What is counted
    Hits within a video do not depend on other videos. They are found once, and a resample of games
    weighs them: where a game comes twice, so does each of its spots, one rank after the other.
    Of these the last has the highest precision, so that weights and copies give the same.

Shape letters besides those of `hmtas.records`:
    D  tolerances    G  games    R  resamples    I  hits    J  runs of spots, see `Curve`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from hmtas.formats.times import nearest_frames
from hmtas.records import Events, HalfId, Spots


class Curve(NamedTuple):
    """One action at one tolerance: the ranked spots, as far as precision needs them.

    The spots down to a hit, from the one after the hit before, are a stretch. What lies below the
    last hit has no part in any precision.
    """

    game_I: np.ndarray  # int64, the game of each hit, the surest first
    first_I: np.ndarray  # (I + 1,) int64, where each stretch begins in J
    game_J: np.ndarray  # int64, a game with spots in the stretch
    num_J: np.ndarray  # int64, how many they are


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameCounts:
    """Everything that mAP needs to know of some games, whatever their weights."""

    games: tuple[str, ...]  # (G,) sorted
    fps: float
    tolerances: np.ndarray  # (D,) int64 frames to each side, ascending
    curves: tuple[tuple[Curve, ...], ...]  # [D][A]
    num_events: np.ndarray  # (G, A) int64


def count_frames(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    tolerances: Sequence[int],
    num_actions: int,
    fps: float,
) -> FrameCounts:
    """Find the hits of every half at every tolerance.

    Args:
        spots: By half. A half that only `events` has counts as one without spots.
        events: By half. In a half that only `spots` has, every spot is wrong.
        tolerances: Frames to each side, ascending, >= 0.
        num_actions: A.
        fps: Frames a second, > 0.
    """
    reach_D = np.array(tolerances, dtype=np.int64)
    if reach_D.ndim != 1 or len(reach_D) == 0 or (reach_D < 0).any() or not fps > 0:
        raise ValueError(f"tolerances must be frames >= 0 at fps > 0, got {tolerances} at {fps}")
    halves = sorted(spots.keys() | events.keys())
    games = tuple(sorted({half.game for half in halves}))
    game_of = {game: g for g, game in enumerate(games)}
    num_events = np.zeros((len(games), num_actions), np.int64)
    for half, event in events.items():
        num_events[game_of[half.game]] += np.bincount(event.action, minlength=num_actions)
    curves_AD = []
    for a in range(num_actions):
        confidence, game, hit = [np.empty(0)], [np.empty(0, np.int64)], []
        hit.append(np.empty((len(reach_D), 0), dtype=np.bool_))
        for half in halves:
            spot = spots.get(half) or Spots.empty(half)
            event = events.get(half) or Events.empty(half)
            of_spot, of_event = spot.action == a, event.action == a
            confidence_N = np.asarray(spot.confidence[of_spot], dtype=np.float64)
            frame_N = nearest_frames(spot.time_s[of_spot], fps)
            truth_M = np.unique(nearest_frames(event.time_s[of_event], fps))
            order_N = np.argsort(-confidence_N, kind="stable")
            hit_DN = np.zeros((len(reach_D), len(frame_N)), dtype=np.bool_)
            if len(truth_M):
                for reach, hit_N in zip(reach_D, hit_DN, strict=True):
                    hit_N[order_N] = match_frames(frame_N[order_N], truth_M, reach)
            confidence.append(confidence_N)
            game.append(np.full(len(frame_N), game_of[half.game]))
            hit.append(hit_DN)
        rank_N = np.argsort(-np.concatenate(confidence), kind="stable")
        game_N, hit_DN = np.concatenate(game)[rank_N], np.concatenate(hit, axis=1)[:, rank_N]
        curves_AD.append([_curve(game_N, hit_N, len(games)) for hit_N in hit_DN])
    return FrameCounts(
        games=games,
        fps=fps,
        tolerances=reach_D,
        curves=tuple(zip(*curves_AD, strict=True)),
        num_events=num_events,
    )


@njit(cache=True, nogil=True)
def match_frames(frame_N: np.ndarray, truth_M: np.ndarray, reach: int) -> np.ndarray:
    """Mark the hits among the spots of one action in one half.

    Args:
        frame_N: (N,) frames of the spots, the surest first.
        truth_M: (M,) frames of the events, ascending, none twice, one or more.
        reach: Frames to each side.

    Returns:
        (N,) bool.
    """
    hit = np.zeros(len(frame_N), dtype=np.bool_)
    free = np.ones(len(truth_M), dtype=np.bool_)
    for n in range(len(frame_N)):
        after = np.searchsorted(truth_M, frame_N[n])
        before = after - 1
        while before >= 0 and not free[before] and frame_N[n] - truth_M[before] <= reach:
            before -= 1
        while after < len(truth_M) and not free[after] and truth_M[after] - frame_N[n] <= reach:
            after += 1
        best, least = -1, reach + 1
        if before >= 0 and free[before] and frame_N[n] - truth_M[before] < least:
            best, least = before, frame_N[n] - truth_M[before]
        if after < len(truth_M) and free[after] and truth_M[after] - frame_N[n] < least:
            best = after
        if best >= 0:
            hit[n] = True
            free[best] = False
    return hit


def _curve(game_N: np.ndarray, hit_N: np.ndarray, num_games: int) -> Curve:
    """Put the ranked spots of one action together, by stretch and game."""
    place_I = np.flatnonzero(hit_N)
    end = place_I[-1] + 1 if len(place_I) else 0
    stretch_N = np.searchsorted(place_I, np.arange(end))
    key_J, num_J = np.unique(stretch_N * num_games + game_N[:end], return_counts=True)
    return Curve(
        game_I=game_N[place_I],
        first_I=np.searchsorted(key_J, np.arange(len(place_I) + 1) * num_games),
        game_J=key_J % num_games,
        num_J=num_J,
    )


def frame_precisions(counts: FrameCounts, weights_RG: np.ndarray) -> np.ndarray:
    """Average precision at each tolerance and of each action, under each row of weights.

    Returns:
        (R, D, A), nan where the weighted games have no event of the action.
    """
    weights_RG = np.ascontiguousarray(weights_RG, dtype=np.float64)
    events_RA = weights_RG @ counts.num_events
    found = np.full((len(weights_RG), len(counts.tolerances), events_RA.shape[1]), np.nan)
    for d, curves_A in enumerate(counts.curves):
        for a, curve in enumerate(curves_A):
            present = events_RA[:, a] > 0
            found[present, d, a] = _areas(curve, weights_RG[present]) / events_RA[present, a]
    return found


def frame_maps(counts: FrameCounts, weights_RG: np.ndarray) -> np.ndarray:
    """(R,) mAP of each row of weights, the mean over the tolerances; 0 without any event."""
    precision_RA = frame_precisions(counts, weights_RG).mean(axis=1)
    num_present_R = (~np.isnan(precision_RA)).sum(axis=1)
    mean_R: np.ndarray = np.nansum(precision_RA, axis=1) / np.maximum(num_present_R, 1)
    return mean_R


@njit(cache=True)
def _areas(curve: Curve, weights_RG: np.ndarray) -> np.ndarray:
    """(R,) sum over the hits of the best precision at this hit or a later one."""
    num_hits = len(curve.game_I)
    precision = np.empty(num_hits)
    areas = np.zeros(len(weights_RG))
    for r in range(len(weights_RG)):
        weight_G = weights_RG[r]
        spots = 0.0
        hits = 0.0
        for i in range(num_hits):
            for j in range(curve.first_I[i], curve.first_I[i + 1]):
                spots += weight_G[curve.game_J[j]] * curve.num_J[j]
            hits += weight_G[curve.game_I[i]]
            precision[i] = hits / spots if spots > 0 else 0.0
        best = 0.0
        for i in range(num_hits - 1, -1, -1):
            best = max(best, precision[i])
            areas[r] += weight_G[curve.game_I[i]] * best
    return areas
