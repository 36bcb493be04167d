"""`hmtas sync`: runs into MLflow that could not be logged when they were made."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.runs.record import read_run
from hmtas.terminal.console import say


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("sync")(sync)


def sync(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    experiment: Annotated[
        str | None,
        typer.Option(help="MLflow experiment; default: the one a run is in, else `hmtas`."),
    ] = None,
) -> None:
    """Send to MLflow what it lacks of some runs; what it has already stays as it is.

    `hmtas tune sync` does the same for a study, `hmtas ensemble sync` for a selection.
    """
    from hmtas.tracking.run import log_saved

    for run in runs:
        read_run(run)  # every mistake before anything is sent
    log_saved(runs, experiment)
    say(f"MLflow has {', '.join(map(str, runs))}")
