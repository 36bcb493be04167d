"""The answer of a selection as a run folder of an ensemble, and its score on the test split.

OUT/selected/   the chosen combination; with one member of weight 1 where the single model stays
OUT/single/     the single model that validation picks, in the same form
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ensemble.build.build import apply_ensemble, fold_record, write_ensemble
from ensemble.build.members import member_runs
from ensemble.build.plan import Plan
from ensemble.combiner import Combiner
from ensemble.combiners.crossfit import CrossFit, FoldFit, combine_folds
from ensemble.selection.nested import Nested
from ensemble.selection.record import OnTest
from hmtas.errors import InputError
from hmtas.prediction.slide import predict_run, predicted
from hmtas.records import HalfId
from hmtas.runs.probabilities import Provenance, read_probabilities
from hmtas.runs.record import WINDOWS, RunRecord, predictions_path, read_run
from hmtas.scoring.games import TEST_SPLIT, how_to_predict
from hmtas.scoring.run import spot_stored, windows_of
from hmtas.scoring.score import RunScore, SpotsScore, score_spots, write_score
from hmtas.spotting.spots import spot_fitted
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import paired_difference
from hmtas.store.local import EmbeddingStore
from hmtas.store.recorded import open_recorded


def write_selected(
    plan: Plan, nested: Nested, combiner: Combiner, target: Path, *, name: str
) -> None:
    """Write a fitted combiner with its windows and cross-fitted probabilities as a run folder.

    Models without weight are no members of it. A folder of an earlier selection is replaced.

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
    halves = combine_folds(nested.folds, plan.evidence)
    fit = CrossFit(halves, nested.fitted.of_used(), nested.folds)
    documents = {
        WINDOWS: nested.windows.model_dump(mode="json"),
        f"scores/{plan.split}.json": _score(plan, nested, halves).model_dump(mode="json"),
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


def _score(plan: Plan, nested: Nested, halves: Mapping[HalfId, np.ndarray]) -> RunScore:
    """The cross-fitted score, as `hmtas tune windows` writes it."""
    evidence = plan.evidence
    actions = evidence.stacked.actions
    spots = spot_fitted(evidence.stacked.probabilities(halves), actions, nested.windows, plan.split)
    return RunScore(
        **dict(score_spots(spots, evidence.events, actions)),
        split=plan.split,
        spotting=nested.windows.spotting(),
        cross_fitted=True,
    )


def score_test(
    selected: Path, single: Path, store: EmbeddingStore, *, on_run: Callable[[str], None]
) -> OnTest:
    """Predict what is missing, combine and score the test split, once.

    Where the single model stays, `single` is the same run folder as `selected`. A member that was
    made on `store` is predicted there, any other one on its own store. `on_run` is called with the
    name of each model that is predicted.

    Raises:
        InputError: If a member cannot be predicted.
    """
    runs = list(dict.fromkeys([selected, single]))
    for run in runs:
        for member in member_runs(run):
            _predict(member, TEST_SPLIT, store, on_run)
    scores, counts = zip(*(_score_split(run, TEST_SPLIT, store) for run in runs), strict=True)
    difference = paired_difference(*counts) if len(runs) > 1 else None
    return OnTest(
        scored=datetime.now(UTC).isoformat(timespec="seconds"),
        selected=scores[0],
        single=scores[-1],
        difference=difference,
    )


def _predict(run: Path, split: str, store: EmbeddingStore, on_run: Callable[[str], None]) -> None:
    record = read_run(run)
    store = _that_of(run, record, store)
    if record.is_linear:
        if not predictions_path(run, split).is_file():
            raise InputError(
                f"{run}: no probabilities of split {split!r}; {how_to_predict(run, split)}"
            )
        return
    if predicted(run, store, split) is None:
        on_run(record.name)
        predict_run(run, store, split)


def _that_of(who: Path, made: RunRecord | Provenance, store: EmbeddingStore) -> EmbeddingStore:
    """The store that something was made on: `store` if that is it, else where it was recorded."""
    if made.store_checksum == store.checksum:
        return store
    return open_recorded(who, made.store, made.store_checksum)


def _score_split(run: Path, split: str, store: EmbeddingStore) -> tuple[SpotsScore, GameCounts]:
    stored = read_probabilities(apply_ensemble(run, split))
    events = _that_of(run, stored.provenance, store).events_of(stored.games)
    found = spot_stored(stored, windows_of(run))
    score = score_spots(found.spots, events, found.actions)
    write_score(run, found.run_score(score))
    return score, found.counts(events)
