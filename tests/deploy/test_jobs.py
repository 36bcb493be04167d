"""`ray job submit` runs the command of one machine on `ray start --head` and a joined node."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hmtas.cluster.session import OBJECT_STORE_BYTES
from hmtas.runs.record import predictions_path
from tests.support.small import make_store
from tests.support.tracked import copy_database
from tune.study.record import read_study

pytestmark = pytest.mark.ray

RAY = Path(sys.executable).parent / "ray"


class Head(NamedTuple):
    address: str  # of the cluster
    dashboard: str  # where jobs are submitted
    environment: dict[str, str]


@pytest.fixture
def head(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head and a node that joined it, one CPU each, as two commands start them by hand."""
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": copy_database(tmp_path_factory, tmp_path / "mlflow"),
        "RAY_TMPDIR": "/tmp",  # its sockets' paths are limited to a hundred characters
    }
    for name in ("RAY_ADDRESS", "RAY_CURRENT_CLUSTER"):
        environment.pop(name, None)
    ports = free_ports(4)
    address, dashboard = (f"127.0.0.1:{port}" for port in ports[:2])
    node = ["start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
    node += [f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"]
    first = [*node, "--head", f"--port={ports[0]}", "--include-dashboard=true"]
    first += [f"--dashboard-port={ports[1]}", f"--dashboard-agent-listen-port={ports[2]}"]
    second = [*node, f"--address={address}", f"--dashboard-agent-listen-port={ports[3]}"]
    with contextlib.ExitStack() as stack:
        for words, port in ((first, ports[1]), (second, ports[3])):
            stack.enter_context(running([str(RAY), *words], environment, tmp_path / "ray.log"))
            wait_for_port(port, tmp_path / "ray.log")
        yield Head(address, f"http://{dashboard}", environment)


@contextlib.contextmanager
def running(words: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A command in a session of its own, which ends with it: `ray stop` would end every Ray."""
    with log.open("a") as file:
        process = subprocess.Popen(
            words, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_ports(num: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]


def wait_for_port(port: int, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on {port}: {log.read_text()}")


@pytest.mark.slow
def test_a_sweep_is_submitted_as_a_job(head: Head, tmp_path: Path) -> None:
    store = make_store(tmp_path / "season")
    command = [sys.executable, "-m", "hmtas", "tune", "model", str(store.path), "--name", "s"]
    command += ["--out", str(tmp_path), "--address", "auto", "--trials", "2", "--concurrent", "2"]
    command += ["--preset", "smoke", "--max-epochs", "2", "--top", "0", "--pruner", "none"]
    command += ["--set", "width=8", "--set", "num_heads=2"]
    words = [str(RAY), "job", "submit", "--address", head.dashboard, "--", *command]
    done = subprocess.run(
        words, env=head.environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Job '\w+' succeeded", done.stdout)
    assert "2 trials, 2 at a time with 1 CPU each" in done.stdout, "one of them on the node"
    study = read_study(tmp_path / "s")
    assert study.status == "done"
    assert [row.status for row in study.trials] == ["done", "done"]
    assert all(predictions_path(tmp_path / "s" / row.run, "valid").is_file()
               for row in study.trials)  # fmt: skip
