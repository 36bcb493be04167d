"""The answer of a selection as a run folder of an ensemble, and its score on the test split.

OUT/selected/   the chosen combination; with one member of weight 1 where the single model stays
OUT/single/     the single model that validation picks, in the same form
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ensemble.build.build import apply_ensemble, fold_record, write_ensemble
from ensemble.build.members import member_runs
from ensemble.build.plan import Plan
from ensemble.combiner import Combiner
from ensemble.combiners.crossfit import CrossFit, FoldFit
from ensemble.selection.nested import Nested
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.metric.averages import TIGHT_S
from hmtas.metric.counts import Histograms, histograms
from hmtas.prediction.slide import predict_run, predicted
from hmtas.records import HalfId
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import WINDOWS, predictions_path, read_run, score_path
from hmtas.spotting.evaluate import read_windows, score_document, spot_fitted
from hmtas.statistics.intervals import paired_difference
from hmtas.store.remote import open_store


def write_selected(
    plan: Plan, nested: Nested, combiner: Combiner, target: Path, *, name: str
) -> None:
    """Write a fitted combiner with its windows and cross-fitted probabilities as a run folder.

    Models without weight are no members of it. A folder of an earlier selection is replaced.

    Args:
        plan: All models of the selection.
        nested: What was fitted on them.
        combiner: What it was fitted by.
        target: Run folder to write.
        name: Of the run.

    Raises:
        InputError: If `target` holds something else.
    """
    some = replace(
        plan,
        members=tuple(plan.members[m] for m in nested.fitted.used),
        combiners={nested.method: combiner},
        folds=tuple(fold.games for fold in nested.folds),
    )
    names = plan.evidence.stacked.models
    folds = [fold_record(fold, weights_by_name(fold, names)) for fold in nested.folds]
    halves = nested.cross_fitted(plan.evidence)
    fit = CrossFit(halves, nested.fitted.of_used(), nested.folds)
    documents = {
        WINDOWS: nested.windows.model_dump(mode="json"),
        f"scores/{plan.split}.json": _score(plan, nested, halves),
    }
    write_ensemble(some, nested.method, fit, target, folds=folds, name=name, documents=documents)


def weights_by_name(fold: FoldFit, names: Sequence[str]) -> dict[str, float] | None:
    """The weights of a fold's fit, those of 0 left out; None where there are none."""
    weights = fold.fitted.weights
    if weights is None:
        return None
    return {
        name: float(weight.mean()) for name, weight in zip(names, weights, strict=True)
        if weight.any()
    }  # fmt: skip


def _score(plan: Plan, nested: Nested, halves: Mapping[HalfId, np.ndarray]) -> dict[str, Any]:
    """The cross-fitted score, as `hmtas tune windows` writes it."""
    evidence = plan.evidence
    actions = evidence.stacked.actions
    stored = evidence.probabilities(halves)
    spots = spot_fitted(stored, actions, nested.windows, plan.split)
    return {
        **score_document(spots, evidence.events, actions),
        "split": plan.split,
        "spotting": nested.windows.spotting().model_dump(mode="json"),
        "cross_fitted": True,
    }


class OnTest(NamedTuple):
    """What two run folders are worth on the test split.

    Attributes:
        chosen: Score document of the answer.
        single: Of the single model.
        difference: Tight, the answer minus the single model, with its 95 % interval; None where
            they are the same.
    """

    chosen: dict[str, Any]
    single: dict[str, Any]
    difference: tuple[float, float, float] | None


def score_test(
    chosen: Path,
    single: Path,
    *,
    split: str = "test",
    on_run: Callable[[str], None] = lambda _: None,
) -> OnTest:
    """Predict what is missing, combine and score the test split, once.

    Args:
        chosen: Run folder of the answer.
        single: Run folder of the single model; the same as `chosen` where it stays.
        split: The test split.
        on_run: Called with the name of each model that is predicted.

    Raises:
        InputError: If a member cannot be predicted.
    """
    runs = list(dict.fromkeys([chosen, single]))
    for run in runs:
        for member in member_runs(run):
            _predict(member, split, on_run)
    documents, counts = zip(*(_score_split(run, split) for run in runs), strict=True)
    difference = paired_difference(*counts) if len(runs) > 1 else None
    return OnTest(documents[0], documents[-1], difference)


def _predict(run: Path, split: str, on_run: Callable[[str], None]) -> None:
    record = read_run(run)
    store = open_store(record.store)
    if record.is_linear:
        if not predictions_path(run, split).is_file():
            raise InputError(
                f"{run}: a linear model without probabilities of split {split!r}; run "
                "`hmtas baseline` with that split first"
            )
        return
    if predicted(run, store, split) is None:
        on_run(record.name)
        predict_run(run, store, split)


def _score_split(run: Path, split: str) -> tuple[dict[str, Any], Histograms]:
    stored = read_probabilities(apply_ensemble(run, split))
    events = open_store(stored.provenance.store).events_of(stored.games)
    actions = stored.provenance.actions
    windows = read_windows(run / WINDOWS)
    spots = spot_fitted(stored.halves, actions, windows, split)
    document = score_document(spots, events, actions)
    used = {"split": split, "spotting": windows.spotting().model_dump(mode="json")}
    write_json(score_path(run, split), {**document, **used, "cross_fitted": False})
    return document, histograms(spots, events, TIGHT_S, len(actions))
