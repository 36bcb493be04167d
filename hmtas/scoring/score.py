"""The score of some spots, and that of a run, which lies in RUN/scores/SPLIT.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hmtas.config import SpottingConfig
from hmtas.files import write_json
from hmtas.metric.averages import TOLERANCES_S, Metric, score
from hmtas.metric.counts import histograms
from hmtas.records import Events, HalfId, Score, Spots
from hmtas.runs.record import score_path
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import bootstrap_interval
from hmtas.validation import Frozen, read_record


class MetricScore(Frozen):
    """Average-mAP over one set of tolerances, by the official evaluator's rules."""

    average_map: float
    visible: float | None  # over events that the broadcast shows; None if there are none
    unshown: float | None  # over the others, scaled as the evaluator does (`hmtas.records.Score`)
    per_action: dict[str, float | None]  # None for an action without events
    per_tolerance: dict[str, float]  # by the full width in seconds
    interval: tuple[float, float] | None  # 95 % over games; None of one game, or if none was asked

    @classmethod
    def of(
        cls, found: Score, actions: Sequence[str], interval: tuple[float, float] | None
    ) -> "MetricScore":
        """Name what the metric found; where it had no event to look for, it found nothing."""
        per_action = [None if np.isnan(value) else float(value) for value in found.per_action]
        no_visible = np.isnan(found.per_action_visible).all()
        no_unshown = np.isnan(found.per_action_unshown).all()
        widths = [f"{width:g}" for width in found.tolerances_s]
        return cls(
            average_map=found.average_map,
            visible=None if no_visible else found.visible,
            unshown=None if no_unshown else found.unshown,
            per_action=dict(zip(actions, per_action, strict=True)),
            per_tolerance=dict(zip(widths, found.per_tolerance.tolist(), strict=True)),
            interval=interval,
        )


class SpotsScore(Frozen):
    """Everything the metric says of some spots."""

    tight: MetricScore
    loose: MetricScore
    num_games: int
    num_events: dict[str, int]  # by action

    def by(self, metric: Metric) -> MetricScore:
        """One of the two."""
        return self.tight if metric == "tight" else self.loose


class RunScore(SpotsScore):
    """The score of a run: RUN/scores/SPLIT.json."""

    split: str
    spotting: SpottingConfig  # windows for other splits, where those of each fold were used here
    cross_fitted: bool  # were weights or windows fitted on these games, each game left out in turn?


def count_games(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    metric: Metric,
) -> GameCounts:
    """What a metric counts in each game."""
    return GameCounts.of(histograms(spots, events, TOLERANCES_S[metric], len(actions)))


def score_spots(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> SpotsScore:
    """Score every half; 0 resamples of the games (`bootstrap`) give no intervals."""
    scores: dict[Metric, MetricScore] = {}
    for metric, tolerances_s in TOLERANCES_S.items():
        counts = histograms(spots, events, tolerances_s, len(actions))
        found = score(counts)
        interval = None
        if bootstrap and found.num_games > 1:
            interval = bootstrap_interval(GameCounts.of(counts), bootstrap, seed)
        scores[metric] = MetricScore.of(found, actions, interval)
    return SpotsScore(
        **scores,
        num_games=found.num_games,
        num_events=dict(zip(actions, found.num_events.tolist(), strict=True)),
    )


def write_score(run: Path, found: RunScore) -> None:
    """Keep the score of a run in its folder."""
    write_json(score_path(run, found.split), found.model_dump(mode="json"))


def read_score(path: Path) -> RunScore:
    """Read the score of a run.

    Raises:
        InputError: If the file is missing or malformed.
    """
    return read_record(path, RunScore)
