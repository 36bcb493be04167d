"""The CPUs of this machine, each lent to one training at a time.

Every command without --address starts a Ray of its own, which knows nothing of the others and would
give out all CPUs again. So what trains on such a Ray takes the lock of a file for each of its CPUs,
in a folder of the user's, and waits where others have them. The system frees the locks with the
process, however it ends.
"""

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hmtas.errors import InputError, TransientError
from hmtas.files import locked
from hmtas.terminal.console import say
from hmtas.terminal.text import counted

NUM_CPUS = "HMTAS_LEASED_CPUS"  # in the environment of a Ray of our own: what it gives out
POLL_S = 0.1


@contextlib.contextmanager
def lending(num_cpus: int) -> Iterator[None]:
    """Let what is trained on a Ray of so many CPUs, started in the block, take leases."""
    os.environ[NUM_CPUS] = str(num_cpus)
    try:
        yield
    finally:
        del os.environ[NUM_CPUS]


@contextlib.contextmanager
def leased(num_cpus: int) -> Iterator[float]:
    """Have so many CPUs of this machine for the length of a block, after a wait for them.

    On a running cluster, whose Ray knows all that it gives out, this does nothing.

    Yields:
        How many seconds the wait took.
    """
    began = time.monotonic()
    total = int(os.environ.get(NUM_CPUS, "0"))
    with contextlib.ExitStack() as held:
        if total:
            folder = _folder()
            # One at a time gathers: two that had a part each would wait for each other forever.
            with locked(folder / "turn.lock"):
                missing = min(num_cpus, total)
                while missing := missing - _take(folder, total, missing, held):
                    time.sleep(POLL_S)
        yield time.monotonic() - began


def say_lent() -> None:
    """Say how many CPUs others have at this moment, if any."""
    total = int(os.environ.get(NUM_CPUS, "0"))
    with contextlib.ExitStack() as held:
        lent = total - _take(_folder(), total, total, held) if total else 0
    if lent:
        say(
            f"other trainings of yours on this machine have {lent} of its {counted(total, 'CPU')}; "
            "what does not fit beside them waits"
        )


def _take(folder: Path, total: int, wanted: int, held: contextlib.ExitStack) -> int:
    """Take what is free, at most as wanted; how many these are."""
    taken = 0
    for cpu in range(total):
        if taken == wanted:
            break
        with contextlib.suppress(TransientError):
            held.enter_context(locked(folder / f"{cpu}.lock", wait_s=0))
            taken += 1
    return taken


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"hmtas-cpus-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InputError(f"{folder}: is not a folder of yours; set TMPDIR to one that is")
    return folder
