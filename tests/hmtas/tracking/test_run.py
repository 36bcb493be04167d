"""A run folder and its MLflow run agree, whatever was logged before; each point is there once."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from benchmarks.faults import silent_server
from hmtas.config import Config
from hmtas.errors import InputError, TransientError
from hmtas.files import read_json, write_json
from hmtas.formats.actions import ACTIONS
from hmtas.presets import preset
from hmtas.tracking.client import check_store, connect, public_uri, tracking_uri, ui_line
from hmtas.tracking.parent import Parent
from hmtas.tracking.run import sync_run
from hmtas.tracking.table import metric_names, read_table
from tests.support.blocked import answering, read_only
from tests.support.tracked import copy_database, free_port, make_run, write_score


@pytest.fixture
def client(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> MlflowClient:
    """A store of its own, used because it lies in the working directory."""
    uri = copy_database(tmp_path_factory, tmp_path / "work")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return connect(uri)


def points(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client.get_metric_history(run_id, metric)]


def artifacts(client: MlflowClient, run_id: str) -> set[str]:
    top = client.list_artifacts(run_id)
    below = [f for d in top if d.is_dir for f in client.list_artifacts(run_id, d.path)]
    return {f.path for f in [*top, *below] if not f.is_dir}


def active(client: MlflowClient, experiment: str) -> list[str]:
    found = client.get_experiment_by_name(experiment)
    return [run.info.run_id for run in client.search_runs([found.experiment_id])]


def test_a_finished_run_is_logged_whole(client: MlflowClient, tmp_path: Path) -> None:
    run = make_run(tmp_path / "m", files=True)
    write_score(run, "valid", 0.5, cross_fitted=True)
    logged = client.get_run(sync_run(run, experiment="e", tags={"mine": "yes"}))
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "m"
    assert logged.data.params["train.seq_len"] == "4"
    assert logged.data.params["train.gamma"] == "0.6"
    assert json.loads(logged.data.params["train.class_weights.by_action"])["Penalty"] == 20.0
    assert logged.data.tags["hmtas.kind"] == "model"
    assert logged.data.tags["hmtas.status"] == "finished"
    assert logged.data.tags["hmtas.store_checksum"] == "abc"
    assert logged.data.tags["hmtas.run_dir"] == str(run)
    assert logged.data.tags["mine"] == "yes"
    assert points(client, logged.info.run_id, "train_loss") == [(1, 1.0), (2, 0.5)]
    assert points(client, logged.info.run_id, "val_loss") == [(1, 2.0), (2, 1.0)]
    assert points(client, logged.info.run_id, "stop_tight") == [(1, 0.1), (2, 0.2)]
    metrics = logged.data.metrics
    assert (metrics["valid_tight"], metrics["valid_loose"]) == (0.5, 0.7)
    assert (metrics["valid_tight_low"], metrics["valid_tight_high"]) == (0.47, 0.52)
    assert metrics["valid_tight/Yellow to red card"] == 0.5
    assert "valid_tight/Red card" not in metrics  # no events: nothing, not 0
    assert artifacts(client, logged.info.run_id) == {
        "run.json",
        "model.safetensors",
        "predictions/valid.arrow",
        "scores/valid.json",
    }


def test_rules_by_action_are_one_parameter(client: MlflowClient, tmp_path: Path) -> None:
    rules = {"Yellow->red card": "linear"}  # MLflow takes no ">" in the name of a parameter
    run = make_run(tmp_path / "m", config=Config().updated({"nms": rules}))
    params = client.get_run(sync_run(run)).data.params
    assert json.loads(params["spotting.nms"]) == rules


def test_a_second_call_logs_nothing(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "m", files=True)
    write_score(run, "valid", 0.5)
    run_id = sync_run(run)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("logged twice")

    for name in ("log_batch", "log_artifact", "create_run", "set_terminated", "set_tag"):
        monkeypatch.setattr(MlflowClient, name, refuse)
    (run / "model.safetensors").touch()  # another time, the same bytes
    assert sync_run(run) == run_id


def test_curves_grow_with_the_epochs_and_files_come_last(
    client: MlflowClient, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "m", num_epochs=1, status="running", files=True)
    run_id = sync_run(run)
    assert client.get_run(run_id).info.status == "RUNNING"
    make_run(run, num_epochs=3, status="running")
    assert sync_run(run) == run_id
    assert points(client, run_id, "train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert artifacts(client, run_id) == set()
    make_run(run, num_epochs=3, best_epoch=3)
    sync_run(run)
    assert [step for step, _ in points(client, run_id, "train_loss")] == [1, 2, 3]
    assert "model.safetensors" in artifacts(client, run_id)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert client.get_run(run_id).data.tags["hmtas.best_epoch"] == "3"


def test_a_new_score_is_a_new_step_and_the_latest_counts(
    client: MlflowClient, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "m")
    write_score(run, "valid", 0.5)
    run_id = sync_run(run)
    write_score(run, "valid", 0.4, cross_fitted=True)
    sync_run(run)
    assert points(client, run_id, "valid_tight") == [(1, 0.5), (2, 0.4)]
    row = read_table("hmtas")[0]
    assert row.scores["valid"].tight == 0.4
    assert row.scores["valid"].cross_fitted


def test_a_call_killed_before_it_took_note_doubles_nothing(
    client: MlflowClient, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "m")
    write_score(run, "valid", 0.5)
    run_id = sync_run(run)
    state = read_json(run / "mlflow.json")
    write_json(run / "mlflow.json", state | {"epochs": 0, "scores": {}, "tags": {}})
    assert sync_run(run) == run_id
    assert points(client, run_id, "train_loss") == [(1, 1.0), (2, 0.5)]
    assert points(client, run_id, "valid_tight") == [(1, 0.5)]


def test_a_folder_filled_anew_is_still_one_run(client: MlflowClient, tmp_path: Path) -> None:
    run = make_run(tmp_path / "m")
    first = sync_run(run)
    make_run(run, created="2027-01-01T00:00:00+00:00", config={"train": {"seq_len": 7}})
    second = sync_run(run)
    assert second != first
    assert active(client, "hmtas") == [second]


def test_what_was_said_of_a_stopped_trial_stays(client: MlflowClient, tmp_path: Path) -> None:
    run = make_run(tmp_path / "m", status="running")
    run_id = sync_run(run, status="FINISHED")  # stopped by the scheduler
    write_score(run, "valid", 0.5)
    sync_run(run)
    assert client.get_run(run_id).info.status == "FINISHED"
    broken = sync_run(make_run(tmp_path / "n", status="running"), status="FAILED")
    assert client.get_run(broken).info.status == "FAILED"


def test_a_sweep_has_its_trials_below_it(client: MlflowClient, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    parent = Parent(folder, "e", params={"trials": 3}, tags={"space": "small"})
    parent.sync(make_run(folder / "m"))
    parent.close({"best_valid_tight": 0.5})
    child = sync_run(folder / "m")
    run_id = read_json(folder / "mlflow.json")["parent"]
    assert client.get_run(child).data.tags["mlflow.parentRunId"] == run_id
    sweep = client.get_run(run_id)
    assert sweep.info.run_name == "sweep"
    assert sweep.info.status == "FINISHED"
    assert sweep.data.params == {"trials": "3"}
    assert sweep.data.tags["space"] == "small"
    assert sweep.data.tags["hmtas.run_dir"] == str(folder)
    assert sweep.data.metrics == {"best_valid_tight": 0.5}
    assert [row.run_id for row in read_table("e")] == [child]  # the sweep is no model


def test_an_ensemble_logs_its_own_settings(client: MlflowClient, tmp_path: Path) -> None:
    members = [{"name": name, "run": f"runs/{name}", "created": "", "weight": 0.5} for name in "ab"]
    run = make_run(
        tmp_path / "mean",
        kind="ensemble",
        history=(),
        best_epoch=None,
        ensemble={"combiner": "mean", "split": "valid", "members": members, "weird": [1]},
    )
    (run / "fusion.safetensors").write_bytes(b"weights")
    params = client.get_run(run_id := sync_run(run)).data.params
    assert params["ensemble.combiner"] == "mean"
    assert json.loads(params["ensemble.members"]) == members
    assert params["ensemble.weird"] == "[1]"  # what this version does not know
    assert "ensemble.fusion" not in params
    assert "train.seq_len" not in params
    assert "fusion.safetensors" in artifacts(client, run_id)


def test_a_model_of_contexts_has_no_windows_in_its_parameters(
    client: MlflowClient, tmp_path: Path
) -> None:
    both = [make_run(tmp_path / name, config=preset(name)) for name in ("m7", "conv")]
    windows, contexts = (client.get_run(sync_run(run)).data.params for run in both)
    assert {"train.seq_len", "train.chunk_windows"} <= windows.keys() - contexts.keys()
    assert {"train.context.context_s", "model.reach_s"} <= contexts.keys() - windows.keys()
    rows = {row.name: row for row in read_table("hmtas")}
    assert (rows["m7"].seq_len, rows["m7"].context_s) == (3, None)
    assert (rows["conv"].seq_len, rows["conv"].context_s) == (None, 256.0)


def test_artifacts_lie_beside_the_database(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sync_run(make_run(tmp_path / "m"), experiment="my sweep/2")
    assert len(list((tmp_path / "work" / "mlruns" / "my_sweep_2").rglob("run.json"))) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_which_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "there.db").touch()
    there = f"sqlite:///{tmp_path}/there.db"
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(there) == there
    assert tracking_uri("sqlite:////gone/x.db") == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert tracking_uri(there) == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///here.db")  # made absolute
    assert tracking_uri() == f"sqlite:///{tmp_path}/here.db"


def test_a_run_stays_in_its_store_from_any_folder(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "m")
    run_id = sync_run(run, experiment="e")
    monkeypatch.chdir(tmp_path)
    write_score(run, "valid", 0.5)
    assert sync_run(run) == run_id
    assert not (tmp_path / "mlflow.db").exists()


def test_passwords_are_not_shown() -> None:
    assert public_uri("http://me:secret@host:5000/x") == "http://host:5000/x"
    assert public_uri("postgresql+psycopg2://me:secret@host/db") == "postgresql+psycopg2://host/db"
    assert public_uri("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
    assert "secret" not in ui_line("postgresql://me:secret@host/db")


def test_ui_line_is_for_a_shell() -> None:
    line = ui_line("sqlite:////a b/mlflow.db")
    assert "ui --backend-store-uri 'sqlite:////a b/mlflow.db' --host 127.0.0.1" in line
    assert ui_line("https://host") == "open https://host"


def test_no_server_is_one_line_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(InputError, match="no MLflow server answers"):
        sync_run(make_run(tmp_path / "m"))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///{}/not.db", "sqlite:///{}/not.db/x", "sqlite:///{}", "file:{}", "nonsense://x",
     "postgresql+nothing:///x"],
)  # fmt: skip
def test_no_store_is_one_line_at_once(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not.db").write_text("this is no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(tmp_path))
    run = make_run(tmp_path / "m")
    started = time.monotonic()
    with pytest.raises(InputError, match="MLflow cannot open this store") as caught:
        sync_run(run)
    assert time.monotonic() - started < 8
    assert "\n" not in str(caught.value)
    assert not (run / "mlflow.json").exists()


@pytest.mark.parametrize(
    ("status", "body", "raised", "words"),
    [
        (401, b"log in", InputError, "error code 401 .*log in.*MLFLOW_TRACKING_USERNAME"),
        (403, b"no", InputError, "error code 403 .*MLFLOW_TRACKING_TOKEN"),
        (404, b"<html>\nno", InputError, "error code 404 .*is it an MLflow server"),
        (503, b"", TransientError, "too many 503 error responses"),
        (200, b"<html>", TransientError, "not in a valid JSON format"),
    ],
)
def test_a_server_that_refuses_or_is_none_is_one_line_at_once(
    status: int, body: bytes, raised: type[InputError], words: str
) -> None:
    with answering(status, body) as uri:
        started = time.monotonic()
        with pytest.raises(InputError, match=words) as caught:
            check_store(uri, "e")
        assert time.monotonic() - started < 8
    assert type(caught.value) is raised
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_left_soon() -> None:
    with silent_server() as uri:
        started = time.monotonic()
        with pytest.raises(TransientError, match="timed out"):
            check_store(uri, "e")
        assert time.monotonic() - started < 15


def test_a_database_that_may_be_read_alone(client: MlflowClient, tmp_path: Path) -> None:
    uri = client.tracking_uri
    connect.cache_clear()
    with read_only(tmp_path / "work"):
        connect(uri)
        with pytest.raises(InputError, match=r"cannot open this store .*(denied|permitted)"):
            check_store(uri, "e")
    check_store(uri, "e")


def test_a_database_that_another_process_writes_is_sound(client: MlflowClient) -> None:
    with contextlib.closing(sqlite3.connect("mlflow.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        check_store(client.tracking_uri, "e")


def test_a_deleted_experiment_is_said(client: MlflowClient, tmp_path: Path) -> None:
    sync_run(make_run(tmp_path / "m"), experiment="e")
    client.delete_experiment(client.get_experiment_by_name("e").experiment_id)
    with pytest.raises(InputError, match="'e' was deleted in MLflow"):
        sync_run(make_run(tmp_path / "n"), experiment="e")


def test_every_action_has_a_name_of_its_own() -> None:
    names = metric_names(ACTIONS)
    assert names["Goal"] == "Goal"
    assert names["Yellow->red card"] == "Yellow to red card"
    assert list(metric_names(["a+b", "a*b"]).values()) == ["a_b", "a_b_"]


@given(st.lists(st.text(min_size=1), unique=True))
def test_names_never_collide(actions: list[str]) -> None:
    assert len(set(metric_names(actions).values())) == len(actions)


def test_processes_that_create_one_database_at_once(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom hmtas.tracking.run import sync_run\n"
        "sync_run(Path(sys.argv[1]), experiment='e')"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/fresh.db"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(make_run(tmp_path / name))],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said == ["", ""], "a line for each of fifty migrations"
    assert len(active(connect(f"sqlite:///{tmp_path}/fresh.db"), "e")) == 2


def test_a_tracking_server_is_served_too(
    mlflow_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    run = make_run(tmp_path / "m", files=True)
    write_score(run, "test", 0.5)
    Parent(tmp_path, "e").sync(run)
    run_id = sync_run(run)
    assert sync_run(run) == run_id
    assert read_table("e")[0].scores["test"].per_action["Yellow->red card"] == 0.5
    stored = connect(mlflow_server).download_artifacts(
        run_id, "predictions/valid.arrow", str(tmp_path)
    )
    assert Path(stored).read_bytes() == b"probabilities"
    assert capfd.readouterr() == ("", ""), "stdout is for tables and JSON"
