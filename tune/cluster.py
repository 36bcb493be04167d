"""Whether a cluster holds the trials of a study; `hmtas.cluster` starts or joins it."""

from hmtas.cluster import resources
from hmtas.errors import InputError
from tune.record import Load


def check_resources(load: Load) -> int:
    """How many trials run at once: as many as asked for, which the cluster must hold.

    Ray itself would wait for ever, in silence, for CPUs that do not come.

    Raises:
        InputError: If the trials need more CPUs or GPUs than there are.
    """
    have = resources()
    cpus, gpus = load.cpus_per_trial, load.gpus_per_trial
    have_cpus, have_gpus = int(have.get("CPU", 0)), have.get("GPU", 0.0)
    fits = have_cpus // cpus
    if gpus > 0:
        fits = min(fits, int(have_gpus / gpus))
    wanted = max(1, fits) if load.concurrent is None else load.concurrent
    if wanted > fits:
        need = f"{wanted} x {cpus} = {wanted * cpus} CPUs"
        need += f" and {wanted * gpus:g} GPUs" if gpus > 0 else ""
        raise InputError(
            f"{wanted} trials at once with {cpus} CPUs each need {need}, "
            f"Ray has {have_cpus} CPUs and {have_gpus:g} GPUs; "
            f"lower --concurrent or --cpus-per-trial (at most {fits} fit)"
        )
    return wanted
