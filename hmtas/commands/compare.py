"""`hmtas compare`: all models and ensembles in one table, read back from MLflow."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtas.commands.failures import Failures
from hmtas.commands.label_options import (
    ActionList,
    ByTeam,
    LabelFormat,
    LabelFps,
    Renames,
    SpotAt,
    reading_of,
)
from hmtas.commands.metric_options import GridHz, ToleranceFrames, ToleranceS, chosen_metric
from hmtas.commands.options import Json
from hmtas.errors import InputError, did_you_mean
from hmtas.runs.record import predictions_path, read_run
from hmtas.terminal.console import emit, progress, say

if TYPE_CHECKING:
    from hmtas.metric.chosen import ChosenMetric
    from hmtas.scoring.paired import PairedComparison
    from hmtas.tracking.table import ComparedRun

FEWEST_COMPARED = 2


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN|SPOTS",
            help="Run folders, or spots in a folder, a zip, a .json or a .csv; by default a whole "
            "experiment.",
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="MLflow experiment; by default the one used last.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Show only the scores of this split.")] = None,
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of an experiment, the best so many; 0 is all.")
    ] = 100,
    games: Annotated[
        str | None, typer.Option(help="Where the labels are, as for `hmtas score`; runs know it.")
    ] = None,
    splits: Annotated[Path | None, typer.Option(help="Split file of GAMES.")] = None,
    tolerance_s: ToleranceS = None,
    grid_hz: GridHz = None,
    tolerance_frames: ToleranceFrames = None,
    label_format: LabelFormat = None,
    actions: ActionList = None,
    rename: Renames = None,
    by_team: ByTeam = False,
    fps: LabelFps = None,
    spot_at: SpotAt = None,
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

    With --tolerance-s or --tolerance-frames the comparison on the same games is made by that metric
    in the place of tight Average-mAP; the best by validation is still the best by tight.

    Examples: `hmtas compare --experiment sweep1`; `hmtas compare runs/m7 runs/m6 --split test`;
    `hmtas compare mine.zip theirs.zip --games GAMES --split test`
    """
    from hmtas.commands.compare_table import show_paired, show_runs
    from hmtas.scoring.inputs import is_spots
    from hmtas.tracking.client import ui_line

    # Those of label files need no tolerance.
    of_metric = fps if tolerance_frames is not None or games is None else None
    metric = chosen_metric(tolerance_s, grid_hz, tolerance_frames, of_metric)
    reading = reading_of(
        label_format=label_format,
        fps=fps,
        spot_at=spot_at,
        rename=rename,
        by_team=by_team,
        actions=actions,
    )
    if metric is not None and len(runs or ()) < FEWEST_COMPARED:
        raise InputError(
            "--tolerance-s and --tolerance-frames compare runs or spots on the same games; name "
            "two or more of them, or score one with `hmtas score`"
        )
    if any(is_spots(run) for run in runs or ()):
        _compare_spots(runs or [], split, as_json=as_json, games=games, splits=splits,
                       metric=metric, reading=reading)  # fmt: skip
        return
    if splits or (games and not runs):
        raise InputError("--splits is for spots, and --games for spots and runs that are named")
    failures, ids, copies = Failures(len(runs or ())), dict[str, Path](), dict[str, str]()
    more = False
    if runs:
        if experiment:
            raise InputError("give run folders or --experiment, not both")
        good, copies = _without_copies(failures.readable(runs), split)
        table, ids, uri, experiment = _rows_of(good, failures)
    else:
        uri, experiment = _choose(experiment)
        table, more = _best_of(experiment, limit, split)
        if more:
            say(f"the best {limit} of more; --limit 0 shows all")
    if not table:
        raise InputError(f"experiment {experiment!r} holds no model or ensemble yet")
    same_games = _compare_runs(table, ids, split, games, metric) if len(ids) > 1 else None
    shown = _splits_shown(table, split, needed=same_games is None)
    stores = {row.store_checksum for row in table if row.scores} - {None}
    if len(stores) > 1:
        say(
            f"note: these runs were made on {len(stores)} stores; their scores compare only where "
            "games and labels are the same"
        )
    if as_json:
        paired_json = same_games and same_games.model_dump(mode="json")
        document = _document(table, experiment, uri)
        emit({**document, "more": more, "paired": paired_json, "copies": copies})
    else:
        show_runs(table, shown, experiment)
        if same_games is not None:
            show_paired(same_games)
        typer.echo(f"MLflow: {ui_line(uri)}")
    failures.tell()


def _best_of(experiment: str, limit: int, split: str | None) -> "tuple[list[ComparedRun], bool]":
    """The best runs of an experiment, those with a score on the split first; are there more?"""
    from hmtas.tracking.table import read_table, sort_table

    if not limit:
        return read_table(experiment), False
    table = read_table(experiment, limit=limit + 1 if split in (None, "valid") else None)
    with_it = sorted(table, key=lambda row: split is not None and split not in row.scores)
    return sort_table(with_it[:limit]), len(table) > limit


def _splits_shown(table: "list[ComparedRun]", split: str | None, *, needed: bool) -> list[str]:
    """The splits whose scores the table shows: the one asked for, or all, validation first."""
    scored = sorted({s for row in table for s in row.scores}, key=lambda s: (s != "valid", s))
    if split is None:
        return scored
    if split not in scored and needed:
        known = ", ".join(scored) or "none"
        raise InputError(
            f"no run has a score on split {split!r}{did_you_mean(split, scored)}; "
            f"splits with scores: {known}"
        )
    return [split]


def _without_copies(runs: list[Path], split: str | None) -> tuple[list[Path], dict[str, str]]:
    """The runs, each model once, and the folders that hold one of them again, each with it."""
    from hmtas.runs.identity import find_copies
    from hmtas.runs.probabilities import find_probabilities
    from hmtas.scoring.paired import PICKED_ON

    records = [read_run(run) for run in runs]
    by_weights = all(record.weights_sha256 for record in records)  # what was said need not be read
    paths = (predictions_path(run, split or PICKED_ON) for run in runs)
    stored = [None if by_weights else find_probabilities(path) for path in paths]
    copies = find_copies(zip(records, stored, strict=True))
    for copy, first in copies.items():
        say(f"{runs[copy]}: left out, the same model as {runs[first]}")
    kept = [run for m, run in enumerate(runs) if m not in copies]
    return kept, {str(runs[copy]): str(runs[first]) for copy, first in copies.items()}


def _rows_of(
    runs: list[Path], failures: Failures
) -> "tuple[list[ComparedRun], dict[str, Path], str, str]":
    """Rows of run folders, the folder of each id, their store and their experiments."""
    from hmtas.tracking.note import store_of, tracked, tracked_at
    from hmtas.tracking.run import sync_run
    from hmtas.tracking.table import read_runs

    ids, known = {}, tracked(runs)
    beside = store_of(known[0]) if known else None
    for run in runs:
        with failures.of(run):
            # Up to date; entered, beside the others, if new.
            ids[sync_run(run, uri=None if run in known else beside)] = run
    if not ids:
        failures.tell()
    places = {place[:2] for run in ids.values() if (place := tracked_at(run))}
    stores = sorted({store for store, _ in places})
    if len(stores) > 1:
        raise InputError(
            f"these runs are in different MLflow stores: {', '.join(stores)}; "
            "set MLFLOW_TRACKING_URI to bring them together in one"
        )
    experiments = ", ".join(sorted({name for _, name in places}))
    return read_runs(stores[0], ids), ids, stores[0], experiments


def _compare_spots(paths: list[Path], split: str | None, *, as_json: bool, **how: Any) -> None:
    """Compare spots, of which MLflow knows nothing, also with runs; `how` as `compare_paired`."""
    from hmtas.commands.compare_table import show_paired
    from hmtas.scoring.paired import compare_paired

    named = {str(path): path for path in paths}
    if len(named) < FEWEST_COMPARED:
        raise InputError(
            f"{paths[0]}: there is nothing to compare it with; name two or more, "
            "or score it with `hmtas score`"
        )
    with progress("Comparing", 2 * len(named)) as step:
        paired = compare_paired(named, split, {}, on_step=step, **how)
    if as_json:
        emit({"paired": paired.model_dump(mode="json")})
    else:
        show_paired(paired)


def _compare_runs(
    rows: "list[ComparedRun]",
    ids: dict[str, Path],
    split: str | None,
    games: str | None,
    metric: "ChosenMetric | None",
) -> "PairedComparison | None":
    """The runs on the same games, in the order they were named, if they can be compared there."""
    from hmtas.scoring.games import how_to_predict
    from hmtas.scoring.paired import PICKED_ON, compare_paired

    row_of = {row.run_id: row for row in rows}
    names = Counter(row.name for row in rows)
    runs, valid_tight = {}, {}
    for run_id, path in ids.items():
        row = row_of[run_id]
        if not predictions_path(path, split or PICKED_ON).is_file():
            advice = how_to_predict(path, split or PICKED_ON)
            say(f"{path}: without predictions, not compared on the same games; {advice}")
            continue
        name = row.name if names[row.name] == 1 else str(path)
        runs[name] = path
        if "valid" in row.scores:
            valid_tight[name] = row.scores["valid"].tight
    if len(runs) < FEWEST_COMPARED:
        return None
    try:
        with progress("Comparing", 2 * len(runs)) as step:
            return compare_paired(runs, split or PICKED_ON, valid_tight, games=games,
                                  metric=metric, on_step=step)  # fmt: skip
    except InputError as error:
        say(f"not compared on the same games: {error}")
        return None


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


def _document(rows: "list[ComparedRun]", experiment: str, uri: str) -> dict[str, Any]:
    from hmtas.tracking.client import public_uri

    best = rows[0] if "valid" in rows[0].scores else None
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
