"""Train one model: epochs, early stopping, checkpoints. Plain torch; no Ray.

What surrounds it comes in as arguments: `report` hears of every epoch, `Parallel` makes this
process one of several workers (hmtas.cluster.workers).
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hmtas.config import Config
from hmtas.errors import DivergedError, InputError
from hmtas.model.build import build_model, count_parameters
from hmtas.model.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
    save_weights,
)
from hmtas.model.loss import positive_weights
from hmtas.model.network import SpottingModel
from hmtas.prediction.slide import predict_run, predicted
from hmtas.runs.environment import Environment, changes, this_environment
from hmtas.runs.record import WEIGHTS, EpochRecord, RunRecord, write_run
from hmtas.store.halves import refuse_damage
from hmtas.store.local import EmbeddingStore
from hmtas.training.averaging import WeightAverage
from hmtas.training.batches import Batch
from hmtas.training.dataset import SampleDataset, resident_device
from hmtas.training.games import GamePlan, begin_run, plan_games, shard
from hmtas.training.labels import labels_of
from hmtas.training.stepping import Stepper, build_optimizer
from hmtas.training.validate import validate

Report = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Parallel:
    """This process among the workers that train one model; the default is to be alone."""

    rank: int = 0  # 0 validates, writes and decides
    size: int = 1  # number of workers
    # Makes a model average its gradients over the workers.
    wrap: Callable[[nn.Module], nn.Module] = field(default=lambda model: model)
    # Gives every worker the decision of rank 0.
    agree: Callable[[bool], bool] = field(default=lambda decision: decision)


def fit(
    store: EmbeddingStore,
    config: Config,
    out: Path,
    *,
    name: str,
    preset: str | None = None,
    report: Report = lambda entry: None,
    device: torch.device | str = "cpu",
    parallel: Parallel | None = None,
    stop_after: int | None = None,
) -> RunRecord:
    """Train a model and write its run folder.

    A folder that holds an unfinished training of the same configuration resumes after its last
    complete epoch; a finished one is returned as it is.

    Args:
        store: Embeddings, labels and splits.
        config: What to train.
        out: Run folder; rank 0 writes there, the other workers only read.
        name: Name of the run.
        preset: The preset that `config` came from, for the record.
        report: Called after every epoch, also after one that another process completed and did
            not come to record; what it raises ends the training.
        device: Where to compute.
        parallel: This process among others.
        stop_after: Epochs after which the training ends, whatever the configuration says, to
            repeat a run that was stopped from outside.

    Raises:
        InputError: If `out` holds another run, the configuration does not fit the store, or the
            loss is not finite.
    """
    parallel = parallel or Parallel()
    games = plan_games(store, config.train)
    record = begin_run(
        store, config, games, out, name=name, preset=preset, num_workers=parallel.size
    )
    if record.status == "done":
        return record
    mine = shard(games.fitted, parallel.rank, parallel.size)
    store.prefetch(store.halves_of([*mine, *(games.stopped if parallel.rank == 0 else ())]))
    training = _Training(
        store,
        games,
        record,
        out=out,
        device=torch.device(device),
        parallel=parallel,
        stop_after=stop_after,
    )
    # The checkpoint is written first: a process may have died before the record and the report.
    for entry in training.record.history[len(record.history) :]:
        report(entry)
    while not parallel.agree(training.finished()):
        report(training.run_epoch())
    return training.close()


def fit_and_predict(
    store: EmbeddingStore,
    config: Config,
    run: Path,
    split: str,
    *,
    preset: str | None = None,
    report: Report = lambda entry: None,
    device: torch.device | str = "cpu",
) -> None:
    """Train a model (see `fit`), then predict a split; what is done already is not done again."""
    fit(store, config, run, name=run.name, preset=preset, report=report, device=device)
    if predicted(run, store, split) is None:
        predict_run(run, store, split, device=device)


class _Training:
    """One model in training. Everything random in an epoch follows from (seed, epoch, rank)."""

    def __init__(
        self,
        store: EmbeddingStore,
        games: GamePlan,
        record: RunRecord,
        *,
        out: Path,
        device: torch.device,
        parallel: Parallel,
        stop_after: int | None,
    ) -> None:
        self.store, self.games, self.record, self.out = store, games, record, out
        self.config, self.device, self.parallel = record.config, device, parallel
        train = self.config.train
        self.max_epochs = min(train.max_epochs, stop_after or train.max_epochs)
        torch.manual_seed(train.seed)
        num_outputs = len(store.actions) + 1
        model = build_model(record.streams, num_outputs, self.config.model, store.rate_hz)
        self.model = model.to(device)
        self.average = WeightAverage(model, train.ema_decay) if train.ema_decay else None
        self.record = record.model_copy(
            update={
                "num_parameters": count_parameters(self.model),
                "environment": _environment(device),
            }
        )
        self.optimizer = build_optimizer(self.model, train)
        self._resume()
        self.wrapped = parallel.wrap(self.model)
        halves = store.halves_of(shard(games.fitted, parallel.rank, parallel.size))
        labels, streams = labels_of(self.config, store.rate_hz), tuple(record.streams)
        self.data = SampleDataset(
            store,
            halves,
            streams=streams,
            labels=labels,
            device=resident_device(store, halves, streams, labels, device),
        )
        events = store.events_of(games.fitted).values()
        num_events_A = np.bincount(
            np.concatenate([event.action for event in events]), minlength=len(store.actions)
        )
        weights = positive_weights(train.class_weights, store.actions, num_events_A)
        self.weight_C = weights.to(device)
        self.stepper = Stepper(
            self.wrapped,
            self.optimizer,
            train,
            weight_C=self.weight_C,
            device=device,
            seq_len=labels.layout.seq_len if labels.layout.chunk_windows else None,
            steps_per_epoch=self._steps(),
            average=self.average,
            count_missing=self.config.model.labels_steps,
        )

    @property
    def kept(self) -> SpottingModel:
        """The model that is scored and saved: the average of the weights, where there is one."""
        return self.model if self.average is None else self.average.model

    def finished(self) -> bool:
        """No epoch left, or none of the last `patience` was better than the best before."""
        train = self.config.train
        done = len(self.record.history)
        waited = done - (self.record.best_epoch or 0)
        return done >= self.max_epochs or bool(self.games.stopped and waited >= train.patience)

    def run_epoch(self) -> EpochRecord:
        """Train for one epoch; rank 0 validates and saves."""
        epoch = len(self.record.history) + 1
        started = time.monotonic()
        loss, num_windows = self._train(epoch)
        seconds = round(time.monotonic() - started, 3)
        validated = {}
        if self.parallel.rank == 0 and self.games.stopped:
            found = validate(
                self.kept,
                self.store,
                self.games.stopped,
                self.record.streams,
                self.config,
                weight_C=self.weight_C,
                device=self.device,
            )
            validated = found._asdict()
        entry = EpochRecord(
            epoch=epoch,
            train_loss=loss,
            seconds=seconds,
            windows=num_windows * self.parallel.size,
            **validated,
        )
        self._record_epoch(entry)
        return entry

    def close(self) -> RunRecord:
        """Mark the run as done, which no longer needs its checkpoint."""
        self.record = self.record.model_copy(update={"status": "done"})
        if self.parallel.rank == 0:
            write_run(self.out, self.record)
            remove_checkpoints(self.out)
        return self.record

    def _train(self, epoch: int) -> tuple[float, int]:
        """Mean loss of this worker's batches, and how many windows they held."""
        train = self.config.train
        rng = np.random.default_rng([train.seed, epoch, self.parallel.rank])
        torch.manual_seed(int(rng.integers(2**62)))
        self.wrapped.train()
        batches = itertools.islice(self._batches(rng), self._steps())
        try:
            return self.stepper.run(batches, rng, place=str(self.out), epoch=epoch)
        except DivergedError:
            if self.parallel.rank == 0:  # which says for all of them what it was
                self._refuse_damage()
            raise

    def _refuse_damage(self) -> None:
        """Look for the cause of a loss that is not finite in the rows that are on this machine."""
        halves = self.store.halves_of(self.games.fitted)
        absent = set(self.store.absent(halves))
        try:
            for half in halves:
                if half not in absent:
                    refuse_damage(self.store.open_half(half))
        except InputError as error:
            raise DivergedError(str(error)) from None  # as one that all workers meet

    def _batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Without end: workers whose games differ in length must take the same steps."""
        train = self.config.train
        while True:
            for batch in self.data.batches(
                train.batch_size,
                rng,
                train.windows_share,
                balanced=bool(train.mixup_alpha) and train.mixup_partner == "balanced",
            ):
                if len(batch.target_BC) > 1:  # BatchNorm needs two
                    yield batch

    def _steps(self) -> int:
        """Steps of an epoch, the same for every worker: what the smallest shard can fill."""
        train, labels = self.config.train, self.data.labels
        num_samples = [
            sum(
                labels.layout.num_samples(self.store.halves[half].num_rows)
                for half in self.store.halves_of(shard(self.games.fitted, rank, self.parallel.size))
            )
            for rank in range(self.parallel.size)
        ]
        per_batch = labels.num_samples(train.batch_size)
        return max(1, int(min(num_samples) * train.windows_share) // per_batch)

    def _record_epoch(self, entry: EpochRecord) -> None:
        """Add an epoch to the record and save; a run without stopping keeps its last epoch."""
        train = self.config.train
        history = (*self.record.history, entry)
        best = max(history, key=lambda each: each.merit(train.stop_on))
        better = entry.tight is None or entry == best
        update: dict[str, object] = {"history": history}
        if better:
            update["best_epoch"] = entry.epoch
            if self.parallel.rank == 0:
                update["weights_sha256"] = save_weights(self.out / WEIGHTS, self.kept)
        self.record = self.record.model_copy(update=update)
        if self.parallel.rank == 0:
            # The checkpoint first: a record without it would skip an epoch after a crash.
            meta = {"record": self.record.model_dump(mode="json")}
            save_checkpoint(self.out, self._state(), self.optimizer, meta)
            write_run(self.out, self.record)

    def _resume(self) -> None:
        """Resume from the checkpoint, if there is one."""
        found = load_checkpoint(self.out, self._state(), self.optimizer)
        if found is None:
            self.record = self.record.model_copy(update={"history": (), "best_epoch": None})
            return
        meta, problem = found
        here = self.record.environment
        begun = RunRecord.model_validate(meta["record"])
        self.record = begun.model_copy(update={"store": self.record.store})  # it may have moved
        epoch = len(self.record.history)
        for change in changes(self.record.environment, here):
            self._add_note(f"after epoch {epoch}: {change.what} {change.now}, not {change.before}")
        if problem is not None:
            self._add_note(f"{problem}; resumed after epoch {epoch}, from the previous one")
            if self.parallel.rank == 0:
                # The next save keeps the newest as the previous one: that must be the good one.
                (self.out / CHECKPOINT).unlink(missing_ok=True)

    def _state(self) -> dict[str, nn.Module]:
        """What a checkpoint holds beside the optimizer."""
        average = {} if self.average is None else {"average": self.average.model}
        return {"model": self.model, **average}

    def _add_note(self, note: str) -> None:
        self.record = self.record.model_copy(update={"notes": (*self.record.notes, note)})


def _environment(device: torch.device) -> Environment:
    is_gpu = device.type == "cuda"
    found = (
        torch.cuda.get_device_name(device) if is_gpu else torch.backends.cpu.get_cpu_capability()
    )
    return this_environment(device.type, found, torch.get_num_threads())
