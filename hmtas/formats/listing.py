"""Label files that list many games: what an entry says, and which games and halves these are.

An entry is a video. Its name, without its ending, is that of a game, or of a half of one where it
says so: `<game>/half2`, `<game>/2_224p`, and in OSL 1 `<game>/2_ResNET_TF2_PCA512`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from hmtas.errors import InputError, quoted
from hmtas.formats.labels import REPEATED, GameLabels, Label, Oddity, Recording, repeated
from hmtas.formats.splits import SPLITS, Splits, check_disjoint
from hmtas.formats.times import read_number
from hmtas.records import HalfId

CONFIDENCES = ("confidence", "confidence_score", "score")
MOST_NAME_BYTES = 250  # of a file or folder, that ".npy" may be added to
MOST_PATH = 1000  # characters
_PART = re.compile(r"half_?([1-9]\d?)|([1-9])_(\d+p|HQ|LQ)")
_NUMBERED = re.compile(r"half_?([1-9]\d?)|([1-9])_([\w-]+)")  # of embeddings, in OSL 1
_ENDINGS = frozenset((
    ".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".npy", ".npz", ".parquet", ".wav",
    ".mp3", ".json", ".h5", ".pt",
))  # fmt: skip


class Entry(NamedTuple):
    """A video in a label file."""

    name: str  # as the file has it, without its ending
    labels: tuple[Label, ...]  # of half 1 where they do not say, until it is known which it is
    recording: Recording
    labelled: bool
    split: str | None
    place: str


class Options(NamedTuple):
    """What label files may leave open."""

    fps: float | None = None  # where the file has none, or -1
    spot_at: str | None = None  # "start", "middle" or "end" of a segment


@dataclass(frozen=True)
class Listing:
    """Games by the entries of some files (`hmtas.formats.labels.LabelSource`)."""

    format: str
    files: tuple[Path, ...]
    labels: Mapping[str, GameLabels]  # of the labelled games
    games: Sequence[str]
    recordings: Mapping[HalfId, Recording]
    splits: Splits | None
    actions: tuple[str, ...]
    actions_from: str = "the label files"

    @property
    def place(self) -> str:
        """The file, or the folder of several."""
        return str(self.files[0] if len(self.files) == 1 else self.files[0].parent)

    def label_file(self, game: str) -> Path:
        """The file, or the first of several."""
        return self.files[0]

    def is_labelled(self, game: str) -> bool:
        """Has a game annotations, be it none?"""
        return game in self.labels

    def read(self, game: str) -> GameLabels:
        """The annotations of a game."""
        return self.labels[game]


def make_listing(
    name: str,
    files: Sequence[Path],
    entries: Sequence[Entry],
    actions: Iterable[str],
    actions_from: str = "the label files",
) -> Listing:
    """Games and halves from the entries of all files of the format `name`.

    Raises:
        InputError: If an entry comes twice, or a game is in two splits.
    """
    part = _NUMBERED if name == "osl-v1" else _PART
    parts = _halves_of([entry.name for entry in entries], part)
    recordings: dict[HalfId, Recording] = {}
    labels: dict[str, list[Label]] = defaultdict(list)
    games: set[str] = set()
    labelled: set[str] = set()
    places: dict[HalfId, str] = {}
    splits: dict[str, dict[str, None]] = defaultdict(dict)
    for entry, half in zip(entries, parts, strict=True):
        if half in places:
            raise InputError(
                f"{entry.place}: {quoted(entry.name)} is in {places[half]} as well; "
                "which of the two counts?"
            )
        places[half] = entry.place
        games.add(half.game)
        recordings[half] = entry.recording
        if entry.labelled:
            labelled.add(half.game)
            labels[half.game] += _of_half(half, entry.labels)
        if entry.split is not None:
            splits[entry.split][half.game] = None
    names = [*(name for name in SPLITS if name in splits), *sorted(set(splits).difference(SPLITS))]
    known = {name: tuple(splits[name]) for name in names} if splits else None
    if known:
        check_disjoint(known, str(files[0] if len(files) == 1 else files[0].parent))
    return Listing(
        format=name,
        files=tuple(files),
        labels={game: _with_oddities(game, labels[game]) for game in labelled},
        games=sorted(games),
        recordings=recordings,
        splits=known,
        actions=tuple(actions),
        actions_from=actions_from,
    )


def _of_half(half: HalfId, labels: Sequence[Label]) -> list[Label]:
    """The labels of the video of a half.

    Raises:
        InputError: If one says that it is of another half, from whose start it counts.
    """
    for label in labels:
        if label.half not in (1, half.half):
            raise InputError(
                f"{label.place}: counts from the start of half {label.half} by its gameTime, but "
                f"its video is {half}; list a video for each half, or give positions from the "
                "start of the video"
            )
    return [label._replace(half=half.half) for label in labels]


def entry_name(text: object, place: str, key: str) -> str:
    """The name of a video without its ending, as a path relative to the data.

    Raises:
        InputError: If it is no name of a file below some folder.
    """
    path = PurePosixPath(without_ending(path_text(text, place, key)))
    parts = [part for part in path.parts if part not in ("/", ".")]
    if not parts or ".." in parts:
        raise InputError(f"{place}: {key} must lie below the data, got {quoted(text)}")
    return "/".join(parts)


def without_ending(video: str) -> str:
    """The name of a video without the ending of a file, if it has one."""
    path = PurePosixPath(video.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in _ENDINGS else path)


def path_text(text: object, place: str, key: str) -> str:
    """What a label file says for a path.

    Raises:
        InputError: If it can be none.
    """
    named = text if isinstance(text, str) and text.isprintable() else ""
    longest = max(len(part.encode()) for part in re.split(r"[/\\]", named.strip()))
    if not 0 < longest <= MOST_NAME_BYTES or len(named) > MOST_PATH:
        raise InputError(f"{place}: {key} must be the path of a video, got {quoted(text)}")
    return named


def entries_of(value: object, place: str, what: str) -> list[dict[str, Any]]:
    """A list of objects of a document; none where it has nothing there.

    Raises:
        InputError: If it is none.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{place}: {what} must be a list, got {quoted(value)}")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise InputError(f"{place}: {what} {number} must be an object, got {quoted(item)}")
    return value


def label_name(value: object, place: str) -> str:
    """The name in a label.

    Raises:
        InputError: If it has none.
    """
    if not isinstance(value, str) or not value:
        raise InputError(f"{place}: label must be the name of an action, got {quoted(value)}")
    return value


def confidence_in(item: dict[str, Any]) -> object:
    """The confidence of a prediction, by any of its names; None for a label."""
    return next((item[key] for key in CONFIDENCES if key in item), None)


def comment_in(item: dict[str, Any]) -> str:
    """The comment of a label; "" where it has none."""
    comment = item.get("comment")
    return comment if isinstance(comment, str) else ""


def positive(value: object, place: str, name: str, unit: str) -> float | None:
    """A number above 0; None where the file has none, or says so by -1.

    Raises:
        InputError: If it is something else.
    """
    if value is None or value == "":
        return None
    number = read_number(value, place, name, f"a number of {unit}")
    if number in (-1, 0):
        return None
    if number < 0:
        raise InputError(f"{place}: {name} must be positive, got {quoted(value)}")
    return number


def _halves_of(names: Sequence[str], part: re.Pattern[str]) -> list[HalfId]:
    """The game and half of each entry.

    `<game>/1_x` and `<game>/2_x` are halves of a game where what follows the number is the same;
    else they are games of their own.
    """
    found = [part.fullmatch(name.rpartition("/")[2]) if "/" in name else None for name in names]
    endings: dict[str, set[str]] = defaultdict(set)
    for name, match in zip(names, found, strict=True):
        if match:
            endings[name.rpartition("/")[0]].add(match[3] or "")
    halves = []
    for name, match in zip(names, found, strict=True):
        folder = name.rpartition("/")[0]
        if match and len(endings[folder]) == 1:
            halves.append(HalfId(folder, int(match[1] or match[2])))
        else:
            halves.append(HalfId(name, 1))
    return halves


def _with_oddities(game: str, labels: Sequence[Label]) -> GameLabels:
    number = repeated(labels)
    return GameLabels(tuple(labels), (Oddity(game, REPEATED, number),) if number else ())
