"""From probabilities to spots: suppression, its best windows, and the score of what is left."""

from hmtas.spotting.evaluate import score_document, spot
from hmtas.spotting.nms import make_rule, non_max_suppression
from hmtas.spotting.windows import cross_fit, fit_exact

__all__ = ["cross_fit", "fit_exact", "make_rule", "non_max_suppression", "score_document", "spot"]
