"""What of a run folder is logged to MLflow, and the note of what was (RUN/mlflow.json).

Every function here logs what is missing or changed since that note, and brings the note up to date.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from hmtas.config import setting_paths
from hmtas.files import read_json, sha256_file
from hmtas.runs.record import RunRecord
from hmtas.tracking.table import SPLIT_TAG, score_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# What goes into MLflow as files, once a run is no longer running.
ARTIFACTS = ("run.json", "windows.json", "*.safetensors", "predictions/*.arrow", "scores/*.json")
_MAX_METRICS = 1000  # MLflow's limits on one request, and on the length of a value
_MAX_PARAMS = 100
_MAX_PARAM_CHARS = 6000

Status = Literal["RUNNING", "FINISHED", "FAILED"]


class _File(BaseModel):
    """A file that was logged; size and time save reading it again to see that it is the same."""

    size: int
    mtime_ns: int
    sha256: str


class RunLog(BaseModel):
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


def to_ms(created: str) -> int:
    """An ISO 8601 time as MLflow wants it, milliseconds since 1970."""
    return int(datetime.fromisoformat(created).timestamp() * 1000)


def as_text(value: Any) -> str:
    """A parameter's value: text as it is, anything else as JSON, cut where MLflow would refuse."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:_MAX_PARAM_CHARS]


def params_of(record: RunRecord) -> dict[str, str]:
    """The configuration, flattened; of an ensemble its own settings instead of a model's.

    A model that is solved at once, as the linear one, has no gamma, learning rate or batch.
    """
    params: dict[str, Any] = {
        "version": record.version,
        "store": record.store,
        "preset": record.preset,
    }
    if record.ensemble is not None:
        settings = record.ensemble.model_dump(mode="json")
        params |= {f"ensemble.{name}": value for name, value in settings.items()}
    else:
        document = record.config.model_dump(mode="json")
        # Tables keyed by action stay whole, as JSON: a column for each action helps nobody.
        for path in setting_paths(document):
            if record.in_epochs or not path.startswith("train.") or path == "train.seq_len":
                keys = path.split(".")
                params[path] = functools.reduce(lambda part, key: part[key], keys, document)
        params |= record.model_dump(include={"streams", "num_parameters", "num_workers"})
    return {name: as_text(value) for name, value in params.items()}


def tags_of(run: Path, record: RunRecord, status: Status, parent: str | None) -> dict[str, str]:
    """What a run is, for search and for the comparison."""
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


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters, in as few requests as MLflow allows."""
    from mlflow.entities import Param

    for batch in _batches([Param(k, v) for k, v in params.items()], _MAX_PARAMS):
        client.log_batch(run_id, params=batch)


def log_metrics(client: "MlflowClient", run_id: str, metrics: Sequence["Metric"]) -> None:
    """Log points of curves, in as few requests as MLflow allows."""
    for batch in _batches(metrics, _MAX_METRICS):
        client.log_batch(run_id, metrics=batch)


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def set_tags(client: "MlflowClient", state: RunLog, tags: Mapping[str, str]) -> None:
    """Set the tags that are new or changed."""
    from mlflow.entities import RunTag

    changed = {k: v for k, v in tags.items() if state.tags.get(k) != v}
    for batch in _batches([RunTag(k, v) for k, v in changed.items()], _MAX_PARAMS):
        client.log_batch(state.run_id, tags=batch)
    state.tags.update(changed)


def log_epochs(client: "MlflowClient", state: RunLog, record: RunRecord) -> None:
    """One point per curve and epoch.

    Times are computed from the record, not read from a clock: MLflow takes an equal point for the
    same point, so a call that was killed half-way and is repeated doubles nothing.
    """
    from mlflow.entities import Metric

    points = []
    time_ms = float(to_ms(record.created))
    for epoch in record.history:
        time_ms += 1000 * epoch.seconds
        if epoch.epoch <= state.epochs:
            continue
        curves = {
            "train_loss": epoch.train_loss,
            "val_loss": epoch.val_loss,
            "stop_tight": epoch.tight,
            "stop_loose": epoch.loose,
            "epoch_seconds": epoch.seconds,
            **{f"val_loss/{name}": loss for name, loss in epoch.val_stream_losses.items()},
        }
        points += [
            Metric(name, value, int(time_ms), epoch.epoch)
            for name, value in curves.items()
            if value is not None
        ]
        state.epochs = epoch.epoch
    log_metrics(client, state.run_id, points)


def log_scores(
    client: "MlflowClient", state: RunLog, run: Path, record: RunRecord
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
        log_metrics(client, state.run_id, metrics)
        state.scores[split] = (step, sha256)
        tags[f"{SPLIT_TAG}{split}"] = "true" if document.get("cross_fitted") else "false"
    return tags


def log_files(client: "MlflowClient", state: RunLog, run: Path) -> None:
    """Copy the files that are new or changed into MLflow."""
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
