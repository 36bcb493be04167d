"""One driver's life: Ray Tune over the trials that a study lacks, then what follows them.

All it needs is in study.json and in the run folders, and all it does is there as soon as it is
done: a driver may be killed at any time, and another one goes on.
"""

import contextlib
import os
import shlex
import shutil
import warnings
from pathlib import Path

import ray
from ray.tune import (
    FailureConfig,
    PlacementGroupFactory,
    RunConfig,
    TuneConfig,
    Tuner,
    with_resources,
)
from ray.tune.experiment import Trial

from hmtas.cluster.session import ray_session
from hmtas.files import full_disk
from hmtas.runs.record import WEIGHTS, predictions_path
from hmtas.store.remote import open_store, prefetch_games
from hmtas.terminal.console import progress, say
from hmtas.terminal.signals import interruptible, postponed
from hmtas.tracking.parent import HASTE_S, Outbox
from hmtas.training.games import plan_games
from tune.search.groups import GroupReleaser
from tune.search.mirror import mirrored
from tune.search.mlflow import MlflowCallback, start_tracking
from tune.search.objective import make_trainable, predict_trial
from tune.search.progress import StudyCallback
from tune.search.proposals import StudySearch
from tune.search.pruning import check_pruner, make_pruner
from tune.search.resources import check_resources
from tune.search.retrain import retrain_finalists
from tune.search.samplers import check_sampler
from tune.search.trial import Job
from tune.search.view import live_view
from tune.search.workers import HEAD_NODE, check_workers
from tune.study.budget import Budget, start_budget, stop_budget
from tune.study.finalists import write_final
from tune.study.record import RAY, TRIALS, StudyRecord, read_study, write_study
from tune.study.settings import Load, StudySettings
from tune.study.warm import describe

RESTARTS = 3  # of a trial whose process dies, each from its last epoch
TUNE_ENVIRONMENT = {
    # Tune's old output is silent when told to be.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Its handler of an interrupt would end the trials as if they were complete.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Its snapshots would only take time: study.json has all that a new driver needs.
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
}


def drive(
    folder: Path, record: StudyRecord, *, hours: float | None = None, dashboard: bool = False
) -> tuple[StudyRecord, Outbox]:
    """Run the trials that a study lacks, and finish it.

    The caller is the study's only driver (tune.study.lock).

    Args:
        folder: Of the study.
        record: As it is to be; written here.
        hours: That the study may take, in all its drivers' lives; None keeps those it had.
        dashboard: Start Ray's dashboard with Ray.

    Returns:
        The study with every trial, and what is still sending its results to MLflow.

    Raises:
        InputError: If the study cannot run as it is set.
        TransientError: If the disk is full, or the store is not there; the study can be resumed.
        Interrupted: On Ctrl-C or SIGTERM; the study can be resumed.
    """
    settings, load = record.settings, record.load or Load()
    notes = check_sampler(settings.options, settings.space)
    workers = settings.workers_per_trial
    games = plan_games(open_store(settings.store), settings.base.train)
    notes += check_pruner(settings.options, len(games.stopped))
    check_workers(workers, load.gpus_per_trial, len(games.fitted))
    if settings.options.warm:
        notes.append(describe(settings.options.warm))
    os.environ.update(TUNE_ENVIRONMENT)
    outbox = None
    try:
        with contextlib.ExitStack() as stack:
            with postponed():  # a Ray that is left half-way up ends neither itself nor us
                stack.enter_context(
                    ray_session(record.address, dashboard=dashboard, threads=load.cpus_per_trial)
                )
            stack.enter_context(interruptible())
            stack.enter_context(full_disk(folder))
            concurrent = check_resources(load, workers)
            if record.address is None:  # nodes of a cluster copy what they train on themselves
                _prefetch(settings)
            write_study(folder, record.model_copy(update={"status": "running"}))
            stack.enter_context(mirrored(folder))
            outbox = start_tracking(folder, record)
            say(
                f"{record.num_trials} trials, {concurrent} at a time with "
                f"{f'{workers} workers of ' if workers > 1 else ''}{load.cpus_per_trial} CPU each, "
                f"at most {settings.base.train.max_epochs} epochs"
            )
            for note in notes:
                say(note)
            if record.trials:
                say(f"{folder}: going on with this study")
            record = _search(folder, concurrent, outbox, hours)
            job = make_job(folder, record)
            _predict_stopped(folder, record, job)
            final = None
            if settings.options.top:
                final = retrain_finalists(folder, record, job, concurrent)
            if final is not None:
                write_final(folder, final)
            record = record.model_copy(update={"status": "done"})
            write_study(folder, record)
    except BaseException:
        if outbox is not None or record.trials:
            say(f"{folder}: not finished; go on with: hmtas tune resume {shlex.quote(str(folder))}")
        if outbox is not None:
            outbox.leave(HASTE_S)
        raise
    return record, outbox


def make_job(folder: Path, record: StudyRecord) -> Job:
    """What the trials of a study have in common."""
    settings, load = record.settings, record.load or Load()
    return Job(
        store=settings.store,
        trials=str(folder / TRIALS),
        base=settings.base,
        preset=settings.preset,
        space=settings.space,
        split=settings.split,
        threads=load.cpus_per_trial,
        device="cuda" if load.gpus_per_trial > 0 else "cpu",
        objective=settings.options.objective,
        workers=settings.workers_per_trial,
        gpus=load.gpus_per_trial,
    )


def _search(folder: Path, concurrent: int, outbox: Outbox, hours: float | None) -> StudyRecord:
    start_budget(folder, hours)
    try:
        with warnings.catch_warnings():
            # A trial that is started again reports its epochs again.
            warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
            with live_view(folder):
                _tuner(folder, read_study(folder), concurrent, outbox).fit()
    finally:
        _report_out_of_time(folder, stop_budget(folder))
    return read_study(folder)


def _tuner(folder: Path, record: StudyRecord, concurrent: int, outbox: Outbox) -> Tuner:
    settings, load = record.settings, record.load or Load()
    nested = settings.workers_per_trial > 1  # then it is the workers who take the CPUs
    own = HEAD_NODE if nested else {"CPU": float(load.cpus_per_trial), "GPU": load.gpus_per_trial}
    shutil.rmtree(folder / RAY, ignore_errors=True)
    return Tuner(
        with_resources(make_trainable(make_job(folder, record)), PlacementGroupFactory([own])),
        tune_config=TuneConfig(
            search_alg=StudySearch(folder, concurrent),
            scheduler=make_pruner(settings, folder),
            num_samples=record.num_trials,
            reuse_actors=not nested,  # one that waits for workers cannot take another trial
            trial_dirname_creator=_trial_folder,
        ),
        run_config=RunConfig(
            name=RAY,
            storage_path=str(folder),
            callbacks=[StudyCallback(folder), MlflowCallback(outbox), GroupReleaser(folder)],
            failure_config=FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    )


def _trial_folder(trial: Trial) -> str:
    return str(trial.trial_id)


def _report_out_of_time(folder: Path, budget: Budget) -> None:
    if budget.left_s is not None and budget.left_s <= 0:
        say(
            f"{folder}: time is out after {budget.spent_s / 3600:.2f} h; "
            "the same command with more --hours goes on"
        )


def _prefetch(settings: StudySettings) -> None:
    store = open_store(settings.store)
    plan = plan_games(store, settings.base.train)
    prefetch_games(store, [*plan.fitted, *plan.stopped, *store.games(settings.split)])


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
