"""The score of some spots, and that of a run, which lies in RUN/scores/SPLIT.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from hmtas.config import SpottingConfig
from hmtas.files import write_json
from hmtas.metric.averages import TOLERANCES_S, Metric, score
from hmtas.metric.chosen import ChosenMetric
from hmtas.metric.counts import Histograms, histograms
from hmtas.metric.frames import FrameCounts, count_frames, frame_maps, frame_precisions
from hmtas.metric.teams import team_map
from hmtas.records import Events, HalfId, Score, Spots
from hmtas.runs.record import score_path
from hmtas.statistics.games import Counts, GameCounts
from hmtas.statistics.intervals import bootstrap_interval
from hmtas.validation import Frozen, read_record

Ends = tuple[float, float]


class MetricScore(Frozen):
    """Average-mAP over one set of tolerances, by the official evaluator's rules."""

    average_map: float
    visible: float | None  # over events that the broadcast shows; None if there are none
    unshown: float | None  # over the others, scaled as the evaluator does (`hmtas.records.Score`)
    per_action: dict[str, float | None]  # None for an action without events
    per_tolerance: dict[str, float]  # by the full width in seconds
    interval: Ends | None  # 95 % over games; None of one game, or if none was asked
    # Of actions of two teams (hmtas.metric.teams); left out of the file where nobody asked.
    team_map: float | None = Field(default=None, exclude_if=lambda value: value is None)

    @classmethod
    def of(
        cls,
        found: Score,
        actions: Sequence[str],
        interval: Ends | None,
        pairs: np.ndarray | None = None,
    ) -> "MetricScore":
        """Name what the metric found; where it had no event to look for, it found nothing."""
        no_visible = np.isnan(found.per_action_visible).all()
        no_unshown = np.isnan(found.per_action_unshown).all()
        widths = [f"{width:g}" for width in found.tolerances_s]
        return cls(
            average_map=found.average_map,
            visible=None if no_visible else found.visible,
            unshown=None if no_unshown else found.unshown,
            per_action=_named(found.per_action, actions),
            per_tolerance=dict(zip(widths, found.per_tolerance.tolist(), strict=True)),
            interval=interval,
            team_map=_team_map(found.per_action, found.num_events, pairs),
        )

    @classmethod
    def of_frames(
        cls,
        counts: FrameCounts,
        actions: Sequence[str],
        interval: Ends | None,
        pairs: np.ndarray | None = None,
    ) -> "MetricScore":
        """Precision by frames, which asks nothing about visibility."""
        all_games = np.ones((1, len(counts.games)))
        precision_DA = frame_precisions(counts, all_games)[0]
        per_action = precision_DA.mean(axis=0)
        num_present = max(int((~np.isnan(per_action)).sum()), 1)
        reaches = [f"{reach}" for reach in counts.tolerances]
        per_tolerance = np.nansum(precision_DA, axis=1) / num_present
        return cls(
            average_map=float(frame_maps(counts, all_games)[0]),
            visible=None,
            unshown=None,
            per_action=_named(per_action, actions),
            per_tolerance=dict(zip(reaches, per_tolerance.tolist(), strict=True)),
            interval=interval,
            team_map=_team_map(per_action, counts.num_events.sum(axis=0), pairs),
        )


class ChosenScore(MetricScore):
    """By a metric that was asked for beside tight and loose."""

    metric: ChosenMetric


class SpotsScore(Frozen):
    """Everything the metric says of some spots."""

    tight: MetricScore
    loose: MetricScore
    num_games: int
    num_events: dict[str, int]  # by action
    # Left out of the file where nobody asked for another metric.
    chosen: ChosenScore | None = Field(default=None, exclude_if=lambda value: value is None)

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


def count_chosen(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    chosen: ChosenMetric,
) -> Histograms | FrameCounts:
    """What a chosen metric counts."""
    if chosen.unit == "seconds":
        tolerances_s, grid_hz = chosen.grid
        return histograms(spots, events, tolerances_s, len(actions), grid_hz)
    reaches = [int(reach) for reach in chosen.tolerances]
    return count_frames(spots, events, reaches, len(actions), chosen.rate_hz)


def score_spots(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    chosen: ChosenMetric | None = None,
    pairs: np.ndarray | None = None,
) -> SpotsScore:
    """Score every half.

    Args:
        spots: By half.
        events: By half.
        actions: Names of the actions.
        bootstrap: Resamples of the games behind the intervals; 0 gives none.
        seed: Seed of the resamples.
        chosen: A metric beside tight and loose.
        pairs: Which actions are those of two teams (`hmtas.metric.teams.team_pairs`).
    """

    def score_counts(counts: Histograms | FrameCounts) -> MetricScore:
        interval = None
        if bootstrap and len(counts.games) > 1:
            interval = bootstrap_interval(by_game(counts), bootstrap, seed)
        if isinstance(counts, FrameCounts):
            return MetricScore.of_frames(counts, actions, interval, pairs)
        return MetricScore.of(score(counts), actions, interval, pairs)

    counted = {
        metric: histograms(spots, events, tolerances_s, len(actions))
        for metric, tolerances_s in TOLERANCES_S.items()
    }
    extra = None
    if chosen is not None:
        found = score_counts(count_chosen(spots, events, actions, chosen))
        extra = ChosenScore(**dict(found), metric=chosen)
    num_events = counted["tight"].num_events.sum(axis=(0, 2))
    return SpotsScore(
        tight=score_counts(counted["tight"]),
        loose=score_counts(counted["loose"]),
        chosen=extra,
        num_games=len(counted["tight"].games),
        num_events=dict(zip(actions, num_events.tolist(), strict=True)),
    )


def by_game(counts: Histograms | FrameCounts) -> Counts:
    """What is resampled: the counts of each game."""
    return counts if isinstance(counts, FrameCounts) else GameCounts.of(counts)


def _named(per_action: np.ndarray, actions: Sequence[str]) -> dict[str, float | None]:
    values = [None if np.isnan(value) else float(value) for value in per_action]
    return dict(zip(actions, values, strict=True))


def _team_map(
    per_action: np.ndarray, num_events: np.ndarray, pairs: np.ndarray | None
) -> float | None:
    return None if pairs is None else team_map(per_action, num_events, pairs)


def write_score(run: Path, found: RunScore) -> None:
    """Keep the score of a run in its folder."""
    write_json(score_path(run, found.split), found.model_dump(mode="json"))


def read_score(path: Path) -> RunScore:
    """Read the score of a run.

    Raises:
        InputError: If the file is missing or malformed.
    """
    return read_record(path, RunScore)
