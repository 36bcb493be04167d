"""An interrupted study ends in order: Ctrl-C, and SIGTERM from a batch system, once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The process was asked to end; a second time ends it at once.

    Attributes:
        signum: SIGINT or SIGTERM.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """130 or 143, as shells have it."""
        return 128 + self.signum


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the main thread when the process is asked to end.

    A process that was started to ignore Ctrl-C, as shells start jobs in the background, still does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [
        name
        for name in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(name) is not signal.SIG_IGN
    ]

    def interrupt(signum: int, frame: FrameType | None) -> None:
        for name in names:
            signal.signal(name, signal.SIG_DFL)
        raise Interrupted(signum)

    before = {name: signal.signal(name, interrupt) for name in names}
    try:
        yield
    finally:
        for name in names:
            # After an interruption the default stays: Ray may take its time to end.
            if signal.getsignal(name) is interrupt:
                signal.signal(name, before[name])
