"""From probabilities to spots: suppression, and its best windows."""

from hmtas.spotting.nms import make_rule, non_max_suppression
from hmtas.spotting.spots import spot
from hmtas.spotting.windows import cross_fit, fit_exact

__all__ = ["cross_fit", "fit_exact", "make_rule", "non_max_suppression", "spot"]
