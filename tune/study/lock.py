"""One driver per study: DIR/NAME/driver.json says who it is, and is locked while it lives.

The lock is the system's (flock): it goes with the process, however that ends. Some network file
systems have none, or one that other machines do not see, so the file also holds host, process and
the time of its last sign of life. A driver that died on this host is followed at once; of one on
another host nothing is known for sure, so its file must be removed by hand.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from hmtas.errors import InputError

FILE = "driver.json"
HEARTBEAT_S = 10.0  # between two signs of life
STALE_AFTER_S = 60.0  # a driver without a sign of life for longer has most likely died


@contextlib.contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Be the one driver of a study for the length of a block; makes its folder.

    Raises:
        InputError: If another driver is at work, naming its host and process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    # Not "a+": Linux would append what is to replace.
    with FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
        locked = _lock(file)
        other = _read(file)
        if locked is False or (other is not None and _may_be_alive(other, locked)):
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


def driver_of(folder: Path) -> str | None:
    """Who drives a study, such as "process 7 on host"; None if nobody does. Locks nothing."""
    try:
        found = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    host, pid, beat = (found.get(name) for name in ("host", "pid", "beat"))
    if host == socket.gethostname():
        lives = _may_be_alive(found, None)
    else:
        lives = isinstance(beat, int | float) and time.time() - beat < STALE_AFTER_S
    return f"process {pid} on {host}" if lives else None


def _lock(file: FileIO) -> bool | None:
    """True: locked; False: another process has it; None: this file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _may_be_alive(other: dict[str, Any], locked: bool | None) -> bool:
    """May the driver that wrote this still be at work, though we could open its file?"""
    if other.get("host") != socket.gethostname():
        return True
    if locked:
        return False
    pid = other.get("pid")
    return isinstance(pid, int) and other.get("began") == _start_time(pid) is not None


def _busy_message(folder: Path, other: dict[str, Any] | None) -> str:
    if other is None:
        return f"{folder}: another driver is starting this study; wait for it, or look again"
    host, pid, beat = (other.get(name, "unknown") for name in ("host", "pid", "beat"))
    age = f"{max(0.0, time.time() - beat):.0f} s ago" if isinstance(beat, int | float) else "once"
    line = f"{folder}: process {pid} on {host} drives this study (last sign of life {age})"
    if host == socket.gethostname():
        return f"{line}; wait for it, or stop it: kill {pid}"
    return f"{line}; if it is dead, remove {folder / FILE} and try again"


def _send_heartbeats(file: FileIO, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):  # a full disk is the study's to notice
            _write(file)


def _write(file: FileIO) -> None:
    pid = os.getpid()
    mine = {
        "host": socket.gethostname(),
        "pid": pid,
        "began": _start_time(pid),
        "beat": time.time(),
    }
    _replace(file, json.dumps(mine).encode())


def _replace(file: FileIO, content: bytes) -> None:
    """In place: a new file would not be the locked one."""
    with contextlib.suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), content, 0)
        os.fsync(file.fileno())


def _read(file: FileIO) -> dict[str, Any] | None:
    """Who wrote the file; None where it is empty or was cut short."""
    file.seek(0)
    with contextlib.suppress(ValueError):
        found = json.loads(file.read())
        return found if isinstance(found, dict) else None
    return None


def _start_time(pid: int) -> str | None:
    """When a process of this host began, in its kernel's ticks; None if there is no such one.

    A number is given to another process sooner or later; both together are not.
    """
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
