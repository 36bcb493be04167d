"""Score a run folder by its stored probabilities."""

from pathlib import Path
from typing import Literal

from hmtas.evaluate import spot
from hmtas.game_counts import GameCounts
from hmtas.histograms import histograms
from hmtas.metrics import LOOSE_S, TIGHT_S
from hmtas.nms_windows import spot_unseen
from hmtas.probabilities import read_probabilities
from hmtas.remote import open_store
from hmtas.runs import predictions_path, read_run


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
