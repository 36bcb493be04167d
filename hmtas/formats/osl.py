"""OSL's label files, versions 1 and 2: a JSON object that lists videos with their annotations.

    {"version": 1, "labels": ["Penalty", ...], "videos": [                              version 1
        {"path_video": "...", "path_features": "<game>/1_ResNET_TF2_PCA512.npy",
         "annotations": [{"gameTime": "1 - 00:40", "label": "Goal", "position": "40000"}]}]}
    {"version": "2.0", "metadata": {"split": "train"},                                  version 2
     "labels": {"action": {"type": "single_label", "labels": ["pass", ...]}}, "data": [
        {"id": "...", "inputs": [{"type": "video", "path": "...", "fps": 25.0}],
         "events": [{"head": "action", "label": "pass", "position_ms": 1240}]}]}

Positions count from the start of the video; without one a label is at its gameTime. The half of a
gameTime must be that of the video, unless the position tells that it counts on through the match.
"""

from collections.abc import Iterable, Sequence
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
    path_text,
    positive,
)
from hmtas.formats.soccernet import is_visible
from hmtas.formats.times import (
    MOST_APART_S,
    are_apart,
    game_time_s,
    read_game_time,
    read_position_s,
)
from hmtas.terminal.text import counted

HEAD = "action"  # whose labels are the actions, where a file has several heads


def read_osl_v1(document: dict[str, Any], place: str, options: Options) -> list[Entry]:
    """The entries of a file of version 1."""
    found = []
    for number, video in enumerate(entries_of(document["videos"], place, "videos")):
        where = f"{place}, video {number}"
        features = video.get("path_features")
        named = video.get("path_video", video.get("path", features))
        name = entry_name(named if features is None else features, where, "path")
        fps = positive(video.get("fps"), where, "fps", "frames a second")
        labels = []
        annotations = video.get("annotations", video.get("predictions"))
        items = entries_of(annotations, where, "annotations")
        _check_positions(items, where, "position")
        for at, item in enumerate(items):
            labels.append(_read_label(item, f"{where}, annotation {at}", "position"))
        found.append(
            Entry(
                name=name,
                labels=tuple(labels),
                recording=Recording(
                    video=name if named is None else path_text(named, where, "path_video"),
                    features=() if features is None else (features,),
                    fps=fps or options.fps,
                ),
                labelled=annotations is not None,
                split=None,
                place=where,
            )
        )
    return found


def v1_actions(document: dict[str, Any]) -> list[Any]:
    """The actions that a file of version 1 lists."""
    labels = document.get("labels")
    return labels if isinstance(labels, list) else []


def read_osl_v2(document: dict[str, Any], place: str, options: Options) -> list[Entry]:
    """The entries of a file of version 2."""
    found = []
    heads = _heads_in(document, place)
    metadata = document.get("metadata")
    split = metadata.get("split") if isinstance(metadata, dict) else None
    for number, sample in enumerate(entries_of(document["data"], place, "data")):
        where = f"{place}, data {number}"
        inputs = entries_of(sample.get("inputs"), where, "inputs")
        paths = [item.get("path") for item in inputs]
        named = sample.get("id")
        name = entry_name(named if named is not None else next(iter(paths), None), where, "id")
        arrays = [
            item for item in inputs if isinstance(item.get("path"), str)
            and item["path"].lower().endswith(".npy") and "frame" not in str(item.get("type"))
        ]  # fmt: skip
        frames = [
            positive(item.get("fps"), where, "fps", "frames a second")
            for item in inputs
            if item not in arrays
        ]
        events = sample.get("events")
        _check_positions(entries_of(events, where, "events"), where, "position_ms")
        labels = [
            _read_label(item, f"{where}, event {at}", "position_ms")
            for at, item in enumerate(entries_of(events, where, "events"))
            if _is_action(item, heads, f"{where}, event {at}")
        ]
        found.append(
            Entry(
                name=name,
                labels=tuple(labels),
                recording=Recording(
                    video=named if isinstance(named, str) else name,
                    features=tuple(path_text(item["path"], where, "path") for item in arrays),
                    fps=next(filter(None, frames), options.fps),
                    rates_hz=tuple(
                        positive(item.get("fps"), where, "fps", "rows a second") for item in arrays
                    ),
                ),
                labelled=events is not None,
                split=split if isinstance(split, str) else None,
                place=where,
            )
        )
    return found


def v2_actions(document: dict[str, Any]) -> list[Any]:
    """The actions that a file of version 2 lists: the labels of its head."""
    heads = document.get("labels")
    if not isinstance(heads, dict) or not heads:
        return []
    head = heads[HEAD if HEAD in heads else next(iter(heads))]
    labels = head.get("labels") if isinstance(head, dict) else None
    return labels if isinstance(labels, list) else []


def _heads_in(document: dict[str, Any], place: str) -> list[str]:
    """The heads of a file, that of the actions first: the one called so, or the only one.

    They are those that the file lists, or else those that its events name.

    Raises:
        InputError: If there are several, none of which is called so.
    """
    listed = document.get("labels")
    heads = list(listed) if isinstance(listed, dict) else []
    if not heads:
        samples = [sample for sample in document["data"] if isinstance(sample, dict)]
        events = [item for sample in samples for item in _list(sample.get("events"))]
        named = (item.get("head") for item in events if isinstance(item, dict))
        heads = list(dict.fromkeys(head for head in named if isinstance(head, str)))
    if len(heads) > 1 and HEAD not in heads:
        raise InputError(
            f"{place}: of its heads, {', '.join(map(quoted, heads[:5]))}, none is {HEAD!r}; which "
            "has the actions?"
        )
    return sorted(heads or [HEAD], key=lambda head: head != HEAD)


def _is_action(event: dict[str, Any], heads: Sequence[str], place: str) -> bool:
    """Is an event of the head of actions? It is where it names none."""
    head = event.get("head")
    if head is not None and head not in heads:
        raise InputError(
            f"{place}: head {quoted(head)} is none of the file, {', '.join(map(quoted, heads[:5]))}"
        )
    return head is None or head == heads[0]


def _check_positions(items: Iterable[dict[str, Any]], place: str, key: str) -> None:
    """Refuse positions in seconds, or all 0, by their gameTime.

    Raises:
        InputError: If most of those that have both are so.
    """
    told = [
        (str(item[key]), found[1])
        for item in items
        if item.get(key) not in (None, "")
        and (found := game_time_s(item.get("gameTime")))
        and found[1] > MOST_APART_S
    ]
    wrong = [(position, s) for position, s in told if position in ("0", str(s), f"{s}.0")]
    if 2 * len(wrong) > len(told):
        some = f"{len(wrong)} of {counted(len(told), 'label')}"
        position, whole_s = wrong[0]
        raise InputError(
            f"{place}: {key} must be milliseconds, but {some} have {position} at {whole_s} s by "
            "their gameTime; are these seconds, or all 0?"
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_label(item: dict[str, Any], place: str, key: str) -> Label:
    position = item.get(key)
    if position is None or position == "":
        if item.get("gameTime") is None:
            raise InputError(f"{place}: has neither {key} nor gameTime, got {quoted(item)}")
        half, whole_s = read_game_time(item["gameTime"], place)
        time_s = float(whole_s)
    else:
        time_s = read_position_s(position, place, key)
        told = game_time_s(item.get("gameTime"))
        # A position that is not the gameTime counts through the match, whatever half that names.
        half = told[0] if told and not are_apart(told[1], time_s) else 1
    team = item.get("team")
    visible = (
        is_visible(item, place) if "visibility" in item else "not shown" not in comment_in(item)
    )
    return Label(half, time_s, label_name(item.get("label"), place), place, visible,
                 team if isinstance(team, str) else "", confidence_in(item))  # fmt: skip
