"""Give the CPUs of a trial's workers back when the trial is stopped.

Ray Train reserves them as a placement group, which outlives a trial that Tune stops: for Ray it
belongs to the driver's job. Ray Train's own helper for that asks the dashboard whether the
training lives, of whichever Ray it finds on the machine; without a dashboard, or with two Rays on
one machine, the next trial would wait for ever. So the group is noted beside the run, and who
stops a trial, or starts it again, removes it; first its controller, which would make a new one.
"""

import base64
import contextlib
from pathlib import Path
from typing import Any

import ray
from ray import PlacementGroupID, cloudpickle
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util.placement_group import PlacementGroup, remove_placement_group

from hmtas.files import read_json, write_json
from tune.study.record import TRIALS


class GroupTrainer(TorchTrainer):
    """A trainer without Ray's own helper, whose process would stay for every stopped trial."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [one for one in callbacks if not isinstance(one, PlacementGroupCleanerCallback)]


class GroupRecorder(WorkerGroupCallback):
    """Notes the group of a run, each time that Ray Train starts one; runs in its controller."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def after_worker_group_start(self, worker_group: Any) -> None:
        """The workers are there."""
        group = worker_group.get_worker_group_state().placement_group_handle.placement_group
        controller = ray.get_runtime_context().current_actor
        pickled: bytes = cloudpickle.dumps(controller)  # type: ignore[no-untyped-call]
        note = {
            "group": group.id.hex(),
            "controller": base64.b64encode(pickled).decode(),
            **_job(),
        }
        write_json(group_path(self.run), note)


class GroupReleaser(Callback):
    """Frees the workers of a trial that ends, however it does; runs in the driver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """It came to its end, or was stopped."""
        release_group(self.folder / TRIALS / str(trial.trial_id))

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Its process died too often."""
        release_group(self.folder / TRIALS / str(trial.trial_id))


def release_group(run: Path) -> None:
    """End what is left of the workers of a run, and give their CPUs back."""
    path = group_path(run)
    if not path.is_file():
        return
    note = read_json(path)
    if note | _job() == note:  # those of an earlier driver went with it
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(cloudpickle.loads(base64.b64decode(note["controller"])))
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(note["group"]))))
    path.unlink(missing_ok=True)


def _job() -> dict[str, str]:
    """Which driver, of which Ray."""
    context = ray.get_runtime_context()
    return {"job": context.get_job_id(), "ray": context.gcs_address}


def group_path(run: Path) -> Path:
    """Where the group of a run is noted, beside it."""
    return run.parent / f".{run.name}.group"
