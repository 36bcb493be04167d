"""`hmtas reproduce`: make a run again from its record, and say whether it is the same."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hmtas.commands.options import Json, MovedStore, device_here
from hmtas.place import check_folder
from hmtas.reproduce.sameness import (
    TOLERANCE,
    Compared,
    compare_documents,
    compare_probabilities,
    compare_records,
    has_last_word,
    judge,
    shown,
    worst_of_each,
)
from hmtas.runs.record import WINDOWS, read_run, score_path
from hmtas.terminal.console import emit, say, show
from hmtas.terminal.table import Table
from hmtas.terminal.text import counted

if TYPE_CHECKING:
    from hmtas.store.local import EmbeddingStore

# Follow from the store and the configuration: shown where they differ.
EXPECTED = {"streams", "actions", "fitted_games", "stopped_games", "num_parameters", "windows"}


def reproduce(
    run: Annotated[
        Path, typer.Argument(help="Any run folder: a model, a trial, a baseline, an ensemble.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write; by default RUN-again.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs to train; by default as many as RUN has.")
    ] = None,
    store: MovedStore = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="Where to compute; `auto` takes what RUN was trained on."),
    ] = "auto",
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="Largest difference of a loss, probability or score that counts as the same.",
        ),
    ] = TOLERANCE,
    as_json: Json = False,
) -> None:
    """Make a run again from its record, and say whether it is the same.

    The same games, configuration, seed, processes and threads, in another folder; RUN stays as it
    is. A trial that was stopped early is stopped at the same epoch. Losses, weights, probabilities
    and scores are compared. Exit code 0: the same, bit for bit or within --tolerance; 1: not.
    """
    from hmtas.cluster.workers import describe_epoch
    from hmtas.reproduce.again import check_repeatable, make_again, mark, stores_of
    from hmtas.runs.environment import Change, changes
    from hmtas.store.recorded import open_recorded

    record = read_run(run)
    again = out or Path(os.path.abspath(run) + "-again")  # noqa: PTH100  (keeps links)
    check_folder(again)
    check_repeatable(run, record, again, epochs)
    opened = open_recorded(run, record.store, record.store_checksum, named=store)
    stores = stores_of(run, opened)
    num_epochs = len(record.history) if epochs is None else epochs
    if record.ensemble is None and not has_last_word(record, num_epochs):
        stores = {}
        say(f"note: the best epoch of {run} is {record.best_epoch}: its weights and probabilities "
            f"are not those of {counted(num_epochs, 'epoch')}, and are not compared")  # fmt: skip
    if record.ensemble is not None:
        _refit(run, record.kind, again, opened.place)
    else:
        mark(run, record, again)
        make_again(
            run, record, again, opened, stores, epochs=num_epochs,
            device=None if device == "auto" else device_here(device),
            on_epoch=lambda entry: say(describe_epoch(entry, record.config)),
        )  # fmt: skip
    made = read_run(again)
    compared = compare_records(record, made, num_epochs)
    compared += [compare_probabilities(run, again, split) for split in stores]
    notes: list[str] = []
    for split, predicted_on in stores.items():
        compared += _compare_scores(run, again, split, predicted_on, notes)
    sameness = judge(compared, tolerance)
    changed = changes(record.environment, made.environment)
    if record.version != made.version:
        changed.append(Change("hmtas", record.version, made.version))
    if record.environment is None:
        notes.append(f"{run} does not say where it was made: its record is older")
    document = {
        "verdict": sameness.verdict,
        "kind": sameness.kind,
        "same": sameness.kind != "different",
        "largest_difference": _finite(sameness.largest),
        "first_difference": sameness.first and _json_of(sameness.first),
        "epochs": num_epochs,
        "environment": [change._asdict() for change in changed],
        "compared": [_json_of(worst) | {"values": n} for worst, n in worst_of_each(compared)],
        "notes": notes,
    }
    mark(run, record, again, **document)
    if as_json:
        emit({"run": str(run), "again": str(again), **document})
    else:
        show(_table_of(run, compared))
        for change in changed:
            say(f"{change.what}: {change.before} when the run was made, {change.now} now")
        for note in notes:
            say(f"note: {note}")
        say(sameness.verdict)
    raise typer.Exit(0 if document["same"] else 1)


def _refit(run: Path, kind: str, again: Path, store: str) -> None:
    """Let the package whose runs these are make one again: its verb `refit` (see hmtas.cli)."""
    from importlib.metadata import entry_points

    entry, *_ = entry_points(group="hmtas.commands", name=kind)
    words = ["refit", str(run), "--out", str(again), "--store", store]
    typer.main.get_command(entry.load()).main(words, standalone_mode=False)


def _compare_scores(
    run: Path, again: Path, split: str, store: "EmbeddingStore", notes: list[str]
) -> list[Compared]:
    """The scores of a split under the windows that apply to the run; none without labels."""
    from hmtas.metric.averages import TOLERANCES_S
    from hmtas.scoring.inputs import load_probabilities
    from hmtas.scoring.score import read_score, score_spots

    windows = run / WINDOWS if (run / WINDOWS).is_file() else None
    spotted = [load_probabilities(path, split, windows) for path in (run, again)]
    first, _ = spotted
    if not first.games or not all(store.has_labels(game) for game in first.games):
        return []
    events = store.events_of(first.games)
    before, now = (score_spots(s.spots, events, s.actions, bootstrap=0) for s in spotted)
    if score_path(run, split).is_file():
        kept = read_score(score_path(run, split))
        if (kept.spotting, kept.num_events) == (first.spotting, before.num_events):
            before = kept
        else:
            notes.append(f"{score_path(run, split)}: of other windows or labels than those of now; "
                         "scored anew")  # fmt: skip
    compared = []
    for metric in TOLERANCES_S:
        shares = ("visible", "unshown")  # without events 0 in older records, null in others
        none = {name for name in shares if getattr(now.by(metric), name) is None}
        pair = (one.by(metric).model_dump(exclude={"interval"} | none) for one in (before, now))
        compared += compare_documents("", *pair, what=f"{metric} Average-mAP, {split}")
    return compared


def _finite(value: float) -> float | None:
    """A number that JSON knows."""
    return value if math.isfinite(value) else None


def _json_of(one: Compared) -> dict[str, Any]:
    return {**one._asdict(), "difference": _finite(one.difference)}


def _table_of(run: Path, compared: list[Compared]) -> Table:
    """A row for each thing compared: the value that differs most."""
    rows = []
    for worst, num_values in worst_of_each(compared):
        if worst.exact:
            cells = ("none", "", "", "")
        else:
            size = f"{worst.difference:.1e}" if math.isfinite(worst.difference) else "other"
            size = size if worst.difference else "other bits"
            cells = (size, worst.place, *shown(worst.before, worst.again))
        if not (worst.exact and worst.what in EXPECTED):
            rows.append((worst.what, str(num_values), *cells))
    return Table(
        title=f"{run}, made again",
        heads=("what", "values", "largest difference", "where", "of the run", "again"),
        rows=tuple(rows),
        words=frozenset({0, 3}),
    )
