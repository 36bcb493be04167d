"""Places and servers that refuse what is asked of them, to root too."""

import contextlib
import ctypes
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Keep everybody from writing to a file or a folder; skips the test if root cannot be kept."""
    with _with_mode(path, 0o500, os.W_OK):
        yield


@contextlib.contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Keep everybody from reading a file or a folder; skips the test if root cannot be kept."""
    with _with_mode(path, 0, os.R_OK):
        yield


@contextlib.contextmanager
def _with_mode(path: Path, mode: int, kept: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with _bound_by_permissions():
            if os.access(path, kept, effective_ids=True):
                pytest.skip("root cannot be kept from anything here")
            yield
    finally:
        path.chmod(before)


@contextlib.contextmanager
def _bound_by_permissions() -> Iterator[None]:
    """Root's thread gives up the capabilities by which root passes over permissions."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3; this thread
    before = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    if not hasattr(libc, "capset") or libc.capget(header, before):
        yield
        return
    bound = (ctypes.c_uint32 * 6)(*before)
    bound[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    libc.capset(header, bound)
    try:
        yield
    finally:
        libc.capset(header, before)


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
