"""The study as an Optuna storage, DIR/NAME/optuna.db, for optuna-dashboard to open.

A copy to look at: the record is the study (tune.study.record), nothing reads the copy back, and
what goes wrong with it never stops a sweep. The driver brings it up to date while trials run; it
can be rebuilt from the record at any time (`hmtas tune mirror`).
"""

import contextlib
import shlex
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtas.errors import first_line
from hmtas.files import atomic_path
from hmtas.runs.record import find_run
from hmtas.terminal.console import say
from tune.space.dimensions import encoded, point_of
from tune.study.ledger import study_now
from tune.study.optuna_trials import point_in, values_of
from tune.study.record import RECORD, StudyRecord
from tune.study.rows import FILE as ROWS
from tune.study.rows import TrialRow

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, TrialState

FILE = "optuna.db"
FIRST_DELAY_S = 5.0  # a sweep begins first: opening a storage takes a second of its process
SYNC_S = 2.0  # between two looks at the record
CPU_SHARE = 0.05  # of one processor, at most, for the copy
RETRY_S = 30.0  # after it could not be written
JOIN_S = 5.0  # a copy that takes longer at the end is left unfinished
INTERRUPTED_JOIN_S = 1.0  # the same after an interrupt
PORT = 8080  # of optuna-dashboard, unless it is told otherwise
_ID = "trial"  # user attribute: the trial's name here
_STATUS = "status"  # user attribute: what became of it


class _OtherStudyError(Exception):
    """The storage has another study, or a trial that ended there and still runs here."""


def storage_url(folder: Path) -> str:
    """Where the storage of a study is, as Optuna names it."""
    return f"sqlite:///{folder.absolute() / FILE}"


def dashboard_line(folder: Path) -> str:
    """What to do to see a study in optuna-dashboard."""
    beside = Path(sys.executable).with_name("optuna-dashboard")
    program = shlex.quote(str(beside)) if beside.is_file() else "optuna-dashboard"
    url = shlex.quote(storage_url(folder))
    line = f"{program} {url} --host 127.0.0.1 --port {PORT}  # then open http://127.0.0.1:{PORT}"
    if not beside.is_file():
        line += " (it comes with: pip install 'hmtas[dashboard]')"
    return line


def rebuild(folder: Path, record: StudyRecord) -> Path:
    """Write the storage of a study from scratch, complete or not at all."""
    path = folder / FILE
    with atomic_path(path) as scratch, _storage(scratch, "OFF") as storage:
        _update_storage(storage, folder, record)
    return path


def sync(folder: Path, record: StudyRecord) -> None:
    """Bring the storage of a study up to date, or rebuild it where that fails.

    Only the study's driver may: two that write would each add the trials.
    """
    path = folder / FILE
    if path.is_file():
        try:
            with _storage(path) as storage:
                _update_storage(storage, folder, record)
            return
        except Exception:
            pass  # damaged, of an earlier --fresh, of another Optuna, a trial that is tried again
    rebuild(folder, record)


@contextlib.contextmanager
def mirrored(folder: Path) -> Iterator[None]:
    """Keep the storage up to date for the length of a block, in a thread of the driver."""
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(folder, ended), daemon=True)
    thread.start()
    wait_s = INTERRUPTED_JOIN_S
    try:
        yield
        wait_s = JOIN_S
    finally:
        ended.set()
        thread.join(wait_s)


def _follow(folder: Path, ended: threading.Event) -> None:
    """Look at the record from time to time, and once more at the end."""
    seen: list[int] = []
    pause_s, last, failing = FIRST_DELAY_S, False, False
    while not last:
        last = ended.wait(pause_s)
        began = time.thread_time()
        try:
            now = [path.stat().st_mtime_ns for path in (folder / RECORD, folder / ROWS)]
            if now != seen:
                sync(folder, study_now(folder))
            seen, failing = now, False
            pause_s = max(SYNC_S, (time.thread_time() - began) / CPU_SHARE)
        except Exception as error:
            if not failing:
                say(f"warning: {folder / FILE} is not up to date ({first_line(error)}); nothing "
                    "else depends on it, and `hmtas tune mirror` rebuilds it")  # fmt: skip
            failing, pause_s = True, RETRY_S


@contextlib.contextmanager
def _storage(path: Path, synchronous: str = "FULL") -> Iterator["RDBStorage"]:
    """The storage in a file; it waits for the disk at the end only where `synchronous` is OFF."""
    import optuna
    from sqlalchemy import NullPool

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{path}", engine_kwargs={"creator": connect, "poolclass": NullPool}
    )
    try:
        yield storage
    finally:
        storage.remove_session()


def _update_storage(storage: "RDBStorage", folder: Path, record: StudyRecord) -> None:
    """Add the trials that the storage lacks, in their order, and what it lacks of the others."""
    study_id = _find_or_create(storage, record)
    known = storage.get_all_trials(study_id, deepcopy=False)
    ids = [row.id for row in record.trials]
    if [old.user_attrs.get(_ID) for old in known] != ids[: len(known)]:
        raise _OtherStudyError
    for old, row in zip(known, record.trials, strict=False):
        if not old.state.is_finished():
            trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, old.number)
            _update_trial(storage, trial_id, old, frozen_trial(folder, record, row))
        elif old.user_attrs.get(_STATUS) != row.status:
            raise _OtherStudyError  # it failed once, and is tried again
    for row in record.trials[len(known) :]:
        storage.create_new_trial(study_id, template_trial=frozen_trial(folder, record, row))


def _find_or_create(storage: "RDBStorage", record: StudyRecord) -> int:
    """The study of a storage; made if the storage is empty."""
    from optuna.study import StudyDirection

    metrics = list(record.settings.options.metrics)
    made = {"created": record.created, "metrics": metrics}
    for study in storage.get_all_studies():
        if {name: study.user_attrs.get(name) for name in made} != made:
            raise _OtherStudyError
        return storage.get_study_id_from_name(study.study_name)
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE] * len(metrics), record.name)
    # As Study.set_metric_names does, which warns that it may change.
    storage.set_study_system_attr(study_id, "study:metric_names", metrics)
    for name, value in made.items():
        storage.set_study_user_attr(study_id, name, value)
    return study_id


def _update_trial(
    storage: "RDBStorage", trial_id: int, old: "FrozenTrial", new: "FrozenTrial"
) -> None:
    """Add to a trial that had not ended what it lacks; its state last, which closes it."""
    for step, value in new.intermediate_values.items():
        if old.intermediate_values.get(step) != value:
            storage.set_trial_intermediate_value(trial_id, step, value)
    for name, attribute in new.user_attrs.items():
        if old.user_attrs.get(name) != attribute:
            storage.set_trial_user_attr(trial_id, name, attribute)
    if new.state != old.state:
        storage.set_trial_state_values(trial_id, new.state, new.values)


def frozen_trial(folder: Path, record: StudyRecord, row: TrialRow) -> "FrozenTrial":
    """A trial as Optuna knows it: point, score of each epoch, state, and what became of it."""
    from optuna.trial import create_trial

    options = record.settings.options
    values = values_of(row, options.metrics)
    state = _state(row, values, len(options.metrics))
    space = record.settings.space
    point, distributions = point_in(encoded(point_of(row.settings, space)), space)
    attributes: dict[str, Any] = {_ID: row.id, _STATUS: row.status, "epochs": row.epochs}
    more = {"error": row.error, "tight": row.best_tight, "loose": row.best_loose}
    run = find_run(folder / row.run)
    curve = {e.epoch: getattr(e, options.metric) for e in (run.history if run else ())}
    trial = create_trial(
        state=state,
        params=point,
        distributions=distributions,
        values=list(values) if values and state.is_finished() else None,
        intermediate_values={epoch: v for epoch, v in curve.items() if v is not None},
        user_attrs=attributes | {name: v for name, v in more.items() if v is not None},
    )
    if run is not None:  # in local time, as Optuna has it
        began = datetime.fromisoformat(run.created).astimezone().replace(tzinfo=None)
        trial.datetime_start = began
        if state.is_finished():
            trial.datetime_complete = began + timedelta(seconds=row.seconds)
    return trial


def _state(row: TrialRow, values: tuple[float, ...] | None, num_metrics: int) -> "TrialState":
    """One that was stopped early is pruned.

    Where two numbers are maximised Optuna has no pruned trials with values: there it is complete.
    """
    from optuna.trial import TrialState

    if row.is_open:
        return TrialState.RUNNING
    if values is None:
        return TrialState.FAIL
    if row.status == "stopped" and num_metrics == 1:
        return TrialState.PRUNED
    return TrialState.COMPLETE
