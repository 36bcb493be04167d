"""Fitting the learned fusion (thesis Figure 5.22 and Section 5.6)."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ensemble.combiner import nothing
from ensemble.learned.network import NUM_THREADS, PREDICT_BATCH, FusionConfig, Network, build_fusion
from ensemble.learned.rows import Rows, lay_out
from hmtas.errors import DivergedError
from hmtas.model.threads import torch_threads
from hmtas.records import Events, HalfId
from hmtas.runs.ensemble import FitFacts


class FittedFusion(NamedTuple):
    """A fitted network and how its fit went."""

    model: Network  # in evaluation mode, at its best epoch
    epochs: int  # that were run
    facts: FitFacts  # the epoch kept, from 1, and what chose it: nothing where the last was kept


def fit_fusion(
    halves: Mapping[HalfId, np.ndarray],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    config: FusionConfig,
    *,
    rate_hz: float = 1.0,
    on_epoch: Callable[[], None] = nothing,
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
    rng = torch.Generator().manual_seed(config.seed)
    train, check = material.train, material.check
    check_rows = _sample(check, config, rng) if check else None
    # Initial weights and dropout are drawn from torch's own generator.
    with torch_threads(NUM_THREADS), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_fusion(material.num_models, len(actions), config)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, amsgrad=True)
        best_loss, best_epoch, best_state = float("inf"), 0, model.state_dict()
        epoch = 0
        for epoch in range(1, config.epochs + 1):
            order = _sample(train, config, rng)
            _run_epoch(model, optimiser, train, order, weight_A=material.weight_A, config=config)
            on_epoch()
            if check is None or check_rows is None:
                best_epoch = epoch
                continue
            loss = _loss_on(model, check, check_rows, material.weight_A)
            _check_finite(loss, config)
            if loss < best_loss:
                best_loss, best_epoch = loss, epoch
                best_state = copy.deepcopy(model.state_dict())
            elif epoch - best_epoch >= config.patience:
                break
    for _ in range(epoch, config.epochs):
        on_epoch()
    if check is not None:
        model.load_state_dict(best_state)
    facts = FitFacts(
        best_epoch=best_epoch,
        held_out_games=material.held_out_games,
        held_out_loss=best_loss if check is not None else None,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    return FittedFusion(model.eval(), epoch, facts)


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
) -> None:
    """Step through all batches."""
    model.train()
    for start in range(0, len(order), config.batch_size):
        x, target = rows.batch(order[start : start + config.batch_size])
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), target, pos_weight=weight_A)
        loss.backward()  # type: ignore[no-untyped-call]
        _check_finite(loss.item(), config)
        optimiser.step()


def _loss_on(model: Network, rows: Rows, chosen: Tensor, weight_A: Tensor) -> float:
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


def _check_finite(loss: float, config: FusionConfig) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss of the learned fusion became {loss}; lower its learning rate "
            f"({config.learning_rate:g})"
        )
