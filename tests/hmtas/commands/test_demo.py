"""The demo goes from nothing to a ranked table of models and ensembles, and knows its end."""

import os
from pathlib import Path

import pytest

from hmtas.commands import demo
from hmtas.files import read_json
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import predictions_path, read_run, score_path

SEASON = ("--train", "4", "--valid", "4", "--test", "2", "--minutes", "4",
          "--streams", "vtn=6,vggish=3")  # fmt: skip
SWEEP = ("--preset", "smoke", "--trials", "2", "--max-epochs", "1", "--set", "width=8",
         "--set", "num_heads=2", "--weights", "fixed", "--experiment", "demo",
         "--top", "1", "--final-seeds", "1")  # fmt: skip


@pytest.mark.slow
@pytest.mark.ray
def test_the_demo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mlflow_store: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "SEASON", SEASON)
    monkeypatch.setattr(demo, "SWEEP", SWEEP)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    out = tmp_path / "demo"
    demo.demo(out)
    first = capfd.readouterr()
    models = sorted((out / "studies" / "sweep" / "trials").glob("[!.]*"))
    ensembles = [out / "ensembles" / name for name in ("mean", "weighted", "squared", "learned")]
    assert len(models) == 2
    for run in (*models, *ensembles):
        assert read_run(run).name in first.out
        assert read_json(score_path(run, "valid"))["cross_fitted"]
        assert not read_json(score_path(run, "test"))["cross_fitted"]
        stored = read_probabilities(predictions_path(run, "test"))
        assert len(stored.games) == 2
        assert not set(stored.games) & set(stored.provenance.fitted_games)
    selected = out / "selection" / "selected"
    assert read_run(selected).name in first.out
    assert not read_json(score_path(selected, "test"))["cross_fitted"]
    assert "best" in first.out + first.err
    assert "mlflow ui" in first.out + first.err or mlflow_store in first.out + first.err

    demo.demo(out)
    second = capfd.readouterr()
    assert "the demo is done" in second.err
    assert "[1/" not in second.err
    assert second.out == first.out
