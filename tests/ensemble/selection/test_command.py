"""`hmtas ensemble select`: the answer, what it refuses, what it writes, and the test split."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ensemble.build.members import read_ensemble
from ensemble.build.refit import refit
from ensemble.commands.cli import app
from ensemble.selection.candidates import gather, read_candidates
from hmtas.errors import InputError
from hmtas.prediction.slide import predict_run
from hmtas.runs.probabilities import read_probabilities, write_probabilities
from hmtas.runs.record import predictions_path
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.client import connect
from hmtas.tracking.run import sync_run
from hmtas.training.loop import fit
from tests.support.members import SPLITS, model, write_store
from tests.support.small import make_config, make_store

GAMES = tuple(f"valid {i:02d}" for i in range(16))
SEASON = {**SPLITS, "valid": GAMES}
LINEAR = {"radius_s": 3.0}  # of a model whose probabilities are stored already


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return write_store(tmp_path_factory.mktemp("store"), SEASON)


def equals(root: Path, store: EmbeddingStore, **changes: Any) -> list[Path]:
    """Three equally good models that miss other events."""
    return [
        model(root / name, store, seed=seed, quality=0.5, **LINEAR, **changes)
        for seed, name in enumerate(("a", "b", "c"))
    ]


def call(*words: object, out: Path, methods: tuple[str, ...] = ("mean", "squared")) -> Result:
    line = ["select", *map(str, words), "--out", str(out), "--folds", "4"]
    return CliRunner().invoke(app, [*line, *(w for name in methods for w in ("--combiner", name))])


def document_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "selection.json").read_text())
    return found


def failure(result: Result) -> str:
    assert result.exit_code != 0, result.output
    return str(result.exception)


def test_models_that_miss_other_events_are_combined(store: EmbeddingStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*equals(tmp_path, store), out=out)
    assert result.exit_code == 0, result.output
    found = document_of(out)
    assert found["chosen"] in {"mean", "squared"}
    by_name = {row["name"]: row for row in found["combiners"]}
    assert set(by_name) == {"single", "mean", "squared"}
    assert by_name["mean"]["against_single"]["verdict"] == "better"
    assert by_name["mean"]["against_single"]["low"] > 0
    assert found["claimed"] <= by_name[found["chosen"]]["tight"]
    record, ensemble = read_ensemble(out / "selected")
    assert record.kind == "ensemble"
    assert record.name == f"selected: {found['chosen']}"
    assert [member.name for member in ensemble.members] == ["a", "b", "c"]
    stored = read_probabilities(predictions_path(out / "selected", "valid"))
    assert stored.provenance.cross_fitted
    assert set(stored.games) == set(GAMES)
    score = json.loads((out / "selected" / "scores" / "valid.json").read_text())
    assert score["cross_fitted"]
    assert score["tight"]["average_map"] == pytest.approx(by_name[found["chosen"]]["tight"])
    assert (out / "selection.png").read_bytes().startswith(b"\x89PNG")


def test_a_copy_is_left_out_and_named(store: EmbeddingStore, tmp_path: Path) -> None:
    runs = equals(tmp_path, store)
    (tmp_path / "old").mkdir()
    copy = Path(shutil.copytree(runs[0], tmp_path / "old" / "a"))
    result = call(*runs[:2], copy, runs[2], out=tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"skipped {copy}: the same model as {runs[0]}" in result.output
    found, without = document_of(tmp_path / "out"), tmp_path / "without"
    assert found["skipped"] == {str(copy): f"the same model as {runs[0]}"}
    assert found["num_models"] == 3
    assert call(*runs, out=without).exit_code == 0
    assert found == {**document_of(without), "skipped": found["skipped"]}


def test_models_that_say_nearly_the_same_leave_the_single_model(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    runs = [model(tmp_path / name, store, seed=1, quality=0.6, **LINEAR) for name in "ab"]
    stored = read_probabilities(predictions_path(runs[1], "valid"))
    parts = [replace(part, values=part.values.copy()) for part in stored.halves.values()]
    parts[0].values[0, 0] += 1e-6
    write_probabilities(predictions_path(runs[1], "valid"), parts, stored.provenance)
    out = tmp_path / "out"
    result = call(*runs, out=out)
    assert result.exit_code == 0, result.output
    found = document_of(out)
    assert found["chosen"] == "single"
    assert "the single model stays" in found["reason"]
    assert found["combiners"][0]["tight"] == found["combiners"][-1]["tight"]
    assert found["diversity"]["per_action"]["Goal"] == pytest.approx(1)
    (member,) = read_ensemble(out / "selected")[1].members
    assert (member.name, member.weight) == ("a", 1.0)
    one = read_probabilities(predictions_path(tmp_path / "a", "valid"))
    selected = read_probabilities(predictions_path(out / "selected", "valid"))
    for half, part in one.halves.items():
        np.testing.assert_array_equal(selected.halves[half].values, part.values)


def test_a_model_of_noise_is_no_member(store: EmbeddingStore, tmp_path: Path) -> None:
    noise = model(tmp_path / "noise", store, seed=9, quality=0.0, **LINEAR)
    out = tmp_path / "out"
    assert call(noise, *equals(tmp_path, store), out=out).exit_code == 0
    for row in document_of(out)["combiners"]:
        assert "noise" not in [member["name"] for member in row["members"]]


def test_a_model_that_was_fitted_on_these_games_is_refused(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    leaky = model(tmp_path / "leaky", store, fitted_games=("train 0", GAMES[3]))
    message = failure(call(leaky, *equals(tmp_path, store), out=tmp_path / "out"))
    assert message.startswith(f"leaky was fitted on 1 of 16 games (the first {GAMES[3]!r})")
    assert not (tmp_path / "out").exists()


def test_a_model_whose_predictions_are_the_labels_is_refused(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    oracle = model(tmp_path / "oracle", store, quality=1.0, **LINEAR)
    runs = [oracle, *equals(tmp_path, store)]
    message = failure(call(*runs, out=tmp_path / "out"))
    assert message.startswith("oracle has an average precision of 1.000 on 96 events of 'Goal'")
    assert "were labels copied into its input" in message
    result = call(*runs, "--allow-suspicious", out=tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert document_of(tmp_path / "out")["suspicious"][0].startswith("oracle has")


def test_labels_in_a_stream_are_found(tmp_path: Path) -> None:
    store = write_store(tmp_path / "leak", SEASON, leak=True)
    message = failure(call(*equals(tmp_path, store), out=tmp_path / "out"))
    assert message.startswith("feature 2 of stream 'visual' has a correlation of 0.9")
    assert "labels of 'Corner'" in message


def test_a_model_that_was_stopped_on_these_games_is_marked(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    runs = equals(tmp_path, store, stopped_games=GAMES[:5])
    out = tmp_path / "out"
    result = call(*runs, out=out)
    assert result.exit_code == 0, result.output
    assert "a chose its epoch on 5 of these 16 games" in result.output
    assert "single*" in result.output
    assert document_of(out)["stopped_on"] == dict.fromkeys("abc", 5)


def test_what_cannot_take_part_is_passed_over_and_named(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    runs = equals(tmp_path, store)
    unpredicted = model(tmp_path / "unpredicted", store, splits=("test",))
    found = gather([*runs, unpredicted, tmp_path / "gone"], "valid")
    assert found.runs == tuple(runs)
    assert found.skipped[str(unpredicted)] == "no stored probabilities of split 'valid'"
    assert "no run here" in found.skipped[str(tmp_path / "gone")]
    with pytest.raises(InputError, match="none of 1 runs can be selected from: no stored"):
        gather([unpredicted], "valid")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "test"), "nothing is fitted on test games"),
        (("--filter", "x"), "--filter is for an --experiment"),
        (("--combiner", "median"), "unknown combiner median"),
        (("--combiner", "single"), "unknown combiner single"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: tuple[str, ...], message: str, store: EmbeddingStore, tmp_path: Path
) -> None:
    result = call(*equals(tmp_path, store), *words, out=tmp_path / "out", methods=())
    assert message in failure(result)
    assert not (tmp_path / "out").exists()


def test_something_to_select_from_must_be_named(tmp_path: Path) -> None:
    assert "name run folders, or an --experiment" in failure(call(out=tmp_path / "out"))


def test_too_few_games_are_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "few", {**SPLITS, "valid": GAMES[:3]})
    runs = equals(tmp_path, store)
    with pytest.raises(InputError, match="at least 4 games of split 'valid', got 3"):
        read_candidates(runs, "valid")


def test_the_test_split_is_scored_once(store: EmbeddingStore, tmp_path: Path) -> None:
    runs, out = equals(tmp_path, store), tmp_path / "out"
    assert call(*runs, "--test", out=out).exit_code == 0
    found = document_of(out)["test"]
    assert found["selected"]["num_games"] == len(SEASON["test"])
    difference = found["selected"]["tight"]["average_map"] - found["single"]["tight"]["average_map"]
    assert found["difference"][0] == pytest.approx(difference)
    assert (out / "selected" / "scores" / "test.json").is_file()
    assert "was scored on the test split on 20" in failure(call(*runs, out=out))


def test_a_test_score_that_cannot_be_had_is_refused_first(tmp_path: Path) -> None:
    store = write_store(tmp_path / "season", {"train": ("train 0",), "valid": GAMES})
    runs = equals(tmp_path, store, splits=("valid",))
    assert "no split 'test'" in failure(call(*runs, "--test", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_selection_may_be_made_again_before_the_test_split_was_scored(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    runs, out = equals(tmp_path, store), tmp_path / "out"
    assert call(*runs, out=out).exit_code == 0
    first = document_of(out)
    assert call(*reversed(runs), out=out).exit_code == 0
    again = document_of(out)
    assert again["claimed"] == first["claimed"], "the order of models changes nothing"
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("mine")
    assert "holds something else than a selection" in failure(call(*runs, out=other))


def test_its_record_cannot_be_fitted_again_alone(store: EmbeddingStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call(*equals(tmp_path, store), out=out).exit_code == 0
    with pytest.raises(InputError, match=r"chose its members.*repeat that command"):
        refit(out / "selected", tmp_path / "again")


def test_trained_models_predict_the_test_split_when_it_is_asked_for(tmp_path: Path) -> None:
    store = make_store(tmp_path, train=4, valid=4, test=2)
    runs = []
    for seed in (0, 1):
        run = tmp_path / f"run{seed}"
        fit(store, make_config(seed=seed), run, name=run.name)
        predict_run(run, store, "valid")
        runs.append(run)
    out = tmp_path / "out"
    result = call(*runs, "--test", out=out, methods=("mean",))
    assert result.exit_code == 0, result.output
    assert "predicting test: run" in result.output
    assert document_of(out)["test"]["selected"]["num_games"] == 2


def test_an_experiment_is_selected_from_and_keeps_the_lineage(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str
) -> None:
    ids = {run.name: sync_run(run, experiment="sweep") for run in equals(tmp_path, store)}
    out = tmp_path / "out"
    result = call("--experiment", "sweep", out=out)
    assert result.exit_code == 0, result.output
    client = connect(mlflow_store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "sweep"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["hmtas.kind"] == "selection"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["hmtas.chosen"] == document_of(out)["chosen"]
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} == {
        "selection.json",
        "selection.png",
    }
    (selected,) = [
        run for run in runs if run.data.tags.get("hmtas.run_dir", "").endswith("selected")
    ]
    assert selected.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert set(selected.data.tags["hmtas.member_runs"].split()) == set(ids.values())
    assert call("--experiment", "sweep", out=out).exit_code == 0
    again = client.search_runs([experiment.experiment_id])
    assert len(again) == len(runs), "a folder has one run"
    assert parent.info.run_id not in {run.info.run_id for run in again}


def test_a_filter_of_mlflow_chooses_and_a_bad_one_is_named(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str
) -> None:
    del mlflow_store
    for run in equals(tmp_path, store):
        sync_run(run, experiment="sweep")
    out = tmp_path / "out"
    wanted = "attributes.run_name != 'b'"
    assert call("--experiment", "sweep", "--filter", wanted, out=out).exit_code == 0
    assert document_of(out)["num_models"] == 2
    bad = call("--experiment", "sweep", "--filter", "run_name ~ 3", out=tmp_path / "bad")
    assert "--filter 'run_name ~ 3': MLflow cannot read it" in failure(bad)
    nothing = call("--experiment", "sweep", "--filter", "attributes.run_name = 'z'", out=out)
    assert "has no model that fits" in failure(nothing)
