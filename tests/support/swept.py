"""A study written by hand, as a sweep leaves it: what the tests of its report draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.config import Config
from hmtas.formats.actions import ACTIONS
from hmtas.records import Probabilities
from hmtas.runs.probabilities import Provenance, write_probabilities
from hmtas.runs.record import EpochRecord, predictions_path
from hmtas.store.local import EmbeddingStore
from hmtas.training.on_store import on_store
from tests.support.small import make_config
from tests.support.tracked import make_run
from tune.search.ask_tell import AskTell
from tune.space.default import Weights, build_space
from tune.space.dimensions import settings_of
from tune.study.options import Options
from tune.study.record import StudyRecord, write_study
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings, sweep_base, with_windows

# Weight decay is searched for short windows only.
OVERRIDES: dict[str, Any] = {
    "weight_decay": {"low": 1e-6, "high": 1e-3, "log": True, "when": {"seq_len": [2, 3, 4]}}
}
MAX_EPOCHS = 6


def study_settings(store: EmbeddingStore, **changes: Any) -> StudySettings:
    """A study of three trials that train in seconds; `changes` has the space."""
    settings = {
        "store": str(store.path),
        "store_checksum": store.checksum,
        "preset": "smoke",
        "base": sweep_base(make_config()),
        "num_trials": 3,
        "grace_epochs": 1,
    }
    return StudySettings.model_validate(settings | changes)


def search_settings(
    overrides: dict[str, Any],
    actions: Sequence[str] = ACTIONS,
    num_trials: int = 12,
    **options: Any,
) -> StudySettings:
    """A study of which the points alone count, on no store."""
    base = sweep_base(make_config())
    return StudySettings(
        store="store",
        store_checksum="abc",
        preset="smoke",
        base=base,
        space=build_space(base, actions, overrides=overrides),
        num_trials=num_trials,
        grace_epochs=1,
        options=Options(**options),
    )


def make_sweep(
    folder: Path,
    store: EmbeddingStore,
    states: str = "done",
    *,
    weights: Weights = "rate",
    search_windows: bool = False,
    predicted: bool = True,
    **changes: Any,
) -> StudyRecord:
    """A study whose trials are better the longer their windows; each with its run folder.

    Args:
        folder: Of the study.
        store: With the labels.
        states: Of its trials, with blanks between.
        weights: Form of the class weights.
        search_windows: Search NMS windows too.
        predicted: Store probabilities of the valid games.
        changes: In the record; `options` in its settings.
    """
    base = on_store(sweep_base(make_config(max_epochs=MAX_EPOCHS, patience=9)), store)
    space = build_space(
        base, store.actions, weights=weights, search_windows=search_windows, overrides=OVERRIDES
    )
    settings = StudySettings(
        store=str(store.path),
        store_checksum=store.checksum,
        preset="smoke",
        base=with_windows(base, space),
        space=space,
        num_trials=len(states.split()),
        grace_epochs=1,
        options=changes.pop("options", Options(sampler="random")),
    )
    ask_tell = AskTell(settings)
    rows = []
    for n, status in enumerate(states.split(), 1):
        point = settings_of(ask_tell.ask(f"t{n:02d}"), settings.space)
        row = TrialRow(id=f"t{n:02d}", status=status, settings=point, run=f"trials/t{n:02d}")  # type: ignore[arg-type]
        rows.append(_trained(folder, store, settings.base, row))
        if predicted and status in ("done", "stopped"):
            predict(folder / row.run, store, skill_of(row))
    record = StudyRecord(
        name=folder.name,
        version="0.1.0",
        created="2026-01-02T03:04:05+00:00",
        status="done",
        settings=settings,
        trials=tuple(rows),
    ).model_copy(update=changes)
    write_study(folder, record)
    return record


def skill_of(row: TrialRow) -> float:
    """How good a trial is: longer windows and later trials are better."""
    return 0.05 + 0.06 * float(row.settings["train.seq_len"]) + 0.002 * int(row.id[1:])


def _trained(folder: Path, store: EmbeddingStore, base: Config, row: TrialRow) -> TrialRow:
    """The trial with its scores, and its run folder."""
    if row.status == "waiting":
        return row
    if row.status == "failed":
        return row.model_copy(update={"error": f"RuntimeError: {row.id} ran out of luck"})
    config = base.updated(row.settings)
    num = {"done": MAX_EPOCHS, "stopped": 2, "running": 3}[row.status]
    scores = [round(skill_of(row) * e / (e + 1), 4) for e in range(1, num + 1)]
    history = tuple(
        EpochRecord(
            epoch=e, train_loss=1 / e, val_loss=2 / e, tight=tight, loose=min(1.0, 1.5 * tight),
            seconds=2.0, windows=9,
        )
        for e, tight in enumerate(scores, 1)
    )  # fmt: skip
    games = store.games("train")
    make_run(
        folder / row.run, config=config, store=str(store.path), store_checksum=store.checksum,
        actions=store.actions, history=history, best_epoch=num, status="done",
        fitted_games=games[:-1], stopped_games=games[-1:],
    )  # fmt: skip
    best = {"best_tight": max(scores), "best_loose": 1.5 * max(scores)}
    return row.model_copy(update={**best, "epochs": num, "seconds": 2.0 * num})


def predict(run: Path, store: EmbeddingStore, skill: float) -> None:
    """Probabilities of the valid games that know as much of the labels as the skill says."""
    rng = np.random.default_rng(len(run.name))
    halves = []
    for half in store.halves_of(store.games("valid")):
        events = store.events(half)
        rows = store.halves[half].num_rows
        values = rng.uniform(0, 1 - skill, (rows, len(store.actions)))
        place = np.clip(np.floor(events.time_s * store.rate_hz).astype(int), 0, rows - 1)
        values[place, events.action] += 2 * skill * rng.uniform(size=len(place))
        values = values.clip(0, 1).astype(np.float32)
        halves.append(Probabilities(half=half, values=values, rate_hz=store.rate_hz))
    provenance = Provenance(
        run=run.name, split="valid", store=str(store.path), store_checksum=store.checksum,
        actions=store.actions, rate_hz=store.rate_hz, fitted_games=("a",), created="now",
    )  # fmt: skip
    write_probabilities(predictions_path(run, "valid"), halves, provenance)
