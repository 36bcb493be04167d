"""What every verb of the command line shares: messages, progress, machine-readable output.

Messages and progress go to stderr; stdout belongs to tables and to `--json`.
"""

import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_ANY = TypeAdapter[Any](Any)


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
    """The result of a verb as JSON on stdout; records become objects, nan and infinity null.

    Characters that the encoding of stdout lacks are escaped.
    """
    plain = json.loads(_ANY.dump_json(value))
    everything = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(plain, ensure_ascii=not everything) + "\n")


def prepare_streams() -> None:
    """Let stdout and stderr take anything: closed ones (`>&-`) nowhere, any character escaped.

    An encoding such as that of LC_ALL=C lacks characters.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_results() -> None:
    """Write out what stdout still holds, so that a full disk is an error like any other.

    Raises:
        OSError: If it cannot be written. Python would try once more as it exits, and fail again.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


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
