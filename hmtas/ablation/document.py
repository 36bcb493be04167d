"""From the scored runs of an ablation to what its tables and pictures show, as JSON.

Every run is scored on the same games, and all are resampled together. A variant is the mean over
its seeds, in the score and in every resample; what is compared are those means. So an interval
says how sure a number is over games, for the models that were trained; what another seed would
change is not in it, and is shown beside it where there are several seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from hmtas.ablation.scores import ScoredRun
from hmtas.ablation.variants import REFERENCE, Planned, Study, rows_of, title_of
from hmtas.metric.averages import TOLERANCES_S, Metric
from hmtas.presets import PRESETS
from hmtas.runs.record import EpochRecord, RunRecord
from hmtas.statistics.intervals import Resampled, resample
from hmtas.statistics.seeds import average_seeds
from hmtas.statistics.verdicts import Comparison, compare_to


class Means(NamedTuple):
    """Variants as the means over their seeds.

    Attributes:
        column_of: Name of the variant to its column.
        averaged: By kind, a column for each variant.
        by_seed: By kind, the scores of each variant's runs.
    """

    column_of: dict[str, int]
    averaged: dict[Metric, Resampled]
    by_seed: dict[Metric, list[list[float]]]


def compare_pairs(resampled: Resampled, pairs: Sequence[tuple[int, int]]) -> list[Comparison]:
    """Compare the first of each pair with the second; the intervals hold together at 95 %.

    A difference is compared with nought, as a model with a reference (hmtas.statistics.verdicts).
    """
    first, second = (list(part) for part in zip(*pairs, strict=True))
    nought = np.zeros((len(resampled.resamples), 1))
    differences = Resampled(
        num_games=resampled.num_games,
        scores=np.concatenate([[0.0], resampled.scores[first] - resampled.scores[second]]),
        resamples=np.hstack(
            [nought, resampled.resamples[:, first] - resampled.resamples[:, second]]
        ),
    )
    compared = compare_to(differences, 0, picked=False)
    return [compared[index + 1] for index in range(len(pairs))]


def means_of(
    scored: Mapping[str, Sequence[ScoredRun]],
    *,
    num: int = 1000,
    seed: int = 0,
    on_run: Callable[[], None] = lambda: None,
) -> Means:
    """Resample all runs with the same games and average each variant's seeds.

    Args:
        scored: Runs of each trained variant, in the order of their seeds.
        num: Resamples.
        seed: Of the resamples.
        on_run: Called twice for each run.
    """
    runs = [run for of_variant in scored.values() for run in of_variant]
    ends = np.cumsum([len(of_variant) for of_variant in scored.values()])
    groups = [range(end - len(r), end) for end, r in zip(ends, scored.values(), strict=True)]
    averaged, by_seed = {}, {}
    for kind in TOLERANCES_S:
        each = resample([run.counts[kind] for run in runs], num, seed, on_model=on_run)
        averaged[kind] = average_seeds(each, groups)
        by_seed[kind] = [each.scores[list(group)].tolist() for group in groups]
    return Means({name: i for i, name in enumerate(scored)}, averaged, by_seed)


def study_document(
    study: Study,
    planned: Mapping[str, Planned],
    scored: Mapping[str, Sequence[ScoredRun]],
    means: Means,
) -> dict[str, Any]:
    """Everything the tables of a study show; scores and differences are shares of 1.

    Args:
        study: Which variants, and which against which.
        planned: Every variant by name.
        scored: Runs of each trained variant.
        means: Of the same variants.

    Returns:
        Of JSON types: `name`, `title`, `reference` (None for the ladder), `num_comparisons` and
        `rows`, each with its scores and, in `against`, its differences.
    """
    shown = rows_of(study, planned)
    rows = [_row(study, plan, scored[plan.same_as], means) for plan in shown]
    pairs = {}  # row to the row it is compared with; a variant is not compared with itself
    for i in range(1, len(shown)):
        other = i - 1 if study.is_ladder else 0
        if shown[i].same_as != shown[other].same_as:
            pairs[i] = other
    if pairs:
        _add_comparisons(rows, pairs, shown, means)
    return {
        "name": study.name,
        "title": study.title,
        "reference": None if study.is_ladder else REFERENCE,
        "num_comparisons": len(pairs),
        "rows": rows,
    }


def best_of(record: RunRecord) -> EpochRecord:
    """The epoch whose weights a run kept."""
    return next(entry for entry in record.history if entry.epoch == record.best_epoch)


def _row(study: Study, plan: Planned, runs: Sequence[ScoredRun], means: Means) -> dict[str, Any]:
    column = means.column_of[plan.same_as]
    per_action = [run.score.tight.per_action for run in runs]
    losses = [best_of(run.record).val_stream_losses for run in runs]
    is_rung = study.is_ladder or plan.variant.name == REFERENCE
    thesis = PRESETS[plan.variant.preset].thesis_tight if is_rung else None
    return {
        "name": plan.variant.name,
        "title": title_of(study, plan),
        "same_as": None if plan.is_trained else plan.same_as,
        "why_same": plan.why_same or None,
        "runs": [str(run.run) for run in runs],
        "num_parameters": runs[0].record.num_parameters,
        "best_epochs": [run.record.best_epoch for run in runs],
        "num_epochs": [len(run.record.history) for run in runs],
        "train_seconds": [sum(e.seconds for e in run.record.history) for run in runs],
        **{kind: _mean(means, kind, column) for kind in TOLERANCES_S},
        "thesis_tight": None if thesis is None else thesis / 100,
        "per_action": {
            action: None if value is None else _average([seed[action] for seed in per_action])
            for action, value in per_action[0].items()
        },
        "stream_losses": {
            stream: _average([seed[stream] for seed in losses]) for stream in losses[0]
        },
        "curves": [
            {
                "train": [entry.train_loss for entry in run.record.history],
                "validation": [entry.val_loss for entry in run.record.history],
                "best_epoch": run.record.best_epoch,
            }
            for run in runs
        ],
        "against": None,
    }


def _mean(means: Means, kind: Metric, column: int) -> dict[str, Any]:
    averaged = means.averaged[kind]
    return {
        "mean": float(averaged.scores[column]),
        "interval": list(averaged.interval(column)),
        "by_seed": means.by_seed[kind][column],
    }


def _add_comparisons(
    rows: list[dict[str, Any]],
    pairs: Mapping[int, int],
    shown: Sequence[Planned],
    means: Means,
) -> None:
    """Fill `against`: the paired differences, tight and loose."""
    columns = [means.column_of[plan.same_as] for plan in shown]
    for i, other in pairs.items():
        rows[i]["against"] = {
            "name": rows[other]["name"],
            "thesis": _thesis_step(rows[i], rows[other]),
        }
    for kind in TOLERANCES_S:
        compared = compare_pairs(
            means.averaged[kind], [(columns[i], columns[other]) for i, other in pairs.items()]
        )
        for (i, other), found in zip(pairs.items(), compared, strict=True):
            by_seed = [
                mine - its
                for mine, its in zip(
                    means.by_seed[kind][columns[i]],
                    means.by_seed[kind][columns[other]],
                    strict=True,
                )
            ]
            rows[i]["against"][kind] = {**asdict(found), "by_seed": by_seed}


def _thesis_step(row: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """What the thesis found for the same step."""
    if row["thesis_tight"] is None or other["thesis_tight"] is None:
        return None
    return float(row["thesis_tight"] - other["thesis_tight"])


def _average(values: Sequence[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))
