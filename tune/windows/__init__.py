"""NMS windows of run folders, fitted on their stored probabilities; no training."""

from tune.windows.fit import tune_run

__all__ = ["tune_run"]
