"""Fit an ensemble again from its record: the same members, folds and seed, in another folder."""

from collections.abc import Callable
from pathlib import Path

from ensemble.build.build import apply_ensemble, fit_ensemble
from ensemble.build.members import member_runs, read_ensemble
from ensemble.build.plan import plan_fit
from ensemble.combiner import nothing
from ensemble.greedy.select import GreedyConfig
from ensemble.learned.network import FusionConfig
from hmtas.errors import InputError
from hmtas.files import is_free
from hmtas.runs.record import predicted_splits
from hmtas.store.recorded import open_recorded


def refit(
    run: Path,
    out: Path,
    *,
    store: str | Path | None = None,
    on_step: Callable[[], None] = nothing,
) -> Path:
    """Fit an ensemble again in `out`, and combine again every split that it has combined.

    `store` is where the labels are now, if not where they were.

    Raises:
        InputError: If `run` is no ensemble, `out` is not empty, a member is gone or was trained
            again, or the store is another one.
    """
    record, ensemble = read_ensemble(run)
    if not is_free(out):
        raise InputError(f"{out}: is not empty; choose another --out")
    if ensemble.is_selected:
        raise InputError(
            f"{run}: `hmtas ensemble select` chose its members, among models that its record does "
            "not hold; repeat that command, it gives the same answer"
        )
    if record.num_workers > 1:
        raise InputError(
            f"{run}: {record.num_workers} processes fitted it, which this version no longer "
            "does; one process gives other weights: fit it anew with `hmtas ensemble fit`"
        )
    fusion, greedy = ensemble.fusion, ensemble.greedy
    plan = plan_fit(
        member_runs(run),
        ensemble.split,
        methods=(ensemble.combiner,),
        num_folds=max(2, len(ensemble.folds)),
        store=open_recorded(run, record.store, record.store_checksum, named=store).place,
        seed=ensemble.seed,
        fusion=None if fusion is None else FusionConfig.model_validate(fusion),
        greedy=None if greedy is None else GreedyConfig.model_validate(greedy),
        copies="keep",
    )
    if out.exists():
        out.rmdir()  # a folder is put in its place when it is complete
    fit_ensemble(plan, ensemble.combiner, out, on_step=on_step)
    for split in predicted_splits(run):
        if split != plan.split:
            apply_ensemble(out, split)
    return out
