"""`hmtas sync`: runs into MLflow that could not be logged when they were made."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.failures import Failures
from hmtas.commands.options import Json
from hmtas.terminal.console import emit, say


def sync(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    experiment: Annotated[
        str | None,
        typer.Option(help="MLflow experiment; by default the one a run is in, else `hmtas`."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send to MLflow what it lacks of some runs; what it has already stays as it is.

    `hmtas tune sync` does the same for a study, `hmtas ensemble sync` for a selection.
    """
    from hmtas.tracking.run import check_tracking, log_saved

    failures, sent = Failures(len(runs)), []
    good = failures.readable(runs)
    check_tracking(good, experiment)
    for run in good:
        with failures.of(run):
            log_saved([run], experiment)
            sent.append(str(run))
    if as_json:
        emit({"runs": sent})
    elif sent:
        say(f"MLflow has {', '.join(sent)}")
    failures.tell()
