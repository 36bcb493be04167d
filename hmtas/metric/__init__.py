"""Average-mAP, the SoccerNet spotting metric (thesis Section 5.2), and those of other tasks."""

from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map, score
from hmtas.metric.chosen import ChosenMetric
from hmtas.metric.counts import Histograms, histograms

__all__ = ["LOOSE_S", "TIGHT_S", "ChosenMetric", "Histograms", "average_map", "histograms", "score"]
