"""One Ray for all tests that need one: two on a machine disturb each other's clean-up."""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hmtas.cluster.session import ENVIRONMENT, OBJECT_STORE_BYTES
from tests.support.s3 import ENVIRONMENT as S3_ENVIRONMENT
from tests.support.tracked import copy_database, free_port

if TYPE_CHECKING:
    from hmtas.store.local import EmbeddingStore

# Where the tests run in the background of a shell, Ctrl-C is ignored, and by what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Ray reads these when it is imported. The token: Ray would write one into the home folder.
os.environ.update(
    {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",  # else what works beside the tests makes them wait
        **ENVIRONMENT,
    }
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests that need Ray, when several share the tests."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Ray with 2 CPUs on this machine; its address, for processes that join it."""
    import ray

    # Its workers keep the environment of its start: keys of a service and a cache of their own.
    os.environ.update(S3_ENVIRONMENT, HMTAS_CACHE=str(tmp_path_factory.mktemp("cache")))

    context = ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield str(context.address_info["address"])
    ray.shutdown()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> "EmbeddingStore":
    """A small packed season, for tests that leave it as it is."""
    from tests.support.small import make_store  # and numpy, which reads OMP_NUM_THREADS

    return make_store(tmp_path_factory.mktemp("season"))


@pytest.fixture
def mlflow_store(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty MLflow store for this test alone, which child processes use too."""
    uri = copy_database(tmp_path_factory, tmp_path / "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture
def mlflow_server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with a registry, on an empty database of its own."""
    uri = copy_database(tmp_path_factory, tmp_path / "server")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", uri, "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "server" / "artifacts")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=20)
