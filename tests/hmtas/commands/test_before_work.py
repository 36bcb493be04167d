"""Whatever a verb needs at its end is tried before its work starts: one line, soon, nothing left.

Where MLflow fails all the same when the work is done, the line says how to log it later.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient

from ensemble.commands import cli as ensemble
from hmtas import cli
from hmtas.errors import InputError, TransientError
from hmtas.runs.record import predictions_path
from hmtas.tracking.client import check_store, connect
from hmtas.tracking.run import check_tracking, sync_run
from tests.support.blocked import answering, read_only
from tests.support.members import SPLITS, model, write_store
from tests.support.swept import make_sweep
from tests.support.tracked import copy_database, make_run

Fails = Callable[..., str]


class World(NamedTuple):
    """What the verbs work on: nothing of it is changed by a verb that refuses."""

    root: Path
    store: Path
    run: Path
    other: Path
    ensemble: Path
    study: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    valid = tuple(f"valid {i:02d}" for i in range(10))
    store = write_store(root, {**SPLITS, "train": ("train 0", "train 1"), "valid": valid})
    runs = [
        model(root / name, store, seed=seed, radius_s=3.0) for seed, name in enumerate(("a", "b"))
    ]
    words = ["fit", *map(str, runs), "--combiner", "mean", "--out", str(root / "ensembles")]
    ensemble.app(words, standalone_mode=False)
    make_sweep(root / "study", store, "done", predicted=False)
    return World(root, store.path, *runs, root / "ensembles" / "mean", root / "study")


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must fail, and give its one line."""

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["hmtas", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        return line

    return run


def commands(world: World, out: Path) -> dict[str, list[object]]:
    """The verbs that write where they are told to."""
    sweep = ["--name", "s", "--out", out, "--preset", "smoke"]
    return {
        "season": ["season", out, "--train", "1", "--minutes", "1"],
        "pack": ["pack", world.root / "games", out],
        "embed": ["embed", "commentary", world.root / "games", "--out", out],
        "train": ["train", world.store, "--out", out, "--preset", "smoke"],
        "baseline": ["baseline", world.store, "--out", out],
        "spot": ["spot", world.run, "--split", "valid", "--out", out],
        "ablate": ["ablate", world.store, "--out", out, "--what", "m1"],
        "reproduce": ["reproduce", world.run, "--out", out],
        "tune model": ["tune", "model", world.store, *sweep],
        "ensemble fit": ["ensemble", "fit", world.run, world.other, "--out", out],
        "ensemble refit": ["ensemble", "refit", world.ensemble, "--out", out],
        "ensemble select": ["ensemble", "select", world.run, world.other, "--out", out],
        "demo": ["demo", out],
        "zip": ["spot", world.run, "--split", "valid", "--out", out.with_suffix(".zip")],
        "tune report": ["tune", "report", world.study, "--out", out],
    }


VERBS = list(commands(World(*[Path()] * 6), Path("out")))


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_written(
    verb: str, world: World, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # which the demo sets, and none is said here
    (tmp_path / "file").touch()
    before = sorted(world.root.rglob("*"))
    line = fails(*commands(world, tmp_path / "file" / "out")[verb])
    assert f"{tmp_path}/file is a file" in line
    assert "no shell has replaced ~" in fails(*commands(world, Path("~/out"))[verb])
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert sorted(world.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("verb", "runs", "part"),
    [
        (("predict",), "run", "predictions"),
        (("score",), "run", "scores"),
        (("tune", "windows"), "run", "scores"),
        (("ensemble", "apply"), "ensemble", "predictions"),
    ],
)
def test_a_run_that_cannot_be_added_to(
    verb: tuple[str, ...], runs: str, part: str, *, world: World, tmp_path: Path, fails: Fails
) -> None:
    run = shutil.copytree(getattr(world, runs), tmp_path / "run")
    shutil.rmtree(run / part, ignore_errors=True)
    (run / part).touch()
    assert f"{run / part} is a file" in fails(*verb, run, "--split", "valid")


LOGGING = ("train", "baseline", "ablate", "tune model", "ensemble fit", "ensemble select", "demo")
IN_PLACE = {  # on a run or an ensemble that MLflow has
    "predict": ("run", ["predict", "--split", "valid"]),
    "score": ("run", ["score", "--split", "valid"]),
    "tune windows": ("run", ["tune", "windows", "--split", "valid"]),
    "sync": ("run", ["sync"]),
    "compare": ("run", ["compare"]),
    "ensemble apply": ("ensemble", ["ensemble", "apply", "--split", "valid"]),
    "ensemble promote": ("ensemble", ["ensemble", "promote", "--name", "x"]),
    "tune resume": ("study", ["tune", "resume"]),
    "tune sync": ("study", ["tune", "sync"]),
}


@pytest.mark.parametrize("verb", [*LOGGING, *IN_PLACE])
def test_a_store_of_mlflow_that_cannot_be_written(
    verb: str,
    *,
    world: World,
    tmp_path: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    out = tmp_path / "out"
    if verb in IN_PLACE:
        which, words = IN_PLACE[verb]
        shutil.copytree(getattr(world, which), out)
        if which != "study":
            monkeypatch.setenv(
                "MLFLOW_TRACKING_URI", copy_database(tmp_path_factory, tmp_path / "mlflow")
            )
            sync_run(out)
        words = [*words, str(out)]
    else:
        words = [*map(str, commands(world, out)[verb])]
        words += ["--experiment", "e"] if verb.startswith("ensemble") else []
    (tmp_path / "file").touch()
    before = _content(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    line = fails(*words)
    assert f"sqlite:///{tmp_path}/file/mlflow.db: MLflow cannot open this store" in line
    assert f"({tmp_path}/file is a file); is MLFLOW_TRACKING_URI right" in line
    assert _content(tmp_path) == before


def _content(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_what_can_wait_for_a_server_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    check_tracking([tmp_path], "e", can_wait=True)
    with pytest.raises(TransientError, match="no MLflow server answers") as refused:
        check_tracking([tmp_path], "e")
    # Nothing was made yet: there is nothing that `hmtas sync` could log.
    assert "Once it answers, run the same command again; to work" in str(refused.value)
    assert "sync" not in str(refused.value)
    run = make_run(tmp_path / "run", status="done")
    with pytest.raises(TransientError) as refused:
        check_tracking(iter([run]))
    assert f"{run} stays as it was. Once it answers, run the same command" in str(refused.value)
    assert f"(`hmtas sync {run}` logs what is saved, and does no more)" in str(refused.value)
    with answering(403) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(InputError, match="MLFLOW_TRACKING_TOKEN, right"):
            check_tracking([tmp_path], "e", can_wait=True)


def test_a_deleted_experiment_and_artifacts_that_cannot_be_written(
    tmp_path: Path, mlflow_store: str
) -> None:
    client = connect(mlflow_store)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(InputError, match="'gone' was deleted in MLflow"):
        check_tracking([tmp_path], "gone")
    (tmp_path / "file").touch()
    client.create_experiment("e", artifact_location=f"file://{tmp_path}/file/e")
    with pytest.raises(InputError, match=f"'e' .*artifacts cannot be written .*{tmp_path}/file is"):
        check_tracking([tmp_path], "e")


def test_a_database_that_is_read_only(mlflow_store: str) -> None:
    connect(mlflow_store)
    check_store(mlflow_store, "e")
    database = Path(mlflow_store.removeprefix("sqlite:///"))
    with read_only(database), pytest.raises(InputError, match="attempt to write a readonly data"):
        check_store(mlflow_store, "e")
    check_store(mlflow_store, "e")


def test_a_disk_that_is_too_small_for_a_new_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"takes 2,000,000 bytes, the disk has 1,000 free\)"):
        check_store(f"sqlite:///{tmp_path}/mlflow.db", "e")
    assert list(tmp_path.iterdir()) == []


def test_a_new_database_is_not_made_before_there_is_something_to_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new/mlflow.db")
    check_tracking([tmp_path], "e")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["baseline", "ensemble fit", "score", "ensemble select"])
def test_a_run_whose_mlflow_died_is_logged_by_the_command_that_is_named(
    verb: str,
    *,
    world: World,
    tmp_path: Path,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    words = [*commands(world, out).get(verb, []), "--experiment", "e"]
    if verb == "score":
        sync_run(shutil.copytree(world.run, out), experiment="e")
        words = ["score", out, "--split", "valid"]
    elif verb.startswith("ensemble"):
        words += ["--combiner", "mean"]
    with monkeypatch.context() as dead:
        for name in ("log_batch", "log_artifact", "create_run"):
            dead.setattr(MlflowClient, name, _die)
        line = fails(*words)
    assert f"saved, but not in MLflow at {mlflow_store} (cut off); log it later with: " in line
    command = shlex.split(line.partition("log it later with: ")[2])
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert re.search(rf"MLflow has {out}", capsys.readouterr().err)
    client = connect(mlflow_store)
    experiment = client.get_experiment_by_name("e")
    kinds = [run.data.tags["hmtas.kind"] for run in client.search_runs([experiment.experiment_id])]
    assert {"baseline": "model", "score": "model", "ensemble select": "selection"}.get(
        verb, "ensemble"
    ) in kinds


def _die(*_: object, **__: object) -> None:
    raise ConnectionError("cut off")


def test_predictions_that_do_not_fit_the_disk(
    world: World, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "the games need" in fails(
        "season", tmp_path / "s", "--train", 1, "--valid", 0, "--test", 0
    )
    assert list(tmp_path.iterdir()) == []
    run = shutil.copytree(world.run, tmp_path / "run")
    predictions_path(run, "valid").unlink()
    assert "need" in fails("predict", run, "--split", "valid")
