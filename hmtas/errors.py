"""The one exception a user's mistake raises."""

import difflib
from collections.abc import Iterable

MOST_QUOTED = 80  # characters of a value in an error


class InputError(ValueError):
    """Bad input: one line that names the rule, the value, the place and the likely cause.

    The command line prints the line and exits with 2, as it does with what the system refuses
    (hmtas.refusals); every other exception is a fault of ours.
    """


class TransientError(InputError):
    """A failure that a later try may not meet: a full disk, a service or file that is missing."""


class DamagedCheckpointError(InputError):
    """A run whose checkpoints are all damaged: it can only start from scratch."""


class DivergedError(InputError):
    """A loss that is not finite: all workers of a training find it at the same step."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says; the name of its class where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def quoted(value: object) -> str:
    """A value as an error shows it: no longer than a line can bear."""
    text = repr(value)
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}... (cut)"


def printable(text: str) -> str:
    """A name that others chose, as one line has it."""
    return text if text.isprintable() else quoted(text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to add to an error about an unknown name: the closest known one, if any is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {quoted(close[0])}?" if close else ""


def join_problems(problems: Iterable[str]) -> str:
    """Put several mistakes on one line, so that all of them are reported at once."""
    return "; ".join(problems)
