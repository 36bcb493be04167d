"""The commands that repeat a study, resume it, and train its best model again."""

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.presets import preset
from hmtas.training.on_store import on_store
from tune.study.budget import read_budget
from tune.study.record import StudyRecord
from tune.study.settings import sweep_base

SPACE_FILE = "space.json"
# The fields of a study's record whose flag of `hmtas tune model` has a name of its own.
FLAGS = {
    "num_trials": "trials",
    "workers_per_trial": "workers",
    "cpus_per_trial": "cpus",
    "gpus_per_trial": "gpus",
}


def line(*words: object) -> str:
    """A command of `hmtas`, as a line for a terminal."""
    return shlex.join(["hmtas", *map(str, words)])


def train_line(record: StudyRecord, run: Path) -> str:
    """The command that trains a model of a study again, in a new folder."""
    words: list[object] = [record.settings.store, "--config", run / "run.json"]
    if record.settings.workers_per_trial != 1:
        words += ["--workers", record.settings.workers_per_trial]
    return line("train", *words, "--out", f"{record.name}-{run.name}")


def reproduce_line(run: Path) -> str:
    """The command that makes a trial again as it was, and says whether it is the same."""
    return line("reproduce", run)


def model_line(folder: Path, record: StudyRecord) -> str:
    """The command that begins the same study, in the same folder: a flag for each field."""
    settings, options = record.settings, record.settings.options
    fields = {
        "name": record.name,
        "out": folder.parent,
        "space": SPACE_FILE,
        "hours": read_budget(folder).hours,
        "from": options.warm and options.warm.study,
        **settings.model_dump(exclude={"store", "store_checksum", "base", "space", "options"}),
        **options.model_dump(exclude={"warm"}),
        **record.resources.model_dump(),
        "experiment": record.experiment,
    }
    words: list[object] = [settings.store]
    for field, value in fields.items():
        if value is not None:
            words += [f"--{FLAGS.get(field, field).replace('_', '-')}", value]
    start = sweep_base(preset(settings.preset), options.objective)
    start = start.updated({"train.seed": settings.seed})
    with contextlib.suppress(InputError, OSError):  # without its store every number is named
        start = on_store(start, settings.open_store(folder))
    for path, value in changed(start, settings.base).items():
        words += ["--set", f"{path}={json.dumps(value, ensure_ascii=False)}"]
    return line("tune", "model", *words)


def changed(before: Config, after: Config) -> dict[str, Any]:
    """The settings in which two configurations differ, by path, as the second has them."""
    old = before.flat()
    return {path: value for path, value in after.flat().items() if value != old[path]}
