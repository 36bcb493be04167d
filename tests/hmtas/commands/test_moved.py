"""Defends: verbs use the store that a record means, wherever it lies now, and no other one."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError, TransientError
from hmtas.files import read_json, write_json
from hmtas.packing.pack import pack
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import predictions_path, read_run
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore
from tests.support.moved import contents, put_elsewhere
from tests.support.small import STREAMS
from tests.support.swept import make_sweep
from tune.search.objective import run_trial
from tune.search.trial import Job
from tune.study.options import KnownTrial, Options, WarmStart
from tune.study.record import read_study, write_study


@pytest.fixture
def project(store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, a study whose trials are models on it, and an ensemble of them."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "project"
    shutil.copytree(store.path, folder / "store")
    make_sweep(folder / "s", EmbeddingStore.open(folder / "store"), "done done")
    monkeypatch.chdir(folder)
    run("ensemble", "fit", "s/trials/t01", "s/trials/t02", "--out", "ens", "--combiner", "mean")
    return folder


def run(*words: str | Path) -> str:
    """What a verb prints; what it raises is raised here."""
    result = CliRunner().invoke(build(), [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str | Path) -> str:
    with pytest.raises(InputError) as error:
        run(*words)
    return str(error.value)


def pack_again(place: Path) -> None:
    """Pack another season of the same games and sizes in the place of a store."""
    season = SeasonConfig(train=4, valid=2, test=2, minutes=2, streams=STREAMS, seed=1)
    write_season(place.with_name("others"), season)
    shutil.rmtree(place)
    pack(place.with_name("others"), place)


VERBS = {
    "tune resume": ["tune", "resume", "s", "--trials", "5"],
    "predict": ["predict", "s/trials/t01", "--split", "test"],
    "score": ["score", "s/trials/t01", "--split", "valid"],
    "windows": ["tune", "windows", "s/trials/t01"],
    "fit": ["ensemble", "fit", "s/trials/t01", "s/trials/t02", "--out", "more"],
    "select": ["ensemble", "select", "s/trials/t01", "s/trials/t02", "--out", "more"],
    "promote": ["ensemble", "promote", "ens/mean", "--name", "spotter"],
    "refit": ["ensemble", "refit", "ens/mean", "--out", "again"],
    "reproduce": ["reproduce", "s/trials/t01"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_that_was_packed_again_is_refused(project: Path, verb: str) -> None:
    pack_again(project / "store")
    before = contents(project)
    said = refused(*VERBS[verb])
    assert "its checksum is" in said
    assert "packed again since, from other games, labels or features?" in said
    assert "--games" in said if verb == "score" else "--store" in said
    assert contents(project) == before, "nothing is written"


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_that_is_gone_is_asked_for_by_its_option(project: Path, verb: str) -> None:
    shutil.rmtree(project / "store")
    said = refused(*VERBS[verb])
    assert f"its store is not at {project / 'store'}" in said
    assert "--games" in said if verb == "score" else "--store" in said
    assert "hmtas pack" not in said


def test_another_store_that_is_named_is_data_to_predict_and_none_to_resume_on(
    project: Path,
) -> None:
    """What was legal stays so: labels and games of a store that the user names."""
    pack_again(project / "store")
    assert json.loads(run("tune", "windows", "s/trials/t01", "--store", "store", "--json"))
    assert json.loads(run("score", "s/trials/t01", "--games", "store", "--json"))["num_games"] == 2
    for words in (["tune", "resume", "s"], VERBS["promote"], VERBS["refit"], VERBS["reproduce"]):
        assert "is it another store?" in refused(*words, "--store", "store")


def test_trials_of_a_running_study_stop_when_the_store_is_packed_again(project: Path) -> None:
    job = Job.of(project / "s", read_study(project / "s"))
    pack_again(project / "store")
    with pytest.raises(TransientError, match="packed again since"):
        run_trial({"train.seq_len": 2}, job=job, trial_id="t03", report=lambda _: None)
    assert not (project / "s/trials/t03/run.json").exists()


def test_members_of_one_store_that_predicted_on_two_are_not_combined(project: Path) -> None:
    """`ensemble apply` opens no store: what its members predicted says where it came from."""
    for trial in ("t01", "t02"):
        valid, test = (predictions_path(project / "s/trials" / trial, s) for s in ("valid", "test"))
        shutil.copy(valid, test)
    pack_again(project / "store")
    make_sweep(project / "other", EmbeddingStore.open(project / "store"), "done")
    shutil.copy(predictions_path(project / "other/trials/t01", "valid"), test)
    assert "packed again between?" in refused("ensemble", "apply", "ens/mean", "--split", "test")


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_project_works_where_it_lies_now(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    here = put_elsewhere(project, how, tmp_path)
    before = contents(project)
    monkeypatch.chdir(tmp_path)
    trials = [here / "s/trials/t01", here / "s/trials/t02"]
    store = str(here / "store")
    assert read_run(trials[0]).store == store
    assert read_probabilities(predictions_path(trials[0], "valid")).provenance.store == store
    run("score", trials[0], "--split", "valid")
    run("tune", "windows", *trials)
    run("ensemble", "fit", *trials, "--out", here / "more", "--combiner", "mean")
    run("ensemble", "refit", here / "ens/mean", "--out", here / "again")
    run("tune", "report", here / "s")
    assert "There is no score" not in (here / "s/report.html").read_text()
    assert store in run("tune", "best", here / "s", "--json")
    if how == "copied":
        assert contents(project) == before
    else:
        assert not project.exists()


def test_a_run_that_moved_alone_keeps_its_store(project: Path, tmp_path: Path) -> None:
    run_folder = (project / "s/trials/t01").rename(tmp_path / "t01")
    assert read_run(run_folder).store == str(project / "store")
    run("score", run_folder, "--split", "valid")


def test_a_store_in_the_same_place_counts_only_with_its_checksum(
    project: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    pack_again(copy / "store")
    assert read_run(copy / "s/trials/t01").store == str(project / "store")


def test_records_without_the_place_they_were_written_in_are_read(
    project: Path, tmp_path: Path
) -> None:
    for file in (project / "s/study.json", project / "s/trials/t01/run.json"):
        document = read_json(file)
        assert document.pop("home") == str(file.parent)
        write_json(file, document)
    there = project.rename(tmp_path / "there")
    assert read_run(there / "s/trials/t01").store == str(project / "store")
    assert "tune resume" in refused("tune", "resume", there / "s", "--trials", "5")


def test_a_study_is_told_where_its_store_is(project: Path, tmp_path: Path) -> None:
    place = (project / "store").rename(tmp_path / "elsewhere")
    run("tune", "resume", "s", "--store", place)  # it is done, and trains nothing
    assert read_study(project / "s").settings.store == str(place)


def test_an_earlier_study_that_moved_along_is_the_same(project: Path, tmp_path: Path) -> None:
    """A sweep that resumes keeps what it took over, so it must know the study again."""
    record = read_study(project / "s")
    shutil.copytree(project / "s", project / "earlier")
    known = KnownTrial(trial="t01", point={}, values=(0.5,))
    warm = WarmStart(study=str(project / "earlier"), told=(known,))
    settings = record.settings.model_copy(update={"options": Options(warm=warm)})
    write_study(project / "s", record.model_copy(update={"settings": settings}))
    there = project.rename(tmp_path / "there")
    found = read_study(there / "s").settings.options.warm
    assert found is not None
    assert found.study == str(there / "earlier")
