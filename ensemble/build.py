"""Ensembles as run folders: from members' stored probabilities to an ensemble's own.

ENSEMBLE/run.json                 kind "ensemble": combiner, members, weights, folds
ENSEMBLE/fusion.safetensors       the network of the learned fusion
ENSEMBLE/predictions/valid.arrow  cross-fitted over games
ENSEMBLE/predictions/test.arrow   from what was fitted on all validation games

The scores that make the weights take each member's configured NMS windows, never windows that were
fitted on the same games: those would carry a fold's labels into its own weights.
"""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ensemble.combine import POWERS, combine
from ensemble.crossfit import Fitted, cross_fit_fusion, cross_fit_weights, plain_mean
from ensemble.fusion import fuse, load_fusion, save_fusion
from ensemble.members import member_runs, read_members, relative_to, stack_members
from ensemble.plan import Plan
from ensemble.stack import Stack
from hmtas import __version__
from hmtas.environment import this_environment
from hmtas.errors import InputError
from hmtas.evaluate import spot
from hmtas.histograms import Histograms, histograms
from hmtas.metrics import TIGHT_S
from hmtas.probabilities import Provenance, write_probabilities
from hmtas.records import HalfId, Probabilities
from hmtas.remote import open_store
from hmtas.runs import RECORD, RunRecord, predictions_path, read_run, write_run
from hmtas.store import EmbeddingStore

FUSION = "fusion.safetensors"
KEPT = "mlflow.json"  # survives a new fit: MLflow's run of this folder is replaced, not doubled


class StoreRef(NamedTuple):
    """The store whose labels belong to some probabilities."""

    place: str
    checksum: str


def fit_ensembles(
    plan: Plan, out: Path, *, on_step: Callable[[], None] | None = None
) -> dict[str, Path]:
    """Fit every method of a plan and write a run folder for each.

    A folder of an earlier fit is replaced, with everything that was derived from it.

    Returns:
        Method to its run folder, `out / method`.

    Raises:
        InputError: If a folder holds something else, or no weights can be made.
    """
    for method in plan.methods:
        _check_target(out / method)
    counts = _count(plan, on_step)
    for method in plan.methods:
        _write(plan, method, _fit(plan, method, counts, on_step), out / method)
    return {method: out / method for method in plan.methods}


def fit_ensemble(
    plan: Plan, method: str, target: Path, *, on_step: Callable[[], None] | None = None
) -> None:
    """Fit one method of a plan and write its run folder; see `fit_ensembles`."""
    _check_target(target)
    _write(plan, method, _fit(plan, method, _count(plan, on_step), on_step), target)


def apply_ensemble(run: Path, split: str, *, store: str | Path | None = None) -> Path:
    """Combine the members' stored probabilities of a split and store the result.

    Args:
        run: Run folder of an ensemble.
        split: A split that it was not fitted on.
        store: If given, the games must be this store's games of that split.

    Returns:
        The file written, `run/predictions/<split>.arrow`.

    Raises:
        InputError: If `run` is no ensemble, a member is missing, was trained again or has not
            predicted the split, or the ensemble was fitted on one of its games.
    """
    record = read_run(run)
    if record.kind != "ensemble" or record.ensemble is None:
        raise InputError(
            f"{run}: a run of kind {record.kind!r}, not an ensemble; use hmtas predict"
        )
    settings = record.ensemble
    members = read_members(member_runs(run, record), split)
    stacked = stack_members(members)
    if stacked.actions != record.actions:
        raise InputError(f"{run}: its members now predict other actions; fit the ensemble again")
    overlap = sorted(set(record.fitted_games) & set(stacked.games))
    if overlap:
        raise InputError(
            f"{run}: it was fitted on {overlap[0]!r} and {len(overlap) - 1} more games of split "
            f"{split!r}, so its score there would be a lie; `hmtas ensemble fit` wrote "
            "cross-fitted probabilities of the games it was fitted on"
        )
    first = members[0].stored.provenance
    labels = StoreRef(first.store, first.store_checksum)
    if store is not None:
        opened = open_store(store)
        _check_split(stacked, opened, split)
        labels = StoreRef(opened.place, opened.checksum)
    if settings["combiner"] == "learned":
        model = load_fusion(run / FUSION, len(members), record.actions)
        halves = {half: fuse(model, rows) for half, rows in stacked.halves.items()}
    else:
        weights = np.array([entry["weight"] for entry in settings["members"]])
        halves = {half: combine(rows, weights) for half, rows in stacked.halves.items()}
    path = predictions_path(run, split)
    _write_probabilities(path, halves, stacked, record, split=split, store=labels)
    return path


def _check_split(stacked: Stack, store: EmbeddingStore, split: str) -> None:
    surplus = sorted(set(stacked.games) - set(store.games(split)))
    if surplus:
        raise InputError(
            f"{surplus[0]!r} and {len(surplus) - 1} more predicted games are not in split "
            f"{split!r} of {store.place}; were the splits changed since the prediction?"
        )


def _check_target(target: Path) -> None:
    if not target.exists():
        return
    if not (target / RECORD).is_file() or read_run(target).kind != "ensemble":
        raise InputError(
            f"{target}: exists and is not an ensemble's folder; choose another --out, "
            "a fit replaces the folder"
        )


def _count(plan: Plan, on_step: Callable[[], None] | None) -> list[Histograms]:
    """Tight histograms of every member, spotted as its configuration says; none if not needed."""
    counts: list[Histograms] = []
    if not {"weighted", "squared"} & set(plan.methods):
        return counts
    for member in plan.members:
        spots = spot(member.stored.halves, plan.stacked.actions, member.record.config.spotting)
        counts.append(histograms(spots, plan.events, TIGHT_S, len(plan.stacked.actions)))
        if on_step:
            on_step()
    return counts


def _fit(
    plan: Plan, method: str, counts: Sequence[Histograms], on_step: Callable[[], None] | None
) -> Fitted:
    if method == "mean":
        return plain_mean(plan.stacked)
    if method == "learned":
        return cross_fit_fusion(
            plan.stacked, plan.events, plan.folds, plan.fusion, on_epoch=on_step
        )
    return cross_fit_weights(plan.stacked, counts, plan.folds, POWERS[method])


def _write(plan: Plan, method: str, fitted: Fitted, target: Path) -> None:
    """Write a run folder aside and put it in its place when it is complete."""
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    record = _record(plan, method, fitted, target)
    try:
        write_run(scratch, record)
        if fitted.fusion is not None:
            save_fusion(
                scratch / FUSION,
                fitted.fusion.model,
                plan.fusion,
                len(plan.members),
                record.actions,
            )
        _write_probabilities(
            predictions_path(scratch, plan.split),
            fitted.halves,
            plan.stacked,
            record,
            split=plan.split,
            store=StoreRef(plan.store.place, plan.store.checksum),
            cross_fitted=bool(fitted.folds),
        )
        if target.exists():
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(target / KEPT, scratch / KEPT)
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_probabilities(
    path: Path,
    halves: dict[HalfId, np.ndarray],
    stacked: Stack,
    record: RunRecord,
    *,
    split: str,
    store: StoreRef,
    cross_fitted: bool = False,
) -> None:
    provenance = Provenance(
        run=record.name,
        kind="ensemble",
        split=split,
        store=store.place,
        store_checksum=store.checksum,
        actions=stacked.actions,
        rate_hz=stacked.rate_hz,
        fitted_games=record.fitted_games,
        stopped_games=record.stopped_games,
        cross_fitted=cross_fitted,
        created=datetime.now(UTC).isoformat(),
    )
    rows = (
        Probabilities(half=half, values=values, rate_hz=stacked.rate_hz)
        for half, values in halves.items()
    )
    write_probabilities(path, rows, provenance)


def _record(plan: Plan, method: str, fitted: Fitted, target: Path) -> RunRecord:
    network = fitted.fusion.model if fitted.fusion else None
    fitted_games = {game for member in plan.members for game in member.record.fitted_games}
    if fitted.folds:
        fitted_games |= set(plan.stacked.games)
    stopped = {game for member in plan.members for game in member.record.stopped_games}
    streams: dict[str, int] = {}
    for member in plan.members:
        streams |= member.record.streams
    return RunRecord(
        kind="ensemble",
        name=method,
        version=__version__,
        created=datetime.now(UTC).isoformat(),
        config=plan.members[0].record.config,
        ensemble=_settings(plan, method, fitted, target),
        store=plan.store.place,
        store_checksum=plan.store.checksum,
        streams=streams,
        actions=plan.stacked.actions,
        rate_hz=plan.stacked.rate_hz,
        environment=this_environment(),
        num_parameters=sum(p.numel() for p in network.parameters()) if network else None,
        fitted_games=tuple(sorted(fitted_games)),
        stopped_games=tuple(sorted(stopped)),
        best_epoch=fitted.fusion.best_epoch if fitted.fusion else None,
    )


def _settings(plan: Plan, method: str, fitted: Fitted, target: Path) -> dict[str, Any]:
    """What `RunRecord.ensemble` holds."""
    members: list[dict[str, Any]] = []
    for m, member in enumerate(plan.members):
        entry: dict[str, Any] = {
            "name": member.name,
            "run": relative_to(member.run, target),
            "created": member.record.created,
        }
        if fitted.weights is not None:
            entry["weight"] = float(fitted.weights[m])
        if fitted.scores is not None:
            entry["tight"] = float(fitted.scores[m])
        members.append(entry)
    settings: dict[str, Any] = {
        "combiner": method,
        "split": plan.split,
        "members": members,
        "seed": plan.seed,
        "folds": [
            {
                "games": list(fold.games),
                "weights": None if fold.weights is None else fold.weights.tolist(),
                "held_out_loss": fold.held_out_loss,
            }
            for fold in fitted.folds
        ],
    }
    if fitted.fusion is not None:
        settings["fusion"] = plan.fusion.model_dump()
        settings["held_out_games"] = list(fitted.fusion.held_out_games)
        settings["held_out_loss"] = fitted.fusion.held_out_loss
    return settings
