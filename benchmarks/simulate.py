"""Simulated models of known quality on simulated games: what the statistics are tested on.

No seconds are simulated, only what the metric counts: the spots of each game, action and
threshold, and at which tolerances they are correct. Every model looks at the same moments of a
game: its events, and moments that look like one. A moment is as hard for one model as for another
except for the model's own noise, some games are harder than others, and so the errors of two
models are correlated as those of real ones are.

With the default numbers one tight Average-mAP over 100 games has a standard deviation of about
1.4 points, and the difference of two models on the same games one of 0.5 to 0.9.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from hmtas.metric.averages import TIGHT_S
from hmtas.season.match import FOOTBALL
from hmtas.statistics.games import GameCounts

NUM_THRESHOLDS = 200


@dataclass(frozen=True, kw_only=True)
class Model:
    """How good a simulated model is.

    Attributes:
        skill: Distance, in logits, of events from moments that only look like one.
        own_noise: Standard deviation, in logits, of what the model alone makes of a moment.
        own_shift_s: The same of its error in time, in seconds.
        shared: How much it has of what all models make of a moment; 0 errs independently.
        seed: Two models that differ in nothing else are equally good.
    """

    skill: float = 2.0
    own_noise: float = 0.55
    own_shift_s: float = 0.25
    shared: float = 1.0
    seed: int = 0


class Moments(NamedTuple):
    """Moments of games that a model may take for an action; N in all."""

    num_games: int
    num_actions: int
    cell: np.ndarray  # (N,) int64, game x number of actions + action
    is_event: np.ndarray  # (N,) bool
    logit: np.ndarray  # (N,) float32, without the model's skill and noise
    shift_s: np.ndarray  # (N,) float32, error in time that all models share
    seed: int


def simulate_moments(num_games: int, seed: int, rate_A: np.ndarray | None = None) -> Moments:
    """Draw games: their events, and three times as many moments that look like one.

    Args:
        num_games: How many.
        seed: Seed of the games.
        rate_A: Events of each action in a game, those of real matches unless given.
    """
    generator = np.random.default_rng(seed)
    if rate_A is None:
        rate_A = FOOTBALL.rates
    num_actions = len(rate_A)
    busy_G = generator.gamma(20, 1 / 20, size=(num_games, 1))
    num_events = generator.poisson(busy_G * rate_A).ravel()
    num_others = generator.poisson(3 * busy_G * rate_A + 0.2).ravel()
    cells = np.arange(num_games * num_actions)
    cell = np.concatenate([np.repeat(cells, num_events), np.repeat(cells, num_others)])
    hard_GA = generator.normal(0, 0.3, size=(num_games, 1)) + generator.normal(
        0, 0.25, size=(num_games, num_actions)
    )
    is_event = np.arange(len(cell)) < num_events.sum()
    # A hard game hides events and shows more of what looks like them.
    sign = np.where(is_event, -1, 1)
    own = generator.standard_normal(len(cell), dtype=np.float32)
    return Moments(
        num_games=num_games,
        num_actions=num_actions,
        cell=cell,
        is_event=is_event,
        logit=(own + sign * hard_GA.ravel()[cell]).astype(np.float32),
        shift_s=generator.standard_normal(len(cell), dtype=np.float32) * np.float32(0.7),
        seed=seed,
    )


def look(moments: Moments, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """What a model makes of each moment: its logits, and its errors in time in seconds, (N,)."""
    generator = np.random.default_rng([moments.seed, model.seed, 1])
    own = generator.standard_normal(len(moments.cell), dtype=np.float32)
    logit = model.shared * moments.logit + model.own_noise * own
    logit += model.skill * moments.is_event - 2
    own = generator.standard_normal(len(moments.cell), dtype=np.float32)
    return logit, model.shared * moments.shift_s + model.own_shift_s * own


def simulate_model(moments: Moments, model: Model) -> GameCounts:
    """What the metric counts of a model on these games."""
    num_actions, num_games = moments.num_actions, moments.num_games
    logit, shift_s = look(moments, model)
    detections = np.zeros((num_games * num_actions, NUM_THRESHOLDS), np.uint16)
    hits = np.zeros((num_games * num_actions, len(TIGHT_S), NUM_THRESHOLDS), np.uint16)
    events = np.bincount(moments.cell[moments.is_event], minlength=num_games * num_actions)
    threshold = ((NUM_THRESHOLDS - 1) / (1 + np.exp(-logit))).astype(np.int64)
    # The tolerances are 1 to 5 s wide: the narrowest has half a second to each side.
    narrowest = np.where(moments.is_event, 2 * np.abs(shift_s), len(TIGHT_S)).astype(np.int64)
    _count(moments.cell, threshold, narrowest, detections, hits)
    shape = (num_games, num_actions)
    return GameCounts(
        games=tuple(f"game {game:05d}" for game in range(num_games)),
        tolerances_s=np.array(TIGHT_S, dtype=np.float64),
        detections=detections.reshape(*shape, -1),
        hits=hits.reshape(*shape, len(TIGHT_S), -1),
        num_events=events.reshape(shape),
    )


@njit(cache=True)
def _count(
    cell: np.ndarray,
    threshold: np.ndarray,
    narrowest: np.ndarray,
    detections: np.ndarray,
    hits: np.ndarray,
) -> None:
    for i in range(len(cell)):
        detections[cell[i], threshold[i]] += 1
        for d in range(narrowest[i], hits.shape[1]):
            hits[cell[i], d, threshold[i]] += 1
