"""The results of an ablation: from its scored runs to what its tables and pictures show.

Every run is scored on the same games, and all are resampled together. A variant is the mean over
its seeds, in the score and in every resample; what is compared are those means. So an interval
says how sure a number is over games, for the models that were trained; what another seed would
change is not in it, and is shown beside it where there are several seeds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from hmtas.ablation.scores import ScoredRun
from hmtas.ablation.variants import Planned, Study, rows_of, title_of
from hmtas.metric.averages import TOLERANCES_S, Metric
from hmtas.presets import PRESETS, THESIS_PER_ACTION
from hmtas.runs.record import RunRecord
from hmtas.statistics.intervals import Resampled
from hmtas.statistics.seeds import Candidates, resample_candidates
from hmtas.statistics.verdicts import Comparison, compare_to
from hmtas.validation import Frozen


class Curve(Frozen):
    """The loss of one training by epoch."""

    train: tuple[float, ...]
    validation: tuple[float | None, ...]
    best_epoch: int | None

    @classmethod
    def of(cls, record: RunRecord) -> "Curve":
        """The curve of a run."""
        return cls(
            train=tuple(epoch.train_loss for epoch in record.history),
            validation=tuple(epoch.val_loss for epoch in record.history),
            best_epoch=record.best_epoch,
        )


class MeanScore(Frozen):
    """The mean over the seeds of a variant, with its 95 % interval over games."""

    mean: float
    interval: tuple[float, float]
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Difference(Comparison):
    """A variant minus another, both as means over their seeds."""

    by_seed: tuple[float, ...]

    @property
    def seeds_differ(self) -> bool:
        """Is there a verdict, and a seed that speaks against it?"""
        return self.verdict != "cannot tell" and min(self.by_seed) <= 0 <= max(self.by_seed)


class Step(Frozen):
    """A variant against another one."""

    name: str  # of the other one
    thesis: float | None  # what the thesis found for the same step, tight
    tight: Difference
    loose: Difference


class VariantResult(Frozen):
    """A variant in a study; tuples have an entry for each seed."""

    name: str
    title: str
    same_as: str | None  # name of the variant that was trained in its place, and why
    why_same: str | None
    runs: tuple[str, ...]  # folders
    num_parameters: int | None
    best_epochs: tuple[int | None, ...]
    num_epochs: tuple[int, ...]
    train_seconds: tuple[float, ...]
    tight: MeanScore
    loose: MeanScore
    thesis_tight: float | None
    per_action: dict[str, float | None]  # tight; None for an action without events
    stream_losses: dict[str, float]  # validation loss of each stream's own head, at the best epoch
    curves: tuple[Curve, ...]
    against: Step | None  # the variant before, or the reference


class StudyResult(Frozen):
    """The variants of a study, in the order of its tables."""

    name: str
    title: str
    reference: str | None  # what all are compared with; None for the ladder, where each is a step
    num_comparisons: int
    rows: tuple[VariantResult, ...]

    @property
    def trained(self) -> list[VariantResult]:
        """The variants that were trained themselves."""
        return [row for row in self.rows if row.same_as is None]


class Positives(Frozen):
    """How many training windows are positive for each action, and for the background."""

    seq_len: int
    num_windows: int
    counts: dict[str, int]


class AblationResult(Frozen):
    """What `hmtas ablate` found; scores and differences are shares of 1."""

    store: str
    split: str
    num_games: int
    seeds: tuple[int, ...]
    windows: str  # "config" or "fitted"
    cross_fitted: bool
    level: float
    num_events: dict[str, int]
    positives: Positives
    studies: tuple[StudyResult, ...]


def resample_variants(
    scored: Mapping[str, Sequence[ScoredRun]],
    *,
    num: int = 1000,
    on_run: Callable[[], None] = lambda: None,
) -> dict[Metric, Candidates]:
    """Resample all runs with the same games and average each trained variant's seeds."""
    return {
        metric: resample_candidates(
            [[run.counts[metric] for run in runs] for runs in scored.values()],
            num,
            seed_noise=False,
            on_training=on_run,
        )
        for metric in TOLERANCES_S
    }


def compare_pairs(resampled: Resampled, pairs: Sequence[tuple[int, int]]) -> list[Comparison]:
    """Compare the first of each pair with the second; the intervals hold together at 95 %.

    A difference is compared with zero, as a model with a reference (hmtas.statistics.verdicts).
    """
    first, second = (list(part) for part in zip(*pairs, strict=True))
    zero = np.zeros((len(resampled.resamples), 1))
    differences = Resampled(
        num_games=resampled.num_games,
        scores=np.concatenate([[0.0], resampled.scores[first] - resampled.scores[second]]),
        resamples=np.hstack([zero, resampled.resamples[:, first] - resampled.resamples[:, second]]),
    )
    compared = compare_to(differences, 0, picked=False)
    return [compared[index + 1] for index in range(len(pairs))]


def study_result(
    study: Study,
    planned: Mapping[str, Planned],
    scored: Mapping[str, Sequence[ScoredRun]],
    resampled: Mapping[Metric, Candidates],
) -> StudyResult:
    """Put together what the tables of a study show."""
    shown = rows_of(study, planned)
    column_of = {name: column for column, name in enumerate(scored)}
    columns = [column_of[plan.same_as] for plan in shown]
    pairs = {}  # row to the row it is compared with; a variant is not compared with itself
    for row in range(1, len(shown)):
        other = row - 1 if study.is_ladder else 0
        if columns[row] != columns[other]:
            pairs[row] = other
    compared = [(columns[row], columns[other]) for row, other in pairs.items()]
    differences = {m: _differences(found, compared) for m, found in resampled.items()}
    rows: list[VariantResult] = []
    for row, plan in enumerate(shown):
        runs = scored[plan.same_as]
        losses = [best.val_stream_losses for run in runs if (best := run.record.best) is not None]
        thesis, against = _thesis_tight(study, plan, runs[0].record.actions), None
        if row in pairs:
            before, place = rows[pairs[row]], list(pairs).index(row)
            against = Step(
                name=before.name,
                thesis=None
                if thesis is None or before.thesis_tight is None
                else thesis - before.thesis_tight,
                tight=differences["tight"][place],
                loose=differences["loose"][place],
            )
        rows.append(
            VariantResult(
                name=plan.variant.name,
                title=title_of(study, plan),
                same_as=None if plan.is_trained else plan.same_as,
                why_same=plan.why_same or None,
                runs=tuple(str(run.run) for run in runs),
                num_parameters=runs[0].record.num_parameters,
                best_epochs=tuple(run.record.best_epoch for run in runs),
                num_epochs=tuple(len(run.record.history) for run in runs),
                train_seconds=tuple(sum(e.seconds for e in run.record.history) for run in runs),
                tight=_mean(resampled["tight"], columns[row]),
                loose=_mean(resampled["loose"], columns[row]),
                thesis_tight=thesis,
                per_action={
                    action: _average([run.score.tight.per_action[action] for run in runs])
                    for action in runs[0].score.num_events
                },
                stream_losses={
                    stream: float(np.mean([of_run[stream] for of_run in losses]))
                    for stream in losses[0]
                },
                curves=tuple(Curve.of(run.record) for run in runs),
                against=against,
            )
        )
    return StudyResult(
        name=study.name,
        title=study.title,
        reference=study.reference,
        num_comparisons=len(pairs),
        rows=tuple(rows),
    )


def _thesis_tight(study: Study, plan: Planned, actions: Collection[str]) -> float | None:
    """The thesis's number, where the variant is one of its ladder and the actions are its own."""
    is_rung = study.is_ladder or plan.variant.name == study.reference
    percent = PRESETS[plan.variant.preset].thesis_tight
    if percent is None or not is_rung or not set(actions) <= set(THESIS_PER_ACTION):
        return None
    return percent / 100


def _mean(resampled: Candidates, column: int) -> MeanScore:
    return MeanScore(
        mean=float(resampled.means.scores[column]),
        interval=resampled.means.interval(column),
        by_seed=resampled.trainings[column],
    )


def _differences(resampled: Candidates, pairs: Sequence[tuple[int, int]]) -> list[Difference]:
    """The first of each pair minus the second."""
    if not pairs:
        return []
    by_seed = [
        tuple(a - b for a, b in zip(*(resampled.trainings[c] for c in pair), strict=True))
        for pair in pairs
    ]
    compared = compare_pairs(resampled.means, pairs)
    return [
        Difference(**asdict(one), by_seed=seeds)
        for one, seeds in zip(compared, by_seed, strict=True)
    ]


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
