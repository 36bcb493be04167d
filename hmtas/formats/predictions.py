"""Predictions in one file, in the formats of label files, beside SoccerNet's folder or zip.

osl-v2     {"data": [{"id", "events": [{"label", "position_ms", "confidence"}]}]}
osl-v1     {"videos": [{"path_features", "predictions": [{"gameTime", "label", "position",
                                                          "confidence"}]}]}
frames     [{"video", "fps", "events": [{"frame", "label", "score"}]}]
segments   {"results": {"<video>": [{"segment": [s, s], "label", "score"}]}}
csv        game,half,time_s,label,confidence
rows       {"<game>": [[frame, team, jersey, label, score], ...]}, read with --fps
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmtas.errors import InputError, did_you_mean, printable, quoted
from hmtas.files import parse_json, walk_files, write_text
from hmtas.formats.actions import LEFT_OUT, Naming, find_action
from hmtas.formats.labels import AS_LABELLED, Label, Recording
from hmtas.formats.listing import entry_name
from hmtas.formats.recognise import LabelOptions, open_document
from hmtas.formats.submission import (
    SPOTS_FILE,
    read_confidence,
    read_game,
    read_submission,
    team_and_label,
    to_spots,
)
from hmtas.formats.times import frame_time_s, game_time_at, nearest_frames
from hmtas.formats.zips import MOST_BYTES, check_packed, open_zip
from hmtas.records import HalfId, Spots
from hmtas.terminal.text import counted

ENDINGS = (".json", ".csv", ".tsv")
NUM_NAMED = 3  # files that are named where none could be read


class Target(NamedTuple):
    """How predictions are to be written: a format, and what it needs."""

    format: str
    recordings: Mapping[HalfId, Recording]
    by_team: bool = False


def is_file_of_spots(path: Path) -> bool:
    """Does this look like predictions in one file, not in a zip?"""
    return path.is_file() and path.suffix.lower() in ENDINGS


def read_spots(
    path: Path,
    actions: Sequence[str],
    *,
    games: Collection[str] = (),
    naming: Naming = AS_LABELLED,
    options: LabelOptions | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> dict[HalfId, Spots]:
    """Read predictions of any format: see above, and `read_submission`.

    Args:
        path: A folder, a zip or a file.
        actions: Names, in the order of the indices.
        games: The games that are looked for.
        naming: How labels become actions.
        options: What the files leave open.
        on_note: Called with what looks wrong.

    Raises:
        InputError: If they are malformed, or of no known format: with what was found.
    """
    options = options or LabelOptions()
    if is_file_of_spots(path):
        name, content, place = path.name, path.read_bytes(), str(path)
    elif single := _only_file(path):
        name, content = single
        place = f"{path}: {printable(name)}"
    else:
        return read_submission(path, actions, games=games, naming=naming, on_note=on_note)
    document = parse_json(content, place) if name.lower().endswith(".json") else content
    if isinstance(document, dict) and isinstance(document.get("predictions"), list):
        game = _game_of(document, place, games)
        return read_game(document, game, place, actions, naming=naming, on_note=on_note)
    labels, halves = _predicted(document, place, games, options)
    return _to_spots(labels, halves, actions, naming)


def _only_file(path: Path) -> tuple[str, bytes] | None:
    """The one file of a folder or zip that has no `results_spotting.json`.

    Raises:
        InputError: If it has neither, with what was found there.
    """
    files: dict[str, Callable[[], bytes]] = {}
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file.read_bytes for file in walk_files(path)}
    elif zipfile.is_zipfile(path):
        with open_zip(path) as archive:
            names = [entry.filename for entry in archive.infolist() if entry.filename[-1:] != "/"]
        files = {name: partial(_unzipped, path, name) for name in names}
    names = [name for name in files if "__MACOSX/" not in name]
    if not files or any(name.rpartition("/")[2] == SPOTS_FILE for name in names):
        return None
    lists = [name for name in names if name.lower().endswith(ENDINGS)]
    if len(lists) == 1:
        return lists[0], files[lists[0]]()
    some = ", ".join(map(printable, sorted(names)[:NUM_NAMED]))
    raise InputError(
        f"{path}: holds no {SPOTS_FILE}, and not one .json or .csv of predictions alone, but "
        f"{counted(len(names), 'file')}: {some}{', ...' if len(names) > NUM_NAMED else ''}; "
        "is it a submission?"
    )


def _unzipped(path: Path, name: str) -> bytes:
    with open_zip(path) as archive:
        entry = archive.getinfo(name)
        check_packed(entry, f"{path}: {quoted(name)}", MOST_BYTES)
        return archive.read(entry)


def _predicted(
    document: Any, place: str, games: Collection[str], options: LabelOptions
) -> tuple[list[tuple[str, Label]], set[HalfId]]:
    """Every prediction with its game, and the halves that there are."""
    if _are_rows(document):
        labels = list(_read_rows(document, place, games, options))
        return labels, {HalfId(game, 1) for game, _ in labels}
    if isinstance(document, dict) and isinstance(document.get("results"), dict):  # of ActivityNet
        found = document["results"].items()
        document = {"database": {video: {"annotations": spots} for video, spots in found}}
    source = open_document(document, place, options)
    known = [game for game in source.games if source.is_labelled(game)]
    labels = [(game, label) for game in known for label in source.read(game).labels]
    return labels, {half for half in source.recordings if half.game in known}


def _game_of(document: Mapping[str, Any], place: str, games: Collection[str]) -> str:
    """The game of predictions that lie in no folder of it: by UrlLocal, or the only one."""
    game = document.get("UrlLocal")
    if isinstance(game, str) and game in games:
        return game
    if len(games) != 1:
        raise InputError(
            f"{place}: predictions of one game, and UrlLocal does not say which of "
            f"{counted(len(games), 'game')}, got {quoted(game)}; put it into the folder of its "
            f"game as {SPOTS_FILE}"
        )
    return next(iter(games))


def _are_rows(document: Any) -> bool:
    """Is this an object of lists of rows?"""
    return (
        isinstance(document, dict)
        and bool(document)
        and all(
            isinstance(rows, list) and all(isinstance(row, list) for row in rows)
            for rows in document.values()
        )
        and any(document.values())
    )


def _read_rows(
    document: Mapping[str, list[list[Any]]],
    place: str,
    games: Collection[str],
    options: LabelOptions,
) -> Iterator[tuple[str, Label]]:
    """Rows that begin with a frame and end with a label and a score."""
    if options.fps is None:
        raise InputError(f"{place}: rows of frames have no time; say how many a second with --fps")
    for name, rows in document.items():
        known = name in games or len(document) > 1
        if not known and len(games) != 1:
            raise InputError(f"{place}: no game {quoted(name)}{did_you_mean(name, games)}")
        game = entry_name(name, place, "a game") if known else next(iter(games))
        for number, row in enumerate(rows):
            where = f"{place}, {quoted(name)}, row {number}"
            if len(row) < 3 or not isinstance(row[-2], str):
                raise InputError(f"{where}: must be [frame, ..., label, score], got {quoted(row)}")
            time_s = frame_time_s(row[0], options.fps, where)
            team = row[1] if len(row) > 3 and isinstance(row[1], str) else ""
            yield game, Label(1, time_s, row[-2], where, True, team, row[-1])


def _to_spots(
    labels: Sequence[tuple[str, Label]],
    halves: Collection[HalfId],
    actions: Sequence[str],
    naming: Naming,
) -> dict[HalfId, Spots]:
    index = {action: i for i, action in enumerate(actions)}
    rows: dict[HalfId, list[tuple[float, int, float]]] = {half: [] for half in sorted(halves)}
    for game, label in labels:
        name = naming.action_of(label.name, label.team, label.place, index)
        if name == LEFT_OUT:
            continue
        if label.confidence is None:
            raise InputError(
                f"{label.place}: has no confidence; are these labels, and not predictions?"
            )
        confidence = read_confidence(label.confidence, label.place)
        row = (label.time_s, find_action(name, index, label.place), confidence)
        rows.setdefault(HalfId(game, label.half), []).append(row)
    return {half: to_spots(half, found) for half, found in rows.items()}


def write_spots(
    path: Path, spots: Mapping[HalfId, Spots], actions: Sequence[str], target: Target
) -> None:
    """Write predictions of all games into one file, in the format of the labels.

    Args:
        path: The file, replaced if it is there.
        spots: By half. Frames and milliseconds are rounded, confidences keep every digit.
        actions: Names, in the order of the indices.
        target: The format.

    Raises:
        InputError: If the format has no single file, or a half has no frames a second.
    """
    writer = _WRITERS.get(target.format)
    if writer is None:
        raise InputError(
            f"{path}: predictions of {target.format} are a file for each game; name a folder, or a "
            "file that ends in .zip"
        )
    ending = ".csv" if target.format == "csv" else ".json"
    if path.suffix.lower() != ending:
        raise InputError(f"{path}: predictions of {target.format} are a file that ends in {ending}")
    write_text(path, writer(spots, actions, target))


def _rows_of(
    spots: Spots, actions: Sequence[str], by_team: bool
) -> Iterator[tuple[float, dict[str, str], str, float]]:
    """Time, team, label and confidence of each spot, by time."""
    for n in np.argsort(spots.time_s, kind="stable").tolist():
        team, label = team_and_label(actions[int(spots.action[n])], by_team)
        yield float(spots.time_s[n]), team, label, float(spots.confidence[n])


def _video_of(half: HalfId, target: Target) -> str:
    recording = target.recordings.get(half)
    if recording is not None:
        return recording.video
    return half.game if half.half == 1 else f"{half.game}/half{half.half}"


def _fps_of(half: HalfId, target: Target) -> float:
    recording = target.recordings.get(half)
    if recording is None:  # as those of the others, where these agree
        every = {one.fps for one in target.recordings.values()}
        recording = Recording(half.game, fps=every.pop() if len(every) == 1 else None)
    if recording.fps is None:
        raise InputError(f"{half}: its label file says no frames a second, so spots have no frame")
    return recording.fps


def _osl_v2(spots: Mapping[HalfId, Spots], actions: Sequence[str], target: Target) -> str:
    data = [
        {
            "id": _video_of(half, target),
            "events": [
                {"head": "action", "label": label, **team, "position_ms": round(1000 * time_s),
                 "gameTime": game_time_at(half.half, round(1000 * time_s)),
                 "confidence": confidence}
                for time_s, team, label, confidence in _rows_of(found, actions, target.by_team)
            ],
        }
        for half, found in spots.items()
    ]  # fmt: skip
    head = {"version": "2.0", "task": "action_spotting", "metadata": {"type": "predictions"}}
    return _json({**head, "data": data})


def _osl_v1(spots: Mapping[HalfId, Spots], actions: Sequence[str], target: Target) -> str:
    videos = []
    for half, found in spots.items():
        recording = target.recordings.get(half)
        name = "path_features" if recording and recording.features else "path_video"
        named = recording.features[0] if recording and recording.features else None
        videos.append({
            name: named or _video_of(half, target),
            "predictions": [
                {"gameTime": game_time_at(half.half, round(1000 * time_s)), "label": label, **team,
                 "position": str(round(1000 * time_s)), "half": str(half.half),
                 "confidence": str(confidence)}
                for time_s, team, label, confidence in _rows_of(found, actions, target.by_team)
            ],
        })  # fmt: skip
    return _json({"version": 1, "videos": videos})


def _frames(spots: Mapping[HalfId, Spots], actions: Sequence[str], target: Target) -> str:
    return _json([
        {
            "video": _video_of(half, target),
            "fps": (fps := _fps_of(half, target)),
            "events": [
                {"frame": int(nearest_frames(time_s, fps)), "label": label, **team,
                 "score": confidence}
                for time_s, team, label, confidence in _rows_of(found, actions, target.by_team)
            ],
        }
        for half, found in spots.items()
    ])  # fmt: skip


def _segments(spots: Mapping[HalfId, Spots], actions: Sequence[str], target: Target) -> str:
    results = {
        _video_of(half, target): [
            {"segment": [time_s, time_s], "label": label, **team, "score": confidence}
            for time_s, team, label, confidence in _rows_of(found, actions, target.by_team)
        ]
        for half, found in spots.items()
    }
    return _json({"version": "hmtas", "results": results})


def _csv(spots: Mapping[HalfId, Spots], actions: Sequence[str], target: Target) -> str:
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    team_head = ["team"] if target.by_team else []
    writer.writerow(["game", "half", "time_s", *team_head, "label", "confidence"])
    for half, found in spots.items():
        for time_s, team, label, confidence in _rows_of(found, actions, target.by_team):
            writer.writerow([half.game, half.half, time_s, *team.values(), label, confidence])
    return table.getvalue()


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


_WRITERS: dict[str, Callable[[Mapping[HalfId, Spots], Sequence[str], Target], str]] = {
    "osl-v2": _osl_v2,
    "osl-v1": _osl_v1,
    "frames": _frames,
    "segments": _segments,
    "csv": _csv,
}
