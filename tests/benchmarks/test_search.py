"""The replay of searches counts its work, gives rivals as much, and finds what is there."""

import importlib.util
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest

from tests.support.paths import ROOT
from tests.support.small import make_config
from tune.commands.model import model
from tune.space.default import build_space, space_document
from tune.space.dimensions import first_points, suggest
from tune.study.options import Options
from tune.study.settings import sweep_base

FILE = ROOT / "benchmarks" / "search.py"
EPOCHS = 9
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """40 points whose quality is L / 20, by three trainings that differ by a hundredth."""
    base = sweep_base(make_config(max_epochs=EPOCHS, patience=EPOCHS))
    gammas = {"low": 0.5, "high": 1.0}
    wanted = {"dimensions": {"seq_len": {"low": 2, "high": 7}, "gamma": gammas}}
    space = build_space(base, [], overrides=wanted)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(first_points(base, space)[0])
    trials = []
    for point in range(40):
        trial = study.ask()
        suggest(trial, space=space)
        for seed in range(3):
            level = trial.params["train.seq_len"] / 20 + 0.01 * (seed - 1)
            curve = (level * (1 - 0.5 ** np.arange(1, EPOCHS + 1))).tolist()
            names = ("held_out", "picked", "judged")
            known = {"point": point, "seed": seed, "params": trial.params}
            trials.append({**known, **dict.fromkeys(names, curve)})
    return {
        "streams": {"vtn": 4},
        "base": base.model_dump(mode="json"),
        "space": space_document(space),
        "trials": trials,
    }


def test_every_epoch_and_its_work_are_counted(benchmark: ModuleType, table: dict[str, Any]) -> None:
    learner = benchmark.Learner(table)
    assert learner.explained > 0.9
    how = {"seed": 0, "workers": 4, "num_trials": 30}
    full = benchmark.search(learner, benchmark.FULL, **how)
    again = benchmark.TOP * benchmark.FINAL_SEEDS * EPOCHS
    assert full.epochs == 30 * EPOCHS + again
    ours = benchmark.search(learner, benchmark.DEFAULT, **how)
    assert 30 + again < ours.epochs < full.epochs
    dearest = learner.cost({"train.seq_len": 7, "train.gamma": 0.7})
    assert 2 < dearest < 3, "L = 7 beside the preset's 3"
    for rival in benchmark.RIVALS.values():
        found = benchmark.search(learner, rival, **how, most_work=ours.work)
        assert ours.work <= found.work < ours.work + dearest
    best = 100 * 7 / 20 * (1 - 0.5**EPOCHS)  # L - 1 would have 5 points less
    # Both end at L = 7; between the 40 points the forest rounds the corners of the landscape.
    assert full.quality == pytest.approx(best, abs=4)
    assert ours.quality == pytest.approx(best, abs=4)


def test_work_is_what_the_epochs_cost(
    benchmark: ModuleType, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = benchmark.Learner(table)
    monkeypatch.setattr(learner, "cost", lambda params: 2.5)
    found = benchmark.search(learner, benchmark.DEFAULT, seed=0, workers=4, num_trials=12)
    assert found.work == pytest.approx(2.5 * found.epochs)


def test_a_search_is_the_same_for_the_same_seed(
    benchmark: ModuleType, table: dict[str, Any]
) -> None:
    learner = benchmark.Learner(table)
    method = benchmark.Method(Options(sampler="random"), again=True)
    how = {"workers": 8, "num_trials": 12}
    one, same, other = (benchmark.search(learner, method, seed=s, **how) for s in (1, 1, 2))
    assert one == same != other


def test_the_replay_has_the_defaults_of_the_verb(benchmark: ModuleType) -> None:
    defaults = inspect.signature(model).parameters
    assert (
        defaults["top"].default,
        defaults["final_seeds"].default,
    ) == (benchmark.TOP, benchmark.FINAL_SEEDS)
    for name in ("sampler", "pruner", "objective"):
        assert getattr(benchmark.DEFAULT.options, name) == defaults[name].default


def test_the_mean_is_what_the_forest_predicts(benchmark: ModuleType, table: dict[str, Any]) -> None:
    learner = benchmark.Learner(table)
    for trial in table["trials"][::7]:
        place = learner._place(trial["params"])[None]
        expected = learner.forest.predict(place).reshape(3, EPOCHS)
        np.testing.assert_allclose(learner.mean(trial["params"]), expected, rtol=1e-12)


def test_a_training_is_its_mean_and_the_noise_of_a_real_one(
    benchmark: ModuleType, table: dict[str, Any]
) -> None:
    learner = benchmark.Learner(table)
    params = table["trials"][0]["params"]
    rng = np.random.default_rng(0)
    found = [learner.train(params, rng)[2, -1] - learner.mean(params)[2, -1] for _ in range(50)]
    # Three trainings, a hundredth apart: their own mean hides a part of what they differ by.
    step = 0.01 * np.sqrt(3 / 2) * (1 - 0.5**EPOCHS)
    assert sorted({round(one / step) for one in found}) == [-1, 0, 1]
    assert all(abs(one / step - round(one / step)) < 1e-6 for one in found)


def test_numbers_by_hand(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {
        "default": [(0.1, 0.3, 0.5), (0.3, 0.5, -0.1)],
        "random": [(0.1, 0.3, 1.5), (0.3, 0.5, 1.9)],
    }
    rows = {name: [benchmark.Row(*row) for row in found] for name, found in numbers.items()}
    found = benchmark.show(rows, [10.0, 12.0], 100)
    assert found == {
        "work_share": 0.2,
        "epochs_share": 0.4,
        "regret_points": 0.2,
        "random_work_share": 0.2,
        "random_epochs_share": 0.4,
        "random_regret_points": 1.7,
    }
    # 1.0 and 2.0 behind: 1.5 on average, with a standard error of 0.5.
    assert "1.50  0.50 |" in capsys.readouterr().out


def test_the_last_line_has_every_number(
    benchmark: ModuleType,
    table: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "curves.json").write_text(json.dumps(table))
    words = [
        "search.py",
        "--curves",
        str(tmp_path / "curves.json"),
        "--trials",
        "12",
        "--seeds",
        "2",
    ]
    monkeypatch.setattr("sys.argv", [*words, "--json"])
    benchmark.main()
    printed = capsys.readouterr().out
    found = json.loads(printed.splitlines()[-1])
    rivals = ("", "random_", "tpe_", "asha_")
    assert list(found) == [
        f"{rival}{key}"
        for rival in rivals
        for key in ("work_share", "epochs_share", "regret_points")
    ]
    assert 0 < found["work_share"] <= found["tpe_work_share"] < found["work_share"] + 0.05
