"""A trial that two workers train is what `hmtas train --workers 2` trains, and can be stopped."""

import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import State, Sweep, check_mlflow
from benchmarks.faults import make_store as make_fault_store
from hmtas.cli import build
from hmtas.cluster import session
from hmtas.cluster.workers import train
from hmtas.errors import InputError
from hmtas.runs.record import predictions_path, read_run
from hmtas.store.local import EmbeddingStore
from tests.support.small import make_config
from tests.support.swept import study_settings
from tests.support.tracked import copy_database
from tune.search.resources import check_resources, check_workers
from tune.space.dimensions import Choice, Space
from tune.study import record
from tune.study.record import read_study
from tune.study.settings import Load, StudySettings, sweep_base
from tune.sweep import run_study


def make_settings(store: EmbeddingStore, **changes: Any) -> StudySettings:
    settings: dict[str, Any] = {
        "base": sweep_base(make_config(max_epochs=3)).updated({"train.stop_windows": "config"}),
        # A threshold of one leaves no spot: such a trial scores nothing, and is let go.
        "space": Space(dimensions={"spotting.threshold": Choice(choices=(0.0, 1.0))}),
        "num_trials": 2,
        "seed": 1,  # the points: 0, 1
        "workers_per_trial": 2,
        "options": {"top": 1, "final_seeds": 1, "sampler": "random"},
    }
    return study_settings(store, **(settings | changes))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "mlflow_store")
def test_a_sweep_of_trials_with_two_workers_on_two_cpus(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    study = run_study(folder, make_settings(store), experiment="e", load=Load(concurrent=1))
    assert study.status == "done"
    states = [row.status for row in study.trials]
    assert states == ["done", "stopped"], "a later one had to wait for the CPUs"
    for row in study.trials:
        run = read_run(folder / row.run)
        assert run.num_workers == 2
        assert row.epochs == (3 if row.status == "done" else 1)
        assert row.best_tight == max(epoch.tight or 0 for epoch in run.history[: row.epochs])
        assert predictions_path(folder / row.run, "valid").is_file()
    assert not list(folder.glob("trials/.*.group")), "the workers of each were freed"
    (final,) = (folder / "final").glob("*/run.json")
    assert read_run(final.parent).num_workers == 2
    assert predictions_path(final.parent, "valid").is_file()
    run = read_run(folder / study.trials[0].run)
    alone = train(store.path, run.config, tmp_path / "alone", name="alone", num_workers=2)
    assert alone.weights_sha256 == run.weights_sha256
    assert [epoch.tight for epoch in alone.history] == [epoch.tight for epoch in run.history]
    wait_for_cpus(2)


def wait_for_cpus(num: float) -> None:
    import ray

    until = time.monotonic() + 30
    while time.monotonic() < until:
        if ray.available_resources().get("CPU", 0) >= num:  # type: ignore[no-untyped-call]
            return
        time.sleep(0.2)
    raise AssertionError(f"not all CPUs came back: {ray.available_resources()}")  # type: ignore


@pytest.mark.slow
@pytest.mark.ray
def test_a_driver_is_killed_and_its_trial_goes_on(
    local_ray: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = copy_database(tmp_path_factory, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    extra = ("--workers", "2", "--trials", "1")
    sweep = Sweep(tmp_path / "sweep", make_fault_store(tmp_path), local_ray, uri, extra=extra)
    sweep.start()
    assert sweep.reach(0, 2), sweep.log.read_text()
    sweep.driver.kill()
    sweep.driver.join()
    before = State.of(sweep)
    (row,) = before.rows
    assert 2 <= len(before.histories[row.id]) < 4
    sweep.start()
    assert sweep.wait() == 0, sweep.log.read_text()
    assert before.lost(State.of(sweep), damaged={}) == [], "trained after its last epoch"
    assert [len(sweep.history(row)) for row in sweep.rows()] == [4]
    assert check_mlflow(sweep) == []


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_workers_that_do_not_fit_are_an_error_at_once(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    words = ["tune", "model", str(store.path), "--name", "s", "--out", str(tmp_path)]
    for extra, message in (
        (["--workers", "3"], r"1 x 3 x 1 = 3 CPUs, Ray has 2 CPUs .* \(at most 0 fit\)"),
        (["--workers", "9"], "9 workers cannot share 3 games"),
        (["--workers", "2", "--gpus", "0.5"], "needs whole GPUs of its own"),
    ):
        with pytest.raises(InputError, match=message):
            build()([*words, *extra], standalone_mode=False)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("load", "workers", "fits"),
    [
        pytest.param(Load(), 2, 3, id="workers of a trial may lie on two nodes"),
        pytest.param(Load(cpus_per_trial=2), 2, 1, id="a worker lies on one node"),
        pytest.param(Load(gpus_per_trial=1), 2, 1, id="GPUs too"),
    ],
)
def test_as_many_trials_as_their_workers_fit(
    monkeypatch: pytest.MonkeyPatch, load: Load, workers: int, fits: int
) -> None:
    nodes = [{"CPU": 3.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 1.0}]
    monkeypatch.setattr(session, "node_resources", lambda: nodes)
    assert check_resources(load, workers) == fits
    with pytest.raises(InputError, match=f"{fits + 1} x {workers} x {load.cpus_per_trial} = "):
        check_resources(load.model_copy(update={"concurrent": fits + 1}), workers)


def test_one_worker_may_have_a_share_of_a_gpu() -> None:
    check_workers(1, 0.5, num_games=1)


def test_a_study_does_not_go_on_with_other_workers(store: EmbeddingStore, tmp_path: Path) -> None:
    settings = make_settings(store, workers_per_trial=1)
    record.write_study(
        tmp_path,
        record.StudyRecord(name="s", version="0", created="2026-01-02", settings=settings),
    )
    with pytest.raises(InputError, match="workers_per_trial was 1, now 2"):
        run_study(tmp_path, make_settings(store), experiment="e")
    assert read_study(tmp_path).settings.workers_per_trial == 1
