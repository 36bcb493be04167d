"""Actions that the thesis does not know go all the way, from training to ensembles and reports."""

import json
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hmtas.ablation.pictures import draw_positives
from hmtas.ablation.results import Positives
from hmtas.ablation.scores import count_positives
from hmtas.cli import build
from hmtas.config import THESIS_NMS_WINDOWS_S, THESIS_WEIGHTS, SpottingConfig
from hmtas.metric.averages import average_map
from hmtas.prediction.slide import predict_run
from hmtas.presets import preset
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import predictions_path, read_run, score_path
from hmtas.scoring.score import read_score
from hmtas.settings import parse_settings
from hmtas.spotting.spots import read_windows, spot
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.style import write_figure
from hmtas.training.loop import fit
from hmtas.training.on_store import on_store
from tests.support.rallies import ACTIONS, make_rallies
from tests.support.small import make_config
from tests.support.swept import make_sweep
from tune.report.page import write_report
from tune.report.repeat import model_line
from tune.space.default import build_space
from tune.space.labels import space_table
from tune.study.settings import sweep_base
from tune.windows.fit import tune_run

Hmtas = Callable[..., Any]


@pytest.fixture(scope="module")
def rallies(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_rallies(tmp_path_factory.mktemp("rallies"))


@pytest.fixture
def hmtas(mlflow_store: str, capsys: pytest.CaptureFixture[str]) -> Hmtas:
    """The program; returns the JSON that it prints."""

    def call(*words: object) -> Any:
        line = [*map(str, words), "--json"]
        build()(line, prog_name="hmtas", standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return call


def no_number_of_the_thesis(text: str) -> bool:
    return not any(name in text for name in (*THESIS_NMS_WINDOWS_S, *THESIS_WEIGHTS))


def score_under_9_s(run: Path, store: EmbeddingStore) -> float:
    stored = read_probabilities(predictions_path(run, "test"))
    found = spot(stored.halves, ACTIONS, SpottingConfig(windows_s={}))
    return average_map(found, store.events_of(store.games("test")), len(ACTIONS)).average_map


def test_other_actions_go_all_the_way(
    rallies: EmbeddingStore, hmtas: Hmtas, tmp_path: Path
) -> None:
    settings: dict[str, dict[str, Any]] = {
        "windows": {"seq_len": 3, "class_weights.power": 0.5},
        "contexts": {"kind": "dense", "context_s": 20.0, "margin_s": 4.0, "reach_s": 4.0,
                     "radius_s": 0.5, "stop_on": "mean", "stop_windows": "fitted"},
    }  # fmt: skip
    runs = [tmp_path / name for name in settings]
    for run, chosen in zip(runs, settings.values(), strict=True):
        config = make_config(width=16, max_epochs=6, learning_rate=5e-3, **chosen)
        config = config.updated({"gamma": 1.0})
        fit(rallies, config, run, name=run.name)
        for split in ("valid", "test"):
            predict_run(run, rallies, split)
        assert no_number_of_the_thesis((run / "run.json").read_text())
        assert tuple(read_run(run).config.spotting.windows_s) == ACTIONS
    for run in runs:
        before = hmtas("score", run, "--split", "test")
        assert set(before["tight"]["per_action"]) == set(ACTIONS)
        found = hmtas("tune", "windows", run, "--kinds", "hard,linear")
        assert tuple(read_windows(run / "windows.json").windows_s) == ACTIONS
        assert no_number_of_the_thesis(json.dumps(found))
        wide = score_under_9_s(run, rallies)
        assert before["tight"]["average_map"] > wide + 0.1

    hmtas("ensemble", "fit", *runs, "--out", tmp_path / "fused", "--combiner", "mean")
    fused = tmp_path / "fused" / "mean"
    assert no_number_of_the_thesis((fused / "run.json").read_text())
    hmtas("ensemble", "apply", fused, "--split", "test")
    hmtas("score", fused, "--split", "test")
    spotting = read_score(score_path(fused, "test")).spotting
    assert spotting.windows_s == read_run(runs[0]).config.spotting.windows_s
    chosen = hmtas(
        *("ensemble", "select", *runs, "--out", tmp_path / "chosen", "--folds", "3"),
        *("--combiner", "mean", "--combiner", "greedy"),
    )
    assert chosen["chosen"] in ("single", "mean", "greedy")
    assert "Goal" not in json.dumps(hmtas("compare", *runs, fused, "--split", "test"))


def test_the_page_of_a_study_has_the_actions_of_its_store_alone(
    rallies: EmbeddingStore, tmp_path: Path
) -> None:
    make_sweep(tmp_path / "s", rallies, "done done stopped", weights="group", search_windows=True)
    page = write_report(tmp_path / "s").read_text(encoding="utf-8")
    for action in ACTIONS:
        assert action in page
    assert not [name for name in ("Throw-in", "Kick-off", "Substitution") if name in page]


@pytest.mark.parametrize(
    "settings", [{}, {"default_window_s": 9.0}, {"windows_s.ball bounces": 1.5, "power": 0.5}]
)
def test_the_line_that_repeats_a_study_has_the_same_windows(
    rallies: EmbeddingStore, tmp_path: Path, settings: dict[str, Any]
) -> None:
    record = make_sweep(tmp_path / "s", rallies, "done")
    start = sweep_base(preset("smoke")).updated({"train.seed": 0})
    base = on_store(start.updated(settings), rallies)
    changed = record.settings.model_copy(update={"base": base})
    for place in (str(rallies.path), str(tmp_path / "gone")):
        again = changed.model_copy(update={"store": place})
        study = record.model_copy(update={"settings": again})
        words = shlex.split(model_line(tmp_path / "s", study))
        sets = [word for flag, word in pairwise(words) if flag == "--set"]
        assert on_store(start.updated(parse_settings(sets)), rallies) == base
        assert bool(sets) == bool(settings or place.endswith("gone"))


def test_the_space_of_a_study_has_windows_that_such_events_allow(
    rallies: EmbeddingStore, hmtas: Hmtas
) -> None:
    words = ("tune", "space", rallies.path, "--weights", "per_action", "--search-windows")
    found = hmtas(*words)
    assert no_number_of_the_thesis(json.dumps(found))
    windows_s = on_store(make_config(), rallies).spotting.windows_s
    for action in ACTIONS:
        assert f"train.class_weights.by_action.{action}" in found["dimensions"]
        searched = found["dimensions"][f"spotting.windows_s.{action}"]
        assert searched["low"] < windows_s[action] < searched["high"] < 9
    base = on_store(make_config(), rallies)
    space = build_space(base, ACTIONS, weights="group")
    (tied,) = (row[5] for row in space_table(base, space).rows if row[0].startswith("weight: "))
    assert tied == ", ".join(ACTIONS[1:]), "a name may hold a dot"


@pytest.mark.parametrize("num", [1, 2, 30])
def test_one_action_two_and_thirty_with_long_names(tmp_path: Path, num: int) -> None:
    names = tuple(f"player {i} of the visiting team hits / {'very ' * 16}hard" for i in range(num))
    never = names[-1] if num > 1 else None
    store = make_rallies(tmp_path / "season", names, seconds=40, never=never)
    run = tmp_path / "run"
    fit(store, make_config(max_epochs=1, power=0.5), run, name="run")
    predict_run(run, store, "valid")
    tuned = tune_run(run, "valid", kinds=("hard",))
    assert tuple(tuned.fitted.windows_s) == names
    assert tuple(tuned.after.num_events) == names
    make_sweep(tmp_path / "s", store, "done done", weights="per_action", search_windows=True)
    page = write_report(tmp_path / "s").read_text(encoding="utf-8")
    assert all(name in page for name in names)
    games = store.games("train")
    positives = Positives(
        seq_len=3,
        num_windows=sum(store.halves[half].num_rows for half in store.halves_of(games)),
        counts=count_positives(store, games, 3),
    )
    write_figure(draw_positives(positives), tmp_path / "positives.png")
