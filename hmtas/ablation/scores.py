"""Score the runs of an ablation, and count what they were trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.metric.averages import LOOSE_S, TIGHT_S
from hmtas.metric.counts import histograms
from hmtas.model.windows import window_targets
from hmtas.records import HalfId, Spots
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import WINDOWS, RunRecord, predictions_path, read_run, score_path
from hmtas.spotting.evaluate import read_windows, score_document, spot, spot_fitted
from hmtas.statistics.games import GameCounts
from hmtas.store.local import EmbeddingStore

KINDS = {"tight": TIGHT_S, "loose": LOOSE_S}
BACKGROUND = "background"


class ScoredRun(NamedTuple):
    """One run on the games of the split.

    Attributes:
        run: Its folder.
        record: What it is.
        counts: By kind of tolerances, "tight" and "loose".
        document: Its score (`hmtas.spotting.evaluate.score_document`).
    """

    run: Path
    record: RunRecord
    counts: dict[str, GameCounts]
    document: dict[str, Any]


def score_run(run: Path, store: EmbeddingStore, split: str, *, fitted: bool) -> ScoredRun:
    """Score a run on a split by its stored probabilities, and keep the score in its folder.

    Args:
        run: Its folder.
        store: With the labels.
        split: Split to score.
        fitted: With the windows that `hmtas tune windows` left in the folder, not with those of
            the configuration.

    Raises:
        InputError: If there are no probabilities or no windows, or the run saw these games.
    """
    record = read_run(run)
    games = store.games(split)
    seen = set(games).intersection((*record.fitted_games, *record.stopped_games))
    if seen:
        raise InputError(
            f"{run}: {len(seen)} of the {len(games)} games of {split!r} trained or stopped it; "
            "score another split, or keep to train.stop_games=held_out"
        )
    stored = read_probabilities(predictions_path(run, split)).halves
    spotting, cross_fitted = record.config.spotting, False
    if fitted:
        if not (run / WINDOWS).is_file():
            raise InputError(
                f"{run}: has no fitted windows; run `hmtas predict` and `hmtas tune windows` "
                "with --split valid on all runs first"
            )
        windows = read_windows(run / WINDOWS)
        spots = spot_fitted(stored, store.actions, windows, split)
        spotting, cross_fitted = windows.spotting(), windows.split == split
    else:
        spots = spot(stored, store.actions, spotting)
    events = store.events_of(games)
    counts = {
        kind: GameCounts.of(histograms(spots, events, tolerances_s, len(store.actions)))
        for kind, tolerances_s in KINDS.items()
    }
    about = {
        "split": split,
        "spotting": spotting.model_dump(mode="json"),
        "cross_fitted": cross_fitted,
    }
    document = _kept_score(run, store, spots, about)
    return ScoredRun(run, record, counts, document)


def count_positives(store: EmbeddingStore, games: Sequence[str], seq_len: int) -> dict[str, int]:
    """Training windows that are positive for the background and each action (Figure 5.20)."""
    total = np.zeros(len(store.actions) + 1, dtype=np.int64)
    for half in store.halves_of(games):
        targets = window_targets(
            store.events(half),
            store.halves[half].num_rows,
            seq_len,
            len(store.actions),
            store.rate_hz,
        )
        total += targets.sum(axis=0, dtype=np.int64)
    return dict(zip((BACKGROUND, *store.actions), total.tolist(), strict=True))


def _kept_score(
    run: Path, store: EmbeddingStore, spots: Mapping[HalfId, Spots], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The score as `hmtas score` writes it; one that is there and still right stays."""
    split = about["split"]
    path = score_path(run, split)
    made_of = [predictions_path(run, split), run / WINDOWS]
    newest = max(file.stat().st_mtime for file in made_of if file.is_file())
    if path.is_file() and path.stat().st_mtime > newest:
        kept: dict[str, Any] = read_json(path)
        if {name: kept.get(name) for name in about} == about:
            return kept
    events = store.events_of(store.games(split))
    document = {**score_document(spots, events, store.actions), **about}
    write_json(path, document)
    return document
