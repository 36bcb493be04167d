"""`hmtas ensemble fit`, `apply` and `refit`: combine models from their stored probabilities."""

from pathlib import Path
from typing import Annotated

import typer

from ensemble.commands.options import Combiners, FittedSplit, Folds, LabelStore, Seed
from hmtas.commands.failures import Failures
from hmtas.commands.options import Json, MovedStore, RunOut
from hmtas.place import check_folder
from hmtas.runs.record import predictions_path
from hmtas.terminal.console import emit, progress, say, show
from hmtas.terminal.table import Table

SHOWN_MEMBERS = 8  # in the closing table


def fit(
    runs: Annotated[list[Path], typer.Argument(help="Run folders to combine, one or more.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the ensembles, a run folder for each.")],
    split: FittedSplit = "valid",
    combiners: Combiners = None,
    folds: Folds = 5,
    store: LabelStore = None,
    seed: Seed = 0,
    thesis_fusion: Annotated[
        bool,
        typer.Option(
            "--thesis-fusion", help="Fit the learned fusion as the thesis did; takes hours."
        ),
    ] = False,
    experiment: Annotated[
        str | None, typer.Option(help="MLflow experiment; by default that of the members.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit combiners on the stored probabilities of validation games.

    Writes a run folder for each combiner. Its probabilities of the split are cross-fitted over
    games: what combines a game was fitted on the other folds. `hmtas score OUT/COMBINER --split
    valid` scores them; `hmtas ensemble apply` combines another split.
    """
    from ensemble.build.build import fit_ensembles
    from ensemble.build.plan import plan_fit
    from ensemble.combiners.methods import USUAL
    from ensemble.learned.network import FusionConfig
    from ensemble.selection.mlflow import check_mlflow
    from hmtas.tracking.run import log_saved

    check_folder(out)
    in_mlflow = check_mlflow(out, runs, experiment)
    plan = plan_fit(
        runs,
        split,
        methods=combiners or USUAL,
        num_folds=folds,
        store=store,
        seed=seed,
        fusion=FusionConfig.thesis() if thesis_fusion else None,
    )
    for note in plan.notes():
        say(note)
    with progress("fitting ensembles", plan.num_steps) as step:
        written = fit_ensembles(plan, out, on_step=step)
    _report(list(written.values()), plan.split, as_json=as_json)
    if in_mlflow:
        log_saved(written.values(), in_mlflow)


def apply(
    ensembles: Annotated[
        list[Path], typer.Argument(help="Run folders that `fit` or `select` wrote.")
    ],
    *,
    split: Annotated[str, typer.Option(help="Split that every member has predicted.")] = "test",
    store: Annotated[
        str | None, typer.Option(help="Check that the games are those of this store's split.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Combine another split with ensembles that are fitted already."""
    from ensemble.build.build import apply_ensemble
    from hmtas.tracking.note import tracked
    from hmtas.tracking.run import check_tracking, log_saved

    failures, done = Failures(len(ensembles)), []
    good = failures.readable(ensembles)
    check_tracking(tracked(good))
    with progress(f"combining {split}", len(good)) as step:
        for run in good:
            with failures.of(run):
                check_folder(predictions_path(run, split).parent)
                apply_ensemble(run, split, store=store)
                done.append(run)
            step()
    _report(done, split, as_json=as_json)
    log_saved(tracked(done))
    failures.tell()


def refit(
    ensemble: Annotated[Path, typer.Argument(help="Run folder that `fit` wrote.")],
    *,
    out: RunOut,
    store: MovedStore = None,
    as_json: Json = False,
) -> None:
    """Fit an ensemble again from its record; `hmtas reproduce` says whether it is the same."""
    from ensemble.build.refit import refit as fit_again

    check_folder(out)
    with progress("fitting again", None) as step:
        fit_again(ensemble, out, store=store, on_step=step)
    if as_json:
        emit({"run": str(out)})
    else:
        say(f"wrote {out}")


def _report(runs: list[Path], split: str, *, as_json: bool) -> None:
    from ensemble.build.members import read_ensemble

    ensembles = {run: read_ensemble(run)[1] for run in runs}
    if as_json:
        members = [
            [
                {"name": each.name, "weight": each.weight, "tight": each.tight}
                for each in one.members
            ]
            for one in ensembles.values()
        ]
        emit([
            {"method": one.combiner, "run": str(run), "split": split,
             "probabilities": str(predictions_path(run, split)), "members": found}
            for (run, one), found in zip(ensembles.items(), members, strict=True)
        ])  # fmt: skip
        return
    rows = []
    for run, one in ensembles.items():
        shown = one.members[:SHOWN_MEMBERS]
        names = [each.name for each in shown]
        if len(one.members) > SHOWN_MEMBERS:
            names.append(f"and {len(one.members) - SHOWN_MEMBERS} more")
        weights = ["learned" if e.weight is None else f"{e.weight:.3f}" for e in shown]
        cells = ("\n".join(names), "\n".join(weights), str(predictions_path(run, split)))
        rows.append((one.combiner, *cells))
    show(
        Table(
            title=f"Ensembles, split {split}",
            heads=("combiner", "members", "weights", "written"),
            rows=tuple(rows),
            words=frozenset({0, 1, 3}),
        )
    )
