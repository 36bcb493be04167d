"""The files of a store beside its index: a half is mapped or written, labels are read or written.

A half is an uncompressed Arrow file of one record batch with a column FixedSizeList<float16>[F]
per stream, so a row is where it will be read.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hmtas.errors import InputError, TransientError
from hmtas.files import atomic_path, sha256_file
from hmtas.records import Events, HalfId
from hmtas.refusals import raise_if_refused
from hmtas.store.index import LABELS_FILE, Index, StoredHalf, half_file

_KEY = b"hmtas.store"


class Half(NamedTuple):
    """One half, mapped."""

    half: HalfId
    num_rows: int  # T
    # Float16 (T, F), read-only views of the file, in the order of the store; none if missing.
    streams: dict[str, np.ndarray]


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
            expected = _half_schema({name: widths[name] for name in stored.streams})
            if not reader.schema.equals(expected, check_metadata=False):
                got = ", ".join(f"{field.name}: {field.type}" for field in reader.schema)
                raise ValueError(f"its columns are {got} instead of those of the index")
            if reader.num_record_batches != 1:
                raise ValueError(f"{reader.num_record_batches} record batches instead of 1")
            batch = reader.get_batch(0)
        if batch.num_rows != stored.num_rows:
            raise ValueError(f"{batch.num_rows} rows instead of {stored.num_rows}")
        streams = {
            name: column.flatten().to_numpy(zero_copy_only=True).reshape(-1, widths[name])
            for name, column in zip(stored.streams, batch.columns, strict=True)
        }
    except FileNotFoundError:
        raise TransientError(f"{file}: missing; the index lists it. Pack again") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise_if_refused(error, file)
        reason = " ".join(str(error).split())[:200]
        raise TransientError(
            f"{file}: not the half that was packed ({reason}); was it cut short or changed? "
            "Run `hmtas verify`, or delete it and pack again"
        ) from None
    return Half(stored.half, stored.num_rows, streams)


def refuse_damage(half: Half) -> None:
    """Refuse a half with a row that is not finite: none was packed, so its file has changed.

    Raises:
        InputError: Naming the first such row.
    """
    for name, rows in half.streams.items():
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{half.half}: row {np.argmin(finite)} of stream {name!r} is not finite, as no "
                "packed row is; the store was damaged since: run `hmtas verify` on it, pack again"
            )


def half_metadata(file: Path) -> dict[str, Any]:
    """What a half says of itself: schema version, rate, actions, widths of its streams."""
    with pa.memory_map(str(file)) as source:
        stored = pa.ipc.open_file(source).schema.metadata or {}
    metadata: dict[str, Any] = json.loads(stored.get(_KEY, b"{}"))
    return metadata


def write_half(
    path: Path, half: HalfId, streams: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> StoredHalf:
    """Write one half atomically.

    Args:
        path: The store.
        half: Which half.
        streams: Stream to float16 (T, F), the same T for all.
        metadata: What a reader of this one file should know: version, rate, actions.
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


def _half_schema(widths: Mapping[str, int]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, pa.list_(pa.float16(), width)) for name, width in widths.items()]
    )


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
            return _events(pa.ipc.open_file(source).read_all(), index)
    except FileNotFoundError:
        raise InputError(f"{file}: missing; pack again") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise_if_refused(error, file)
        raise InputError(f"{file}: not the labels that were packed ({error}); pack again") from None


def _events(table: pa.Table, index: Index) -> dict[HalfId, Events]:
    number, time_s, action, visible = (column.to_numpy() for column in table.columns)
    events: dict[HalfId, Events] = {}
    if len(number) and (number[0] < 0 or number[-1] >= len(index.halves)):
        raise ValueError("they name a half that the index does not")
    if (np.diff(number) < 0).any():
        raise ValueError("they are not in the order of halves")
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    for start, stop in pairwise([*starts, len(number)]):
        half = index.halves[number[start]].half
        events[half] = Events(
            half=half,
            time_s=time_s[start:stop],
            action=action[start:stop],
            visible=visible[start:stop],
        )
    return events


def labels_bytes(halves: Iterable[HalfId], events: Mapping[HalfId, Events]) -> bytes:
    """The file of all annotations, halves numbered as in the index."""
    some = [(number, events[half]) for number, half in enumerate(halves) if half in events]
    number = [np.full(len(item.time_s), number, np.int32) for number, item in some]
    table = pa.table({
        "half": np.concatenate([np.empty(0, np.int32), *number]),
        "time_s": np.concatenate([np.empty(0), *(item.time_s for _, item in some)]),
        "action": np.concatenate([np.empty(0, np.int64), *(item.action for _, item in some)]),
        "visible": np.concatenate([np.empty(0, np.bool_), *(item.visible for _, item in some)]),
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content
