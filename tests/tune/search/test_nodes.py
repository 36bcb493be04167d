"""A sweep and a training on three nodes end as they should where one goes in their midst."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from benchmarks.faults import Sweep, check_end, check_mlflow, make_store
from hmtas.cluster.session import OBJECT_STORE_BYTES
from hmtas.files import write_json
from hmtas.runs.record import read_run
from tests.hmtas.cluster.test_failures import parent_of, wait_for_epoch, workers
from tests.support import small
from tests.support.tracked import copy_database

pytestmark = [pytest.mark.ray, pytest.mark.slow]


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
    # Long trials, none stopped: the first must still run when the third has begun.
    write_json(tmp_path / "space.json", {"kind": "hierarchy"})
    extra = ("--pruner", "none", "--max-epochs", "40", "--set", "patience=40")
    extra += ("--space", str(tmp_path / "space.json"))
    sweep = Sweep(tmp_path / "sweep", store, cluster.address, uri, concurrent=3, extra=extra)
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
    assert {row.error for row in sweep.rows()} == {None}


def test_a_training_survives_a_node(
    cluster: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two workers train on; what they had of the running epoch is all that is lost."""
    store, config = small.make_store(tmp_path), small.make_config(max_epochs=12, patience=12)
    write_json(tmp_path / "config.json", config.model_dump(mode="json"))
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": copy_database(tmp_path_factory, tmp_path / "mlflow"),
    }

    def start(name: str) -> "subprocess.Popen[str]":
        words = ["train", store.path, "--config", tmp_path / "config.json"]
        words += ["--out", tmp_path / name, "--workers", "2", "--device", "cpu"]
        command = [sys.executable, "-m", "hmtas", *words, "--address", cluster.address]
        return subprocess.Popen(list(map(str, command)), env=environment, stderr=PIPE, text=True)

    disturbed = start("disturbed")
    wait_for_epoch(tmp_path / "disturbed", 1)
    hosts = {parent_of(worker) for worker in workers()}
    node = next(n for n in cluster.worker_nodes if raylet_of(n) in hosts)
    cluster.remove_node(node, allow_graceful=False)
    before = read_run(tmp_path / "disturbed")
    assert before.status == "running", "the node went too late"
    _, said = disturbed.communicate(timeout=400)
    assert disturbed.returncode == 0, said
    assert said.count("epoch 1:") == said.count("epoch 12:") == 1
    record = read_run(tmp_path / "disturbed")
    assert record.history[: len(before.history)] == before.history
    whole = start("whole")
    _, said = whole.communicate(timeout=400)
    assert whole.returncode == 0, said
    assert record.weights_sha256 == read_run(tmp_path / "whole").weights_sha256


def raylet_of(node: Any) -> int:
    """The process that stands for a node of `Cluster`."""
    (raylet,) = node.all_processes["raylet"]
    return int(raylet.process.pid)
