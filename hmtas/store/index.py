"""The index of a store, `store.json`: what is in it, where, and the checksum of every file."""

import functools
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import Field

from hmtas.errors import InputError
from hmtas.files import parse_json, read_json, sha256_json, write_json
from hmtas.formats.labels import LabelSource
from hmtas.records import HalfId
from hmtas.validation import Frozen, validated

SCHEMA_VERSION = 1
INDEX_FILE = "store.json"
LABELS_FILE = "labels.arrow"
JOURNAL_FILE = "pack.journal"
HALVES_DIR = "halves"


class StoredFile(NamedTuple):
    """A file of a store, and what its bytes must be."""

    name: str  # relative to the store
    sha256: str
    num_bytes: int | None = None  # None where the index does not say


class StoredHalf(NamedTuple):
    """What the index knows of one half."""

    half: HalfId
    num_rows: int
    streams: tuple[str, ...]  # those present
    file: str  # relative to the store
    sha256: str
    num_bytes: int

    def as_file(self) -> StoredFile:
        """The file that holds it."""
        return StoredFile(self.file, self.sha256, self.num_bytes)


class OfVideo(NamedTuple):
    """How a label file calls a half, and its frames a second."""

    half: HalfId
    video: str
    features: tuple[str, ...]
    fps: float | None


class Origin(Frozen):
    """What predictions need to be written in the format of the labels."""

    format: str
    by_team: bool = False  # is the first word of an action the team?
    videos: tuple[OfVideo, ...] = ()

    @classmethod
    def of(
        cls, source: LabelSource, halves: Collection[HalfId], *, by_team: bool
    ) -> "Origin | None":
        """That of some labels; None for those of SoccerNet-v2, which need nothing."""
        if source.format == "soccernet-v2" and not by_team:
            return None
        videos = (
            OfVideo(half, recording.video, recording.features, recording.fps)
            for half, recording in source.recordings.items()
            if half in halves
        )
        return cls(format=source.format, by_team=by_team, videos=tuple(videos))


class Index(Frozen):
    """The content of `store.json`, its own checksum aside."""

    schema_version: int = SCHEMA_VERSION
    rate_hz: float
    slack_s: float
    actions: tuple[str, ...]
    streams: tuple[tuple[str, int], ...]
    splits: dict[str, tuple[str, ...]]
    labelled_games: tuple[str, ...]
    labels_sha256: str
    halves: tuple[StoredHalf, ...]
    # Left out of the file for SoccerNet-v2: older stores have no such key, and keep their checksum.
    origin: Origin | None = Field(default=None, exclude_if=lambda origin: origin is None)

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 of the index, and through the checksums in it of every file of the store."""
        return sha256_json(self.model_dump(mode="json"))

    def document(self) -> dict[str, Any]:
        """The index as `store.json` holds it."""
        return {**self.model_dump(mode="json"), "checksum": self.checksum}


def half_file(half: HalfId) -> str:
    """Where a half lies, relative to the store."""
    return f"{HALVES_DIR}/{half.game}/{half.half}.arrow"


def read_index(path: Path) -> Index:
    """Read and check `store.json`.

    Raises:
        InputError: If it is missing, of another schema version, or not what was written.
    """
    file = path / INDEX_FILE
    if not file.exists():
        if (path / JOURNAL_FILE).exists():
            raise InputError(
                f"{path}: packing was not finished; run the same `hmtas pack` again to resume"
            )
        raise InputError(f"{path}: no store here ({INDEX_FILE} is missing); run `hmtas pack`")
    return parse_index(file.read_bytes(), str(file))


def checksum_at(path: Path) -> str | None:
    """The checksum that the store in a folder states; None if there is no finished store."""
    index = path / INDEX_FILE
    return _stated(index, index.stat().st_mtime_ns) if index.is_file() else None


@functools.lru_cache
def _stated(index: Path, mtime_ns: int) -> str | None:
    try:
        return str(read_json(index)["checksum"])
    except (InputError, KeyError, TypeError):
        return None


def parse_index(content: bytes, place: str) -> Index:
    """Check the bytes of a `store.json` that lies at `place`.

    Raises:
        InputError: If they are of another schema version, or not what was written.
    """
    document = parse_json(content, place)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{place}: not the index of a store; it has no schema version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{place}: schema version {version}, but this program reads {SCHEMA_VERSION}; "
            "pack again"
        )
    checksum = document.pop("checksum", None)
    if checksum != sha256_json(document):
        raise InputError(f"{place}: its checksum does not match; was it changed? Pack again")
    index = validated(Index, document, place, cause="pack again")
    for item in index.halves:
        # Files are read and, for a store in a service, written there: nowhere else on the disk.
        if item.file != half_file(item.half) or ".." in PurePosixPath(item.file).parts:
            raise InputError(f"{place}: {item.half} lies in {item.file!r}; pack again")
    return index


def write_index(path: Path, index: Index) -> None:
    """Write `store.json`; the store exists from here on."""
    write_json(path / INDEX_FILE, index.document())
