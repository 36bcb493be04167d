"""One driver per study: DIR/NAME/driver.json says who it is, and is locked while it lives.

The lock is the system's (flock) and is released with the process, however that ends. Some network
file systems have none, or one that other machines do not see, so the file also holds host, process
and the time of its last sign of life. A driver that died on this host is replaced at once; whether
one on another host lives is never sure, so its file must be removed by hand.
"""

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from hmtas.errors import InputError
from hmtas.validation import Frozen

FILE = "driver.json"
HEARTBEAT_S = 10.0  # between two signs of life
STALE_AFTER_S = 60.0  # a driver without a sign of life for longer has most likely died


class Driver(Frozen):
    """The process that drives a study, as it last wrote of itself."""

    host: str
    pid: int
    began: str | None = None  # start time of the process, as its number is used again later
    beat: float  # last sign of life, in seconds since 1970

    @property
    def is_local(self) -> bool:
        """Is it a process of this host?"""
        return self.host == socket.gethostname()

    @property
    def runs(self) -> bool:
        """Does its process run? Asked on its own host."""
        return self.began == _start_time(self.pid) is not None


@contextlib.contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Be the one driver of a study for the length of a block; makes its folder.

    Raises:
        InputError: If another driver is at work, naming its host and process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        locked = _lock(file)
        other = _read(path)
        # Where there are no locks, and on other hosts, its own words are all there is to go by.
        alive = other is not None and (not other.is_local or (not locked and other.runs))
        if locked is False or alive:
            raise InputError(_busy_message(folder, other))
        _write(file)
        ended = threading.Event()
        beating = threading.Thread(target=_send_heartbeats, args=(file, ended), daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
            # Emptied, not removed: a second driver may hold the file open by now.
            _replace(file, b"")
    finally:
        os.close(file)


def driver_of(folder: Path) -> str | None:
    """Who drives a study, such as "process 7 on host"; None if nobody does. Locks nothing."""
    found = _read(folder / FILE)
    if found is None:
        return None
    alive = found.runs if found.is_local else time.time() - found.beat < STALE_AFTER_S
    return f"process {found.pid} on {found.host}" if alive else None


def _lock(file: int) -> bool | None:
    """True: locked; False: another process has it; None: this file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _busy_message(folder: Path, other: Driver | None) -> str:
    if other is None:
        return f"{folder}: another driver is starting this study; wait for it, or look again"
    line = (
        f"{folder}: process {other.pid} on {other.host} drives this study "
        f"(last sign of life {max(0.0, time.time() - other.beat):.0f} s ago)"
    )
    if other.is_local:
        return f"{line}; wait for it, or stop it: kill {other.pid}"
    return f"{line}; if it is dead, remove {folder / FILE} and try again"


def _send_heartbeats(file: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_S):
        _write(file)


def _write(file: int) -> None:
    pid = os.getpid()
    driver = Driver(host=socket.gethostname(), pid=pid, began=_start_time(pid), beat=time.time())
    _replace(file, driver.model_dump_json().encode())


def _replace(file: int, content: bytes) -> None:
    """In place, as a new file would not be the locked one; the study itself notices a full disk."""
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, content, 0)
        os.fsync(file)


def _read(path: Path) -> Driver | None:
    """Who wrote the file; None where it is missing, empty or was cut short."""
    with contextlib.suppress(OSError, ValueError):
        return Driver.model_validate_json(path.read_bytes())
    return None


def _start_time(pid: int) -> str | None:
    """When a process of this host began, in its kernel's ticks; None if there is no such one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()
        return None if state == "Z" else fields[18]
    except (OSError, IndexError, ValueError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"
