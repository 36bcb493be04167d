"""`hmtas ablate` trains every variant once, goes on after an interruption, and refuses mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hmtas.ablation import train as ablation
from hmtas.ablation.train import jobs_of, train_all
from hmtas.ablation.variants import choose, plan
from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.packing.pack import pack
from hmtas.runs.record import predictions_path, read_run, score_path
from hmtas.scoring.paired import compare_paired
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.parent import Outbox, Parent
from tests.support.small import make_store
from tests.support.tracked import make_run

SMALL = {"width": 8, "num_heads": 2, "widening": 2, "batch_size": 64, "max_epochs": 1}
EPOCHS = 40  # so many that a run takes seconds: the interruption shall meet it


def words(store: EmbeddingStore, out: Path, what: str, **settings: object) -> list[str]:
    chosen = [f"--set={name}={value}" for name, value in {**SMALL, **settings}.items()]
    return ["ablate", str(store.path), "--out", str(out), "--what", what, *chosen]


def ablate(*line: str) -> None:
    build()(list(line), standalone_mode=False)


def weights(out: Path) -> dict[str, int]:
    found = out.glob("runs/*/model.safetensors")
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_three_variants_with_two_seeds(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "abl"
    line = words(store, out, "m1,m7,length-5")
    ablate(*line, "--seeds", "2", "--json")
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert "6 runs, 0 of them trained before; 2 at a time" in printed.err
    assert "[6/6]" in printed.err
    first = weights(out)
    names = [f"{name}-s{seed}" for name in ("length-5", "m1", "m7") for seed in (0, 1)]
    assert sorted(first) == names
    for name in names:
        record = read_run(out / "runs" / name)
        assert record.status == "done"
        assert record.config.train.seed == int(name[-1])
        assert not set(record.stopped_games) & set(store.games("test"))
        assert predictions_path(out / "runs" / name, "test").is_file()
    assert document["split"] == "test"
    ladder, length = document["studies"]
    assert [row["name"] for row in ladder["rows"]] == ["m1", "m7"]
    assert [row["name"] for row in length["rows"]] == ["m7", "length-5"]
    assert ladder["rows"][1]["tight"] == length["rows"][0]["tight"], "M7 is trained once"
    kept = [read_json(score_path(out / "runs" / f"m7-s{seed}", "test")) for seed in (0, 1)]
    mean = sum(score["tight"]["average_map"] for score in kept) / 2
    assert ladder["rows"][1]["tight"]["mean"] == pytest.approx(mean)
    assert set(ladder["rows"][1]["stream_losses"]) == {"vtn", "vggish"}
    assert document["num_events"] == kept[0]["num_events"]
    assert sum(document["positives"]["counts"].values()) >= document["positives"]["num_windows"]
    for name in ("ladder", "ladder-losses", "length", "length-losses", "positives"):
        assert (out / "pictures" / f"{name}.png").stat().st_size > 10_000
    assert read_json(out / "tables" / "length.json")["studies"] == [length]
    _check_mlflow(mlflow_store, names, mean)
    # The runs are ordinary ones.
    pair = {name: out / "runs" / name for name in ("m7-s0", "m1-s0")}
    assert compare_paired(pair, "test", {}).num_games == 2
    # Again: nothing is trained, and the numbers are the same; in a table this time.
    ablate(*line, "--seeds", "2")
    printed = capsys.readouterr()
    assert "trained already: 6 runs" in printed.err
    assert weights(out) == first
    assert printed.out.splitlines()[0].startswith("The ladder (thesis Table 5.2, then")
    assert f"{100 * mean:.2f}" in printed.out


def _check_mlflow(uri: str, names: list[str], m7: float) -> None:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("hmtas")
    runs = client.search_runs([found.experiment_id])
    (parent,) = (run for run in runs if run.data.tags["hmtas.kind"] == "ablation")
    children = [
        run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert sorted(run.info.run_name for run in children) == names
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.metrics["test_tight/m7"] == pytest.approx(m7)
    assert all("test_tight" in run.data.metrics for run in children)
    tables = {item.path for item in client.list_artifacts(parent.info.run_id, "tables")}
    assert tables == {f"tables/{name}.{kind}" for name in ("ladder", "length")
                      for kind in ("txt", "json")}  # fmt: skip
    pictures = {item.path for item in client.list_artifacts(parent.info.run_id, "pictures")}
    assert "pictures/ladder.png" in pictures


@pytest.mark.slow
@pytest.mark.ray
def test_after_an_interruption_the_same_line_goes_on(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str, local_ray: str
) -> None:
    out = tmp_path / "abl"
    line = words(store, out, "m7,length-2", max_epochs=EPOCHS, patience=99)
    line += ["--address", local_ray, "--concurrent", "1", "--json"]
    command = [sys.executable, "-m", "hmtas", *line]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 400
    second = out / "runs" / "length-2-s0"  # m7 is longer, and comes first
    while not (second / "run.json").is_file():
        assert time.monotonic() < deadline
        assert driver.poll() is None, driver.communicate()[1]
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGINT)
    said = driver.communicate(timeout=200)[1]
    assert driver.returncode == 130
    assert "interrupted; what is trained stays. Resume with: hmtas ablate" in said
    assert "--concurrent 1 --json" in said
    before, begun = weights(out), read_run(second)
    assert begun.status == "running"
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "2 runs, 1 of them trained before" in again.stderr
    assert weights(out)["m7-s0"] == before["m7-s0"]
    history = read_run(second).history
    assert len(history) == EPOCHS
    assert history[: len(begun.history)] == begun.history, "it went on, and did not start again"
    (study,) = json.loads(again.stdout)["studies"][1:]
    assert [row["name"] for row in study["rows"]] == ["m7", "length-2"]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "mlflow_store")
def test_a_run_that_fails_is_named_and_the_others_are_kept(
    store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = plan(choose(["m0", "m1"]), SMALL, store.streams)
    (good,), (bad,) = jobs_of(planned, SMALL, 1, tmp_path).values()
    bad = bad._replace(config=bad.config.updated({"learning_rate": 1e38}))
    with pytest.raises(InputError, match=r"1 of 2 runs failed: m1-s0: .*the loss is"):
        train_all([bad, good], store, "test", outbox=Outbox(Parent(tmp_path, "e")))
    assert "m1-s0 failed: " in capsys.readouterr().err
    assert ablation.is_done(good.run, store, "test")
    assert not ablation.is_done(bad.run, store, "test")


def test_the_longest_runs_start_first(store: EmbeddingStore) -> None:
    planned = plan(choose(["ladder", "length-7"]), {}, store.streams)
    work = {name: ablation._work(found.config, 6) for name, found in planned.items()}
    assert sorted(work, key=lambda name: work[name])[:5] == ["m1", "m0", "conv", "m2", "m3"]
    assert max(work, key=lambda name: work[name]) == "length-7"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--what", "context-512"], r"conv: context_s \(256\) is longer than .*--what"),
        (["--what", "xyz"], "--what: unknown 'xyz'; choose studies or variants of: ladder"),
        (["--split", "spring"], "no split 'spring'; this store has train, valid, test"),
        (["--split", "challenge"], "has no labels of 1 of 1 games"),
        (["--split", "train"], "--split train: m7 would fit on 1 of 2 games"),
        (["--split", "valid", "--set", "stop_games=valid"], "m7 would stop on 1 of 1 games"),
        (["--set", "seed=3"], "--set seed: use --seeds"),
        (["--set", "protocol=p2"], r"--set protocol: .*\(p1\)"),
        (["--set", "widht=3"], "m7: bad settings: unknown setting 'widht', did you mean 'width'"),
        (["--concurrent", "500"], r"--concurrent 500: .*this machine has \d+ cores; at most"),
    ],
)
@pytest.mark.usefixtures("mlflow_store")
def test_mistakes_are_found_before_anything_is_trained(
    challenged: EmbeddingStore, tmp_path: Path, extra: list[str], message: str
) -> None:
    out = tmp_path / "abl"
    what, more = (extra[1], []) if extra[0] == "--what" else ("m7", extra)
    with pytest.raises(InputError, match=message):
        ablate(*words(challenged, out, what), *more)
    assert not out.exists()


@pytest.fixture(scope="module")
def challenged(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("challenged"), train=2, valid=1, test=1, challenge=1)


def test_without_test_labels_the_valid_split_is_scored(tmp_path: Path) -> None:
    from hmtas.commands.ablate import _split

    season = SeasonConfig(train=1, valid=1, test=0, challenge=0, minutes=2, streams={"vtn": 2})
    write_season(tmp_path / "games", season)
    pack(tmp_path / "games", tmp_path / "store")
    opened = EmbeddingStore.open(tmp_path / "store")
    assert _split(opened, None) == "valid"


def test_a_folder_with_runs_of_other_settings_is_refused(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str
) -> None:
    planned = plan(choose(["m7"]), SMALL, store.streams)
    (job,) = jobs_of(planned, SMALL, 1, tmp_path)["m7"]
    about: dict[str, Any] = {"config": job.config, "store_checksum": store.checksum}
    make_run(job.run, **about)
    with pytest.raises(InputError, match=r"m7-s0 has train.max_epochs 1, not 2; choose another"):
        ablate(*words(store, tmp_path, "m7", max_epochs=2))
    make_run(job.run, **{**about, "store_checksum": "other"})
    with pytest.raises(InputError, match="m7-s0 was trained on another store"):
        ablate(*words(store, tmp_path, "m7"))
