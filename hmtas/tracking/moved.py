"""A database of MLflow that was moved or copied: its artifacts are those beside it again.

MLflow keeps absolute paths: of an experiment's artifacts, of each run's, of models and versions.
Left alone, a copy would read and write in the folder that it was copied from. What a user keeps in
another place than beside the database stays there, and servers know nothing of paths of ours.
"""

import contextlib
import re
import sqlite3
from pathlib import Path

from hmtas.place import where_now
from hmtas.terminal.console import say

ARTIFACTS = "mlruns"
RUN_DIR = "hmtas.run_dir"  # tag: the folder of a run
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def artifacts_of(experiment: str, home: Path) -> Path:
    """Where an experiment has its artifacts: beside its database, which lies in `home`."""
    folder = re.sub(r"[^\w.-]+", "_", experiment).strip(".") or "experiment"
    return home / ARTIFACTS / folder


def follow(database: Path) -> None:
    """Bring the paths in a sqlite database of MLflow 3 to where it lies now, all or none.

    Nothing happens if it was not moved, its artifacts were left behind, or it cannot be written.

    Raises:
        sqlite3.Error: If it cannot be read, or another process holds it for a minute.
    """
    here = database.parent
    with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as opened:
        if not _former_homes(opened, here):
            return
        try:
            opened.execute("BEGIN IMMEDIATE")
            former = _former_homes(opened, here)  # another process may have been faster
            for home in former:
                _replace(opened, home, here)
            opened.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                return
            raise
    for home in former:
        say(f"note: {database} lay in {home} before; its artifacts and runs are those in {here}")


def _former_homes(opened: sqlite3.Connection, here: Path) -> list[Path]:
    """Folders that the database lay in when experiments were created, if they came along."""
    homes: dict[Path, None] = {}
    for name, location in opened.execute("SELECT name, artifact_location FROM experiments"):
        left = Path(location or "")
        home = left.parent.parent
        if left != artifacts_of(name, home) or not home.is_absolute():
            continue  # not made by us beside a database
        if home == here or (home.exists() and home.samefile(here)):
            continue
        if artifacts_of(name, here).is_dir() or not left.is_dir():
            homes[home] = None
    return list(homes)


def _replace(opened: sqlite3.Connection, home: Path, here: Path) -> None:
    before, now = f"{home / ARTIFACTS}/", f"{here / ARTIFACTS}/"
    for table, columns in _PLACES.items():
        for column in columns:
            opened.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                f" WHERE substr({column}, 1, ?) = ?",
                (now, len(before) + 1, len(before), before),
            )
    tags = opened.execute("SELECT run_uuid, value FROM tags WHERE key = ?", (RUN_DIR,)).fetchall()
    for run_id, folder in tags:
        opened.execute(
            "UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?",
            (where_now(folder, str(home), here), RUN_DIR, run_id),
        )
