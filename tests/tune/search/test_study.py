"""A study ends with probabilities of every trial, whatever failed or was stopped."""

import json
import shlex
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hmtas.cli import build
from hmtas.cluster import session
from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.runs.record import EpochRecord, predictions_path, read_run, write_run
from hmtas.store.local import EmbeddingStore
from hmtas.tracking import parent as tracking
from hmtas.tracking.parent import Outbox, Parent
from tests.support.small import make_config
from tests.support.swept import study_settings
from tests.support.tracked import make_run
from tune.search.objective import run_trial
from tune.search.resources import check_resources
from tune.search.trial import BestEpoch, Job
from tune.space.dimensions import Choice, Range, Space
from tune.study.options import LOOSE, TIGHT, Options
from tune.study.record import StudyRecord, best_config, best_trial, write_study
from tune.study.rows import TrialRow
from tune.study.settings import Load, sweep_base
from tune.sweep import run_study


def make_job(store: EmbeddingStore, trials: Path, **changes: Any) -> Job:
    space = Space(dimensions={"train.seq_len": Range(low=2, high=3, integer=True)})
    return Job(trials, study_settings(store, space=space, **changes), Load())


def test_a_trial_reports_its_best_epoch_so_far_and_predicts(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    reports: list[dict[str, Any]] = []
    job = make_job(store, tmp_path)
    run_trial({"train.seq_len": 2}, job=job, trial_id="t", report=reports.append)
    record = read_run(tmp_path / "t")
    assert record.config.train.seq_len == 2
    assert [r["epoch"] for r in reports] == [e.epoch for e in record.history]
    best = [r[TIGHT] for r in reports]
    assert best == [max(e.tight or 0 for e in record.history[: i + 1]) for i in range(len(best))]
    assert predictions_path(tmp_path / "t", "valid").is_file()
    assert set(record.stopped_games) < set(store.games("train")), "valid games must stay clean"


def test_a_trial_that_is_started_again_reports_again_and_trains_nothing(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    first: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    job = make_job(store, tmp_path)
    run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=first.append)
    weights = tmp_path / "t" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=again.append)
    assert again == first
    assert weights.stat().st_mtime_ns == before


def test_a_trial_reports_of_the_epoch_that_its_own_setting_prefers(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    job = make_job(store, tmp_path, base=sweep_base(make_config()).updated({"stop_on": "loose"}))
    run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=lambda _: None)
    record = read_run(tmp_path / "t")
    scores = ((0.2, 0.5), (0.4, 0.4))  # tight and mean prefer the second
    history = tuple(
        epoch.model_copy(update={"tight": tight, "loose": loose})
        for epoch, (tight, loose) in zip(record.history, scores, strict=True)
    )
    write_run(tmp_path / "t", record.model_copy(update={"history": history}))
    reports: list[dict[str, Any]] = []
    run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=reports.append)
    assert [(r[TIGHT], r[LOOSE]) for r in reports] == [(0.2, 0.5), (0.2, 0.5)]


def test_a_trial_whose_only_checkpoint_is_damaged_starts_from_nothing(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def die(metrics: dict[str, Any]) -> None:
        raise Killed

    whole: list[dict[str, Any]] = []
    job = make_job(store, tmp_path / "whole")
    run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=whole.append)
    again: list[dict[str, Any]] = []
    job = make_job(store, tmp_path / "damaged")
    with pytest.raises(Killed):
        run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=die)
    checkpoint = tmp_path / "damaged" / "t" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    run_trial({"train.seq_len": 3}, job=job, trial_id="t", report=again.append)
    assert again == [whole[0], *whole], "its lost epoch was reported before it was known to be lost"
    weights = [tmp_path / name / "t" / "model.safetensors" for name in ("whole", "damaged")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_score_that_is_not_finite_never_reaches_the_study() -> None:
    epoch = EpochRecord(epoch=1, train_loss=1.0, seconds=1.0, windows=1)
    broken = epoch.model_copy(update={"tight": float("nan")})
    with pytest.raises(FloatingPointError, match="epoch 1: tight is nan"):
        BestEpoch("tight").metrics(broken)


@pytest.mark.parametrize(
    ("load", "fits"),
    [
        (Load(), 4),
        (Load(cpus_per_trial=3), 1),
        (Load(concurrent=2), 2),
        (Load(gpus_per_trial=0.5), 2),
    ],
)
def test_as_many_trials_as_the_cluster_holds(
    monkeypatch: pytest.MonkeyPatch, load: Load, fits: int
) -> None:
    monkeypatch.setattr(session, "node_resources", lambda: [{"CPU": 4.0, "GPU": 1.0}])
    assert check_resources(load) == fits


@pytest.mark.parametrize(
    "load", [Load(concurrent=3, cpus_per_trial=2), Load(cpus_per_trial=5), Load(gpus_per_trial=2)]
)
def test_more_than_the_cluster_holds_is_an_error_not_a_wait(
    monkeypatch: pytest.MonkeyPatch, load: Load
) -> None:
    monkeypatch.setattr(session, "node_resources", lambda: [{"CPU": 4.0, "GPU": 1.0}])
    with pytest.raises(InputError, match="Ray has 4 CPUs and 1 GPU; lower --concurrent"):
        check_resources(load)


def make_row(name: str, tight: float | None, **changes: Any) -> TrialRow:
    row = {"id": name, "status": "done", "settings": {}, "best_tight": tight}
    return TrialRow.model_validate({**row, "run": f"trials/{name}", **changes})


def make_study(folder: Path, store: EmbeddingStore, *rows: TrialRow, **changes: Any) -> StudyRecord:
    record = StudyRecord(
        name=folder.name,
        version="0",
        created="2026-01-02T03:04:05+00:00",
        settings=study_settings(store, space=Space(dimensions={})),
        trials=rows,
    ).model_copy(update=changes)
    write_study(folder, record)
    return record


def test_the_best_trial_is_one_that_did_not_fail(store: EmbeddingStore, tmp_path: Path) -> None:
    rows = (
        make_row("a", 0.3),
        make_row("b", 0.5, status="stopped"),
        make_row("c", 0.9, status="failed"),
        make_row("d", None, status="running"),
    )
    make_study(tmp_path, store, *rows)
    make_run(tmp_path / "trials" / "b")
    assert best_trial(tmp_path).id == "b"
    assert best_config(tmp_path) == read_run(tmp_path / "trials" / "b").config


@pytest.mark.parametrize("objective", ["tight", "both"])
def test_what_tune_best_prints_can_be_used_as_it_is(
    objective: str, store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a sweep"
    options = Options.model_validate({"objective": objective})
    settings = study_settings(store, space=Space(dimensions={}), options=options)
    make_study(folder, store, make_row("b", 0.5, best_loose=0.6), settings=settings)
    run = make_run(folder / "trials" / "b")
    command = build()
    command(["tune", "best", str(folder)], standalone_mode=False)
    printed = capsys.readouterr()
    assert Config.model_validate_json(printed.out) == read_run(run).config
    assert ("No other trial is better" in printed.err) == (objective == "both")
    command(["tune", "best", str(folder), "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    train = shlex.split(document["command"])
    config = train[train.index("--config") + 1]
    assert train[:3] == ["hmtas", "train", str(store.path)]
    assert config == str(run / "run.json")
    assert train[-2:] == ["--out", "a sweep-b"]
    assert shlex.split(document["reproduce"]) == ["hmtas", "reproduce", str(run)]


def test_a_study_without_a_score_has_no_best_trial(store: EmbeddingStore, tmp_path: Path) -> None:
    make_study(tmp_path, store)
    with pytest.raises(InputError, match="no trial has finished an epoch yet"):
        best_trial(tmp_path)


def test_a_finished_study_is_not_run_again(
    store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = Space(dimensions={"train.seq_len": Range(low=2, high=3, integer=True)})
    settings = study_settings(store, space=space, num_trials=1)
    row = make_row("a", 0.3, settings={"train.seq_len": 3})
    record = make_study(tmp_path, store, row, status="done", settings=settings)
    again = run_study(tmp_path, record.settings, experiment="e")
    assert again.trials == record.trials
    assert (
        f"this study is done (1 trial); for more: hmtas tune resume {tmp_path} --trials 2"
        in capsys.readouterr().err
    )


def test_a_study_does_not_go_on_under_other_settings(store: EmbeddingStore, tmp_path: Path) -> None:
    record = make_study(tmp_path, store)
    other = record.settings.model_copy(
        update={"num_trials": 9, "base": record.settings.base.updated({"gamma": 0.5})}
    )
    with pytest.raises(InputError) as error:
        run_study(tmp_path, other, experiment="e")
    assert "base.train.gamma was 0.7, now 0.5; num_trials was 3, now 9" in str(error.value)


def test_fresh_removes_nothing_but_a_study(store: EmbeddingStore, tmp_path: Path) -> None:
    precious = tmp_path / "thesis.tex"
    precious.touch()
    settings = study_settings(store, space=Space(dimensions={}))
    with pytest.raises(InputError, match="--fresh removes a study, and this is none"):
        run_study(tmp_path, settings, experiment="e", fresh=True)
    with pytest.raises(InputError, match="not empty and no study"):
        run_study(tmp_path, settings, experiment="e")
    assert precious.exists()


def test_a_broken_mlflow_is_said_once_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "RETRY_S", 0.01)
    parent, tries = Parent(tmp_path, "e"), threading.Semaphore(0)
    failing = parent.open

    def fail() -> Any:
        tries.release()
        return failing()

    monkeypatch.setattr(parent, "open", fail)
    outbox = Outbox(parent)
    outbox.post(make_run(tmp_path / "trials" / "a"))
    outbox.start()
    assert all(tries.acquire(timeout=30) for _ in range(3))
    outbox.finish("hmtas tune sync s")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("warning: MLflow failed, results wait for it (http://127.0.0.1:9: no")
    assert said[1].startswith(f"warning: MLflow lacks part of {tmp_path} (http://127.0.0.1:9: no")
    assert said[1].endswith("; send the rest with: hmtas tune sync s")


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_sweep_stores_the_probabilities_of_every_trial(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str
) -> None:
    # 3 heads do not divide the width: such a trial fails, and only such a trial.
    space = Space(
        dimensions={
            "model.num_heads": Choice(choices=(2, 3)),
            "train.learning_rate": Range(low=1e-5, high=1e-2, log=True),
        }
    )
    settings = study_settings(store, space=space, num_trials=5)
    folder = tmp_path / "sweep"
    record = run_study(folder, settings, experiment="e")
    assert record.status == "done"
    assert len(record.trials) == 5
    assert record.trials[0].settings["model.num_heads"] == 2, "the preset comes first"
    for row in record.trials:
        assert (row.status == "failed") == (row.settings["model.num_heads"] == 3)
        if row.status == "failed":
            assert "width (8) must be a multiple of num_heads (3)" in str(row.error)
        else:
            assert row.best_tight is not None
            assert predictions_path(folder / row.run, "valid").is_file()
            assert read_run(folder / row.run).status == "done"
    assert {"failed", "done"} <= {row.status for row in record.trials}
    client = MlflowClient(mlflow_store)
    found = client.get_experiment_by_name("e")
    runs = client.search_runs([found.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(runs) - len(children) == 1
    assert len(children) == len(record.trials)
    errors = {run.info.run_name: run.data.tags.get("hmtas.error") for run in children}
    assert errors == {row.id: row.error for row in record.trials}
    failed = {run.info.run_name for run in runs if run.info.status == "FAILED"}
    assert failed == {row.id for row in record.trials if row.error}
    assert {run.info.status for run in runs} == {"FINISHED", "FAILED"}
    (parent,) = [run for run in runs if run not in children]
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "width (8) must be a multiple of num_heads (3)" in page
    assert "not finished" not in page


def test_bad_words_on_the_command_line_are_input_errors(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    command = build()
    words = ["tune", "model", str(store.path), "--name", "s", "--out", str(tmp_path)]
    for extra, message in (
        (["--preset", "m99"], "unknown preset 'm99'"),
        (["--set", "gama=1"], "unknown setting 'gama', did you mean 'gamma'"),
        (["--weights", "both"], "--weights must be one of"),
        (["--split", "holiday"], "holiday"),
    ):
        with pytest.raises(InputError, match=message):
            command([*words, *extra], standalone_mode=False)
    assert not (tmp_path / "s").exists()
