"""A sweep on three nodes ends with every trial, also where one of them goes in its midst."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from tracked import copy_database

from benchmarks.faults import Sweep, check_end, check_mlflow, make_store
from hmtas.cluster import OBJECT_STORE_BYTES

pytestmark = pytest.mark.ray


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head and two workers on this machine, one CPU each."""
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(2):
        found.add_node(**node)
    yield found
    found.shutdown()


def test_a_sweep_survives_a_node(
    cluster: Cluster,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = copy_database(tmp_path_factory, tmp_path / "sweep")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store = make_store(tmp_path)
    sweep = Sweep(tmp_path / "sweep", store, cluster.address, uri, concurrent=3)
    sweep.start()
    until = time.monotonic() + 90
    while len(sweep.writers()) < 3 and time.monotonic() < until and sweep.driver.is_alive():
        time.sleep(0.02)
    assert len(sweep.writers()) == 3, sweep.log.read_text()
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert sweep.wait() == 0, sweep.log.read_text()
    assert "broke down and is started again" in sweep.log.read_text()
    assert check_end(sweep) == []
    assert check_mlflow(sweep) == []
    rows = json.loads((sweep.folder / "study.json").read_text())["trials"]
    assert {row["error"] for row in rows} == {None}
