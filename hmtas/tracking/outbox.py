"""Live results on their way to MLflow, in a thread: the work never waits for it.

The run folders are the outbox; here is only a list of those that changed. Where MLflow does not
answer they stay on it and are tried again from time to time. What is missing at the end is sent
by whoever goes through the folders again, as MLflow takes what it has already for the same.
"""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmtas.terminal.console import say
from hmtas.tracking.log import Status
from hmtas.tracking.parent import MlflowParent, reason_of

PAUSE_S = 2.0  # between two rounds: an epoch may take less
RETRY_S = 15.0  # after a round that failed
LEAVE_S = 15.0  # a call that takes longer is left alone; where all is to end, sooner
HASTE_S = 2.0
# MLflow's own patience is minutes.
ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

_Note = tuple[Status | None, str | None]


class Outbox:
    """Sends run folders to MLflow while they grow.

    Args:
        mlflow: Where to.
        name: Of the parent run.
        params: Of the parent run.
    """

    def __init__(self, mlflow: MlflowParent, name: str, params: Mapping[str, Any]) -> None:
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        self.mlflow, self.name, self.params = mlflow, name, dict(params)
        self._waiting: dict[Path, _Note] = {}
        self._parent: tuple[dict[str, float], int, int] | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def post(self, run: Path, status: Status | None = None, error: str | None = None) -> None:
        """Note that a run folder changed; see `MlflowParent.sync`. Takes no time."""
        with self._lock:
            self._waiting[run] = (status, error)

    def post_parent(self, metrics: Mapping[str, float], step: int) -> None:
        """Note how far all of the work is, in place of what was noted and not sent."""
        with self._lock:
            self._parent = (dict(metrics), step, int(1000 * time.time()))

    def leave(self, wait_s: float = LEAVE_S) -> bool:
        """Send no more; False if MLflow still holds a call up."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            pause_s = PAUSE_S if self._round() else RETRY_S

    def _round(self) -> bool:
        """Send what waits, until it is sent or a call fails."""
        run: Path | None = None
        note: _Note = (None, None)
        try:
            self.mlflow.open(self.name, self.params)
            self._send_parent()
            while not self._ended.is_set():
                with self._lock:
                    if not self._waiting:
                        break
                    run = next(iter(self._waiting))
                    note = self._waiting.pop(run)
                self.mlflow.sync(run, *note)
        except Exception as error:
            if run is not None:
                with self._lock:
                    self._waiting.setdefault(run, note)  # behind the others
            if not self._failing:
                say(f"warning: MLflow failed, results wait for it ({reason_of(error)})")
            self._failing = True
            return False
        if self._failing:
            say("MLflow answers again")
        self._failing = False
        return True

    def _send_parent(self) -> None:
        """A point that was sent before a call failed is the same point when it is sent again."""
        noted = self._parent
        if noted is not None:
            self.mlflow.log(*noted)
            with self._lock:
                if self._parent is noted:
                    self._parent = None
