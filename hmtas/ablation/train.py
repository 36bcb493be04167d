"""Train the variants of an ablation, several at once, each in a Ray task of its own.

OUT/runs/<variant>-s<seed>/   a run folder each; finished ones are not trained again
OUT/mlflow.json               the MLflow run that is their parent (hmtas.tracking.parent)
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hmtas.ablation.variants import Planned, configuration
from hmtas.cluster.gpus import described, gpu_share
from hmtas.cluster.leases import leased, say_lent
from hmtas.cluster.session import num_fitting, ray_session, resources
from hmtas.cluster.tasks import run_tasks
from hmtas.config import Config
from hmtas.errors import InputError, join_problems
from hmtas.refusals import describe_error
from hmtas.runs.record import RECORD, RunRecord, find_run, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.console import say
from hmtas.terminal.signals import postponed
from hmtas.terminal.text import counted, percent
from hmtas.tracking.parent import Outbox
from hmtas.training.memory import training_bytes
from hmtas.training.on_store import on_store

RUNS = "runs"
QUIET_S = 20.0  # between two lines about runs that are still training


class Job(NamedTuple):
    """One training: a variant with a seed."""

    run: Path
    config: Config
    preset: str


def jobs_of(
    planned: Mapping[str, Planned], settings: Mapping[str, Any], num_seeds: int, out: Path
) -> dict[str, list[Job]]:
    """The trainings of every variant that is trained, seeds 0, 1 ..."""
    return {
        name: [
            Job(
                out.absolute() / RUNS / f"{name}-s{seed}",
                configuration(plan.variant, settings, seed),
                plan.variant.preset,
            )
            for seed in range(num_seeds)
        ]
        for name, plan in planned.items()
        if plan.is_trained
    }


def check_folders(jobs: Iterable[Job], store: EmbeddingStore) -> None:
    """Refuse folders that hold other runs, before anything is trained.

    Raises:
        InputError: Naming every folder.
    """
    problems = []
    for job in jobs:
        if (job.run / RECORD).is_file():
            begun = read_run(job.run)
            config = on_store(job.config, store)
            if begun.store_checksum != store.checksum:
                problems.append(f"{job.run.name} was trained on another store")
            elif begun.config != config:
                problems.append(f"{job.run.name} has {begun.config.difference(config)}")
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(
            f"--out holds runs of other settings: {join_problems(problems[:3])}{more}; "
            "choose another --out, or repeat the settings"
        )


def check_concurrent(concurrent: int | None, address: str | None) -> None:
    """Refuse more runs at once than this machine has cores, before Ray is started.

    Raises:
        InputError: If there are fewer.
    """
    cores = os.cpu_count() or 1
    if address is None and concurrent is not None and concurrent > cores:
        raise _too_many(concurrent, f"this machine has {counted(cores, 'core')}", cores)


def train_all(
    jobs: Sequence[Job],
    store: EmbeddingStore,
    split: str,
    *,
    outbox: Outbox,
    concurrent: int | None = None,
    gpus: float | None = None,
    address: str | None = None,
) -> None:
    """Train and predict what is not done yet, as many at a time as there are cores.

    Args:
        jobs: What to train.
        store: Where the games are; on a cluster, in a place that all its nodes see.
        split: Split that every run predicts.
        outbox: Shows the runs in MLflow while they train.
        concurrent: Runs at once; as many as fit unless given.
        gpus: GPUs, or a share of one, for each run; None gives what its memory needs of the GPUs
            that there are.
        address: Address of a running Ray cluster; None starts one on this machine.

    Raises:
        InputError: If they do not fit the cluster, or some failed: with their names and reasons.
        Interrupted: On Ctrl-C or SIGTERM.
    """
    waiting = [job for job in jobs if not is_done(job.run, store, split)]
    # The longest first: one that starts last keeps a single core busy at the end.
    waiting.sort(key=lambda job: -_work(job.config, len(store.streams)))
    if not waiting:
        say(f"trained already: {counted(len(jobs), 'run')}")
        return
    # An exception out of a signal's handler can be lost in what Ray was just about to do.
    with postponed() as check, ray_session(address):
        gpus = gpu_share(
            lambda: max(training_bytes(store, job.config) for job in waiting),
            at_once=concurrent and min(concurrent, len(waiting)),
            asked_for=gpus,
        )
        at_once = min(_slots(concurrent, gpus), len(waiting))
        say(
            f"{counted(len(jobs), 'run')}, {len(jobs) - len(waiting)} of them trained before; "
            f"{at_once} at a time with a core{described(gpus)} each"
        )
        say_lent()
        watch = _Watch(len(jobs) - len(waiting), len(jobs), outbox)

        def poll(running: Sequence[Path]) -> None:
            check()
            watch.look(running)

        device = "cuda" if gpus > 0 else "cpu"
        failed = run_tasks(
            train_and_predict,
            {job.run: (store, job, split, device) for job in waiting},
            at_once=at_once,
            options={"num_cpus": 1, "num_gpus": gpus},
            on_poll=poll,
            on_end=watch.ended,
        )
    if failed:
        reasons = join_problems(f"{run.name}: {describe_error(e)}" for run, e in failed.items())
        raise InputError(
            f"{len(failed)} of {len(jobs)} runs failed: {reasons}; the same command tries them "
            "again, and --what can leave a variant out"
        )


def is_done(run: Path, store: EmbeddingStore, split: str) -> bool:
    """Is a run trained, and the split predicted with its weights?"""
    if not (run / RECORD).is_file() or read_run(run).status != "done":
        return False
    from hmtas.prediction.slide import predicted

    return predicted(run, store, split) is not None


def train_and_predict(store: EmbeddingStore, job: Job, split: str, device: str) -> None:
    """What one task does, in a process of its own with one core."""
    import torch

    from hmtas.training.loop import fit_and_predict

    torch.set_num_threads(1)
    with leased(1):
        fit_and_predict(store, job.config, job.run, split, preset=job.preset, device=device)


class _Watch:
    """Tell the user and MLflow how far the runs are, through the records that they write."""

    def __init__(self, num_ended: int, num_jobs: int, outbox: Outbox) -> None:
        self.num_ended, self.num_jobs, self.outbox = num_ended, num_jobs, outbox
        self._seen: dict[Path, int] = {}
        self._spoken = time.monotonic()

    def look(self, running: Sequence[Path]) -> None:
        """Bring MLflow up to date with new epochs, and say from time to time what runs."""
        told = []
        for run in running:
            record = find_run(run)
            epochs = 0 if record is None else len(record.history)
            if epochs > self._seen.get(run, 0):
                self._seen[run] = epochs
                self.outbox.post(run)
            trained = record is not None and record.status == "done"
            told.append(f"{run.name} {'predicts' if trained else f'in epoch {epochs + 1}'}")
        if running and time.monotonic() - self._spoken >= QUIET_S:
            self._say(f"running: {', '.join(told)}")

    def ended(self, run: Path, error: Exception | None) -> None:
        """Say how a run ended."""
        if error is not None:
            self.outbox.post(run, "FAILED", describe_error(error))
            self._say(f"{run.name} failed: {describe_error(error)}")
            return
        self.num_ended += 1
        self.outbox.post(run)
        self._say(f"{run.name}: {_how_it_went(read_run(run))}")

    def _say(self, line: str) -> None:
        self._spoken = time.monotonic()
        say(f"[{self.num_ended}/{self.num_jobs}] {line}")


def _how_it_went(record: RunRecord) -> str:
    """How a training went, in a few words."""
    seconds = sum(epoch.seconds for epoch in record.history)
    words, best = f"{counted(len(record.history), 'epoch')}, {seconds:.0f} s", record.best
    if best is None or best.tight is None:
        return words
    return f"{words}, best is {best.epoch}: tight {percent(best.tight)} % where it stops"


def _slots(concurrent: int | None, gpus: float) -> int:
    """Runs at once; Ray would wait forever, in silence, for what does not come."""
    fits = num_fitting(1, gpus)
    if fits < 1 or (concurrent or 0) > fits:
        have = resources()
        there = f"Ray has {counted(have['CPU'], 'core')} and {counted(have['GPU'], 'GPU')}"
        raise _too_many(concurrent or 1, there, fits)
    return concurrent or fits


def _work(config: Config, num_streams: int) -> float:
    """About how long a run takes beside others, in units of no meaning."""
    model, length = config.model, config.train.seq_len
    if model.kind == "fcnn":
        return 0.1 * length
    streams = num_streams if model.supervises_streams or model.kind == "hierarchy" else 1
    return model.num_layers * streams * (1 if model.labels_steps else length)


def _too_many(wanted: int, there: str, fits: int) -> InputError:
    return InputError(
        f"--concurrent {wanted}: each run takes a core, or the GPUs it is given, and {there}; "
        f"at most {fits} fit"
    )
