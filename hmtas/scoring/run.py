"""Score a run folder by its stored probabilities."""

from pathlib import Path
from typing import Literal

from hmtas.metric.averages import LOOSE_S, TIGHT_S
from hmtas.metric.counts import histograms
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import predictions_path, read_run
from hmtas.spotting.evaluate import spot
from hmtas.spotting.windows import spot_unseen
from hmtas.statistics.games import GameCounts
from hmtas.store.remote import open_store


def count_run(run: Path, store: str, split: str, metric: Literal["tight", "loose"]) -> GameCounts:
    """What the metric counts of a run, by its stored probabilities and its own NMS windows.

    Args:
        run: Its folder.
        store: Place of the store with the labels.
        split: That it predicted.
        metric: Which tolerances.
    """
    opened = open_store(store)
    stored = read_probabilities(predictions_path(run, split))
    config = read_run(run).config
    events = opened.events_of(opened.games(split))
    tolerances_s = TIGHT_S if metric == "tight" else LOOSE_S
    if config.train.stop_windows == "fitted":
        spots = spot_unseen(
            stored.halves,
            events,
            opened.actions,
            threshold=config.spotting.threshold,
            tolerances_s=tolerances_s,
        )
    else:
        spots = spot(stored.halves, opened.actions, config.spotting)
    return GameCounts.of(histograms(spots, events, tolerances_s, len(opened.actions)))
