"""The model study: Ray Tune runs the trials, Optuna proposes them, ASHA ends the weak ones early.

All of a study is in its folder, so that a driver may die at any time and another one resumes it
(tune.search.drive). Trials are stopped and compared on games held out of the train split, so that
validation games stay clean for windows and ensembles.
"""

import contextlib
import shlex
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hmtas import __version__
from hmtas.errors import InputError
from hmtas.terminal.console import say
from hmtas.terminal.text import counted
from tune.study import lock
from tune.study.budget import read_budget
from tune.study.record import RECORD, StudyRecord, check_same, read_study, write_study
from tune.study.settings import Load, StudySettings


def run_study(
    folder: Path,
    settings: StudySettings,
    *,
    experiment: str,
    load: Load | None = None,
    address: str | None = None,
    dashboard: bool = False,
    fresh: bool = False,
    hours: float | None = None,
) -> StudyRecord:
    """Run a study, or resume the one in `folder`.

    Args:
        folder: DIR/NAME; on a cluster, one that all its nodes see.
        settings: What decides the result.
        experiment: MLflow experiment of the sweep.
        load: Trials at once and what each needs.
        address: Address of a running Ray cluster; None starts one on this machine.
        dashboard: Start Ray's dashboard with it.
        fresh: Remove what is in `folder` first.
        hours: Hours it may take, over all its drivers; None keeps the hours it had.

    Returns:
        The study with every trial.

    Raises:
        InputError: If `folder` holds another study, another driver is at work on this one, or the
            trials need more CPUs than there are.
        TransientError: If the disk is full, or the store is not there; the study can be resumed.
        Interrupted: On Ctrl-C or SIGTERM; the study can be resumed.
    """
    folder = folder.absolute()
    if settings.base.train.protocol != "p1":
        raise InputError("a sweep needs games to compare trials on, so train.protocol must be p1")
    _check_folder(folder, fresh)

    def begin() -> StudyRecord:
        if fresh:
            _empty(folder)
        update = {"settings": settings, "experiment": experiment, "address": address}
        if load is not None:
            update["load"] = load
        return _open(folder, settings).model_copy(update=update)

    return _run(folder, begin, hours=hours, dashboard=dashboard)


def resume_study(
    folder: Path,
    *,
    hours: float | None = None,
    trials: int | None = None,
    concurrent: int | None = None,
    address: str | None = None,
    dashboard: bool = False,
    store: str | None = None,
) -> StudyRecord:
    """Resume a study from what is in its folder alone.

    The options are those of `run_study`; None keeps what the study had.

    Args:
        folder: DIR/NAME.
        hours: Hours it may take, over all its drivers.
        trials: Trials it is to have in the end.
        concurrent: Trials at once.
        address: Address of a running Ray cluster.
        dashboard: Start Ray's dashboard with Ray.
        store: Where its store lies now.

    Raises:
        InputError: If there is no study, and as `run_study`.
    """
    folder = folder.absolute()
    read_study(folder)  # before anything is written there

    def begin() -> StudyRecord:
        record = read_study(folder)
        update: dict[str, Any] = {}
        if trials is not None:
            if trials < record.num_trials:
                raise InputError(f"--trials {trials}: {folder} has {record.num_trials}; only more")
            update["more"] = trials - record.settings.num_trials
        if concurrent is not None:
            update["load"] = record.resources.model_copy(update={"concurrent": concurrent})
        if address is not None:
            update["address"] = address
        if store is not None:
            opened = record.settings.open_store(folder, store)
            settings = record.settings.model_copy(update={"store": opened.place})
            record = record.model_copy(update={"settings": settings})
            write_study(folder, record)  # also of a study that is done
        return record.model_copy(update=update)

    return _run(folder, begin, hours=hours, dashboard=dashboard)


def _run(
    folder: Path, begin: Callable[[], StudyRecord], *, hours: float | None, dashboard: bool
) -> StudyRecord:
    from tune.report.page import try_report
    from tune.search.drive import drive
    from tune.search.mlflow import finish_tracking

    with lock.driver_lock(folder):
        try:
            record = begin()
            if record.status == "done" and not _has_more_to_do(record, folder, hours):
                trials = counted(len(record.trials), "trial")
                more = f"for more: hmtas tune resume {shlex.quote(str(folder))} --trials "
                more += str(len(record.trials) + 1)
                more = "its space has no other point" if record.is_exhausted else more
                say(f"{folder}: this study is done ({trials}); {more}")
                return record
            record, outbox = drive(folder, record, hours=hours, dashboard=dashboard)
            try_report(folder)
            finish_tracking(folder, record, outbox)
            return record
        finally:
            if not (folder / RECORD).is_file():  # it was refused: leave nothing behind
                (folder / lock.FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _has_more_to_do(record: StudyRecord, folder: Path, hours: float | None) -> bool:
    """Does a study that is done have hours for more trials, or a trial that is worth a new try?"""
    if any(row.again for row in record.trials):
        return True
    if len(record.trials) >= record.num_trials:
        return False
    budget = read_budget(folder)
    if budget.hours is None:
        return True
    return 3600 * (budget.hours if hours is None else hours) > budget.spent_s


def _open(folder: Path, settings: StudySettings) -> StudyRecord:
    if (folder / RECORD).is_file():
        record = read_study(folder)
        check_same(folder, record.settings, settings)
        return record
    return StudyRecord(
        name=folder.name,
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=settings,
    )


def _check_folder(folder: Path, fresh: bool) -> None:
    """Refuse a folder with anything but a study, before a file is written there."""
    if (folder / RECORD).is_file() or not folder.exists():
        return
    if all(path.name == lock.FILE for path in folder.iterdir()):
        return
    if fresh:
        raise InputError(f"{folder}: --fresh removes a study, and this is none; remove it yourself")
    raise InputError(f"{folder}: not empty and no study; choose another --name or --out")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == lock.FILE:  # ours
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
