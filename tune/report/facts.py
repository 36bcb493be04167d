"""What a report is about, and what it is made of."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from hmtas.runs.record import RunRecord
from hmtas.spotting.evaluate import FittedWindows
from tune.report.importance import Importances
from tune.report.scores import Scores
from tune.report.tables import Table
from tune.study.budget import Budget
from tune.study.finalists import Final
from tune.study.record import StudyRecord, TrialRow, ranked


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a page is about.

    Attributes:
        folder: Of the study.
        record: Of the study.
        final: Of its best trials, trained again.
        budget: Its hours.
        runs: By trial, the record of its training, where there is one.
        scores: Of the best models on the predicted split; None where they cannot be had.
        why_no_scores: Then.
        importances: Of its dimensions.
        windows: NMS windows that suit the best trial, where any were fitted.
        now: When the page is drawn.
    """

    folder: Path
    record: StudyRecord
    final: Final | None
    budget: Budget
    runs: dict[str, RunRecord]
    scores: Scores | None
    why_no_scores: str
    importances: Importances
    windows: FittedWindows | None
    now: datetime

    @property
    def metric(self) -> str:
        """What trials are ranked by."""
        return self.record.settings.options.metric

    @property
    def best(self) -> TrialRow | None:
        """The best trial."""
        return best_of(self.record, self.final)

    def count(self, *states: str) -> int:
        """Trials in one of some states."""
        return sum(row.status in states for row in self.record.trials)


class Code(NamedTuple):
    """Text to copy, with a name to save it under, if it is a file."""

    title: str
    text: str
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, what is said, a picture with how to read it, tables, text to copy."""

    anchor: str
    title: str
    text: list[str] = field(default_factory=list)
    figure: str | None = None  # HTML
    caption: str = ""
    tables: list[tuple[str, Table]] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)


class Tile(NamedTuple):
    """A number that is read first."""

    value: str
    label: str


def best_of(record: StudyRecord, final: Final | None) -> TrialRow | None:
    """The trial that was picked among those trained again, else the search's; None without one."""
    if final is not None:
        return next(row for row in record.trials if row.id == final.picked)
    return next(iter(ranked(record)), None)
