"""Windows of run folders: fitted, scored, refused, written; and the verb that does it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.formats.submission import write_submission
from hmtas.records import HalfId, Probabilities, Spots
from hmtas.runs.probabilities import Provenance, write_probabilities
from hmtas.runs.record import predictions_path, score_path
from hmtas.spotting.spots import read_windows
from hmtas.spotting.windows import (
    Method,
    parse_kinds,
)
from hmtas.store.local import EmbeddingStore
from hmtas.validation import one_of
from tests.support.small import make_store
from tests.support.tracked import make_run
from tune.commands.cli import app
from tune.windows.fit import tune_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("season"), valid=3)


def make_predicted(run: Path, store: EmbeddingStore, split: str, **changes: object) -> Path:
    """A run folder with invented probabilities of a split."""
    make_run(run, store=str(store.path), actions=store.actions)
    generator = np.random.default_rng(0)
    halves = [
        Probabilities(
            half=half,
            values=generator.random(
                (store.halves[half].num_rows, len(store.actions)), dtype=np.float32
            ),
        )
        for half in store.halves_of(store.games(split))
    ]
    provenance = {
        "run": run.name,
        "split": split,
        "store": str(store.path),
        "store_checksum": store.checksum,
        "actions": store.actions,
        "rate_hz": store.rate_hz,
        "fitted_games": store.games("train"),
        "created": "2026-01-02T03:04:05+00:00",
    }
    write_probabilities(
        predictions_path(run, split), halves, Provenance.model_validate(provenance | changes)
    )
    return run


@pytest.mark.parametrize("method", ["exact", "global", "fixed"])
def test_a_run_gets_its_windows_and_its_cross_fitted_score(
    store: EmbeddingStore, tmp_path: Path, method: Method
) -> None:
    run = make_predicted(tmp_path / "m", store, "valid")
    tuned = tune_run(run, "valid", method=method)
    assert read_windows(run / "windows.json") == tuned.fitted
    assert tuned.fitted.method == method
    assert sorted(g for fold in tuned.fitted.folds for g in fold.games) == sorted(
        store.games("valid")
    )
    score = read_json(score_path(run, "valid"))
    assert score["cross_fitted"] is True
    assert score["tight"] == tuned.after.tight.model_dump(mode="json")
    difference, low, high = tuned.difference
    gain = tuned.after.tight.average_map - tuned.before.tight.average_map
    assert difference == pytest.approx(gain)
    assert low <= high


def test_nothing_is_fitted_on_test_games(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is fitted on test games"):
        tune_run(tmp_path / "m", "test")
    disguised = make_predicted(tmp_path / "m", store, "test")
    predictions_path(disguised, "test").rename(predictions_path(disguised, "valid"))
    with pytest.raises(InputError, match=r"has test games of .*, 2 of 2 games"):
        tune_run(disguised, "valid")
    assert not (disguised / "windows.json").exists()


def test_games_that_trained_the_model_are_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    seen = make_predicted(tmp_path / "p2", store, "valid", fitted_games=store.games("valid"))
    with pytest.raises(InputError, match=r"was fitted on 3 of 3 games .*p2 run"):
        tune_run(seen, "valid")
    fused = make_predicted(
        tmp_path / "e", store, "valid", fitted_games=store.games("valid"), cross_fitted=True
    )
    assert tune_run(fused, "valid").fitted.split == "valid"


def test_spots_and_files_are_refused_and_do_not_stop_the_runs_beside_them(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    run = make_predicted(tmp_path / "m", store, "valid")
    half = HalfId(store.games("valid")[0], 1)
    for path in (tmp_path / "theirs.zip", run / "spots"):
        write_submission(path, {half: Spots.empty(half)}, store.actions)
    for path, error in (
        (tmp_path / "theirs.zip", "these are spots, suppressed already"),
        (run / "spots", "these are spots, suppressed already"),
        (predictions_path(run, "valid"), "windows are written into a run folder"),
        (tmp_path / "nothing", "no run here"),
    ):
        assert error in str(CliRunner().invoke(app, ["windows", str(path)]).exception)
        result = CliRunner().invoke(app, ["windows", str(path), str(run)])
        assert isinstance(result.exception, InputError)
        assert str(result.exception).startswith("1 of 2 runs failed: ")
        assert error in str(result.exception)
        assert str(path) in str(result.exception)
        (run / "windows.json").unlink()  # written all the same
    assert tune_run(run, "valid").fitted.split == "valid", "spots below a run do not matter"


def test_an_unknown_method_or_rule_is_an_input_error() -> None:
    with pytest.raises(InputError, match="one of exact, optuna, global, fixed, got 'best'"):
        one_of("method", "best", Method)
    assert parse_kinds("linear,hard") == ("linear", "hard")
    for text in ("soft", "hard,hard", ""):
        with pytest.raises(InputError, match=f"--kinds must be some of .* got '{text}'"):
            parse_kinds(text)


def test_the_verb_says_which_method_it_used(store: EmbeddingStore, tmp_path: Path) -> None:
    run = make_predicted(tmp_path / "m", store, "valid")
    for options, method, kinds in (
        (["--kinds", "hard,squared"], "exact", {"hard", "squared"}),
        (["--method", "global", "--kinds", "linear"], "global", {"linear"}),
    ):
        result = CliRunner().invoke(app, ["windows", str(run), *options, "--json"])
        assert result.exit_code == 0, result.output
        (found,) = json.loads(result.stdout)
        assert found["windows"]["method"] == method
        assert set(found["windows"]["kinds"].values()) <= kinds
        shown = CliRunner().invoke(app, ["windows", str(run), *options])
        assert method in shown.output
