"""The one exception a user's mistake raises."""

from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: one line that names the rule, the value, the place and the likely cause.

    The command line prints the line and exits with 2; every other exception is our own mistake
    and shows its traceback.
    """


class TransientError(InputError):
    """A failure that a later try may not meet: a full disk, a service or file that is missing."""


class DamagedCheckpointError(InputError):
    """A run whose checkpoints are all damaged: it can only start from scratch."""


class DivergedError(InputError):
    """A loss that is not finite: all workers of a training find it at the same step."""


def join_problems(problems: Iterable[str]) -> str:
    """Put several mistakes on one line, so that all of them are reported at once."""
    return "; ".join(problems)
