"""The score of a model in training, on the games that stop it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmtas.config import Config
from hmtas.metric.averages import TOLERANCES_S, Metric, score
from hmtas.metric.counts import histograms
from hmtas.model.loss import training_loss, weighted_nll
from hmtas.model.network import Logits, SpottingModel
from hmtas.prediction.slide import Predictor
from hmtas.records import HalfId, Probabilities
from hmtas.scoring.run import spot_as_trained
from hmtas.statistics.games import GameCounts, resampled_averages
from hmtas.statistics.intervals import bootstrap_interval
from hmtas.store.local import EmbeddingStore
from hmtas.training.labels import labels_of


class Validation(NamedTuple):
    """What an `EpochRecord` says of the games that stop the training.

    Losses are over windows that do not overlap, as in the thesis, or over every step; Average-mAP
    over every row.
    """

    val_loss: float  # Equation 4.3
    val_stream_losses: dict[str, float]  # Equation 4.1 of each stream's own head (Table 5.6)
    tight: float  # in [0, 1]
    loose: float
    game_tight: tuple[float, ...]  # of each game alone, over its own actions; games sorted
    intervals: dict[str, tuple[float, float]]  # 95 %, of the score that stops the training


class Targeted(NamedTuple):
    """What the logits of some labels are compared with."""

    target_BC: Tensor
    shift_BA: Tensor | None
    present_BE: Tensor


def validate(
    model: SpottingModel,
    store: EmbeddingStore,
    games: Sequence[str],
    widths: Mapping[str, int],
    config: Config,
    *,
    weight_C: Tensor,
    device: torch.device | str = "cpu",
) -> Validation:
    """Score a model on some games, on its device. Leaves it in evaluation mode."""
    model.eval()
    predictor = Predictor(model, widths, config, rate_hz=store.rate_hz, device=device)
    labels, num_actions = labels_of(config, store.rate_hz), len(store.actions)
    probabilities: dict[HalfId, Probabilities] = {}
    kept: list[Logits] = []
    targets: list[Tensor] = []
    shifts: list[Tensor] = []
    present: list[Tensor] = []
    # A step is a sample of its own; windows overlap, and every L-th is taken.
    length = 1 if config.model.labels_steps else config.train.seq_len
    apart = slice(length // 2, None, length)
    for half_id in store.halves_of(games):
        half = store.open_half(half_id)
        logits = predictor.logits(half)
        probabilities[half_id] = predictor.probabilities(logits, half)
        found = labels.targets(store.events(half_id), half.num_rows, num_actions)
        kept.append(logits.map(lambda part: part[apart]))
        targets.append(_by_label(found.classes, num_actions + 1)[apart])
        if found.shift_s is not None:
            shifts.append(_by_label(found.shift_s, num_actions))
        row_E = torch.tensor([name in half.streams for name in widths])
        present.append(row_E.expand(len(kept[-1].fused_BC), -1))
    events = store.events_of(games)
    stop_metric: Metric = "loose" if config.train.stop_on == "loose" else "tight"
    spots = spot_as_trained(probabilities, events, store.actions, config, stop_metric)
    counts = {
        metric: histograms(spots, events, tolerances_s, len(store.actions))
        for metric, tolerances_s in TOLERANCES_S.items()
    }
    intervals: dict[str, tuple[float, float]] = {}
    if len(counts["tight"].games) > 1:  # one game alone says nothing of how games differ
        # Of what trials are compared by: a second for both would be felt in every epoch.
        intervals[stop_metric] = bootstrap_interval(GameCounts.of(counts[stop_metric]))
    tight = GameCounts.of(counts["tight"])
    game_tight = resampled_averages(tight, np.eye(len(tight.games)))
    losses = _losses(
        Logits.join(kept),
        Targeted(torch.cat(targets), torch.cat(shifts) if shifts else None, torch.cat(present)),
        config,
        weight_C.cpu(),
    )
    return Validation(
        losses[0],
        dict(zip(widths, losses[1:], strict=False)),
        tight=score(counts["tight"]).average_map,
        loose=score(counts["loose"]).average_map,
        game_tight=tuple(game_tight.tolist()),
        intervals=intervals,
    )


def _by_label(values: np.ndarray, width: int) -> Tensor:
    """(T, k * width) as (T * k, width) float32."""
    return torch.from_numpy(values.reshape(-1, width).astype(np.float32))


def _losses(logits: Logits, wanted: Targeted, config: Config, weight_C: Tensor) -> list[float]:
    """The whole loss, then that of each stream head, if there are any."""
    target_BC, shift_BA, present_BE = wanted
    loss = training_loss(
        logits,
        target_BC,
        shift_BA,
        config.train,
        weight_C=weight_C,
        present_BE=present_BE,
        count_missing=config.model.labels_steps,
    )
    focal = config.train.focal_exponent
    heads = [
        weighted_nll(logits.streams_BEC[:, i], target_BC, weight_C, present_BE[:, i], focal=focal)
        for i in range(logits.streams_BEC.shape[1])
    ]
    return [part.item() for part in (loss, *heads)]
