"""How a comparison looks on a terminal: the runs of an experiment, and runs on the same games."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from hmtas.terminal.console import show
from hmtas.terminal.table import Table
from hmtas.terminal.text import NOTHING, counted, estimate, interval, percent, points

if TYPE_CHECKING:
    from hmtas.scoring.paired import PairedComparison
    from hmtas.tracking.table import ComparedRun, SplitScore


def show_runs(rows: "Sequence[ComparedRun]", splits: Sequence[str], experiment: str) -> None:
    """The runs of an experiment, and what the table says in sentences.

    Args:
        rows: Best validation score first.
        splits: Whose scores to show.
        experiment: The title.
    """
    table = _runs_table(rows, splits, experiment, intervals=True)
    needed = Console(width=1000, height=25).measure(table).minimum
    narrow = sys.stdout.isatty() and needed > Console().width
    show(_runs_table(rows, splits, experiment, intervals=False) if narrow else table)
    for line in _said_of_runs(rows):
        typer.echo(line)
    if narrow:
        typer.echo("The 95 % intervals are left out: they need a wider terminal, or --json.")


def show_paired(comparison: "PairedComparison") -> None:
    """Runs on the same games, each against the reference, and what the table says in sentences."""
    of_split = f" of {comparison.split}" if comparison.split else ""
    metric = comparison.metric
    what = "tight Average-mAP" if metric is None else f"mAP at {metric.title},"
    typer.echo(
        f"The same {counted(comparison.num_games, 'game')}{of_split}: {what} in %, "
        f"and the difference from {comparison.reference} in points"
    )
    show(_paired_table(comparison))
    for line in _said_of_pairs(comparison):
        typer.echo(line)


def _runs_table(
    rows: "Sequence[ComparedRun]", splits: Sequence[str], experiment: str, *, intervals: bool
) -> Table:
    heads = ["name", "kind", "L", "gamma", "best\nepoch"]
    for split in splits:
        heads += [f"{split}\ntight", *(["\n95 %"] if intervals else []), f"{split}\nloose"]
    unfinished = any(row.status != "FINISHED" for row in rows)
    cells = []
    for row in rows:
        gamma = NOTHING if row.gamma is None else f"{row.gamma:.2f}"
        sees = str(row.seq_len or NOTHING) if row.context_s is None else f"{row.context_s:g} s"
        found = [row.name, row.kind, sees, gamma]
        found.append(str(row.best_epoch or NOTHING))
        for split in splits:
            tight, ends, loose = _score_cells(row.scores.get(split))
            found += [tight, *([ends] if intervals else []), loose]
        cells.append((*found, *([row.status.lower()] if unfinished else [])))
    return Table(
        title=f"{experiment}: Average-mAP in %, best validation score first",
        heads=(*heads, *(["status"] if unfinished else [])),
        rows=tuple(cells),
        words=frozenset({0, 1, *([len(heads)] if unfinished else [])}),
        strong=frozenset({0} if "valid" in rows[0].scores else ()),
    )


def _score_cells(score: "SplitScore | None") -> tuple[str, str, str]:
    """Tight, its interval, loose."""
    if score is None:
        return _marked(NOTHING, False), "", NOTHING
    ends = interval(score.interval) if score.interval else ""
    return _marked(percent(score.tight), score.cross_fitted), ends, percent(score.loose)


def _marked(text: str, cross_fitted: bool) -> str:
    """A space where others have their mark keeps figures aligned."""
    return text + ("*" if cross_fitted else " ")


def _said_of_runs(rows: "Sequence[ComparedRun]") -> Iterator[str]:
    best = rows[0]
    if "valid" in best.scores:
        test = best.scores.get("test")
        yield (
            f"Best by validation: {best.name} ({best.kind}), tight {_said(best.scores['valid'])}. "
            + (f"On test: {_said(test)}." if test else "It has no test score yet.")
        )
    else:
        yield (
            "Best: none can be named, as no run has a validation score "
            "(`hmtas score RUN --split valid`)."
        )
    if any(score.cross_fitted for row in rows for score in row.scores.values()):
        yield "* cross-fitted over games: every game scored by a fit that left it out."
    without = [row.name for row in rows if not row.scores]
    if without:
        names = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if without[5:] else "")
        yield f"Without a score yet, listed last: {names}."


def _said(score: "SplitScore") -> str:
    shown = estimate(score.tight, score.interval)
    return f"{shown}{', cross-fitted' if score.cross_fitted else ''}"


def _paired_table(comparison: "PairedComparison") -> Table:
    rows, metric = [], comparison.metric
    for run in sorted(comparison.runs, key=lambda run: -run.score):
        cells = (run.name, _marked(percent(run.score), run.cross_fitted))
        found = run.against_reference
        if found is None:
            rows.append((*cells, NOTHING, "", "", ""))
            continue
        ends = interval((found.low, found.high), signed=True)
        needed = found.games_needed
        games = f"> {comparison.most_games:,}" if needed is None else f"{needed:,}"
        if comparison.num_games == 1:  # it says nothing of how games differ
            games = NOTHING
        rows.append((*cells, points(found.difference), ends, found.verdict, games))
    heads = (
        "name",
        metric.title if metric else "tight",
        "difference",
        "95 %",
        "verdict",
        "games needed",
    )
    return Table(heads=heads, rows=tuple(rows), words=frozenset({0, 4}))


def _said_of_pairs(comparison: "PairedComparison") -> Iterator[str]:
    """What the table says, and what it assumes."""
    others = [run for run in comparison.runs if run.against_reference is not None]
    first, reference, winner = others[0], comparison.reference, comparison.winner
    if len(others) == 1 and first.against_reference is not None:
        verdict = first.against_reference.verdict
        if verdict == "cannot tell":
            told = (
                f"{counted(comparison.num_games, 'game')} cannot tell {first.name} from {reference}"
            )
        else:
            told = f"{first.name} is {verdict} than {reference}"
        yield f"Verdict: {told}."
    else:
        whichever = ", whichever run is the best" if winner else ""
        yield (
            f"The {len(others)} intervals hold together at 95 %: they are corrected for their "
            f"number (max-T over resampled games{whichever})."
        )
    yield (
        "Games needed: to tell a difference of the size seen, if it is the true one, with "
        f"{percent(comparison.power, 0)} % probability."
    )
    if winner:
        yield (
            f"{winner.name}: best of {winner.num_candidates} at {percent(winner.score)}, "
            f"corrected for having been picked: {percent(winner.corrected)}."
        )
