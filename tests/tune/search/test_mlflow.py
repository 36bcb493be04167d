"""The parent run in MLflow says how far a sweep is while it runs, each point once."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from hmtas.tracking import parent as tracking
from hmtas.tracking.parent import Outbox, Parent
from tests.tune.study.test_summary import ROWS, make_study
from tune.search.mlflow import MlflowCallback, parent_metrics, send_study
from tune.study.ledger import open_ledger


class Trial:
    trial_id = "bb"


def parent(uri: str) -> Run:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("e")
    runs = client.search_runs([experiment.experiment_id])
    (found,) = [run for run in runs if run.data.tags["hmtas.kind"] == "sweep"]
    return found


def history(uri: str, metric: str) -> list[tuple[int, float]]:
    points = MlflowClient(uri).get_metric_history(parent(uri).info.run_id, metric)
    return [(point.step, point.value) for point in points]


def test_the_parent_has_the_numbers_of_the_study(tmp_path: Path) -> None:
    metrics, step = parent_metrics(tmp_path, make_study(tmp_path, *ROWS))
    assert step == 3 + 1 + 0 + 2, "epochs that were trained"
    assert metrics["trials"] == 5
    assert (metrics["trials_done"], metrics["trials_stopped"], metrics["trials_failed"]) == (
        1,
        1,
        1,
    )
    assert (metrics["best_tight"], metrics["best_loose"]) == (0.5, 0.6)
    assert (metrics["best_low"], metrics["best_high"]) == (0.41, 0.59)


def test_the_parent_is_up_to_date_while_the_sweep_runs(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PAUSE_S", 0.1)
    make_study(tmp_path, *ROWS)
    sending = Outbox(Parent(tmp_path, "e"))
    trial: Any = Trial()
    with open_ledger(tmp_path):
        MlflowCallback(sending).on_trial_complete(1, [], trial)
    sending.start()
    try:
        until = time.monotonic() + 60
        while sending._metrics is not None and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        assert sending.leave()
    assert parent(mlflow_store).info.status == "RUNNING"
    assert history(mlflow_store, "best_tight") == [(6, 0.5)]


def test_a_point_that_is_sent_again_is_there_once(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAUSE_S", "RETRY_S"):
        monkeypatch.setattr(tracking, name, 0.05)
    make_study(tmp_path, *ROWS)
    mlflow, sent = Parent(tmp_path, "e"), threading.Event()
    log, calls = mlflow.log, []

    def fail_afterwards(*arguments: Any) -> None:
        log(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise ConnectionError("cut off")
        sent.set()

    monkeypatch.setattr(mlflow, "log", fail_afterwards)
    sending = Outbox(mlflow)
    sending.post_parent({"trials": 3}, 7)
    sending.start()
    sent.wait(60)
    assert sending.leave()
    assert sent.is_set()
    assert history(mlflow_store, "trials") == [(7, 3)]


def test_a_study_that_is_done_closes_its_run_once_and_may_go_on(
    tmp_path: Path, mlflow_store: str
) -> None:
    done = make_study(tmp_path, *ROWS[:3], status="done")
    for _ in range(2):
        send_study(tmp_path, done)
    assert parent(mlflow_store).info.status == "FINISHED"
    assert history(mlflow_store, "trials") == [(4, 3)]
    Parent(tmp_path, "e").log({"trials": 4}, 5, 0)
    assert parent(mlflow_store).info.status == "RUNNING", "it got more trials"
    assert parent(mlflow_store).data.metrics["trials"] == 4, "the later step is the latest"
