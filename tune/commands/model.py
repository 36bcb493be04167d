"""`hmtas tune model` and `resume`: a sweep from its start or from where it was left."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtas.commands.options import Address, Experiment, Json, MovedStore, Settings, StorePlace
from hmtas.errors import InputError
from hmtas.place import check_folder
from hmtas.presets import preset
from hmtas.settings import parse_settings
from hmtas.validation import one_of
from tune.commands.space import (
    PredictedSplit,
    PresetName,
    SearchWindows,
    SpaceFile,
    WeightsKind,
    space_of,
)
from tune.commands.study import Study
from tune.study.budget import UNLIMITED_TRIALS
from tune.study.options import FINAL_SEEDS, TOP

if TYPE_CHECKING:
    from tune.study.record import StudyRecord

Dashboard = Annotated[bool, typer.Option("--dashboard", help="Start Ray's dashboard with it.")]


def model(
    store: StorePlace,
    name: Annotated[str, typer.Option(help="Name of the study.")],
    out: Annotated[Path, typer.Option(help="Folder of studies; this one is OUT/NAME.")],
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Points to train; by default 16, or what fits into --hours."),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Hours the sweep may run, without interruptions; trials that run then are "
            "stopped. The same command with more hours resumes.",
        ),
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; by default as many as fit.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that train one trial together.")
    ] = 1,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each worker of a trial.")] = 1,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs of each worker of a trial, such as 0.25; by default what its memory needs, "
            "where there is a GPU.",
        ),
    ] = None,
    preset_name: PresetName = "m7",
    settings: Settings = None,
    space_file: SpaceFile = None,
    weights: WeightsKind = "rate",
    search_windows: SearchWindows = False,
    sampler: Annotated[
        str, typer.Option(help="What proposes points: tpe, cmaes, gp or random.")
    ] = "tpe",
    objective: Annotated[
        str,
        typer.Option(
            help="What is maximised on the held-out games: `tight`, `loose`, or `both`, for the "
            "front of models that no other one beats in both."
        ),
    ] = "tight",
    pruner: Annotated[
        str,
        typer.Option(
            help="What stops a weak trial: `asha` (others that spent as much), `wilcoxon` (a test "
            "over games against the best), or `none`."
        ),
    ] = "asha",
    top: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of best trials to train again with fresh seeds and compare on --split.",
        ),
    ] = TOP,
    final_seeds: Annotated[
        int, typer.Option(min=1, help="Number of such trainings of each.")
    ] = FINAL_SEEDS,
    earlier: Annotated[
        Path | None, typer.Option("--from", help="An earlier study to learn from, of any space.")
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs of one trial.")] = None,
    grace_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs before a trial may be stopped; by default a tenth. One of another kind of "
            "model than the preset's may spend as much work.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search and of every trial.")] = 0,
    split: PredictedSplit = "valid",
    address: Address = None,
    dashboard: Dashboard = False,
    experiment: Experiment = "hmtas",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove the study of this name first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a sweep, or resume the one of the same name (as `hmtas tune resume OUT/NAME`).

    Trials are stopped and compared on a tenth of the train games, unless `--set
    stop_games=valid`, each game with the NMS windows that the other games choose, unless `--set
    stop_windows=config` or --search-windows. Every trial stores the probabilities of --split. The
    first point is the preset itself.

    What `--set` names is held fixed. `--workers` above 1 trains with Ray Train.
    """
    from hmtas.store.remote import open_store
    from hmtas.tracking.run import check_tracking
    from hmtas.training.on_store import on_store
    from tune.study.options import Objective, Options, PrunerName, SamplerName
    from tune.study.settings import Load, StudySettings, grace_of, sweep_base, with_windows
    from tune.study.warm import with_warm_start
    from tune.sweep import run_study

    options = Options(
        sampler=one_of("sampler", sampler, SamplerName),
        objective=one_of("objective", objective, Objective),
        pruner=one_of("pruner", pruner, PrunerName),
        top=top,
        final_seeds=final_seeds,
    )
    fixed: dict[str, Any] = {"train.seed": seed}
    if max_epochs is not None:
        fixed["train.max_epochs"] = max_epochs
    base = sweep_base(preset(preset_name), options.objective)
    base = base.updated(fixed | parse_settings(settings or []))
    opened = open_store(store)
    base = on_store(base, opened)
    space = space_of(opened, base, weights, search_windows, space_file, split)
    study_settings = StudySettings(
        store=opened.place,
        store_checksum=opened.checksum,
        preset=preset_name,
        base=with_windows(base, space),
        space=space,
        num_trials=trials or (UNLIMITED_TRIALS if hours else 16),
        grace_epochs=grace_epochs or grace_of(base.train.max_epochs),
        seed=seed,
        split=split,
        workers_per_trial=workers,
        options=options,
    )
    check_folder(out / name)
    check_tracking([out / name], experiment, can_wait=True)
    record = run_study(
        out / name,
        with_warm_start(study_settings, earlier, None if fresh else out / name),
        experiment=experiment,
        load=Load(concurrent=concurrent, cpus_per_trial=cpus, gpus_per_trial=gpus),
        address=address,
        dashboard=dashboard,
        fresh=fresh,
        hours=hours,
    )
    _show(record, out / name, as_json)


def resume(
    study: Study,
    hours: Annotated[
        float | None,
        typer.Option(min=0.001, help="Hours it may run in all, without interruptions."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Points it is to have in the end.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; by default as before.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster, or `auto`; by default as before.")
    ] = None,
    store: MovedStore = None,
    dashboard: Dashboard = False,
    as_json: Json = False,
) -> None:
    """Resume a study that was interrupted or killed, or give it more hours or trials.

    All it needs is in its folder. Trials that have ended stay; those that were running resume after
    their last complete epoch; those whose process died each time are tried again.
    """
    from hmtas.tracking.run import check_tracking
    from tune.study.record import read_study
    from tune.sweep import resume_study

    experiment = read_study(study).experiment
    check_folder(study)
    check_tracking([study], experiment, can_wait=True)
    record = resume_study(
        study,
        hours=hours,
        trials=trials,
        concurrent=concurrent,
        address=address,
        dashboard=dashboard,
        store=store,
    )
    _show(record, study, as_json)


def _show(study: "StudyRecord", folder: Path, as_json: bool) -> None:
    from tune.commands.tables import show_study

    show_study(study, folder, as_json)
    if study.trials and all(row.status == "failed" for row in study.trials):
        raise InputError(f"{folder}: every trial failed: {study.trials[0].error}")
