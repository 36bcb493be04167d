"""Which parts of a game are packed: halves, extra time, sets; a game without parts is half 1."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from hmtas.formats.labels import HALVES


class Parts(NamedTuple):
    """The parts of a season."""

    known: frozenset[int]  # what is packed where a game has it
    usual: frozenset[int]  # what a game lacks that has not got it


def season_parts(
    found: Mapping[str, Collection[int]],
    labelled: Iterable[Collection[int]],
    asked: Sequence[int] = (),
) -> Parts:
    """The parts of a season, by what its games have.

    Halves 1 and 2 are always known, others by a label of any game or by name. Of a season without
    labels all are. A half that more than half of the games have is one that none should lack.

    Args:
        found: The parts that each game has embeddings of.
        labelled: The parts that each labelled game has labels in.
        asked: Parts to pack even if no label knows them.
    """
    by_label = [set(parts) for parts in labelled]
    number = Counter(part for parts in found.values() for part in parts)
    everything = set(number) if not by_label else set()
    return Parts(
        known=frozenset({*HALVES, *asked, *everything}.union(*by_label)),
        usual=frozenset(part for part in HALVES if 2 * number[part] > len(found)),
    )
