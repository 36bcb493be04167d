"""Places and servers that refuse what is asked of them, to root too."""

import contextlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Keep everybody from writing into a folder; skips the test where root cannot be kept."""
    folder.chmod(0o500)
    immutable = False
    try:
        if _writable(folder):
            change = ["chattr", "+i", str(folder)]
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(change, capture_output=True, check=False)
            immutable = not _writable(folder)
            if not immutable:
                pytest.skip("root can write everywhere here")
        yield
    finally:
        if immutable:
            subprocess.run(["chattr", "-i", str(folder)], check=True)
        folder.chmod(0o700)


def _writable(folder: Path) -> bool:
    try:
        (folder / "probe").touch()
        (folder / "probe").unlink()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def answering(status: int, body: bytes = b"no") -> Iterator[str]:
    """A server that gives every request the same answer; its address, with a password."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://me:secret@127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
