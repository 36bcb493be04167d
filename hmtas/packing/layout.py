"""Where the embeddings of a game lie.

<game>/<half>_<stream>.npy     SoccerNet's way
<game>/<stream>.npy            a game without parts: all of it is half 1
<stream>/<video>.npy           a folder for each stream, a file for each video or game
<video>.npy                    one stream, called like the folder
what a label file names        `path_features` and `inputs` of OSL
"""

import re
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hmtas.formats.labels import LabelSource, Recording
from hmtas.formats.listing import without_ending
from hmtas.records import HalfId

NUMBERED = re.compile(r"([1-9]\d?)_([\w-]+)\.npy")
_PLAIN = re.compile(r"(?!half_?\d+\.npy)([\w-]+)\.npy")  # half1.npy is a video


class FoundFile(NamedTuple):
    """An `.npy` file of a half."""

    path: Path
    stem: str  # the stream by its name, or what stands for five of them
    key: str  # the file in the journal of the store: its name, unique in a half


class LeftOut(NamedTuple):
    """A file that looks like data but is not packed."""

    file: str  # relative to the tree
    reason: str


class Layout:
    """The files of every half below a folder."""

    def __init__(self, root: Path, labels: LabelSource) -> None:
        self.root = root
        self.labels = labels
        self._beside = labels.label_file("").parent if labels.recordings else root
        self._halves_of: dict[str, list[HalfId]] = {}
        for half in labels.recordings:
            self._halves_of.setdefault(half.game, []).append(half)

    def files_of(self, game: str) -> dict[int, list[FoundFile]]:
        """The files of each half of a game, sorted by name."""
        found = _in_folder(self.root / game)
        for half in self._halves_of.get(game, [HalfId(game, 1)]):
            there = {file.path for files in found.values() for file in files}
            recording = self.labels.recordings.get(half, Recording(game))
            for file in self._of_video(half, recording):
                if file.path not in there:
                    there.add(file.path)
                    found.setdefault(half.half, []).append(file)
        return {half: sorted(found[half], key=lambda file: file.key) for half in sorted(found)}

    def absent(self, game: str) -> list[str]:
        """Files that a label file names for a game, and that are not there."""
        return [
            path
            for half in self._halves_of.get(game, ())
            for path in self.labels.recordings[half].features
            if self._locate(path) is None
        ]

    def strays(self, used: Collection[Path]) -> list[LeftOut]:
        """Files in the folders of streams that belong to no game of the label files."""
        if not self.labels.recordings:
            return []
        folders = {path.parent for path in used} & {self.root, *self._folders}
        files = sorted(path for folder in folders for path in folder.glob("*.npy"))
        return [
            LeftOut(
                path.relative_to(self.root).as_posix(),
                "its game is in no packed split"
                if path.stem in self.labels.games
                else "no label file names its video",
            )
            for path in files
            if path not in used
        ]

    @cached_property
    def _folders(self) -> list[Path]:
        """The folders that may be those of streams."""
        if not self.root.is_dir():
            return []
        return sorted(
            path
            for path in self.root.iterdir()
            if path.is_dir() and re.fullmatch(r"[\w-]+", path.name)
        )

    def _of_video(self, half: HalfId, recording: Recording) -> Iterator[FoundFile]:
        for named in recording.features:
            path = self._locate(named)
            if path is not None:
                numbered = NUMBERED.fullmatch(path.name)
                own = half.game.rpartition("/")[2]
                by_name = path.parent.name == own or (
                    path.parent in (self.root, self._beside) and path.stem != own
                )
                plain = path.stem if by_name else path.parent.resolve().name
                yield FoundFile(path, numbered[2] if numbered else plain, named)
        names = dict.fromkeys((without_ending(recording.video), half.game))
        for name in names if half.half == 1 else list(names)[:1]:
            for folder in (self.root, *self._folders):
                path = folder / f"{name}.npy"
                if path.is_file():
                    yield FoundFile(path, folder.resolve().name, f"{folder.name}/{name}.npy")

    def _locate(self, named: str) -> Path | None:
        """A path of a label file: below the embeddings, or else beside the label file."""
        places = (self.root / named, self._beside / named)
        return next((path for path in places if path.is_file()), None)


def _in_folder(folder: Path) -> dict[int, list[FoundFile]]:
    """The files of a game's own folder: numbered by half, or else all of half 1."""
    names = sorted(path.name for path in folder.glob("*.npy")) if folder.is_dir() else []
    found: dict[int, list[FoundFile]] = {}
    for name in names:
        if match := NUMBERED.fullmatch(name):
            found.setdefault(int(match[1]), []).append(FoundFile(folder / name, match[2], name))
    if not found:
        plain = [(name, match) for name in names if (match := _PLAIN.fullmatch(name))]
        if plain:
            found[1] = [FoundFile(folder / name, match[1], name) for name, match in plain]
    return found
