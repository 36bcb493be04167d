"""Ray Train around `fit`: one or more workers, each with games of its own."""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hmtas.begin import begin_run, plan_games, shard
from hmtas.cluster import ray_session, resources
from hmtas.config import Config
from hmtas.console import copy_ahead
from hmtas.errors import DivergedError, InputError
from hmtas.files import write_text
from hmtas.fit import Parallel, fit
from hmtas.remote import open_store
from hmtas.runs import RECORD, EpochRecord, RunRecord, read_run

MAX_FAILURES = 3  # a worker that dies is replaced, and goes on after the last complete epoch
SCRATCH = ".ray"  # in the run folder, while Ray Train runs
MISTAKE = "mistake.txt"
WATCH_S = 0.5


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
    """Train one model with Ray Train; see `hmtas.fit.fit` for what it writes.

    Every worker reads its own games of the memory-mapped store. A worker that dies is replaced,
    and the training goes on after its last complete epoch.

    Args:
        store: Path or address of the store.
        config: What to train.
        out: Run folder; on a cluster, one that all its nodes see.
        name: Name of the run.
        preset: The preset that `config` came from, for the record.
        num_workers: Processes that train together.
        use_gpu: A GPU for each of them.
        address: Of a running Ray cluster; None starts one on this machine.
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
    if address is None and num_workers > local_cpus:
        raise _too_many(num_workers, "CPU", local_cpus)
    if address is None:  # the nodes of a cluster copy what they train on themselves
        copy_ahead(opened, [*games.fitted, *games.stopped])
    settings = {
        "store": opened,
        "config": config.model_dump(mode="json"),
        "out": str(out.absolute()),
        "name": name,
        "preset": preset,
        "stop_after": stop_after,
    }
    with ray_session(address, threads=max(1, local_cpus // num_workers)), _watch(out, on_epoch):
        _run_workers(settings, out, num_workers, use_gpu)
    return read_run(out)


def _run_workers(settings: dict[str, Any], out: Path, num_workers: int, use_gpu: bool) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    kind = "GPU" if use_gpu else "CPU"
    available = resources()
    if num_workers > available.get(kind, 0):
        raise _too_many(num_workers, kind, int(available.get(kind, 0)))
    cpus = max(1, int(available["CPU"]) // num_workers)
    scratch = out.absolute() / SCRATCH
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={**settings, "num_threads": cpus},
        scaling_config=ScalingConfig(
            num_workers=num_workers, use_gpu=use_gpu, resources_per_worker={kind: 1, "CPU": cpus}
        ),
        run_config=RunConfig(
            name="train",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
        if (scratch / MISTAKE).is_file():
            raise InputError((scratch / MISTAKE).read_text(encoding="utf-8"))
    except Exception as error:
        raise _input_error(error) or error from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            out.rmdir()  # where nothing else is in it: a run that failed leaves no empty folder


def _too_many(num_workers: int, kind: str, available: int) -> InputError:
    return InputError(
        f"--workers {num_workers}: each worker needs a {kind} and there are {available}; "
        "use fewer workers, or a cluster with --address"
    )


@contextlib.contextmanager
def _watch(out: Path, on_epoch: Callable[[EpochRecord], None]) -> Iterator[None]:
    """Hear of epochs through the record that rank 0 writes, wherever it runs."""
    ended = threading.Event()
    seen = len(read_run(out).history) if (out / RECORD).is_file() else 0

    def look() -> None:
        nonlocal seen
        if (out / RECORD).is_file():
            for entry in read_run(out).history[seen:]:
                on_epoch(entry)
                seen = entry.epoch

    def watch() -> None:
        while not ended.wait(WATCH_S):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        look()


def train_worker(settings: dict[str, Any]) -> None:
    """What one worker of Ray Train does."""
    import ray.train
    import torch
    from ray.train.torch import get_device, prepare_model
    from torch import distributed

    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(settings["num_threads"])

    def agree(decision: bool) -> bool:
        if size == 1:
            return decision
        flag = torch.tensor([int(decision)], device=get_device())
        distributed.broadcast(flag, src=0)
        return bool(flag.item())

    def report(entry: EpochRecord, best: dict[str, float]) -> None:
        ray.train.report({"train_loss": entry.train_loss, **best})

    try:
        fit(
            settings["store"],
            Config.model_validate(settings["config"]),
            Path(settings["out"]),
            name=settings["name"],
            preset=settings["preset"],
            report=report,
            device=get_device(),
            parallel=Parallel(rank, size, wrap=prepare_model, agree=agree),
            stop_after=settings["stop_after"],
        )
    except InputError as error:
        # The others may wait for this one: only a failure ends them, unless all are here.
        if size > 1 and not isinstance(error, DivergedError):
            raise
        if rank > 0:
            return
        # A failure would be tried again, in vain; the driver finds the words here.
        write_text(Path(settings["out"]) / SCRATCH / MISTAKE, str(error))


def describe_epoch(entry: EpochRecord) -> str:
    """One line for the person who waits."""
    words = [f"epoch {entry.epoch}: train loss {entry.train_loss:.4f}"]
    if entry.val_loss is not None and entry.tight is not None:
        words.append(f"validation loss {entry.val_loss:.4f}")
        words.append(f"tight Average-mAP {100 * entry.tight:.2f} %")
    words.append(f"{entry.windows / max(entry.seconds, 1e-9):,.0f} windows/s")
    return ", ".join(words)


def _input_error(error: BaseException) -> InputError | None:
    """The user's mistake inside what Ray raised, if that is what it was."""
    seen: list[BaseException | None] = [error]
    for found in seen:
        if isinstance(found, InputError):
            return found
        if found is not None:
            seen += [found.__cause__, found.__context__, getattr(found, "cause", None)]
            seen += list(getattr(found, "worker_failures", {}).values())
            seen += [getattr(found, "_base_exc", None)]
        if len(seen) > 50:
            break
    return None
