"""What decides the result of a study, and what a preset becomes when it is searched from."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from hmtas.config import Config
from hmtas.validation import Frozen
from tune.space.dimensions import WINDOWS, Space
from tune.study.options import Objective, Options

if TYPE_CHECKING:
    from hmtas.store.local import EmbeddingStore

# What a sweep changes in a preset before the user does: validation games stay clean, and a trial
# is scored with the best NMS windows, not with those of the thesis.
SWEEP_SETTINGS = {"train.stop_games": "held_out", "train.stop_windows": "fitted"}


class StudySettings(Frozen):
    """What decides a study's result; a study that is resumed must have the same."""

    store: str
    store_checksum: str
    preset: str
    base: Config  # what is held fixed, and where the search starts
    space: Space
    num_trials: int
    grace_epochs: int  # of `base`: no trial is stopped before it has spent their work
    seed: int = 0
    split: str = "valid"  # predicted by every trial
    workers_per_trial: int = Field(default=1, ge=1)  # each has games of its own: other results
    options: Options = Options()

    def open_store(self, study: Path, named: str | None = None) -> "EmbeddingStore":
        """Open the store of the study in a folder, which must be the one that it began with.

        `named` is where the user says that it lies now.

        Raises:
            InputError: If it is not there, was packed again, or another one is named.
        """
        from hmtas.store.recorded import open_recorded

        option = f"hmtas tune resume {shlex.quote(str(study))} --store"
        return open_recorded(study, self.store, self.store_checksum, named=named, option=option)


class Load(Frozen):
    """Trials at once (None: as many as fit) and what each of their workers takes."""

    concurrent: int | None = Field(default=None, ge=1)
    cpus_per_trial: int = Field(default=1, ge=1)
    # None: the share of one that its memory needs, where Ray has any
    gpus_per_trial: float | None = Field(default=None, ge=0)


def sweep_base(preset: Config, objective: Objective = "tight") -> Config:
    """A preset as the start of a sweep: its trainings stop on held-out train games.

    Their epochs are chosen by loose Average-mAP where that alone is maximised, else by the mean of
    tight and loose.
    """
    stop_on = "loose" if objective == "loose" else "mean"
    return preset.updated({**SWEEP_SETTINGS, "train.stop_on": stop_on})


def with_windows(base: Config, space: Space) -> Config:
    """A base whose trials are scored with the windows of their point, if the space has windows."""
    searched = any(path.startswith(f"{WINDOWS}.") for path in space.dimensions)
    return base.updated({"train.stop_windows": "config"}) if searched else base


def grace_of(max_epochs: int) -> int:
    """Epochs before a trial may be stopped, unless a user says otherwise: a tenth of the most.

    benchmarks/search.py replays what this saves and what it loses, on curves of real trials.
    """
    return max(1, round(max_epochs / 10))
