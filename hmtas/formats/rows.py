"""A table of labels: CSV with a head, a label a line.

    game,half,time_s,label
    league/match 1,2,754.2,Goal

`half` may be left out where games have no parts. Instead of `time_s` there may be `position_ms` or
`frame` (with `--fps`); `team`, `visibility` and `split` are read where they are, other columns not.
"""

from collections import defaultdict

from hmtas.errors import InputError, quoted
from hmtas.formats.labels import Label, Recording
from hmtas.formats.listing import Entry, Options, confidence_in, entry_name, label_name
from hmtas.formats.soccernet import is_visible
from hmtas.formats.table import table_rows
from hmtas.formats.times import LATEST_MS, MOST_PARTS, frame_time_s, read_number, read_position_s

TIMES = ("time_s", "position_ms", "frame")


def read_rows(content: bytes, place: str, options: Options) -> list[Entry]:
    """The entries of a table: one for each half, those of a game named `<game>/half<n>`.

    Raises:
        InputError: If it is no such table; the line is named.
    """
    labels: dict[tuple[str, int], list[Label]] = defaultdict(list)
    splits: dict[tuple[str, int], str] = {}
    rows = table_rows(content, place, ("game", "label"), TIMES)
    has_halves = any(row.get("half") for _, row in rows)
    for where, row in rows:
        game = entry_name(row["game"], where, "game")
        half = read_number(row["half"] if has_halves else 1, where, "half", "a number, 1 or more")
        if not (half.is_integer() and 1 <= half <= MOST_PARTS):
            raise InputError(f"{where}: half must be a number from 1, got {quoted(row['half'])}")
        key = (game, int(half))
        labels[key].append(
            Label(
                half=1,
                time_s=_time_s(row, where, options),
                name=label_name(row["label"], where),
                place=where,
                visible=is_visible(row, where),
                team=row.get("team") or "",
                confidence=confidence_in(row),
            )
        )
        split = row.get("split")
        if split and splits.setdefault(key, split) != split:
            raise InputError(
                f"{where}: is in split {split!r}, but a line before in {splits[key]!r}"
            )
    return [
        Entry(
            name=f"{game}/half{half}",
            labels=tuple(found),
            recording=Recording(game, fps=options.fps),
            labelled=True,
            split=splits.get((game, half)),
            place=place,
        )
        for (game, half), found in labels.items()
    ]


def _time_s(row: dict[str, str], place: str, options: Options) -> float:
    if "time_s" in row:
        time_s = read_number(row["time_s"], place, "time_s", "seconds")
    elif "position_ms" in row:
        return read_position_s(row["position_ms"], place, "position_ms")
    else:
        if options.fps is None:
            raise InputError(f"{place}: a frame has no time; say how many a second with --fps")
        return frame_time_s(row["frame"], options.fps, place)
    if not 0 <= time_s < LATEST_MS / 1000:
        raise InputError(f"{place}: a time must not be negative, got {time_s:g} s")
    return time_s
