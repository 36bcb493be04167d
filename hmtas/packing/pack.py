"""A tree of `.npy` files, labels and splits becomes a store.

The season is checked first (`hmtas.packing.check`); nothing is written while it has a mistake.
Halves are written one at a time, each complete or absent, and noted in a journal: packing that was
interrupted resumes where it stopped. The index comes last; without it there is no store.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.errors import InputError
from hmtas.files import atomic_path, locked, sha256_json
from hmtas.formats.labels import Oddity
from hmtas.packing.check import PackPlan, plan_pack
from hmtas.packing.classes import Actions
from hmtas.packing.layout import LeftOut
from hmtas.packing.lengths import LateLabel
from hmtas.packing.rates import Resampling
from hmtas.packing.sources import SourceHalf, read_streams
from hmtas.place import check_space
from hmtas.records import HalfId
from hmtas.store.halves import labels_bytes, write_half
from hmtas.store.index import (
    INDEX_FILE,
    JOURNAL_FILE,
    LABELS_FILE,
    SCHEMA_VERSION,
    Index,
    StoredHalf,
    checksum_at,
    half_file,
    read_index,
    write_index,
)
from hmtas.store.journal import Entry, append, read_journal, write_journal

LOCK_FILE = ".lock"
_FILE_OVERHEAD = 8192  # bytes of an Arrow file beside its rows, rounded up


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackReport:
    """What was packed, and what was not as it should be."""

    checksum: str
    format: str  # of the labels
    actions: Actions
    streams: dict[str, int]  # name to width
    resampled: tuple[Resampling, ...]  # the streams of another rate, and what was done
    num_games: dict[str, int]  # by split
    num_packed: int  # halves written by this call
    num_kept: int  # halves that an earlier call had finished
    num_bytes: int  # of all halves
    replaced: str | None  # checksum of the store of other data that was there before
    complete: bool  # was the store there already, with nothing changed?
    extended: tuple[tuple[HalfId, str, int], ...]  # stream, and how often its last row repeats
    missing: tuple[tuple[HalfId, str], ...]  # stream that the half lacks
    constant: tuple[tuple[HalfId, str], ...]  # stream whose rows are all equal, where packed now
    late_labels: tuple[LateLabel, ...]  # packed all the same
    odd_labels: tuple[Oddity, ...]  # likewise
    missing_halves: tuple[tuple[HalfId, int], ...]  # and the labels they have
    left_out: tuple[str, ...]  # games of the tree that no packed split names
    files_left_out: tuple[LeftOut, ...]  # of the packed games: they look like data
    warnings: tuple[str, ...]  # of the plan, said before anything was written


def pack(
    games: Path, store: Path, *, on_half: Callable[[], None] = lambda: None, **options: Any
) -> PackReport:
    """Check a season and pack it; the options are those of `plan_pack`."""
    return run_pack(plan_pack(games, **options), store, on_half=on_half)


def run_pack(
    plan: PackPlan, store: Path, *, on_half: Callable[[], None] = lambda: None
) -> PackReport:
    """Write a store, or the part of it that is not there yet.

    `on_half` is called after every half, also if it was there already.

    Raises:
        InputError: If a value is not finite or too large for float16, the disk is full, `store`
            holds something else, or it is being packed by another process.
    """
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "rate_hz": plan.rate_hz,
        "actions": list(plan.actions.names),
    }
    settings = sha256_json([metadata, list(plan.streams.items()), *_rates_of(plan)])
    with _claimed(store):
        before = checksum_at(store)
        journal = store / JOURNAL_FILE
        entries, _ = read_journal(journal)
        kept = {
            source.half: entry.stored
            for source in plan.halves
            if (entry := entries.get(source.half))
            and entry.settings == settings
            and entry.sources == source.fingerprint
            and entry.is_sound(store)
        }
        todo = [source for source in plan.halves if source.half not in kept]
        labels = labels_bytes((source.half for source in plan.halves), plan.events)
        index = _index(plan, kept, labels) if not todo else None
        complete = index is not None and _is_current(store, index, labels)
        if not complete:
            _check_space(plan, store, todo)
            # From here until the new index is written there is no store, rather than a mixed one.
            (store / INDEX_FILE).unlink(missing_ok=True)
            _remove_stale(store, [item.stored for item in entries.values()], plan)
            write_journal(journal, [entries[half] for half in kept])
        for _ in kept:
            on_half()
        stored = dict(kept)
        constant = []
        for source in todo:
            streams = read_streams(source)
            ordered = {name: streams[name] for name in plan.streams if name in streams}
            item = write_half(store, source.half, ordered, metadata)
            constant += [(source.half, name) for name, rows in ordered.items() if _is_one(rows)]
            mtime_ns = (store / item.file).stat().st_mtime_ns
            append(journal, Entry(settings, source.fingerprint, mtime_ns, item))
            stored[source.half] = item
            on_half()
        if index is None:
            index = _index(plan, stored, labels)
        if not complete:
            with atomic_path(store / LABELS_FILE) as scratch:
                scratch.write_bytes(labels)
            write_index(store, index)
    replaced = None if before == index.checksum else before
    return _report(plan, index, constant, num_kept=len(kept), replaced=replaced, complete=complete)


def _is_one(rows: np.ndarray) -> bool:
    """Are all rows equal, and more than one? The first and last tell nearly always."""
    alike = len(rows) > 1 and (rows[0] == rows[-1]).all()
    return bool(alike and (rows == rows[0]).all())


def _rates_of(plan: PackPlan) -> list[dict[str, list[float | str]]]:
    """What rows depend on beside the files, where there is any: rates and methods of streams."""
    rates: dict[str, list[float | str]] = {
        item.stream: [item.rate_hz, item.method] for item in plan.resampled
    }
    return [rates] if rates else []


@contextlib.contextmanager
def _claimed(store: Path) -> Iterator[None]:
    """Hold the store against a second packing."""
    if store.exists() and not store.is_dir():
        raise InputError(f"{store}: is a file; a store is a folder")
    store.mkdir(parents=True, exist_ok=True)
    known = (store / INDEX_FILE).exists() or (store / JOURNAL_FILE).exists()
    lock = store / LOCK_FILE
    others = [
        path.name for path in store.iterdir() if path != lock and not path.name.endswith(".part")
    ]
    if others and not known:
        raise InputError(
            f"{store}: holds other files ({others[0]!r}) and no store; name an empty or new folder"
        )
    busy = f"{store}: another `hmtas pack` is writing this store; wait until it is done"
    with locked(lock, wait_s=0, busy=busy):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, as it should be
                store.rmdir()


def _index(plan: PackPlan, stored: Mapping[HalfId, StoredHalf], labels: bytes) -> Index:
    return Index(
        rate_hz=plan.rate_hz,
        slack_s=plan.slack_s,
        actions=plan.actions.names,
        streams=tuple(plan.streams.items()),
        splits=plan.splits,
        labelled_games=plan.labelled,
        labels_sha256=hashlib.sha256(labels).hexdigest(),
        halves=tuple(stored[source.half] for source in plan.halves),
        origin=plan.origin,
    )


def _is_current(store: Path, index: Index, labels: bytes) -> bool:
    """Whether the store on the disk is already the one to be written."""
    file = store / LABELS_FILE
    try:
        same = read_index(store).checksum == index.checksum
    except InputError:
        return False
    return same and file.is_file() and file.read_bytes() == labels


def _check_space(plan: PackPlan, store: Path, todo: Sequence[SourceHalf]) -> None:
    needed = 0
    for source in todo:
        needed += 2 * source.num_rows * sum(source.widths.values()) + _FILE_OVERHEAD
        file = store / half_file(source.half)
        needed -= file.stat().st_size if file.exists() else 0
    what = f"{len(todo)} of {len(plan.halves)} halves"
    check_space(store, needed, what, "pack fewer splits or streams")


def _remove_stale(store: Path, earlier: Iterable[StoredHalf], plan: PackPlan) -> None:
    """Remove what an interrupted packing left behind, and halves that are no longer wanted."""
    wanted = {half_file(source.half) for source in plan.halves}
    for path in store.rglob(".*.part"):
        path.unlink()
    for item in earlier:
        if item.file not in wanted:
            file = store / item.file
            file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the folder holds another half
                file.parent.rmdir()


def _report(
    plan: PackPlan,
    index: Index,
    constant: Sequence[tuple[HalfId, str]],
    *,
    num_kept: int,
    replaced: str | None,
    complete: bool,
) -> PackReport:
    return PackReport(
        checksum=index.checksum,
        format=plan.format,
        actions=plan.actions,
        streams=plan.streams,
        resampled=plan.resampled,
        num_games={name: len(games) for name, games in plan.splits.items()},
        num_packed=len(plan.halves) - num_kept,
        num_kept=num_kept,
        num_bytes=sum(item.num_bytes for item in index.halves),
        replaced=replaced,
        complete=complete,
        extended=tuple(
            (source.half, stream, rows)
            for source in plan.halves
            for stream, rows in source.added_rows.items()
        ),
        missing=tuple(
            (source.half, stream)
            for source in plan.halves
            for stream in plan.streams
            if stream not in source.widths
        ),
        constant=tuple(constant),
        late_labels=plan.late_labels,
        odd_labels=plan.odd_labels,
        missing_halves=plan.missing_halves,
        left_out=plan.left_out,
        files_left_out=plan.files_left_out,
        warnings=plan.warnings,
    )
