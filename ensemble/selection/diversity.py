"""How much models err together: what an average of them can gain depends on it. Numpy only.

The error of a model at a moment is its probability less the label. At nearly all moments of a half
every model is quiet, and all agree. So only those moments count at which some model is above a
threshold, or the action happens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ensemble.combiner import Evidence
from hmtas.model.windows import near_events

LOUD = 0.05  # probability from which on a moment is not quiet


class Diversity(NamedTuple):
    """Correlations of the errors of M models."""

    models: tuple[str, ...]  # M names
    correlation_AMM: np.ndarray  # nan where no moment is loud or an error constant
    moments_A: np.ndarray  # (A,) int64, moments looked at

    @property
    def mean(self) -> np.ndarray:
        """(M, M) the mean over the actions."""
        known = ~np.isnan(self.correlation_AMM).all(axis=(1, 2))
        if not known.any():
            return np.full(self.correlation_AMM.shape[1:], np.nan)
        mean: np.ndarray = np.nanmean(self.correlation_AMM[known], axis=0)
        return mean

    @property
    def pairwise(self) -> np.ndarray:
        """(A,) the mean over pairs of different models; nan for a single one."""
        pairs = np.triu_indices(len(self.models), 1)
        of_pairs = self.correlation_AMM[:, pairs[0], pairs[1]]
        known = ~np.isnan(of_pairs).all(axis=1) if len(pairs[0]) else np.zeros(len(of_pairs), bool)
        result = np.full(len(of_pairs), np.nan)
        result[known] = np.nanmean(of_pairs[known], axis=1)
        return result


def error_correlations(evidence: Evidence, kept: Sequence[int]) -> Diversity:
    """Pairwise correlations of the errors of some models, given by their indices, by action."""
    stacked = evidence.stacked
    some = evidence.of_models(kept).stacked
    num_models, num_actions = len(kept), len(stacked.actions)
    count_A = np.zeros(num_actions)
    sum_AM = np.zeros((num_actions, num_models))
    product_AMM = np.zeros((num_actions, num_models, num_models))
    for half, rows_MTA in some.halves.items():
        num_rows = rows_MTA.shape[1]
        label_TA = near_events(evidence.events[half], num_rows, 0, num_actions, stacked.rate_hz)
        loud_TA = (rows_MTA.max(axis=0) >= LOUD) | (label_TA > 0)
        error_MTA = rows_MTA - label_TA
        for a in range(num_actions):
            error_MN = error_MTA[:, loud_TA[:, a], a].astype(np.float64)
            count_A[a] += error_MN.shape[1]
            sum_AM[a] += error_MN.sum(axis=1)
            product_AMM[a] += error_MN @ error_MN.T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_AM = sum_AM / count_A[:, None]
        covariance = product_AMM / count_A[:, None, None] - mean_AM[:, :, None] * mean_AM[:, None]
        error = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
        correlation = covariance / (error[:, :, None] * error[:, None])
    correlation[~np.isfinite(correlation)] = np.nan
    return Diversity(some.models, correlation, count_A.astype(np.int64))
