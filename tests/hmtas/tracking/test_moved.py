"""Runs stay in the MLflow store that has them, wherever a command stands and wherever it moved."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from hmtas.cli import build
from hmtas.files import read_json, sha256_file, write_json
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.client import connect
from hmtas.tracking.note import store_of
from hmtas.tracking.parent import Parent
from hmtas.tracking.run import check_tracking, log_saved, sync_run
from tests.support.blocked import read_only
from tests.support.moved import contents, put_elsewhere
from tests.support.swept import make_sweep
from tests.support.tracked import copy_database, make_run, write_score

PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "tags": ("value",),
}


@pytest.fixture
def project(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a database, used because commands stand there, and a run in it."""
    folder = tmp_path / "my project"
    copy_database(tmp_path_factory, folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    sync_run(make_run(folder / "runs/m", files=True), experiment="e")
    forget()
    return folder


def forget() -> None:
    """What MLflow and we keep per process: a command is a process of its own."""
    connect.cache_clear()
    utils._artifact_repos_cache.clear()


def mentions(database: Path, place: Path) -> int:
    """How many paths in a database lead to a folder."""
    with closing(sqlite3.connect(database)) as opened:
        values = [
            str(value)
            for table, columns in PLACES.items()
            for column in columns
            for (value,) in opened.execute(f"SELECT {column} FROM {table}")
        ]
    return sum(value.startswith(f"{place}/") for value in values)


def names(uri: str, experiment: str) -> list[str]:
    """The names of the runs in an experiment."""
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return sorted(run.info.run_name for run in client.search_runs([found.experiment_id]))


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_database_and_its_artifacts_go_on_where_they_lie(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    here = put_elsewhere(project, how, tmp_path)
    before = contents(project)
    monkeypatch.chdir(tmp_path)
    run_id = read_json(here / "runs/m/mlflow.json")["run_id"]
    write_score(here / "runs/m", "valid", 0.5)
    assert sync_run(here / "runs/m") == run_id
    said = " ".join(capsys.readouterr().err.split())
    assert f"{here}/mlflow.db lay in {project} before" in said
    assert contents(project) == before, "nothing is written where it was"
    assert project.exists() == (how == "copied")
    assert mentions(here / "mlflow.db", project) == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{here}/mlflow.db")
    assert client.get_run(run_id).data.tags["hmtas.run_dir"] == str(here / "runs/m")
    paths = {file.path for file in client.list_artifacts(run_id)}
    assert {"run.json", "scores", "model.safetensors"} <= paths
    assert names(client.tracking_uri, "e") == ["m"]
    sync_run(make_run(here / "runs/n", files=True), experiment="e", uri=client.tracking_uri)
    assert list((here / "mlruns/e").rglob("n/artifacts")) == []
    assert len(list((here / "mlruns/e").rglob("run.json"))) == 2
    if how == "copied":  # and the other way round
        forget()
        after = contents(here)
        write_score(project / "runs/m", "test", 0.5)
        assert sync_run(project / "runs/m") == run_id
        assert contents(here) == after


def test_a_database_without_artifacts_yet_writes_them_beside_itself(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project / "mlruns")
    here = project.rename(tmp_path / "here")
    monkeypatch.chdir(here)
    write_score(here / "runs/m", "valid", 0.5)
    sync_run(here / "runs/m")
    assert not project.exists()
    assert list((here / "mlruns/e").rglob("scores/valid.json"))


def left_behind(project: Path, here: Path) -> Path:
    """The database alone moved: its artifacts are where they were."""
    here.mkdir()
    return Path(shutil.move(project / "mlflow.db", here))


def chosen(project: Path, here: Path) -> Path:
    """The user keeps artifacts on another disk."""
    shutil.copytree(project, here)
    disk = project.with_name("disk") / "artifacts"
    (project / "mlruns/e").rename(disk.parent)
    for database in (here / "mlflow.db", project / "mlflow.db"):
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("UPDATE experiments SET artifact_location = ?", (str(disk),))
            opened.execute("UPDATE runs SET artifact_uri = ?", (f"{disk}/1/artifacts",))
            opened.commit()
    return here / "mlflow.db"


def linked(project: Path, here: Path) -> Path:
    """The same folder under another name."""
    here.symlink_to(project)
    return here / "mlflow.db"


@pytest.mark.parametrize("arrange", [left_behind, chosen, linked])
def test_artifacts_elsewhere_stay_there(
    project: Path, tmp_path: Path, arrange: Callable[[Path, Path], Path]
) -> None:
    database = arrange(project, tmp_path / "here")
    before = sha256_file(database)
    connect(f"sqlite:///{database}")
    assert sha256_file(database) == before


def test_a_database_that_cannot_be_written_is_read_where_it_lies(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Path(shutil.copytree(project, tmp_path / "here"))
    with read_only(here / "mlflow.db"), read_only(here):
        assert names(connect(f"sqlite:///{here}/mlflow.db").tracking_uri, "e") == ["m"]
    assert "lay in" not in capsys.readouterr().err


def test_notes_without_a_home_find_a_moved_run_in_the_database_at_hand(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As older versions wrote them: the database that has the run is the one that is meant."""
    Parent(project / "s", "e").open()
    for note in (project / "runs/m/mlflow.json", project / "s/mlflow.json"):
        document = read_json(note)
        assert document.pop("home") == str(note.parent)
        write_json(note, document)
    here = project.rename(tmp_path / "here")
    monkeypatch.chdir(here)
    sync_run(here / "runs/m")
    Parent(here / "s", "e").open()
    assert names(f"sqlite:///{here}/mlflow.db", "e") == ["m", "s"]
    assert read_json(here / "runs/m/mlflow.json")["home"] == str(here / "runs/m")


def test_a_study_stays_whole_in_its_store_from_any_folder(
    project: Path, store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that MLflow does not have yet belongs beside the others, not where one stands."""
    make_sweep(project / "s", store, "done done", experiment="sweep")
    Parent(project / "s", "sweep").sync(project / "s/trials/t01")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert store_of(project / "s/trials/t02") == f"sqlite:///{project}/mlflow.db"
    build()(["tune", "sync", str(project / "s")], standalone_mode=False)
    assert list(elsewhere.iterdir()) == []
    assert names(f"sqlite:///{project}/mlflow.db", "sweep") == ["s", "t01", "t02"]


def test_a_study_that_lay_in_two_stores_is_brought_together(
    project: Path,
    store: EmbeddingStore,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_sweep(project / "s", store, "done done", experiment="sweep")
    Parent(project / "s", "sweep").sync(project / "s/trials/t01")
    other = copy_database(tmp_path_factory, tmp_path / "other")
    sync_run(project / "s/trials/t02", experiment="sweep", uri=other)
    build()(["tune", "sync", str(project / "s")], standalone_mode=False)
    said = " ".join(capsys.readouterr().err.split())
    assert f"2 trials of {project / 's'} in sqlite:///{project}/mlflow.db" in said
    assert names(f"sqlite:///{project}/mlflow.db", "sweep") == ["s", "t01", "t02"]


@pytest.mark.parametrize("place", ["beside", "elsewhere"])
def test_a_copied_run_leaves_the_run_of_its_original_alone(
    place: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = project / "runs/m"
    copy = {"beside": project / "runs/copy", "elsewhere": tmp_path / "away/m"}[place]
    shutil.copytree(run, copy)
    write_score(copy, "valid", 0.05)
    check_tracking([copy])
    said = " ".join(capsys.readouterr().err.split())
    assert f"{copy} is a copy of {run}; it gets an MLflow run of its own" in said
    mine, theirs = sync_run(run, experiment="e"), sync_run(copy, experiment="e")
    assert mine != theirs
    client = MlflowClient(tracking_uri=f"sqlite:///{project}/mlflow.db")
    tags = {name: client.get_run(name).data.tags["hmtas.run_dir"] for name in (mine, theirs)}
    assert tags == {mine: str(run), theirs: str(copy)}
    check_tracking([run, copy])
    assert "is a copy" not in capsys.readouterr().err
    assert sync_run(copy, experiment="e") == theirs


def test_a_study_whose_database_was_deleted_begins_anew_in_a_new_one(
    project: Path, store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_sweep(project / "s", store, "done", experiment="sweep")
    Parent(project / "s", "sweep").sync(project / "s/trials/t01")
    new = copy_database(tmp_path_factory, project / "new")  # empty, as any verb makes it
    for folder in (project / "s", project / "s/trials/t01"):
        note = read_json(folder / "mlflow.json")
        write_json(folder / "mlflow.json", {**note, "tracking_uri": new})
    for _ in range(2):
        build()(["tune", "sync", str(project / "s")], standalone_mode=False)
        assert names(new, "sweep") == ["s", "t01"]


def test_another_store_is_meant_aloud(
    project: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = project / "runs/m"
    check_tracking([run])
    assert capsys.readouterr().err == ""
    other = copy_database(tmp_path_factory, tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    check_tracking([run])
    said = " ".join(capsys.readouterr().err.split())
    assert f"MLflow has {run} in sqlite:///{project}/mlflow.db" in said
    assert f"MLFLOW_TRACKING_URI names {other}, where it begins anew" in said
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (project / "mlflow.db").unlink()
    monkeypatch.chdir(tmp_path / "other")
    check_tracking([run])
    assert f"is gone, so it goes into {other}" in " ".join(capsys.readouterr().err.split())


def test_an_ensemble_is_logged_where_its_members_are(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = {"name": "m", "run": "../runs/m", "created": "2026"}
    ensemble = {"combiner": "mean", "split": "valid", "members": [member]}
    run = make_run(project / "mean", kind="ensemble", history=(), ensemble=ensemble)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store_of(run) == f"sqlite:///{project}/mlflow.db"
    log_saved([run], "e")
    assert names(f"sqlite:///{project}/mlflow.db", "e") == ["m", "mean"]
    assert Parent(project / "selection", "e", beside=run).store == store_of(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_new_run_is_compared_where_the_others_are(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("m", "n"):
        write_score(make_run(project / "runs" / name), "valid", 0.5)
    monkeypatch.chdir(project / "runs")
    build()(["compare", "n", "m"], standalone_mode=False)
    uri = f"sqlite:///{project}/mlflow.db"
    assert names(uri, "e") + names(uri, "hmtas") == ["m", "n"]
    assert not (project / "runs/mlflow.db").exists()
