"""One Ray for all tests that need one: two on a machine disturb each other's clean-up."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3 import ENVIRONMENT as S3_ENVIRONMENT
from tracked import copy_database

from hmtas.cluster import ENVIRONMENT, OBJECT_STORE_BYTES

# Ray reads these when it is imported. The token: Ray would write one into the home folder.
os.environ.update(
    {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "OMP_NUM_THREADS": "1",
        **ENVIRONMENT,
    }
)


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


@pytest.fixture
def mlflow_store(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty MLflow store for this test alone, which child processes use too."""
    uri = copy_database(tmp_path_factory, tmp_path / "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return os.environ["MLFLOW_TRACKING_URI"]
