"""`hmtas ensemble promote`: an ensemble into MLflow's model registry."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.options import Json, MovedStore
from hmtas.place import check_folder
from hmtas.runs.record import read_run
from hmtas.terminal.console import emit, say


def promote(
    ensemble: Annotated[Path, typer.Argument(help="Run folder that `fit` or `select` wrote.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the model in MLflow's registry.")],
    store: MovedStore = None,
    experiment: Annotated[
        str | None,
        typer.Option(help="MLflow experiment of the ensemble; by default the one it is in."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register an ensemble in MLflow: embeddings of one half in, spots out.

    It becomes a new version under the name, with everything that it needs. It gets the alias
    `champion` if there is none yet, or if the paired test on the same validation games, both
    cross-fitted, says that it is better than the champion; else it is the `challenger`. The same
    ensemble is registered once.

    Example: `hmtas ensemble promote ensembles/greedy --name spotter`
    """
    from ensemble.registry.promote import promote as promote_run
    from hmtas.tracking.run import check_tracking

    read_run(ensemble)
    check_folder(ensemble)
    check_tracking([ensemble], experiment)
    done = promote_run(ensemble, name, store=store, experiment=experiment)
    decision = done.decision
    if as_json:
        emit(
            {
                "name": done.name,
                "version": done.version,
                "is_new": done.is_new,
                "alias": decision.alias,
                "reason": decision.reason,
                "difference": decision.difference,
                "interval": decision.interval,
                "num_games": decision.num_games,
                "champion_before": done.champion,
                "sha256": done.package.checksum,
                "inputs": {item.name: item.width for item in done.package.inputs},
                "notes": list(done.notes),
                "registry": done.registry,
            }
        )
        return
    was = "registered" if done.is_new else "registered already, no new version made:"
    say(f"{was} {name}, version {done.version}, in {done.registry}")
    before = "" if done.champion in (None, done.version) else f" (version {done.champion})"
    say(f"{decision.alias}: {decision.reason}{before}")
    for note in done.notes:
        say(f"note: {note}")
    say(f'load it with mlflow.pyfunc.load_model("models:/{name}@{decision.alias}")')
