"""What became of the best trials when they were trained again: DIR/NAME/final.json.

DIR/NAME/final.json                      the record below
DIR/NAME/final/<trial id>-s<seed>/       a run folder per training (hmtas.runs.record)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hmtas.files import write_json
from hmtas.terminal.text import counted, percent
from hmtas.validation import Frozen, read_record

if TYPE_CHECKING:
    from hmtas.statistics.verdicts import Comparison

RECORD = "final.json"
RUNS = "final"


class ComparedToPicked(Frozen):
    """A finalist minus the picked one, in shares of 1; the intervals of all hold together."""

    difference: float
    low: float
    high: float
    verdict: Literal["better", "worse", "cannot tell"]
    games_needed: int | None  # to tell a difference of this size; None: more than are to be had

    @classmethod
    def of(cls, comparison: "Comparison") -> "ComparedToPicked":
        """What the record keeps of a comparison."""
        return cls.model_validate(comparison, from_attributes=True)


class Finalist(Frozen):
    """One of the best trials, trained again."""

    trial: str
    runs: tuple[str, ...]  # run folders, relative to the study
    scores: tuple[float, ...]  # of each training, in [0, 1]
    score: float  # their mean
    against: ComparedToPicked | None = None  # None: this is the picked one


class Final(Frozen):
    """The finalists, best first, scored on games that had no part in the search."""

    metric: Literal["tight", "loose"]
    split: str
    num_games: int
    seed_deviation: float | None  # standard deviation between trainings; None: one seed each
    picked: str  # trial
    corrected: float  # its score, had these games not picked it
    finalists: tuple[Finalist, ...]
    failed: tuple[str, ...] = ()  # trainings that failed, and why


def write_final(folder: Path, final: Final) -> None:
    """Write the record, atomically."""
    write_json(folder / RECORD, final.model_dump(mode="json"))


def read_final(folder: Path) -> Final | None:
    """The record of a study; None where nothing was trained again.

    Raises:
        InputError: If it is malformed.
    """
    if not (folder / RECORD).is_file():
        return None
    return read_record(folder / RECORD, Final)


def verdict_of(final: Final) -> str:
    """What the finalists say about the picked one, in one or two sentences."""
    picked = final.finalists[0]
    trainings = counted(len(picked.scores), "training")
    text = (
        f"trial {final.picked}: {final.metric} {percent(picked.score)} % on "
        f"{final.num_games} games of {final.split}, mean of {trainings}"
    )
    if len(final.finalists) == 1:
        return f"{text}."
    text += f"; corrected for having been picked: {percent(final.corrected)} %."
    second = final.finalists[1]
    assert second.against is not None
    lead = percent(-second.against.difference)
    if second.against.verdict == "worse":
        return f"{text} It is better than {second.trial}, the second, by {lead} points."
    needed = second.against.games_needed
    more = f"; about {needed} games would tell such a difference" if needed else ""
    return (
        f"{text} It cannot be told from {second.trial}, the second: the lead of {lead} points "
        f"may as well be {percent(-second.against.high)} or {percent(-second.against.low)}{more}."
    )
