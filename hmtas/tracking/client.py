"""The connection to MLflow: which store, made once and safely, with clear errors."""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import re
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from hmtas.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
_SQLITE = "sqlite:///"
_RETRY_DELAYS_S = (1, 2, 4, 8)  # a new database takes up to 12 s


def tracking_uri(default_dir: Path | None = None, *, recorded: str | None = None) -> str:
    """Where the runs are tracked.

    Args:
        default_dir: Folder of the database if nothing else is said; the working directory.
        recorded: The store that already knows the run in question, if there is one.

    Returns:
        MLFLOW_TRACKING_URI if set, else `recorded` unless that is a database that is gone, else
        `mlflow.db` in `default_dir`.
    """
    if uri := os.environ.get(VARIABLE):
        database = sqlite_path(uri)
        return f"{_SQLITE}{database}" if database else uri
    if recorded:
        database = sqlite_path(recorded)
        if database is None or database.is_file():
            return recorded
    return f"{_SQLITE}{(default_dir or Path.cwd()).resolve() / DATABASE}"


def sqlite_path(uri: str) -> Path | None:
    """The database file of a sqlite URI, absolute; None for any other store."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def public_uri(uri: str) -> str:
    """The URI without a user's name and password, fit for a file or a screen."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def ui_line(uri: str) -> str:
    """What to do to see the runs in MLflow's own pages."""
    if uri.startswith(("http://", "https://")):
        return f"open {public_uri(uri)}"
    beside = Path(sys.executable).with_name("mlflow")
    program = str(beside) if beside.is_file() else "mlflow"
    with contextlib.suppress(ValueError):
        program = str(beside.relative_to(Path.cwd())) if beside.is_file() else program
    store = shlex.quote(public_uri(uri))
    return (
        f"{shlex.quote(program)} ui --backend-store-uri {store} --host 127.0.0.1 --port 5000"
        "  # then open http://127.0.0.1:5000"
    )


@functools.cache
def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`; a sqlite database that is not there yet is created.

    Raises:
        InputError: If the store cannot be opened or the server does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    _require_answer(uri)
    from alembic.util.exc import CommandError
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow.store.db.utils", "alembic"):  # a line for each of 50 migrations
        logging.getLogger(name).setLevel(logging.WARNING)
    database = sqlite_path(uri)
    if database:
        database.parent.mkdir(parents=True, exist_ok=True)
    delays = iter(_RETRY_DELAYS_S if database and _is_new(database) else ())
    while True:
        try:
            with _alone(database):
                return MlflowClient(tracking_uri=uri)
        except (MlflowException, SQLAlchemyError, CommandError) as error:
            # Somebody else (say `mlflow ui`) may be creating the same database just now.
            delay_s = next(delays, None)
            if delay_s is None:
                reason = str(error).strip().splitlines()[0]
                raise InputError(
                    f"{public_uri(uri)}: MLflow cannot open this store ({reason}); "
                    f"is {VARIABLE} right, and the database one of MLflow 3?"
                ) from error
            time.sleep(delay_s)


def _is_new(database: Path) -> bool:
    return not database.is_file() or time.time() - database.stat().st_mtime < 60


@contextlib.contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    """Let one process at a time open the database: several that create it at once all crash.

    The lock lies among the temporary files: network file systems refuse some, and a user's folder
    stays clean. Processes on two machines are left to the retries of `connect`.
    """
    if database is None:
        yield
        return
    key = hashlib.sha256(str(database).encode()).hexdigest()[:16]
    lock = Path(tempfile.gettempdir()) / f"hmtas-{os.getuid()}-{key}.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _require_answer(uri: str) -> None:
    """Ask a server for a sign of life: MLflow's own client tries for minutes before it gives up."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=10).close()
    except OSError as error:
        raise InputError(
            f"{public_uri(uri)}: no MLflow server answers there ({error}); "
            f"is it running, and {VARIABLE} right?"
        ) from None


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Find an experiment by name, or create it with its artifacts beside the database.

    Left alone, MLflow would put them into the working directory of whoever came first.

    Raises:
        InputError: If an experiment of this name was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        database = sqlite_path(client.tracking_uri)
        folder = re.sub(r"[^\w.-]+", "_", name).strip(".") or "experiment"
        place = str(database.parent / "mlruns" / folder) if database else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # another process may have been faster
            if found is None:
                raise InputError(f"experiment {name!r}: {str(error).splitlines()[0]}") from None
    if found.lifecycle_stage != "active":
        raise InputError(
            f"experiment {name!r} was deleted in MLflow: restore it there "
            f"(mlflow experiments restore --experiment-id {found.experiment_id}) "
            "or choose another name"
        )
    return str(found.experiment_id)
