"""What looks wrong in a season that can be packed: said before anything is written."""

from collections.abc import Iterator, Mapping, Sequence

from hmtas.packing.lengths import doubted_rate, doubted_streams
from hmtas.packing.sources import SourceFile, SourceHalf
from hmtas.records import Events, HalfId
from hmtas.terminal.text import counted


def warnings_of(
    halves: Sequence[SourceHalf], events: Mapping[HalfId, Events], rate_hz: float
) -> tuple[str, ...]:
    """A line for each doubt: rates of rows, files the wrong way round, bytes that nobody reads."""
    rate = doubted_rate(halves, events, rate_hz)
    files = [file for source in halves for file in source.files]
    return (
        *([rate] if rate else []),
        *doubted_streams(halves, rate_hz),
        *_transposed(files),
        *_trailing(files),
    )


def _transposed(files: Sequence[SourceFile]) -> Iterator[str]:
    """Streams most files of which look like columns; the rows of a few may be as many by chance."""
    by_name: dict[str, list[SourceFile]] = {}
    for file in files:
        by_name.setdefault(file.name, []).append(file)
    for name, same in by_name.items():
        odd = [file for file in same if file.why_transposed]
        if 2 * len(odd) > len(same):
            yield (
                f"{counted(len(odd), 'file')} of {len(same)} of stream {name!r} may be transposed; "
                f"the first is {odd[0].path}: {odd[0].why_transposed}"
            )


def _trailing(files: Sequence[SourceFile]) -> Iterator[str]:
    for file in files:
        if file.num_trailing_bytes > 0:
            yield (
                f"{file.path}: goes on after its array, by "
                f"{counted(file.num_trailing_bytes, 'byte')} that are left out; were two arrays "
                "saved to one file?"
            )
