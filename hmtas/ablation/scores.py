"""Score the runs of an ablation, and count what they were trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.metric.averages import TOLERANCES_S, Metric
from hmtas.model.windows import window_targets
from hmtas.records import Events, HalfId
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import WINDOWS, RunRecord, predictions_path, read_run, score_path
from hmtas.scoring.games import refuse_seen
from hmtas.scoring.run import Spotted, spot_stored, windows_of
from hmtas.scoring.score import RunScore, read_score, score_spots, write_score
from hmtas.statistics.games import GameCounts
from hmtas.store.local import EmbeddingStore

BACKGROUND = "background"


class ScoredRun(NamedTuple):
    """One run on the games of the split."""

    run: Path  # its folder
    record: RunRecord
    counts: dict[Metric, GameCounts]
    score: RunScore  # as it lies in the folder


def score_run(run: Path, store: EmbeddingStore, split: str, *, fitted: bool) -> ScoredRun:
    """Score a run on a split by its stored probabilities, and keep the score in its folder.

    `fitted` takes the windows that `hmtas tune windows` left in the folder, not those configured.

    Raises:
        InputError: If there are no probabilities or no windows, or the run saw these games.
    """
    record = read_run(run)
    games = store.games(split)
    refuse_seen(
        str(run),
        games,
        (*record.fitted_games, *record.stopped_games),
        did="was fitted or stopped on",
        advice="score another split, or keep to train.stop_games=held_out",
    )
    if fitted and not (run / WINDOWS).is_file():
        raise InputError(
            f"{run}: has no fitted windows; run `hmtas predict` and `hmtas tune windows` "
            "with --split valid on all runs first"
        )
    windows = windows_of(run) if fitted else record.config.spotting
    found = spot_stored(read_probabilities(predictions_path(run, split)), windows)
    events = store.events_of(games)
    counts = {metric: found.counts(events, metric) for metric in TOLERANCES_S}
    return ScoredRun(run, record, counts, _kept_score(run, found, events))


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


def _kept_score(run: Path, found: Spotted, events: Mapping[HalfId, Events]) -> RunScore:
    """The score as `hmtas score` writes it; one that is there and still right stays."""
    assert found.split is not None
    path = score_path(run, found.split)
    made_of = [predictions_path(run, found.split), run / WINDOWS]
    newest = max(file.stat().st_mtime for file in made_of if file.is_file())
    if path.is_file() and path.stat().st_mtime > newest:
        kept = read_score(path)
        if (kept.spotting, kept.cross_fitted) == (found.spotting, found.cross_fitted):
            return kept
    score = found.run_score(score_spots(found.spots, events, found.actions))
    write_score(run, score)
    return score
