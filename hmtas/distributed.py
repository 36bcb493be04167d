"""Ray around the plain code: a Ray to run on, and Ray Train around `fit`."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from hmtas.begin import begin_run, plan_games, shard
from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.fit import Parallel, fit
from hmtas.runs import EpochRecord, RunRecord, read_run
from hmtas.store import EmbeddingStore

OBJECT_STORE_BYTES = 200 * 2**20  # embeddings are mapped files; nothing large goes through Ray
MAX_FAILURES = 3  # a worker that dies is replaced, and goes on after the last complete epoch


def start_ray(address: str | None = None, *, num_cpus: int | None = None) -> None:
    """Connect to a cluster, or start Ray on this machine. Does nothing where Ray runs already.

    Args:
        address: Of a running cluster, such as `auto`; None starts Ray here.
        num_cpus: Processors that a local Ray may use; None for all of them.

    Raises:
        InputError: If no cluster answers at `address`.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    # The coming behaviour of Ray, chosen now so that it does not warn of it in every worker.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        ray.init(
            num_cpus=num_cpus,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=True,
        )
        return
    try:
        ray.init(address=address, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({str(error).splitlines()[0]}); "
            "start one with `ray start --head` or `ray up cluster.yaml`"
        ) from None


def train(
    store: Path,
    config: Config,
    out: Path,
    *,
    name: str,
    preset: str | None = None,
    num_workers: int = 1,
    use_gpu: bool = False,
    address: str | None = None,
) -> RunRecord:
    """Train one model with Ray Train; see `hmtas.fit.fit` for what it writes.

    Every worker reads its own games of the memory-mapped store. A worker that dies is replaced,
    and the training goes on after its last complete epoch.

    Raises:
        InputError: If there are fewer processors or GPUs than workers, or `fit` would refuse.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # What `fit` would refuse is refused here, before any worker starts.
    opened = EmbeddingStore.open(store)
    games = plan_games(opened, config.train)
    if begin_run(opened, config, games, out, name=name, preset=preset).status == "done":
        return read_run(out)
    shard(games.fitted, 0, num_workers)
    start_ray(address)
    kind = "GPU" if use_gpu else "CPU"
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    available = int(resources.get(kind, 0))
    if num_workers > available:
        raise InputError(
            f"--workers {num_workers}: each worker needs a {kind} and there are {available}; "
            "use fewer workers, or a cluster with --address"
        )
    cpus = max(1, int(resources["CPU"]) // num_workers)
    scratch = out.absolute() / ".ray"
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "store": str(store.absolute()),
            "config": config.model_dump(mode="json"),
            "out": str(out.absolute()),
            "name": name,
            "preset": preset,
            "num_threads": cpus,
        },
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
    except Exception as error:
        raise _input_error(error) or error from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return read_run(out)


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
        if rank == 0:
            print(describe_epoch(entry), flush=True)  # Ray forwards it to the terminal
        ray.train.report({"train_loss": entry.train_loss, **best})

    fit(
        EmbeddingStore.open(Path(settings["store"])),
        Config.model_validate(settings["config"]),
        Path(settings["out"]),
        name=settings["name"],
        preset=settings["preset"],
        report=report,
        device=get_device(),
        # BatchNorm stays per worker, as torch synchronises it on GPUs only; DDP gives every
        # worker the running statistics of rank 0, which are those that are stored.
        parallel=Parallel(rank, size, wrap=prepare_model, agree=agree),
    )


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
