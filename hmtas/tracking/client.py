"""The connection to MLflow: which store, tried before it is relied on, with errors of one line."""

import contextlib
import functools
import hashlib
import logging
import os
import re
import shlex
import socket
import sqlite3
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from hmtas.errors import InputError, TransientError
from hmtas.files import locked
from hmtas.place import free_bytes, unwritable
from hmtas.tracking.moved import artifacts_of, follow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
_SQLITE = "sqlite:///"
_SERVERS = {"http": 80, "https": 443}
_DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# Settings of MLflow, unless the user has others. Left alone it is patient for minutes.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
_FIRST_CALL = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_LOGGERS = ("mlflow", "alembic", "sqlalchemy", "urllib3")  # they log what they raise as well
_NEW_DATABASE_BYTES = 2_000_000
_RETRY_DELAYS_S = (1, 2, 4, 8)  # a new database takes up to 12 s


def tracking_uri(recorded: str | None = None) -> str:
    """Where the runs are tracked; `recorded` is the store that knows the run in question, if any.

    It is MLFLOW_TRACKING_URI if set, else `recorded` unless that is a database that is gone, else
    `mlflow.db` in the working directory.
    """
    if uri := os.environ.get(VARIABLE):
        database = sqlite_path(uri)
        return sqlite_uri(database) if database else uri
    if recorded:
        database = sqlite_path(recorded)
        if database is None or database.is_file():
            return recorded
    return sqlite_uri(Path.cwd() / DATABASE)


def sqlite_path(uri: str) -> Path | None:
    """The database file of a sqlite URI, absolute; None for any other store."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def sqlite_uri(database: str | Path) -> str:
    """The URI of a database file, the other way round."""
    return f"{_SQLITE}{database}"


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
    """A client of the store at `uri`; a sqlite database that does not exist yet is created.

    The store is tried before MLflow opens it: MLflow would go on trying for minutes.

    Raises:
        TransientError: If a server does not answer.
        InputError: If the store cannot be opened or a server refuses.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    _require_answer(uri)
    database = sqlite_path(uri)
    if database and (reason := _complaint(database, write=False)):
        raise _unusable(uri, reason)
    from alembic.util.exc import CommandError
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    delays = iter(_RETRY_DELAYS_S if database and _is_new(database) else ())
    while True:
        try:
            if _kind(uri) in _DATABASES:
                create_engine(uri, poolclass=NullPool).connect().close()
            with _alone(database), _environment(_FIRST_CALL):
                client = MlflowClient(tracking_uri=uri)
                client.search_experiments(max_results=1)
                if database:
                    follow(database)
            return client
        except (
            sqlite3.Error,
            MlflowException,
            SQLAlchemyError,
            CommandError,
            ImportError,
        ) as error:
            # Somebody else (say `mlflow ui`) may be creating the same database just now.
            delay_s = next(delays, None)
            if delay_s is None:
                status = 0
                if isinstance(error, MlflowException):
                    status = error.get_http_status_code()  # type: ignore[no-untyped-call]
                raise _unusable(uri, reason_of(error), status) from error
            time.sleep(delay_s)


def check_store(uri: str, experiment: str) -> None:
    """Find out before long work whether its runs can be logged when it is done.

    Raises:
        TransientError: If a server does not answer.
        InputError: If the store cannot be opened or written, or the experiment was deleted.
    """
    database = sqlite_path(uri)
    if database and (reason := _complaint(database, write=True)):
        raise _unusable(uri, reason)
    if database and not database.exists():
        return  # it is created when there is something to log
    found = find_experiment(connect(uri), experiment)
    location = found.artifact_location if found else ""
    if location.startswith(("/", "file:")):
        folder = Path(url2pathname(urlsplit(location).path) if location[0] == "f" else location)
        if reason := unwritable(folder):
            raise InputError(
                f"experiment {experiment!r} of {public_uri(uri)}: its artifacts cannot be written "
                f"({reason}); choose another --experiment"
            )


def find_experiment(client: "MlflowClient", name: str) -> "Experiment | None":
    """An experiment by its name; None if there is none.

    Raises:
        InputError: If it was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage != "active":
        raise InputError(
            f"experiment {name!r} was deleted in MLflow: restore it there "
            f"(mlflow experiments restore --experiment-id {found.experiment_id}) "
            "or choose another name"
        )
    return found


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Find an experiment by name, or create it with its artifacts beside the database.

    Left alone, MLflow would put them into the working directory of whoever came first.

    Raises:
        InputError: If an experiment of this name was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = find_experiment(client, name)
    if found is None:
        database = sqlite_path(client.tracking_uri)
        place = str(artifacts_of(name, database.parent)) if database else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            found = find_experiment(client, name)  # another process may have been faster
            if found is None:
                raise InputError(f"experiment {name!r}: {reason_of(error)}") from None
    return str(found.experiment_id)


def reason_of(error: BaseException) -> str:
    """Why MLflow failed, in one line: what the network or the database said, if that is known."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(error, InputError):
        if isinstance(cause, OSError | sqlite3.Error) and "requests" not in type(cause).__module__:
            error = cause
        cause = cause.__cause__ or cause.__context__
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return textwrap.shorten(
        re.sub(r"//[^/@ ]*@", "//", line), 300, placeholder=" ..."
    )  # no password


def _kind(uri: str) -> str:
    """`postgresql` of `postgresql+psycopg://host/database`."""
    return urlsplit(uri).scheme.partition("+")[0]


def _require_answer(uri: str) -> None:
    """Ask a server for a sign of life."""
    kind, parts = _kind(uri), urlsplit(uri)
    port = {**_SERVERS, **_DATABASES}.get(kind)
    if parts.hostname is None or port is None:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or port), timeout=5).close()
    except OSError as error:
        what = "MLflow server" if kind in _SERVERS else "database"
        raised = InputError if isinstance(error, socket.gaierror) else TransientError
        raise raised(
            f"{public_uri(uri)}: no {what} answers there ({error}); "
            f"is it running, and {VARIABLE} right?"
        ) from None


def _complaint(database: Path, *, write: bool) -> str:
    """Why a sqlite database cannot be opened, created or written; '' if it can.

    MLflow would try for minutes. What another process is writing just now counts as sound.
    """
    exists = database.exists()
    if (write or not exists) and (reason := unwritable(database.parent)):
        return reason
    if not exists and (free := free_bytes(database.parent)) < _NEW_DATABASE_BYTES:
        return f"a new database takes {_NEW_DATABASE_BYTES:,} bytes, the disk has {free:,} free"
    try:
        if exists:
            with contextlib.closing(sqlite3.connect(database, timeout=1)) as connection:
                connection.execute("BEGIN IMMEDIATE" if write else "PRAGMA schema_version")
                if write:  # a lock alone is given on a read-only file as well; nothing is kept
                    connection.execute("CREATE TABLE hmtas_probe (x)")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            return str(error)
    return ""


def _unusable(uri: str, reason: str, status: int = 0) -> InputError:
    """What to raise where a store cannot be used; `status` is that of a server's answer."""
    at_server = _kind(uri) in _SERVERS
    if not at_server:
        cause = f"is {VARIABLE} right, the place yours, and the database one of MLflow 3?"
    elif status in (401, 403):
        cause = "are MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN, right?"
    else:
        cause = f"is it an MLflow server, and {VARIABLE} right?"
    raised = TransientError if at_server and status >= 500 else InputError
    return raised(f"{public_uri(uri)}: MLflow cannot open this store ({reason}); {cause}")


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a block."""
    before = {name: os.environ[name] for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.update(before)


def _is_new(database: Path) -> bool:
    return not database.is_file() or time.time() - database.stat().st_mtime < 60


def _alone(database: Path | None) -> contextlib.AbstractContextManager[None]:
    """Let one process at a time open the database: several that create it at once all crash.

    The lock lies among the temporary files: network file systems refuse some, and a user's folder
    stays clean. Processes on two machines are left to the retries of `connect`.
    """
    if database is None:
        return contextlib.nullcontext()
    key = hashlib.sha256(str(database).encode()).hexdigest()[:16]
    return locked(Path(tempfile.gettempdir()) / f"hmtas-{os.getuid()}-{key}.lock")
