"""Receive in one process the epochs that Ray Train's workers report, wherever they run.

A queue between Ray Train's controller and the process that waits for the training. Ray's own
`TuneReportCallback` has one too, but its reader hands what it reads to a second queue that holds
one item, which it empties itself: if the trial's function has put its end there first, the trial
hangs forever.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ray import get_runtime_context
from ray.exceptions import RayActorError
from ray.train import Checkpoint, UserCallback
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hmtas.runs.record import EpochRecord, history_of


class EpochCallback(UserCallback):
    """Passes on what rank 0 reports; runs in Ray Train's controller."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Every worker has reported an epoch."""
        self.queue.put(metrics[0])


@contextlib.contextmanager
def listen_to_epochs(out: Path, on_epoch: Callable[[EpochRecord], None]) -> Iterator[EpochCallback]:
    """Call `on_epoch` in a thread for every new epoch, once each, while the block runs.

    Epochs that the run folder has already are not reported again. An epoch whose report is lost
    with its worker is read from the record of the run, before the next one or at the end. What
    `on_epoch` raises is raised at the end.
    """
    # On the node of this process: another one may go, and the training with it.
    here = NodeAffinitySchedulingStrategy(get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    seen = len(history_of(out))
    problems: list[Exception] = []

    def take(entry: EpochRecord) -> None:
        nonlocal seen
        if entry.epoch > seen + 1:  # a report was lost; its epoch was recorded before
            for lost in history_of(out)[seen : entry.epoch - 1]:
                on_epoch(lost)
        if entry.epoch > seen:
            on_epoch(entry)
            seen = entry.epoch

    def listen() -> None:
        try:
            while (item := queue.get()) is not None:
                take(EpochRecord.model_validate(item))
        except RayActorError:
            pass  # Ray is gone: the block ends by that itself
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield EpochCallback(queue)
    finally:
        with contextlib.suppress(RayActorError):
            queue.put(None)
        thread.join()
        queue.shutdown(force=True)
        if problems:
            raise problems[0]
        for entry in history_of(out)[seen:]:
            take(entry)
