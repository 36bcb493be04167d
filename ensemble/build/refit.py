"""Fit an ensemble again from its record: the same members, folds and seed, in another folder."""

from collections.abc import Callable
from pathlib import Path

from ensemble.build.build import apply_ensemble, fit_ensemble
from ensemble.greedy.select import GreedyConfig
from ensemble.build.members import member_runs
from ensemble.learned.network import FusionConfig
from ensemble.build.plan import plan_fit
from hmtas.errors import InputError
from hmtas.runs.record import read_run


def refit(
    run: Path,
    out: Path,
    *,
    store: str | Path | None = None,
    on_step: Callable[[], None] | None = None,
) -> Path:
    """Fit an ensemble again, and combine again every split that it has combined.

    Args:
        run: Run folder of an ensemble; it stays as it is.
        out: Run folder to write.
        store: Where the labels are now, if not where they were.
        on_step: Called now and then.

    Raises:
        InputError: If `run` is no ensemble, `out` is not empty, a member is gone or was trained
            again, or the store is another one.
    """
    record = read_run(run)
    if record.kind != "ensemble" or record.ensemble is None:
        raise InputError(f"{run}: a run of kind {record.kind!r}, not an ensemble")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is not empty; choose another --out")
    settings = record.ensemble
    if "floor" in settings or settings["combiner"] == "single":
        raise InputError(
            f"{run}: `hmtas ensemble select` chose its members, among models that its record does "
            "not hold; repeat that command, it gives the same answer"
        )
    if record.num_workers > 1:
        raise InputError(
            f"{run}: {record.num_workers} processes fitted it, which this version no longer "
            "does; one process gives other weights: fit it anew with `hmtas ensemble fit`"
        )
    fusion, greedy = settings.get("fusion"), settings.get("greedy")
    plan = plan_fit(
        member_runs(run, record),
        settings["split"],
        methods=(settings["combiner"],),
        num_folds=max(2, len(settings["folds"])),
        store=store or record.store,
        seed=settings["seed"],
        fusion=None if fusion is None else FusionConfig.model_validate(fusion),
        greedy=None if greedy is None else GreedyConfig.model_validate(greedy),
    )
    if plan.store.checksum != record.store_checksum:
        raise InputError(
            f"{plan.store.place}: its checksum is {plan.store.checksum[:12]}, and {run} was fitted "
            f"on {record.store_checksum[:12]}; packed again since?"
        )
    if out.exists():
        out.rmdir()  # a folder is put in its place when it is complete
    fit_ensemble(plan, settings["combiner"], out, on_step=on_step)
    for path in sorted((run / "predictions").glob("*.arrow")):
        if path.stem != plan.split:
            apply_ensemble(out, path.stem)
    return out
