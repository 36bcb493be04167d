"""An S3 server on this machine, in a process of its own."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import pytest
from pyarrow import fs

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Server:
    """A running server and what it was asked."""

    def __init__(self, log: Path, **environment: str) -> None:
        self._log = log
        with log.open("w") as target:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdout=target,
                stderr=target,
                env={**environment, "NO_COLOR": "1"},
            )
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the S3 server does not start"
            time.sleep(0.05)
        self.endpoint = found[0]

    def requests(self, method: str = "GET", what: str = "") -> list[str]:
        """The paths of the requests so far that contain `what`, a request per line of its log."""
        found = re.findall(rf"{method} (/bucket/\S*) HTTP", self._log.read_text())
        return [path for path in found if what in path]

    def files(self) -> fs.FileSystem:
        """The bucket `bucket`, made if it is not there."""
        files = fs.S3FileSystem(
            endpoint_override=self.endpoint, region="us-east-1", allow_bucket_creation=True,
            access_key="key", secret_key="secret",
        )  # fmt: skip
        files.create_dir("bucket")
        return fs.SubTreeFileSystem("bucket", files)

    def replace(self, url: str, name: str, content: bytes) -> None:
        """Other bytes for a file of the store at `url`."""
        path = f"{url.removeprefix('s3://bucket/')}/{name}"
        with self.files().open_output_stream(path) as target:
            target.write(content)

    def use(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """Make it the service of this process and those that it starts."""
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.endpoint)
        monkeypatch.setenv("HMTAS_CACHE", str(cache))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
