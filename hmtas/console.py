"""What every verb of the command line shares: messages, progress, machine-readable output.

Messages and progress go to stderr; stdout belongs to tables and to `--json`.
"""

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from hmtas.store import EmbeddingStore

# A string, not a path: a path would make one slash of the two in s3://.
StorePlace = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="Embedding store, from `hmtas pack`: a folder, or `s3://BUCKET/FOLDER`.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@functools.cache
def terminal() -> Console:
    """The one console on stderr: what is said while a bar or a view is shown stands above it."""
    return Console(stderr=True, highlight=False)


def is_lively() -> bool:
    """Does stderr lead to a terminal that can show what changes?"""
    return terminal().is_terminal and not terminal().is_dumb_terminal


def say(message: str) -> None:
    """One line to the person at the terminal."""
    terminal().print(message, markup=False, soft_wrap=True)


def show(renderable: Any) -> None:
    """A table, or text with markup, on stdout."""
    width = None if sys.stdout.isatty() else 140
    Console(highlight=False, width=width).print(renderable)


def emit(value: Any) -> None:
    """The result of a verb as JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show the progress of long work on stderr; the block calls what it is given once a step."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=terminal(),
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


def copy_ahead(store: "EmbeddingStore", games: Iterable[str]) -> None:
    """Copy the games of a store in a service to this machine, where they are not there yet."""
    absent = store.absent(store.halves_of(games))
    if absent:
        with progress("copying halves", len(absent)) as on_half:
            store.prefetch(absent, on_half=on_half)
