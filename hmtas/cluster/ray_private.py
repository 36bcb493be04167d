"""The names of Ray that are not public, each with what we need it for; no other module uses any.

`tests/test_private_names.py` fails when one of them goes, and says what to do.
"""

from collections.abc import Callable
from typing import Any

from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.placement_group import PlacementGroup


def original_error(error: BaseException) -> BaseException:
    """What a worker of Ray Train raised, without Ray's wrapper around it."""
    found: BaseException = getattr(error, "_base_exc", error)
    return found


class TrainerWithoutCleaner(TorchTrainer):
    """A trainer without the actor that removes the placement group of a training that died.

    That actor stays for every trial that Tune stops, and asks the dashboard, which may be absent
    or belong to another Ray on the machine, whether the training lives.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [one for one in callbacks if not isinstance(one, PlacementGroupCleanerCallback)]


class PlacementGroupObserver(WorkerGroupCallback):
    """Hands over the placement group of a training each time its workers start.

    `on_start` is called in Ray Train's controller.
    """

    def __init__(self, on_start: Callable[[PlacementGroup], None]) -> None:
        self.on_start = on_start

    def after_worker_group_start(self, worker_group: Any) -> None:
        """The workers have started."""
        self.on_start(worker_group.get_worker_group_state().placement_group_handle.placement_group)
