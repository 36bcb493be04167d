"""Fitting the learned fusion (thesis Figure 5.22 and Section 5.6)."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ensemble.network import (
    PREDICT_BATCH,
    SEQ_LEN,
    FusionConfig,
    LearnedFusion,
    Network,
    build_fusion,
    features,
    fuse,
    load_fusion,
    one_thread,
    save_fusion,
)
from hmtas.errors import InputError
from hmtas.records import Events, HalfId
from hmtas.windows import window_rows, window_targets

__all__ = [
    "FittedFusion",
    "FusionConfig",
    "LearnedFusion",
    "build_fusion",
    "fit_fusion",
    "fuse",
    "load_fusion",
    "save_fusion",
]


class FittedFusion(NamedTuple):
    """A fitted network and how its fit went.

    Attributes:
        model: In evaluation mode, at its best epoch.
        epochs: Epochs run.
        best_epoch: The epoch kept, from 1.
        held_out_games: Games that chose it; empty where the last epoch was kept.
        held_out_loss: Loss on them at the best epoch, or None.
    """

    model: Network
    epochs: int
    best_epoch: int
    held_out_games: tuple[str, ...]
    held_out_loss: float | None


class _Rows(NamedTuple):
    """Rows of several halves below each other: features, neighbours and targets."""

    x: Tensor  # (T, M * A)
    neighbours: Tensor  # (T, 3) int64, rows of x
    target: Tensor  # (T, A)
    background: Tensor  # (T,) bool

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[self.neighbours[rows]], self.target[rows]


def fit_fusion(
    halves: Mapping[HalfId, np.ndarray],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    config: FusionConfig,
    *,
    rate_hz: float = 1.0,
    on_epoch: Callable[[], None] | None = None,
) -> FittedFusion:
    """Fit the network on labelled halves; the same seed gives the same weights.

    A row is positive for an action that is annotated within its second and the one on either
    side. Where four games or more are given, a share of them is held out and stops the fit.

    Args:
        halves: Half to (M, T, A), of one number of models.
        events: Annotations of these halves; a half without is taken as one without actions.
        actions: A names.
        config: Network and training.
        rate_hz: Rows per second.
        on_epoch: Called `config.epochs` times in all, as epochs end or are saved by stopping.

    Raises:
        InputError: If no half is given, a weight names an unknown action, or the loss is not
            finite.
    """
    if not halves:
        raise InputError("the learned fusion needs labelled halves to fit on, got none")
    fitting, held_out_games = _hold_out(halves, config)
    num_models, _, num_actions = next(iter(halves.values())).shape
    rng = torch.Generator().manual_seed(config.seed)
    train = _rows({half: halves[half] for half in fitting}, events, rate_hz)
    held_out = {half: halves[half] for half in halves if half.game in held_out_games}
    check = _rows(held_out, events, rate_hz) if held_out else None
    check_rows = _sample(check, config, rng) if check else None
    with one_thread(), torch.random.fork_rng(devices=[]):  # initial weights and dropout
        torch.manual_seed(config.seed)
        model = build_fusion(num_models, num_actions, config)
        weight_A = _weights(actions, config)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, amsgrad=True)
        best_loss, best_epoch, best_state = float("inf"), 0, model.state_dict()
        epoch = 0
        for epoch in range(1, config.epochs + 1):
            order = _sample(train, config, rng)
            _run_epoch(model, optimiser, train, order, weight_A=weight_A, config=config)
            if on_epoch:
                on_epoch()
            if check is None or check_rows is None:
                best_epoch = epoch
                continue
            loss = _loss_on(model, check, check_rows, weight_A)
            if loss < best_loss:
                best_loss, best_epoch = loss, epoch
                best_state = copy.deepcopy(model.state_dict())
            elif epoch - best_epoch >= config.patience:
                break
    for _ in range(epoch, config.epochs):
        if on_epoch:
            on_epoch()
    if check is not None:
        model.load_state_dict(best_state)
    loss_or_none = best_loss if check is not None else None
    return FittedFusion(model.eval(), epoch, best_epoch, held_out_games, loss_or_none)


def _rows(
    halves: Mapping[HalfId, np.ndarray], events: Mapping[HalfId, Events], rate_hz: float
) -> _Rows:
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
    return _Rows(
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


def _sample(rows: _Rows, config: FusionConfig, rng: torch.Generator) -> Tensor:
    """Row numbers of one epoch, shuffled: every positive row, a share of the background rows."""
    background = rows.background.nonzero()[:, 0]
    num_kept = round(config.rows_share * len(background))
    kept = background[torch.randperm(len(background), generator=rng)[:num_kept]]
    chosen = torch.cat([(~rows.background).nonzero()[:, 0], kept])
    shuffled = chosen[torch.randperm(len(chosen), generator=rng)]
    return shuffled if config.max_rows is None else shuffled[: config.max_rows]


def _weights(actions: Sequence[str], config: FusionConfig) -> Tensor:
    unknown = sorted(set(config.weights_by_action) - set(actions))
    if unknown:
        raise InputError(
            f"class weights name unknown actions {', '.join(unknown)}; "
            f"the actions are {', '.join(actions)}"
        )
    weights = [config.weights_by_action.get(name, config.positive_weight) for name in actions]
    return torch.tensor(weights, dtype=torch.float32)


def _run_epoch(
    model: Network,
    optimiser: torch.optim.Optimizer,
    rows: _Rows,
    order: Tensor,
    *,
    weight_A: Tensor,
    config: FusionConfig,
) -> None:
    model.train()
    for start in range(0, len(order), config.batch_size):
        x, target = rows.batch(order[start : start + config.batch_size])
        loss = F.binary_cross_entropy_with_logits(model(x), target, pos_weight=weight_A)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss of the learned fusion became {loss.item()}; lower its learning rate "
                f"({config.learning_rate:g})"
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _loss_on(model: Network, rows: _Rows, chosen: Tensor, weight_A: Tensor) -> float:
    """Mean loss over the chosen rows."""
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(chosen), PREDICT_BATCH):
            part = chosen[start : start + PREDICT_BATCH]
            x, target = rows.batch(part)
            loss = F.binary_cross_entropy_with_logits(model(x), target, pos_weight=weight_A)
            total += loss.item() * len(part)
    return total / max(len(chosen), 1)
