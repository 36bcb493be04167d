"""A project in another place than where it was made."""

import shutil
from pathlib import Path

from hmtas.files import sha256_file


def put_elsewhere(project: Path, how: str, away: Path) -> Path:
    """Move or copy a project, as `how` says, deeper below a new folder; where it lies now."""
    here = away / "far" / "away"
    here.parent.mkdir()
    if how == "moved":
        project.rename(here)
    else:
        shutil.copytree(project, here)
    return here


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file with its time and checksum; the lock of a study's driver aside."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, sha256_file(file))
        for file in folder.rglob("*")
        if file.is_file() and file.name != "driver.json"
    }
