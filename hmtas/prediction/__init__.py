"""Slide over a half: embeddings to probabilities (thesis Section 4.3)."""

from hmtas.prediction.slide import Predictor, predict_run

__all__ = ["Predictor", "predict_run"]
