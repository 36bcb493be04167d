"""The one command, `hmtas`: the verbs of this package, and those that others add.

A package adds a group of verbs through the entry-point group `hmtas.commands`: the name is the
group, the value a typer app. That is how `tune` and `ensemble` come in, which this package must not
import. A group whose name is a kind of run (hmtas.runs.record) has the verb `refit RUN --out DIR`,
with which `hmtas reproduce` makes such a run again.
"""

import contextlib
import logging
import sys
import traceback
from importlib.metadata import entry_points
from typing import Annotated

import typer

from hmtas import __version__
from hmtas.commands.ablate import ablate
from hmtas.commands.baseline import baseline
from hmtas.commands.compare import compare
from hmtas.commands.demo import demo
from hmtas.commands.embed import embed
from hmtas.commands.learn import predict, train
from hmtas.commands.options import Verb
from hmtas.commands.reproduce import reproduce
from hmtas.commands.score import score, spot
from hmtas.commands.season import season
from hmtas.commands.store import pack, upload, verify
from hmtas.commands.sync import sync
from hmtas.errors import InputError
from hmtas.refusals import explain, internal
from hmtas.terminal.console import flush_results, prepare_streams, terminal

VERBS = {
    "Start": (demo,),
    "Data": (season, pack, verify, upload),
    "Train": (train, predict, baseline, ablate),
    "Evaluate": (spot, score, compare),
    "Repeat and track": (reproduce, sync),
}


def build() -> typer.Typer:
    """Put the command together."""
    app = typer.Typer(
        name="hmtas",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for panel, verbs in VERBS.items():
        for verb in verbs:
            app.command(verb.__name__, cls=Verb, rich_help_panel=panel)(verb)
    app.add_typer(embed, name="embed", rich_help_panel="Data")
    for entry in sorted(entry_points(group="hmtas.commands"), key=lambda entry: entry.name):
        app.add_typer(entry.load(), name=entry.name)
    return app


def show_version(asked: bool) -> None:
    """Print the version, if asked to, and exit."""
    if asked:
        typer.echo(f"hmtas {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Results and errors only: no notes, no progress.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", "--debug", help="Log more, and show the traceback of an error."
        ),
    ] = False,
) -> None:
    """Search, compare and fuse action-spotting models, on one machine or on a Ray cluster."""
    terminal().quiet = quiet
    if verbose:
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("hmtas").setLevel(logging.DEBUG)


def main() -> None:
    """Run the command.

    Bad input, and what the system refuses, is one line and exit code 2; a fault of ours is one line
    and exit code 1. `--debug` shows the traceback of either.
    """
    prepare_streams()
    try:
        try:
            build()(prog_name="hmtas")
        finally:
            flush_results()
    except Exception as error:
        if logging.getLogger("hmtas").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        refused = str(error) if isinstance(error, InputError) else explain(error)
        with contextlib.suppress(OSError):  # stderr may be on a full disk
            sys.stderr.write(f"error: {refused or internal(error)}\n")
        sys.exit(2 if refused else 1)
    except KeyboardInterrupt:  # before a verb began; while it works, `Verb` hears it
        sys.exit(130)
