"""Ray Train around `fit`: one or more workers, each with games of its own."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hmtas.cluster.leases import leased, say_lent
from hmtas.cluster.session import ray_session, resources
from hmtas.config import Config
from hmtas.errors import DivergedError, InputError
from hmtas.files import write_text
from hmtas.refusals import explain
from hmtas.runs.record import EpochRecord, RunRecord, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import open_store, prefetch_games
from hmtas.terminal.console import say
from hmtas.terminal.signals import interruptible
from hmtas.terminal.text import counted
from hmtas.training.games import begin_run, plan_games, shard
from hmtas.training.loop import Parallel, fit

MAX_FAILURES = 3  # a worker that dies is replaced, and resumes after the last complete epoch
SCRATCH = ".ray"  # in the run folder, while Ray Train runs
INPUT_ERROR = "input_error.txt"


class WorkerResources(NamedTuple):
    """The workers of one training, and what each of them takes."""

    num_workers: int
    cpus: int
    gpus: float = 0.0


class Training(NamedTuple):
    """What the workers of one training are told; see `hmtas.training.loop.fit`."""

    store: EmbeddingStore
    config: Config
    out: Path  # absolute
    name: str
    preset: str | None = None
    stop_after: int | None = None


def train(
    store: str | Path,
    config: Config,
    out: Path,
    *,
    name: str,
    preset: str | None = None,
    num_workers: int = 1,
    use_gpu: bool = False,
    address: str | None = None,
    stop_after: int | None = None,
    on_epoch: Callable[[EpochRecord], None] = lambda entry: None,
) -> RunRecord:
    """Train one model with Ray Train; see `hmtas.training.loop.fit` for what it writes.

    Every worker reads its own games of the memory-mapped store. A worker that dies is replaced,
    and the training resumes after its last complete epoch.

    Args:
        store: Path or address of the store.
        config: What to train.
        out: Run folder; on a cluster, one that all its nodes see.
        name: Name of the run.
        preset: The preset that `config` came from, for the record.
        num_workers: Processes that train together.
        use_gpu: Give each of them a GPU.
        address: Address of a running Ray cluster; None starts one on this machine.
        stop_after: Epochs after which the training ends, whatever the configuration says.
        on_epoch: Called in this process soon after every epoch.

    Raises:
        InputError: If there are fewer processors or GPUs than workers, or `fit` would refuse.
    """
    # What `fit` would refuse is refused here, before any worker starts.
    opened = open_store(store)
    games = plan_games(opened, config.train)
    if begin_run(opened, config, games, out, name=name, preset=preset).status == "done":
        return read_run(out)
    shard(games.fitted, 0, num_workers)
    local_cpus = os.cpu_count() or 1
    if address is None:
        check_workers(num_workers, "CPU", local_cpus)
        # The nodes of a cluster copy what they train on themselves.
        prefetch_games(opened, [*games.fitted, *games.stopped])
    training = Training(opened, config, out.absolute(), name, preset, stop_after)
    threads = max(1, local_cpus // num_workers)
    with ray_session(address, threads=threads), interruptible():
        kind = "GPU" if use_gpu else "CPU"
        available = resources()
        check_workers(num_workers, kind, available.get(kind, 0))
        cpus = max(1, int(available["CPU"]) // num_workers)
        # Not before: what is refused is one line.
        say(f"training on {counted(num_workers if use_gpu else cpus * num_workers, kind)}")
        if available["GPU"] and not use_gpu:
            say(f"warning: {counted(available['GPU'], 'GPU')} not used; --device cuda uses it")
        say_lent()
        with leased(cpus * num_workers):
            run_workers(
                partial(train_worker, training, cpus),
                training.out,
                WorkerResources(num_workers, cpus, float(use_gpu)),
                on_epoch,
            )
    return read_run(out)


def run_workers(
    worker: Callable[[], Any],
    out: Path,
    share: WorkerResources,
    on_epoch: Callable[[EpochRecord], None],
    *,
    trainer: Callable[..., Any] | None = None,
    callbacks: Sequence[Any] = (),
) -> None:
    """Run the workers of one training under Ray Train, and wait for their end.

    Ray waits forever for a share that is not there. `on_epoch` is called in a thread of this
    process soon after every epoch.

    Raises:
        InputError: If a worker found a mistake of the user's.
        OSError: If that is what the workers met each time they were started.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from hmtas.cluster.reports import listen_to_epochs

    scratch = out / SCRATCH
    needed = {"CPU": float(share.cpus)} | ({"GPU": share.gpus} if share.gpus else {})
    try:
        with listen_to_epochs(out, on_epoch) as callback:
            made = (trainer or TorchTrainer)(
                worker,
                scaling_config=ScalingConfig(
                    num_workers=share.num_workers,
                    use_gpu=share.gpus > 0,
                    resources_per_worker=needed,
                ),
                run_config=RunConfig(
                    name="train",
                    storage_path=str(scratch),
                    failure_config=FailureConfig(max_failures=MAX_FAILURES),
                    callbacks=[callback, *callbacks],  # type: ignore[list-item]  # V1's hint
                ),
            )
            made.fit()
            if (scratch / INPUT_ERROR).is_file():
                raise InputError((scratch / INPUT_ERROR).read_text(encoding="utf-8"))
    except Exception as error:
        raise _reason_of(error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            out.rmdir()  # where nothing else is in it: a run that failed leaves no empty folder


def check_workers(num_workers: int, kind: str, available: float) -> None:
    """Refuse more workers than there are CPUs or GPUs: Ray would wait forever.

    Raises:
        InputError: If there are fewer.
    """
    if kind == "GPU" and available < 1:
        raise InputError("--device cuda: there is no GPU; use --device cpu")
    if num_workers > available:
        raise InputError(
            f"--workers {num_workers}: each worker needs a {kind} and there are {int(available)}; "
            "use fewer workers, or a cluster with --address"
        )


def train_worker(training: Training, num_threads: int) -> bool:
    """What one worker of Ray Train does; False, if the loss was not finite."""
    import ray.train
    import torch
    from ray.train.torch import get_device, prepare_model
    from torch import distributed

    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(num_threads)

    def agree(decision: bool) -> bool:
        if size == 1:
            return decision
        flag = torch.tensor([int(decision)], device=get_device())
        distributed.broadcast(flag, src=0)
        return bool(flag.item())

    def report(entry: EpochRecord) -> None:
        ray.train.report(entry.model_dump(mode="json"))

    try:
        fit(
            training.store,
            training.config,
            training.out,
            name=training.name,
            preset=training.preset,
            report=report,
            device=get_device(),
            parallel=Parallel(rank, size, wrap=prepare_model, agree=agree),
            stop_after=training.stop_after,
        )
    except InputError as error:
        # The others may wait for this one: only a failure ends them, unless all are here.
        if size > 1 and not isinstance(error, DivergedError):
            raise
        if rank == 0:
            # A failure would be tried again, in vain; the driver finds the words here.
            write_text(training.out / SCRATCH / INPUT_ERROR, str(error))
        return False
    return True


def describe_epoch(entry: EpochRecord, config: Config) -> str:
    """One line on an epoch of a training for the terminal."""
    words = [f"epoch {entry.epoch}: train loss {entry.train_loss:.4f}"]
    if entry.val_loss is not None and entry.tight is not None:
        words.append(f"validation loss {entry.val_loss:.4f}")
        words.append(f"tight Average-mAP {100 * entry.tight:.2f} %")
        if entry.loose is not None:
            words.append(f"loose {100 * entry.loose:.2f} %")
    unit = "steps" if config.model.labels_steps else "windows"
    words.append(f"{entry.windows / max(entry.seconds, 1e-9):,.0f} {unit}/s")
    return ", ".join(words)


def _reason_of(error: BaseException) -> BaseException:
    """What Ray wrapped: the user's mistake, or what the system refused, before a fault of ours."""
    from hmtas.cluster.ray_private import original_error

    seen = [error]
    for found in seen:
        inner = [*getattr(found, "worker_failures", {}).values(), original_error(found)]
        inner += [getattr(found, "cause", None), found.__cause__, found.__context__]
        seen += [one for one in inner if one is not None and one not in seen]
    seen.sort(key=lambda one: type(one).__module__.startswith("ray."))  # its wrappers come last
    told = (one for one in seen if isinstance(one, InputError | OSError) or explain(one))
    return next(told, seen[0])
