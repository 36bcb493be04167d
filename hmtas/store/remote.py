"""Stores by path or address: one in an S3-like service is copied to this machine as it is read.

`s3://BUCKET/FOLDER` (any address that `pyarrow.fs` knows) is asked for its index, which may have
changed; every other file is copied once (`hmtas.store.cache`), on demand or ahead with `prefetch`,
and mapped from there. Workers of one machine share the copy.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hmtas.errors import InputError
from hmtas.files import atomic_path
from hmtas.store.bucket import Bucket
from hmtas.store.cache import NodeCache, cache_folder, private_folder
from hmtas.store.index import INDEX_FILE, parse_index
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.console import progress


def is_remote(place: str | Path) -> bool:
    """Whether a place is an address in a service rather than a path."""
    return "://" in str(place) and not str(place).startswith("file://")


def open_store(place: str | Path) -> EmbeddingStore:
    """Open the store at a path, or an address: `file:///FOLDER` or `s3://BUCKET/FOLDER`.

    Raises:
        InputError: If there is no finished store, or it is not what was packed.
        ServiceError: If the service fails.
    """
    if is_remote(place):
        bucket = Bucket(str(place))
        return remote_store(bucket, copy_index(bucket))
    if isinstance(place, str) and place.startswith("file://"):
        place = unquote(urlsplit(place).path)
    if re.match(r"[a-z0-9]+:/[^/]", str(place)) and not Path(place).exists():
        raise InputError(f"{place}: an address has two slashes, as in s3://BUCKET/FOLDER")
    return EmbeddingStore.open(Path(place))


def prefetch_games(store: EmbeddingStore, games: Iterable[str]) -> None:
    """Copy the games of a store in a service to this machine, where they are not there yet."""
    absent = store.absent(store.halves_of(games))
    if absent:
        with progress("copying halves", len(absent)) as on_half:
            store.prefetch(absent, on_half=on_half)


def remote_store(bucket: Bucket, folder: Path) -> EmbeddingStore:
    """The store in a service whose index is in a folder; its other files will be, too."""
    cache = NodeCache(bucket, folder.resolve())
    return EmbeddingStore.open(folder, cache=cache, reopen=_reopen)


def _reopen(url: str, checksum: str) -> EmbeddingStore:
    """The same store in another process; the service is not asked where its index is here."""
    bucket, folder = Bucket(url), cache_folder() / checksum
    store = remote_store(bucket, folder if (folder / INDEX_FILE).is_file() else copy_index(bucket))
    if store.checksum != checksum:
        raise InputError(f"{url}: the store was packed again while it was in use; start again")
    return store


def copy_index(bucket: Bucket, folder: Path | None = None) -> Path:
    """Read the index of a store in a service and keep it in a folder, in the cache unless given.

    Returns:
        The folder.

    Raises:
        InputError: If there is no finished store, or its index is not what was written.
        ServiceError: If the service fails.
    """
    content = bucket.read(INDEX_FILE)
    if content is None:
        raise InputError(
            f"{bucket.address('')}: no store here ({INDEX_FILE} is missing); is the address right, "
            "and was its upload finished?"
        )
    index = parse_index(content, bucket.address(INDEX_FILE))
    folder = folder or private_folder(cache_folder() / index.checksum)
    if not (folder / INDEX_FILE).is_file():
        with atomic_path(folder / INDEX_FILE) as scratch:
            scratch.write_bytes(content)
    return folder
