"""A run made again from its record is the same, bit for bit; what is not the same is found."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ensemble.build.build import apply_ensemble, fit_ensembles
from ensemble.build.plan import plan_fit
from ensemble.learned.network import FusionConfig
from hmtas.cli import build
from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.prediction.slide import predict_run
from hmtas.runs.environment import this_environment
from hmtas.runs.record import RECORD, WINDOWS, EpochRecord, predictions_path, read_run, write_run
from hmtas.store.local import EmbeddingStore
from hmtas.training.linear import run_baseline
from hmtas.training.loop import fit
from tests.support.small import make_config, make_store
from tests.tune.search.test_samplers import make_settings
from tune.search.objective import predict_trial
from tune.search.trial import Job
from tune.study.settings import Load

QUICK = FusionConfig(epochs=1, feedforward=8, num_layers=1, held_out_share=0.0)


@pytest.fixture(scope="module")
def trained(store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has predicted two splits, one of them scored."""
    run = tmp_path_factory.mktemp("runs") / "model"
    make(store, run, make_config(max_epochs=3, patience=3))
    predict_run(run, store, "test")
    assert hmtas("score", run, "--split", "valid", "--json").exit_code == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def make(store: EmbeddingStore, run: Path, config: Config) -> Path:
    fit(store, config, run, name=run.name, preset="smoke")
    predict_run(run, store, "valid")
    return run


def hmtas(*words: object) -> Result:
    return CliRunner().invoke(build(), [str(word) for word in words])


def reproduce(run: Path, *words: object) -> dict[str, Any]:
    """The document of the verb; its exit code must say the same as the document."""
    result = hmtas("reproduce", run, "--json", *words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["same"] else 1)
    return document


def refused(run: Path, *words: object) -> str:
    error = hmtas("reproduce", run, *words).exception
    assert isinstance(error, InputError), error
    return str(error)


def tampered(run: Path, *path: str, value: Any) -> None:
    """Change one value of a record, as if the run had said so."""
    document = part = read_json(run / RECORD)
    for name in path[:-1]:
        part = part[int(name) if isinstance(part, list) else name]
    part[int(path[-1]) if isinstance(part, list) else path[-1]] = value
    write_json(run / RECORD, document)


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_run_is_the_same_bit_for_bit_and_stays_as_it_was(run: Path) -> None:
    before = files(run)
    document = reproduce(run)
    again = run.with_name("run-again")
    assert document["verdict"] == "the same, bit for bit"
    assert document["largest_difference"] == 0
    assert files(run) == before
    assert Path(document["again"]) == again
    assert read_run(again).weights_sha256 == read_run(run).weights_sha256
    assert sorted(p.name for p in (again / "predictions").iterdir()) == [
        "test.arrow",
        "valid.arrow",
    ]
    compared = {group["what"]: group for group in document["compared"]}
    assert compared["train_loss"]["values"] == 3
    assert {"val_loss", "tight", "loose", "game_tight", "weights", "probabilities, valid",
            "probabilities, test", "tight Average-mAP, valid"} <= set(compared)  # fmt: skip
    assert document["environment"] == document["notes"] == []
    assert read_json(again / "reproduction.json")["verdict"] == document["verdict"]


def test_a_record_of_another_seed_is_not_the_same(run: Path) -> None:
    tampered(run, "config", "train", "seed", value=1)
    result = hmtas("reproduce", run)
    assert result.exit_code == 1
    recorded = read_run(run).history[0].train_loss
    assert "not the same: first difference at epoch 1, train_loss" in result.stderr
    assert f"{recorded:.4f} against" in result.stderr
    assert "probabilities, valid" in result.stdout


@pytest.mark.parametrize(
    ("path", "value", "first"),
    [
        pytest.param(("history", "1", "loose"), 0.5, ("epoch 2", "loose"), id="a score"),
        pytest.param(
            ("history", "2", "game_tight", "1"), 2.0, ("epoch 3, 2", "game_tight"), id="a game"
        ),
        pytest.param(("fitted_games",), ["a game"], ("", "fitted_games"), id="games"),
        pytest.param(("num_parameters",), 7, ("", "num_parameters"), id="size"),
    ],
)
def test_the_first_difference_is_named(
    run: Path, path: tuple[str, ...], value: Any, first: tuple[str, str]
) -> None:
    tampered(run, *path, value=value)
    found = reproduce(run)["first_difference"]
    assert (found["place"], found["what"]) == first


def test_a_score_that_does_not_come_of_the_probabilities_is_found(run: Path) -> None:
    path = run / "scores" / "valid.json"
    document = read_json(path)
    document["loose"]["average_map"] += 0.01
    write_json(path, document)
    found = reproduce(run)
    assert found["first_difference"]["what"] == "loose Average-mAP, valid"
    assert found["first_difference"]["place"] == "average_map"
    assert found["largest_difference"] == pytest.approx(0.01)


def test_a_score_of_older_windows_is_no_difference(run: Path) -> None:
    assert hmtas("tune", "windows", run, "--split", "valid").exit_code == 0
    assert reproduce(run, "--out", run.with_name("tuned"))["notes"] == []
    windows = read_json(run / WINDOWS)
    windows["windows_s"] = dict.fromkeys(windows["windows_s"], 5.0)
    write_json(run / WINDOWS, windows)
    document = reproduce(run, "--out", run.with_name("newer"))
    assert document["kind"] == "bits"
    assert ["of other windows" in note for note in document["notes"]] == [True]


def test_what_an_older_record_does_not_say_is_no_difference(run: Path) -> None:
    for epoch in range(3):
        tampered(run, "history", str(epoch), "game_tight", value=None)
        tampered(run, "history", str(epoch), "val_stream_losses", value={})
    document = reproduce(run)
    assert document["kind"] == "bits"
    assert not {"game_tight", "val_stream_losses"} & {g["what"] for g in document["compared"]}


class KilledError(Exception):
    """Stands for the end of the process after an epoch."""


def killed_after(epoch: int):  # type: ignore[no-untyped-def]
    def report(entry: EpochRecord) -> None:
        if entry.epoch == epoch:
            raise KilledError

    return report


def test_a_trial_that_was_stopped_is_stopped_again(store: EmbeddingStore, tmp_path: Path) -> None:
    run, config = tmp_path / "trial", make_config(max_epochs=9, patience=9)
    with pytest.raises(KilledError):
        fit(store, config, run, name="trial", report=killed_after(2))
    settings = make_settings().model_copy(
        update={"store": str(store.path), "store_checksum": store.checksum}
    )
    predict_trial(run, Job(tmp_path, settings, Load()))
    document = reproduce(run)
    assert document["kind"] == "bits"
    again = read_run(tmp_path / "trial-again")
    assert (len(again.history), again.status) == (2, "done")


def test_a_run_that_was_interrupted_is_the_same(store: EmbeddingStore, tmp_path: Path) -> None:
    run, config = tmp_path / "run", make_config(max_epochs=3, patience=3)
    with pytest.raises(KilledError):
        fit(store, config, run, name="run", report=killed_after(1))
    make(store, run, config)
    assert reproduce(run)["kind"] == "bits"


def test_a_run_of_protocol_p2_is_the_same(store: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config(max_epochs=2, protocol="p2")
    fit(store, config, tmp_path / "p2", name="p2")
    assert reproduce(tmp_path / "p2")["kind"] == "bits"


def test_some_epochs_alone(run: Path) -> None:
    best = read_run(run).best_epoch
    assert best == 3  # the weights of two epochs are then others
    document = reproduce(run, "--epochs", 2)
    assert (document["kind"], document["epochs"]) == ("bits", 2)
    assert "weights" not in {group["what"] for group in document["compared"]}
    assert "--epochs 4: " in refused(run, "--epochs", 4, "--out", run.with_name("more"))


def test_a_difference_within_the_tolerance_counts_as_the_same(run: Path) -> None:
    loss = read_run(run).history[0].train_loss
    tampered(run, "history", "0", "train_loss", value=loss + 3e-6)
    document = reproduce(run)
    assert (document["kind"], document["verdict"]) == ("scores", "the same scores to 1e-5")
    strict = reproduce(run, "--tolerance", "1e-6", "--out", run.with_name("strict"))
    assert strict["verdict"].startswith("not the same: first difference at epoch 1, train_loss")


def test_what_differs_in_the_environment_is_named(run: Path) -> None:
    older = this_environment("cpu").model_dump() | {"python": "3.10.0", "threads": 1}
    older["packages"] = {**older["packages"], "torch": "2.0.0"}
    tampered(run, "environment", value=older)
    changed = {c["what"]: c["before"] for c in reproduce(run)["environment"]}
    assert (changed["python"], changed["torch"]) == ("3.10.0", "2.0.0")
    tampered(run, "environment", value=None)
    document = reproduce(run, "--out", run.with_name("older"))
    assert any("its record is older" in note for note in document["notes"])


def test_a_linear_baseline(store: EmbeddingStore, tmp_path: Path) -> None:
    run = tmp_path / "linear"
    run_baseline(store, run, ["valid", "test"], streams=["vtn"], radius_s=1.5, nms_window_s=30)
    document = reproduce(run)
    assert document["kind"] == "bits"
    again = read_run(tmp_path / "linear-again")
    assert again.config == read_run(run).config
    tampered(run, "radius_s", value=6.0)
    other = reproduce(run, "--out", tmp_path / "other")
    assert other["first_difference"]["what"] == "probabilities, test"
    assert "was not trained in epochs" in refused(run, "--epochs", 1)


@pytest.mark.parametrize("method", ["mean", "weighted", "learned"])
def test_an_ensemble(method: str, store: EmbeddingStore, trained: Path, tmp_path: Path) -> None:
    other = make(store, tmp_path / "other", make_config(seed=5))
    predict_run(other, store, "test")
    plan = plan_fit([trained, other], "valid", methods=(method,), fusion=QUICK, seed=3)
    run = fit_ensembles(plan, tmp_path / "ensembles")[method]
    apply_ensemble(run, "test")
    document = reproduce(run, "--out", tmp_path / "elsewhere" / "again")
    assert document["kind"] == "bits"
    assert {"probabilities, valid", "probabilities, test"} <= {
        group["what"] for group in document["compared"]
    }
    if method == "learned":
        tampered(run, "ensemble", "seed", value=4)
    else:
        tampered(run, "ensemble", "members", "1", "weight", value=0.75)
    changed = reproduce(run)
    where = {group["what"] for group in changed["compared"] if group["difference"] != 0}
    expected = {"fusion", "probabilities, valid"} if method == "learned" else {"members"}
    assert expected <= where
    write_run(other, read_run(other).model_copy(update={"created": "2020-01-01T00:00:00+00:00"}))
    assert "was trained again since" in refused(run, "--out", tmp_path / "third")


def test_a_store_that_changed_is_refused_and_one_that_moved_is_found(
    run: Path, store: EmbeddingStore, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other", valid=1)
    tampered(run, "store", value=str(other.path))
    assert "its checksum is" in refused(run)
    assert not run.with_name("run-again").exists()
    moved = Path(shutil.copytree(store.path, tmp_path / "moved"))
    assert reproduce(run, "--store", moved)["kind"] == "bits"


def test_a_folder_is_made_anew_or_goes_on_and_nothing_is_overwritten(run: Path) -> None:
    again = run.with_name("again")
    assert "never written to" in refused(run, "--out", run)
    assert "never written to" in refused(run, "--out", run / "again")
    shutil.copytree(run, again)  # it would compare with itself
    assert "something else" in refused(run, "--out", again)
    shutil.rmtree(again)
    assert reproduce(run, "--out", again)["same"]
    assert "a finished reproduction" in refused(run, "--out", again)
    # As an interrupted one leaves it: the note without a verdict.
    write_json(again / "reproduction.json", {"run": "x", "created": read_run(run).created})
    assert reproduce(run, "--out", again)["kind"] == "bits"


def test_what_has_nothing_to_compare_is_refused(run: Path, tmp_path: Path) -> None:
    assert "no run here" in refused(tmp_path / "nothing")
    record = read_run(run).model_copy(update={"history": (), "status": "running"})
    write_run(run, record)
    assert "no epoch of this run has ended" in refused(run)
    assert not run.with_name("run-again").exists()


def test_the_store_of_a_prediction_counts_too(run: Path, tmp_path: Path) -> None:
    """A split that was predicted on another store is predicted there again."""
    other = make_store(tmp_path / "other", test=1)
    predict_run(run, other, "test")
    assert reproduce(run)["kind"] == "bits"
    shutil.rmtree(other.path)
    with pytest.raises(InputError):
        EmbeddingStore.open(other.path)
    assert str(other.path) in refused(run, "--out", run.with_name("gone"))
    assert predictions_path(run, "test").is_file()
