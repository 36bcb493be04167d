"""From the stored probabilities of a run to its spots, what the metric counts of them, its score.

There are three kinds of windows to suppress with: those of the run's configuration; those that
`hmtas tune windows` left in its folder, which take their place; and, for models that were trained
with `stop_windows="fitted"`, those that the other games of the split choose.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hmtas.config import Config, SpottingConfig
from hmtas.errors import InputError
from hmtas.metric.averages import TOLERANCES_S, Metric
from hmtas.metric.chosen import ChosenMetric
from hmtas.records import Events, HalfId, Probabilities, Spots
from hmtas.runs.probabilities import Provenance, StoredProbabilities, read_probabilities
from hmtas.runs.record import WINDOWS, predict_line, predictions_path, read_run
from hmtas.scoring.score import RunScore, SpotsScore, by_game, count_chosen, count_games
from hmtas.spotting.spots import FittedWindows, read_windows, spot, spot_fitted
from hmtas.spotting.windows import spot_unseen
from hmtas.statistics.games import Counts, GameCounts
from hmtas.store.local import EmbeddingStore


@dataclass(frozen=True, kw_only=True, eq=False)
class Spotted:
    """Spots, and how they were made; a submission does not say."""

    spots: dict[HalfId, Spots]
    actions: tuple[str, ...]  # names, in the order of the indices
    provenance: Provenance | None = None  # of the probabilities
    spotting: SpottingConfig | None = None  # windows and threshold
    cross_fitted: bool = False  # as in `RunScore`
    by_team: bool = False  # is the first word of an action the team?
    notes: tuple[str, ...] = ()  # what contradicts itself in them or in their labels, in words

    @property
    def split(self) -> str | None:
        """The split of the store that the probabilities cover."""
        return None if self.provenance is None else self.provenance.split

    @property
    def games(self) -> list[str]:
        """The games that have spots, sorted."""
        return sorted({half.game for half in self.spots})

    def only(self, games: Collection[str]) -> "Spotted":
        """The spots of some games."""
        return replace(self, spots={h: spots for h, spots in self.spots.items() if h.game in games})

    def counts(self, events: Mapping[HalfId, Events], metric: Metric = "tight") -> GameCounts:
        """What a metric counts of them, by game."""
        return count_games(self.spots, events, self.actions, metric)

    def chosen_counts(self, events: Mapping[HalfId, Events], chosen: ChosenMetric | None) -> Counts:
        """What a chosen metric counts of them, by game; without one, what tight does."""
        if chosen is None:
            return self.counts(events)
        return by_game(count_chosen(self.spots, events, self.actions, chosen))

    def run_score(self, score: SpotsScore) -> RunScore:
        """Their score, with how they were made of a run's probabilities."""
        assert self.split is not None
        assert self.spotting is not None
        return RunScore(
            **dict(score), split=self.split, spotting=self.spotting, cross_fitted=self.cross_fitted
        )


def windows_of(run: Path) -> SpottingConfig | FittedWindows:
    """The windows that `hmtas tune windows` left in a run folder, or those of its configuration."""
    if (run / WINDOWS).is_file():
        return read_windows(run / WINDOWS)
    return read_run(run).config.spotting


def spot_stored(stored: StoredProbabilities, windows: SpottingConfig | FittedWindows) -> Spotted:
    """Suppress stored probabilities, no game with windows that were fitted on it.

    Raises:
        InputError: If the windows were fitted on this split, and a game is in none of their folds.
    """
    provenance = stored.provenance
    actions, split = provenance.actions, provenance.split
    if isinstance(windows, FittedWindows):
        spots = spot_fitted(stored.halves, actions, windows, split)
        spotting, fitted_here = windows.spotting(), windows.split == split
    else:
        spots = spot(stored.halves, actions, windows)
        spotting, fitted_here = windows, False
    return Spotted(
        spots=spots,
        actions=actions,
        provenance=provenance,
        spotting=spotting,
        cross_fitted=provenance.cross_fitted or fitted_here,
    )


def spot_as_trained(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    config: Config,
    metric: Metric,
) -> dict[HalfId, Spots]:
    """Suppress as a model in training is: with configured windows, or those other games choose.

    Those maximise `metric`.
    """
    if config.train.stop_windows == "config" or len({half.game for half in halves}) < 2:
        return spot(halves, actions, config.spotting)  # one game has no others
    return spot_unseen(
        halves,
        events,
        actions,
        threshold=config.spotting.threshold,
        tolerances_s=TOLERANCES_S[metric],
    )


def count_run(run: Path, store: EmbeddingStore, split: str, metric: Metric) -> GameCounts:
    """What a metric counts of a run's split, suppressed as it was in training.

    Raises:
        InputError: If the split was predicted on another store.
    """
    stored = read_probabilities(predictions_path(run, split))
    if stored.provenance.store_checksum != store.checksum:
        raise InputError(
            f"{run}: its split {split!r} was predicted on another store than {store.place}, which "
            f"it is compared on; run {predict_line(run, split)} again"
        )
    events = store.events_of(store.games(split))
    config = read_run(run).config
    spots = spot_as_trained(stored.halves, events, store.actions, config, metric)
    return count_games(spots, events, store.actions, metric)
