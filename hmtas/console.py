"""What every verb of the command line shares: messages, progress, machine-readable output.

Messages and progress go to stderr; stdout belongs to tables and to `--json`.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def say(message: str) -> None:
    """One line to the person at the terminal."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)


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
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)
