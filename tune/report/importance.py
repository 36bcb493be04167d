"""Which settings made the difference between the best trials and the others.

PED-ANOVA (S. Watanabe, A. Bansal and F. Hutter, PED-ANOVA, IJCAI 2023) as Optuna has it: how far
the best trials' values of a setting differ from all trials' values. Trials that were stopped early
count with the best they had reached, as they did for the sampler. A dimension that is there only
under a condition is compared where it is there.

A few trials make any setting look important. So the scores are also shuffled among the trials,
where no setting matters: what a setting shows then, in 95 % of the shuffles, is chance.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import optuna

from tune.space.dimensions import encoded, point_of
from tune.study.optuna_trials import trial_at, values_of
from tune.study.record import StudyRecord

MOST = 1000  # trials that are compared, at even distances where there are more
FEWEST = 5  # trials with a score: below that there is nothing to compare
ENOUGH = 5  # of the best, for a steady result (Optuna's advice)
SHUFFLES = 40


class Importance(NamedTuple):
    """The importance of one dimension, as a share of the sum over all of them."""

    key: str
    share: float
    chance: float  # what it stays below in 95 % of the shuffles


class Importances(NamedTuple):
    """The importances of a study's dimensions."""

    found: tuple[Importance, ...]  # the most important first
    left_out: tuple[str, ...]  # took one value, or are there in fewer than two trials
    num_trials: int  # with a score
    num_best: int  # trials that are called the best


def importances(record: StudyRecord) -> Importances:
    """The importance of every dimension, and what chance would show."""
    space, metrics = record.settings.space, record.settings.options.metrics
    scored = [(row, values) for row in record.trials if (values := values_of(row, metrics))]
    scored = scored[:: math.ceil(len(scored) / MOST) or 1]
    points = [point_of(row.settings, space) for row, _ in scored]
    taken = {key: [p[key] for p in points if key in p] for key in space.dimensions}
    keys = [key for key, values in taken.items() if len(set(values)) > 1]
    searched = [key for key, dimension in space.dimensions.items() if dimension.num_values > 1]
    left_out = tuple(key for key in searched if key not in keys)
    num = len(scored)
    num_best = math.ceil(_quantile(num) * num)
    if num < FEWEST or not keys:
        return Importances((), left_out, num, num_best)
    scores = np.array([values for _, values in scored])
    trials = [
        trial_at(encoded(point), space, values)
        for point, (_, values) in zip(points, scored, strict=True)
    ]
    names = list(encoded(dict.fromkeys(keys)))
    shown = _evaluate(trials, scores, names)
    rng = np.random.default_rng(0)
    by_chance = [_evaluate(trials, rng.permutation(scores), names) for _ in range(SHUFFLES)]
    total = sum(shown.values()) or 1.0
    found = [
        Importance(
            key,
            shown[name] / total,
            float(np.quantile([one[name] for one in by_chance], 0.95)) / total,
        )
        for key, name in zip(keys, names, strict=True)
    ]
    found.sort(key=lambda one: -one.share)
    return Importances(tuple(found), left_out, num, num_best)


def _quantile(num: int) -> float:
    """The share of the trials that are called the best: a tenth, or more of few trials."""
    return min(0.5, max(0.1, ENOUGH / max(num, 1)))


def _evaluate(
    trials: list[optuna.trial.FrozenTrial], scores: np.ndarray, names: list[str]
) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize"] * scores.shape[1])
    for trial, values in zip(trials, scores.tolist(), strict=True):
        trial.values = values
        study.add_trial(trial)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(
        target_quantile=_quantile(len(trials))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few trials; the page says so itself
        return dict(
            optuna.importance.get_param_importances(
                study, evaluator=evaluator, params=names, normalize=False
            )
        )
