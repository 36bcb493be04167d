"""Training survives: a killed worker, a killed driver, a killed process, a full disk."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from hmtas.cluster.workers import SCRATCH, WorkerResources, run_workers, train
from hmtas.files import write_json
from hmtas.refusals import explain, internal
from hmtas.runs.record import RECORD, RunRecord, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.paths import ROOT
from tests.support.small import make_config

CONFIG = make_config(max_epochs=4, patience=4)
# Trains the run of CONFIG in a process of its own.
SCRIPT = """
import resource
import sys
from pathlib import Path
from hmtas.errors import InputError
from hmtas.training.loop import fit
from hmtas.store.local import EmbeddingStore
from tests.support.small import make_config
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    fit(EmbeddingStore.open(Path(sys.argv[1])), make_config(max_epochs=4, patience=4),
        Path(sys.argv[2]), name="run")
except InputError as error:
    sys.exit(str(error))
"""


def start(store: EmbeddingStore, run: Path, most_bytes: int = -1) -> "subprocess.Popen[str]":
    """Train in a process that may write files of so many bytes; -1 is no limit."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store.path), str(run), str(most_bytes)],
        cwd=ROOT, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_epoch(run: Path, epoch: int, limit_s: float = 400) -> None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if (run / RECORD).is_file() and len(read_run(run).history) >= epoch:
            return
        time.sleep(0.01)
    raise AssertionError(f"no epoch {epoch} within {limit_s} s")


def test_a_process_killed_at_any_point_loses_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    whole = fit(store, CONFIG, tmp_path / "whole", name="run")
    run = tmp_path / "killed"
    for epoch, more_s in ((1, 0.0), (2, 0.03), (3, 0.01)):
        process = start(store, run)
        wait_for_epoch(run, epoch)
        time.sleep(more_s)
        process.kill()
        process.communicate()
    resumed = fit(store, CONFIG, run, name="run")
    assert resumed.weights_sha256 == whole.weights_sha256
    assert [e.train_loss for e in resumed.history] == [e.train_loss for e in whole.history]
    assert resumed.notes == ()


def test_a_full_disk_is_said_and_costs_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    whole = fit(store, CONFIG, tmp_path / "whole", name="run")
    run = tmp_path / "full"

    process = start(store, run, most_bytes=10_000)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "no space left on the disk while writing" in said.splitlines()[-1]
    assert not list(run.glob(".*"))
    assert fit(store, CONFIG, run, name="run").weights_sha256 == whole.weights_sha256


@pytest.fixture(scope="module")
def undisturbed(
    store: EmbeddingStore, local_ray: str, tmp_path_factory: pytest.TempPathFactory
) -> RunRecord:
    """What two workers train whom nothing happens to."""
    del local_ray
    whole = tmp_path_factory.mktemp("undisturbed") / "run"
    return train(store.path, CONFIG, whole, name="run", num_workers=2)


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_worker_is_replaced(
    store: EmbeddingStore, undisturbed: RunRecord, tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    killed: list[int] = []

    def kill_one() -> None:
        wait_for_epoch(run, 1)
        victim = workers()[-1]
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    assassin = threading.Thread(target=kill_one)
    assassin.start()
    record = train(store.path, CONFIG, run, name="run", num_workers=2)
    assassin.join()
    assert killed
    assert record.status == "done"
    assert record.weights_sha256 == undisturbed.weights_sha256


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_driver_is_followed_by_the_same_command(
    store: EmbeddingStore, undisturbed: RunRecord, tmp_path: Path, local_ray: str, mlflow_store: str
) -> None:
    run = tmp_path / "run"
    write_json(tmp_path / "config.json", CONFIG.model_dump(mode="json"))
    words = ["train", store.path, "--config", tmp_path / "config.json", "--out", run]
    words += ["--workers", "2", "--device", "cpu", "--address", local_ray]
    command = [sys.executable, "-m", "hmtas", *map(str, words)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for_epoch(run, 1)
    driver.kill()
    driver.communicate()
    begun = read_run(run)
    assert begun.status == "running"
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "epoch 1:" not in again.stderr, "a complete epoch is not trained again"
    record = read_run(run)
    assert record.history[: len(begun.history)] == begun.history
    assert record.weights_sha256 == undisturbed.weights_sha256
    assert not (run / SCRATCH).exists()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_loss_that_is_not_finite_ends_all_workers_at_once(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    before, seen = set(workers()), set[int]()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            seen.update(workers())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with pytest.raises(ValueError, match=r"the loss is (nan|inf) in epoch 1, batch \d"):
            train(store.path, make_config(learning_rate=1e30), tmp_path, name="run", num_workers=2)
    finally:
        ended.set()
        watching.join()
    assert len(seen - before) == 2, "it is not tried again"


def workers() -> list[int]:
    """Processes of Ray Train's workers, of the nodes that this process started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                if (
                    b"RayTrainWorker" in command
                    and parent_of(parent_of(folder.name)) == os.getpid()
                ):
                    found.append(int(folder.name))
            except OSError:  # it has ended
                continue
    return sorted(found)


def parent_of(process: int | str) -> int:
    """The process that started a process; of a worker of Ray, the raylet of its node."""
    stat = (Path("/proc") / str(process) / "stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def _without_memory() -> None:
    torch.empty(2**60)


def _with_a_fault() -> None:
    fit(None, CONFIG, Path("x"), name="x")  # type: ignore[arg-type]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_worker_without_memory_is_said_to_be_that_and_a_fault_has_its_own_words(
    tmp_path: Path,
) -> None:
    share = WorkerResources(1, 1, 0.0)
    with pytest.raises(RuntimeError) as short:
        run_workers(_without_memory, tmp_path / "a", share, lambda _: None)
    line = explain(short.value)
    assert line is not None
    assert line.startswith("not enough memory (")
    assert "can't allocate memory" in line
    with pytest.raises(AttributeError) as fault:
        run_workers(_with_a_fault, tmp_path / "b", share, lambda _: None)
    assert explain(fault.value) is None
    assert "AttributeError" in internal(fault.value)
    assert "'NoneType' object has no attribute" in internal(fault.value)
