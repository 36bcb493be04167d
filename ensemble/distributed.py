"""Ray Train around the learned fusion: several processes share the rows of every batch.

FOLDER/.fusion.*.part/rows.safetensors     what they fit on, written once and mapped by each
FOLDER/.fusion.*.part/fusion.safetensors   what came of it, by the first of them
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.fusion import FittedFusion, FusionConfig, fit_rows
from ensemble.fusion_rows import lay_out, load_material, save_material
from ensemble.learned import FUSION, Learned
from ensemble.network import load_fusion, save_fusion
from ensemble.plan import Plan
from ensemble.team import Team
from hmtas.cluster import ray_session, resources
from hmtas.distributed import MISTAKE, SCRATCH, Share, check_workers, run_workers
from hmtas.errors import DivergedError, InputError
from hmtas.files import read_json, write_json, write_text
from hmtas.records import Events, HalfId
from hmtas.runs import EpochRecord

ROWS = "rows.safetensors"
FACTS = "facts.json"


@contextlib.contextmanager
def with_workers(
    plan: Plan,
    folder: Path,
    num_workers: int = 1,
    *,
    use_gpu: bool = False,
    address: str | None = None,
) -> Iterator[Plan]:
    """The plan, with its learned fusions fitted by several processes while the block runs.

    One worker without a GPU and without a cluster is this process, and Ray is not started.

    Args:
        plan: What is to be fitted.
        folder: For files while a fit runs; on a cluster, one that all its nodes see.
        num_workers: Processes that fit one network together.
        use_gpu: A GPU for each of them.
        address: Of a running Ray cluster; None starts one on this machine.

    Raises:
        InputError: If there are fewer processors or GPUs than workers, or nothing for them to do.
    """
    if num_workers == 1 and not use_gpu and address is None:
        yield plan
        return
    if not any(isinstance(combiner, Learned) for combiner in plan.combiners.values()):
        raise InputError(
            f"--workers {num_workers}: {', '.join(plan.combiners)} is fitted in one process; only "
            "learned fusions use workers, a GPU or a cluster; leave out --workers, --gpu, --address"
        )
    if address is None:
        check_workers(num_workers, "CPU", os.cpu_count() or 1)
    with ray_session(address):
        kind = "GPU" if use_gpu else "CPU"
        check_workers(num_workers, kind, resources().get(kind, 0))
        share = Share(num_workers, 1, float(use_gpu))  # a process computes in one thread
        fit = partial(fit_on_workers, folder=folder, share=share)
        device = "cuda" if use_gpu else "cpu"
        yield replace(
            plan,
            combiners={
                name: replace(combiner, fit_network=fit, num_workers=num_workers, device=device)
                if isinstance(combiner, Learned)
                else combiner
                for name, combiner in plan.combiners.items()
            },
        )


def fit_on_workers(
    halves: Mapping[HalfId, np.ndarray],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    config: FusionConfig,
    *,
    folder: Path,
    share: Share,
    rate_hz: float = 1.0,
    on_epoch: Callable[[], None] | None = None,
) -> FittedFusion:
    """`ensemble.fusion.fit_fusion` under Ray Train.

    A worker that dies is replaced, and the fit begins again.

    Args:
        halves: As there, like all that follow.
        events: Annotations.
        actions: A names.
        config: Network and training.
        folder: For files that all workers see; they are removed at the end.
        share: The workers, and what each takes.
        rate_hz: Rows per second.
        on_epoch: Called in a thread of this process soon after every epoch.

    Raises:
        InputError: As `fit_fusion`.
    """
    step = on_epoch or (lambda: None)
    num_heard = 0

    def hear_epoch(entry: EpochRecord) -> None:
        nonlocal num_heard
        num_heard += 1
        step()

    material = lay_out(halves, events, actions, config, rate_hz)
    num_models = material.num_models
    scratch = folder.absolute() / f".fusion.{uuid.uuid4().hex[:8]}.part"
    is_new = not folder.exists()
    try:
        save_material(scratch / ROWS, material)
        held_out_games = material.held_out_games
        del material  # the workers map the file
        settings = {
            "out": str(scratch),
            "config": config.model_dump(mode="json"),
            "actions": list(actions),
        }
        run_workers(fusion_worker, settings, share, hear_epoch)
        facts = read_json(scratch / FACTS)
        model, _ = load_fusion(scratch / FUSION, num_models, actions)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
    for _ in range(num_heard, config.epochs):  # saved by stopping
        step()
    return FittedFusion(
        model, facts["epochs"], facts["best_epoch"], held_out_games, facts["held_out_loss"]
    )


def fusion_worker(settings: dict[str, Any]) -> bool:
    """What one worker of Ray Train does; False, if the loss was not finite."""
    import ray.train
    from ray.train.torch import get_device
    from torch import distributed

    def report(entry: EpochRecord) -> None:
        ray.train.report(entry.model_dump(mode="json"))

    context = ray.train.get_context()
    scratch = Path(settings["out"])
    config = FusionConfig.model_validate(settings["config"])
    team = Team(
        rank=context.get_world_rank(),
        size=context.get_world_size(),
        add_up=distributed.all_reduce,
        device=get_device(),
        report=report,
    )
    material = load_material(scratch / ROWS)
    try:
        fitted = fit_rows(material, config, team=team)
    except DivergedError as error:
        # All workers are here. A failure would be tried again, in vain; the driver finds the words.
        if team.rank == 0:
            write_text(scratch / SCRATCH / MISTAKE, str(error))
        return False
    if team.rank == 0:
        facts = fitted._asdict()
        del facts["model"], facts["held_out_games"]
        save_fusion(
            scratch / FUSION, fitted.model, config, material.num_models, settings["actions"]
        )
        write_json(scratch / FACTS, facts)
    return True
