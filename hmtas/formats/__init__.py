"""Files that others wrote or will read: labels, splits and submissions."""

from hmtas.formats.labels import ACTIONS, find_games, read_events
from hmtas.formats.splits import read_splits
from hmtas.formats.submission import read_submission, write_submission

__all__ = [
    "ACTIONS",
    "find_games",
    "read_events",
    "read_splits",
    "read_submission",
    "write_submission",
]
