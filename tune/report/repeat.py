"""The commands that repeat a study, resume it, and train its best model again."""

import functools
import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from hmtas.config import Config, setting_paths
from hmtas.presets import preset
from tune.study.budget import read_budget
from tune.study.record import StudyRecord, TrialRow
from tune.study.settings import Load, sweep_base

SPACE_FILE = "space.json"


class Command(NamedTuple):
    """A line for a terminal, and what it is for."""

    what: str
    line: str


def commands(folder: Path, record: StudyRecord, best: TrialRow | None) -> list[Command]:
    """What one may want to do with a study, as lines for a terminal.

    Args:
        folder: Folder of the study.
        record: Record of the study.
        best: Its best trial, if any has a score.
    """
    study = str(folder)
    resume = ["hmtas", "tune", "resume", study]
    found = [
        Command(
            f"Repeat this study, with the space that was searched saved as {SPACE_FILE}",
            shlex.join(model_words(folder, record)),
        )
    ]
    if record.more:
        words = [*resume, "--trials", str(record.num_trials)]
        found.append(Command(f"and then its {record.more} later trials", shlex.join(words)))
    if best is not None:
        run = folder / best.run
        found.append(Command("Train the best model again", train_line(record, run)))
        found.append(Command("Make it again as it was, and compare", reproduce_line(run)))
    return [
        *found,
        Command("Resume it after an interruption, or with more trials", shlex.join(resume)),
        Command(
            "Print the best configuration, and the command that trains it again",
            shlex.join(["hmtas", "tune", "best", study]),
        ),
        Command("Draw this page again", shlex.join(["hmtas", "tune", "report", study])),
    ]


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
    flags = {
        "name": record.name,
        "out": folder.parent,
        "preset": settings.preset,
        "space": SPACE_FILE,
        "trials": settings.num_trials,
        "hours": read_budget(folder).hours,
        "seed": settings.seed,
        "split": settings.split,
        "sampler": options.sampler,
        "objective": options.objective,
        "pruner": options.pruner,
        "top": options.top,
        "final-seeds": options.final_seeds,
        "from": options.warm and options.warm.study,
        "grace-epochs": settings.grace_epochs,
        "workers-per-trial": settings.workers_per_trial,
        "concurrent": load.concurrent,
        "cpus-per-trial": load.cpus_per_trial,
        "gpus-per-trial": load.gpus_per_trial,
        "experiment": record.experiment,
    }
    words = ["hmtas", "tune", "model", settings.store]
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    start = sweep_base(preset(settings.preset), options.objective)
    start = start.updated({"train.seed": settings.seed})
    for path, value in changed(start, settings.base).items():
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
