"""Lists of frames, as E2E-Spot and its successors have them: tennis, diving, gymnastics, skating.

    [{"video": "...", "num_frames": 7500, "fps": 25, "events": [
        {"frame": 112, "label": "near_court_serve", "comment": "home; visible"}, ...]}, ...]

A frame is at frame / fps seconds. Files of soccer say team and visibility in the comment.
"""

from typing import Any

from hmtas.errors import InputError, quoted
from hmtas.formats.labels import Label, Recording
from hmtas.formats.listing import (
    Entry,
    Options,
    comment_in,
    confidence_in,
    entries_of,
    entry_name,
    label_name,
    positive,
)
from hmtas.formats.times import frame_time_s


def read_frames(document: list[Any], place: str, options: Options) -> list[Entry]:
    """The entries of a list of frames."""
    found = []
    for number, video in enumerate(entries_of(document, place, "videos")):
        where = f"{place}, video {number}"
        name = entry_name(video.get("video"), where, "video")
        fps = positive(video.get("fps"), where, "fps", "frames a second") or options.fps
        events = video.get("events")
        rows = entries_of(events, where, "events")
        frames = positive(video.get("num_frames"), where, "num_frames", "frames")
        if rows and fps is None:
            raise InputError(
                f"{where}: fps is {quoted(video.get('fps'))}, so its frames have no time; say how "
                "many frames a second with --fps"
            )
        found.append(
            Entry(
                name=name,
                labels=tuple(
                    _read_event(row, f"{where}, event {at}", fps or 1.0)
                    for at, row in enumerate(rows)
                ),
                recording=Recording(
                    video=video["video"],
                    fps=fps,
                    duration_s=frames / fps if frames and fps else None,
                ),
                labelled=events is not None,
                split=None,
                place=where,
            )
        )
    return found


def _read_event(row: dict[str, Any], place: str, fps: float) -> Label:
    comment = [part.strip() for part in comment_in(row).split(";")]
    team = comment[0] if len(comment) > 1 else row.get("team")
    return Label(
        half=1,
        time_s=frame_time_s(row.get("frame"), fps, place),
        name=label_name(row.get("label"), place),
        place=place,
        visible="not shown" not in comment,
        team=team if isinstance(team, str) else "",
        confidence=confidence_in(row),
    )
