"""Trainings that end where a process might be killed."""

from collections.abc import Callable
from pathlib import Path

from hmtas.runs.record import EpochRecord, RunRecord, write_run


class KilledError(Exception):
    """Stands for the end of the process."""


def killed_after(epoch: int) -> Callable[[EpochRecord], None]:
    """A report for `fit`: the process dies once it has reported that epoch."""

    def report(entry: EpochRecord) -> None:
        if entry.epoch == epoch:
            raise KilledError

    return report


def killed_before_record(epoch: int) -> Callable[[Path, RunRecord], None]:
    """A `write_run` for `fit`: the checkpoint of that epoch is written, its record is not."""

    def write(run: Path, record: RunRecord) -> None:
        if len(record.history) == epoch:
            raise KilledError
        write_run(run, record)

    return write
