"""Several runs on one line: a bad one does not stop the others, and is named at the end."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from hmtas.errors import InputError
from hmtas.refusals import describe_error
from hmtas.runs.record import read_run


class Failures:
    """The runs of a verb that could not be done.

    Args:
        num_runs: How many runs were named; the failure of a lone one is raised at once.
    """

    def __init__(self, num_runs: int) -> None:
        self.num_runs = num_runs
        self.reasons: list[str] = []

    @contextlib.contextmanager
    def of(self, run: Path) -> Iterator[None]:
        """Do what concerns one run in a block; what fails there ends the block and is kept."""
        try:
            try:
                yield
            except OSError as error:
                raise InputError(describe_error(error)) from error
        except InputError as error:
            if self.num_runs == 1:
                raise
            reason = str(error)
            self.reasons.append(reason if str(run) in reason else f"{run}: {reason}")

    def readable(self, runs: Iterable[Path]) -> list[Path]:
        """The runs whose record, and note of what MLflow has, can be read.

        Raises:
            InputError: If there are none.
        """
        good = []
        for run in runs:
            with self.of(run):
                check_readable(run)
                good.append(run)
        if not good:
            self.tell()
        return good

    def tell(self) -> None:
        """Name the runs that failed, when the others are done.

        Raises:
            InputError: If there are any.
        """
        if self.reasons:
            failed = f"{len(self.reasons)} of {self.num_runs} runs failed: "
            raise InputError(failed + "\n  and ".join(self.reasons))


def check_readable(run: Path) -> None:
    """Read the record of a run, and the note of what MLflow has of it.

    Raises:
        InputError: If one is damaged, or there is no record.
    """
    from hmtas.tracking.note import tracked_at

    read_run(run)
    tracked_at(run)
