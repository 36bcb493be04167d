"""A trial that several workers train together: Ray Train inside the function that Tune calls.

The trial's own process only waits and passes the epochs on, so it takes no CPU of the cluster:
with one of its own, a trial would wait forever where its workers fill the machine. It stays on
the head, which outlives spot machines; what holds the trials within the cluster is their number
(tune.search.resources). The worker of rank 0 writes the run folder, so it holds its lock, and it
predicts.

Ray Train reserves the CPUs of the workers as a placement group, which outlives a trial that Tune
stops: for Ray it belongs to the driver's job. So the group is noted beside the run, and removed by
the process that stops a trial or starts it again, after its controller, which would make another.
"""

import base64
import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hmtas.cluster.workers import Training, WorkerResources, run_workers, train_worker
from hmtas.config import Config
from hmtas.errors import DamagedCheckpointError
from hmtas.files import read_json, write_json
from hmtas.prediction.slide import predict_run, predicted
from hmtas.runs.record import EpochRecord, history_of
from hmtas.training.games import begin_run, plan_games
from tune.search.trial import Job, discard_run, writer_lock

EXIT_WORKERS_LOST = 1  # exit code of a trial whose workers died each time
STOP_GRACE_S = 10.0  # in which Tune ends the process of a trial that it stopped


def train_nested(
    run: Path, config: Config, job: Job, on_epoch: Callable[[EpochRecord], None]
) -> None:
    """Train and predict in workers, which this process waits for; see `objective.train`.

    Raises:
        InputError: As `fit`, and OSError; both as a worker met it.
    """
    from ray.exceptions import RayActorError
    from ray.train import WorkerGroupError

    from hmtas.cluster.ray_private import (
        PlacementGroupObserver,
        TrainerWithoutCleaner,
        original_error,
    )

    release_workers(run)  # of a process of this trial that died
    for epoch in history_of(run):
        on_epoch(epoch)
    store = job.open_store()
    begin_run(store, config, plan_games(store, config.train), run, name=run.name)
    training = Training(store, config, run.absolute(), run.name, job.settings.preset)
    try:
        run_workers(
            partial(nested_worker, training, job.load.cpus_per_trial, job.settings.split),
            training.out,
            WorkerResources(job.settings.workers_per_trial, job.load.cpus_per_trial, job.gpus),
            on_epoch,
            trainer=TrainerWithoutCleaner,
            callbacks=[PlacementGroupObserver(partial(_note_workers, training.out))],
        )
    except (RayActorError, WorkerGroupError) as error:
        failures = list(getattr(error, "worker_failures", {0: error}).values())
        if any(isinstance(failure, RayActorError) for failure in failures):
            time.sleep(STOP_GRACE_S)  # this may be how a trial that is stopped hears of it
            # As if this process had died: it is started again, from its last epoch.
            os._exit(EXIT_WORKERS_LOST)
        raise original_error(failures[0]) from None


def nested_worker(training: Training, num_threads: int, split: str) -> None:
    """What one worker of a trial does; with the others, it waits until rank 0 may write."""
    import ray.train
    from ray.train.torch import get_device
    from torch import distributed

    run, leads = training.out, ray.train.get_context().get_world_rank() == 0
    with writer_lock(run) if leads else contextlib.nullcontext():
        distributed.barrier()  # none reads a checkpoint that another process still writes
        try:
            finite = train_worker(training, num_threads)
        except DamagedCheckpointError:  # all workers read the same files
            distributed.barrier()
            if leads:
                discard_run(run)
            distributed.barrier()
            finite = train_worker(training, num_threads)
        if finite and leads and predicted(run, training.store, split) is None:
            predict_run(run, training.store, split, device=get_device())


def release_workers(run: Path) -> None:
    """End what is left of the workers of a run, and give their CPUs back."""
    import ray
    from ray import PlacementGroupID, cloudpickle
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    path = _note_path(run)
    if not path.is_file():
        return
    note = read_json(path)
    if note | _driver() == note:  # those of an earlier driver went with it
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(cloudpickle.loads(base64.b64decode(note["controller"])))
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(note["group"]))))
    path.unlink(missing_ok=True)


def _note_workers(run: Path, group: Any) -> None:
    """Note the placement group of a run, in Ray Train's controller."""
    import ray
    from ray import cloudpickle

    controller = ray.get_runtime_context().current_actor
    pickled: bytes = cloudpickle.dumps(controller)  # type: ignore[no-untyped-call]
    note = {"group": group.id.hex(), "controller": base64.b64encode(pickled).decode(), **_driver()}
    write_json(_note_path(run), note)


def _driver() -> dict[str, str]:
    """This driver's job and its Ray."""
    import ray

    context = ray.get_runtime_context()
    return {"job": context.get_job_id(), "ray": context.gcs_address}


def _note_path(run: Path) -> Path:
    return run.parent / f".{run.name}.group"
