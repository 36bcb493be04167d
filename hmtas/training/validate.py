"""The score of a model in training, on the games that stop it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmtas.config import Config
from hmtas.metric.averages import TOLERANCES_S, Metric, score
from hmtas.metric.counts import histograms
from hmtas.model.loss import hmtas_loss, weighted_nll
from hmtas.model.network import Logits, SpottingModel
from hmtas.model.windows import window_targets
from hmtas.prediction.slide import Predictor, to_probabilities
from hmtas.records import HalfId, Probabilities
from hmtas.scoring.run import spot_as_trained
from hmtas.statistics.games import GameCounts, resampled_averages
from hmtas.statistics.intervals import bootstrap_interval
from hmtas.store.local import EmbeddingStore


class Validation(NamedTuple):
    """What an `EpochRecord` says of the games that stop the training.

    Losses are over windows that do not overlap, as in the thesis; Average-mAP over every row.
    """

    val_loss: float  # Equation 4.3
    val_stream_losses: dict[str, float]  # Equation 4.1 of each stream's own head (Table 5.6)
    tight: float  # in [0, 1]
    loose: float
    game_tight: tuple[float, ...]  # of each game alone, over its own actions; games sorted
    intervals: dict[str, tuple[float, float]]  # 95 %, of the score that stops the training


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
    seq_len = config.train.seq_len
    predictor = Predictor(model, widths, seq_len, device=device)
    probabilities: dict[HalfId, Probabilities] = {}
    kept: list[Logits] = []
    targets: list[Tensor] = []
    present: list[Tensor] = []
    for half_id in store.halves_of(games):
        half = store.open_half(half_id)
        logits = predictor.logits(half)
        probabilities[half_id] = to_probabilities(logits, half, store.rate_hz)
        target_TC = window_targets(
            store.events(half_id), half.num_rows, seq_len, len(store.actions), store.rate_hz
        )
        apart = slice(seq_len // 2, None, seq_len)
        kept.append(Logits(logits.fused_BC[apart], logits.streams_BEC[apart]))
        targets.append(torch.from_numpy(target_TC)[apart])
        row_E = torch.tensor([name in half.streams for name in widths])
        present.append(row_E.expand(len(targets[-1]), -1))
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
        Logits(*(torch.cat(parts) for parts in zip(*kept, strict=True))),
        torch.cat(targets),
        torch.cat(present),
        gamma=config.train.gamma,
        weight_C=weight_C.cpu(),
    )
    return Validation(
        losses[0],
        dict(zip(widths, losses[1:], strict=False)),
        tight=score(counts["tight"]).average_map,
        loose=score(counts["loose"]).average_map,
        game_tight=tuple(game_tight.tolist()),
        intervals=intervals,
    )


def _losses(
    logits: Logits, target_BC: Tensor, present_BE: Tensor, *, gamma: float, weight_C: Tensor
) -> list[float]:
    """The whole loss, then that of each stream head, if there are any."""
    loss = hmtas_loss(logits, target_BC, gamma=gamma, weight_C=weight_C, present_BE=present_BE)
    heads = [
        weighted_nll(logits.streams_BEC[:, i], target_BC, weight_C, present_BE[:, i])
        for i in range(logits.streams_BEC.shape[1])
    ]
    return [part.item() for part in (loss, *heads)]
