"""What the learned fusion is fitted on: rows and targets, laid out once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ensemble.learned.network import SEQ_LEN, FusionConfig, features
from hmtas.errors import InputError
from hmtas.model.windows import window_rows, window_targets
from hmtas.records import Events, HalfId


class Rows(NamedTuple):
    """Rows of several halves below each other: features, neighbours and targets."""

    x: Tensor  # (T, M * A)
    neighbours: Tensor  # (T, 3) int64, rows of x
    target: Tensor  # (T, A)
    background: Tensor  # (T,) bool

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 3, M * A) and targets (B, A) of some rows."""
        return self.x[self.neighbours[rows]], self.target[rows]


class Material(NamedTuple):
    """Everything that a fit needs beside its settings."""

    num_models: int  # M
    weight_A: Tensor  # (A,) weight of each action where it is positive
    train: Rows
    check: Rows | None  # rows that stop the fit
    held_out_games: tuple[str, ...]  # of `check`


def lay_out(
    halves: Mapping[HalfId, np.ndarray],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    config: FusionConfig,
    rate_hz: float,
) -> Material:
    """Lay out rows to fit on and rows of held-out games; see `ensemble.learned.fit.fit_fusion`.

    Raises:
        InputError: If no half is given, or a weight names an unknown action.
    """
    if not halves:
        raise InputError("the learned fusion needs labelled halves to fit on, got none")
    fitting, held_out_games = _hold_out(halves, config)
    held_out = {half: halves[half] for half in halves if half.game in held_out_games}
    return Material(
        num_models=len(next(iter(halves.values()))),
        weight_A=_weights(actions, config),
        train=_rows({half: halves[half] for half in fitting}, events, rate_hz),
        check=_rows(held_out, events, rate_hz) if held_out else None,
        held_out_games=held_out_games,
    )


def _rows(
    halves: Mapping[HalfId, np.ndarray], events: Mapping[HalfId, Events], rate_hz: float
) -> Rows:
    x, neighbours, targets = [], [], []
    start = 0
    for half, stacked in halves.items():
        _, num_rows, num_actions = stacked.shape
        of_half = events.get(half) or Events.empty(half)
        x.append(features(stacked))
        neighbours.append(start + window_rows(num_rows, SEQ_LEN))
        targets.append(window_targets(of_half, num_rows, SEQ_LEN, num_actions, rate_hz))
        start += num_rows
    target = torch.from_numpy(np.concatenate(targets))
    return Rows(
        torch.cat(x), torch.from_numpy(np.concatenate(neighbours)), target[:, 1:], target[:, 0] > 0
    )


def _hold_out(
    halves: Mapping[HalfId, np.ndarray], config: FusionConfig
) -> tuple[list[HalfId], tuple[str, ...]]:
    """Halves to fit on, and the games that stop the fit."""
    games = sorted({half.game for half in halves})
    num_held_out = max(1, round(config.held_out_share * len(games)))
    if config.held_out_share == 0 or len(games) < 4:
        num_held_out = 0
    picked = np.random.default_rng(config.seed).permutation(len(games))[:num_held_out]
    held_out = tuple(sorted(games[i] for i in picked))
    return [half for half in halves if half.game not in held_out], held_out


def _weights(actions: Sequence[str], config: FusionConfig) -> Tensor:
    unknown = sorted(set(config.weights_by_action) - set(actions))
    if unknown:
        raise InputError(
            f"class weights name unknown actions {', '.join(unknown)}; "
            f"the actions are {', '.join(actions)}"
        )
    weights = [config.weights_by_action.get(name, config.positive_weight) for name in actions]
    return torch.tensor(weights, dtype=torch.float32)
