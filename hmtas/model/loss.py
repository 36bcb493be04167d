"""The training loss (thesis Equations 4.1 to 4.3), on logits."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hmtas.config import ClassWeights
from hmtas.model.network import Logits


def weighted_nll(
    logits: Tensor, target: Tensor, weight_C: Tensor, present: Tensor | None = None
) -> Tensor:
    """Mean negative log-likelihood, positives of class c weighted by w_c (Equation 4.1).

    The thesis prints Equation 4.1 without its leading minus sign; this is the loss, >= 0.

    Args:
        logits: (..., C), before the sigmoid.
        target: (..., C) in [0, 1], same dtype as `logits`.
        weight_C: (C,), 1 for an unweighted class.
        present: (...) bool, False for what is left out of the mean; None for all of it.

    Returns:
        Scalar, the mean over every axis: 1/C of Equation 4.1 and 1/K of Equation 4.2.
    """
    if present is None:
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight_C)
    each = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=weight_C, reduction="none"
    ).mean(dim=-1)
    return (each * present).sum() / present.sum().clamp(min=1)


def hmtas_loss(
    logits: Logits,
    target_BC: Tensor,
    *,
    gamma: float,
    weight_C: Tensor,
    present_BE: Tensor | None = None,
) -> Tensor:
    """Fused loss and intermediate supervision, mixed by gamma (Equation 4.3).

    Args:
        logits: Output of a `SpottingModel`.
        target_BC: (B, C) in [0, 1].
        gamma: Share of the fused loss, in [0, 1]; the thesis uses 0.7.
        weight_C: (C,) positive-class weights.
        present_BE: (B, E) bool; a missing stream has no loss of its own.
    """
    fused = weighted_nll(logits.fused_BC, target_BC, weight_C)
    if logits.streams_BEC.shape[1] == 0:
        return fused
    target_BEC = target_BC.unsqueeze(1).expand_as(logits.streams_BEC)
    streams = weighted_nll(logits.streams_BEC, target_BEC, weight_C, present_BE)
    return gamma * fused + (1 - gamma) * streams


def positive_weights(
    config: ClassWeights, actions: Sequence[str], num_positive_A: np.ndarray
) -> Tensor:
    """The weights w_c of Equation 4.1.

    `num_positive_A` are the training windows that are positive for each action.

    Returns:
        (C,) float32, background first.

    """
    if config.power is None:
        weights = [config.by_action.get(name, config.default) for name in actions]
    else:
        rate_A = np.maximum(num_positive_A, 1)
        weights = list(config.scale * (np.median(rate_A) / rate_A) ** config.power)
    return torch.tensor([config.background, *weights], dtype=torch.float32)
