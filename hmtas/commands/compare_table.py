"""How the runs of an experiment look on a terminal: one row each. Numbers are percent."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hmtas.terminal.console import show

if TYPE_CHECKING:
    from hmtas.tracking.table import ComparedRun, SplitScore


def show_runs(rows: "Sequence[ComparedRun]", splits: Sequence[str], experiment: str) -> None:
    """The table, and what it says in sentences.

    Args:
        rows: Best validation score first.
        splits: Whose scores to show.
        experiment: The title.
    """
    rendered = _table(rows, splits, experiment, intervals=True)
    needed = Console(width=1000, height=25).measure(rendered).minimum
    narrow = sys.stdout.isatty() and needed > Console().width
    show(_table(rows, splits, experiment, intervals=False) if narrow else rendered)
    best = rows[0] if "valid" in rows[0].scores else None
    for line in _verdict(rows, best):
        typer.echo(line)
    if narrow:
        typer.echo("The 95 % intervals are left out: they need a wider terminal, or --json.")


def _table(
    rows: "Sequence[ComparedRun]", splits: Sequence[str], experiment: str, *, intervals: bool
) -> Table:
    table = Table(
        title=f"{experiment}: Average-mAP in %, best validation score first",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("name", overflow="fold", min_width=12)
    table.add_column("kind", no_wrap=True)
    for header in ("L", "gamma", "best\nepoch"):
        table.add_column(header, justify="right", no_wrap=True)
    for split in splits:
        table.add_column(f"{split}\ntight", justify="right", no_wrap=True)
        if intervals:
            table.add_column("\n95 %", no_wrap=True, style="dim")
        table.add_column(f"{split}\nloose", justify="right", no_wrap=True)
    all_finished = all(row.status == "FINISHED" for row in rows)
    if not all_finished:
        table.add_column("status", no_wrap=True)
    for place, row in enumerate(rows):
        gamma = None if row.gamma is None else f"{row.gamma:.2f}"
        cells = [row.name, row.kind, *(str(v or "-") for v in (row.seq_len, gamma, row.best_epoch))]
        for split in splits:
            tight, interval, loose = _cells(row.scores.get(split))
            cells += [tight, interval, loose] if intervals else [tight, loose]
        if not all_finished:
            cells.append(row.status.lower())
        best = place == 0 and "valid" in row.scores
        table.add_row(*(Text(cell) for cell in cells), style="bold" if best else None)
    return table


def _cells(score: "SplitScore | None") -> tuple[str, str, str]:
    """Tight, its interval, loose; a space where others have their mark keeps figures aligned."""
    if score is None:
        return "- ", "", "-"
    interval = _range(score.interval) if score.interval else ""
    loose = "-" if score.loose is None else f"{100 * score.loose:.2f}"
    return f"{100 * score.tight:.2f}{'*' if score.cross_fitted else ' '}", interval, loose


def _verdict(rows: "Sequence[ComparedRun]", best: "ComparedRun | None") -> list[str]:
    """What the table says, in sentences."""
    lines = []
    if best is None:
        lines.append(
            "Best: none can be named, for no run has a validation score "
            "(hmtas score RUN --split valid)."
        )
    else:
        test = best.scores.get("test")
        lines.append(
            f"Best by validation: {best.name} ({best.kind}), tight {_said(best.scores['valid'])}. "
            + (f"On test: {_said(test)}." if test else "It has no test score yet.")
        )
    if any(score.cross_fitted for row in rows for score in row.scores.values()):
        lines.append("* cross-fitted over games: every game scored by a fit that left it out.")
    without = [row.name for row in rows if not row.scores]
    if without:
        names = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if without[5:] else "")
        lines.append(f"Without a score yet, listed last: {names}.")
    return lines


def _said(score: "SplitScore") -> str:
    interval = f" (95 %: {_range(score.interval)})" if score.interval else ""
    return f"{100 * score.tight:.2f}{interval}{', cross-fitted' if score.cross_fitted else ''}"


def _range(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}"
