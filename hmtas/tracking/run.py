"""Runs to MLflow: a run folder becomes an MLflow run that can be brought up to date at any time.

Only the process that drives the work writes here (trials do not), through a client of its own:
no active run and no current experiment, which MLflow keeps per process, are ever set.
`hmtas.tracking.table` reads the runs back.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import ValidationError

from hmtas.files import read_json, write_json
from hmtas.runs.record import MLFLOW_NOTE, RunRecord, read_run
from hmtas.tracking.client import connect, experiment_id, public_uri, tracking_uri, ui_line
from hmtas.tracking.log import (
    RunLog,
    Status,
    as_text,
    log_epochs,
    log_files,
    log_metrics,
    log_params,
    log_scores,
    params_of,
    set_tags,
    tags_of,
    to_ms,
)
from hmtas.tracking.table import ComparedRun, read_table

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "ComparedRun",
    "Tracked",
    "close_parent",
    "delete_parent",
    "log_parent",
    "log_parent_files",
    "open_parent",
    "public_uri",
    "read_table",
    "reopen_parent",
    "sync_run",
    "tracked_at",
    "tracking_uri",
    "ui_line",
]

DEFAULT_EXPERIMENT = "hmtas"


def sync_run(
    run: Path,
    *,
    experiment: str | None = None,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    status: Status | None = None,
) -> str:
    """Bring the MLflow run of a run folder up to date, creating it the first time.

    Logs what is missing or changed: parameters, one point per epoch and curve, the scores of every
    split that has one, tags, and, unless the run is still running, its files. A second call logs
    nothing. Call it after every epoch for live curves: it takes the new epochs from run.json.

    Args:
        run: A run folder (hmtas.runs.record).
        experiment: Name of the MLflow experiment; the one the run is already in, else `hmtas`.
        parent: MLflow run id of the sweep that this run belongs to.
        tags: More tags.
        status: By default what run.json says. Say it where run.json cannot know: "FINISHED" for
            a trial that was stopped from outside, "FAILED" for one that broke.

    Returns:
        The MLflow run id.

    Raises:
        InputError: If `run` is not a run folder or MLflow cannot be reached.
    """
    record = read_run(run)
    old = _read_state(run)
    client = connect(tracking_uri(recorded=old.tracking_uri if old else None))
    state = _find_or_create(client, run, record, old, experiment)
    if status is None:
        # A run stopped from outside says "running" for ever; what was said of it once stays.
        status = "FINISHED" if record.status == "done" else state.status
    if not state.params:
        log_params(client, state.run_id, params_of(record))
        state.params = True
    log_epochs(client, state, record)
    score_tags = log_scores(client, state, run, record)
    set_tags(client, state, {**tags_of(run, record, status, parent), **score_tags, **(tags or {})})
    if status != "RUNNING":
        log_files(client, state, run)
    if status != state.status:
        if status == "RUNNING":
            client.update_run(state.run_id, status=status)
        else:
            client.set_terminated(state.run_id, status)
        state.status = status
    write_json(run / MLFLOW_NOTE, state.model_dump(mode="json"))
    return state.run_id


def open_parent(
    experiment: str,
    name: str,
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    parent: str | None = None,
) -> str:
    """Create the MLflow run of a sweep (or of anything without a run folder), status RUNNING.

    Returns:
        Its run id: the `parent` of `sync_run`.
    """
    client = connect(tracking_uri())
    all_tags = {"hmtas.kind": "sweep", **(tags or {})}
    if parent:
        all_tags["mlflow.parentRunId"] = parent
    run = client.create_run(experiment_id(client, experiment), run_name=name, tags=all_tags)
    log_params(client, run.info.run_id, {k: as_text(v) for k, v in (params or {}).items()})
    return str(run.info.run_id)


def log_parent(run_id: str, metrics: Mapping[str, float], step: int, time_ms: int) -> None:
    """Log a point of each curve of a run made by `open_parent`; an equal one stays one."""
    from mlflow.entities import Metric

    points = [Metric(name, value, time_ms, step) for name, value in metrics.items()]
    log_metrics(connect(tracking_uri()), run_id, points)


def close_parent(
    run_id: str,
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    metrics: Mapping[str, float] | None = None,
    step: int = 0,
) -> None:
    """Log the last metrics of a run made by `open_parent` and end it."""
    log_parent(run_id, metrics or {}, step, int(datetime.now().timestamp() * 1000))
    connect(tracking_uri()).set_terminated(run_id, status)


def reopen_parent(run_id: str) -> None:
    """Mark a run that ended as one that goes on."""
    connect(tracking_uri()).update_run(run_id, status="RUNNING")


def delete_parent(run_id: str) -> None:
    """Delete a run made by `open_parent`, if it is there: another one has taken its place."""
    client = connect(tracking_uri())
    if _is_active(client, run_id):
        client.delete_run(run_id)


def log_parent_files(run_id: str, folder: Path, files: Sequence[Path]) -> None:
    """Log files below `folder` as artifacts of a run made by `open_parent`, in place of older."""
    client = connect(tracking_uri())
    for file in files:
        place = file.relative_to(folder).parent.as_posix()
        client.log_artifact(run_id, str(file), None if place == "." else place)


class Tracked(NamedTuple):
    """Where MLflow has a run folder: the store, the experiment, the run."""

    uri: str
    experiment: str
    run_id: str


def tracked_at(run: Path) -> Tracked | None:
    """Where MLflow has a run folder; None if it was never logged."""
    state = _read_state(run)
    if state is None:
        return None
    return Tracked(tracking_uri(recorded=state.tracking_uri), state.experiment, state.run_id)


def _read_state(run: Path) -> RunLog | None:
    """What was logged before; None if nothing, or if the file is not ours to understand."""
    if not (run / MLFLOW_NOTE).is_file():
        return None
    try:
        return RunLog.model_validate(read_json(run / MLFLOW_NOTE))
    except ValidationError:
        return None


def _find_or_create(
    client: "MlflowClient",
    run: Path,
    record: RunRecord,
    old: RunLog | None,
    experiment: str | None,
) -> RunLog:
    """The state of the MLflow run of this folder; a new run if there is none that fits."""
    name = experiment or (old.experiment if old else DEFAULT_EXPERIMENT)
    uri = public_uri(client.tracking_uri)
    here = old is not None and (old.tracking_uri, old.experiment) == (uri, name)
    if old and here and _is_active(client, old.run_id):
        if old.created == record.created:
            return old
        client.delete_run(old.run_id)  # the folder was filled anew: one folder, one run
    tags = {"hmtas.kind": record.kind}
    created = client.create_run(
        experiment_id(client, name),
        start_time=to_ms(record.created),
        run_name=record.name,
        tags=tags,
    )
    state = RunLog(
        tracking_uri=uri,
        experiment=name,
        run_id=created.info.run_id,
        created=record.created,
    )
    # Before anything is logged: a kill leaves no twin.
    write_json(run / MLFLOW_NOTE, state.model_dump(mode="json"))
    return state


def _is_active(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False
