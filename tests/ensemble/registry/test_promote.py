"""A promoted ensemble stands alone in MLflow, once, and is champion only by the paired test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from ensemble.commands.cli import app
from ensemble.registry.promote import promote
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.records import HalfId
from hmtas.runs.record import MLFLOW_NOTE, predictions_path
from hmtas.scoring.inputs import load_probabilities
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.client import connect
from hmtas.tracking.run import sync_run
from tests.support.promoted import combine, set_weights, skilled, streams_of, train
from tests.support.small import make_store
from tests.support.tracked import copy_database

NAME = "spotter"

# Whatever unpickles a class is refused, but for numba, which reads its own compiled functions.
IN_A_FRESH_PROCESS = """
import json, pickle, sys, pathlib
opened = []
def watch(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    if event == "socket.connect" and not str(arguments[1]).startswith("('127.0.0.1'"):
        raise AssertionError(f"connects to {arguments[1]}")
    if event == "pickle.find_class":
        frame = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith("numba"):
                return
            frame = frame.f_back
        raise AssertionError(f"unpickles {arguments}")
sys.addaudithook(watch)
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
with np.load(sys.argv[2]) as file:
    streams = dict(file)
spots = model.predict(streams)
pathlib.Path(sys.argv[3]).write_text(json.dumps(spots.to_dict("list")))
narrow = {**streams, "vggish": streams["vggish"][:, 1:]}
for wrong in (narrow, {"vtn": streams["vtn"]}, streams["vtn"]):
    try:
        model.predict(wrong)
    except Exception as error:
        print(error)
print({stream["name"]: stream["width"] for stream in model.metadata.metadata["streams"]})
try:
    pickle.loads(pickle.dumps(pathlib.Path("x")))
except AssertionError:
    print("would have been noticed")
print([name for name in opened if name.endswith((".pkl", ".pickle", ".cloudpickle", ".joblib"))])
print(sum(name.endswith("model.safetensors") for name in opened))
"""


class Season(NamedTuple):
    store: EmbeddingStore
    runs: list[Path]


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Season:
    root = tmp_path_factory.mktemp("season")
    store = make_store(root, train=3, valid=6, test=1)
    runs = [
        train(store, root / "m3", seq_len=3),
        train(store, root / "m4", seq_len=4, exclude_streams=("vtn",)),
    ]
    return Season(store, runs)


def aliases(client: MlflowClient) -> dict[str, str]:
    return {k: str(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def spots_in_a_fresh_process(
    uri: str, folder: Path, season: Season
) -> tuple[dict[str, list[float]], list[str]]:
    """Load a champion and spot the first half of the test game; the spots, and what was printed."""
    streams = streams_of(season.store, season.store.games("test")[0], 1)
    np.savez(folder / "streams.npz", **streams)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    names = ("streams.npz", "spots.json")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, f"models:/{NAME}@champion"]
        + [str(folder / name) for name in names],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return read_json(folder / "spots.json"), done.stdout.splitlines()


def check_spots(found: dict[str, list[float]], expected: Path, season: Season) -> None:
    """The same spots as `hmtas spot` makes of the combined probabilities, in order of time."""
    spots = load_probabilities(expected, "test", None).spots[
        HalfId(season.store.games("test")[0], 1)
    ]
    order = np.lexsort((spots.action, spots.time_s))
    assert len(order) > 20
    assert found["time_s"] == spots.time_s[order].tolist()
    assert found["action"] == [season.store.actions[a] for a in spots.action[order]]
    assert found["confidence"] == pytest.approx(spots.confidence[order].tolist(), abs=1e-12)


def test_the_champion_spots_in_a_fresh_process_without_its_run_and_without_pickle(
    season: Season, mlflow_store: str, tmp_path: Path
) -> None:
    run = combine(season.runs, season.store, tmp_path / "ensembles")
    set_weights(run, [0.3, 0.7])
    done = promote(run, NAME)
    assert (done.version, done.is_new, done.decision.alias) == ("1", True, "champion")
    kept = tmp_path / "kept"
    shutil.move(run.parent, kept)
    away = [run.with_name(f"{run.name}-away") for run in season.runs]
    for here, there in zip(season.runs, away, strict=True):
        here.rename(there)
    try:
        found, printed = spots_in_a_fresh_process(mlflow_store, tmp_path, season)
    finally:
        for here, there in zip(season.runs, away, strict=True):
            there.rename(here)
    check_spots(found, kept / "mean", season)
    *wrong, streams = printed[-7:-3]
    reasons = (
        "stream 'vggish' has shape (",
        "stream 'vggish' is not among those that were given, 'vtn'",
        "the streams of a half must be a dictionary",
    )
    for line, reason in zip(wrong, reasons, strict=True):
        assert line.startswith(reason)
        assert len(line) < 200
    assert streams == str(dict(sorted(season.store.streams.items())))
    assert printed[-3:-1] == ["would have been noticed", "[]"]
    assert int(printed[-1]) >= 2
    (model,) = (tmp_path / "mlflow").rglob("MLmodel")
    assert "model_code_path" in model.read_text()
    suffixes = {path.suffix for path in model.parent.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".json", ".safetensors", ".npz", ".py", ".txt", ".yaml"}
    assert (model.parent / "requirements.txt").read_text().splitlines()[-1] == "hmtas==0.1.0"


def test_only_what_beats_the_champion_takes_its_place(
    season: Season, mlflow_store: str, tmp_path: Path
) -> None:
    client = connect(mlflow_store)
    model, store = season.runs[0], season.store
    fair = skilled(model, store, tmp_path / "fair", 0.25)
    weak = skilled(model, store, tmp_path / "weak", 0.02)
    strong = skilled(model, store, tmp_path / "strong", 0.60)
    assert promote(fair, NAME).decision.reason == "there was no champion"
    assert aliases(client) == {"champion": "1"}
    shutil.rmtree(fair.parent)  # the champion has all that a comparison needs
    shutil.rmtree(tmp_path / "fair")

    lost = promote(weak, NAME)
    assert (lost.version, lost.champion) == ("2", "1")
    assert "it is worse than the champion" in lost.decision.reason
    assert lost.decision.interval is not None
    assert lost.decision.interval[1] < 0
    assert aliases(client) == {"champion": "1", "challenger": "2"}

    again = promote(weak, NAME)
    assert (again.version, again.is_new) == ("2", False)
    assert again.decision == lost.decision

    won = promote(strong, NAME)
    assert (won.version, won.champion) == ("3", "1")
    assert "it beats the champion" in won.decision.reason
    assert won.decision.num_games == 6
    assert aliases(client) == {"champion": "3", "challenger": "2"}
    version = client.get_model_version(NAME, "3")
    assert json.loads(version.tags["hmtas.interval"])[0] > 0
    assert version.description.startswith("champion: it beats the champion: +")

    kept = promote(strong, NAME)
    assert (kept.version, kept.is_new) == ("3", False)
    assert kept.decision.reason == "it is the champion already"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 3

    client.delete_registered_model_alias(NAME, "champion")
    assert promote(weak, NAME).decision.alias == "champion"
    assert aliases(client) == {"champion": "2"}  # no longer the challenger too


def test_a_version_leads_to_all_that_it_was_made_of(
    season: Season, mlflow_store: str, tmp_path: Path
) -> None:
    client = connect(mlflow_store)
    members = []
    for run in season.runs:
        members.append(tmp_path / "runs" / run.name)
        shutil.copytree(run, members[-1])
    member_id = sync_run(members[0], experiment="sweep")
    run = combine(members, season.store, tmp_path / "ensembles", "weighted")
    done = promote(run, NAME, experiment="sweep")
    version = client.get_model_version(NAME, "1")
    assert version.run_id == version.tags["hmtas.run_id"] == read_json(run / MLFLOW_NOTE)["run_id"]
    assert client.get_run(version.run_id).data.tags["hmtas.kind"] == "ensemble"
    assert version.tags["hmtas.package_sha256"] == done.package.checksum
    assert version.tags["hmtas.combiner"] == "weighted"
    first, second = json.loads(version.tags["hmtas.members"])
    assert (first["name"], first["run_id"], second["run_id"]) == ("m3", member_id, None)
    assert first["weights_sha256"] == read_json(members[0] / "run.json")["weights_sha256"]
    (output,) = client.get_run(version.run_id).outputs.model_outputs
    assert output.model_id in version.source


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_champion_is_loaded_and_challenged_where_its_project_lies_now(
    season: Season,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    project, here = tmp_path / "project", tmp_path / "here"
    copy_database(tmp_path_factory, project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(project)
    for run in season.runs:
        shutil.copytree(run, project / run.name)
    members = [project / run.name for run in season.runs]
    promote(combine(members, season.store, project / "a", "mean"), NAME)
    weak = combine(members, season.store, project / "b", "weighted")
    connect.cache_clear()
    if how == "moved":
        project.rename(here)
    else:
        shutil.copytree(project, here)
    before = sorted(project.rglob("*"))
    monkeypatch.chdir(here)
    done = promote(here / weak.relative_to(project), NAME)
    assert done.registry == f"sqlite:///{here}/mlflow.db"
    assert done.decision.num_games == 6, "the counts of the champion were read"
    assert sorted(project.rglob("*")) == before
    if how == "copied":
        shutil.rmtree(project)
    found, _ = spots_in_a_fresh_process(f"sqlite:///{here}/mlflow.db", tmp_path, season)
    assert len(found["time_s"]) > 20


def test_a_champion_of_other_games_or_of_others_is_not_compared(
    season: Season, mlflow_store: str, tmp_path: Path
) -> None:
    client = connect(mlflow_store)
    model = season.runs[0]
    (tmp_path / "other").mkdir()
    other = make_store(tmp_path / "other", train=3, valid=5, test=1)
    promote(skilled(model, other, tmp_path / "a", 0.1), NAME)
    done = promote(skilled(model, season.store, tmp_path / "b", 0.6), NAME)
    assert done.decision.alias == "challenger"
    assert "was scored on other games" in done.decision.reason
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    place = client.get_model_version_download_uri(NAME, "1")
    (counts,) = (
        path
        for path in (tmp_path / "mlflow").rglob("counts.npz")
        if str(path).startswith(place.removeprefix("file://"))
    )
    counts.unlink()
    done = promote(skilled(model, season.store, tmp_path / "c", 0.6), NAME)
    assert done.decision.alias == "challenger"
    assert "whose counts cannot be read" in done.decision.reason


def test_a_refused_ensemble_leaves_nothing(
    season: Season, mlflow_store: str, tmp_path: Path
) -> None:
    client = connect(mlflow_store)
    run = combine(season.runs, season.store, tmp_path / "ensembles")
    with pytest.raises(InputError, match="--name 'a/b'"):
        promote(run, "a/b")
    predictions_path(run, "valid").unlink()
    with pytest.raises(InputError, match=r"valid.arrow"):
        promote(run, NAME)
    assert client.search_registered_models() == []
    assert client.search_experiments(filter_string="name = 'hmtas'") == []
    assert not (run / MLFLOW_NOTE).exists()


def test_the_verb_says_what_it_did(season: Season, mlflow_store: str, tmp_path: Path) -> None:
    run = combine(season.runs, season.store, tmp_path / "ensembles")
    shown = CliRunner().invoke(app, ["promote", str(run), "--name", NAME])
    assert shown.exit_code == 0, shown.output
    assert f"registered {NAME}, version 1" in shown.stderr
    assert "champion: there was no champion" in shown.stderr
    shown = CliRunner().invoke(app, ["promote", str(run), "--name", NAME, "--json"])
    document = json.loads(shown.stdout)
    assert (document["version"], document["is_new"], document["alias"]) == ("1", False, "champion")
    assert document["inputs"] == {"vggish": 2, "vtn": 4}
    shown = CliRunner().invoke(app, ["promote", str(run), "--name", NAME])
    assert "registered already, no new version made" in shown.stderr


def test_a_server_keeps_champions_too(
    season: Season, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    run = combine(season.runs, season.store, tmp_path / "ensembles")
    set_weights(run, [0.5, 0.5])
    assert promote(run, NAME).decision.alias == "champion"
    assert not promote(run, NAME).is_new
    weak = skilled(season.runs[0], season.store, tmp_path / "weak", 0.0)
    lost = promote(weak, NAME)
    assert lost.decision.alias == "challenger"
    assert lost.decision.num_games == 6
    found, _ = spots_in_a_fresh_process(mlflow_server, tmp_path, season)
    check_spots(found, run, season)
