"""Copy a packed store to an S3-like service, the index last: half an upload is not a store."""

import shlex
from collections.abc import Callable
from pathlib import Path

from hmtas.errors import InputError
from hmtas.files import sha256_file
from hmtas.store.bucket import Bucket
from hmtas.store.index import INDEX_FILE, LABELS_FILE
from hmtas.store.local import EmbeddingStore

BEGUN_FILE = "upload.begun"  # holds the checksum of the store that is being uploaded


def upload(store: Path, url: str, *, on_half: Callable[[], None] = lambda: None) -> int:
    """Copy a store into a service; an interrupted upload resumes.

    Every file is checked against its checksum before it is sent. Halves that an earlier upload
    of this very store has completed are kept.

    Args:
        store: Folder of the store.
        url: Address such as `s3://BUCKET/FOLDER`; a store that is there is replaced.
        on_half: Called after every half, also if it was there already.

    Returns:
        Number of halves sent; 0 if this very store is there already.

    Raises:
        InputError: If the store is not what was packed.
        ServiceError: If the service fails.
    """
    opened = EmbeddingStore.open(store)
    bucket = Bucket(url)
    if bucket.read(INDEX_FILE) == (opened.path / INDEX_FILE).read_bytes():
        return 0
    mark = opened.checksum.encode()
    present = bucket.files() if bucket.read(BEGUN_FILE) == mark else {}
    # From here until the new index is written there is no store, rather than a mixed one.
    bucket.remove(INDEX_FILE)
    bucket.write(BEGUN_FILE, mark)
    num_sent = 0
    for stored in opened.halves.values():
        if present.get(stored.file) != stored.num_bytes:
            _send(bucket, opened.path, stored.file, stored.sha256)
            num_sent += 1
        on_half()
    _send(bucket, opened.path, LABELS_FILE, opened.index.labels_sha256)
    bucket.upload(opened.path / INDEX_FILE, INDEX_FILE)
    bucket.remove(BEGUN_FILE)
    return num_sent


def _send(bucket: Bucket, path: Path, name: str, sha256: str) -> None:
    if not (path / name).is_file() or sha256_file(path / name) != sha256:
        raise InputError(
            f"{path / name}: missing, or not what was packed; "
            f"run `hmtas verify {shlex.quote(str(path))}`"
        )
    bucket.upload(path / name, name)
