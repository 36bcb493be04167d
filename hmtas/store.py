"""The store: embeddings, labels and splits of a season, memory-mapped.

On disk, written by `hmtas.pack`:
    store.json                   the index: streams, rate, actions, splits, checksums of the rest
    labels.arrow                 every annotation
    halves/<game>/<half>.arrow   one record batch, a column FixedSizeList<float16>[F] per stream

A half is an uncompressed Arrow file, so a row is where it will be read: arrays are views of the
mapped file, read-only, and every process on a machine shares one copy of them in memory.
"""

import dataclasses
import functools
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pydantic

from hmtas.errors import InputError
from hmtas.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from hmtas.labels import HALVES
from hmtas.records import Events, HalfId

SCHEMA_VERSION = 1
INDEX_FILE = "store.json"
LABELS_FILE = "labels.arrow"
JOURNAL_FILE = "pack.journal"
HALVES_DIR = "halves"
MAX_OPEN = 4096  # halves kept mapped; a mapping costs address space, no memory and no open file
_KEY = b"hmtas.store"


class StoredHalf(NamedTuple):
    """What the index knows of one half."""

    half: HalfId
    num_rows: int
    streams: tuple[str, ...]  # those present
    file: str  # relative to the store
    sha256: str
    num_bytes: int


class Half(NamedTuple):
    """One half, mapped.

    Attributes:
        half: Which one.
        num_rows: T.
        streams: Stream to float16 (T, F), read-only views of the file, in the order of the
            store; a missing stream is not in it.
    """

    half: HalfId
    num_rows: int
    streams: dict[str, np.ndarray]


class Index(pydantic.BaseModel):
    """The content of `store.json`, its own checksum aside."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    rate_hz: float
    slack_s: float
    actions: tuple[str, ...]
    streams: tuple[tuple[str, int], ...]
    splits: dict[str, tuple[str, ...]]
    labelled_games: tuple[str, ...]
    labels_sha256: str
    halves: tuple[StoredHalf, ...]

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 of the index, and through the checksums in it of every file of the store."""
        return sha256_json(self.model_dump(mode="json"))

    def document(self) -> dict[str, Any]:
        """The index as `store.json` holds it."""
        return {**self.model_dump(mode="json"), "checksum": self.checksum}


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingStore:
    """A packed season. Opening reads the index alone; pickling keeps the path alone.

    Attributes:
        path: Absolute path of the store.
        index: What `store.json` says.
        streams: Name to width, in their fixed order.
        halves: Every half, in the order of games.
    """

    path: Path
    index: Index
    streams: dict[str, int]
    halves: dict[HalfId, StoredHalf]
    _open: OrderedDict[HalfId, Half] = dataclasses.field(default_factory=OrderedDict, repr=False)

    @classmethod
    def open(cls, path: Path) -> "EmbeddingStore":
        """Read the index of a store.

        Raises:
            InputError: If there is no finished store at `path`, its schema version is another,
                or the index does not match its own checksum.
        """
        path = path.resolve()
        index = read_index(path)
        halves = {item.half: item for item in index.halves}
        return cls(path=path, index=index, streams=dict(index.streams), halves=halves)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.checksum)

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
                f"{self.path}: no split {split!r}; this store has {', '.join(self.splits)}"
            )
        return self.splits[split]

    def halves_of(self, games: Iterable[str]) -> list[HalfId]:
        """Both halves of each game, in the order given.

        Raises:
            InputError: If a game is not in the store.
        """
        halves = [HalfId(game, half) for game in games for half in HALVES]
        for half in halves:
            self._stored(half)
        return halves

    def has_labels(self, game: str) -> bool:
        """Whether the game is annotated (the challenge games are not)."""
        return game in self._labelled

    def open_half(self, half: HalfId) -> Half:
        """Map one half.

        Raises:
            InputError: If the half is not in the store, or its file is not what was packed.
        """
        mapped = self._open.get(half)
        if mapped is None:
            mapped = map_half(self.path, self._stored(half), self.streams)
            self._open[half] = mapped
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        return mapped

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

    def _stored(self, half: HalfId) -> StoredHalf:
        if half not in self.halves:
            raise InputError(
                f"{self.path}: {half} is not in this store of {len(self.halves)} halves; "
                "is it a run, or a split, of another store?"
            )
        return self.halves[half]

    @functools.cached_property
    def _labelled(self) -> frozenset[str]:
        return frozenset(self.index.labelled_games)

    @functools.cached_property
    def _events(self) -> dict[HalfId, Events]:
        return read_labels(self.path, self.index)


def _reopen(path: Path, checksum: str) -> EmbeddingStore:
    store = EmbeddingStore.open(path)
    if store.checksum != checksum:
        raise InputError(f"{path}: the store was packed again while it was in use; start again")
    return store


# Reading ---------------------------------------------------------------------------------------


def read_index(path: Path) -> Index:
    """Read and check `store.json`.

    Raises:
        InputError: If it is missing, of another schema version, or not what was written.
    """
    file = path / INDEX_FILE
    if not file.exists():
        if (path / JOURNAL_FILE).exists():
            raise InputError(
                f"{path}: packing was not finished; run the same `hmtas pack` again to go on"
            )
        raise InputError(f"{path}: no store here ({INDEX_FILE} is missing); run `hmtas pack`")
    document = read_json(file)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{file}: not the index of a store; it has no schema version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{file}: schema version {version}, but this program reads {SCHEMA_VERSION}; pack again"
        )
    checksum = document.pop("checksum", None)
    if checksum != sha256_json(document):
        raise InputError(f"{file}: its checksum does not match; was it changed? Pack again")
    try:
        return Index.model_validate(document)
    except pydantic.ValidationError as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}; pack again") from None


def map_half(path: Path, stored: StoredHalf, widths: Mapping[str, int]) -> Half:
    """Map the file of one half and check cheaply that it is what the index says.

    Raises:
        InputError: If the file is missing, of another size, or has other rows or columns.
    """
    file = path / stored.file
    try:
        num_bytes = file.stat().st_size
        if num_bytes != stored.num_bytes:
            raise ValueError(f"{num_bytes} bytes instead of {stored.num_bytes}")
        with pa.memory_map(str(file)) as source:
            reader = pa.ipc.open_file(source)
            check_schema(reader.schema, stored.streams, widths)
            if reader.num_record_batches != 1:
                raise ValueError(f"{reader.num_record_batches} record batches instead of 1")
            batch = reader.get_batch(0)
        if batch.num_rows != stored.num_rows:
            raise ValueError(f"{batch.num_rows} rows instead of {stored.num_rows}")
        streams = {
            name: batch.column(i)
            .flatten()
            .to_numpy(zero_copy_only=True)
            .reshape(stored.num_rows, widths[name])
            for i, name in enumerate(stored.streams)
        }
    except FileNotFoundError:
        raise InputError(f"{file}: missing; the index lists it. Pack again") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{file}: not the half that was packed ({reason}); was it cut short or changed? "
            "Run `hmtas verify`, or delete it and pack again"
        ) from None
    return Half(stored.half, stored.num_rows, streams)


def check_schema(schema: pa.Schema, streams: tuple[str, ...], widths: Mapping[str, int]) -> None:
    """Compare the columns of a half with the index.

    Raises:
        ValueError: If a column is missing, surplus, or of another type or width.
    """
    expected = _half_schema({name: widths[name] for name in streams})
    if not schema.equals(expected, check_metadata=False):
        got = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise ValueError(f"its columns are {got} instead of those of the index")


def half_metadata(schema: pa.Schema) -> dict[str, Any]:
    """What a half says of itself: schema version, rate, actions, widths of its streams."""
    metadata: dict[str, Any] = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    return metadata


def read_labels(path: Path, index: Index) -> dict[HalfId, Events]:
    """Read every annotation; a half without any is not in the result.

    Raises:
        InputError: If the file is missing or not what was packed.
    """
    file = path / LABELS_FILE
    try:
        if sha256_file(file) != index.labels_sha256:
            raise ValueError("its checksum does not match")
        with pa.OSFile(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
    except FileNotFoundError:
        raise InputError(f"{file}: missing; pack again") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file}: not the labels that were packed ({error}); pack again") from None
    number, time_s, action, visible = (column.to_numpy() for column in table.columns)
    events = {}
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(number)], strict=True):
        half = index.halves[number[start]].half
        events[half] = Events(
            half=half,
            time_s=time_s[start:stop],
            action=action[start:stop],
            visible=visible[start:stop],
        )
    return events


# Writing ---------------------------------------------------------------------------------------


def half_file(half: HalfId) -> str:
    """Where a half lies, relative to the store."""
    return f"{HALVES_DIR}/{half.game}/{half.half}.arrow"


def write_half(
    path: Path, half: HalfId, streams: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> StoredHalf:
    """Write one half atomically.

    Args:
        path: The store.
        half: Which half.
        streams: Stream to float16 (T, F), the same T for all.
        metadata: What a reader of the file alone should know: version, rate, actions.

    Raises:
        InputError: If the disk is full.
    """
    widths = {name: rows.shape[1] for name, rows in streams.items()}
    text = json.dumps({**metadata, "streams": widths}, ensure_ascii=False)
    schema = _half_schema(widths).with_metadata({_KEY: text.encode()})
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        for rows in streams.values()
    ]
    file = path / half_file(half)
    with atomic_path(file) as scratch:
        with pa.ipc.new_file(str(scratch), schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        sha256 = sha256_file(scratch)
        num_bytes = scratch.stat().st_size
    num_rows = len(next(iter(streams.values())))
    return StoredHalf(half, num_rows, tuple(widths), half_file(half), sha256, num_bytes)


def labels_bytes(halves: Iterable[HalfId], events: Mapping[HalfId, Events]) -> bytes:
    """The file of all annotations, halves numbered as in the index."""
    some = [(number, events[half]) for number, half in enumerate(halves) if half in events]
    number = [np.full(len(item.time_s), number, np.int32) for number, item in some]
    columns = {
        "half": np.concatenate([np.empty(0, np.int32), *number]),
        "time_s": np.concatenate([np.empty(0), *(item.time_s for _, item in some)]),
        "action": np.concatenate([np.empty(0, np.int64), *(item.action for _, item in some)]),
        "visible": np.concatenate([np.empty(0, np.bool_), *(item.visible for _, item in some)]),
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def write_index(path: Path, index: Index) -> None:
    """Write `store.json`; the store exists from here on."""
    write_json(path / INDEX_FILE, index.document())


def _half_schema(widths: Mapping[str, int]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, pa.list_(pa.float16(), width)) for name, width in widths.items()]
    )
