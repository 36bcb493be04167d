"""One trial, however it is trained: its task, its reports, and its folder.

Tune keeps a trial's last report, so a trial reports its best epoch so far; a nan would leave
Optuna's trial running forever, so it is an error.
"""

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hmtas.config import StopOn
from hmtas.files import locked
from hmtas.model.checkpoint import remove_checkpoints
from hmtas.runs.record import RECORD, EpochRecord
from tune.study.options import GAMES, LOOSE, TIGHT
from tune.study.record import TRIALS, StudyRecord
from tune.study.settings import Load, StudySettings

if TYPE_CHECKING:
    from hmtas.store.local import EmbeddingStore

WRITER_TIMEOUT_S = 60.0  # how long a process may outlive its driver
WAITED = "waited_s"  # in a trial's reports: for CPUs that other commands had
FAILED = "failed"  # in a trial's last report: why it failed
HEAD_NODE = {"node:__internal_head__": 0.001}  # a place on the head of a cluster, and no CPU


class Job(NamedTuple):
    """What the trials of a study have in common."""

    trials: Path  # folder of the run folders
    settings: StudySettings
    load: Load

    @classmethod
    def of(cls, folder: Path, record: StudyRecord, load: Load | None = None) -> "Job":
        """The job of the trials of the study in a folder, with what they take."""
        return cls(folder / TRIALS, record.settings, load or record.resources)

    def open_store(self) -> "EmbeddingStore":
        """The store of the study; see `StudySettings.open_store`."""
        return self.settings.open_store(self.trials.parent)

    @property
    def device(self) -> str:
        """Where a trial, or each of its workers, computes."""
        return "cuda" if self.gpus else "cpu"

    @property
    def gpus(self) -> float:
        """What of a GPU a trial, or each of its workers, takes."""
        return self.load.gpus_per_trial or 0.0

    @property
    def cpus(self) -> int:
        """CPUs of a trial, all its workers together."""
        return self.load.cpus_per_trial * self.settings.workers_per_trial

    def task_options(self) -> dict[str, Any]:
        """What one training takes of Ray; workers take the CPUs themselves."""
        if self.settings.workers_per_trial > 1:
            return {"num_cpus": 0, "resources": HEAD_NODE}
        return {"num_cpus": self.load.cpus_per_trial, "num_gpus": self.gpus}


def discard_run(run: Path) -> None:
    """Let a run whose checkpoints are all damaged start again from nothing."""
    remove_checkpoints(run)
    (run / RECORD).unlink()  # mlflow.json stays: one folder, one run there


def writer_lock(run: Path) -> AbstractContextManager[None]:
    """Be the one process of this machine that writes a run folder.

    A process of a driver that was killed may live a little longer than it.

    Raises:
        TransientError: If another process writes there for longer than that.
    """
    lock = run.parent / f".{run.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    return locked(
        lock, wait_s=WRITER_TIMEOUT_S, busy=f"{run}: another process writes this run folder"
    )


class BestEpoch:
    """The best epoch of a trial so far, which is what it reports.

    It is the one that the training keeps; both numbers are of it.
    """

    def __init__(self, stop_on: StopOn) -> None:
        self.stop_on = stop_on
        self._best: EpochRecord | None = None

    def metrics(self, epoch: EpochRecord) -> dict[str, Any]:
        """Note one more epoch; what to report after it.

        Raises:
            FloatingPointError: If its score is not finite.
        """
        for name, value in (("tight", epoch.tight), ("loose", epoch.loose)):
            if value is not None and not math.isfinite(value):
                raise FloatingPointError(f"epoch {epoch.epoch}: {name} is {value}")
        if self._best is None or epoch.merit(self.stop_on) > self._best.merit(self.stop_on):
            self._best = epoch
        best = self._best
        values = {TIGHT: best.tight or 0.0}
        if best.loose is not None:  # records of older versions have none
            values[LOOSE] = best.loose
        losses = {"train_loss": epoch.train_loss, "val_loss": epoch.val_loss, "tight": epoch.tight}
        found = {name: value for name, value in losses.items() if value is not None}
        games = {GAMES: list(best.game_tight)} if best.game_tight is not None else {}
        return {**values, "epoch": epoch.epoch, **found, **games}
