"""How many hours a study may take, in all its drivers' lives together.

DIR/NAME/budget.json holds the hours and what is spent of them. The searcher and the pruner ask
`out_of_time`; Tune pickles both, so they know the folder and the clock is kept here, in the driver.
When time is out no trial is begun, and those that run are stopped after their epoch.
"""

import time
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from hmtas.files import write_json
from hmtas.validation import Frozen, read_record

FILE = "budget.json"
WRITE_EVERY_S = 5.0  # the most spent time that is forgotten when a driver is killed
UNLIMITED_TRIALS = 1_000_000  # trials of a study that ends by its hours


class Budget(Frozen):
    """Hours a study may take (None: as long as it needs), and seconds it has taken."""

    hours: float | None = Field(default=None, gt=0)  # in all
    spent_s: float = Field(default=0.0, ge=0)  # by `as_of`
    as_of: float | None = None  # seconds since 1970; None where no clock ran when this was written

    @property
    def left_s(self) -> float | None:
        """Seconds left; None where there is no limit."""
        return None if self.hours is None else max(0.0, 3600 * self.hours - self.spent_s)


class _Clock(NamedTuple):
    before: Budget  # when this driver began
    started: float
    written: float


_clocks: dict[Path, _Clock] = {}


def read_budget(folder: Path) -> Budget:
    """What a study may take and has taken, as of the last seconds.

    Raises:
        InputError: If the file is malformed.
    """
    path = folder / FILE
    return read_record(path, Budget) if path.is_file() else Budget()


def budget_now(folder: Path, *, alive: bool) -> Budget:
    """What a study may take and has taken by now, for any process that asks.

    The clock of a driver that is not `alive` stands still.

    Raises:
        InputError: If the file is malformed.
    """
    if (clock := _clocks.get(folder.absolute())) is not None:
        return _now(clock)
    found = read_budget(folder)
    if found.as_of is None or not alive:
        return found
    since_s = max(0.0, time.time() - found.as_of)
    return found.model_copy(update={"spent_s": found.spent_s + since_s})


def start_budget(folder: Path, hours: float | None) -> Budget:
    """Start the clock of this driver, with new hours in all if any are given."""
    folder = folder.absolute()
    before = read_budget(folder).model_copy(update={"as_of": None})
    if hours is not None:
        before = before.model_copy(update={"hours": hours})
    now = time.monotonic()
    _clocks[folder] = _Clock(before, now, now)
    _write(folder, before, running=True)
    return before


def stop_budget(folder: Path) -> Budget:
    """Stop the clock of this driver and write down what it spent."""
    clock = _clocks.pop(folder.absolute())
    budget = _now(clock)
    _write(folder, budget, running=False)
    return budget


def out_of_time(folder: Path) -> bool:
    """Is the time of a study spent? Never, where no clock runs or no hours were given."""
    clock = _clocks.get(folder)
    if clock is None:
        return False
    if time.monotonic() - clock.written >= WRITE_EVERY_S:
        _write(folder, _now(clock), running=True)
        _clocks[folder] = clock._replace(written=time.monotonic())
    left_s = _now(clock).left_s
    return left_s is not None and left_s <= 0


def _now(clock: _Clock) -> Budget:
    spent_s = clock.before.spent_s + time.monotonic() - clock.started
    return clock.before.model_copy(update={"spent_s": spent_s})


def _write(folder: Path, budget: Budget, *, running: bool) -> None:
    written = budget.model_copy(update={"as_of": time.time() if running else None})
    write_json(folder / FILE, written.model_dump(mode="json"))
