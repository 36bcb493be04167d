"""A selection in MLflow: one run for it, below it the answer and the single model, with lineage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmtas.files import read_json, write_json
from hmtas.runs.record import MLFLOW_NOTE
from hmtas.tracking import run as tracking


def log_selection(
    out: Path,
    document: Mapping[str, Any],
    experiment: str | None,
    runs: Sequence[Path],
    *,
    files: Sequence[str],
    folders: Sequence[str],
) -> str | None:
    """Log a selection, if its models are in MLflow or an experiment is named.

    One folder, one run: that of an earlier selection in `out` is deleted.

    Args:
        out: Folder of the selection.
        document: From `ensemble.selection.document`.
        experiment: Name of the experiment; that of the models unless given.
        runs: Run folders of the models.
        files: Files of `out` to log.
        folders: Run folders of `out`, each an MLflow run of its own below that of the selection.

    Returns:
        The MLflow run id of the selection; None where nothing was logged.
    """
    name = experiment or experiment_of(runs)
    if name is None:
        return None
    params = {key: document[key] for key in ("split", "num_games", "num_models", "seed", "filter")}
    tags = {
        "hmtas.kind": "selection",
        "hmtas.chosen": str(document["chosen"]),
        "hmtas.run_dir": str(out.absolute()),
    }
    parent = tracking.open_parent(name, out.name, tags, params)
    _take_the_place(out, parent)
    for folder in folders:
        lineage = {"hmtas.member_runs": " ".join(_member_ids(out / folder))}
        tracking.sync_run(
            out / folder, experiment=name, parent=parent, tags=lineage, status="FINISHED"
        )
    tracking.log_parent_files(parent, out, [out / file for file in files])
    metrics = {"claimed_tight": float(document["claimed"])}
    if document["test"]:
        metrics["test_tight"] = document["test"]["selected"]["tight"]["average_map"]
    tracking.close_parent(parent, "FINISHED", metrics)
    return parent


def _take_the_place(out: Path, parent: str) -> None:
    """Note where MLflow has the selection of this folder, and delete what it had of it before."""
    uri = tracking.public_uri(tracking.tracking_uri())
    note = out / MLFLOW_NOTE
    before = read_json(note) if note.is_file() else {}
    write_json(note, {"tracking_uri": uri, "parent": parent})
    if before.get("tracking_uri") == uri:
        tracking.delete_parent(before["parent"])


def experiment_of(runs: Sequence[Path]) -> str | None:
    """The MLflow experiment of the first run that has one."""
    found = (tracking.tracked_at(run) for run in runs)
    return next((tracked.experiment for tracked in found if tracked), None)


def _member_ids(run: Path) -> list[str]:
    """MLflow run ids of the members of an ensemble, of those that have one."""
    from ensemble.build.members import member_runs

    return [
        tracked.run_id for member in member_runs(run) if (tracked := tracking.tracked_at(member))
    ]
