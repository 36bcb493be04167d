"""Spots to and from SoccerNet's `results_spotting.json`, one per game, in a folder or a zip.

    <league>/<season>/<game>/results_spotting.json
    {"UrlLocal": "<league>/<season>/<game>", "predictions": [
        {"gameTime": "1 - 30:34", "label": "Goal", "position": "1834000", "half": "1",
         "confidence": "0.91"}, ...]}

Numbers are strings there; files with plain numbers are read as well. Predictions keep their order,
because the evaluator takes the last of two in one half-second cell.
"""

import contextlib
import json
import shutil
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.errors import InputError, printable, quoted
from hmtas.files import atomic_path, parse_json, walk_files, write_text
from hmtas.formats.actions import LEFT_OUT, Naming, find_action
from hmtas.formats.labels import AS_LABELLED, HALVES
from hmtas.formats.soccernet import is_another
from hmtas.formats.times import (
    LATEST_MS,
    MOST_PARTS,
    are_apart,
    check_apart,
    example_of,
    game_time_at,
    game_time_s,
    read_number,
)
from hmtas.formats.zips import (
    LIMITS,
    MOST_BYTES,
    MOST_GAME_BYTES,
    check_packed,
    gigabytes,
    name_of,
    open_zip,
)
from hmtas.records import HalfId, Spots
from hmtas.terminal.text import counted

SPOTS_FILE = "results_spotting.json"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same spots give the same bytes
_OTHER_FILES = (".json", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".csv", ".txt")
Row = tuple[float, int, float]


def write_submission(
    path: Path, spots: Mapping[HalfId, Spots], actions: Sequence[str], *, by_team: bool = False
) -> None:
    """Write one file per game, all of them or none.

    Args:
        path: A zip if it ends in `.zip`, in any case, else a folder; an earlier submission is
            replaced.
        spots: By half. Times are rounded to milliseconds, confidences keep every digit.
        actions: Names, in the order of the indices.
        by_team: Is the first word of an action the team?

    Raises:
        InputError: If `path` is a folder that holds anything but a submission.
    """
    games = sorted({half.game for half in spots})
    documents = (
        (f"{game}/{SPOTS_FILE}", json.dumps(document, indent=1) + "\n")
        for game in games
        for document in [_document(game, spots, actions, by_team)]
    )
    if wants_zip(path):
        with atomic_path(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
            for name, text in documents:
                entry = zipfile.ZipInfo(name, _ZIP_DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, text)
        return
    _check_replaceable(path)
    with _atomic_folder(path) as scratch:
        for name, text in documents:
            write_text(scratch / name, text)


def _document(
    game: str, spots: Mapping[HalfId, Spots], actions: Sequence[str], by_team: bool
) -> dict[str, Any]:
    predictions = []
    for half in sorted(half for half in spots if half.game == game):
        found = spots[half]
        number = half.half
        position_ms = np.rint(found.time_s * 1000).astype(np.int64)
        for ms, action, confidence in zip(
            position_ms.tolist(), found.action.tolist(), found.confidence.tolist(), strict=True
        ):
            team, label = team_and_label(actions[action], by_team)
            predictions.append({
                "gameTime": game_time_at(number, ms),
                "label": label,
                **team,
                "position": str(ms),
                "half": str(number),
                "confidence": str(confidence),
            })  # fmt: skip
    return {"UrlLocal": game, "predictions": predictions}


def team_and_label(action: str, by_team: bool) -> tuple[dict[str, str], str]:
    """The key of the team in a file of predictions, if an action has one, and the label."""
    if not by_team:
        return {}, action
    team, _, label = action.partition(" ")
    return {"team": team}, label


def wants_zip(path: Path) -> bool:
    """Does the name of a submission to write ask for a zip, in any case, and not for a folder?

    Raises:
        InputError: If it ends as a file of another kind does.
    """
    ending = path.suffix.lower()
    if ending in _OTHER_FILES:
        raise InputError(
            f"{path}: spots are written into a folder, or into a file that ends in .zip, not in "
            f"{path.suffix}"
        )
    return ending == ".zip"


def holds_spots(path: Path) -> bool:
    """Does this look like a submission: a zip, or a folder with spots of a game?"""
    zipped = path.suffix.lower() == ".zip" or (path.is_file() and zipfile.is_zipfile(path))
    return zipped or any(file.name == SPOTS_FILE for file in walk_files(path))


def _check_replaceable(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path}: is a file; spots go into a folder, or into a file that ends in .zip"
        )
    foreign = [file for file in path.rglob("*") if file.is_file() and file.name != SPOTS_FILE]
    if foreign:
        raise InputError(
            f"{path}: not all of it is spots: {counted(len(foreign), 'other file')}, such as "
            f"{foreign[0].relative_to(path)}; name a new or empty folder"
        )


@contextlib.contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Give a scratch folder beside `path`; put it in its place when the block succeeds."""
    path = path.resolve()
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    scratch.mkdir(parents=True)
    try:
        yield scratch
        if path.exists():
            shutil.rmtree(path)
        scratch.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_submission(
    path: Path,
    actions: Sequence[str],
    *,
    games: Collection[str] = (),
    naming: Naming = AS_LABELLED,
    on_note: Callable[[str], None] = lambda note: None,
) -> dict[HalfId, Spots]:
    """Read a folder or zip of `results_spotting.json` files.

    `half` and `position` count, as for the evaluator. `on_note` is called where some predictions
    have a `gameTime`, or some files a `UrlLocal`, that says otherwise.

    Args:
        path: The folder or zip.
        actions: Names, in the order of the indices.
        games: The games that are looked for; where the submission has none of them, they may lie
            below a folder that is not a part of their names.
        naming: How labels become actions.
        on_note: See above.

    Returns:
        Halves 1 and 2 of every game, also those without spots, and other parts that have some;
        spots in the order of the file.

    Raises:
        InputError: If there is none, one is malformed, or a prediction has an unknown label, a
            confidence outside [0, 1], a half that is no number from 1, or no position >= 0; or if
            most have a gameTime that says otherwise, or the files are too large.
    """
    spots: dict[HalfId, Spots] = {}
    apart: list[dict[str, Any]] = []
    others: list[str] = []
    index = {action: i for i, action in enumerate(actions)}
    for name, content in _contents(path):
        game, _, _ = name.rpartition("/")
        if not game:
            raise InputError(f"{path}: {name} must lie in the folder of its game, not at the top")
        place = f"{path}: {printable(name)}"
        document = parse_json(content, place)
        predictions = _predictions_in(document, place)
        spots |= _read_game(game, predictions, index, naming, apart)
        if is_another(document.get("UrlLocal"), game):
            others.append(f"{name} says {quoted(document['UrlLocal'])}")
    if not spots:
        raise InputError(f"{path}: holds no {SPOTS_FILE}; is it a submission?")
    _tell_apart(str(path), apart, spots, on_note)
    if others:
        on_note(
            f"{path}: {counted(len(others), 'file')} of another game by UrlLocal, but the folder "
            f"counts; the first, {others[0]}"
        )
    return _below_a_folder(path, spots, games, on_note)


def read_game(
    document: Any,
    game: str,
    place: str,
    actions: Sequence[str],
    *,
    naming: Naming,
    on_note: Callable[[str], None],
) -> dict[HalfId, Spots]:
    """The spots of one game by its document, as `read_submission` reads those of many."""
    apart: list[dict[str, Any]] = []
    index = {action: i for i, action in enumerate(actions)}
    spots = _read_game(game, _predictions_in(document, place), index, naming, apart)
    _tell_apart(place, apart, spots, on_note)
    return spots


def _tell_apart(
    place: str,
    apart: Sequence[Mapping[str, Any]],
    spots: Mapping[HalfId, Spots],
    on_note: Callable[[str], None],
) -> None:
    """Refuse or tell that predictions have a gameTime that contradicts their position."""
    num_spots = sum(len(item.time_s) for item in spots.values())
    check_apart(place, apart, num_spots, "prediction")
    if apart:
        on_note(
            f"{place}: {len(apart)} of {counted(num_spots, 'prediction')} have a gameTime that is "
            f"not their half and position, which count; {example_of(apart)}"
        )


def _below_a_folder(
    path: Path,
    spots: dict[HalfId, Spots],
    games: Collection[str],
    on_note: Callable[[str], None],
) -> dict[HalfId, Spots]:
    """The same spots, by the names of the games where these lie below another folder."""
    named = sorted({half.game for half in spots})
    wanted = set(games)
    if not wanted or wanted.intersection(named):
        return spots
    for depth in range(1, max(game.count("/") for game in named) + 1):
        shorter = {game: game.split("/", depth)[-1] for game in named if game.count("/") >= depth}
        if wanted.intersection(shorter.values()) and len(set(shorter.values())) == len(shorter):
            above = named[0].rsplit("/", named[0].count("/") - depth + 1)[0]
            on_note(f"{path}: the games lie below {above!r}, which is left out of their names")
            return {
                half._replace(game=shorter[half.game]): replace(
                    found, half=half._replace(game=shorter[half.game])
                )
                for half, found in spots.items()
                if half.game in shorter
            }
    return spots


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of spots, by name."""
    if path.is_dir():
        for file in sorted(file for file in walk_files(path) if file.name == SPOTS_FILE):
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    if not path.exists():
        raise InputError(f"{path}: no such file or folder of spots")
    with open_zip(path) as archive:
        for entry in _entries(path, archive):
            with archive.open(entry) as opened:  # no more than the zip says that there is
                yield name_of(entry), opened.read(entry.file_size + 1)


def _entries(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of spots in a zip, by name, if they are what a submission may hold."""
    found = [e for e in archive.infolist() if e.filename.rpartition("/")[2] == SPOTS_FILE]
    names = Counter(entry.filename for entry in found)
    for entry in found:
        place = f"{path}: {quoted(entry.filename)}"
        if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
            raise InputError(f"{place} leads out of the zip; a game is named from its top")
        if names[entry.filename] > 1:
            raise InputError(f"{place} is there twice; which of the two counts?")
        check_packed(entry, place, MOST_GAME_BYTES)
    num_bytes = sum(entry.file_size for entry in found)
    if num_bytes > MOST_BYTES:
        raise InputError(f"{path}: unpacks to {gigabytes(num_bytes)}; {LIMITS}")
    return sorted(found, key=lambda entry: entry.filename)


def _predictions_in(document: Any, place: str) -> list[tuple[str, Any]]:
    """The predictions of a file, each with its place."""
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list):
        raise InputError(f"{place}: no list named 'predictions'; is it a {SPOTS_FILE}?")
    return [(f"{place}, prediction {number}", one) for number, one in enumerate(predictions)]


def _read_game(
    game: str,
    predictions: Iterable[tuple[str, Any]],
    index: Mapping[str, int],
    naming: Naming,
    apart: list[dict[str, Any]],
) -> dict[HalfId, Spots]:
    """The spots of a game; predictions whose times contradict each other go to `apart`."""
    rows: dict[int, list[Row]] = {number: [] for number in HALVES}
    for place, prediction in predictions:
        found = _read_prediction(prediction, place, index, naming)
        if found is None:
            continue
        half, row = found
        rows.setdefault(half, []).append(row)
        told = game_time_s(prediction.get("gameTime"))
        if told and (told[0] != half or are_apart(told[1], row[0])):
            apart.append(prediction)
    return {half: to_spots(half, rows[half.half]) for half in (HalfId(game, n) for n in rows)}


def _read_prediction(
    prediction: Any, place: str, index: Mapping[str, int], naming: Naming
) -> tuple[int, Row] | None:
    """Half, and time, action and confidence of a prediction; None if its label is left out."""
    if not isinstance(prediction, dict):
        raise InputError(f"{place}: must be an object, got {quoted(prediction)}")
    label = prediction.get("label")
    if isinstance(label, str):
        team = prediction.get("team")
        label = naming.action_of(label, team if isinstance(team, str) else "", place, index)
        if label == LEFT_OUT:
            return None
    action = find_action(label, index, place)
    half = _number(prediction, "half", place, "a number from 1")
    if not (half.is_integer() and 1 <= half <= MOST_PARTS):
        raise InputError(f"{place}: half must be a number from 1, got {quoted(prediction['half'])}")
    position_ms = _number(prediction, "position", place, "milliseconds")
    if not 0 <= position_ms < LATEST_MS:
        raise InputError(
            f"{place}: position must be milliseconds >= 0, got {quoted(prediction['position'])}"
        )
    confidence = read_confidence(prediction.get("confidence"), place)
    return int(half), (int(position_ms) / 1000, action, confidence)


def read_confidence(value: object, place: str, name: str = "confidence") -> float:
    """A confidence, or the text of one.

    Raises:
        InputError: If it is no number in [0, 1].
    """
    confidence = read_number(value, place, name, "a number in [0, 1]")
    if not 0 <= confidence <= 1:
        raise InputError(
            f"{place}: {name} must be in [0, 1], got {quoted(value)}; a logit, or a percentage?"
        )
    return confidence


def _number(prediction: Mapping[str, Any], name: str, place: str, meaning: str) -> float:
    return read_number(prediction.get(name), place, name, meaning)


def to_spots(half: HalfId, rows: Sequence[Row]) -> Spots:
    """Spots from their times, actions and confidences, in their order."""
    return Spots(
        half=half,
        time_s=np.array([row[0] for row in rows], dtype=np.float64),
        action=np.array([row[1] for row in rows], dtype=np.int64),
        confidence=np.array([row[2] for row in rows], dtype=np.float64),
    )
