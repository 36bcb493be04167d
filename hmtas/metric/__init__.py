"""Average-mAP, the SoccerNet spotting metric, by the evaluator's rules (thesis Section 5.2)."""

from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map, score
from hmtas.metric.counts import Histograms, histograms

__all__ = ["LOOSE_S", "TIGHT_S", "Histograms", "average_map", "histograms", "score"]
