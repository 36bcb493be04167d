"""One driver of a study: Ray Tune over the trials that the study lacks, then what follows them.

All it needs is in the record of the study and in the run folders, and all it does is there as soon
as it is done: a driver may be killed at any time, and another one resumes the study.
"""

import contextlib
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from ray.tune import (
    FailureConfig,
    PlacementGroupFactory,
    RunConfig,
    TuneConfig,
    Tuner,
    with_resources,
)
from ray.tune.experiment import Trial

from hmtas.cluster.gpus import described
from hmtas.cluster.leases import say_lent
from hmtas.cluster.session import ray_session
from hmtas.cluster.tasks import run_tasks
from hmtas.files import full_disk
from hmtas.model.work import DataShape
from hmtas.runs.record import WEIGHTS, predictions_path
from hmtas.store.remote import prefetch_games
from hmtas.terminal.console import progress, say
from hmtas.terminal.signals import interruptible, postponed
from hmtas.terminal.text import counted
from hmtas.tracking.parent import HASTE_S, Outbox
from hmtas.training.games import plan_games
from tune.search.mirror import mirrored
from tune.search.mlflow import MlflowCallback, start_tracking
from tune.search.objective import make_trainable, predict_trial
from tune.search.progress import StudyCallback
from tune.search.proposals import StudySearch
from tune.search.pruning import check_pruner, make_pruner
from tune.search.resources import check_resources, check_workers, settled
from tune.search.retrain import retrain_finalists
from tune.search.samplers import check_sampler
from tune.search.trial import HEAD_NODE, Job
from tune.search.view import live_view
from tune.study.budget import UNLIMITED_TRIALS, start_budget, stop_budget
from tune.study.finalists import write_final
from tune.study.ledger import Ledger, open_ledger
from tune.study.record import RAY, RECORD, StudyRecord, read_study, write_study
from tune.study.settings import Load
from tune.study.warm import describe

RESTARTS = 3  # of a trial whose process dies, each from its last epoch


def drive(
    folder: Path, record: StudyRecord, *, hours: float | None = None, dashboard: bool = False
) -> tuple[StudyRecord, Outbox]:
    """Run the trials that a study lacks, and finish it.

    The caller is the study's only driver (tune.study.lock). `record`, which is written
    here, has the settings to run with; `hours` are over all drivers, None keeps those it had.

    Returns:
        The study with every trial, and what is still sending its results to MLflow.

    Raises:
        InputError: If the study cannot run with its settings.
        TransientError: If the disk is full, or the store is not there; the study can be resumed.
        Interrupted: On Ctrl-C or SIGTERM; the study can be resumed.
    """
    notes = _check(folder, record)
    with _resumable(folder), _ray(record, dashboard=dashboard), full_disk(folder):
        store = record.settings.open_store(folder)
        load = settled(record.resources, record.settings, store)
        concurrent = check_resources(load, record.settings.workers_per_trial)
        if record.address is None:  # nodes of a cluster copy what they train on themselves
            _prefetch(folder, record)
        write_study(folder, record.model_copy(update={"status": "running"}))
        with mirrored(folder), _tracked(folder, record) as outbox:
            _announce(folder, record, load, concurrent, notes)
            job = Job.of(folder, record, load)
            with open_ledger(folder) as ledger:
                _run_trials(ledger, job, concurrent, outbox, hours)
            record = read_study(folder)
            _predict_stopped(folder, record, job)
            if record.settings.options.top:
                final = retrain_finalists(folder, record, job, concurrent)
                if final is not None:
                    write_final(folder, final)
            record = record.model_copy(update={"status": "done"})
            write_study(folder, record)
    return record, outbox


def _check(folder: Path, record: StudyRecord) -> list[str]:
    """Refuse what cannot run; what to say of the rest."""
    settings, load = record.settings, record.resources
    games = plan_games(settings.open_store(folder), settings.base.train)
    check_workers(settings.workers_per_trial, load.gpus_per_trial, len(games.fitted))
    notes = check_sampler(settings.options, settings.space)
    notes += check_pruner(settings.options, len(games.stopped))
    if settings.options.warm:
        notes.append(describe(settings.options.warm))
    return notes


@contextlib.contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Say how to resume a study that does not end in the block."""
    try:
        yield
    except BaseException:
        if (folder / RECORD).is_file():
            command = f"hmtas tune resume {shlex.quote(str(folder))}"
            say(f"{folder}: not finished; resume it with: {command}")
        raise


@contextlib.contextmanager
def _ray(record: StudyRecord, *, dashboard: bool) -> Iterator[None]:
    """The Ray that the trials run on, and a driver that can be interrupted."""
    # Tune's own handler of an interrupt would end the trials as if they were complete.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    threads = record.resources.cpus_per_trial
    with contextlib.ExitStack() as stack:
        with postponed():  # a Ray that is left half-way up ends neither itself nor us
            stack.enter_context(ray_session(record.address, dashboard=dashboard, threads=threads))
        stack.enter_context(interruptible())
        yield


@contextlib.contextmanager
def _tracked(folder: Path, record: StudyRecord) -> Iterator[Outbox]:
    """Send the trials to MLflow, also beyond the block; in haste if it fails."""
    outbox = start_tracking(folder, record)
    try:
        yield outbox
    except BaseException:
        outbox.leave(HASTE_S)
        raise


def _prefetch(folder: Path, record: StudyRecord) -> None:
    store = record.settings.open_store(folder)
    plan = plan_games(store, record.settings.base.train)
    prefetch_games(store, [*plan.fitted, *plan.stopped, *store.games(record.settings.split)])


def _announce(
    folder: Path, record: StudyRecord, load: Load, concurrent: int, notes: Sequence[str]
) -> None:
    settings = record.settings
    workers = settings.workers_per_trial
    say(
        f"{counted(record.num_trials, 'trial')}, {concurrent} at a time with "
        f"{f'{workers} workers of ' if workers > 1 else ''}"
        f"{counted(load.cpus_per_trial, 'CPU')}{described(load.gpus_per_trial)} each, "
        f"at most {counted(settings.base.train.max_epochs, 'epoch')}"
    )
    asked_for, points = settings.num_trials + record.more, settings.space.num_points
    if points < asked_for < UNLIMITED_TRIALS:
        say(f"the space has {counted(int(points), 'point')}, fewer than {asked_for}; each is "
            "trained once")  # fmt: skip
    for note in notes:
        say(note)
    say_lent()
    if record.trials:
        say(f"{folder}: resuming this study")


def _run_trials(
    ledger: Ledger, job: Job, concurrent: int, outbox: Outbox, hours: float | None
) -> None:
    folder = ledger.folder
    start_budget(folder, hours)
    try:
        with warnings.catch_warnings(), live_view(folder):
            # A trial that is started again reports its epochs again.
            warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
            _tuner(ledger, job, concurrent, outbox).fit()
    finally:
        budget = stop_budget(folder)
        if budget.left_s is not None and budget.left_s <= 0:
            say(
                f"{folder}: out of time after {budget.spent_s / 3600:.2f} h; "
                "the same command with more --hours resumes it"
            )


def _tuner(ledger: Ledger, job: Job, concurrent: int, outbox: Outbox) -> Tuner:
    folder = ledger.folder
    nested = job.settings.workers_per_trial > 1  # then the workers take the CPUs
    own = HEAD_NODE if nested else {"CPU": float(job.load.cpus_per_trial), "GPU": job.gpus}
    store = job.open_store()
    shape = DataShape(store.streams, len(store.actions), store.rate_hz)
    shutil.rmtree(folder / RAY, ignore_errors=True)
    return Tuner(
        with_resources(make_trainable(job), PlacementGroupFactory([own])),
        tune_config=TuneConfig(
            search_alg=StudySearch(folder, concurrent),
            scheduler=make_pruner(job.settings, folder, shape),
            num_samples=ledger.total,
            reuse_actors=not nested,  # one that waits for workers cannot take another trial
            trial_dirname_creator=_trial_folder,
        ),
        run_config=RunConfig(
            name=RAY,
            storage_path=str(folder),
            callbacks=[StudyCallback(folder), MlflowCallback(outbox)],
            failure_config=FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    )


def _trial_folder(trial: Trial) -> str:
    return str(trial.trial_id)


def _predict_stopped(folder: Path, record: StudyRecord, job: Job) -> None:
    """Predict with the best checkpoint of every trial that was stopped early."""
    runs = [folder / row.run for row in record.trials if row.status == "stopped"]
    calls = {
        run: (run, job)
        for run in runs
        if (run / WEIGHTS).is_file() and not predictions_path(run, job.settings.split).is_file()
    }
    if not calls:
        return
    with progress("Predicting with stopped trials", len(calls)) as advance:
        errors = run_tasks(
            predict_trial,
            calls,
            at_once=len(calls),
            options={"num_cpus": job.load.cpus_per_trial, "num_gpus": job.gpus},
            on_end=lambda run, error: advance(),
        )
    for error in errors.values():
        raise error
