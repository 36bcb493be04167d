"""A selection in MLflow: one run for it, below it the answer and the single model, with lineage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ensemble.build.members import member_runs
from hmtas.tracking.parent import Parent
from hmtas.tracking.run import tracked_at


def log_selection(
    out: Path,
    document: Mapping[str, Any],
    experiment: str,
    *,
    files: Sequence[str],
    folders: Sequence[str],
) -> None:
    """Log a selection, in place of an earlier one of the same folder.

    Args:
        out: Folder of the selection.
        document: From `ensemble.selection.document`.
        experiment: Name of the experiment.
        files: Files of `out` to log.
        folders: Run folders of `out`, each an MLflow run of its own below that of the selection.
    """
    params = {key: document[key] for key in ("split", "num_games", "num_models", "seed", "filter")}
    tags = {"hmtas.chosen": str(document["chosen"])}
    parent = Parent(out, experiment, "selection", params, tags)
    parent.forget()
    for folder in folders:
        members = filter(None, map(tracked_at, member_runs(out / folder)))
        lineage = {"hmtas.member_runs": " ".join(member.run_id for member in members)}
        parent.sync(out / folder, "FINISHED", tags=lineage)
    parent.attach([out.absolute() / file for file in files])
    metrics = {"claimed_tight": float(document["claimed"])}
    if document["test"]:
        metrics["test_tight"] = document["test"]["selected"]["tight"]["average_map"]
    parent.close(metrics)


def experiment_of(runs: Sequence[Path]) -> str | None:
    """The MLflow experiment of the first run that has one."""
    return next((found.experiment for run in runs if (found := tracked_at(run))), None)
