"""`hmtas compare`: all models and ensembles in one table, read back from MLflow."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtas.commands.options import Json
from hmtas.errors import InputError
from hmtas.terminal.console import emit, say

if TYPE_CHECKING:
    from hmtas.tracking.table import ComparedRun

Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUN|SPOTS",
        help="Run folders, or folders or zips of spots; without any, a whole experiment.",
    ),
]
Experiment = Annotated[
    str | None,
    typer.Option("--experiment", help="MLflow experiment; by default the one used last."),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Show the scores of this split only, e.g. test.")
]
Games = Annotated[
    str | None,
    typer.Option("--games", help="Where the labels of SPOTS are, as for `hmtas score`."),
]
SplitFile = Annotated[Path | None, typer.Option("--splits", help="Split file of GAMES.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compare")(compare)


def compare(
    runs: Runs = None,
    experiment: Experiment = None,
    split: Split = None,
    games: Games = None,
    split_file: SplitFile = None,
    as_json: Json = False,
) -> None:
    """Compare models and ensembles in one table, from MLflow, best validation score first.

    The best is named by its validation score, never by test. `*` marks a cross-fitted score:
    windows or weights were fitted on these games, each game scored by a fit that left it out.

    Run folders are also compared on the same games (of valid, or of --split), by their stored
    probabilities: two with each other, more with the best by validation, each difference with a
    95 % interval corrected for their number, and a verdict: better, worse or cannot tell.

    Spots, such as somebody else's submission, are compared in the same way with other spots or
    with runs; MLflow, which has no scores of them, is then left out.

    Examples: `hmtas compare --experiment sweep1`; `hmtas compare runs/m7 runs/m6 --split test`;
    `hmtas compare mine.zip theirs.zip --games GAMES --split test`
    """
    from hmtas.commands.compare_pairs import compare_spots, show_paired
    from hmtas.commands.compare_table import show_runs
    from hmtas.scoring.inputs import is_spots
    from hmtas.tracking.client import ui_line
    from hmtas.tracking.table import read_table

    if any(is_spots(run) for run in runs or ()):
        compare_spots(runs or (), split, games, split_file, as_json=as_json)
        return
    if games or split_file:
        raise InputError("--games and --splits are for spots; runs name the store of their labels")
    ids: dict[str, Path] = {}
    if runs:
        if experiment:
            raise InputError("give run folders or --experiment, not both")
        table, ids, uri, experiment = _rows_of(runs)
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
    show_runs(table, splits, experiment)
    if paired:
        show_paired(paired)
    typer.echo(f"MLflow: {ui_line(uri)}")


def _rows_of(runs: list[Path]) -> "tuple[list[ComparedRun], dict[str, Path], str, str]":
    """Rows of run folders, the folder of each id, their store and their experiments."""
    from hmtas.tracking.run import sync_run, tracked_at
    from hmtas.tracking.table import read_runs

    ids = {sync_run(run): run for run in runs}  # up to date; entered if new
    places = {place[:2] for run in runs if (place := tracked_at(run))}
    stores = sorted({store for store, _ in places})
    if len(stores) > 1:
        raise InputError(
            f"these runs are in different MLflow stores: {', '.join(stores)}; "
            "set MLFLOW_TRACKING_URI to bring them together in one"
        )
    experiments = ", ".join(sorted({name for _, name in places}))
    return read_runs(stores[0], ids), ids, stores[0], experiments


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
    from hmtas.tracking.table import experiments, reader

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


def _document(
    rows: "list[ComparedRun]", best: "ComparedRun | None", experiment: str, uri: str
) -> dict[str, Any]:
    from hmtas.tracking.client import public_uri

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
