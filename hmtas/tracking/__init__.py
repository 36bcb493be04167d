"""Runs in MLflow, written by the one process that drives them."""

from hmtas.tracking.outbox import Outbox
from hmtas.tracking.parent import MlflowParent
from hmtas.tracking.run import sync_run
from hmtas.tracking.table import ComparedRun, read_table

__all__ = ["ComparedRun", "MlflowParent", "Outbox", "read_table", "sync_run"]
