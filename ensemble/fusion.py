"""Fitting the learned fusion (thesis Figure 5.22 and Section 5.6)."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ensemble.fusion_rows import Material, Rows, lay_out
from ensemble.network import (
    PREDICT_BATCH,
    FusionConfig,
    LearnedFusion,
    Network,
    build_fusion,
    fuse,
    load_fusion,
    one_thread,
    save_fusion,
)
from ensemble.team import Team
from hmtas.errors import DivergedError
from hmtas.records import Events, HalfId
from hmtas.runs import EpochRecord

__all__ = [
    "FittedFusion",
    "FusionConfig",
    "LearnedFusion",
    "build_fusion",
    "fit_fusion",
    "fit_rows",
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


FitFusion = Callable[..., FittedFusion]
"""`fit_fusion`, or what does the same with more processes."""


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
    material = lay_out(halves, events, actions, config, rate_hz)
    return fit_rows(material, config, on_epoch=on_epoch)


def fit_rows(
    material: Material,
    config: FusionConfig,
    *,
    team: Team | None = None,
    on_epoch: Callable[[], None] | None = None,
) -> FittedFusion:
    """Fit the network on rows that are laid out; see `fit_fusion`.

    A team gives the network of one process with the same batches, but for dropout and the order of
    sums: all draw the same rows and see the same losses, so they stop alike and end with the same
    weights.

    Args:
        material: The same in every process of a team.
        config: Network and training.
        team: The processes that fit together; by default this one is alone.
        on_epoch: As in `fit_fusion`.

    Raises:
        DivergedError: If a loss is not finite, in all processes at the same step.
    """
    team = team or Team()
    rng = torch.Generator().manual_seed(config.seed)
    check_rows = _sample(material.check, config, rng) if material.check else None
    train = material.train.to(team.device)
    check = material.check.to(team.device) if material.check else None
    weight_A = material.weight_A.to(team.device)
    with one_thread(), torch.random.fork_rng(devices=[]):  # initial weights and dropout
        torch.manual_seed(config.seed)
        model = build_fusion(material.num_models, len(weight_A), config).to(team.device)
        if team.rank > 0:
            torch.manual_seed(_dropout_seed(config.seed, team.rank))
        optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, amsgrad=True)
        best_loss, best_epoch, best_state = float("inf"), 0, model.state_dict()
        epoch = 0
        for epoch in range(1, config.epochs + 1):
            start = time.perf_counter()
            order = _sample(material.train, config, rng)
            train_loss = _run_epoch(
                model, optimiser, train, order, weight_A=weight_A, config=config, team=team
            )
            loss = None
            if check is not None and check_rows is not None:
                loss = _loss_on(model, check, check_rows, weight_A, team)
                _check_finite(loss, config)
            entry = EpochRecord(
                epoch=epoch,
                train_loss=train_loss,
                val_loss=loss,
                seconds=time.perf_counter() - start,
                windows=len(order),
            )
            team.report(entry)
            if on_epoch:
                on_epoch()
            if loss is None:
                best_epoch = epoch
            elif loss < best_loss:
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
    return FittedFusion(
        model.cpu().eval(), epoch, best_epoch, material.held_out_games, loss_or_none
    )


def _dropout_seed(seed: int, rank: int) -> int:
    """Other rows need other dropout: the same in each share would be drawn once for all."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0])


def _sample(rows: Rows, config: FusionConfig, rng: torch.Generator) -> Tensor:
    """Row numbers of one epoch, shuffled: every positive row, a share of the background rows."""
    background = rows.background.nonzero()[:, 0]
    num_kept = round(config.rows_share * len(background))
    kept = background[torch.randperm(len(background), generator=rng)[:num_kept]]
    chosen = torch.cat([(~rows.background).nonzero()[:, 0], kept])
    shuffled = chosen[torch.randperm(len(chosen), generator=rng)]
    return shuffled if config.max_rows is None else shuffled[: config.max_rows]


def _run_epoch(
    model: Network,
    optimiser: torch.optim.Optimizer,
    rows: Rows,
    order: Tensor,
    *,
    weight_A: Tensor,
    config: FusionConfig,
    team: Team,
) -> float:
    """Step through all batches; returns the mean loss over the rows."""
    model.train()
    total = 0.0
    for start in range(0, len(order), config.batch_size):
        batch = order[start : start + config.batch_size]
        share = team.share(batch)
        optimiser.zero_grad()
        loss_of_share = 0.0
        if len(share):  # of a last batch of few rows there may be none
            x, target = rows.batch(share.to(team.device))
            loss = F.binary_cross_entropy_with_logits(model(x), target, pos_weight=weight_A)
            # Shares differ by a row: each counts by its rows, so that the sum over all processes
            # is the mean over the batch, for gradients too.
            loss = loss * (len(share) / len(batch))
            loss.backward()  # type: ignore[no-untyped-call]
            loss_of_share = loss.item()
        loss_of_batch = team.total(loss_of_share)
        _check_finite(loss_of_batch, config)
        team.add_up_gradients(model)
        optimiser.step()
        total += loss_of_batch * len(batch)
    return total / max(len(order), 1)


def _loss_on(model: Network, rows: Rows, chosen: Tensor, weight_A: Tensor, team: Team) -> float:
    """Mean loss over the chosen rows, the same in all processes."""
    model.eval()
    total = 0.0
    share = team.share(chosen)
    with torch.inference_mode():
        for start in range(0, len(share), PREDICT_BATCH):
            part = share[start : start + PREDICT_BATCH]
            x, target = rows.batch(part.to(team.device))
            loss = F.binary_cross_entropy_with_logits(model(x), target, pos_weight=weight_A)
            total += loss.item() * len(part)
    return team.total(total) / max(len(chosen), 1)


def _check_finite(loss: float, config: FusionConfig) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss of the learned fusion became {loss}; lower its learning rate "
            f"({config.learning_rate:g})"
        )
