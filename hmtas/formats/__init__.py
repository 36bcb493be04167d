"""Files that others wrote or will read: labels, splits and submissions."""

from hmtas.formats.actions import ACTIONS
from hmtas.formats.recognise import open_labels
from hmtas.formats.soccernet import find_games, read_events
from hmtas.formats.splits import read_splits
from hmtas.formats.submission import read_submission, write_submission

__all__ = [
    "ACTIONS",
    "find_games",
    "open_labels",
    "read_events",
    "read_splits",
    "read_submission",
    "write_submission",
]
