"""Seasons of simulated models whose quality is known, as probabilities of short halves.

Every game is one half of ten minutes at 1 Hz. The moments of `simulate.py` are laid out in it,
those of one action `GAP_S` or more apart, in random order; around each a model sees a bump that
spans some rows, so that windows of suppression matter: narrow ones leave the slopes of a bump,
wide ones swallow the next moment. Models say the same low probability of all other rows.

Eleven actions instead of seventeen save most of the time: the five commonest, which hardly add to
the noise of a score, and one of the three that are rarer than one in two games are left out.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from simulate import Model, Moments, look, simulate_moments

from ensemble.combiner import Evidence
from ensemble.stack.align import ModelOutput, stack
from hmtas.config import SpottingConfig
from hmtas.formats.actions import ACTIONS
from hmtas.records import Events, HalfId, Probabilities
from hmtas.season.match import FOOTBALL

LEFT_OUT = ("Ball out of play", "Throw-in", "Foul", "Indirect free-kick", "Clearance",
            "Yellow->red card")  # fmt: skip
NAMES = tuple(action for action in ACTIONS if action not in LEFT_OUT)
RATE_A = FOOTBALL.rates[[ACTIONS.index(action) for action in NAMES]]
NUM_ROWS = 600
EDGE_S = 5.0  # no moment is closer to either end
GAP_S = 4.0
REACH_S = 2.5  # of a bump, to each side
STEEPNESS = 0.7  # by how much its logit falls, per second squared
FLOOR = np.float32(1 / (1 + np.exp(7)))  # where nothing is seen
ELSEWHERE = 10**9  # added to a season's seed: games that nobody scores


class Games(NamedTuple):
    """Games whose moments have times.

    Attributes:
        moments: N moments.
        time_s: (N,) float64.
        halves: (G,) one half for each game.
        events: Annotations by half.
    """

    moments: Moments
    time_s: np.ndarray
    halves: tuple[HalfId, ...]
    events: dict[HalfId, Events]


def simulate_games(num_games: int, seed: int) -> Games:
    """Draw games and lay out their moments."""
    moments = simulate_moments(num_games, seed, RATE_A)
    generator = np.random.default_rng([seed, 2])
    time_s = np.empty(len(moments.cell))
    for cell in np.unique(moments.cell):
        of_cell = generator.permutation(np.flatnonzero(moments.cell == cell))
        room_s = NUM_ROWS - 2 * EDGE_S
        gap_s = min(GAP_S, room_s / len(of_cell))
        spare_s = np.sort(generator.uniform(0, room_s - gap_s * len(of_cell), len(of_cell)))
        time_s[of_cell] = EDGE_S + spare_s + gap_s * np.arange(len(of_cell))
    halves = tuple(HalfId(f"game {g:03d}", 1) for g in range(num_games))
    game_N, action_N = np.divmod(moments.cell, moments.num_actions)
    events = {}
    for g, half in enumerate(halves):
        found = np.flatnonzero(moments.is_event & (game_N == g))
        found = found[np.argsort(time_s[found])]
        events[half] = Events(
            half=half,
            time_s=time_s[found],
            action=action_N[found],
            visible=np.ones(len(found), dtype=np.bool_),
        )
    return Games(moments, time_s, halves, events)


def rows_of(games: Games, models: Sequence[Model | None]) -> np.ndarray:
    """What models say, float32 (G, M, T, A); None is a model that says nothing of these games.

    Such a model sees as much, as surely, and has as much skill as any other: on other games.
    """
    moments = games.moments
    shape = (len(games.halves), len(models), NUM_ROWS, moments.num_actions)
    rows_GMTA = np.full(shape, FLOOR)
    for m, model in enumerate(models):
        watched, seen = games, model
        if seen is None:
            watched = simulate_games(moments.num_games, moments.seed + ELSEWHERE)
            seen = Model(seed=m)
        logit, shift_s = look(watched.moments, seen)
        game_N, action_N = np.divmod(watched.moments.cell, moments.num_actions)
        _draw(rows_GMTA[:, m], game_N, action_N, watched.time_s + shift_s, logit)
    return rows_GMTA


@njit(cache=True)
def _draw(
    rows_GTA: np.ndarray,
    game_N: np.ndarray,
    action_N: np.ndarray,
    centre_s: np.ndarray,
    logit_N: np.ndarray,
) -> None:
    num_rows = rows_GTA.shape[1]
    for n in range(len(game_N)):
        first = max(int(np.ceil(centre_s[n] - REACH_S)), 0)
        for t in range(first, min(int(centre_s[n] + REACH_S) + 1, num_rows)):
            logit = logit_N[n] - STEEPNESS * (t - centre_s[n]) ** 2
            seen = rows_GTA[game_N[n], t, action_N[n]]
            rows_GTA[game_N[n], t, action_N[n]] = max(seen, np.float32(1 / (1 + np.exp(-logit))))


def evidence_of(games: Games, rows_GMTA: np.ndarray) -> Evidence:
    """Models named by their number, with the configured windows of the command."""
    outputs = [
        ModelOutput(
            f"{m:02d}",
            NAMES,
            {half: Probabilities(half=half, values=rows_GMTA[g, m])
             for g, half in enumerate(games.halves)},
        )
        for m in range(rows_GMTA.shape[1])
    ]  # fmt: skip
    spotting = SpottingConfig()
    return Evidence(
        stacked=stack(outputs),
        events=games.events,
        spottings=(spotting,) * len(outputs),
        windows_s=np.array([spotting.window_of(action) for action in NAMES]),
    )


def records(games: Games, rows_GTA: Sequence[np.ndarray]) -> Mapping[HalfId, Probabilities]:
    """One float32 (T, A) for each game, by half."""
    return {
        half: Probabilities(half=half, values=rows_TA)
        for half, rows_TA in zip(games.halves, rows_GTA, strict=True)
    }
