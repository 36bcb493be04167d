"""What `hmtas reproduce` shows of two makings of a run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmtas.reproduce.sameness import Compared, Sameness, shown
from hmtas.terminal.console import say, show

# Follow from the store and the configuration: shown where they differ.
EXPECTED = {"streams", "actions", "fitted_games", "stopped_games", "num_parameters", "windows"}


def by_what(compared: Sequence[Compared]) -> list[list[Compared]]:
    """By what they are of, in the order of their first."""
    groups: dict[str, list[Compared]] = {}
    for one in compared:
        groups.setdefault(one.what, []).append(one)
    return list(groups.values())


def worst_of(group: Sequence[Compared]) -> Compared:
    """The one that differs most; the first of those that differ alike."""
    return max(group, key=lambda one: (one.difference, not one.exact))


def finite(value: float) -> float | None:
    """A number that JSON knows."""
    return value if math.isfinite(value) else None


def json_of(one: Compared) -> dict[str, Any]:
    """One comparison for `--json`."""
    return {**one._asdict(), "difference": finite(one.difference)}


def show_compared(
    run: Path,
    compared: Sequence[Compared],
    changed: Sequence[dict[str, str]],
    notes: Sequence[str],
    sameness: Sameness,
) -> None:
    """A row for each thing compared, what else is to be known, and the verdict in the end."""
    from rich.table import Table

    table = Table(title=f"{run}, made again", title_justify="left")
    for heading in ("what", "values", "largest difference", "where", "of the run", "again"):
        is_text = heading in ("what", "where")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for group in by_what(compared):
        worst = worst_of(group)
        if worst.exact and worst.what in EXPECTED:
            continue
        cells = [worst.what, str(len(group))]
        if worst.exact:
            cells += ["none", "", "", ""]
        else:
            size = f"{worst.difference:.1e}" if math.isfinite(worst.difference) else "other"
            if worst.difference == 0:
                size = "other bits"
            cells += [size, worst.place, *shown(worst.before, worst.again)]
        table.add_row(*cells)
    show(table)
    for change in changed:
        say(f"{change['what']}: {change['before']} when the run was made, {change['now']} now")
    for note in notes:
        say(f"note: {note}")
    say(sameness.verdict)
