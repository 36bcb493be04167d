"""Runs to MLflow: a run folder becomes an MLflow run that can be brought up to date at any time.

Only the process that drives the work writes here (trials do not), through a client of its own:
no active run and no current experiment, which MLflow keeps per process, are ever set.
`hmtas.comparison` reads the runs back.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hmtas.comparison import SPLIT_TAG, ComparedRun, read_table, score_metrics
from hmtas.config import setting_paths
from hmtas.files import read_json, sha256_file, write_json
from hmtas.mlflow_client import connect, experiment_id, public_uri, tracking_uri, ui_line
from hmtas.runs import RunRecord, read_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

__all__ = [
    "ComparedRun",
    "close_parent",
    "open_parent",
    "read_table",
    "sync_run",
    "tracked_at",
    "tracking_uri",
    "ui_line",
]

STATE = "mlflow.json"
DEFAULT_EXPERIMENT = "hmtas"
# What goes into MLflow as files, once a run is no longer running.
ARTIFACTS = ("run.json", "windows.json", "*.safetensors", "predictions/*.arrow", "scores/*.json")

Status = Literal["RUNNING", "FINISHED", "FAILED"]
_MAX_METRICS = 1000  # MLflow's limits on one request, and on the length of a value
_MAX_PARAMS = 100
_MAX_PARAM_CHARS = 6000


class _File(BaseModel):
    """A file that was logged; size and time save reading it again to see that it is the same."""

    size: int
    mtime_ns: int
    sha256: str


class _State(BaseModel):
    """RUN/mlflow.json: where MLflow keeps this run, and what it was given."""

    model_config = ConfigDict(extra="forbid")

    tracking_uri: str
    experiment: str
    run_id: str
    created: str  # of the run record: another one means that the folder holds another run
    status: Status = "RUNNING"
    params: bool = False  # logged?
    epochs: int = 0  # the last one logged
    tags: dict[str, str] = {}
    scores: dict[str, tuple[int, str]] = {}  # split to the step it was logged as, and its SHA-256
    artifacts: dict[str, _File] = {}


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
        run: A run folder (hmtas.runs).
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
        _log_params(client, state.run_id, _params(record))
        state.params = True
    _log_epochs(client, state, record)
    score_tags = _log_scores(client, state, run, record)
    _set_tags(client, state, {**_tags(run, record, status, parent), **score_tags, **(tags or {})})
    if status != "RUNNING":
        _log_files(client, state, run)
    if status != state.status:
        if status == "RUNNING":
            client.update_run(state.run_id, status=status)
        else:
            client.set_terminated(state.run_id, status)
        state.status = status
    write_json(run / STATE, state.model_dump(mode="json"))
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
    _log_params(client, run.info.run_id, {k: _text(v) for k, v in (params or {}).items()})
    return str(run.info.run_id)


def close_parent(
    run_id: str,
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Log the last metrics of a run made by `open_parent` and end it."""
    from mlflow.entities import Metric

    client = connect(tracking_uri())
    now_ms = int(datetime.now().timestamp() * 1000)
    _log_metrics(client, run_id, [Metric(k, v, now_ms, 0) for k, v in (metrics or {}).items()])
    client.set_terminated(run_id, status)


def tracked_at(run: Path) -> tuple[str, str] | None:
    """The store and the experiment that hold a run folder; None if it was never logged."""
    state = _read_state(run)
    return (tracking_uri(recorded=state.tracking_uri), state.experiment) if state else None


def _read_state(run: Path) -> _State | None:
    """What was logged before; None if nothing, or if the file is not ours to understand."""
    if not (run / STATE).is_file():
        return None
    try:
        return _State.model_validate(read_json(run / STATE))
    except ValidationError:
        return None


def _find_or_create(
    client: "MlflowClient",
    run: Path,
    record: RunRecord,
    old: _State | None,
    experiment: str | None,
) -> _State:
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
        experiment_id(client, name), start_time=_ms(record.created), run_name=record.name, tags=tags
    )
    state = _State(
        tracking_uri=uri,
        experiment=name,
        run_id=created.info.run_id,
        created=record.created,
    )
    write_json(run / STATE, state.model_dump(mode="json"))  # before logging: a kill leaves no twin
    return state


def _is_active(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


def _ms(created: str) -> int:
    return int(datetime.fromisoformat(created).timestamp() * 1000)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:_MAX_PARAM_CHARS]


def _params(record: RunRecord) -> dict[str, str]:
    """The configuration, flattened; of an ensemble its own settings instead of a model's."""
    params: dict[str, Any] = {
        "version": record.version,
        "store": record.store,
        "preset": record.preset,
    }
    if record.kind == "ensemble":
        params |= {f"ensemble.{name}": value for name, value in (record.ensemble or {}).items()}
    else:
        document = record.config.model_dump(mode="json")
        # Tables keyed by action stay whole, as JSON: a column for each action helps nobody.
        for path in setting_paths(document):
            params[path] = functools.reduce(lambda part, key: part[key], path.split("."), document)
        params |= record.model_dump(include={"streams", "num_parameters", "num_workers"})
    return {name: _text(value) for name, value in params.items()}


def _tags(run: Path, record: RunRecord, status: Status, parent: str | None) -> dict[str, str]:
    tags = {
        "hmtas.kind": record.kind,
        "hmtas.status": status.lower(),
        "hmtas.store_checksum": record.store_checksum,
        "hmtas.run_dir": str(run.resolve()),
        "hmtas.actions": json.dumps(record.actions, ensure_ascii=False),
    }
    if record.best_epoch is not None:
        tags["hmtas.best_epoch"] = str(record.best_epoch)
    if parent:
        tags["mlflow.parentRunId"] = parent
    return tags


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    for batch in _batches([Param(k, v) for k, v in params.items()], _MAX_PARAMS):
        client.log_batch(run_id, params=batch)


def _log_metrics(client: "MlflowClient", run_id: str, metrics: Sequence["Metric"]) -> None:
    for batch in _batches(metrics, _MAX_METRICS):
        client.log_batch(run_id, metrics=batch)


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _set_tags(client: "MlflowClient", state: _State, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    changed = {k: v for k, v in tags.items() if state.tags.get(k) != v}
    for batch in _batches([RunTag(k, v) for k, v in changed.items()], _MAX_PARAMS):
        client.log_batch(state.run_id, tags=batch)
    state.tags.update(changed)


def _log_epochs(client: "MlflowClient", state: _State, record: RunRecord) -> None:
    """One point per curve and epoch.

    Times are computed from the record, not read from a clock: MLflow takes an equal point for the
    same point, so a call that was killed half-way and is repeated doubles nothing.
    """
    from mlflow.entities import Metric

    points = []
    time_ms = float(_ms(record.created))
    for epoch in record.history:
        time_ms += 1000 * epoch.seconds
        if epoch.epoch <= state.epochs:
            continue
        curves = {
            "train_loss": epoch.train_loss,
            "val_loss": epoch.val_loss,
            "stop_tight": epoch.tight,
            "epoch_seconds": epoch.seconds,
            **{f"val_loss/{name}": loss for name, loss in epoch.val_stream_losses.items()},
        }
        points += [
            Metric(name, value, int(time_ms), epoch.epoch)
            for name, value in curves.items()
            if value is not None
        ]
        state.epochs = epoch.epoch
    _log_metrics(client, state.run_id, points)


def _log_scores(
    client: "MlflowClient", state: _State, run: Path, record: RunRecord
) -> dict[str, str]:
    """The score of every split that was scored since; a new score is a new step.

    Returns:
        A tag per split: were the scored games also fitted on, by cross-fitting?
    """
    from mlflow.entities import Metric

    tags = {}
    for path in sorted((run / "scores").glob("*.json")):
        split = path.stem
        step, logged_sha256 = state.scores.get(split, (0, ""))
        sha256 = sha256_file(path)
        if sha256 == logged_sha256:
            continue
        step += 1
        document = read_json(path)
        time_ms = path.stat().st_mtime_ns // 1_000_000
        values = score_metrics(split, document, record.actions)
        metrics = [Metric(name, value, time_ms, step) for name, value in values.items()]
        _log_metrics(client, state.run_id, metrics)
        state.scores[split] = (step, sha256)
        tags[f"{SPLIT_TAG}{split}"] = "true" if document.get("cross_fitted") else "false"
    return tags


def _log_files(client: "MlflowClient", state: _State, run: Path) -> None:
    for pattern in ARTIFACTS:
        for path in sorted(run.glob(pattern)):
            name = path.relative_to(run)
            stat = path.stat()
            logged = state.artifacts.get(name.as_posix())
            if logged and (logged.size, logged.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
                continue
            sha256 = sha256_file(path)
            if logged is None or logged.sha256 != sha256:
                folder = name.parent.as_posix()
                client.log_artifact(state.run_id, str(path), None if folder == "." else folder)
            state.artifacts[name.as_posix()] = _File(
                size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=sha256
            )
