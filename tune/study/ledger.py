"""The trials of a study in the memory of its driver: what changes is on disk before it counts.

Tune pickles callbacks and schedulers, so they know the folder of a study and ask here, as they do
for its clock (tune.study.budget). Each change and each question takes the same time however many
trials there are.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tune.study.record import StudyRecord, read_study, score_of, write_study
from tune.study.rows import RowFile, TrialRow, TrialStatus


class Ledger:
    """The trials of a study, by id, in the order they were proposed.

    Attributes:
        counts: Trials by status.
        num_told: Trials whose end the sampler has heard of.
        last_told: The place of the last of them; some were told again.
        total: How many trials the study is to have.
        best: The first of the trials with the best score that did not fail.
    """

    def __init__(self, folder: Path, record: StudyRecord) -> None:
        self.folder = folder
        self._head = record.model_copy(update={"trials": ()})
        self._rows = {row.id: row for row in record.trials}
        self._places = {name: place for place, name in enumerate(self._rows)}
        self._file = RowFile(folder)
        self.counts: Counter[TrialStatus] = Counter(row.status for row in record.trials)
        self.total = record.num_trials
        told = [row.told for row in record.trials if row.told is not None]
        self.num_told, self.last_told = len(told), max(told, default=0)
        self.best: TrialRow | None = None
        self._find_best()

    @property
    def record(self) -> StudyRecord:
        """The study as it is now."""
        return self._head.model_copy(update={"trials": tuple(self._rows.values())})

    @property
    def head(self) -> StudyRecord:
        """The study without its trials."""
        return self._head

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_ended(self) -> int:
        """How many trials came to their end, one way or another."""
        return len(self) - self.counts["waiting"] - self.counts["running"]

    def row(self, name: str) -> TrialRow:
        """The row of a trial."""
        return self._rows[name]

    def put(self, row: TrialRow) -> None:
        """Note a trial, or what changed of it: first on disk.

        Raises:
            TransientError: If the disk is full; nothing has changed then.
        """
        before = self._rows.get(row.id)
        if row == before:
            return
        self._file.append(row, before)
        if before is None:
            self._places[row.id] = len(self._places)
        else:
            self.counts[before.status] -= 1
        self.counts[row.status] += 1
        self._rows[row.id] = row
        if row.told is not None:
            self.num_told += before is None or before.told is None
            self.last_told = max(self.last_told, row.told)
        if self._merit(row) >= self._merit(self.best) and self._merit(row)[0] >= 0:
            self.best = row
        elif self.best is not None and self.best.id == row.id:
            self._find_best()  # it failed

    def close(self) -> None:
        """Note no more."""
        self._file.close()

    def _find_best(self) -> None:
        best = max(self._rows.values(), key=self._merit, default=None)
        self.best = best if best is not None and self._merit(best)[0] >= 0 else None

    def _merit(self, row: TrialRow | None) -> tuple[float, int]:
        """What a trial is ranked by, and of equal ones the earlier; below 0 without a score."""
        if row is None or row.status == "failed":
            return -1.0, 0
        score = score_of(row, self._head.settings.options.objective)
        return (-1.0, 0) if score is None else (score, -self._places[row.id])


_ledgers: dict[Path, Ledger] = {}


@contextlib.contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """Keep the trials of a study that this process drives, for the length of a block."""
    folder = folder.absolute()
    record = read_study(folder)
    write_study(folder, record)  # a line a trial
    ledger = _ledgers[folder] = Ledger(folder, record)
    try:
        yield ledger
    finally:
        del _ledgers[folder]
        ledger.close()


def ledger_of(folder: Path) -> Ledger:
    """The trials of a study that this process drives."""
    return _ledgers[folder.absolute()]


def study_now(folder: Path) -> StudyRecord:
    """A study as it is now, for any process: from memory where this one drives it.

    Raises:
        InputError: As `read_study`.
    """
    ledger = _ledgers.get(folder.absolute())
    return read_study(folder) if ledger is None else ledger.record
