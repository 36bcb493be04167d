"""A run folder: one fitted model or ensemble, everything that was done with it, and its record.

RUN/run.json              the record below
RUN/model.safetensors     weights of the best epoch
RUN/predictions/S.arrow   stored probabilities of split S (hmtas.runs.probabilities)
RUN/scores/S.json         the score of split S
RUN/windows.json          NMS windows fitted on validation games (hmtas.spotting.windows)
RUN/mlflow.json           where MLflow keeps this run (hmtas.tracking.note)
"""

import shlex
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from hmtas.config import Config, StopOn
from hmtas.errors import InputError
from hmtas.files import files_of, write_json
from hmtas.place import home_of, where_now
from hmtas.runs.ensemble import EnsembleRecord
from hmtas.runs.environment import Environment
from hmtas.validation import Frozen, read_record

RECORD = "run.json"
WEIGHTS = "model.safetensors"
WINDOWS = "windows.json"
MLFLOW_NOTE = "mlflow.json"


class EpochRecord(Frozen):
    """One epoch of training. Losses are Equation 4.3; `tight` and `loose` Average-mAP in [0, 1]."""

    epoch: int  # from 1
    train_loss: float
    val_loss: float | None = None
    # Equation 4.1 of each stream's own head
    val_stream_losses: dict[str, float] = Field(default_factory=dict)
    tight: float | None = None  # on the games that stop the training
    loose: float | None = None
    game_tight: tuple[float, ...] | None = None  # of each of these games, sorted by name
    # 95 %, over games, of `tight` or `loose`
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    seconds: float
    windows: int  # training windows seen in the epoch, or steps of contexts

    def merit(self, stop_on: StopOn) -> float:
        """What the best epoch has most of; without games that stop the training 0."""
        if stop_on == "loss":
            return -(self.val_loss or 0.0)
        tight, loose = self.tight or 0.0, self.loose or 0.0
        return {"tight": tight, "loose": loose, "mean": (tight + loose) / 2}[stop_on]


class RunRecord(Frozen):
    """What a run is and which games shaped it."""

    kind: Literal["model", "ensemble"] = "model"
    name: str
    version: str  # of this package
    created: str  # ISO 8601, UTC
    status: Literal["running", "done"] = "done"
    config: Config
    preset: str | None = None
    ensemble: EnsembleRecord | None = None  # of a run of that kind
    store: str  # path or address of the embedding store
    store_checksum: str
    home: str | None = None  # the run folder when it was written; None once it is read
    streams: dict[str, int]  # streams the model uses: name to width
    actions: tuple[str, ...]
    rate_hz: float
    num_parameters: int | None = None
    weights_sha256: str | None = None
    num_workers: int = 1
    environment: Environment | None = None  # older records have none
    radius_s: float | None = None  # of a linear model: rows this close to an event are positive
    fitted_games: tuple[str, ...]
    stopped_games: tuple[str, ...] = ()  # games that chose the epoch
    best_epoch: int | None = None
    history: tuple[EpochRecord, ...] = ()
    notes: tuple[str, ...] = ()  # what went wrong and was overcome

    @model_validator(mode="after")
    def _ensemble_by_kind(self) -> Self:
        if (self.kind == "ensemble") != (self.ensemble is not None):
            raise ValueError(f"a run of kind {self.kind!r} says otherwise under 'ensemble'")
        return self

    @property
    def best(self) -> EpochRecord | None:
        """The epoch whose weights are kept."""
        return next((epoch for epoch in self.history if epoch.epoch == self.best_epoch), None)

    @property
    def in_epochs(self) -> bool:
        """Is it trained in epochs?"""
        return self.status == "running" or bool(self.history)

    @property
    def is_linear(self) -> bool:
        """Is it a linear model (hmtas.training.linear): solved at once, its weights not kept?"""
        return self.ensemble is None and not self.in_epochs


def write_run(run: Path, record: RunRecord) -> None:
    """Write the record of a run, atomically."""
    at_home = record.model_copy(update={"home": home_of(run)})
    write_json(run / RECORD, at_home.model_dump(mode="json"))


def read_run(run: Path) -> RunRecord:
    """Read the record of a run, with its store where it lies now (`store_now`).

    Raises:
        InputError: If `run` is not a run folder or its record is malformed.
    """
    if not (run / RECORD).is_file():
        raise InputError(f"{run}: no run here ({RECORD} is missing); did its training start?")
    record = read_record(run / RECORD, RunRecord)
    store = store_now(record.store, record.store_checksum, record.home, run)
    return record.model_copy(update={"store": store, "home": None})


def store_now(place: str, checksum: str, home: str | None, folder: Path) -> str:
    """Where a recorded store lies, if it may have moved along with its record; see `where_now`."""

    def is_it(near: Path) -> bool:
        from hmtas.store.index import checksum_at

        return checksum_at(near) == checksum

    return where_now(place, home, folder, is_it)


def find_run(run: Path) -> RunRecord | None:
    """The record of a run; None where no training has begun, or the record is damaged."""
    try:
        return read_run(run)
    except InputError:
        return None


def history_of(run: Path) -> tuple[EpochRecord, ...]:
    """The epochs of a run; none where `find_run` finds no record."""
    record = find_run(run)
    return () if record is None else record.history


def predictions_path(run: Path, split: str) -> Path:
    """Where the stored probabilities of one split lie."""
    return run / "predictions" / f"{split}.arrow"


def predict_line(run: Path, split: str) -> str:
    """The command that stores the probabilities of a split, by the kind of the run."""
    record = read_run(run)
    quoted, of_split = shlex.quote(str(run)), f"--split {shlex.quote(split)}"
    if record.ensemble is not None:
        return f"`hmtas ensemble apply {quoted} {of_split}`"
    if record.is_linear:
        begin = f"`hmtas baseline {shlex.quote(record.store)} --out {quoted} {of_split}`"
        return f"{begin}, with the flags of the first time"
    return f"`hmtas predict {quoted} {of_split}`"


def predicted_splits(run: Path) -> list[str]:
    """Splits that a run has predicted, sorted."""
    return [path.stem for path in files_of(run / "predictions", ".arrow")]


def score_path(run: Path, split: str) -> Path:
    """Where the score of one split lies."""
    return run / "scores" / f"{split}.json"
