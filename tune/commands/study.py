"""`hmtas tune status`, `best`, `report`, `mirror` and `sync`: what became of a study."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.options import Json
from hmtas.place import check_file, check_folder
from hmtas.terminal.console import emit, say, show
from hmtas.terminal.text import counted, percent

Study = Annotated[Path, typer.Argument(help="Folder of the study.")]


def status(
    study: Study,
    watching: Annotated[
        bool,
        typer.Option("--watch", help="Keep showing it until the study ends or you press Ctrl-C."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how far a study is, and its trials, from anywhere, also while it runs.

    With --json the numbers are under `progress`.
    """
    from tune.commands.tables import show_study
    from tune.search.view import picture, watch
    from tune.study.record import read_study
    from tune.study.summary import summarize

    if watching:
        try:
            watch(study)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    record = read_study(study)
    if not as_json:
        show(picture(summarize(study, record)))
    show_study(record, study, as_json)


def best(study: Study, as_json: Json = False) -> None:
    """Print the configuration of the best trial, and the commands that train it again.

    stdout is the configuration alone, which `hmtas train --config` reads. If the best trials were
    trained again, it is the one that was picked among them; a study of two numbers lists its front.
    """
    from tune.commands.tables import best_document, show_best
    from tune.report.repeat import reproduce_line, train_line
    from tune.study.record import best_config, best_trial, read_study

    row, config, record = best_trial(study), best_config(study), read_study(study)
    document = config.model_dump(mode="json")
    run = study / row.run
    command, again = train_line(record, run), reproduce_line(run)
    if as_json:
        emit({"trial": row.model_dump(mode="json"), "run": str(run), "config": document,
              "command": command, "reproduce": again, **best_document(record, study)})  # fmt: skip
        return
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    with contextlib.redirect_stdout(sys.stderr):
        show_best(record, study)
    say(
        f"trial {row.id}: tight {percent(row.best_tight)} %, "
        f"loose {percent(row.best_loose)} % on the games that stop it"
    )
    say(f"train it again: {command}")
    say(f"make it again as it was, and compare: {again}")


def report(
    study: Study,
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default STUDY/report.html.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write what a study found as one HTML page, which needs no network.

    `hmtas tune model` does so at its end. While a study runs, the page says so.
    """
    from tune.report.page import write_report
    from tune.study.record import REPORT

    check_file(out or study / REPORT)
    path = write_report(study, out)
    if as_json:
        emit({"report": str(path), "bytes": path.stat().st_size})
        return
    say(f"wrote {path}; open it in a browser")


def mirror(study: Study, as_json: Json = False) -> None:
    """Write STUDY/optuna.db, and print the line that opens the study in optuna-dashboard.

    A running sweep keeps this copy of itself up to date; nothing reads it back.
    """
    from tune.search.mirror import FILE, dashboard_line, rebuild, storage_url
    from tune.study.lock import driver_of
    from tune.study.record import read_study

    record = read_study(study)
    check_folder(study)
    driver = driver_of(study)
    if driver is None or not (study / FILE).is_file():
        rebuild(study, record)
        say(f"{study / FILE} has the {counted(len(record.trials), 'trial')} of {study}")
    else:
        say(f"{study / FILE} is kept up to date by {driver}")
    if as_json:
        emit({"storage": storage_url(study), "dashboard": dashboard_line(study)})
    else:
        typer.echo(dashboard_line(study))


def sync(study: Study, as_json: Json = False) -> None:
    """Send to MLflow what it lacks of a study; what it has already stays as it is."""
    from hmtas.tracking.client import public_uri
    from hmtas.tracking.note import store_of
    from hmtas.tracking.run import check_tracking, or_later
    from tune.search.mlflow import send_study
    from tune.study.record import read_study

    record = read_study(study)
    check_tracking([study], record.experiment)
    with or_later(study, ["hmtas", "tune", "sync", str(study)]):
        send_study(study.absolute(), record)
    if as_json:
        emit({"study": str(study), "num_trials": len(record.trials)})
    else:
        place = public_uri(store_of(study))
        say(f"MLflow has the {counted(len(record.trials), 'trial')} of {study} in {place}")
