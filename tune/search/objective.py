"""What a trial of the model study does: one training, reported by the epoch, and its predictions.

A trial that a scheduler stops never comes back from a report, so its predictions are made after
the study (`predict_trial`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hmtas.cluster.leases import leased
from hmtas.config import Config
from hmtas.errors import DamagedCheckpointError, TransientError
from hmtas.model.checkpoint import remove_checkpoints
from hmtas.prediction.slide import predict_run
from hmtas.refusals import describe_error
from hmtas.runs.record import EpochRecord, history_of, read_run, write_run
from hmtas.training.loop import fit_and_predict
from tune.search.trial import FAILED, WAITED, BestEpoch, Job, discard_run, writer_lock
from tune.search.workers import train_nested
from tune.space.dimensions import settings_of
from tune.study.options import LOOSE, TIGHT


def make_trainable(job: Job) -> Callable[[dict[str, Any]], None]:
    """The function that Tune calls in a trial's process with the sampled point."""

    def trial(params: dict[str, Any]) -> None:
        from ray.tune import get_context, report

        trial_id = get_context().get_trial_id()
        assert trial_id is not None
        last: dict[str, Any] = {TIGHT: 0.0, LOOSE: 0.0, "epoch": 0}

        def note(metrics: dict[str, Any]) -> None:
            last.update(metrics)
            report(metrics)

        try:
            run_trial(params, job=job, trial_id=trial_id, report=note)
        except (OSError, TransientError):
            raise  # worth a second try: Tune starts it again
        except Exception as error:
            # Its own fault: a second try would end the same. No process need die for it.
            report({**last, FAILED: describe_error(error)})

    return trial


def run_trial(
    params: Mapping[str, Any],
    *,
    job: Job,
    trial_id: str,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Train one point of the space, as `tune.space.dimensions.suggest` sampled it, then predict.

    `report` gets the best scores so far, the epoch and its losses after each epoch.

    Raises:
        InputError: If the point is no valid configuration, or the store is not usable.
        FloatingPointError: If the metric is not finite.
    """
    config = job.settings.base.updated(settings_of(params, job.settings.space))
    best = BestEpoch(config.train.stop_on)
    with leased(job.cpus) as waited_s:
        train_run(
            job.trials / trial_id,
            config,
            job,
            lambda epoch: report({**best.metrics(epoch), WAITED: round(waited_s, 1)}),
        )


def train(run: Path, config: Config, job: Job) -> None:
    """As `train_run`, in a task of its own."""
    with leased(job.cpus):
        train_run(run, config, job, lambda epoch: None)


def train_run(run: Path, config: Config, job: Job, on_epoch: Callable[[EpochRecord], None]) -> None:
    """Train a run and predict with it, here or in workers; what is done is not done again.

    A run that is started again reports the epochs in its folder again, and resumes after them.
    """
    nested = job.settings.workers_per_trial > 1
    (train_nested if nested else _train_here)(run, config, job, on_epoch)


def _train_here(
    run: Path, config: Config, job: Job, on_epoch: Callable[[EpochRecord], None]
) -> None:
    def attempt() -> None:
        fit_and_predict(
            job.open_store(),
            config,
            run,
            job.settings.split,
            preset=job.settings.preset,
            report=on_epoch,
            device=job.device,
        )

    torch.set_num_threads(job.load.cpus_per_trial)
    with writer_lock(run):
        for epoch in history_of(run):
            on_epoch(epoch)
        try:
            attempt()
        except DamagedCheckpointError:  # its first epoch, most likely: there is one checkpoint then
            discard_run(run)
            attempt()


def predict_trial(run: Path, job: Job) -> None:
    """Predict with the best checkpoint of a trial that was stopped early, and close its record."""
    torch.set_num_threads(job.load.cpus_per_trial)
    # The trial may not have heard yet that it was stopped: then it holds both.
    with leased(job.load.cpus_per_trial), writer_lock(run):
        predict_run(run, job.open_store(), job.settings.split, device=job.device)
        write_run(run, read_run(run).model_copy(update={"status": "done"}))
        remove_checkpoints(run)
