"""The training losses (thesis Equations 4.1 to 4.3, and what they lack), on logits."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hmtas.config import ClassWeights, TrainConfig
from hmtas.model.network import Logits

HUBER_S = 0.5  # a displacement that is further off counts linearly (Soares & Shah 2022)


def weighted_nll(
    logits: Tensor,
    target: Tensor,
    weight_C: Tensor,
    present: Tensor | None = None,
    *,
    count_missing: bool = False,
    focal: float = 0.0,
) -> Tensor:
    """Mean negative log-likelihood, positives of class c weighted by w_c (Equation 4.1).

    The thesis prints Equation 4.1 without its leading minus sign; this is the loss, >= 0.

    Args:
        logits: (..., C), before the sigmoid.
        target: (..., C) in [0, 1], same dtype as `logits`.
        weight_C: (C,), 1 for an unweighted class.
        present: (...) bool, False for what is left out of the mean; None for all of it.
        count_missing: What is left out costs nothing, and still counts in the mean: then workers
            that average their gradients do as one with the whole batch.
        focal: Each term is weighed by |target - probability| to this power, a constant: 1 is the
            loss of ASTRA (Xarles et al. 2023). The weight of the focal loss (Lin et al. 2017) is
            the same and has a gradient.

    Returns:
        Scalar, the mean over every axis: 1/C of Equation 4.1 and 1/K of Equation 4.2.
    """
    if present is None and not focal:
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight_C)
    each = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight_C, reduction="none")
    if focal:
        each = each * (logits.detach().sigmoid() - target).abs().pow(focal)
    if present is None:
        return each.mean()
    total = (each.mean(dim=-1) * present).sum()
    return total / (present.numel() if count_missing else present.sum().clamp(min=1))


def displacement_loss(shift_BA: Tensor, target_BA: Tensor) -> Tensor:
    """Huber loss of displacements in seconds; nan targets, far from any event, do not count.

    The sum over actions, the mean over steps: the number of events of a batch does not weigh, so
    workers that average their gradients do as one with the whole batch.
    """
    known = target_BA.isfinite()
    wanted = torch.where(known, target_BA, shift_BA.detach())
    return F.huber_loss(shift_BA, wanted, reduction="sum", delta=HUBER_S) / len(shift_BA)


def hmtas_loss(
    logits: Logits,
    target_BC: Tensor,
    *,
    gamma: float,
    weight_C: Tensor,
    present_BE: Tensor | None = None,
    count_missing: bool = False,
    focal: float = 0.0,
) -> Tensor:
    """Fused loss and intermediate supervision, mixed by gamma (Equation 4.3).

    Args:
        logits: Output of a `SpottingModel`.
        target_BC: (B, C) in [0, 1].
        gamma: Share of the fused loss, in [0, 1]; the thesis uses 0.7.
        weight_C: (C,) positive-class weights.
        present_BE: (B, E) bool; a missing stream has no loss of its own.
        count_missing: As in `weighted_nll`.
        focal: As in `weighted_nll`.
    """
    fused = weighted_nll(logits.fused_BC, target_BC, weight_C, focal=focal)
    if logits.streams_BEC.shape[1] == 0:
        return fused
    target_BEC = target_BC.unsqueeze(1).expand_as(logits.streams_BEC)
    streams = weighted_nll(
        logits.streams_BEC,
        target_BEC,
        weight_C,
        present_BE,
        count_missing=count_missing,
        focal=focal,
    )
    return gamma * fused + (1 - gamma) * streams


def training_loss(
    logits: Logits,
    target_BC: Tensor,
    shift_BA: Tensor | None,
    config: TrainConfig,
    *,
    weight_C: Tensor,
    present_BE: Tensor | None = None,
    count_missing: bool = False,
) -> Tensor:
    """All that a configuration has a model learn: Equation 4.3, and displacements where given.

    Args:
        logits: Output of a `SpottingModel`.
        target_BC: (B, C) in [0, 1].
        shift_BA: (B, A) seconds, nan far from any event; None without displacements.
        config: Gamma, focal exponent, weight of the displacements.
        weight_C: (C,) positive-class weights.
        present_BE: (B, E) bool; None where every stream is present.
        count_missing: As in `weighted_nll`; the models that label steps are trained so.
    """
    loss = hmtas_loss(
        logits,
        target_BC,
        gamma=config.gamma,
        weight_C=weight_C,
        present_BE=present_BE,
        count_missing=count_missing,
        focal=config.focal_exponent,
    )
    if logits.shift_BA is None or shift_BA is None:
        return loss
    displacement = displacement_loss(logits.shift_BA, shift_BA)
    return loss + config.context.displacement_weight * displacement


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
