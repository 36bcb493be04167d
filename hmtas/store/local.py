"""The store: embeddings, labels and splits of a season, memory-mapped.

On disk, written by `hmtas.packing.pack`:
    store.json                   the index: streams, rate, actions, splits, checksums of the rest
    labels.arrow                 every annotation
    halves/<game>/<half>.arrow   one record batch, a column FixedSizeList<float16>[F] per stream

Arrays are views of the mapped files, read-only, and every process on a machine shares one copy of
them in memory. `hmtas.store.remote.open_store` opens stores by their path or address; the files of
one in an S3-like service are copied to this machine when they are read.
"""

import dataclasses
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtas.errors import InputError, TransientError, did_you_mean
from hmtas.records import Events, HalfId
from hmtas.store.halves import Half, map_half, read_labels
from hmtas.store.index import (
    INDEX_FILE,
    LABELS_FILE,
    Index,
    StoredFile,
    StoredHalf,
    checksum_at,
    read_index,
)

if TYPE_CHECKING:
    from hmtas.store.cache import NodeCache

MAX_OPEN = 4096  # halves kept mapped; a mapping costs address space, not memory or an open file
Reopen = Callable[[str, str], "EmbeddingStore"]


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingStore:
    """A packed season. Opening reads only the index; pickling keeps only place and checksum."""

    path: Path  # folder of its files, absolute
    index: Index
    # Brings the files of a store in a service to `path`; None for a store on the disk.
    cache: "NodeCache | None" = dataclasses.field(default=None, repr=False)
    _reopen: Reopen | None = dataclasses.field(default=None, repr=False)
    _index_time: int | None = dataclasses.field(default=None, repr=False)  # ns; of its file
    _open: OrderedDict[HalfId, Half] = dataclasses.field(default_factory=OrderedDict, repr=False)

    @classmethod
    def open(
        cls, path: Path, *, cache: "NodeCache | None" = None, reopen: Reopen | None = None
    ) -> "EmbeddingStore":
        """Read the index of a store.

        Args:
            path: Folder of the store, or of its copy on this machine.
            cache: Brings the files of a store in a service there.
            reopen: Opens it in another process, by its place and checksum.

        Raises:
            InputError: If there is no finished store at `path`, its schema version is another,
                or the index does not match its own checksum.
        """
        path = path.resolve()
        time_ns = _time_of(path / INDEX_FILE)  # before it is read
        return cls(path, read_index(path), cache, reopen, time_ns)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reopen or _reopen, (self.place, self.checksum)

    @property
    def place(self) -> str:
        """What opens the store again: its path, or its address in a service."""
        return str(self.path) if self.cache is None else self.cache.bucket.url

    def address(self, file: str) -> str:
        """One of the store's files in words, for messages."""
        return str(self.path / file) if self.cache is None else self.cache.bucket.address(file)

    @functools.cached_property
    def streams(self) -> dict[str, int]:
        """Name to width, in their fixed order."""
        return dict(self.index.streams)

    @functools.cached_property
    def halves(self) -> dict[HalfId, StoredHalf]:
        """Every half, in the order of games."""
        return {item.half: item for item in self.index.halves}

    @property
    def rate_hz(self) -> float:
        """Rows per second."""
        return self.index.rate_hz

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions, in the order of every array."""
        return self.index.actions

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Games of each split."""
        return self.index.splits

    @property
    def checksum(self) -> str:
        """SHA-256 of the whole content."""
        return self.index.checksum

    def games(self, split: str) -> tuple[str, ...]:
        """The games of a split.

        Raises:
            InputError: If the store has no such split.
        """
        if split not in self.splits:
            raise InputError(
                f"{self.place}: no split {split!r}; this store has {', '.join(self.splits)}"
                f"{did_you_mean(split, self.splits)}"
            )
        return self.splits[split]

    def some_games(self, split: str) -> tuple[str, ...]:
        """The games of a split that work is to be done on.

        Raises:
            InputError: If the store has no such split, or no game in it.
        """
        games = self.games(split)
        if not games:
            full = [name for name, others in self.splits.items() if others]
            raise InputError(
                f"{self.place}: split {split!r} has no games; choose another one "
                f"({', '.join(full)})"
            )
        return games

    def halves_of(self, games: Iterable[str]) -> list[HalfId]:
        """The halves of each game, in the order given.

        Raises:
            InputError: If a game is not in the store.
        """
        halves = []
        for game in games:
            if game not in self._parts:
                self._stored(HalfId(game, 1))  # says so
            halves += self._parts[game]
        return halves

    def has_labels(self, game: str) -> bool:
        """Whether the game is annotated (the challenge games are not)."""
        return game in self._labelled

    def open_half(self, half: HalfId) -> Half:
        """Map one half.

        Raises:
            InputError: If the half is not in the store, or its file is not what was packed.
            TransientError: If the store was packed again since it was opened, or is gone.
        """
        mapped = self._open.get(half)
        if mapped is None:
            stored = self._stored(half)
            self._check_unchanged()
            self.fetch(stored.as_file())
            mapped = map_half(self.path, stored, self.streams)
            self._open[half] = mapped
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        return mapped

    def absent(self, halves: Iterable[HalfId]) -> list[HalfId]:
        """Those of some halves that are not on this machine's disk yet."""
        stored = [self._stored(half) for half in halves]
        return [s.half for s in stored if self.cache and not self.cache.has(s.as_file())]

    def prefetch(
        self, halves: Iterable[HalfId], *, on_half: Callable[[], None] = lambda: None
    ) -> None:
        """Copy halves that will be read to this machine's disk, if they are not there.

        `on_half` is called in this thread after each, also if it was there.

        Raises:
            InputError: If the disk cannot hold them, or a file is missing or not what was packed.
            ServiceError: If the service fails.
        """
        files = [self._stored(half).as_file() for half in halves]
        for _ in files if self.cache is None else self.cache.fetch_all(files):
            on_half()

    def fetch(self, file: StoredFile) -> None:
        """Copy a file to this machine's disk, if it is not there; raises as `prefetch`."""
        if self.cache is not None:
            self.cache.fetch(file)

    def fetch_labels(self) -> None:
        """Copy the labels to this machine's disk, if they are not there."""
        self.fetch(StoredFile(LABELS_FILE, self.index.labels_sha256))

    def events(self, half: HalfId) -> Events:
        """Annotations of one half, none where the game is not annotated.

        Raises:
            InputError: If the half is not in the store, or the file of labels is damaged.
        """
        self._stored(half)
        found = self._events.get(half)
        return Events.empty(half) if found is None else found

    def events_of(self, games: Iterable[str]) -> dict[HalfId, Events]:
        """Annotations of every half of some games."""
        return {half: self.events(half) for half in self.halves_of(games)}

    def _check_unchanged(self) -> None:
        """Refuse to mix halves of two seasons: a half of another one may be of the same size."""
        if self.cache is not None or _time_of(self.path / INDEX_FILE) == self._index_time:
            return
        if checksum_at(self.path) != self.checksum:
            raise _changed(self.path)

    def has_events(self, games: Iterable[str]) -> bool:
        """Whether there is an annotation in any of some games."""
        return any(len(events.time_s) for events in self.events_of(games).values())

    def _stored(self, half: HalfId) -> StoredHalf:
        if half not in self.halves:
            raise InputError(
                f"{self.place}: {half} is not in this store of {len(self.halves)} halves; "
                "is it a run, or a split, of another store?"
            )
        return self.halves[half]

    @functools.cached_property
    def _parts(self) -> dict[str, list[HalfId]]:
        parts: dict[str, list[HalfId]] = {}
        for half in sorted(self.halves):
            parts.setdefault(half.game, []).append(half)
        return parts

    @functools.cached_property
    def _labelled(self) -> frozenset[str]:
        return frozenset(self.index.labelled_games)

    @functools.cached_property
    def _events(self) -> dict[HalfId, Events]:
        self.fetch_labels()
        return read_labels(self.path, self.index)


def _reopen(path: str, checksum: str) -> EmbeddingStore:
    store = EmbeddingStore.open(Path(path))
    if store.checksum != checksum:
        raise _changed(path)
    return store


def _changed(path: str | Path) -> TransientError:
    return TransientError(
        f"{path}: the store was packed again while it was in use, or is gone; start again"
    )


def _time_of(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.is_file() else None
