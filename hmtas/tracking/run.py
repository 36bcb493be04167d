"""A run folder becomes an MLflow run that can be brought up to date at any time.

Only the process that drives the work writes here (trials do not), through a client of its own:
no active run and no current experiment, which MLflow keeps per process, are ever set. What was
logged is noted in RUN/mlflow.json: what is missing or changed since is logged, and nothing else.
"""

import contextlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtas.errors import InputError, TransientError
from hmtas.files import files_of, sha256_file
from hmtas.runs.record import RunRecord, find_run, read_run
from hmtas.scoring.score import read_score
from hmtas.terminal.console import say
from hmtas.tracking.client import (
    DATABASE,
    VARIABLE,
    check_store,
    connect,
    experiment_id,
    public_uri,
    reason_of,
)
from hmtas.tracking.moved import RUN_DIR
from hmtas.tracking.note import (
    LoggedFile,
    Note,
    RunLog,
    Status,
    original_of,
    read_note,
    store_of,
    tracked_at,
    write_note,
)
from hmtas.tracking.table import SPLIT_TAG, score_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

DEFAULT_EXPERIMENT = "hmtas"
# What goes into MLflow as files, once a run is no longer running.
ARTIFACTS = ("run.json", "windows.json", "*.safetensors", "predictions/*.arrow", "scores/*.json")
_MAX_METRICS = 1000  # MLflow's limits on one request, and on the length of a value
_MAX_PARAM_CHARS = 6000


def sync_run(
    run: Path,
    *,
    experiment: str | None = None,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    status: Status | None = None,
    uri: str | None = None,
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
        uri: The MLflow store; by default `store_of` the folder.

    Returns:
        The MLflow run id.

    Raises:
        InputError: If `run` is not a run folder or MLflow cannot be reached; and what MLflow
            raises where it fails later.
    """
    record = read_run(run)
    client = connect(uri or store_of(run))
    from mlflow.entities import RunTag

    note = _find_or_create(client, run, record, experiment)
    if status is None:
        # A run stopped from outside says "running" forever; an earlier answer is kept.
        status = "FINISHED" if record.status == "done" else note.status
    if not note.params:
        log_params(client, note.run_id, _params_of(record))
        note.params = True
    _log_epochs(client, note, record)
    score_tags = _log_scores(client, note, run, record)
    tags = {**_tags_of(run, record, status, parent), **score_tags, **(tags or {})}
    if changed := {name: value for name, value in tags.items() if note.tags.get(name) != value}:
        client.log_batch(note.run_id, tags=[RunTag(*tag) for tag in changed.items()])
        note.tags |= changed
    if status != "RUNNING":
        _log_files(client, note, run)
    if status != note.status:
        if status == "RUNNING":
            client.update_run(note.run_id, status=status)
        else:
            client.set_terminated(note.run_id, status)
        note.status = status
    write_note(run, note)
    return note.run_id


def check_tracking(
    folders: Iterable[Path], experiment: str | None = None, *, can_wait: bool = False
) -> None:
    """Find out before long work whether MLflow will take the results of some folders.

    `can_wait`: may results wait for a server that does not answer now?

    Raises:
        TransientError: If a server does not answer.
        InputError: If a store cannot be used, see `check_store`.
    """
    folders, places = list(folders), set()
    left: dict[tuple[str, str], Path] = {}  # a store, and the one that takes its place
    for folder in folders:
        if original := original_of(folder):
            say(f"note: {folder} is a copy of {original}; it gets an MLflow run of its own")
        note, uri = read_note(folder, Note), store_of(folder)
        if note is not None and note.tracking_uri != public_uri(uri):
            left.setdefault((note.tracking_uri, public_uri(uri)), folder)
        known = tracked_at(folder)
        name = experiment or (known.experiment if known else DEFAULT_EXPERIMENT)
        places.add((uri, name))
    for (before, now), folder in left.items():
        why = f"{VARIABLE} names" if os.environ.get(VARIABLE) else "that is gone, so it goes into"
        say(f"note: MLflow has {folder} in {before}; {why} {now}, where it begins anew "
            "unless it is there too")  # fmt: skip
    for place in sorted(places):
        try:
            check_store(*place)
        except TransientError as error:
            if not can_wait:
                raise TransientError(f"{error} {_without_server(folders, experiment)}") from None


def _without_server(folders: Iterable[Path], experiment: str | None) -> str:
    """What a server that does not answer leaves to do: nothing is lost, and work need not wait."""
    saved = [str(run) for run in folders if (found := find_run(run)) and found.status == "done"]
    words = ["--experiment", experiment] if experiment else []
    sync = shlex.join(["hmtas", "sync", *saved, *words])
    kept = f" and {', '.join(saved)} stays as it was" if saved else ""
    only = f" (`{sync}` logs what is saved, and does no more)" if saved else ""
    return (
        f"Nothing was done now{kept}. Once it answers, run the same command again{only}; "
        f"to work without it meanwhile, set {VARIABLE}=sqlite:////FOLDER/{DATABASE}"
    )


def log_saved(runs: Iterable[Path], experiment: str | None = None) -> None:
    """Log runs that are complete and on the disk.

    Raises:
        InputError: If MLflow fails: that nothing is lost, and the command that logs them later.
    """
    waiting = list(runs)
    words = ["--experiment", experiment] if experiment else []
    while waiting:
        with or_later(waiting[0], ["hmtas", "sync", *map(str, waiting), *words]):
            sync_run(waiting.pop(0), experiment=experiment)


@contextlib.contextmanager
def or_later(what: Path, command: Sequence[str]) -> Iterator[None]:
    """Say of what was to be logged that it is saved, and how to log it, where MLflow fails."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"{what}: saved, but not in MLflow at {public_uri(store_of(what))} "
            f"({reason_of(error)}); log it later with: {shlex.join(command)}"
        ) from error


def create_run(
    client: "MlflowClient",
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    *,
    parent: str | None = None,
    created: str | None = None,
) -> str:
    """Create an MLflow run, status RUNNING; returns its id."""
    below = {"mlflow.parentRunId": parent} if parent else {}
    run = client.create_run(
        experiment_id(client, experiment),
        start_time=_to_ms(created) if created else None,
        run_name=name,
        tags={**tags, **below},
    )
    return str(run.info.run_id)


def is_active(client: "MlflowClient", run_id: str) -> bool:
    """Is an MLflow run there, and not deleted?"""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Log parameters: text as it is, anything else as JSON, cut where MLflow would refuse."""
    from mlflow.entities import Param

    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in params.items()
    }
    client.log_batch(run_id, params=[Param(k, v[:_MAX_PARAM_CHARS]) for k, v in texts.items()])


def log_metrics(client: "MlflowClient", run_id: str, points: Sequence["Metric"]) -> None:
    """Log points of curves; an equal one stays one."""
    for start in range(0, len(points), _MAX_METRICS):
        client.log_batch(run_id, metrics=points[start : start + _MAX_METRICS])


def log_file(client: "MlflowClient", run_id: str, folder: Path, file: Path) -> None:
    """Log a file below a folder as an artifact in the same place, instead of an older one."""
    place = file.relative_to(folder).parent.as_posix()
    client.log_artifact(run_id, str(file), None if place == "." else place)


def _find_or_create(
    client: "MlflowClient", run: Path, record: RunRecord, experiment: str | None
) -> RunLog:
    """The note of the MLflow run of this folder; a new run if there is none that fits."""
    old = read_note(run, RunLog)
    name = experiment or (old.experiment if old else DEFAULT_EXPERIMENT)
    uri = public_uri(client.tracking_uri)
    # Whatever the note says of the place: a database that has the run is the one that it means.
    if old and old.experiment == name and is_active(client, old.run_id):
        old.tracking_uri = uri
        if old.created == record.created:
            return old
        client.delete_run(old.run_id)  # the folder was filled anew: one folder, one run
    tags = {"hmtas.kind": record.kind}
    run_id = create_run(client, name, record.name, tags, created=record.created)
    note = RunLog(tracking_uri=uri, experiment=name, run_id=run_id, created=record.created)
    write_note(run, note)  # before anything is logged: a kill leaves no twin
    return note


def _to_ms(created: str) -> int:
    """An ISO 8601 time as MLflow wants it, milliseconds since 1970."""
    return int(datetime.fromisoformat(created).timestamp() * 1000)


def _params_of(record: RunRecord) -> dict[str, Any]:
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
        return params | {f"ensemble.{name}": value for name, value in settings.items()}
    for path, value in record.config.used().items():
        if record.in_epochs or not path.startswith("train.") or path == "train.seq_len":
            params[path] = value
    return params | record.model_dump(include={"streams", "num_parameters", "num_workers"})


def _tags_of(run: Path, record: RunRecord, status: Status, parent: str | None) -> dict[str, str]:
    """What a run is, for search and for the comparison."""
    tags = {
        "hmtas.kind": record.kind,
        "hmtas.status": status.lower(),
        "hmtas.store_checksum": record.store_checksum,
        RUN_DIR: str(run.resolve()),
        "hmtas.actions": json.dumps(record.actions, ensure_ascii=False),
    }
    if record.best_epoch is not None:
        tags["hmtas.best_epoch"] = str(record.best_epoch)
    if parent:
        tags["mlflow.parentRunId"] = parent
    return tags


def _log_epochs(client: "MlflowClient", note: RunLog, record: RunRecord) -> None:
    """One point per curve and epoch.

    Times are computed from the record, not read from a clock: MLflow takes an equal point for the
    same point, so a call that was killed half-way and is repeated doubles nothing.
    """
    from mlflow.entities import Metric

    points = []
    time_ms = float(_to_ms(record.created))
    for epoch in record.history:
        time_ms += 1000 * epoch.seconds
        if epoch.epoch <= note.epochs:
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
        note.epochs = epoch.epoch
    log_metrics(client, note.run_id, points)


def _log_scores(
    client: "MlflowClient", note: RunLog, run: Path, record: RunRecord
) -> dict[str, str]:
    """The score of every split that was scored since; a new score is a new step.

    Returns:
        A tag per split: were the scored games also fitted on, by cross-fitting?
    """
    from mlflow.entities import Metric

    tags = {}
    for path in files_of(run / "scores", ".json"):
        split = path.stem
        step, logged_sha256 = note.scores.get(split, (0, ""))
        sha256 = sha256_file(path)
        if sha256 == logged_sha256:
            continue
        step += 1
        score = read_score(path)
        time_ms = path.stat().st_mtime_ns // 1_000_000
        values = score_metrics(split, score, record.actions)
        metrics = [Metric(name, value, time_ms, step) for name, value in values.items()]
        log_metrics(client, note.run_id, metrics)
        note.scores[split] = (step, sha256)
        tags[f"{SPLIT_TAG}{split}"] = "true" if score.cross_fitted else "false"
    return tags


def _log_files(client: "MlflowClient", note: RunLog, run: Path) -> None:
    """Copy the files that are new or changed into MLflow."""
    for path in (path for pattern in ARTIFACTS for path in sorted(run.glob(pattern))):
        name, stat = path.relative_to(run).as_posix(), path.stat()
        logged = note.artifacts.get(name)
        if logged and (logged.size, logged.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            continue
        sha256 = sha256_file(path)
        if logged is None or logged.sha256 != sha256:
            log_file(client, note.run_id, run, path)
        note.artifacts[name] = LoggedFile(
            size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=sha256
        )
