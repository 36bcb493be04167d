"""Windows are the best of each action among the candidates, and no game chooses its own."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make_store
from tracked import make_run

from hmtas.errors import InputError
from hmtas.evaluate import read_windows
from hmtas.files import read_json
from hmtas.metrics import average_map
from hmtas.nms import non_max_suppression
from hmtas.probabilities import Provenance, write_probabilities
from hmtas.records import Events, HalfId, Probabilities
from hmtas.runs import predictions_path, score_path
from hmtas.store import EmbeddingStore
from tune.nms_windows import (
    MIN_EVENTS,
    Table,
    cross_fit,
    fit_nms_windows,
    parse_method,
    split_folds,
    tabulate,
)
from tune.run_windows import check_split, tune_run

ROWS = 240
CANDIDATES = (2, 4, 8, 16)


def make_table(*columns: list[float], num_events: int = 100) -> Table:
    """A table with the precisions of one action per column, at 2, 4, 8, 16 s."""
    return Table(
        np.array(CANDIDATES, dtype=float),
        np.array(columns).T,
        np.full(len(columns), num_events),
    )


def make_season(
    num_games: int, num_actions: int, seed: int
) -> tuple[dict[HalfId, Probabilities], dict[HalfId, Events]]:
    """Halves with an event every 30 s or so and noisy bumps around most of them."""
    generator = np.random.default_rng(seed)
    halves, events = {}, {}
    for game in range(num_games):
        half = HalfId(f"g{game}", 1)
        time_s = np.sort(generator.choice(np.arange(5, ROWS - 5), 8, replace=False)).astype(float)
        action = generator.integers(0, num_actions, 8)
        values = generator.random((ROWS, num_actions)).astype(np.float32) * 0.4
        for t, a in zip(time_s.astype(int), action, strict=True):
            values[t - 2 : t + 3, a] += np.array([0.1, 0.3, 0.5, 0.4, 0.2], np.float32)
        halves[half] = Probabilities(half=half, values=np.minimum(values, 1))
        events[half] = Events(half=half, time_s=time_s, action=action, visible=np.ones(8, bool))
    return halves, events


def tight(
    halves: dict[HalfId, Probabilities], events: dict[HalfId, Events], windows_s: np.ndarray
) -> float:
    spots = {half: non_max_suppression(p, windows_s, 0.0) for half, p in halves.items()}
    return average_map(spots, events, len(windows_s)).average_map


def test_each_action_gets_its_own_best_window() -> None:
    table = make_table([0.1, 0.5, 0.2, 0.0], [0.3, 0.2, 0.1, 0.9])
    assert fit_nms_windows(table).tolist() == [4, 16]


def test_of_equal_windows_the_one_closest_to_the_shared_window_wins() -> None:
    # Means: 0.45, 0.3, 0.75, 0.5: the shared window is 8 s. The second action is as good at 2.
    table = make_table([0.1, 0.2, 0.7, 0.2], [0.8, 0.4, 0.8, 0.8])
    assert fit_nms_windows(table).tolist() == [8, 8]


def test_an_action_with_few_events_takes_the_shared_window() -> None:
    table = make_table([0.1, 0.9, 0.2, 0.0], [0.3, 0.2, 0.1, 0.4])
    rare = table._replace(num_events=np.array([MIN_EVENTS, MIN_EVENTS - 1]))
    assert fit_nms_windows(rare).tolist() == [4, 4]


def test_the_fixed_method_gives_every_action_the_best_mean() -> None:
    table = make_table([0.1, 0.5, 0.2, 0.0], [0.3, 0.2, 0.1, 0.9])
    assert fit_nms_windows(table, "fixed").tolist() == [16, 16]  # means 0.2, 0.35, 0.15, 0.45


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), min_events=st.sampled_from([0, 8, 30]))
def test_exact_windows_never_score_below_any_one_window(seed: int, min_events: int) -> None:
    halves, events = make_season(4, 3, seed)
    games = [half.game for half in halves]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tune.nms_windows.MIN_EVENTS", min_events)
        (table,) = tabulate(halves, events, [games], candidates_s=CANDIDATES)
        best = tight(halves, events, fit_nms_windows(table))
    for window in CANDIDATES:
        assert best >= tight(halves, events, np.full(3, float(window))) - 1e-12


def test_the_probabilities_of_one_action_do_not_move_the_windows_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tune.nms_windows.MIN_EVENTS", 0)
    halves, events = make_season(6, 3, seed=1)
    noise = np.random.default_rng(2).random((ROWS, 1)).astype(np.float32)
    changed = {
        half: Probabilities(half=half, values=np.hstack([p.values[:, :2], noise]))
        for half, p in halves.items()
    }
    games = [half.game for half in halves]
    (before,) = tabulate(halves, events, [games], candidates_s=CANDIDATES)
    (after,) = tabulate(changed, events, [games], candidates_s=CANDIDATES)
    np.testing.assert_array_equal(before.precision[:, :2], after.precision[:, :2])
    assert not np.array_equal(before.precision[:, 2], after.precision[:, 2])


def test_candidates_that_drop_the_same_rows_score_the_same() -> None:
    halves, events = make_season(2, 2, seed=0)
    calls: list[None] = []
    (table,) = tabulate(
        halves,
        events,
        [["g0", "g1"]],
        candidates_s=(4, 5, 6),
        on_candidate=lambda: calls.append(None),
    )
    np.testing.assert_array_equal(table.precision[0], table.precision[1])
    assert tight(halves, events, np.full(2, 5.0)) == pytest.approx(table.precision[1].mean())
    assert len(calls) == 3


def planted(game: str, *, wants_narrow: bool) -> tuple[Probabilities, Events]:
    """A half whose score is better with a narrow window, or else with a wide one.

    Narrow: events come in pairs 3 s apart, of which a wide window drops one. Wide: every sure
    event has a wrong second peak 10 s later that is surer than the other events.
    """
    half = HalfId(game, 1)
    values = np.zeros((ROWS, 1), np.float32)
    sure = np.arange(20, ROWS - 20, 40)
    other = sure + (3 if wants_narrow else 20)
    values[sure, 0], values[other, 0] = 0.9, 0.6
    if not wants_narrow:
        values[sure + 10, 0] = 0.8
    time_s = np.sort(np.concatenate([sure, other])).astype(float)
    nothing, shown = np.zeros(len(time_s), np.int64), np.ones(len(time_s), bool)
    events = Events(half=half, time_s=time_s, action=nothing, visible=shown)
    return Probabilities(half=half, values=values), events


def test_windows_of_a_fold_do_not_see_its_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.nms_windows.MIN_EVENTS", 0)
    halves, events = {}, {}
    for game in ("g0", "g1", "g2", "g3", "g4"):
        probabilities, annotated = planted(game, wants_narrow=game == "g2")
        halves[probabilities.half], events[annotated.half] = probabilities, annotated
    (own,) = tabulate(halves, events, [["g2"]], candidates_s=(4, 24))
    assert fit_nms_windows(own).tolist() == [4]
    fitted = cross_fit(halves, events, ["Goal"], split="valid", candidates_s=(4, 24))
    of_game = {game: fold.windows_s["Goal"] for fold in fitted.folds for game in fold.games}
    assert of_game["g2"] == 24, "the fold of the odd game follows the other games"


@given(num_games=st.integers(2, 23), seed=st.integers(0, 99))
def test_folds_hold_every_game_once(num_games: int, seed: int) -> None:
    games = [f"g{i}" for i in range(num_games)]
    folds = split_folds(games, seed=seed)
    assert sorted(game for fold in folds for game in fold) == sorted(games)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    assert len(folds) == min(5, num_games)


def test_one_game_cannot_be_cross_fitted() -> None:
    with pytest.raises(InputError, match="needs at least 2 games with labels, got 1"):
        split_folds(["g0", "g0"])


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


def test_a_run_gets_its_windows_and_its_cross_fitted_score(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    run = make_predicted(tmp_path / "m", store, "valid")
    tuned = tune_run(run, "valid")
    assert read_windows(run / "windows.json") == tuned.fitted
    assert sorted(g for fold in tuned.fitted.folds for g in fold.games) == sorted(
        store.games("valid")
    )
    score = read_json(score_path(run, "valid"))
    assert score["cross_fitted"] is True
    assert score["tight"] == tuned.after["tight"]
    difference, low, high = tuned.difference
    gain = tuned.after["tight"]["average_map"] - tuned.before["tight"]["average_map"]
    assert difference == pytest.approx(gain)
    assert low <= high


def test_nothing_is_fitted_on_test_games(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is fitted on test games"):
        check_split("test")
    disguised = make_predicted(tmp_path / "m", store, "test")
    predictions_path(disguised, "test").rename(predictions_path(disguised, "valid"))
    with pytest.raises(InputError, match=r"2 of its games, .* are test games"):
        tune_run(disguised, "valid")
    assert not (disguised / "windows.json").exists()


def test_games_that_trained_the_model_are_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    seen = make_predicted(tmp_path / "p2", store, "valid", fitted_games=store.games("valid"))
    with pytest.raises(InputError, match=r"3 of these games, .* trained the model"):
        tune_run(seen, "valid")
    fused = make_predicted(
        tmp_path / "e", store, "valid", fitted_games=store.games("valid"), cross_fitted=True
    )
    assert tune_run(fused, "valid").fitted.split == "valid"


def test_an_unknown_method_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--method must be one of exact, fixed, got 'best'"):
        parse_method("best")
