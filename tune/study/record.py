"""What a study is and how far it got: DIR/NAME/study.json, readable without Ray.

DIR/NAME/study.json            the record below, but for its trials
DIR/NAME/trials.jsonl          its trials (tune.study.rows)
DIR/NAME/trials/<trial id>/    a run folder per trial (hmtas.runs.record)
DIR/NAME/driver.json           who drives it now (tune.study.lock)
DIR/NAME/ray/                  Tune's own; no part of the study
DIR/NAME/final.json            the best, trained again (tune.study.finalists)
DIR/NAME/budget.json           hours, and what is spent of them (tune.study.budget)
DIR/NAME/mlflow.json           the MLflow run of the sweep (hmtas.tracking.parent)
DIR/NAME/report.html           what it found, as a page (tune.report.page)
DIR/NAME/optuna.db             a copy for optuna-dashboard (tune.search.mirror)
"""

import json
from pathlib import Path
from typing import Any, Literal

from hmtas.config import Config
from hmtas.errors import InputError, join_problems
from hmtas.files import write_json
from hmtas.place import home_of, where_now
from hmtas.runs.record import read_run, store_now
from hmtas.validation import Frozen, read_record
from tune.study.finalists import Final, read_final
from tune.study.options import Objective
from tune.study.rows import FILE as ROWS
from tune.study.rows import TrialRow, read_rows, write_rows
from tune.study.settings import Load, StudySettings

RECORD = "study.json"
REPORT = "report.html"
TRIALS = "trials"
RAY = "ray"


class StudyRecord(Frozen):
    """A study and its trials, in the order they were sampled: all that a new driver needs."""

    name: str
    version: str  # of this package
    created: str  # ISO 8601, UTC
    status: Literal["running", "done"] = "running"
    settings: StudySettings
    load: Load | None = None  # as asked for, from the first start on
    more: int = 0  # trials beyond those of the settings (`hmtas tune resume --trials`)
    experiment: str = "hmtas"  # in MLflow
    address: str | None = None  # of the Ray cluster; None: one of its own
    home: str | None = None  # the study's folder when it was written; None once it is read
    trials: tuple[TrialRow, ...] = ()

    @property
    def num_trials(self) -> int:
        """How many it is to have: no more than its space has points."""
        asked_for, points = self.settings.num_trials + self.more, self.settings.space.num_points
        if points >= asked_for:
            return asked_for
        num_again = len(self.trials) - self._num_tried  # an older version trained some points twice
        return int(min(asked_for, num_again + points))

    @property
    def is_exhausted(self) -> bool:
        """Is there no point of its space left to try?"""
        return self._num_tried >= self.settings.space.num_points

    @property
    def _num_tried(self) -> int:
        return len({json.dumps(row.settings, sort_keys=True) for row in self.trials})

    def trial(self, name: str) -> TrialRow:
        """The row of a trial."""
        return next(row for row in self.trials if row.id == name)

    @property
    def resources(self) -> Load:
        """Trials at once, and what each takes."""
        return self.load or Load()


def write_study(folder: Path, record: StudyRecord) -> None:
    """Write the record of a study: its trials, then the rest, each atomically.

    While trials run, its driver notes what becomes of them (tune.study.ledger).
    """
    if record.trials or (folder / ROWS).is_file():
        write_rows(folder, record.trials)
    at_home = record.model_copy(update={"home": home_of(folder)})
    write_json(folder / RECORD, at_home.model_dump(mode="json", exclude={"trials"}))


def read_study(folder: Path) -> StudyRecord:
    """Read the record of a study; its store, and an earlier study, are where they lie now.

    Raises:
        InputError: If `folder` is no study or its record is malformed.
    """
    if not (folder / RECORD).is_file():
        raise InputError(
            f"{folder}: no study here ({RECORD} is missing); a study lies in DIR/NAME of "
            "`hmtas tune model STORE --name NAME --out DIR`"
        )
    record = read_record(folder / RECORD, StudyRecord)
    rows = read_rows(folder)
    if rows is not None:  # older versions had them in the record
        record = record.model_copy(update={"trials": rows})
    settings, options = record.settings, record.settings.options
    if options.warm is not None:
        earlier = where_now(options.warm.study, record.home, folder)
        warm = options.warm.model_copy(update={"study": earlier})
        options = options.model_copy(update={"warm": warm})
    store = store_now(settings.store, settings.store_checksum, record.home, folder)
    settings = settings.model_copy(update={"store": store, "options": options})
    return record.model_copy(update={"settings": settings, "home": None})


def check_same(folder: Path, old: StudySettings, new: StudySettings) -> None:
    """Refuse to resume a study under other settings: half of it would be another study.

    Raises:
        InputError: Naming every difference.
    """
    # A store may have moved: its checksum says whether it is the same.
    before, after = (_flat(s.model_dump(mode="json", exclude={"store"})) for s in (old, new))
    changed = [
        f"{name} was {before.get(name)!r}, now {after.get(name)!r}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise InputError(
            f"{folder}: a study with other settings is here: {join_problems(changed[:5])}{more}; "
            "repeat it as it was, choose another --name, or start over with --fresh"
        )


def score_of(row: TrialRow, objective: Objective) -> float | None:
    """What a trial is ranked by: loose Average-mAP if that alone is maximised, else tight."""
    return row.best_loose if objective == "loose" else row.best_tight


def ranked(record: StudyRecord) -> list[TrialRow]:
    """The trials that have a score and did not fail, best first, and of equal ones the earlier."""
    objective = record.settings.options.objective
    scored = [
        (score, row)
        for row in record.trials
        if (score := score_of(row, objective)) is not None and row.status != "failed"
    ]
    return [row for _, row in sorted(scored, key=lambda one: -one[0])]


def pareto_front(record: StudyRecord) -> list[TrialRow]:
    """The trials that no other one beats in both tight and loose, best tight first."""
    scored = [
        (row.best_tight, row.best_loose, row)
        for row in record.trials
        if row.best_tight is not None and row.best_loose is not None and row.status != "failed"
    ]
    kept: list[TrialRow] = []
    most = -1.0
    for _, loose, row in sorted(scored, key=lambda one: (-one[0], -one[1])):
        if loose > most:
            kept.append(row)
            most = loose
    return kept


def choose_finalists(record: StudyRecord, top: int) -> list[TrialRow]:
    """The best trials of a study that differ in a setting, best first.

    Where two numbers are maximised the front comes first, and then the best tight.
    """
    rows = ranked(record)
    if record.settings.options.objective == "both":
        rows = pareto_front(record) + rows
    chosen: list[TrialRow] = []
    for row in rows:
        if row.succeeded and all(row.settings != other.settings for other in chosen):
            chosen.append(row)
    return chosen[:top]


def best_of(record: StudyRecord, final: Final | None) -> TrialRow | None:
    """The best trial of a study; None before any trial has a score.

    That is the one picked among those trained again, if there were any, and before that the one
    with the best score on the games that stop the training.
    """
    if final is not None and record.status == "done":
        return record.trial(final.picked)
    return next(iter(ranked(record)), None)


def best_trial(folder: Path) -> TrialRow:
    """The best trial of the study in a folder, as `best_of`.

    Raises:
        InputError: If no trial has a score yet.
    """
    best = best_of(read_study(folder), read_final(folder))
    if best is None:
        raise InputError(f"{folder}: no trial has finished an epoch yet; wait, or resume the study")
    return best


def best_config(folder: Path) -> Config:
    """The configuration of the best trial of a study."""
    return read_run(folder / best_trial(folder).run).config


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, dict) or not document:
        return {prefix.rstrip("."): document}
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.")
    return flat
