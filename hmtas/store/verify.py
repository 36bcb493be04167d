"""Whether a store is still what was packed, and whether what was packed is sound.

Every byte of the store is covered: the index by its own checksum and by being exactly what this
program would write, all other files by the checksums in the index. A store in a service is read
from there, not from this machine's copy: one file after the other into a scratch folder.
"""

import contextlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from hmtas.errors import InputError
from hmtas.files import sha256_file
from hmtas.formats.splits import check_disjoint
from hmtas.records import HalfId
from hmtas.store.bucket import Bucket, ServiceError
from hmtas.store.cache import NUM_AT_ONCE, cache_folder
from hmtas.store.halves import half_metadata, map_half, read_labels
from hmtas.store.index import INDEX_FILE, JOURNAL_FILE, LABELS_FILE, StoredHalf
from hmtas.store.journal import read_journal
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import copy_index, is_remote, open_store, remote_store
from hmtas.terminal.text import counted


def verify(place: str | Path, *, on_half: Callable[[], None] = lambda: None) -> list[str]:
    """Look for everything that is wrong with a store, reading all of it.

    Args:
        place: Path or address of the store.
        on_half: Called after every half.

    Returns:
        A line per problem; empty if the store is sound.

    Raises:
        ServiceError: If the service that holds it fails.
    """
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(_opened(place))
        except ServiceError:
            raise
        except InputError as error:
            return [str(error)]
        problems = _check_index(store)
        pool = stack.enter_context(ThreadPoolExecutor(NUM_AT_ONCE if is_remote(place) else 1))
        for found in pool.map(partial(_check_half, store), store.halves.values()):
            problems += found
            on_half()
        return problems + _check_labels(store) + _check_games(store) + _check_files(store)


@contextlib.contextmanager
def _opened(place: str | Path) -> Iterator[EmbeddingStore]:
    """The store; of one in a service only its index, copied to a scratch folder."""
    if not is_remote(place):
        yield open_store(place)
        return
    bucket = Bucket(str(place))
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".verify-") as scratch:
        copy_index(bucket, Path(scratch))
        yield remote_store(bucket, Path(scratch))


def _check_index(store: EmbeddingStore) -> list[str]:
    written = json.dumps(store.index.document(), indent=2, ensure_ascii=False) + "\n"
    if (store.path / INDEX_FILE).read_bytes() != written.encode():
        return [f"{store.address(INDEX_FILE)}: not as it was written; was it edited? Pack again"]
    return []


def _check_half(store: EmbeddingStore, stored: StoredHalf) -> list[str]:
    """What is wrong with a half; the scratch file of a store in a service is removed."""
    try:
        store.fetch(stored.as_file())
        problems = _check_bytes(store, stored)
    except ServiceError:
        raise
    except InputError as error:
        problems = [str(error)]
    finally:
        if store.cache is not None:
            (store.path / stored.file).unlink(missing_ok=True)
    return _at_their_place(store, problems)


def _check_bytes(store: EmbeddingStore, stored: StoredHalf) -> list[str]:
    """Size, rows and columns first, as opening does; then every byte."""
    file = store.path / stored.file
    map_half(store.path, stored, store.streams)
    if sha256_file(file) != stored.sha256:
        return [f"{file}: its checksum does not match; a byte was changed. Delete it, pack again"]
    metadata = half_metadata(file)
    expected = {
        "schema_version": store.index.schema_version,
        "rate_hz": store.rate_hz,
        "actions": list(store.actions),
        "streams": {name: store.streams[name] for name in stored.streams},
    }
    return [
        f"{file}: {key} is {metadata.get(key)!r} here but {value!r} in the index; pack again"
        for key, value in expected.items()
        if metadata.get(key) != value
    ]


def _check_labels(store: EmbeddingStore) -> list[str]:
    try:
        store.fetch_labels()
        events = read_labels(store.path, store.index)
    except ServiceError:
        raise
    except InputError as error:
        return _at_their_place(store, [str(error)])
    problems = []
    for half, item in events.items():
        if not store.has_labels(half.game):
            problems.append(f"{half}: has annotations, but its game is listed as not annotated")
        length_s = store.halves[half].num_rows / store.rate_hz
        late = item.time_s > length_s + store.index.slack_s
        if late.any():
            problems.append(
                f"{half}: an annotation at {item.time_s[np.argmax(late)]:g} s lies past the end "
                f"of the half, {length_s:g} s"
            )
        if (item.action < 0).any() or (item.action >= len(store.actions)).any():
            problems.append(f"{half}: an annotation's action is not among the actions")
    return problems


def _check_games(store: EmbeddingStore) -> list[str]:
    """Splits and halves must name the same games, no game or content twice."""
    problems = []
    try:
        check_disjoint(store.splits, store.address(INDEX_FILE))
    except InputError as error:
        problems.append(str(error))
    split_of = {game: name for name, games in store.splits.items() for game in games}
    games = {half.game for half in store.halves}
    problems += [
        f"{game}: in a split, but not in the store" for game in sorted(set(split_of) - games)
    ]
    problems += [
        f"{half}: in the store, but in no split"
        for half in sorted(store.halves)
        if half.game not in split_of
    ]
    same: dict[str, list[HalfId]] = defaultdict(list)
    for stored in store.halves.values():
        same[stored.sha256].append(stored.half)
    for halves in same.values():
        splits = {split_of.get(half.game, "none") for half in halves}
        if len(splits) > 1 and not _is_constant(store, halves[0]):
            named = " and ".join(f"{half} ({split_of.get(half.game)})" for half in halves)
            problems.append(
                f"{named} are byte for byte the same: one game under two names in two splits; "
                "a model would be scored on what it was trained on"
            )
    return problems


def _is_constant(store: EmbeddingStore, half: HalfId) -> bool:
    """Whether every row is the first one: nothing was extracted, so nothing can leak."""
    try:
        streams = store.open_half(half).streams.values()
    except InputError:
        return False
    return all(bool((rows == rows[0]).all()) for rows in streams)


def _check_files(store: EmbeddingStore) -> list[str]:
    """Files that do not belong, and a journal that would not be believed."""
    known = {INDEX_FILE, LABELS_FILE, JOURNAL_FILE, *(item.file for item in store.halves.values())}
    if store.cache is not None:
        found, left_over = list(store.cache.bucket.files()), "upload"
    else:
        paths = (path for path in store.path.rglob("*") if not path.is_dir())
        found, left_over = [path.relative_to(store.path).as_posix() for path in paths], "packing"
    problems = [
        f"{store.address(name)}: does not belong to the store; "
        f"left over from an interrupted {left_over}?"
        for name in sorted(found)
        if name not in known
    ]
    return problems + _check_journal(store)


def _check_journal(store: EmbeddingStore) -> list[str]:
    """A journal may be missing, but one that is there lists every half of the store."""
    journal = store.path / JOURNAL_FILE
    entries, damaged = read_journal(journal)
    problems = [
        f"{journal}: line {number} is damaged; packing again would write its half again"
        for number in damaged
    ]
    if problems or not journal.is_file():
        return problems
    lost = [half for half in store.halves if half not in entries]
    if lost or not journal.read_bytes().endswith(b"\n"):
        return [f"{journal}: was it cut short? It does not list {counted(len(lost), 'half')}"]
    return []


def _at_their_place(store: EmbeddingStore, problems: Iterable[str]) -> list[str]:
    """Name the files of a store in a service by their address, not by where they were read."""
    return [problem.replace(str(store.path), store.address("")) for problem in problems]
