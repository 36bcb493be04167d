"""Segments with a start and an end, as ActivityNet has them, of which one moment is spotted.

{"database": {"<video>": {"subset": "training", "duration": 120.5,
                          "annotations": [{"segment": [12.1, 15.0], "label": "..."}]}}}
"""

from typing import Any

from hmtas.errors import InputError, quoted
from hmtas.formats.labels import Label, Recording
from hmtas.formats.listing import (
    Entry,
    Options,
    confidence_in,
    entries_of,
    entry_name,
    label_name,
    positive,
)
from hmtas.formats.times import read_number

LATEST_S = 1e7


def read_segments(document: dict[str, Any], place: str, options: Options) -> list[Entry]:
    """The entries of a file of segments.

    Raises:
        InputError: If it is malformed, or nothing says which moment of a segment to spot.
    """
    videos = document.get("database", document)
    if not isinstance(videos, dict):
        raise InputError(f"{place}: database must be an object of videos, got {quoted(videos)}")
    if options.spot_at is None:
        raise InputError(
            f"{place}: these are segments, and a spot is a moment; choose which one with "
            "--spot-at start, middle or end"
        )
    found = []
    for name, video in videos.items():
        where = f"{place}, video {quoted(name)}"
        if not isinstance(video, dict):
            raise InputError(f"{where}: must be an object, got {quoted(video)}")
        annotations = video.get("annotations")
        split = video.get("subset", video.get("split"))
        duration_s = positive(video.get("duration"), where, "duration", "seconds")
        found.append(
            Entry(
                name=entry_name(name, where, "its name"),
                labels=tuple(
                    _read_label(item, f"{where}, annotation {at}", options.spot_at)
                    for at, item in enumerate(entries_of(annotations, where, "annotations"))
                ),
                recording=Recording(name, duration_s=duration_s),
                labelled=annotations is not None,
                split=split if isinstance(split, str) else None,
                place=where,
            )
        )
    return found


def _read_label(item: dict[str, Any], place: str, spot_at: str) -> Label:
    ends = item.get("segment")
    if not isinstance(ends, list) or len(ends) != 2:
        raise InputError(f"{place}: segment must be [start, end] in seconds, got {quoted(ends)}")
    start_s, end_s = (read_number(end, place, "segment", "two numbers of seconds") for end in ends)
    if not 0 <= start_s <= end_s <= LATEST_S:
        raise InputError(f"{place}: segment must begin at 0 or later and end after it began, "
                         f"got {quoted(ends)}")  # fmt: skip
    time_s = {"start": start_s, "middle": (start_s + end_s) / 2, "end": end_s}[spot_at]
    team = item.get("team")
    return Label(1, time_s, label_name(item.get("label"), place), place,
                 team=team if isinstance(team, str) else "",
                 confidence=confidence_in(item))  # fmt: skip
