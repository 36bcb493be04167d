"""The model in plain torch: networks, losses, checkpoints, and targets of windows and steps."""

from hmtas.model.build import build_model, count_parameters
from hmtas.model.checkpoint import load_model
from hmtas.model.loss import hmtas_loss
from hmtas.model.network import HMTAS, SpottingModel
from hmtas.model.windows import window_rows, window_targets

__all__ = [
    "HMTAS",
    "SpottingModel",
    "build_model",
    "count_parameters",
    "hmtas_loss",
    "load_model",
    "window_rows",
    "window_targets",
]
