"""The commands that repeat a study, go on with it, and train its best model again."""

import functools
import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from hmtas.config import Config, setting_paths
from hmtas.presets import preset
from tune.study.budget import read_budget
from tune.study.options import Options
from tune.study.record import StudyRecord
from tune.study.settings import Load, grace_of, sweep_base

SPACE_FILE = "space.json"


class Command(NamedTuple):
    """A line for a terminal, and what it is for."""

    what: str
    line: str


def commands(folder: Path, record: StudyRecord) -> list[Command]:
    """What one may want to do with a study, as lines for a terminal.

    Args:
        folder: Of the study.
        record: Of the study.
    """
    study = str(folder)
    found = [
        Command(
            f"Repeat this study, with the space that was searched saved as {SPACE_FILE}",
            shlex.join(model_words(folder, record)),
        ),
        Command(
            "Go on with it after an interruption, or with more trials",
            shlex.join(["hmtas", "tune", "resume", study]),
        ),
        Command(
            "Print the best configuration, and the command that trains it again",
            shlex.join(["hmtas", "tune", "best", study]),
        ),
        Command("Draw this page again", shlex.join(["hmtas", "tune", "report", study])),
    ]
    if record.more:
        again = ["hmtas", "tune", "resume", study, "--trials", str(record.num_trials)]
        found.insert(1, Command(f"and then its {record.more} later trials", shlex.join(again)))
    return found


def train_line(record: StudyRecord, run: Path) -> str:
    """The command that trains a model of a study again, in a new folder."""
    words = ["hmtas", "train", record.settings.store, "--config", str(run / "run.json")]
    if record.settings.workers_per_trial != 1:
        words += ["--workers", str(record.settings.workers_per_trial)]
    return shlex.join([*words, "--out", f"{record.name}-{run.name}"])


def reproduce_line(run: Path) -> str:
    """The command that makes a trial again as it was, and says whether it is the same."""
    return shlex.join(["hmtas", "reproduce", str(run)])


def model_words(folder: Path, record: StudyRecord) -> list[str]:
    """The words of `hmtas tune model` that begin the same study."""
    settings, options, load = record.settings, record.settings.options, record.load or Load()
    words = ["hmtas", "tune", "model", settings.store, "--name", record.name]
    words += ["--out", str(folder.parent), "--preset", settings.preset]
    words += ["--space", SPACE_FILE, "--trials", str(settings.num_trials)]
    words += ["--seed", str(settings.seed), "--split", settings.split]
    words += _options(options)
    hours = read_budget(folder).hours
    if hours is not None:
        words += ["--hours", f"{hours:g}"]
    if settings.grace_epochs != grace_of(settings.base.train.max_epochs):
        words += ["--grace-epochs", str(settings.grace_epochs)]
    if settings.workers_per_trial != 1:
        words += ["--workers-per-trial", str(settings.workers_per_trial)]
    if load.concurrent is not None:
        words += ["--concurrent", str(load.concurrent)]
    if load.cpus_per_trial != 1:
        words += ["--cpus-per-trial", str(load.cpus_per_trial)]
    if load.gpus_per_trial:
        words += ["--gpus-per-trial", f"{load.gpus_per_trial:g}"]
    if record.experiment != "hmtas":
        words += ["--experiment", record.experiment]
    start = sweep_base(preset(settings.preset), options.objective)
    for path, value in changed(start.updated({"train.seed": settings.seed}), settings.base).items():
        words += ["--set", f"{path}={json.dumps(value, ensure_ascii=False)}"]
    return words


def changed(before: Config, after: Config) -> dict[str, Any]:
    """The settings in which two configurations differ, by path, as the second has them."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {
        path: value for path in setting_paths(new) if (value := _at(new, path)) != _at(old, path)
    }


def _at(document: dict[str, Any], path: str) -> Any:
    return functools.reduce(lambda part, key: part[key], path.split("."), document)


def _options(options: Options) -> list[str]:
    words = ["--sampler", options.sampler, "--objective", options.objective]
    words += ["--pruner", options.pruner, "--top", str(options.top)]
    words += ["--final-seeds", str(options.final_seeds)]
    return words + (["--from", options.warm.study] if options.warm else [])
