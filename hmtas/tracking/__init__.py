"""Runs in MLflow, written by the one process that drives them."""

from hmtas.tracking.parent import Outbox, Parent
from hmtas.tracking.run import sync_run
from hmtas.tracking.table import ComparedRun, read_table

__all__ = ["ComparedRun", "Outbox", "Parent", "read_table", "sync_run"]
