"""A Ray to work on: one of our own on this machine, or a running cluster."""

import contextlib
import logging
import os
from collections.abc import Iterator

from hmtas.cluster.leases import lending
from hmtas.errors import InputError, first_line

OBJECT_STORE_BYTES = 200 * 2**20  # workers pass paths, not arrays
# Read by Ray when it starts.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # A process for each training that tells its workers of a node's end; ours do not ask.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Tune's old output is silent when told to be.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune writes neither CSV, JSON and TensorBoard files per trial, nor snapshots of itself:
    # study.json has all that a new driver needs.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@contextlib.contextmanager
def ray_session(
    address: str | None = None, *, dashboard: bool = False, threads: int = 1
) -> Iterator[None]:
    """Start or join Ray for the length of a block; a Ray that this process runs already is used.

    Args:
        address: Address of a running cluster; None starts one on this machine.
        dashboard: Start Ray's own pages with it, on loopback.
        threads: OMP threads of a worker on this machine.

    Raises:
        InputError: If no cluster answers at `address`.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import ray
    from joblib import cpu_count

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    num_cpus = cpu_count()  # those that a container's quota leaves, too
    with contextlib.nullcontext() if address else lending(num_cpus):
        _start(address, num_cpus, dashboard=dashboard)
        try:
            yield
        finally:
            ray.shutdown()


def _start(address: str | None, num_cpus: int, *, dashboard: bool) -> None:
    import ray

    try:
        if address is None:
            # "local": a Ray that someone else left running on this machine is not ours to use.
            ray.init(
                address="local",
                num_cpus=num_cpus,
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
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({first_line(error)}); "
            "start one with `ray start --head` or `ray up cluster.yaml`"
        ) from None


def node_resources() -> list[dict[str, float]]:
    """CPU and GPU of each node that is there."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def resources() -> dict[str, float]:
    """CPUs and GPUs of the whole cluster."""
    return {kind: sum(n.get(kind, 0.0) for n in node_resources()) for kind in ("CPU", "GPU")}


def num_fitting(cpus: int, gpus: float = 0.0) -> int:
    """How many tasks of this size run at once; each lies on one node.

    Raises:
        InputError: If they need GPUs and there are none.
    """
    if gpus > 0 and not resources()["GPU"]:
        raise InputError(
            f"--gpus {gpus:g}: Ray has no GPU; use --gpus 0, or a cluster with --address"
        )
    fits = 0
    for node in node_resources():
        by_cpu = int(node.get("CPU", 0.0)) // cpus
        fits += min(by_cpu, int(node.get("GPU", 0.0) / gpus)) if gpus > 0 else by_cpu
    return fits
