"""`hmtas reproduce`: make a run again from its record, and say whether it is the same."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtas.commands.options import Json
from hmtas.errors import InputError
from hmtas.reproduce.sameness import TOLERANCE, Compared, judge
from hmtas.runs.record import WINDOWS, RunRecord, read_run, score_path
from hmtas.terminal.console import emit, say

if TYPE_CHECKING:
    from hmtas.store.local import EmbeddingStore

VERBS = "hmtas.commands"  # the entry-point group, see hmtas.cli


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("reproduce")(reproduce)


def reproduce(
    run: Annotated[
        Path, typer.Argument(help="Any run folder: a model, a trial, a baseline, an ensemble.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the second making; default: RUN-again.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="So many epochs alone; default: all that RUN has.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Where the store of the run lies now, if it was moved.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda ...; default: what RUN was trained on.")
    ] = None,
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
    """  # fmt: skip
    from hmtas.commands.reproduce_table import by_what, finite, json_of, show_compared, worst_of
    from hmtas.reproduce.again import check_repeatable, claim, mark, open_same_store
    from hmtas.runs.environment import changes

    record = read_run(run)
    again = out or Path(os.path.abspath(run) + "-again")  # noqa: PTH100  (keeps links)
    check_repeatable(run, record, epochs)
    claim(run, record, again)
    opened = open_same_store(run, store or record.store, record.store_checksum)
    stores = _stores(run, opened)
    num_epochs = len(record.history) if epochs is None else epochs
    splits = _make(run, record, again, opened, stores, num_epochs, device)
    made = read_run(again)
    compared, notes = _compare(run, record, again, made, {s: stores[s] for s in splits}, num_epochs)
    sameness = judge(compared, tolerance)
    changed = [change._asdict() for change in changes(record.environment, made.environment)]
    if record.version != made.version:
        changed.append({"what": "hmtas", "before": record.version, "now": made.version})
    if record.environment is None:
        notes.append(f"{run} does not say where it was made: its record is older")
    document = {
        "run": str(run),
        "again": str(again),
        "verdict": sameness.verdict,
        "kind": sameness.kind,
        "same": sameness.kind != "different",
        "largest_difference": finite(sameness.largest),
        "first_difference": sameness.first and json_of(sameness.first),
        "epochs": num_epochs,
        "environment": changed,
        "compared": [
            json_of(worst_of(group)) | {"values": len(group)} for group in by_what(compared)
        ],
        "notes": notes,
    }
    mark(run, record, again, **{k: v for k, v in document.items() if k not in ("run", "again")})
    if as_json:
        emit(document)
    else:
        show_compared(run, compared, changed, notes, sameness)
    raise typer.Exit(0 if document["same"] else 1)


def _make(
    run: Path,
    record: RunRecord,
    again: Path,
    store: "EmbeddingStore",
    stores: dict[str, "EmbeddingStore"],
    num_epochs: int,
    device: str | None,
) -> list[str]:
    """Make the run; returns the splits whose probabilities can be compared."""
    from hmtas.cluster.workers import describe_epoch
    from hmtas.reproduce.again import (
        device_of,
        fit_linear_again,
        mark,
        predict_again,
        train_again,
    )
    from hmtas.reproduce.sameness import has_last_word

    if record.ensemble is not None:
        _refit(run, record.kind, again, store.place)
        return list(stores)
    mark(run, record, again)
    if record.is_linear:
        fit_linear_again(run, record, again, store)
        return list(stores)
    device = device or device_of(record)
    train_again(
        record,
        again,
        store,
        device=device,
        epochs=num_epochs,
        on_epoch=lambda entry: say(describe_epoch(entry)),
    )
    if not has_last_word(record, num_epochs):
        say(f"note: the best epoch of {run} is {record.best_epoch}: its weights and probabilities "
            f"are not those of {num_epochs} epochs, and are not compared")  # fmt: skip
        return []
    predict_again(run, again, stores, device=device)
    return list(stores)


def _refit(run: Path, kind: str, again: Path, store: str) -> None:
    """Let the package whose runs these are make one again: its verb `refit` (see hmtas.cli)."""
    from importlib.metadata import entry_points

    found = list(entry_points(group=VERBS, name=kind))
    if not found:
        raise InputError(
            f"{run}: a run of kind {kind!r}, and nothing installed here has verbs `hmtas {kind}`"
        )
    command = typer.main.get_command(found[0].load())
    words = ["refit", str(run), "--out", str(again), "--store", store]
    command.main(words, prog_name=f"hmtas {kind}", standalone_mode=False)


def _stores(run: Path, store: "EmbeddingStore") -> dict[str, "EmbeddingStore"]:
    """Each split that was predicted, and the store it was predicted on."""
    from hmtas.reproduce.again import open_same_store, splits_of
    from hmtas.runs.probabilities import read_probabilities
    from hmtas.runs.record import predictions_path

    found = {}
    for split in splits_of(run):
        provenance = read_probabilities(predictions_path(run, split)).provenance
        same = provenance.store_checksum == store.checksum
        found[split] = (
            store if same else open_same_store(run, provenance.store, provenance.store_checksum)
        )
    return found


def _compare(
    run: Path,
    record: RunRecord,
    again: Path,
    made: RunRecord,
    stores: dict[str, "EmbeddingStore"],
    num_epochs: int,
) -> tuple[list[Compared], list[str]]:
    """Everything of two makings, in the order in which a run makes it; and what to know of it."""
    from hmtas.reproduce.sameness import compare_probabilities, compare_records

    compared = compare_records(record, made, num_epochs)
    notes = []
    for split in stores:
        compared.append(compare_probabilities(run, again, split))
    for split, store in stores.items():
        scores, note = _compare_scores(run, again, split, store)
        compared += scores
        notes += note
    return compared, notes


def _compare_scores(
    run: Path, again: Path, split: str, store: "EmbeddingStore"
) -> tuple[list[Compared], list[str]]:
    """The scores of a split under the windows that apply to the run; none without labels."""
    from hmtas.commands.score_inputs import load_probabilities
    from hmtas.files import read_json
    from hmtas.reproduce.sameness import compare_documents
    from hmtas.spotting.evaluate import score_document

    windows = run / WINDOWS if (run / WINDOWS).is_file() else None
    documents: list[dict[str, Any]] = []
    for path in (run, again):
        found = load_probabilities(path, split, windows)
        if not found.games or not all(store.has_labels(game) for game in found.games):
            return [], []
        events = store.events_of(found.games)
        documents.append(score_document(found.spots, events, found.actions, bootstrap=0))
    before, now = documents
    notes = []
    if score_path(run, split).is_file():
        assert found.spotting is not None
        kept = read_json(score_path(run, split))
        ways = [
            (kept.get("spotting"), kept.get("num_events")),
            (found.spotting.model_dump(mode="json"), before["num_events"]),
        ]
        if ways[0] == ways[1]:
            before = kept
        else:
            notes.append(f"{score_path(run, split)}: of other windows or labels than those of now; "
                         "scored anew")  # fmt: skip
    compared = []
    for metric in ("tight", "loose"):
        pair = ({k: v for k, v in one[metric].items() if k != "interval"} for one in (before, now))
        compared += compare_documents("", *pair, what=f"{metric} Average-mAP, {split}")
    return compared, notes
