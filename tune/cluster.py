"""A Ray to work on: one of our own on this machine, or a running cluster."""

import contextlib
import logging
import os
from collections.abc import Iterator

import ray

from hmtas.errors import InputError
from tune.record import Load

OBJECT_STORE_BYTES = 200 * 1024**2  # trials pass paths, not arrays
# Read by Ray when it starts. Loggers: Tune would write CSV, JSON and TensorBoard per trial.
# Snapshots: finished trials are not run again after a crash, up to the last one.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "2",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


@contextlib.contextmanager
def ray_session(
    address: str | None = None, *, dashboard: bool = False, threads: int = 1
) -> Iterator[None]:
    """Start or join Ray for the length of a block; one that is already running is used as it is.

    Args:
        address: Of a running cluster; None starts one on this machine.
        dashboard: Start Ray's own pages with it.
        threads: OMP threads of a worker on this machine.

    Raises:
        InputError: If no cluster answers at `address`.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    try:
        if address is None:
            # "local": a Ray that someone else left running on this machine is not ours to use.
            ray.init(
                address="local",
                include_dashboard=dashboard,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        if address is None:
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"--address {address}: no Ray cluster answers there ({reason})") from None
    try:
        yield
    finally:
        ray.shutdown()


def check_resources(load: Load) -> int:
    """How many trials run at once: as many as asked for, which the cluster must hold.

    Ray itself would wait for ever, in silence, for CPUs that do not come.

    Raises:
        InputError: If the trials need more CPUs or GPUs than there are.
    """
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
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
