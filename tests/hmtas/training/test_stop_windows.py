"""A model in training is scored with NMS windows that other games chose, where it is asked for."""

from pathlib import Path

import numpy as np
import pytest

from hmtas.config import SpottingConfig
from hmtas.formats.actions import ACTIONS
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map
from hmtas.records import Events, HalfId, Probabilities, Spots
from hmtas.spotting.spots import spot
from hmtas.spotting.table import tabulate
from hmtas.spotting.windows import every_setting, fit_exact, spot_unseen
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.small import make_config, make_store
from tune.space.default import build_space
from tune.study.settings import sweep_base, with_windows

PENALTY = ACTIONS.index("Penalty")  # the thesis's window is 12 s


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("season"), train=20, valid=1, test=1)


def twins(num_pairs: dict[str, int]) -> tuple[dict[HalfId, Probabilities], dict[HalfId, Events]]:
    """Pairs of penalties 4 s apart in the half of each game, the first seen a trace better.

    Both confidences reach the same threshold.
    """
    halves, events = {}, {}
    for game, pairs in num_pairs.items():
        half, first_s = HalfId(game, 1), 60.0 + 30 * np.arange(pairs)
        values = np.zeros((400, len(ACTIONS)), dtype=np.float32)
        values[first_s.astype(int), PENALTY] = 0.904
        values[first_s.astype(int) + 4, PENALTY] = 0.902
        halves[half] = Probabilities(half=half, values=values)
        events[half] = penalties(half, np.sort([*first_s, *(first_s + 4)]))
    return halves, events


def penalties(half: HalfId, time_s: np.ndarray) -> Events:
    num = len(time_s)
    return Events(
        half=half, time_s=time_s, action=np.full(num, PENALTY), visible=np.ones(num, dtype=bool)
    )


def precision(spots: dict[HalfId, Spots], events: dict[HalfId, Events]) -> float:
    return float(average_map(spots, events, len(ACTIONS)).per_action[PENALTY])


def test_a_window_that_the_other_games_choose_finds_what_the_thesis_window_hides() -> None:
    halves, events = twins(dict.fromkeys("abcdef", 1))
    # 12 s hide the second of two penalties 4 s apart: half the recall, 6 of 11 levels.
    assert precision(spot(halves, ACTIONS, SpottingConfig()), events) == pytest.approx(6 / 11)
    assert precision(spot_unseen(halves, events, ACTIONS), events) == 1


def test_a_game_has_no_part_in_its_own_windows() -> None:
    halves, events = twins({"a": 10, "b": 1})
    before = spot_unseen(halves, events, ACTIONS)
    mine = HalfId("a", 1)
    assert len(before[mine].time_s[before[mine].confidence > 0.5]) == 20
    # As if every second penalty of this game had been none: of both games a wide window is best.
    events[mine] = penalties(mine, events[mine].time_s[::2])
    (table,) = tabulate(halves, events, [["a", "b"]], every_setting(["hard"]))
    assert fit_exact(table)[PENALTY].window_s >= 8
    after = spot_unseen(halves, events, ACTIONS)
    assert np.array_equal(after[mine].time_s, before[mine].time_s)
    assert np.array_equal(after[mine].confidence, before[mine].confidence)


def test_windows_serve_what_is_maximised() -> None:
    halves, _ = twins(dict.fromkeys("abcdef", 3))
    # Each penalty is where the second, weaker look is: only loose tolerances reach the first one,
    # and with it the second is false.
    events = {half: penalties(half, 64.0 + 30 * np.arange(3)) for half in halves}
    tight, loose = (
        spot_unseen(halves, events, ACTIONS, tolerances_s=tolerances_s)
        for tolerances_s in (TIGHT_S, LOOSE_S)
    )
    half = HalfId("a", 1)
    assert (tight[half].confidence > 0.5).sum() == 6  # the second looks are the right ones
    assert (loose[half].confidence > 0.5).sum() == 3


def test_a_training_takes_the_score_it_is_asked_for(store: EmbeddingStore, tmp_path: Path) -> None:
    settings = {"stop_games": "held_out", "max_epochs": 2, "patience": 9, "learning_rate": 3e-2}
    fixed, fitted = (
        fit(store, make_config(**settings, stop_windows=how), tmp_path / how, name=how)
        for how in ("config", "fitted")
    )
    assert len(fitted.stopped_games) == 2
    for one, other in zip(fixed.history, fitted.history, strict=True):
        assert one.train_loss == other.train_loss  # the same training
        assert one.tight != other.tight
        assert one.loose != other.loose
    assert fitted.notes == ()


def test_one_game_that_stops_a_training_has_no_others(tmp_path: Path) -> None:
    store = make_store(tmp_path / "season", train=4, valid=1, test=1)
    settings = {"stop_games": "held_out", "max_epochs": 1}
    fixed, fitted = (
        fit(store, make_config(**settings, stop_windows=how), tmp_path / how, name=how)
        for how in ("config", "fitted")
    )
    assert fitted.history[0].tight == fixed.history[0].tight
    assert "one game stops the training" in fitted.notes[0]
    assert fixed.notes == ()


def test_a_sweep_fits_windows_unless_it_searches_them(store: EmbeddingStore) -> None:
    base = sweep_base(make_config())
    for search_windows, expected in ((False, "fitted"), (True, "config")):
        space = build_space(base, store.actions, search_windows=search_windows)
        assert with_windows(base, space).train.stop_windows == expected
