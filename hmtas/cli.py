"""The one command, `hmtas`: the verbs of this package, and those that others add.

A package adds a group of verbs through the entry-point group `hmtas.commands`: the name is the
group, the value a typer app. That is how `tune` and `ensemble` come in, which this package must not
import. A group whose name is a kind of run (hmtas.runs.record) has the verb `refit RUN --out DIR`,
with which `hmtas reproduce` makes such a run again.
"""

import sys
from importlib import import_module
from importlib.metadata import entry_points

import typer

from hmtas.errors import InputError

GROUPS = (
    "demo",
    "season",
    "embed",
    "store",
    "learn",
    "baseline",
    "ablate",
    "score",
    "compare",
    "reproduce",
    "sync",
)


def build() -> typer.Typer:
    """Put the command together."""
    app = typer.Typer(
        name="hmtas",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="Search, compare and fuse action-spotting models, on one machine or on a Ray cluster.",
    )
    for group in GROUPS:
        import_module(f"hmtas.commands.{group}").register(app)
    for entry in sorted(entry_points(group="hmtas.commands"), key=lambda entry: entry.name):
        app.add_typer(entry.load(), name=entry.name)
    return app


def main() -> None:
    """Run the command; bad input is one line and exit code 2."""
    try:
        build()(prog_name="hmtas")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
