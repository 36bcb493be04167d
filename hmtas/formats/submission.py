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
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.errors import InputError, quoted
from hmtas.files import atomic_path, parse_json, walk_files, write_text
from hmtas.formats.labels import (
    HALVES,
    LATEST_MS,
    are_apart,
    check_apart,
    example_of,
    find_action,
    game_time_s,
    is_another,
)
from hmtas.records import HalfId, Spots
from hmtas.terminal.text import counted

SPOTS_FILE = "results_spotting.json"
MOST_GAME_BYTES = 1e8  # four times what a spot per half second and action takes
MOST_BYTES = 4e9
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same spots give the same bytes
_OTHER_FILES = (".json", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".csv", ".txt")
_Row = tuple[float, int, float]


def write_submission(path: Path, spots: Mapping[HalfId, Spots], actions: Sequence[str]) -> None:
    """Write one file per game, all of them or none.

    Args:
        path: A zip if it ends in `.zip`, in any case, else a folder; an earlier submission is
            replaced.
        spots: By half. Times are rounded to milliseconds, confidences keep every digit.
        actions: Names, in the order of the indices.

    Raises:
        InputError: If `path` is a folder that holds anything but a submission.
    """
    games = sorted({half.game for half in spots})
    documents = (
        (f"{game}/{SPOTS_FILE}", json.dumps(_document(game, spots, actions), indent=1) + "\n")
        for game in games
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


def _document(game: str, spots: Mapping[HalfId, Spots], actions: Sequence[str]) -> dict[str, Any]:
    predictions = []
    for number in HALVES:
        half = HalfId(game, number)
        found = spots.get(half) or Spots.empty(half)
        position_ms = np.rint(found.time_s * 1000).astype(np.int64)
        for ms, action, confidence in zip(
            position_ms.tolist(), found.action.tolist(), found.confidence.tolist(), strict=True
        ):
            minutes, seconds = divmod(ms // 1000, 60)
            predictions.append({
                "gameTime": f"{number} - {minutes:02d}:{seconds:02d}",
                "label": actions[action],
                "position": str(ms),
                "half": str(number),
                "confidence": str(confidence),
            })  # fmt: skip
    return {"UrlLocal": game, "predictions": predictions}


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
    path: Path, actions: Sequence[str], *, on_note: Callable[[str], None] = lambda note: None
) -> dict[HalfId, Spots]:
    """Read a folder or zip of `results_spotting.json` files.

    `half` and `position` count, as for the evaluator. `on_note` is called where some predictions
    have a `gameTime`, or some files a `UrlLocal`, that says otherwise.

    Returns:
        Both halves of every game, also those without spots; spots in the order of the file.

    Raises:
        InputError: If there is none, one is malformed, or a prediction has an unknown label, a
            confidence outside [0, 1], a half that is not 1 or 2, or no position >= 0; or if most
            have a gameTime that says otherwise, or the files are too large.
    """
    spots: dict[HalfId, Spots] = {}
    apart: list[dict[str, Any]] = []
    others: list[str] = []
    for name, content in _contents(path):
        game, _, _ = name.rpartition("/")
        if not game:
            raise InputError(f"{path}: {name} must lie in the folder of its game, not at the top")
        place = f"{path}: {name}"
        document = parse_json(content, place)
        spots |= _read_game(game, document, place, actions, apart)
        if is_another(document.get("UrlLocal"), game):
            others.append(f"{name} says {quoted(document['UrlLocal'])}")
    if not spots:
        raise InputError(f"{path}: holds no {SPOTS_FILE}; is it a submission?")
    num_spots = sum(len(item.time_s) for item in spots.values())
    check_apart(str(path), apart, num_spots, "prediction")
    if apart:
        on_note(
            f"{path}: {len(apart)} of {counted(num_spots, 'prediction')} have a gameTime that is "
            f"not their half and position, which count; {example_of(apart)}"
        )
    if others:
        on_note(
            f"{path}: {counted(len(others), 'file')} of another game by UrlLocal, but the folder "
            f"counts; the first, {others[0]}"
        )
    return spots


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of spots, by name."""
    if path.is_dir():
        for file in sorted(file for file in walk_files(path) if file.name == SPOTS_FILE):
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    if not path.exists():
        raise InputError(f"{path}: no such file or folder of spots")
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in _entries(path, archive):
                with archive.open(entry) as opened:  # no more than the zip says that there is
                    yield _name_of(entry), opened.read(entry.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a sound zip ({error}); spots are a folder or a zip, was it cut short?"
        ) from None


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
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{place} is packed in an unusual way; make the zip with 'deflate'")
        if entry.file_size > MOST_GAME_BYTES:
            raise InputError(f"{place} unpacks to {_gigabytes(entry.file_size)}; {_LIMITS}")
    num_bytes = sum(entry.file_size for entry in found)
    if num_bytes > MOST_BYTES:
        raise InputError(f"{path}: unpacks to {_gigabytes(num_bytes)}; {_LIMITS}")
    return sorted(found, key=lambda entry: entry.filename)


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB"


_LIMITS = (
    f"spots of a game may take {_gigabytes(MOST_GAME_BYTES)} and all of them "
    f"{_gigabytes(MOST_BYTES)}: are these spots?"
)


def _name_of(entry: zipfile.ZipInfo) -> str:
    """Its name in the zip; Macs write UTF-8 without saying so, which reads as cp437."""
    says_utf8 = entry.flag_bits & 0x800
    if not says_utf8:
        with contextlib.suppress(UnicodeError):
            return entry.filename.encode("cp437").decode()
    return entry.filename


def _read_game(
    game: str, document: Any, place: str, actions: Sequence[str], apart: list[dict[str, Any]]
) -> dict[HalfId, Spots]:
    """The spots of a game; predictions whose times contradict each other go to `apart`."""
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list):
        raise InputError(f"{place}: no list named 'predictions'; is it a {SPOTS_FILE}?")
    index = {action: i for i, action in enumerate(actions)}
    rows: dict[int, list[_Row]] = {number: [] for number in HALVES}
    for number, prediction in enumerate(predictions):
        half, row = _read_prediction(prediction, f"{place}, prediction {number}", index)
        rows[half].append(row)
        told = game_time_s(prediction.get("gameTime"))
        if told and (told[0] != half or are_apart(told[1], row[0])):
            apart.append(prediction)
    return {half: _to_spots(half, rows[half.half]) for half in (HalfId(game, n) for n in HALVES)}


def _read_prediction(prediction: Any, place: str, index: Mapping[str, int]) -> tuple[int, _Row]:
    if not isinstance(prediction, dict):
        raise InputError(f"{place}: must be an object, got {quoted(prediction)}")
    action = find_action(prediction.get("label"), index, place)
    half = _number(prediction, "half", place, "1 or 2")
    if half not in HALVES:
        raise InputError(f"{place}: half must be 1 or 2, got {quoted(prediction['half'])}")
    position_ms = _number(prediction, "position", place, "milliseconds")
    if not 0 <= position_ms < LATEST_MS:
        raise InputError(
            f"{place}: position must be milliseconds >= 0, got {quoted(prediction['position'])}"
        )
    confidence = _number(prediction, "confidence", place, "a number in [0, 1]")
    if not 0 <= confidence <= 1:
        raise InputError(
            f"{place}: confidence must be in [0, 1], got {quoted(prediction['confidence'])}; "
            "a logit, or a percentage?"
        )
    return int(half), (int(position_ms) / 1000, action, confidence)


def _number(prediction: Mapping[str, Any], name: str, place: str, meaning: str) -> float:
    """A number, or the text of one."""
    value = prediction.get(name)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    raise InputError(f"{place}: {name} must be {meaning}, got {quoted(value)}")


def _to_spots(half: HalfId, rows: Sequence[_Row]) -> Spots:
    return Spots(
        half=half,
        time_s=np.array([row[0] for row in rows], dtype=np.float64),
        action=np.array([row[1] for row in rows], dtype=np.int64),
        confidence=np.array([row[2] for row in rows], dtype=np.float64),
    )
