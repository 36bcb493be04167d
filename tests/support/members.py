"""A packed season of labels, and run folders of models of known quality that never were trained."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.config import Config
from hmtas.packing.pack import pack
from hmtas.records import Events, HalfId, Probabilities
from hmtas.runs.probabilities import store_predictions
from hmtas.runs.record import RunRecord, write_run
from hmtas.store.local import EmbeddingStore

ACTIONS = ("Goal", "Corner")
NUM_ROWS = 200
CREATED = "2024-05-01T12:00:00+00:00"
VALID = tuple(f"valid {i}" for i in range(6))
SPLITS = {"train": ("train 0",), "valid": VALID, "test": ("test 0", "test 1")}


def annotated(half: HalfId) -> Events:
    """Six events a half, 30 s apart, other moments and actions in every half."""
    start = sum(map(ord, half.game)) % 17 + half.half
    time_s = start + 30.0 * np.arange(6)
    action = (np.arange(6) + half.half) % 2
    return Events(half=half, time_s=time_s, action=action, visible=np.ones(6, dtype=np.bool_))


def write_store(
    path: Path,
    splits: dict[str, tuple[str, ...]],
    labelled: Iterable[str] | None = None,
    *,
    leak: bool = False,
) -> EmbeddingStore:
    """A packed season of labels and a narrow stream of noise; with a leak, of a label too."""
    games = [game for split in splits.values() for game in split]
    labelled = set(games if labelled is None else labelled)
    for game in games:
        folder = path / "games" / game
        folder.mkdir(parents=True)
        for half in (1, 2):
            np.save(folder / f"{half}_visual.npy", features(HalfId(game, half), leak=leak))
        if game in labelled:
            (folder / "Labels-v2.json").write_text(json.dumps(labels(game)))
    (path / "games" / "splits.json").write_text(json.dumps(splits))
    pack(path / "games", path / "store", actions=ACTIONS)
    return EmbeddingStore.open(path / "store")


def features(half: HalfId, *, leak: bool) -> np.ndarray:
    """Noise; with a leak, feature 2 is high on the rows of the corners and beside them."""
    rng = np.random.default_rng(sum(map(ord, half.game)) + half.half)
    rows = 0.1 * rng.standard_normal((NUM_ROWS, 4), dtype=np.float32)
    if leak:
        events = annotated(half)
        corner = events.time_s[events.action == ACTIONS.index("Corner")].astype(int)
        for shift in (-1, 0, 1):
            rows[corner + shift, 2] += 3
    return rows


def labels(game: str) -> dict[str, list[dict[str, str]]]:
    return {
        "annotations": [
            {
                "gameTime": f"{half} - 00:00",
                "position": str(int(1000 * time_s)),
                "label": ACTIONS[action],
            }
            for half in (1, 2)
            for events in [annotated(HalfId(game, half))]
            for time_s, action in zip(events.time_s, events.action, strict=True)
        ]
    }


def model(
    run: Path,
    store: EmbeddingStore,
    *,
    seed: int = 0,
    right_on: Iterable[str] = (),
    quality: float = 0.5,
    fitted_games: tuple[str, ...] = ("train 0",),
    splits: Iterable[str] = ("valid", "test"),
    **record_changes: Any,
) -> Path:
    """A run folder with stored probabilities: the truth in some games, elsewhere partly noise."""
    record = RunRecord(
        name=run.name,
        version="0",
        created=CREATED,
        config=Config(),
        store=str(store.path),
        store_checksum=store.checksum,
        streams={"visual": 4},
        actions=ACTIONS,
        rate_hz=1.0,
        fitted_games=fitted_games,
        **record_changes,
    )
    write_run(run, record)
    right = set(right_on)
    for split in splits:
        rng = np.random.default_rng(seed)
        halves = []
        for half in store.halves_of(store.games(split)):
            values = 0.3 * rng.random((NUM_ROWS, 2), dtype=np.float32)
            events = annotated(half)
            seen = rng.random(len(events.time_s)) < (1 if half.game in right else quality)
            values[events.time_s[seen].astype(int), events.action[seen]] = 0.9
            halves.append(Probabilities(half=half, values=values))
        store_predictions(run, record, split, halves)
    return run
