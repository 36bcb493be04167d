"""The copy of a store in a service that this machine keeps on its disk.

It lies in `$HMTAS_CACHE/stores/<checksum of the store>` (`~/.cache/hmtas` unless set), which can be
removed whenever nothing reads it. A file gets its name once its checksum has been verified. Until
then it grows as `.<name>.part`, which a lock keeps to one process or thread, and which the next one
continues if that process dies.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import BinaryIO

from hmtas.errors import InputError
from hmtas.files import full_disk, locked, sha256_file
from hmtas.place import check_space
from hmtas.store.bucket import Bucket
from hmtas.store.index import StoredFile

CACHE = "HMTAS_CACHE"
NUM_AT_ONCE = 8  # files copied at once by `fetch_all`


def cache_folder() -> Path:
    """Where the copies of stores lie on this machine; only this user may read it."""
    root = Path(os.environ.get(CACHE) or "~/.cache/hmtas").expanduser().absolute()
    return private_folder(root / "stores")


def private_folder(folder: Path) -> Path:
    """Make a folder that only this user may read.

    Raises:
        InputError: If it cannot be made.
    """
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); stores from a service are copied "
            f"there, name another folder in {CACHE}"
        ) from None
    return folder


class NodeCache:
    """Files of one store, copied from its service when they are asked for."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket, self._folder = bucket, folder

    def has(self, file: StoredFile) -> bool:
        """Whether a file is there; its size suffices, as it was checked when it was copied."""
        path = self._folder / file.name
        if file.num_bytes is None:
            return path.is_file() and sha256_file(path) == file.sha256
        return _size(path) == file.num_bytes

    def _check_space(self, files: Iterable[StoredFile]) -> None:
        """Refuse files that the disk cannot hold."""
        needed = 0
        for file in files:
            if not self.has(file):
                arrived = _size(_part(self._folder / file.name)) or 0
                needed += (file.num_bytes or 0) - arrived
        what = f"the files of {self.bucket.address('')}"
        check_space(self._folder, needed, what, f"name a folder of a larger disk in {CACHE}")

    def fetch_all(self, files: Sequence[StoredFile]) -> Iterator[None]:
        """Copy files, several at a time; yields after each, also if it was there already.

        Raises:
            InputError: If the disk cannot hold them, or a file is missing or not what was packed.
            ServiceError: If the service fails.
        """
        self._check_space(files)
        pool = ThreadPoolExecutor(NUM_AT_ONCE)
        try:
            for done in as_completed([pool.submit(self.fetch, file) for file in files]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def fetch(self, file: StoredFile) -> None:
        """Copy a file, if it is not there; one process copies, the others wait for it.

        Raises:
            InputError: If the file is missing, twice not what was packed, or the disk is full.
            ServiceError: If the service fails; what has arrived is kept.
        """
        path = self._folder / file.name
        if self.has(file):
            return
        self._check_space([file])
        path.parent.mkdir(parents=True, exist_ok=True)
        part, lock = _part(path), path.with_name(f".{path.name}.lock")
        with full_disk(path), locked(lock):
            if not self.has(file):  # by whoever held the lock before
                with part.open("ab") as stream:
                    self._copy(file, part, stream)
                part.replace(path)
            lock.unlink(missing_ok=True)

    def _copy(self, file: StoredFile, part: Path, stream: BinaryIO) -> None:
        """Fill a part from where it ends, or from the start if that comes out wrong."""
        found = ""
        for _ in range(2):
            start = stream.seek(0, os.SEEK_END)
            if file.num_bytes is None or start > file.num_bytes:
                start = stream.truncate(0)
            self.bucket.download(file.name, stream, start, file.num_bytes)
            stream.flush()
            os.fsync(stream.fileno())
            found = sha256_file(part)
            if found == file.sha256:
                return
            stream.truncate(0)
        raise InputError(
            f"{self.bucket.address(file.name)}: its SHA-256 is {found}, twice, but the index "
            f"says {file.sha256}; was it damaged or replaced after the upload? Upload it again"
        )


def _size(path: Path) -> int | None:
    """None without a file, which another process may rename or remove at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
