"""Whether a cluster holds the trials of a study; `hmtas.cluster.session` starts or joins it."""

from hmtas.cluster import session
from hmtas.errors import InputError
from hmtas.terminal.text import counted
from hmtas.training.games import shard
from tune.study.settings import Load


def check_workers(num_workers: int, gpus: float, num_games: int) -> None:
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
    cpus, gpus = load.cpus_per_trial, load.gpus_per_trial
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
