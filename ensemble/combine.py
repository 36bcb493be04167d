"""Fixed-weight fusion of the models' probabilities (thesis Section 5.6). Numpy only.

Difference from the thesis: its code divided a sum over four models by five weights, and took test
scores for weights. Here the weights of the models used sum to 1 and come from validation games.
"""

import numpy as np

POWERS = {"mean": 0, "weighted": 1, "squared": 2}
"""Combiners by name: the power of the validation score that a model's weight is made of."""


def combine_weights(scores: np.ndarray, power: int) -> np.ndarray:
    """Weights of the M models, proportional to their score raised to `power`.

    Args:
        scores: (M,) validation Average-mAP of each model, in (0, 1]. Never test scores:
            the test split compares ensembles, so it may not shape them.
        power: 0 for the mean, 1 for the weighted mean, 2 for the squared weighted mean.

    Returns:
        (M,) float64 weights, > 0, summing to 1.

    Raises:
        ValueError: If a score is not in (0, 1], which includes nan.
    """
    if not ((scores > 0) & (scores <= 1)).all():
        raise ValueError(f"scores must be in (0, 1], got {scores.tolist()}")
    weights: np.ndarray = scores.astype(np.float64) ** power
    weights /= weights.sum()
    return weights


def combine(stacked_MTA: np.ndarray, weights_M: np.ndarray) -> np.ndarray:
    """Weighted mean of the models' probabilities.

    Args:
        stacked_MTA: (M, T, A) in [0, 1].
        weights_M: (M,) >= 0, summing to 1.

    Returns:
        (T, A) float32 in [0, 1].

    Raises:
        ValueError: If there is not one weight per model, or they are no weighted mean.
    """
    if weights_M.shape != stacked_MTA.shape[:1]:
        raise ValueError(f"{len(stacked_MTA)} models need as many weights, got {weights_M.shape}")
    if (weights_M < 0).any() or not np.isclose(weights_M.sum(), 1):
        raise ValueError(f"weights must be >= 0 and sum to 1, got {weights_M.tolist()}")
    # In float64, so that the sum leaves [0, 1] by less than the rounding to float32 takes away.
    fused_TA: np.ndarray = np.tensordot(weights_M.astype(np.float64), stacked_MTA, axes=1)
    return fused_TA.astype(np.float32)
