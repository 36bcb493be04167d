"""A recipe: verbs of the command line, one after the other, each a command a user could type.

Every step runs in a process of its own, its words shown before it starts. A step that ended is
not run again, so a recipe that was interrupted resumes where it stopped.
"""

import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hmtas.errors import InputError
from hmtas.files import is_free, read_json, write_json
from hmtas.terminal.console import say, terminal
from hmtas.terminal.signals import Interrupted, interruptible

MARK = "recipe.json"


class Step(NamedTuple):
    """One command of a recipe."""

    title: str
    words: Callable[[], Sequence[str]]  # after `hmtas`; made when the step starts


def run_recipe(steps: Sequence[Step], out: Path, *, fresh: bool = False) -> bool:
    """Run the steps of a recipe that have not ended yet.

    What a step prints on stdout goes to OUT/logs; its progress is shown.

    Args:
        steps: In order. A step whose words changed since it ended runs again, and all after it.
        out: Folder of the recipe; the steps share the environment of this process.
        fresh: Remove `out` first, if it is a recipe's.

    Returns:
        Whether there was anything to do.

    Raises:
        InputError: If a step fails; it has said why.
        Interrupted: On Ctrl-C or SIGTERM, when the step has ended.
    """
    if fresh and out.exists():
        if not (out / MARK).is_file():
            raise InputError(f"{out}: --fresh removes what a recipe made, and this is not")
        shutil.rmtree(out)
    if not (out / MARK).is_file():
        if not is_free(out):
            raise InputError(f"{out}: not empty and not made by a recipe; name another folder")
        write_json(out / MARK, [])
    ended: list[list[str]] = read_json(out / MARK)
    worked = False
    for number, step in enumerate(steps):
        words = list(step.words())
        if not worked and number < len(ended) and ended[number] == words:
            continue
        worked = True
        say(f"\n[{number + 1}/{len(steps)}] {step.title}\n  $ {_shown(words)}")
        seconds = _run(words, out / "logs" / f"{number + 1:02}-{words[0]}.txt")
        say(f"  {seconds:.0f} s")
        ended = [*ended[:number], words]
        write_json(out / MARK, ended)
    return worked


def _run(words: Sequence[str], log: Path) -> float:
    """Run a step; returns its seconds."""
    log.parent.mkdir(exist_ok=True)
    started = time.monotonic()
    with log.open("w") as file:
        quiet = ["--quiet"] if terminal().quiet else []
        line = [sys.executable, "-m", "hmtas", *quiet, *words]
        code = _wait(subprocess.Popen(line, stdout=file))
    if code != 0:
        raise InputError(f"the step ended with exit code {code}; the same command resumes there")
    return time.monotonic() - started


def _wait(step: "subprocess.Popen[bytes]") -> int:
    """The exit code of a step, which shuts down cleanly before its recipe does."""
    try:
        with interruptible():
            return step.wait()
    except Interrupted as asked:
        if asked.signum == signal.SIGTERM:  # Ctrl-C reaches the step from the terminal
            step.terminate()
        step.wait()
        say("interrupted; the same command resumes at this step")
        raise


def _shown(words: Sequence[str], most: int = 12) -> str:
    """The command as one would type it; a long list of runs is cut."""
    quoted = [shlex.quote(word) for word in words]
    if len(quoted) > most:
        quoted = [*quoted[: most - 4], f"... ({len(quoted) - most + 1} more)", *quoted[-3:]]
    return " ".join(["hmtas", *quoted])
