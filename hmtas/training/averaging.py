"""An average of the weights over the steps of a training (Polyak & Juditsky 1992), exponential."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hmtas.model.network import SpottingModel


class WeightAverage:
    """A copy of a model whose weights follow those of the model in training.

    After step t it takes a share of the new weights: 1 - decay, more in the first steps, so that
    the random weights it began with are soon forgotten.
    """

    def __init__(self, model: SpottingModel, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model), decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow a step; steps are counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        follow(list(self.model.parameters()), list(model.parameters()), None)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
