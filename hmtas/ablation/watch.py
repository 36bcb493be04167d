"""What the driver of an ablation says while the runs train, on the terminal and in MLflow."""

import time
from collections.abc import Sequence
from pathlib import Path

from hmtas.errors import describe_error
from hmtas.runs.record import RECORD, RunRecord, read_run
from hmtas.terminal.console import say
from hmtas.tracking.parent import Outbox

QUIET_S = 20.0  # between two lines about runs that are still training


class Watch:
    """Tell the user and MLflow how far the runs are, through the records that they write."""

    def __init__(self, num_ended: int, num_jobs: int, outbox: Outbox) -> None:
        self.num_ended, self.num_jobs, self.outbox = num_ended, num_jobs, outbox
        self._seen: dict[Path, int] = {}
        self._spoken = time.monotonic()

    def look(self, running: Sequence[Path]) -> None:
        """Bring MLflow up to date with new epochs, and say from time to time what runs."""
        told = []
        for run in running:
            record = read_run(run) if (run / RECORD).is_file() else None
            epochs = 0 if record is None else len(record.history)
            if epochs > self._seen.get(run, 0):
                self._seen[run] = epochs
                self.outbox.post(run)
            trained = record is not None and record.status == "done"
            told.append(f"{run.name} {'predicts' if trained else f'in epoch {epochs + 1}'}")
        if running and time.monotonic() - self._spoken >= QUIET_S:
            self._say(f"running: {', '.join(told)}")

    def ended(self, run: Path, error: Exception | None) -> None:
        """Say how a run ended."""
        if error is not None:
            self.outbox.post(run, "FAILED", describe_error(error))
            self._say(f"{run.name} failed: {describe_error(error)}")
            return
        self.num_ended += 1
        self.outbox.post(run)
        self._say(f"{run.name}: {describe(read_run(run))}")

    def _say(self, line: str) -> None:
        self._spoken = time.monotonic()
        say(f"[{self.num_ended}/{self.num_jobs}] {line}")


def describe(record: RunRecord) -> str:
    """How a training went, in a few words."""
    seconds = sum(entry.seconds for entry in record.history)
    words = f"{len(record.history)} epochs, {seconds:.0f} s"
    best = next((e for e in record.history if e.epoch == record.best_epoch), None)
    if best is None or best.tight is None:
        return words
    return f"{words}, best is {best.epoch}: tight {100 * best.tight:.2f} % where it stops"
