"""Long work that is interrupted shuts down cleanly: Ctrl-C, or SIGTERM from a batch system."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
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

    def interrupt(signum: int, frame: FrameType | None) -> None:
        for name in _heard():
            signal.signal(name, signal.SIG_DFL)
        raise Interrupted(signum)

    with _handled(interrupt):
        yield


@contextlib.contextmanager
def postponed() -> Iterator[Callable[[], None]]:
    """Raise `Interrupted` only where a block can be left: at its end, and where it asks.

    Yields:
        What raises it if the process was asked to end.
    """
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        for name in _heard():
            signal.signal(name, signal.SIG_DFL)
        asked.append(signum)

    def check() -> None:
        if asked:
            raise Interrupted(asked[0])

    with _handled(note):
        yield check
    check()


def _heard() -> list[signal.Signals]:
    names = (signal.SIGINT, signal.SIGTERM)
    return [name for name in names if signal.getsignal(name) is not signal.SIG_IGN]


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, handler) for name in _heard()}
    try:
        yield
    finally:
        for name, old in before.items():
            # After an interruption the default stays: Ray may take its time to end.
            if signal.getsignal(name) is handler:
                signal.signal(name, old)
