"""A study survives its driver, its trials, a second driver, Ctrl-C and a missing MLflow."""

import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.faults import DOWN, State, Sweep, check_end, check_mlflow, make_store
from hmtas.cli import build
from hmtas.errors import InputError, TransientError
from tests.support.tracked import copy_database
from tune.search import trial
from tune.search.trial import writer_lock
from tune.study import lock
from tune.study.lock import driver_lock
from tune.study.record import read_study
from tune.sweep import resume_study

Make = Callable[..., Sweep]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("season"))


@pytest.fixture
def make(
    store: Path,
    local_ray: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Make:
    def sweep(concurrent: int = 1) -> Sweep:
        uri = copy_database(tmp_path_factory, tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return Sweep(tmp_path, store, local_ray, uri, concurrent)

    return sweep


@pytest.fixture(scope="module")
def undisturbed(
    store: Path, local_ray: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Sweep, float]:
    """A study that nothing happens to, and the seconds it took."""
    out = tmp_path_factory.mktemp("undisturbed")
    sweep = Sweep(out, store, local_ray, copy_database(tmp_path_factory, out))
    started = time.monotonic()
    sweep.start()
    assert sweep.wait() == 0, sweep.log.read_text()
    assert check_end(sweep) == []
    return sweep, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_driver_is_followed_by_another_one(
    make: Make, undisturbed: tuple[Sweep, float]
) -> None:
    sweep = make()
    sweep.start()
    assert sweep.reach(0, 1)
    with pytest.raises(InputError, match="drives this study") as refused:
        resume_study(sweep.folder)
    assert f"process {sweep.driver.pid} on {socket.gethostname()}" in str(refused.value)
    assert sweep.reach(1, 2)
    sweep.driver.kill()
    sweep.driver.join()
    before = State.of(sweep)
    sweep.start(same_command=True)
    assert sweep.wait() == 0, sweep.log.read_text()
    assert "resuming this study" in sweep.log.read_text()
    assert before.lost(State.of(sweep), damaged={}) == []
    assert check_end(sweep) == []
    assert sweep.result() == undisturbed[0].result()


@pytest.mark.slow
@pytest.mark.ray
def test_ctrl_c_leaves_a_study_that_goes_on(make: Make, undisturbed: tuple[Sweep, float]) -> None:
    sweep = make()
    sweep.start()
    assert sweep.reach(1, 1)
    assert sweep.driver.pid is not None
    os.kill(sweep.driver.pid, signal.SIGINT)
    assert sweep.wait() == 130
    said = sweep.log.read_text()
    line = re.search(r"not finished; resume it with: hmtas tune resume (\S+)$", said, re.MULTILINE)
    assert line is not None
    assert "Traceback" not in said
    assert Path(line[1]) == sweep.folder
    before = State.of(sweep)
    sweep.start()
    assert sweep.wait() == 0, sweep.log.read_text()
    assert before.lost(State.of(sweep), damaged={}) == []
    assert sweep.result() == undisturbed[0].result()


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_trial_is_started_again(make: Make, undisturbed: tuple[Sweep, float]) -> None:
    sweep = make()
    sweep.start()
    killed: list[int] = []
    until = time.monotonic() + 60
    while not killed and time.monotonic() < until:
        killed = list(sweep.writers().values()) if sweep.folder.is_dir() else []
    os.kill(killed[0], signal.SIGKILL)
    assert sweep.wait() == 0, sweep.log.read_text()
    assert "broke down and is started again" in sweep.log.read_text()
    assert sweep.result() == undisturbed[0].result()


@pytest.mark.slow
@pytest.mark.ray
def test_mlflow_may_be_away(make: Make, undisturbed: tuple[Sweep, float]) -> None:
    sweep = make()
    started = time.monotonic()
    sweep.start(mlflow=DOWN)
    assert sweep.wait() == 0, sweep.log.read_text()
    assert time.monotonic() - started < 1.5 * undisturbed[1] + 2
    said = sweep.log.read_text()
    assert said.count("MLflow failed, results wait for it") == 1
    assert f"send the rest with: hmtas tune sync {sweep.folder}" in said
    assert MlflowClient(sweep.mlflow).get_experiment_by_name("hmtas") is None
    assert sweep.result() == undisturbed[0].result()
    for _ in range(2):
        build()(["tune", "sync", str(sweep.folder)], standalone_mode=False)
        assert check_mlflow(sweep) == []
    for note in sweep.folder.glob("trials/*/mlflow.json"):
        # A process that was killed before it took note sends again: nothing is there twice.
        note.write_text(re.sub('"epochs": [0-9]+', '"epochs": 0', note.read_text()))
    assert check_mlflow(sweep) == []


@pytest.mark.ray
def test_trials_that_cannot_start_are_an_error_at_once(make: Make, tmp_path: Path) -> None:
    sweep = make()
    words = ["tune", "model", str(sweep.store), "--name", "wide", "--out", str(tmp_path)]
    for extra, message in (
        (["--cpus", "64"], "Ray has 2 CPUs"),
        (["--gpus", "64"], "--gpus 64: Ray has no GPU; use --gpus 0"),
    ):
        started = time.monotonic()
        with pytest.raises(InputError, match=message):
            build()([*words, *extra], standalone_mode=False)
        assert time.monotonic() - started < 5
    assert not (tmp_path / "wide").exists()


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_that_is_done_gets_more_trials(
    undisturbed: tuple[Sweep, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = undisturbed[0]
    before = read_study(whole.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", whole.mlflow)
    copy = whole.out / "more" / whole.folder.name
    shutil.copytree(whole.folder, copy)
    with pytest.raises(InputError, match="only more"):
        resume_study(copy, trials=2)
    record = resume_study(copy, trials=5)
    assert record.trials[:4] == before.trials
    assert len(record.trials) == 5
    assert record.trials[4].status in ("done", "stopped")


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    with driver_lock(tmp_path / "s"):
        refused = pytest.raises(InputError, match=rf"process {os.getpid()} on .*: kill \d+$")
        with refused, driver_lock(tmp_path / "s"):
            pass
    with driver_lock(tmp_path / "s"):
        pass


def test_a_driver_on_another_host_is_not_taken_for_dead(tmp_path: Path) -> None:
    (tmp_path / lock.FILE).write_text('{"host": "elsewhere", "pid": 7, "beat": 0}')
    refused = pytest.raises(InputError, match=r"process 7 on elsewhere .* if it is dead, remove")
    with refused, driver_lock(tmp_path):
        pass
    (tmp_path / lock.FILE).write_text('{"host": "elsewh')  # cut short by a full disk
    with driver_lock(tmp_path):
        pass


def test_a_run_folder_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trials" / "a"
    with writer_lock(path):
        monkeypatch.setattr(trial, "WRITER_TIMEOUT_S", 0.0)
        with (
            pytest.raises(TransientError, match="a: another process writes this run folder"),
            writer_lock(path),
        ):
            pass
        monkeypatch.setattr(trial, "WRITER_TIMEOUT_S", 10.0)
        waiting = threading.Thread(target=_enter, args=(path,))
        waiting.start()
    waiting.join(5)
    assert not waiting.is_alive()


def _enter(path: Path) -> None:
    with writer_lock(path):
        pass
