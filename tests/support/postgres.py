"""A PostgreSQL server on this machine, for the length of a block; its database is called mlflow."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.tracked import free_port

PASSWORD = "secret-of-the-test"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URI of an empty database, with its password; skips where there is no PostgreSQL."""
    programs = _programs()
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="hmtas-pg-", dir="/tmp"))  # a socket's path is short
    if os.getuid() == 0:  # the server refuses to be root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses root, and there is no user postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, port, log = folder / "data", free_port(), (folder / "log").open("w")
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    create = [programs / "initdb", "-D", data, "-U", "hmtas", "-A", "scram-sha-256"]
    create += ["--pwfile", folder / "password", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(create, check=True, stdout=log, stderr=log, cwd=folder, **as_user)
    serve = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-F"]
    process = subprocess.Popen(
        [*serve, "-c", "listen_addresses=127.0.0.1"], stdout=log, stderr=log, cwd=folder, **as_user
    )
    uri = f"postgresql://hmtas:{PASSWORD}@127.0.0.1:{port}/mlflow"
    try:
        _create_database(port, folder / "log")
        yield uri
    finally:
        process.send_signal(signal.SIGINT)  # the one that does not wait for clients
        process.wait(30)
        log.close()
        shutil.rmtree(folder)


def _programs() -> Path:
    places = [Path(shutil.which("initdb") or "/nowhere/initdb").resolve().parent]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "postgres").is_file():
            return place
    pytest.skip("needs PostgreSQL: apt-get install postgresql")


def _create_database(port: int, log: Path) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            connection = psycopg.connect(
                host="127.0.0.1", port=port, user="hmtas", password=PASSWORD, dbname="postgres"
            )
            break
        except psycopg.OperationalError:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
    connection.autocommit = True
    connection.cursor().execute("CREATE DATABASE mlflow")
    connection.close()
