"""A selection in MLflow: one run for it, below it the answer and the single model, with lineage."""

from collections.abc import Sequence
from pathlib import Path

from ensemble.build.members import member_runs
from ensemble.selection.record import SelectionRecord
from hmtas.tracking.note import tracked_at
from hmtas.tracking.parent import Parent
from hmtas.tracking.run import check_tracking


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


def check_mlflow(out: Path, runs: Sequence[Path], experiment: str | None) -> str | None:
    """The experiment that what is made of some runs goes into, tried before the work.

    That is the one named, or that of the first run that has one; None if none has, and nothing is
    logged.

    Raises:
        InputError: If MLflow will not take it.
    """
    logged = ((run, at.experiment) for run in runs if (at := tracked_at(run)))
    beside, usual = next(logged, (out, None))
    found = experiment or usual
    if found:
        check_tracking([beside], found)
    return found
