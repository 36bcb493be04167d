"""A folder of an S3-like service: list, read and write its files; every failure is one line.

Endpoint, region and credentials come from where every S3 program takes them: the environment
(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN ...), ~/.aws, the
machine's role; or the options of the address that pyarrow knows
(`?endpoint_override=...&region=...`).
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from hmtas.errors import InputError, TransientError

BLOCK_BYTES = 8 * 2**20  # one request

_CAUSES = {
    r"NO_SUCH_BUCKET": "is the bucket spelt right?",
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIALS|HTTP status 403": (
        "are the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY ...) set and allowed to "
        "do this, and is the bucket spelt right?"
    ),
    r"NETWORK_CONNECTION|curlCode|HTTP status 5|INTERNAL|SLOW_DOWN|TIMEOUT": (
        "is the endpoint (AWS_ENDPOINT_URL, or ?endpoint_override= of the address) right, and does "
        "the service run?"
    ),
}


class ServiceError(TransientError):
    """The service did not answer, or refused: nothing is known of the files themselves."""


class Bucket:
    """One folder of a service."""

    def __init__(self, url: str) -> None:
        """Connect, which sends no request to most services.

        Raises:
            InputError: If `url` is not an address, or holds credentials.
            ServiceError: If its region cannot be found out.
        """
        self.url = url.rstrip("/")
        parts = urlsplit(url)
        if not parts.netloc:
            raise InputError(f"{url}: names no bucket; write s3://BUCKET/FOLDER")
        if parts.password:
            raise InputError(
                f"{parts.scheme}://{parts.hostname}{parts.path}: has credentials in the address, "
                "which records and messages would show; put them into the environment "
                "(AWS_ACCESS_KEY_ID ...)"
            )
        self._shown = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        with self._errors(""):
            self._files, path = fs.FileSystem.from_uri(url)
        self._root = path.rstrip("/")

    def address(self, name: str) -> str:
        """A file for messages."""
        return f"{self._shown}/{name}" if name else self._shown

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        with self._errors(name):
            try:
                with self._files.open_input_file(f"{self._root}/{name}") as source:
                    content: bytes = source.read()
            except FileNotFoundError:
                return None
        return content

    def download(self, name: str, target: BinaryIO, start: int, num_bytes: int | None) -> None:
        """Append a file from byte `start` on to an open file, a block at a time.

        Raises:
            InputError: If the file is missing, or not `num_bytes` long.
            ServiceError: If the service fails.
        """
        with self._errors(name), self._files.open_input_file(f"{self._root}/{name}") as source:
            size = source.size()
            if num_bytes is not None and size != num_bytes:
                raise InputError(
                    f"{self.address(name)}: {size:,} bytes, but the index says {num_bytes:,}; "
                    "was it cut short, or is another store being uploaded to this place?"
                )
            source.seek(start)
            while block := source.read(BLOCK_BYTES):
                target.write(block)
                target.flush()  # what has arrived counts, even if this process is killed

    def upload(self, source: Path, name: str) -> None:
        """Write a file, a block at a time."""
        with source.open("rb") as file, self._writer(name) as target:
            while block := file.read(BLOCK_BYTES):
                target.write(block)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with self._writer(name) as target:
            target.write(content)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with self._errors(name), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")

    def files(self) -> dict[str, int]:
        """Every file below this folder and its size in bytes."""
        with self._errors(""):
            found = self._files.get_file_info(
                fs.FileSelector(self._root, recursive=True, allow_not_found=True)
            )
        first = len(self._root) + 1
        return {item.path[first:]: item.size for item in found if item.is_file}

    @contextlib.contextmanager
    def _writer(self, name: str) -> Iterator[Any]:
        with self._errors(name), self._files.open_output_stream(f"{self._root}/{name}") as target:
            yield target

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Say in one line what failed, where and why."""
        try:
            yield
        except FileNotFoundError:
            raise InputError(
                f"{self.address(name)}: not there; is the address right, and was the upload "
                "finished?"
            ) from None
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{self.url}: not an address of a store ({_short(error)}); write "
                "s3://BUCKET/FOLDER, with %20 for a space"
            ) from None
        except OSError as error:
            if error.errno is not None:  # of this machine's disk
                raise
            causes = (cause for pattern, cause in _CAUSES.items() if re.search(pattern, str(error)))
            cause = next(causes, "are endpoint, credentials and bucket right?")
            raise ServiceError(
                f"{self.address(name)}: the service failed ({_short(error)}); {cause}"
            ) from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
