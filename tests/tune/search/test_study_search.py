"""A study spends its hours, goes on with more, and ends with the best trained again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hmtas.cli import build
from hmtas.runs.record import WEIGHTS, predictions_path, read_run
from hmtas.store.local import EmbeddingStore
from tests.support.small import make_config
from tests.support.swept import study_settings
from tune.search import proposals as search
from tune.search import pruning
from tune.space.dimensions import Range, Space
from tune.study import budget
from tune.study.budget import out_of_time
from tune.study.finalists import read_final
from tune.study.options import Options
from tune.study.record import StudyRecord, best_trial, pareto_front, write_study
from tune.study.settings import StudySettings, sweep_base
from tune.sweep import resume_study, run_study

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray", "mlflow_store")]
SPACE = Space(
    dimensions={
        "train.seq_len": Range(low=2, high=3, integer=True),
        "train.learning_rate": Range(low=1e-4, high=1e-2, log=True),
    }
)


def make_settings(store: EmbeddingStore, **changes: Any) -> StudySettings:
    return study_settings(store, space=SPACE, **changes)


def predicted(folder: Path, record: StudyRecord) -> bool:
    return all(predictions_path(folder / row.run, "valid").is_file() for row in record.trials)


@pytest.mark.slow
def test_a_study_whose_time_is_out_goes_on_with_more_hours(
    store: EmbeddingStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "s"
    base = sweep_base(make_config(max_epochs=6, patience=9))
    options = Options(sampler="random", pruner="none")
    settings = make_settings(store, base=base, num_trials=4, options=options)
    asked: list[Path] = []
    with monkeypatch.context() as patch:
        # The clock jumps once two trials run: how long they take here is not known.
        def clock(asking: Path) -> bool:
            asked.append(asking)
            if len(asked) == 5:
                monkeypatch.setattr("tune.study.budget._clocks", {folder: late(folder)})
            return out_of_time(asking)

        for module in (pruning, search):
            patch.setattr(module, "out_of_time", clock)
        few = run_study(folder, settings, experiment="e", hours=1)
    assert few.status == "done"
    assert 1 <= len(few.trials) < 4
    assert "stopped" in {row.status for row in few.trials}
    assert predicted(folder, few)
    said = capsys.readouterr().err
    assert re.search(r"out of time after 2\.\d\d h; the same command with more --hours", said)
    same = run_study(folder, settings, experiment="e")
    assert same.trials == few.trials, "no more hours, no more trials"
    more = run_study(folder, settings, experiment="e", hours=3)
    before, after = ({row.id: row for row in record.trials} for record in (few, more))
    assert {name: after[name] for name in before} == before
    assert len(after) == 4
    assert {row.status for name, row in after.items() if name not in before} == {"done"}
    assert predicted(folder, more)


def late(folder: Path) -> Any:
    """A clock that says two hours are spent."""
    clock = budget._clocks[folder]
    return clock._replace(before=clock.before.model_copy(update={"spent_s": 7200.0}))


def test_a_study_without_a_trial_starts_over(store: EmbeddingStore, tmp_path: Path) -> None:
    settings = make_settings(store, num_trials=2)
    assert run_study(tmp_path / "s", settings, experiment="e", hours=1e-9).trials == ()
    assert len(run_study(tmp_path / "s", settings, experiment="e", hours=1).trials) == 2


def test_a_space_of_two_points_makes_two_trials_and_says_so(
    store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = Space(dimensions={"train.seq_len": Range(low=2, high=3, integer=True)})
    settings = study_settings(store, space=space, num_trials=12)
    record = run_study(tmp_path / "s", settings, experiment="e")
    assert record.status == "done"
    assert sorted(row.settings["train.seq_len"] for row in record.trials) == [2, 3]
    assert "the space has 2 points, fewer than 12" in capsys.readouterr().err
    again = resume_study(tmp_path / "s", trials=20)
    assert again.trials == record.trials
    assert "done (2 trials); its space has no other point" in capsys.readouterr().err
    build()(["tune", "status", str(tmp_path / "s")], standalone_mode=False)
    assert "every point of the space was tried (2 points)" in capsys.readouterr().err


def test_a_study_of_two_numbers_ends_with_a_front(store: EmbeddingStore, tmp_path: Path) -> None:
    settings = make_settings(store, options=Options(objective="both"))
    record = run_study(tmp_path / "s", settings, experiment="e")
    assert {row.status for row in record.trials} <= {"done", "stopped"}
    assert all(row.best_loose and row.best_tight for row in record.trials)
    best = pareto_front(record)
    assert best
    tights, looses = ([getattr(row, n) for row in best] for n in ("best_tight", "best_loose"))
    assert tights == sorted(tights, reverse=True)
    assert looses == sorted(looses)


def test_the_best_are_trained_again_and_compared(
    store: EmbeddingStore, tmp_path: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    settings = make_settings(store, options=Options(top=2, final_seeds=2))
    record = run_study(folder, settings, experiment="e")
    final = read_final(folder)
    assert final is not None
    assert (final.split, final.num_games, len(final.finalists)) == ("valid", 2, 2)
    assert final.picked == final.finalists[0].trial == best_trial(folder).id
    runs = [folder / run for finalist in final.finalists for run in finalist.runs]
    assert len(runs) == 4
    seeds = {read_run(run).config.train.seed for run in runs}
    assert len(seeds) == 2
    assert settings.base.train.seed not in seeds
    for finalist in final.finalists:
        found = next(row for row in record.trials if row.id == finalist.trial)
        config = read_run(folder / found.run).config
        for run in finalist.runs:
            trained = read_run(folder / run)
            assert trained.status == "done"
            assert trained.config == config.updated({"seed": trained.config.train.seed})
    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("e")
    names = {run.info.run_name for run in client.search_runs([experiment.experiment_id])}
    assert {run.name for run in runs} <= names

    # A driver that died before the end goes on: nothing is trained twice.
    written = {run: (run / WEIGHTS).stat().st_mtime_ns for run in runs}
    (folder / "final.json").unlink()
    write_study(folder, record.model_copy(update={"status": "running"}))
    run_study(folder, settings, experiment="e")
    assert {run: (run / WEIGHTS).stat().st_mtime_ns for run in runs} == written
    assert read_final(folder) == final

    capsys.readouterr()
    command = build()
    command(["tune", "best", str(folder), "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    assert document["final"]["picked"] == document["trial"]["id"] == final.picked
    command(["tune", "status", str(folder)], standalone_mode=False)
    printed = capsys.readouterr()
    assert "Trained again, tight on 2 games of valid" in printed.out
    assert "the second" in printed.err
