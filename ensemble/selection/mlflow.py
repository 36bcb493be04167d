"""A selection in MLflow: one run for it, below it the answer and the single model, with lineage."""

from collections.abc import Sequence
from pathlib import Path

from ensemble.build.members import member_runs
from ensemble.selection.record import SelectionRecord
from hmtas.tracking.parent import Parent
from hmtas.tracking.run import tracked_at


def log_selection(
    out: Path,
    record: SelectionRecord,
    experiment: str,
    *,
    files: Sequence[str],
    folders: Sequence[str],
) -> None:
    """Log a selection, in place of an earlier one of the same folder.

    `files` and run `folders` are named as they lie in `out`; each folder is an MLflow run of its
    own below that of the selection.
    """
    params = record.model_dump(include={"split", "num_games", "num_models", "seed", "filter"})
    tags = {"hmtas.chosen": record.chosen}
    parent = Parent(out, experiment, "selection", params, tags, beside=out / folders[0])
    parent.forget()
    for folder in folders:
        members = filter(None, map(tracked_at, member_runs(out / folder)))
        lineage = {"hmtas.member_runs": " ".join(member.run_id for member in members)}
        parent.sync(out / folder, "FINISHED", tags=lineage)
    parent.attach([out.absolute() / file for file in files])
    metrics = {"claimed_tight": record.claimed}
    if record.test is not None:
        metrics["test_tight"] = record.test.selected.tight.average_map
    parent.close(metrics)


def experiment_of(runs: Sequence[Path]) -> str | None:
    """The MLflow experiment of the first run that has one."""
    return next((found.experiment for run in runs if (found := tracked_at(run))), None)
