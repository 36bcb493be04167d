"""What a trial of the model study does: one training, reported by the epoch, and its predictions.

A thin shell around `hmtas.training.loop.fit`, which knows no Ray. A trial that a scheduler stops
never comes back from a report, so its predictions are made after the study (`predict_trial`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hmtas.config import Config
from hmtas.errors import DamagedCheckpointError, InputError, TransientError
from hmtas.runs.record import RECORD, EpochRecord, predictions_path, read_run, write_run
from tune.search.trial import FAILED, BestEpoch, Job, discard_run, lock_path
from tune.space.dimensions import settings_of
from tune.study.lock import writer_lock
from tune.study.options import LOOSE, TIGHT


def make_trainable(job: Job) -> Callable[[dict[str, Any]], None]:
    """The function that Tune calls in a trial's process with the sampled point."""

    def trial(params: dict[str, Any]) -> None:
        from ray.tune import get_context, report

        run = run_trial
        if job.workers > 1:
            from tune.search.workers import run_nested as run

        trial_id = get_context().get_trial_id()
        assert trial_id is not None
        last: dict[str, Any] = {TIGHT: 0.0, LOOSE: 0.0, "epoch": 0}

        def note(metrics: dict[str, Any]) -> None:
            last.update(metrics)
            report(metrics)

        try:
            run(params, job=job, trial_id=trial_id, report=note)
        except Exception as error:
            if is_transient(error):
                raise  # Tune starts it again
            # Its own fault: the same would come of the same. No process need die for it.
            report({**last, FAILED: _reason(error)})

    return trial


def is_transient(error: Exception) -> bool:
    """Is it worth a second try: a full disk, a file or a service that is not there just now?"""
    return isinstance(error, OSError | TransientError)


def _reason(error: Exception) -> str:
    """One line for the table; what is not bad input has its class with it."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return line if isinstance(error, InputError) else f"{type(error).__name__}: {line}"


def run_trial(
    params: Mapping[str, Any],
    *,
    job: Job,
    trial_id: str,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Train one point of the space in this process, then predict.

    A trial that Tune starts again after the driver died reports the epochs in its run folder
    again, goes on after them, and does nothing twice.

    Args:
        params: One point, as `tune.space.dimensions.suggest` sampled it.
        job: What is the same for every trial.
        trial_id: Name of the trial, of its run and of its run folder.
        report: Gets `METRIC`, the epoch and its losses after each epoch.

    Raises:
        InputError: If the point is no valid configuration, or the store is not usable.
        FloatingPointError: If the metric is not finite.
    """
    config = job.base.updated(settings_of(params, job.space))
    run = Path(job.trials) / trial_id
    with writer_lock(lock_path(run)):
        _train(run, config, job=job, report=report)


def _train(
    run: Path, config: Config, *, job: Job, report: Callable[[dict[str, Any]], None]
) -> None:
    import torch

    from hmtas.prediction.slide import predict_run
    from hmtas.store.remote import open_store
    from hmtas.training.loop import fit

    best = BestEpoch(job.objective)
    if (run / RECORD).is_file():
        for epoch in read_run(run).history:
            report(best.metrics(epoch))
    torch.set_num_threads(job.threads)
    store = open_store(job.store)

    def on_epoch(epoch: EpochRecord, _: dict[str, float]) -> None:
        report(best.metrics(epoch))

    def train() -> None:
        fit(
            store,
            config,
            run,
            name=run.name,
            preset=job.preset,
            report=on_epoch,
            device=job.device,
        )

    try:
        train()
    except DamagedCheckpointError:  # its first epoch, most likely: there is one checkpoint then
        discard_run(run)
        train()
    if not predictions_path(run, job.split).is_file():
        predict_run(run, store, job.split, device=job.device)


def predict_trial(run: str, store: str, split: str, threads: int, device: str) -> None:
    """Predict with the best checkpoint of a trial that was stopped early, and close its record."""
    import torch

    from hmtas.model.checkpoint import remove_checkpoints
    from hmtas.prediction.slide import predict_run
    from hmtas.store.remote import open_store

    torch.set_num_threads(threads)
    folder = Path(run)
    with writer_lock(lock_path(folder)):  # it may not have heard yet that it was stopped
        predict_run(folder, open_store(store), split, device=device)
        write_run(folder, read_run(folder).model_copy(update={"status": "done"}))
        remove_checkpoints(folder)
