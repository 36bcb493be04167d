"""Runs and submissions on the same games, one against another."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from hmtas.errors import InputError
from hmtas.metric.chosen import ChosenMetric
from hmtas.scoring.inputs import AS_THEY_ARE, Reading, load
from hmtas.statistics.games import Counts, average_of, check_paired
from hmtas.statistics.intervals import LEVEL, resample
from hmtas.statistics.verdicts import MOST_GAMES, POWER, Comparison, compare_to
from hmtas.statistics.winner import corrected_winner
from hmtas.validation import Frozen

PICKED_ON = "valid"  # the split whose scores choose the best run


class PairedRun(Frozen):
    """One of some runs on the same games."""

    name: str
    run_dir: str
    tight: float  # Average-mAP
    cross_fitted: bool  # were its windows or weights fitted on these games?
    against_reference: Comparison | None  # None for the reference itself
    # Where another metric than tight is compared by.
    chosen: float | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def score(self) -> float:
        """By the metric of the comparison."""
        return self.tight if self.chosen is None else self.chosen


class PickedRun(Frozen):
    """The best of some runs, and its score corrected for having been picked."""

    name: str
    num_candidates: int
    tight: float
    corrected: float  # by the metric of the comparison
    chosen: float | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def score(self) -> float:
        """By the metric of the comparison."""
        return self.tight if self.chosen is None else self.chosen


class PairedComparison(Frozen):
    """Runs on the same games, in the order they were named; scores are shares of 1."""

    split: str | None  # None: all games of the spots
    num_games: int
    reference: str
    level: float = LEVEL  # of all intervals together
    power: float = POWER  # of a comparison on the games needed
    most_games: int = MOST_GAMES  # the most that it asks for
    runs: tuple[PairedRun, ...]
    winner: PickedRun | None  # where these games picked the best
    # What they are compared by; tight Average-mAP without it.
    metric: ChosenMetric | None = Field(default=None, exclude_if=lambda value: value is None)


def compare_paired(
    runs: Mapping[str, Path],
    split: str | None,
    valid_tight: Mapping[str, float],
    *,
    games: str | None = None,
    splits: Path | None = None,
    metric: ChosenMetric | None = None,
    reading: Reading = AS_THEY_ARE,
    on_step: Callable[[], None] = lambda: None,
) -> PairedComparison:
    """Compare runs on the same games by their stored probabilities, by tight or a chosen metric.

    Two runs are compared with each other, the first minus the second; more are each compared with
    the best by validation (tight), for which another split needs `valid_tight`. Runs, or folders or
    zips of spots, come by the name to show; spots need `games` and perhaps `splits` (see `load`).
    `on_step` is called twice for each run.

    Raises:
        InputError: If a run cannot be scored on these games as the others are.
    """
    names = list(runs)
    counts: list[Counts] = []
    tight, cross_fitted = [], []
    for path in runs.values():
        found, events = load(path, games=games, split=split, splits=splits, reading=reading)
        counts.append(found.chosen_counts(events, metric))
        tight.append(average_of(found.counts(events)))
        cross_fitted.append(found.cross_fitted)
        on_step()
    check_paired(counts, [str(path) for path in runs.values()])
    resampled = resample(counts, on_model=on_step)
    picked = split in (PICKED_ON, None)
    if len(names) == 2:
        reference = 1
    elif picked:
        reference = int(resampled.scores.argmax())
    else:
        reference = names.index(_best(valid_tight, names))
    compared = compare_to(resampled, reference, picked=picked)
    winner = corrected_winner(counts) if picked else None
    return PairedComparison(
        split=split,
        num_games=resampled.num_games,
        reference=names[reference],
        runs=tuple(
            PairedRun(
                name=name,
                run_dir=str(runs[name]),
                tight=tight[m],
                cross_fitted=cross_fitted[m],
                against_reference=compared.get(m),
                chosen=None if metric is None else float(resampled.scores[m]),
            )
            for m, name in enumerate(names)
        ),
        winner=winner
        and PickedRun(
            name=names[winner.candidate],
            num_candidates=len(names),
            tight=tight[winner.candidate],
            corrected=winner.corrected,
            chosen=None if metric is None else winner.score,
        ),
        metric=metric,
    )


def _best(valid_tight: Mapping[str, float], names: Sequence[str]) -> str:
    scored = [name for name in names if name in valid_tight]
    if not scored:
        raise InputError(
            "no run has a validation score, so there is none to compare the others with; "
            "run `hmtas score RUN --split valid`, or name two runs"
        )
    return max(scored, key=lambda name: valid_tight[name])
