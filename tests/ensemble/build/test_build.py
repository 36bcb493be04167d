"""Ensembles of run folders: no weight comes from what it is scored on, bad input is refused."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ensemble.build.build import apply_ensemble, fit_ensembles
from ensemble.build.members import read_ensemble
from ensemble.build.plan import plan_fit
from ensemble.build.refit import refit
from ensemble.combiners.methods import METHODS, USUAL
from ensemble.commands.cli import app
from ensemble.learned.network import FusionConfig
from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.records import Probabilities
from hmtas.runs.identity import find_copies
from hmtas.runs.probabilities import read_probabilities, write_probabilities
from hmtas.runs.record import MLFLOW_NOTE, RECORD, predictions_path, read_run, write_run
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.note import RunLog
from tests.support.members import (
    ACTIONS,
    NUM_ROWS,
    SPLITS,
    VALID,
    annotated,
    model,
    write_store,
)

QUICK = FusionConfig(epochs=1, feedforward=8, num_layers=1, held_out_share=0.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return write_store(tmp_path_factory.mktemp("store"), SPLITS)


@pytest.fixture
def runs(tmp_path: Path, store: EmbeddingStore) -> list[Path]:
    qualities = {"strong": 0.9, "fair": 0.5, "weak": 0.2}
    return [
        model(tmp_path / "runs" / name, store, seed=seed, quality=quality)
        for seed, (name, quality) in enumerate(qualities.items())
    ]


def fit(runs: list[Path], out: Path, method: str = "weighted", **options: object) -> Path:
    plan = plan_fit(runs, "valid", methods=(method,), fusion=QUICK, **options)  # type: ignore[arg-type]
    return fit_ensembles(plan, out)[method]


def weights_of(run: Path) -> list[float]:
    weights = [member.weight for member in read_ensemble(run)[1].members]
    assert None not in weights
    return weights


def fold_weights(run: Path) -> dict[tuple[str, ...], Any]:
    return {fold.games: fold.weights for fold in read_ensemble(run)[1].folds}


@pytest.mark.parametrize("method", METHODS)
def test_every_combiner_writes_a_run_folder_that_keeps_the_contract(
    method: str, runs: list[Path], store: EmbeddingStore, tmp_path: Path
) -> None:
    run = fit(runs, tmp_path / "out", method)
    assert run == tmp_path / "out" / method
    record = read_run(run)
    assert (record.kind, record.name, record.actions) == ("ensemble", method, ACTIONS)
    assert record.store_checksum == store.checksum
    stored = read_probabilities(predictions_path(run, "valid"))
    assert list(stored.halves) == sorted(store.halves_of(VALID))
    assert all(part.values.shape == (NUM_ROWS, 2) for part in stored.halves.values())
    assert stored.provenance.kind == "ensemble"
    fitted = not method.startswith("mean")
    assert stored.provenance.cross_fitted is fitted
    assert record.fitted_games == (("train 0", *VALID) if fitted else ("train 0",))
    applied = read_probabilities(apply_ensemble(run, "test"))
    assert list(applied.halves) == sorted(store.halves_of(SPLITS["test"]))
    assert applied.provenance.fitted_games == record.fitted_games
    assert not applied.provenance.cross_fitted


def test_better_members_weigh_more_and_squares_more_so(runs: list[Path], tmp_path: Path) -> None:
    weighted = weights_of(fit(runs, tmp_path / "out", "weighted"))
    squared = weights_of(fit(runs, tmp_path / "out", "squared"))
    assert weighted[0] > weighted[1] > weighted[2] > 0
    assert squared[0] > weighted[0]
    assert squared[2] < weighted[2]
    assert sum(weighted) == pytest.approx(1)
    assert weights_of(fit(runs, tmp_path / "out", "mean")) == pytest.approx([1 / 3] * 3)
    _, record = read_ensemble(tmp_path / "out" / "weighted")
    tight = np.array([member.tight for member in record.members])
    np.testing.assert_allclose(weighted, tight / tight.sum())
    np.testing.assert_allclose(squared, tight**2 / (tight**2).sum())


def test_a_member_gets_no_credit_for_labels_it_knows_in_the_fold_itself(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    folds = plan_fit(
        [model(tmp_path / "probe", store)], "valid", methods=("weighted",), num_folds=3
    ).folds
    known = folds[1]
    # Both draw the same noise, so they differ in the games of one fold alone.
    honest = model(tmp_path / "honest", store, seed=1)
    cheat = model(tmp_path / "cheat", store, seed=1, right_on=known)
    by_fold = fold_weights(fit([honest, cheat], tmp_path / "out", num_folds=3))
    noisy = read_probabilities(predictions_path(honest, "valid")).halves
    leaking = read_probabilities(predictions_path(cheat, "valid")).halves
    fused = read_probabilities(predictions_path(tmp_path / "out" / "weighted", "valid")).halves
    for games in folds:
        weights = np.array(by_fold[games])
        for half in store.halves_of(games):
            expected = weights[0] * noisy[half].values + weights[1] * leaking[half].values
            np.testing.assert_allclose(fused[half].values, expected, atol=1e-6)
        if games != known:
            assert weights[1] > weights[0] + 0.02


def test_the_weights_of_a_fold_do_not_change_with_its_own_rows(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    """The planted labels of a fold move the weights of the others, and not those of the fold."""
    fair = model(tmp_path / "fair", store, seed=5)
    plan = plan_fit([fair], "valid", methods=("weighted",), num_folds=3)
    known = plan.folds[0]
    found = []
    for name, right_on in (("plain", ()), ("planted", known)):
        other = tmp_path / name / "other"
        model(other, store, seed=6)
        if right_on:
            _overwrite_with_truth(other, store, right_on)
        run = fit([fair, other], tmp_path / name / "out", num_folds=3)
        found.append(fold_weights(run))
    plain, planted = found
    assert planted[known] == plain[known]
    assert all(planted[games][1] > plain[games][1] for games in plan.folds if games != known)


def _overwrite_with_truth(run: Path, store: EmbeddingStore, games: Iterable[str]) -> None:
    path = predictions_path(run, "valid")
    stored = read_probabilities(path)
    halves = dict(stored.halves)
    for half in store.halves_of(games):
        values = np.zeros((NUM_ROWS, 2), dtype=np.float32)
        events = annotated(half)
        values[events.time_s.astype(int), events.action] = 1
        halves[half] = Probabilities(half=half, values=values)
    write_probabilities(path, halves.values(), stored.provenance)


def test_the_learned_fusion_of_a_fold_has_not_seen_its_rows(
    store: EmbeddingStore, runs: list[Path], tmp_path: Path
) -> None:
    plan = plan_fit(runs, "valid", methods=("learned",), num_folds=3)
    known = plan.folds[0]
    before = read_probabilities(
        predictions_path(fit(runs, tmp_path / "a", "learned", num_folds=3), "valid")
    ).halves
    changed = read_probabilities(predictions_path(runs[0], "valid")).halves
    untouched = store.halves_of(known)[1]
    _overwrite_with_truth(runs[0], store, known[:1])
    after = read_probabilities(
        predictions_path(fit(runs, tmp_path / "b", "learned", num_folds=3), "valid")
    ).halves
    assert untouched in changed
    same_fold = store.halves_of(known[1:])
    assert same_fold
    for half in same_fold:  # the same network, the same rows
        np.testing.assert_array_equal(after[half].values, before[half].values)
    other = store.halves_of(plan.folds[1])[0]
    assert not np.array_equal(after[other].values, before[other].values)


@pytest.mark.parametrize("method", ["mean", "weighted", "squared"])
def test_the_order_of_the_members_is_free(method: str, runs: list[Path], tmp_path: Path) -> None:
    one = read_probabilities(predictions_path(fit(runs, tmp_path / "a", method), "valid"))
    two = read_probabilities(predictions_path(fit(runs[::-1], tmp_path / "b", method), "valid"))
    for half, part in one.halves.items():
        np.testing.assert_allclose(part.values, two.halves[half].values, atol=1e-6)


@pytest.mark.parametrize("method", ["mean", "weighted", "squared"])
def test_one_member_returns_itself(method: str, runs: list[Path], tmp_path: Path) -> None:
    plan = plan_fit(runs[:1], "valid", methods=(method,))
    assert any("one member" in note for note in plan.notes())
    fused = read_probabilities(predictions_path(fit(runs[:1], tmp_path / "out", method), "valid"))
    alone = read_probabilities(predictions_path(runs[0], "valid"))
    for half, part in alone.halves.items():
        np.testing.assert_array_equal(fused.halves[half].values, part.values)


def test_members_are_found_again_when_everything_moves_together(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    runs = [model(tmp_path / "old" / name, store, seed=i) for i, name in enumerate("ab")]
    fit(runs, tmp_path / "old" / "ensembles")
    (tmp_path / "old").rename(tmp_path / "new")
    assert apply_ensemble(tmp_path / "new" / "ensembles" / "weighted", "test").is_file()


def test_the_test_split_is_refused_by_name(runs: list[Path]) -> None:
    with pytest.raises(InputError, match="--split test: nothing is fitted on test games"):
        plan_fit(runs, "test")


def test_a_test_game_is_refused_under_any_name(runs: list[Path], tmp_path: Path) -> None:
    later = {"train": ("train 0",), "valid": VALID[1:], "test": (VALID[0], "test 0", "test 1")}
    moved = write_store(tmp_path / "store", later)
    with pytest.raises(InputError, match=r"has test games of .*\(the first 'valid 0'\)"):
        plan_fit(runs, "valid", store=moved.path)


def test_a_member_fitted_on_the_games_is_refused(
    store: EmbeddingStore, runs: list[Path], tmp_path: Path
) -> None:
    leaky = model(tmp_path / "leaky", store, fitted_games=("train 0", "valid 2"))
    with pytest.raises(
        InputError, match=r"leaky was fitted on 1 of 6 games \(the first 'valid 2'\)"
    ):
        plan_fit([*runs, leaky], "valid")


def test_an_ensemble_that_was_fitted_on_the_games_is_no_member(
    runs: list[Path], tmp_path: Path
) -> None:
    weighted = fit(runs, tmp_path / "out")
    with pytest.raises(InputError, match="weighted was fitted on 6 of 6 games"):
        plan_fit([*runs, weighted], "valid")


def test_games_without_annotations_are_refused(tmp_path: Path) -> None:
    splits = {"train": ("train 0",), "challenge": VALID}
    silent = write_store(tmp_path / "season", splits, labelled=("train 0",))
    run = model(tmp_path / "run", silent, splits=("challenge",))
    with pytest.raises(InputError, match=r"has no labels of 6 of 6 games \(the first 'valid 0'\)"):
        plan_fit([run], "challenge")


def test_members_of_different_stores_need_a_named_one(
    store: EmbeddingStore, runs: list[Path], tmp_path: Path
) -> None:
    larger = {**SPLITS, "train": ("train 0", "train 1")}
    other = write_store(tmp_path / "store", larger)
    foreign = model(tmp_path / "foreign", other)
    with pytest.raises(InputError, match=r"foreign and strong .* different stores .* --store"):
        plan_fit([*runs, foreign], "valid")
    plan = plan_fit([*runs, foreign], "valid", store=store.path)
    assert any(str(other.path) in note for note in plan.notes())


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        pytest.param("twice", "the same run was given twice", id="a run given twice"),
        pytest.param("unpredicted", "no stored probabilities of split 'valid'", id="no prediction"),
        pytest.param("no run", "no run here", id="no run folder"),
        pytest.param("none", "at least one run folder", id="no runs at all"),
        pytest.param(
            "method", "unknown combiner median; the combiners are mean", id="no such method"
        ),
    ],
)
def test_what_cannot_be_combined(
    break_it: str, message: str, runs: list[Path], store: EmbeddingStore, tmp_path: Path
) -> None:
    unpredicted = model(tmp_path / "silent", store, splits=())
    given, methods = {
        "twice": ([runs[0], runs[0]], METHODS),
        "unpredicted": ([*runs, unpredicted], METHODS),
        "no run": ([*runs, tmp_path], METHODS),
        "none": ([], METHODS),
        "method": (runs, ("median",)),
    }[break_it]
    with pytest.raises(InputError, match=message):
        plan_fit(given, "valid", methods=methods)


@pytest.mark.parametrize("known_by", ["predictions", "weights", "an ensemble of it alone"])
def test_one_model_in_two_folders_is_refused_by_name(
    known_by: str, runs: list[Path], store: EmbeddingStore, tmp_path: Path
) -> None:
    """Copied, or trained twice: as two trials of a sweep with the same point and seed."""
    if known_by == "weights":
        rest = {"weights_sha256": "9" * 64}
        twins = [model(tmp_path / name, store, seed=s, **rest) for s, name in enumerate("ab")]
    elif known_by == "predictions":
        twins = [runs[1], Path(shutil.copytree(runs[1], tmp_path / "old" / "copy"))]
    else:
        twins = [runs[1], fit(runs[1:2], tmp_path / "alone", "mean")]
    given = [runs[0], twins[0], runs[2], twins[1]]
    with pytest.raises(InputError, match="would count double") as refused:
        fit(given, tmp_path / "out")
    assert f"{twins[1]}: the same model as {twins[0]}" in str(refused.value)
    assert not (tmp_path / "out").exists()
    assert fit(given[:3], tmp_path / "out").is_dir()


def test_an_ensemble_of_one_model_is_that_model_in_any_order_of_its_games(
    runs: list[Path],
) -> None:
    stored = read_probabilities(predictions_path(runs[1], "valid"))
    turned = stored._replace(halves=dict(reversed(stored.halves.items())))
    assert find_copies([(read_run(runs[1]), stored), (read_run(runs[0]), turned)]) == {1: 0}


def test_a_model_that_is_in_two_members_is_said_to_count_twice(
    runs: list[Path], tmp_path: Path
) -> None:
    pair = fit(runs[:2], tmp_path / "pair", "mean")
    (note,) = [n for n in plan_fit([pair, runs[1]], "valid").notes() if "more than once" in n]
    assert f"{runs[1].name} is in mean and in " in note
    assert not [n for n in plan_fit(runs, "valid").notes() if "more than once" in n]


def test_an_older_ensemble_that_holds_a_model_twice_is_applied_and_fitted_again(
    runs: list[Path], tmp_path: Path
) -> None:
    given = [*runs, Path(shutil.copytree(runs[1], tmp_path / "copy"))]
    plan = plan_fit(given, "valid", methods=("weighted",), copies="keep")
    old = fit_ensembles(plan, tmp_path / "old")["weighted"]
    apply_ensemble(old, "test")
    again = refit(old, tmp_path / "again")
    assert weights_of(again) == weights_of(old)


def test_a_folder_that_is_no_ensemble_is_not_replaced(runs: list[Path], tmp_path: Path) -> None:
    taken = tmp_path / "out" / "weighted"
    taken.mkdir(parents=True)
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not an ensemble's folder"):
        fit(runs, tmp_path / "out")
    assert (taken / "notes.txt").read_text() == "mine"


def test_a_new_fit_leaves_nothing_of_the_old_one_but_its_place_in_mlflow(
    runs: list[Path], tmp_path: Path
) -> None:
    run = fit(runs, tmp_path / "out")
    apply_ensemble(run, "test")
    (run / "mlflow.json").write_text("{}")
    fit(runs[:2], tmp_path / "out")
    left = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    assert left == ["mlflow.json", "predictions/valid.arrow", "run.json"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["weighted"]


def test_an_ensemble_of_an_older_version_still_applies(runs: list[Path], tmp_path: Path) -> None:
    """Its record has a weight for each member, and nothing of spaces and settings."""
    run = fit(runs, tmp_path / "out")
    expected = read_probabilities(apply_ensemble(run, "test")).halves
    record = read_json(run / RECORD)
    kept = {"combiner", "split", "members", "seed", "folds"}
    record["ensemble"] = {k: value for k, value in record["ensemble"].items() if k in kept}
    write_json(run / RECORD, record)
    found = read_probabilities(apply_ensemble(run, "test")).halves
    for half, part in expected.items():
        np.testing.assert_array_equal(found[half].values, part.values)


def test_apply_refuses_games_it_was_fitted_on_and_members_trained_again(
    runs: list[Path], store: EmbeddingStore, tmp_path: Path
) -> None:
    run = fit(runs, tmp_path / "out")
    with pytest.raises(InputError, match=r"was fitted on 6 of 6 games \(the first 'valid 0'\)"):
        apply_ensemble(run, "valid")
    fewer = write_store(tmp_path / "season", {**SPLITS, "test": ("test 0",)})
    with pytest.raises(InputError, match="'test 1' is not in split 'test' of"):
        apply_ensemble(run, "test", store=fewer.path)
    assert apply_ensemble(run, "test", store=store.path).is_file()
    with pytest.raises(InputError, match="a run of kind 'model', not an ensemble"):
        apply_ensemble(runs[0], "test")
    record = read_run(runs[0]).model_copy(update={"created": "2025-01-01T00:00:00+00:00"})
    write_run(runs[0], record)
    with pytest.raises(InputError, match="strong was trained again since"):
        apply_ensemble(run, "test")


def test_the_usual_combiners_are_some_of_all() -> None:
    assert set(USUAL) < set(METHODS)


def test_the_verbs(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str | None]] = []

    def sync_run(run: Path, *, experiment: str | None) -> None:
        calls.append((run.name, experiment))

    monkeypatch.setattr("hmtas.tracking.run.sync_run", sync_run)
    state = RunLog(tracking_uri="sqlite://", experiment="derby", run_id="1", created="")
    write_json(runs[1] / MLFLOW_NOTE, state.model_dump(mode="json"))
    out = tmp_path / "out"
    runner = CliRunner()
    words = ["fit", *map(str, runs), "--combiner", "squared", "--combiner", "mean"]
    result = runner.invoke(app, [*words, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    row, other = json.loads(result.stdout)
    assert (row["method"], other["method"]) == ("squared", "mean")
    assert [member["name"] for member in row["members"]] == ["strong", "fair", "weak"]
    assert calls == [("squared", "derby"), ("mean", "derby")]
    unpredicted = runner.invoke(build(), ["score", str(out / "squared"), "--split", "test"])
    advice = f"`hmtas ensemble apply {out / 'squared'} --split test`"
    assert advice in str(unpredicted.exception)
    words = ["apply", str(out / "nowhere"), str(out / "squared"), "--split", "test"]
    result = runner.invoke(app, words)
    assert str(result.exception).startswith(f"1 of 2 runs failed: {out / 'nowhere'}: no run here")
    assert "squared" in result.stdout
    assert "strong" in result.stdout
    assert (out / "squared" / "predictions" / "test.arrow").is_file()
