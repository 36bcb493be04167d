"""The model study: Ray Tune runs the trials, Optuna proposes them, ASHA ends the weak ones early.

The Optuna study lives in memory inside the searcher, and Tune's snapshot of it is what a killed
driver goes on from; the same command resumes it. Trials are stopped and compared on games held
out of the train split, so that validation games stay clean for windows and ensembles.
"""

import os
import shutil
import warnings
from datetime import UTC, datetime
from pathlib import Path

import ray
from ray.tune import FailureConfig, RunConfig, TuneConfig, Tuner, with_resources
from ray.tune.experiment import Trial

from hmtas import __version__
from hmtas.begin import plan_games
from hmtas.cluster import ray_session
from hmtas.config import Config
from hmtas.console import copy_ahead, progress, say
from hmtas.errors import InputError
from hmtas.mlflow_sync import MlflowSync
from hmtas.remote import open_store
from hmtas.runs import WEIGHTS, predictions_path
from tune.budget import Budget, read_budget, start_budget, stop_budget
from tune.callback import MlflowCallback
from tune.cluster import check_resources
from tune.final import run_final
from tune.final_record import Final, write_final
from tune.objective import METRIC, Job, make_trainable, predict_trial
from tune.options import Objective
from tune.progress import StudyCallback
from tune.pruning import check_pruner, make_pruner
from tune.record import (
    RAY,
    RECORD,
    TRIALS,
    Load,
    StudyRecord,
    StudySettings,
    TrialRow,
    check_same,
    read_study,
    write_study,
)
from tune.samplers import check_sampler, make_searcher, reopen
from tune.warm import describe

# Tune's old output is silent when told to be. Its handler of an interrupt would end the trials as
# if they were complete; without it a study goes on as after any other crash.
TUNE_ENVIRONMENT = {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_SIGINT_HANDLER": "1"}
# What a sweep changes in a preset before the user does: validation games stay clean.
SWEEP_SETTINGS = {"train.stop_games": "held_out"}


def sweep_base(preset: Config, objective: Objective = "tight") -> Config:
    """A preset as the start of a sweep: stopped on held-out train games, on what is maximised."""
    stop_on = "loose" if objective == "loose" else "tight"
    return preset.updated({**SWEEP_SETTINGS, "train.stop_on": stop_on})


def grace_of(max_epochs: int) -> int:
    """Epochs before a trial may be stopped, unless a user says otherwise: a tenth of the most.

    What it costs and what it loses was replayed on curves of real trials (benchmarks/search.py).
    """
    return max(1, round(max_epochs / 10))


def run_study(
    folder: Path,
    settings: StudySettings,
    *,
    experiment: str,
    load: Load | None = None,
    address: str | None = None,
    dashboard: bool = False,
    fresh: bool = False,
    hours: float | None = None,
) -> StudyRecord:
    """Run a study, or go on with the one in `folder`.

    Args:
        folder: DIR/NAME; on a cluster, one that all its nodes see.
        settings: What decides the result.
        experiment: MLflow experiment of the sweep.
        load: Trials at once and what each needs; a study that goes on keeps its own, which Tune
            has in its snapshot.
        address: Of a running Ray cluster; None starts one on this machine.
        dashboard: Start Ray's dashboard with it.
        fresh: Remove what is in `folder` first.
        hours: That it may take, in all its drivers' lives; None keeps those it had.

    Returns:
        The study with every trial.

    Raises:
        InputError: If `folder` holds another study, or the trials need more CPUs than there are.
    """
    folder = folder.absolute()
    if settings.base.train.protocol != "p1":
        raise InputError("a sweep needs games to compare trials on, so train.protocol must be p1")
    if fresh:
        _remove(folder)
    record = _open(folder, settings)
    if record.status == "done" and not _has_more_time(record, folder, hours):
        say(f"{folder}: this study is done ({len(record.trials)} trials); --fresh starts over")
        return record
    notes = check_sampler(settings.options, settings.space)
    num_stopped = len(plan_games(open_store(settings.store), settings.base.train).stopped)
    notes += check_pruner(settings.options, num_stopped)
    load = record.load or load or Load()
    job = Job(
        store=settings.store,
        trials=str(folder / TRIALS),
        base=settings.base,
        preset=settings.preset,
        space=settings.space,
        split=settings.split,
        threads=load.cpus_per_trial,
        device="cuda" if load.gpus_per_trial > 0 else "cpu",
        objective=settings.options.objective,
    )
    sync = MlflowSync(folder, experiment)
    os.environ.update(TUNE_ENVIRONMENT)
    with ray_session(address, dashboard=dashboard, threads=load.cpus_per_trial):
        concurrent = check_resources(load)
        if address is None:  # the nodes of a cluster copy what they train on themselves
            _copy_ahead(settings)
        record = record.model_copy(
            update={
                "load": load.model_copy(update={"concurrent": concurrent}),
                "status": "running",
            }
        )
        write_study(folder, record)
        say(
            f"{settings.num_trials} trials, {concurrent} at a time with {load.cpus_per_trial} CPU "
            f"each, at most {settings.base.train.max_epochs} epochs"
        )
        if settings.options.warm:
            notes.append(describe(settings.options.warm))
        for note in notes:
            say(note)
        try:
            with warnings.catch_warnings():
                # A trial that is started again reports its epochs again.
                warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
                # A sampler with a model of the scores takes its time.
                warnings.filterwarnings("ignore", "Define-by-run function passed", UserWarning)
                start_budget(folder, hours)
                try:
                    _tuner(folder, record, job, sync).fit()  # the callbacks write what matters
                finally:
                    _say_time(folder, stop_budget(folder))
            record = read_study(folder)
            _predict_stopped(folder, record, job)
            final = run_final(folder, record, job, load) if settings.options.top else None
        except KeyboardInterrupt:
            say(f"{folder}: interrupted; the same command goes on with this study")
            raise
    if final is not None:
        write_final(folder, final)
    record = record.model_copy(update={"status": "done"})
    write_study(folder, record)
    _finish_tracking(folder, record, sync, final)
    return record


def _has_more_time(record: StudyRecord, folder: Path, hours: float | None) -> bool:
    """Did a study end because its time was out, and does it have more hours now?"""
    spent = read_budget(folder)
    if hours is None or len(record.trials) >= record.settings.num_trials:
        return False
    return 3600 * hours > spent.spent_s


def _say_time(folder: Path, budget: Budget) -> None:
    if budget.left_s is not None and budget.left_s <= 0:
        say(
            f"{folder}: time is out after {budget.spent_s / 3600:.2f} h; "
            "the same command with more --hours goes on"
        )


def _copy_ahead(settings: StudySettings) -> None:
    store = open_store(settings.store)
    plan = plan_games(store, settings.base.train)
    copy_ahead(store, [*plan.fitted, *plan.stopped, *store.games(settings.split)])


def _open(folder: Path, settings: StudySettings) -> StudyRecord:
    if (folder / RECORD).is_file():
        record = read_study(folder)
        check_same(folder, record.settings, settings)
        return record.model_copy(update={"settings": settings})
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: not empty and no study; choose another --name or --out")
    return StudyRecord(
        name=folder.name,
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=settings,
    )


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    if not (folder / RECORD).is_file():
        raise InputError(f"{folder}: --fresh removes a study, and this is none; remove it yourself")
    shutil.rmtree(folder)


def _tuner(folder: Path, record: StudyRecord, job: Job, sync: MlflowSync) -> Tuner:
    """Tune's own view of the study: new, or from its last snapshot."""
    settings, load = record.settings, record.load or Load()
    resources = {"cpu": float(load.cpus_per_trial), "gpu": load.gpus_per_trial}
    trainable = with_resources(make_trainable(job), resources)
    snapshots = folder / RAY
    can_restore = Tuner.can_restore(str(snapshots))
    # A snapshot without a trial is none: Tune would go on with a study of a single one.
    if can_restore and record.trials and any(snapshots.glob("experiment_state-*.json")):
        say(f"{folder}: going on with this study")
        reopen(snapshots)
        return Tuner.restore(
            str(snapshots), trainable=trainable, resume_unfinished=True, restart_errored=True
        )
    shutil.rmtree(snapshots, ignore_errors=True)
    params = {"preset": settings.preset, "trials": settings.num_trials, "store": settings.store}
    return Tuner(
        trainable,
        tune_config=TuneConfig(
            search_alg=make_searcher(settings, folder),
            scheduler=make_pruner(settings, folder),
            num_samples=settings.num_trials,
            max_concurrent_trials=load.concurrent,
            reuse_actors=True,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=RunConfig(
            name=RAY,
            storage_path=str(folder),
            callbacks=[StudyCallback(folder), MlflowCallback(sync, folder.name, params)],
            failure_config=FailureConfig(max_failures=0),
            verbose=0,
        ),
    )


def _trial_folder(trial: Trial) -> str:
    return str(trial.trial_id)


def _predict_stopped(folder: Path, record: StudyRecord, job: Job) -> None:
    """Predict with the best checkpoint of every trial that was stopped early, as Ray tasks."""
    runs = [folder / row.run for row in record.trials if row.status == "stopped"]
    waiting = [
        run
        for run in runs
        if (run / WEIGHTS).is_file() and not predictions_path(run, job.split).is_file()
    ]
    if not waiting:
        return
    load = record.load or Load()
    task = ray.remote(num_cpus=load.cpus_per_trial, num_gpus=load.gpus_per_trial)(predict_trial)
    tasks = [
        task.remote(str(run), job.store, job.split, job.threads, job.device) for run in waiting
    ]
    with progress("Predicting with stopped trials", len(tasks)) as advance:
        while tasks:
            ended, tasks = ray.wait(tasks)
            ray.get(ended)
            advance()


def _finish_tracking(
    folder: Path, record: StudyRecord, sync: MlflowSync, final: Final | None
) -> None:
    for row in record.trials:
        sync.sync(folder / row.run, "FAILED" if row.status == "failed" else "FINISHED")
    for run in [run for finalist in final.finalists for run in finalist.runs] if final else []:
        sync.sync(folder / run)
    scored: list[TrialRow] = [row for row in record.trials if row.best_tight is not None]
    best = max((row.best_tight or 0.0 for row in scored), default=0.0)
    sync.close({METRIC: best, "trials": float(len(record.trials))})
