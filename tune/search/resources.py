"""What the trials of a study take of a cluster, and whether it holds them."""

from collections.abc import Iterator

from hmtas.cluster import session
from hmtas.cluster.gpus import gpu_share
from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.text import counted
from hmtas.training.games import shard
from hmtas.training.memory import training_bytes
from tune.space.dimensions import nearest_point, settings_of_point
from tune.space.file import KIND
from tune.study.settings import Load, StudySettings

# What decides the memory of a training: the most of each.
LARGE = dict.fromkeys(
    ("model.width", "model.num_layers", "train.batch_size", "train.seq_len",
     "train.context.context_s", "model.output_rate_hz"), 1e9
)  # fmt: skip


def settled(load: Load, settings: StudySettings, store: EmbeddingStore) -> Load:
    """What each trial takes of the Ray that is up: of a GPU too, where there is one."""
    gpus = gpu_share(
        lambda: max(training_bytes(store, config) for config in largest(settings)),
        workers=settings.workers_per_trial,
        at_once=load.concurrent and min(load.concurrent, settings.num_trials),
        asked_for=load.gpus_per_trial,
    )
    return load.model_copy(update={"gpus_per_trial": gpus})


def largest(settings: StudySettings) -> Iterator[Config]:
    """The largest model and batch of a space, of each kind."""
    space, base = settings.space, settings.base
    for kind in space.values_of(KIND) or [base.model.kind]:
        point = nearest_point(base, space, {**LARGE, KIND: kind})
        yield base.updated(settings_of_point(point, space))


def check_workers(num_workers: int, gpus: float | None, num_games: int) -> None:
    """Refuse what no trial could do.

    Raises:
        InputError: If there are more workers than games to fit, or they would share a GPU.
    """
    if num_workers == 1:
        return
    shard([""] * num_games, 0, num_workers)
    if gpus and gpus != int(gpus):
        raise InputError(
            f"--gpus {gpus:g}: each of {num_workers} workers needs whole GPUs of its "
            "own, as they cannot exchange gradients on one; give 1, or --workers 1"
        )


def check_resources(load: Load, workers: int = 1) -> int:
    """How many trials run at once: as many as asked for, which the cluster must hold.

    Ray itself would wait forever, in silence, for CPUs that do not come. The workers of a trial
    may be on several nodes; its own process takes no CPU.

    Raises:
        InputError: If the trials need more CPUs or GPUs than there are.
    """
    cpus, gpus = load.cpus_per_trial, load.gpus_per_trial or 0.0
    fits = session.num_fitting(cpus, gpus) // workers
    wanted = max(1, fits) if load.concurrent is None else load.concurrent
    if wanted > fits:
        have, num_nodes = session.resources(), len(session.node_resources())
        each, product, option = f"{counted(cpus, 'CPU')} each", f"{wanted} x {cpus}", ""
        if workers > 1:
            each = f"{workers} workers of {counted(cpus, 'CPU')} each"
            product = f"{wanted} x {workers} x {cpus}"
            option = ", --workers"
        need = f"{product} = {counted(wanted * workers * cpus, 'CPU')}"
        need += f" and {counted(wanted * workers * gpus, 'GPU')}" if gpus > 0 else ""
        on_nodes = f" on {num_nodes} nodes" if num_nodes > 1 else ""
        raise InputError(
            f"{counted(wanted, 'trial')} at once with {each} would take {need}, "
            f"Ray has {counted(have['CPU'], 'CPU')} and {counted(have['GPU'], 'GPU')}{on_nodes}; "
            f"lower --concurrent{option}, --cpus or --gpus (at most {fits} fit)"
        )
    return wanted
