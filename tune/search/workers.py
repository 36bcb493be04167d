"""A trial that several workers train together: Ray Train inside the function that Tune calls.

The trial's own process only waits and passes the epochs on, so it takes no CPU of the cluster:
with one of its own, a trial would wait for ever where its workers fill the machine. It stays on
the head, which outlives spot machines; what holds the trials within the cluster is their number
(tune.search.resources). The workers of one that is stopped are freed by tune.search.groups.

The worker of rank 0 writes the run folder, so it holds its lock, and it predicts.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hmtas.cluster.workers import WorkerResources, run_workers, settings_of, train_worker
from hmtas.config import Config
from hmtas.errors import DamagedCheckpointError, InputError
from hmtas.runs.record import RECORD, EpochRecord, predictions_path, read_run
from hmtas.store.remote import open_store
from hmtas.training.games import begin_run, plan_games, shard
from tune.search.trial import BestEpoch, Job, discard_run, lock_path
from tune.space import dimensions as space
from tune.study.lock import writer_lock

HEAD_NODE = {
    "node:__internal_head__": 0.001
}  # what a trial's own process takes: a place on the head
EXIT_WORKERS_LOST = 1  # exit code of a trial whose workers died each time
STOP_GRACE_S = 10.0  # in which Tune ends the process of a trial that it stopped


def check_workers(num_workers: int, gpus: float, num_games: int) -> None:
    """Refuse what no trial could do.

    Raises:
        InputError: If there are more workers than games to fit, or they would share a GPU.
    """
    if num_workers == 1:
        return
    shard([""] * num_games, 0, num_workers)
    if gpus and gpus != int(gpus):
        raise InputError(
            f"--gpus-per-trial {gpus:g}: each of {num_workers} workers needs whole GPUs of its "
            "own, as they cannot exchange gradients on one; give 1, or --workers-per-trial 1"
        )


def run_nested(
    params: Mapping[str, Any],
    *,
    job: Job,
    trial_id: str,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Train one point of the space with several workers, then predict; as `run_trial`."""
    config = job.base.updated(space.settings_of(params, job.space))
    run = Path(job.trials) / trial_id
    best = BestEpoch(job.objective)
    if (run / RECORD).is_file():
        for epoch in read_run(run).history:
            report(best.metrics(epoch))
    train_nested(run, config, job, lambda epoch: report(best.metrics(epoch)))


def train_nested(
    run: Path,
    config: Config,
    job: Job,
    on_epoch: Callable[[EpochRecord], None] = lambda entry: None,
) -> None:
    """Train and predict in workers, which this process waits for.

    Raises:
        InputError: As `fit`, and OSError; both as a worker met it.
    """
    from ray.exceptions import RayActorError
    from ray.train import WorkerGroupError

    from tune.search.groups import GroupRecorder, GroupTrainer, release_group

    release_group(run)  # of a process of this trial that died
    store = open_store(job.store)
    begin_run(store, config, plan_games(store, config.train), run, name=run.name)
    settings = settings_of(store, config, run, name=run.name, preset=job.preset)
    settings |= {"lock": str(lock_path(run)), "split": job.split}
    share = WorkerResources(job.workers, job.threads, job.gpus)
    try:
        run_workers(
            nested_worker,
            settings,
            share,
            on_epoch,
            trainer=GroupTrainer,
            callbacks=[GroupRecorder(run.absolute())],
        )
    except (RayActorError, WorkerGroupError) as error:
        failures = list(getattr(error, "worker_failures", {0: error}).values())
        if any(isinstance(failure, RayActorError) for failure in failures):
            time.sleep(STOP_GRACE_S)  # this may be how a trial that is stopped hears of it
            os._exit(
                EXIT_WORKERS_LOST
            )  # as if this process had died: it is started again, from its last epoch
        raise getattr(failures[0], "_base_exc", failures[0]) from None


def nested_worker(settings: dict[str, Any]) -> None:
    """What one worker of a trial does: with the others, it waits until rank 0 may write."""
    import contextlib

    import ray.train

    rank = ray.train.get_context().get_world_rank()
    mine = writer_lock(Path(settings["lock"])) if rank == 0 else contextlib.nullcontext()
    with mine:
        _barrier()  # none reads a checkpoint that another process still writes
        if _train(settings, rank) and rank == 0:
            _predict(settings)


def _train(settings: dict[str, Any], rank: int) -> bool:
    try:
        return train_worker(settings)
    except DamagedCheckpointError:  # all workers read the same files
        _barrier()
        if rank == 0:
            discard_run(Path(settings["out"]))
        _barrier()
        return train_worker(settings)


def _predict(settings: dict[str, Any]) -> None:
    from ray.train.torch import get_device

    from hmtas.prediction.slide import predict_run

    run, split = Path(settings["out"]), settings["split"]
    if not predictions_path(run, split).is_file():
        predict_run(run, settings["store"], split, device=get_device())


def _barrier() -> None:
    from torch import distributed

    distributed.barrier()
