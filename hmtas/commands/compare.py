"""`hmtas compare`: all models and ensembles in one table, read back from MLflow."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hmtas.console import Json, emit, say, show
from hmtas.errors import InputError

if TYPE_CHECKING:
    from hmtas.comparison import ComparedRun, SplitScore

Runs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RUN", help="Run folders; without any, a whole experiment."),
]
Experiment = Annotated[
    str | None,
    typer.Option("--experiment", help="MLflow experiment; by default the one used last."),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Show the scores of this split only, e.g. test.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compare")(compare)


def compare(
    runs: Runs = None, experiment: Experiment = None, split: Split = None, as_json: Json = False
) -> None:
    """Compare models and ensembles in one table, from MLflow, best validation score first.

    The best is named by its validation score, never by test. `*` marks a cross-fitted score:
    windows or weights were fitted on these games, each game scored by a fit that left it out.

    Run folders are also compared on the same games (of valid, or of --split), by their stored
    probabilities: two with each other, more with the best by validation, each difference with a
    95 % interval corrected for their number, and a verdict: better, worse or cannot tell.

    Examples: `hmtas compare --experiment sweep1`; `hmtas compare runs/m7 runs/m6 --split test`
    """
    from hmtas.commands.compare_pairs import show_paired
    from hmtas.comparison import read_runs, read_table
    from hmtas.tracking import sync_run, tracked_at, ui_line

    ids: dict[str, Path] = {}
    if runs:
        if experiment:
            raise InputError("give run folders or --experiment, not both")
        ids = {sync_run(run): run for run in runs}  # up to date; entered if new
        places = {place for run in runs if (place := tracked_at(run))}
        stores = sorted({store for store, _ in places})
        if len(stores) > 1:
            raise InputError(
                f"these runs are in different MLflow stores: {', '.join(stores)}; "
                "set MLFLOW_TRACKING_URI to bring them together in one"
            )
        uri, experiment = stores[0], ", ".join(sorted({name for _, name in places}))
        table = read_runs(uri, ids)
    else:
        uri, experiment = _choose(experiment)
        table = read_table(experiment)
    if not table:
        raise InputError(f"experiment {experiment!r} holds no model or ensemble yet")
    splits = sorted({s for row in table for s in row.scores}, key=lambda s: (s != "valid", s))
    paired, unpaired = _paired(table, ids, split) if len(ids) > 1 else (None, "")
    if split is not None:
        if split not in splits and not paired:
            known = ", ".join(splits) or "none"
            raise InputError(f"no run has a score on split {split!r}; splits with scores: {known}")
        splits = [split]
    best = table[0] if "valid" in table[0].scores else None
    if unpaired:
        say(f"not compared on the same games: {unpaired}")
    if as_json:
        emit({**_document(table, best, experiment, uri), "paired": paired})
        return
    rendered = _table(table, splits, experiment, intervals=True)
    needed = Console(width=1000, height=25).measure(rendered).minimum
    narrow = sys.stdout.isatty() and needed > Console().width
    show(_table(table, splits, experiment, intervals=False) if narrow else rendered)
    for line in _verdict(table, best):
        typer.echo(line)
    if narrow:
        typer.echo("The 95 % intervals are left out: they need a wider terminal, or --json.")
    if paired:
        show_paired(paired)
    typer.echo(f"MLflow: {ui_line(uri)}")


def _paired(
    rows: "list[ComparedRun]", ids: dict[str, Path], split: str | None
) -> tuple[dict[str, Any] | None, str]:
    """The runs on the same games, in the order they were named; else why not."""
    from hmtas.commands.compare_pairs import PICKED_ON, paired_document

    row_of = {row.run_id: row for row in rows}
    names = Counter(row.name for row in rows)
    runs, valid_tight = {}, {}
    for run_id, path in ids.items():
        row = row_of[run_id]
        name = row.name if names[row.name] == 1 else str(path)
        runs[name] = path
        if "valid" in row.scores:
            valid_tight[name] = row.scores["valid"].tight
    try:
        return paired_document(runs, split or PICKED_ON, valid_tight), ""
    except InputError as error:
        return None, str(error)


def _choose(experiment: str | None) -> tuple[str, str]:
    """The store, and the experiment asked for or used last."""
    from hmtas.comparison import experiments, reader

    client = reader()
    if experiment is None:
        names = [found.name for found in experiments(client)]
        if not names:
            raise InputError(
                f"{client.tracking_uri}: MLflow holds no run of hmtas yet; "
                "train one, or name run folders: hmtas compare RUN ..."
            )
        experiment = names[0]
        if len(names) > 1:
            say(
                f"experiment {experiment!r}, the latest of {len(names)}; "
                f"others with --experiment: {', '.join(names[1:])}"
            )
    return client.tracking_uri, experiment


def _table(
    rows: "list[ComparedRun]", splits: list[str], experiment: str, *, intervals: bool
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


def _verdict(rows: "list[ComparedRun]", best: "ComparedRun | None") -> list[str]:
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


def _document(
    rows: "list[ComparedRun]", best: "ComparedRun | None", experiment: str, uri: str
) -> dict[str, Any]:
    from hmtas.mlflow_client import public_uri

    return {
        "experiment": experiment,
        "tracking_uri": public_uri(uri),
        "best": best.name if best else None,
        "best_run_id": best.run_id if best else None,
        "runs": [
            {
                **row._asdict(),
                "scores": {split: score._asdict() for split, score in row.scores.items()},
            }
            for row in rows
        ],
    }
