"""`hmtas ensemble`: combine models from their stored probabilities, no model is run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ensemble.commands.promote import promote
from ensemble.commands.select import Combiners, select, sync
from hmtas.commands.options import Json
from hmtas.place import check_folder
from hmtas.runs.record import predictions_path, read_run
from hmtas.terminal.console import emit, progress, say, show

app = typer.Typer(
    no_args_is_help=True,
    help="Combine models from their stored probabilities; no model is run.",
)
SHOWN_MEMBERS = 8  # in the closing table
app.command("select")(select)
app.command("sync")(sync)
app.command("promote")(promote)


@app.command("fit")
def fit_verb(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders to combine, one or more.")
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="Folder of the ensembles, one run folder per combiner in it.")
    ],
    split: Annotated[
        str, typer.Option(help="Split whose stored probabilities are combined; never test.")
    ] = "valid",
    combiners: Combiners = None,
    folds: Annotated[int, typer.Option(help="Folds of games for cross-fitting.")] = 5,
    store: Annotated[
        str | None,
        typer.Option(help="Store of the labels; by default the one of the members."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the folds and of the fits.")] = 0,
    thesis_fusion: Annotated[
        bool,
        typer.Option(
            "--thesis-fusion", help="Fit the learned fusion with the thesis's numbers: hours."
        ),
    ] = False,
    experiment: Annotated[
        str | None,
        typer.Option(help="MLflow experiment; by default the one of the members, if any."),
    ] = None,
    json_: Json = False,
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
    from ensemble.selection.mlflow import experiment_of
    from hmtas.tracking.run import check_tracking, log_saved

    check_folder(out)
    in_mlflow = experiment or experiment_of(runs)
    if in_mlflow:
        check_tracking([out], in_mlflow)
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
    _report(list(written.values()), plan.split, as_json=json_)
    if in_mlflow:
        log_saved(written.values(), in_mlflow)


@app.command("apply")
def apply_verb(
    ensembles: Annotated[
        list[Path],
        typer.Argument(metavar="ENSEMBLE...", help="Run folders that `fit` wrote."),
    ],
    *,
    split: Annotated[str, typer.Option(help="Split that every member has predicted.")] = "test",
    store: Annotated[
        str | None,
        typer.Option(help="Check that the games are those of this store's split."),
    ] = None,
    json_: Json = False,
) -> None:
    """Combine another split with ensembles that are fitted already."""
    from ensemble.build.build import apply_ensemble
    from hmtas.tracking.run import check_tracking, log_saved, tracked

    for run in ensembles:
        read_run(run)
        check_folder(predictions_path(run, split).parent)
    in_mlflow = tracked(ensembles)
    check_tracking(in_mlflow)
    with progress(f"combining {split}", len(ensembles)) as step:
        for run in ensembles:
            apply_ensemble(run, split, store=store)
            step()
    _report(ensembles, split, as_json=json_)
    log_saved(in_mlflow)


@app.command("refit")
def refit_verb(
    ensemble: Annotated[Path, typer.Argument(help="Run folder that `fit` wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    store: Annotated[
        str | None, typer.Option(help="Where the store of its labels lies now, if it was moved.")
    ] = None,
) -> None:
    """Fit an ensemble again from its record; `hmtas reproduce` says whether it is the same."""
    from ensemble.build.refit import refit

    check_folder(out)
    with progress("fitting again", None) as step:
        refit(ensemble, out, store=store, on_step=step)
    say(f"wrote {out}")


def _report(runs: list[Path], split: str, *, as_json: bool) -> None:
    rows = [_describe(run, split) for run in runs]
    if as_json:
        emit(rows)
        return
    from rich.table import Table

    table = Table(title=f"Ensembles, split {split}")
    for column in ("method", "members", "weights", "written"):
        table.add_column(column, overflow="fold")
    for row in rows:
        members = row["members"]
        more = [f"and {len(members) - SHOWN_MEMBERS} more"] if len(members) > SHOWN_MEMBERS else []
        shown = members[:SHOWN_MEMBERS]
        weights = [
            "learned" if entry["weight"] is None else f"{entry['weight']:.3f}" for entry in shown
        ]
        table.add_row(
            row["method"],
            "\n".join([entry["name"] for entry in shown] + more),
            "\n".join(weights),
            row["probabilities"],
        )
    show(table)


def _describe(run: Path, split: str) -> dict[str, Any]:
    from ensemble.build.members import read_ensemble
    from hmtas.runs.record import predictions_path

    _, ensemble = read_ensemble(run)
    return {
        "method": ensemble.combiner,
        "run": str(run),
        "split": split,
        "probabilities": str(predictions_path(run, split)),
        "members": [
            {"name": member.name, "weight": member.weight, "tight": member.tight}
            for member in ensemble.members
        ],
    }
