"""`hmtas compare` ranks by validation score only, hides nothing, and says how to go on."""

import json
from pathlib import Path

import pytest

from hmtas.commands.compare import compare
from hmtas.errors import InputError
from hmtas.tracking.parent import Parent
from hmtas.tracking.run import sync_run
from tests.support.tracked import copy_database, make_run, printed_lines, write_score


@pytest.fixture
def season(work: Path) -> Path:
    """Three models and an ensemble: the best by validation is not the best by test."""
    Parent(work, "e").open()
    for name, valid, test in (("a", 0.40, 0.60), ("b", 0.50, 0.30), ("c", 0.45, None)):
        write_score(make_run(work / name), "valid", valid)
        if test:
            write_score(work / name, "test", test)
        sync_run(work / name, experiment="e")
    ensemble = {"combiner": "mean", "split": "valid", "members": []}
    mean = make_run(work / "mean", kind="ensemble", history=(), best_epoch=None, ensemble=ensemble)
    write_score(mean, "valid", 0.55, cross_fitted=True)
    write_score(mean, "test", 0.52)
    sync_run(mean, experiment="e")
    sync_run(make_run(work / "d"), experiment="e")  # no score yet
    return work


def test_one_table_best_validation_first(season: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare()
    out = printed_lines(capsys)
    rows = [line for line in out if line.split()[0] in ("a", "b", "c", "d", "mean")]
    assert rows == [
        "mean ensemble - - - 55.00* 52.00 to 57.00 70.00 52.00 49.00 to 54.00 70.00",
        "b model 4 0.60 2 50.00 47.00 to 52.00 70.00 30.00 27.00 to 32.00 70.00",
        "c model 4 0.60 2 45.00 42.00 to 47.00 70.00 - -",
        "a model 4 0.60 2 40.00 37.00 to 42.00 70.00 60.00 57.00 to 62.00 70.00",
        "d model 4 0.60 2 - - - -",
    ]
    best = next(line for line in out if line.startswith("Best"))
    assert best == (
        "Best by validation: mean (ensemble), tight 55.00 [52.00, 57.00], cross-fitted. "
        "On test: 52.00 [49.00, 54.00]."
    )
    assert "* cross-fitted over games: every game scored by a fit that left it out." in out
    assert "Without a score yet, listed last: d." in out
    assert f"ui --backend-store-uri sqlite:///{season}/mlflow.db --host 127.0.0.1" in out[-1]


def test_of_many_runs_the_best_are_shown(season: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(limit=2)
    shown = capsys.readouterr()
    rows = [line.split()[0] for line in shown.out.splitlines() if " model " in line]
    assert rows == ["b"], "after the ensemble"
    assert "the best 2 of more; --limit 0 shows all" in shown.err
    for everything in (0, 5):
        compare(limit=everything)
        shown = capsys.readouterr()
        assert sum(" model " in line for line in shown.out.splitlines()) == 4
        assert "of more" not in shown.err
    compare(limit=2, split="test")
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if " model " in line]
    assert rows == ["b"], "c, which is next by validation, has no score on test"
    with pytest.raises(InputError, match="no run has a score on split 'challenge'"):
        compare(limit=1, split="challenge")


def test_runs_of_several_stores_are_said_to_be(
    season: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare()
    assert "note: " not in capsys.readouterr().err
    write_score(make_run(season / "other", store_checksum="9" * 64), "valid", 0.3)
    sync_run(season / "other", experiment="e")
    compare()
    said = " ".join(capsys.readouterr().err.split())
    assert "note: these runs were made on 2 stores; their scores compare only where" in said


def test_test_scores_never_name_the_best(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, test in (("a", 0.1), ("b", 0.9)):
        write_score(make_run(work / name), "test", test)
        sync_run(work / name, experiment="e")
    compare()
    out = printed_lines(capsys)
    assert any(line.startswith("Best: none can be named") for line in out)
    compare(as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["best"] is None
    assert [row["name"] for row in document["runs"]] == ["a", "b"]  # by name, not by test


def test_one_split(season: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(split="test")
    out = printed_lines(capsys)
    order = [line.split()[0] for line in out if line.split()[0] in ("a", "b", "c", "mean")]
    assert order == ["mean", "b", "c", "a"]  # still by validation
    assert [line for line in out if line.startswith("best")] == ["best test test"]
    with pytest.raises(InputError, match=r"split 'challenge'; .*: valid, test"):
        compare(split="challenge")


def test_json(season: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(experiment="e", as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["experiment"] == "e"
    assert document["best"] == "mean"
    first = document["runs"][0]
    assert first["scores"]["valid"]["tight"] == 0.55
    assert first["scores"]["valid"]["cross_fitted"] is True
    assert first["scores"]["test"]["per_action"]["Yellow->red card"] == 0.52
    assert "Red card" not in first["scores"]["test"]["per_action"]


def test_the_experiment_used_last_is_taken_and_said(
    season: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sync_run(make_run(season / "new", created="2030-01-01T00:00:00+00:00"), experiment="later")
    compare()
    captured = capsys.readouterr()
    assert captured.err.startswith("experiment 'later', the latest of 2; others")
    assert captured.out.splitlines()[0].startswith("later:")


def test_run_folders(season: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_score(season / "c", "valid", 0.7)  # scored since, and not yet logged
    fresh = make_run(season / "fresh")  # never logged
    write_score(fresh, "valid", 0.1)
    compare(runs=[season / "a", season / "c", fresh], as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["runs"]] == ["c", "a", "fresh"]
    assert (fresh / "mlflow.json").is_file()


def test_runs_that_failed_or_still_run_say_so(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sync_run(make_run(work / "a", status="running"), status="FAILED")
    sync_run(make_run(work / "b"))
    compare()
    out = printed_lines(capsys)
    assert any(line.startswith("a ") and line.endswith("failed") for line in out)
    assert any(line.startswith("b ") and line.endswith("finished") for line in out)


def test_a_narrow_terminal_loses_intervals_not_figures(
    season: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, no colours
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    compare()
    out = printed_lines(capsys)
    assert "mean ensemble - - - 55.00* 70.00 52.00 70.00" in out
    assert any("intervals are left out" in line for line in out)


def test_nothing_there(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds no run of hmtas yet"):
        compare()
    with pytest.raises(InputError, match="no experiment 'x'; there are: none"):
        compare(experiment="x")
    with pytest.raises(InputError, match="not both"):
        compare(runs=[work], experiment="x")
    with pytest.raises(InputError, match=r"run\.json is missing"):
        compare(runs=[work / "gone"])
    Parent(work, "e").open()
    with pytest.raises(InputError, match="'e' holds no model or ensemble yet"):
        compare()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no MLflow database here"):
        compare()
    assert not (tmp_path / "mlflow.db").exists()


def test_runs_of_two_stores(
    work: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sync_run(make_run(work / "a"))
    copy_database(tmp_path_factory, tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    sync_run(make_run(tmp_path / "other" / "b"))
    with pytest.raises(InputError, match="different MLflow stores"):
        compare(runs=[work / "a", tmp_path / "other" / "b"])
