"""Ensembles as run folders: from members' stored probabilities to an ensemble's own.

ENSEMBLE/run.json                 kind "ensemble": combiner, members, weights, folds
ENSEMBLE/fusion.safetensors       the network of the learned fusion
ENSEMBLE/predictions/valid.arrow  cross-fitted over games
ENSEMBLE/predictions/test.arrow   from what was fitted on all validation games

The scores that make the weights take each member's configured NMS windows, never windows that were
fitted on the same games: those would carry a fold's labels into its own weights.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ensemble.build.members import (
    check_one_store,
    member_runs,
    read_ensemble,
    read_members,
    stack_members,
)
from ensemble.build.plan import Plan
from ensemble.combiner import nothing
from ensemble.combiners.crossfit import CrossFit, FoldFit, cross_fit
from ensemble.combiners.methods import fitted_of, vote_of
from hmtas import __version__
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.runs.ensemble import EnsembleRecord, FoldRecord, MemberRecord
from hmtas.runs.environment import this_environment
from hmtas.runs.probabilities import store_predictions
from hmtas.runs.record import MLFLOW_NOTE, RECORD, RunRecord, read_run, write_run
from hmtas.scoring.games import refuse_foreign_games, refuse_seen
from hmtas.store.remote import open_store


def fit_ensembles(
    plan: Plan, out: Path, *, on_step: Callable[[], None] = nothing
) -> dict[str, Path]:
    """Fit every method of a plan and write a run folder for each.

    A folder of an earlier fit is replaced, with everything that was derived from it.

    Returns:
        Method to its run folder, `out / method`.

    Raises:
        InputError: If a folder holds something else, or no weights can be made.
    """
    for method in plan.combiners:
        _check_target(out / method)
    for method in plan.combiners:
        fit_ensemble(plan, method, out / method, on_step=on_step)
    return {method: out / method for method in plan.combiners}


def fit_ensemble(
    plan: Plan, method: str, target: Path, *, on_step: Callable[[], None] = nothing
) -> None:
    """Fit one method of a plan and write its run folder; see `fit_ensembles`."""
    fit = cross_fit(plan.combiners[method], plan.evidence, plan.folds, on_step=on_step)
    folds = [
        fold_record(fold, None if fold.fitted.weights is None else fold.fitted.weights.tolist())
        for fold in fit.folds
    ]
    write_ensemble(plan, method, fit, target, folds=folds)
    on_step()


def fold_record(fold: FoldFit, weights: Any) -> FoldRecord:
    """A fit without the games of one fold, for the record; see `FoldRecord` for the weights."""
    return FoldRecord(games=fold.games, weights=weights, **fold.fitted.facts.model_dump())


def apply_ensemble(run: Path, split: str, *, store: str | Path | None = None) -> Path:
    """Combine the members' stored probabilities of a split that the ensemble was not fitted on.

    If a store is given, the games must be its games of that split.

    Returns:
        The file written, `run/predictions/<split>.arrow`.

    Raises:
        InputError: If `run` is no ensemble, a member is missing, was trained again or has not
            predicted the split, or the ensemble was fitted on one of its games.
    """
    record, ensemble = read_ensemble(run)
    members = read_members(member_runs(run), split)
    stacked = stack_members(members)
    if stacked.actions != record.actions:
        raise InputError(f"{run}: its members now predict other actions; fit the ensemble again")
    refuse_seen(
        str(run),
        stacked.games,
        record.fitted_games,
        advice="`hmtas ensemble fit` wrote cross-fitted probabilities of these games",
    )
    check_one_store(members)
    predicted_on = members[0].stored.provenance
    labels = {"store": predicted_on.store, "store_checksum": predicted_on.store_checksum}
    if store is not None:
        opened = open_store(store)
        refuse_foreign_games(str(run), stacked.games, opened, split)
        labels = {"store": opened.place, "store_checksum": opened.checksum}
    fitted = fitted_of(ensemble, run, record.actions)
    halves = {half: fitted.combine(rows) for half, rows in stacked.halves.items()}
    return store_predictions(
        run, record, split, list(stacked.probabilities(halves).values()), **labels
    )


def _check_target(target: Path) -> None:
    if not target.exists():
        return
    if not (target / RECORD).is_file() or read_run(target).kind != "ensemble":
        raise InputError(
            f"{target}: exists and is not an ensemble's folder; choose another --out, "
            "a fit replaces the folder"
        )


def write_ensemble(
    plan: Plan,
    method: str,
    fit: CrossFit,
    target: Path,
    *,
    folds: Sequence[FoldRecord],
    name: str | None = None,
    documents: Mapping[str, Any] | None = None,
) -> None:
    """Write a run folder aside and put it in its place when it is complete.

    The members are those of the plan; `name` is the method's unless given; `documents` are more
    files of the folder, by their place in it, as JSON. An earlier ensemble at `target` is replaced.

    Raises:
        InputError: If `target` holds something else.
    """
    _check_target(target)
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    record = _record(plan, method, fit, target, folds=folds, name=name or method)
    try:
        write_run(scratch, record)
        fit.fitted.save(scratch)
        for place, document in (documents or {}).items():
            write_json(scratch / place, document)
        combined = list(plan.evidence.stacked.probabilities(fit.halves).values())
        store_predictions(scratch, record, plan.split, combined, cross_fitted=bool(fit.folds))
        if target.exists():
            # MLflow's run of this folder is to be replaced, not doubled.
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(target / MLFLOW_NOTE, scratch / MLFLOW_NOTE)
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _record(
    plan: Plan, method: str, fit: CrossFit, target: Path, *, folds: Sequence[FoldRecord], name: str
) -> RunRecord:
    stacked = plan.evidence.stacked
    records = [member.record for member in plan.members]
    fitted_games = {game for record in records for game in record.fitted_games}
    if fit.folds:
        fitted_games |= set(stacked.games)
    members = [
        MemberRecord(
            name=member.name,
            # Relative, so that the folders can move together.
            run=Path(os.path.relpath(member.run.resolve(), target.resolve())).as_posix(),
            created=member.record.created,
            **vote_of(fit.fitted, m),
        )
        for m, member in enumerate(plan.members)
    ]
    ensemble = EnsembleRecord(
        combiner=method,
        split=plan.split,
        seed=plan.seed,
        members=tuple(members),
        folds=tuple(folds),
        **plan.combiners[method].settings.model_dump(),
        **fit.fitted.facts.model_dump(),
    )
    return RunRecord(
        kind="ensemble",
        name=name,
        version=__version__,
        created=datetime.now(UTC).isoformat(),
        config=records[0].config,
        ensemble=ensemble,
        store=plan.store.place,
        store_checksum=plan.store.checksum,
        streams={name: width for r in records for name, width in r.streams.items()},
        actions=stacked.actions,
        rate_hz=stacked.rate_hz,
        environment=this_environment(),
        num_parameters=ensemble.num_parameters,
        fitted_games=tuple(sorted(fitted_games)),
        stopped_games=tuple(sorted({game for record in records for game in record.stopped_games})),
        best_epoch=ensemble.best_epoch,
    )
