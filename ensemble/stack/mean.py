"""Fixed-weight fusion of the models' probabilities (thesis Section 5.6). Numpy only.

An average of logits is a geometric mean of the odds: one sure model moves it more, and one that is
sure of the opposite does too. Weights may differ from action to action.

Difference from the thesis: its code divided a sum over four models by five weights, and took test
scores for weights. Here the weights of the models used sum to 1 and come from validation games.
"""

import numpy as np

from hmtas.errors import InputError
from hmtas.records import Score
from hmtas.runs.ensemble import Space
from hmtas.terminal.text import counted

EDGE = 12.0
"""Logits are averaged within +-12, that is 6e-6 from 0 and 1: no model alone can rule a moment
out. One model alone therefore returns itself to 6e-6."""

BORROWED = 50.0
"""Pseudo-events: the number of events at which a model's precision on an action says as much of
its weight there as its scores on all actions do. It is that of the NMS windows, for the same
reason: from action to action precisions differ by some 4 points more than models do on average,
and one seen on n events has a standard deviation near 30 / sqrt(n) points."""


def combine_weights(scores: np.ndarray, power: int) -> np.ndarray:
    """Weights of the M models, proportional to their score raised to `power`.

    Args:
        scores: (M,) validation Average-mAP of each model, in [0, 1], or (M, A) of each action.
            Never test scores: the test split compares ensembles, so it may not shape them.
        power: 0 for the mean, 1 for the weighted mean, 2 for the squared weighted mean.

    Returns:
        float64 weights of the same shape, >= 0, over the models summing to 1. A score of 0 is a
        weight of 0, the mean excepted; actions on which no model scores are nan.

    Raises:
        ValueError: If a score is not in [0, 1], which includes nan.
    """
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores must be in [0, 1], got {scores.tolist()}")
    raised = scores.astype(np.float64) ** power
    with np.errstate(invalid="ignore"):
        weights: np.ndarray = raised / raised.sum(axis=0)
    return weights


def weights_of_scores(
    scores: list[Score], power: int, *, per_action: bool = False, borrowed: float = BORROWED
) -> np.ndarray:
    """Weights (M,) from the scores on the same games, or (M, A) where each action has its own.

    With n events of an action, a model's weight there is
        n / (n + borrowed) * its weight by that action + borrowed / (n + borrowed) * its common one:
    an action that never happened takes the common weights.

    Raises:
        InputError: If every model scores 0.
    """
    common = combine_weights(np.array([score.average_map for score in scores]), power)
    if np.isnan(common).any():
        raise InputError(
            f"every model scores 0 on {counted(scores[0].num_games, 'game')}, so there are no "
            "weights; are they trained at all, and are these their labels?"
        )
    if not per_action:
        return common
    per_MA = np.nan_to_num([score.per_action for score in scores], nan=0.0)
    own_MA = combine_weights(per_MA, power)
    common_MA = np.broadcast_to(common[:, None], own_MA.shape)
    num_events_A = scores[0].num_events
    share_A = num_events_A / (num_events_A + borrowed) if borrowed > 0 else num_events_A > 0
    own_MA = np.where(np.isnan(own_MA), common_MA, own_MA)
    weights: np.ndarray = share_A * own_MA + (1 - share_A) * common_MA
    return weights


def combine(
    stacked_MTA: np.ndarray, weights: np.ndarray, space: Space = "probability"
) -> np.ndarray:
    """Weighted mean of the models' probabilities, or of their logits.

    Args:
        stacked_MTA: (M, T, A) in [0, 1].
        weights: (M,) or (M, A) >= 0, over the models summing to 1.
        space: What is averaged.

    Returns:
        (T, A) float32 in [0, 1].

    Raises:
        ValueError: If there is not one weight per model, or they are no weighted mean.
    """
    num_models, _, num_actions = stacked_MTA.shape
    if weights.shape not in {(num_models,), (num_models, num_actions)}:
        raise ValueError(f"{num_models} models need as many weights, got {weights.shape}")
    if (weights < 0).any() or not np.allclose(weights.sum(axis=0), 1):
        raise ValueError(f"weights must be >= 0 and sum to 1, got {weights.tolist()}")
    # In float64, so that the sum leaves [0, 1] by less than the rounding to float32 takes away.
    wide = weights.astype(np.float64).reshape(num_models, -1)
    total_TA = np.zeros(stacked_MTA.shape[1:])
    for rows_TA, weight in zip(stacked_MTA, wide, strict=True):
        if weight.any():  # of hundreds of models, most have none
            total_TA += weight * (rows_TA if space == "probability" else logit(rows_TA))
    fused_TA: np.ndarray = total_TA if space == "probability" else 1 / (1 + np.exp(-total_TA))
    return fused_TA.astype(np.float32)


def logit(probability: np.ndarray) -> np.ndarray:
    """float64 logits within `EDGE`."""
    least = 1 / (1 + np.exp(EDGE))
    inside = np.clip(probability.astype(np.float64), least, 1 - least)
    result: np.ndarray = np.log(inside / (1 - inside))
    return result
