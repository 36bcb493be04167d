"""How numbers look wherever they are shown: shares in percent, differences in points, times."""

import math
from collections.abc import Sequence

NOTHING = "-"  # where there is no number
PLURALS = {"half": "halves", "process": "processes"}  # all other nouns take an s


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 1, such as "41.20"; a dash for None and nan."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def points(difference: float | None, digits: int = 2) -> str:
    """A difference of shares, such as "+1.20"."""
    if difference is None or math.isnan(difference):
        return NOTHING
    return f"{100 * difference:+.{digits}f}"


def interval(ends: Sequence[float] | None, digits: int = 2, *, signed: bool = False) -> str:
    """The ends of an interval, such as "38.05 to 44.35"; signed for differences."""
    if ends is None or not _tells(ends):
        return NOTHING
    shown = points if signed else percent
    return " to ".join(shown(end, digits) for end in ends)


def estimate(share: float | None, ends: Sequence[float] | None) -> str:
    """A score with its interval, such as "41.20 [38.05, 44.35]"."""
    text = percent(share)
    return f"{text} [{', '.join(map(percent, ends))}]" if ends and _tells(ends) else text


def gain(difference: float, ends: Sequence[float]) -> str:
    """A difference with its interval, such as "+1.20 [-0.10, +2.50]"."""
    text = points(difference)
    return f"{text} [{', '.join(map(points, ends))}]" if _tells(ends) else text


def _tells(ends: Sequence[float]) -> bool:
    """Does an interval exclude anything? That of a single game is all that is possible."""
    return tuple(ends) not in ((0, 1), (-1, 1))


def duration(seconds: float) -> str:
    """Such as "48 s", "3 min 12 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: float, noun: str) -> str:
    """A number and its noun, such as "1 game", "1,200 games", "0.5 GPUs" or "2 halves"."""
    number = int(number) if number == int(number) else number
    return f"{number:,} {noun if number == 1 else PLURALS.get(noun, f'{noun}s')}"
