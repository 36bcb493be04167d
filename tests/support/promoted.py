"""What the tests of promotion share: a season with real models, and ensembles of them."""

import shutil
from pathlib import Path

import numpy as np

from ensemble.build.build import apply_ensemble, fit_ensembles
from ensemble.build.plan import plan_fit
from ensemble.greedy.select import GreedyConfig
from ensemble.learned.network import FusionConfig
from hmtas.files import read_json, write_json
from hmtas.packing.pack import pack
from hmtas.prediction.slide import predict_run
from hmtas.runs.probabilities import Provenance, read_probabilities, write_probabilities
from hmtas.runs.record import RECORD, predictions_path
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.small import make_config
from tests.support.swept import predict as pretend

QUICK = FusionConfig(epochs=1, feedforward=8, num_layers=1, held_out_share=0.0)


def train(store: EmbeddingStore, run: Path, **settings: object) -> Path:
    """A model of one epoch that stops on train games, with its probabilities of valid and test."""
    usual = {"max_epochs": 1, "stop_games": "held_out", "width": 8}
    fit(store, make_config(**{**usual, **settings}), run, name=run.name)
    for split in ("valid", "test"):
        predict_run(run, store, split)
    return run


def at_twice_the_rate(games: Path, store: EmbeddingStore, target: Path) -> EmbeddingStore:
    """The same games with rows twice a second."""
    shutil.copytree(games, target / "games")
    for file in (target / "games").rglob("*.npy"):
        rows = np.load(file)
        np.save(file, np.repeat(rows, 2, axis=0) + (np.arange(2 * len(rows)) % 2)[:, None] / 8)
    pack(target / "games", target / "store", rate_hz=2 * store.rate_hz)
    return EmbeddingStore.open(target / "store")


def combine(runs: list[Path], store: EmbeddingStore, out: Path, method: str = "mean") -> Path:
    """An ensemble of some runs."""
    greedy = GreedyConfig(bags=1, picks=3)
    plan = plan_fit(
        runs, "valid", methods=(method,), store=store.path, fusion=QUICK, greedy=greedy, num_folds=2
    )
    return fit_ensembles(plan, out)[method]


def skilled(
    model: Path, store: EmbeddingStore, run: Path, skill: float, method: str = "mean"
) -> Path:
    """An ensemble of one model that is said to know so much of the labels of valid games."""
    shutil.copytree(model, run)
    pretend(run, store, skill)
    return combine([run], store, run.parent / f"{run.name}-ensemble", method)


def set_weights(ensemble: Path, weights: list[float]) -> None:
    """Give the members other weights, and combine the test games with them."""
    record = read_json(ensemble / RECORD)
    for member, weight in zip(record["ensemble"]["members"], weights, strict=True):
        member["weight"] = weight
    write_json(ensemble / RECORD, record)
    apply_ensemble(ensemble, "test")


def change_provenance(run: Path, split: str, **changes: object) -> None:
    """Write the probabilities of a split again, with another past."""
    path = predictions_path(run, split)
    stored = read_probabilities(path)
    past = {**stored.provenance.model_dump(), **changes}
    halves = list(stored.halves.values())
    write_probabilities(path, halves, Provenance.model_validate(past))


def streams_of(store: EmbeddingStore, game: str, half: int) -> dict[str, np.ndarray]:
    """The streams of a half as whoever serves a model has them: float32."""
    opened = store.open_half(store.halves_of([game])[half - 1])
    return {name: rows.astype(np.float32) for name, rows in opened.streams.items()}
