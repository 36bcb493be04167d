"""The study of Optuna samples the same settings as the exact search, and is never above it."""

import threading

import numpy as np
import pytest

from hmtas.records import Events, HalfId, Probabilities
from hmtas.spotting.table import Setting, Table
from hmtas.spotting.windows import (
    borrowed_precision,
    cross_fit,
    every_setting,
    fit_exact,
    fit_global,
    precision_of,
)
from tune.windows.optuna_windows import Lookup, search_windows, settings_of, suggest

SETTINGS = every_setting(("hard", "linear"), (2, 4, 8, 16))


def random_table(seed: int, num_actions: int = 3) -> Table:
    generator = np.random.default_rng(seed)
    precision = generator.random((len(SETTINGS), num_actions))
    return Table(SETTINGS, precision, generator.integers(10, 1000, num_actions))


def worth(table: Table, settings: list[Setting]) -> float:
    """What both methods maximise."""
    return precision_of(table._replace(precision=borrowed_precision(table)), settings)


class Asked:
    """A trial that takes the last of everything."""

    def __init__(self) -> None:
        self.point: dict[str, object] = {}

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        self.point[name] = choices[-1]
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, **_: object) -> int:
        self.point[name] = high
        return high

    def suggest_float(self, name: str, low: float, high: float, **_: object) -> float:
        raise AssertionError(name)


def test_a_point_is_a_rule_and_a_window_for_each_action() -> None:
    asked = Asked()
    suggest(asked, settings=SETTINGS, num_actions=2)
    assert len(asked.point) == 4
    assert settings_of(asked.point, SETTINGS, 2) == [Setting("linear", 16.0)] * 2
    mixed = {"kind_0": "hard", "window_0": 0, "kind_1": "linear", "window_1": 2}
    assert settings_of(mixed, SETTINGS, 2) == [Setting("hard", 2.0), Setting("linear", 8.0)]


def test_a_trial_looks_its_point_up() -> None:
    table = random_table(0, num_actions=2)
    trial = object.__new__(Lookup)  # without Tune's logging
    point = {"kind_0": "hard", "window_0": 1, "kind_1": "linear", "window_1": 3}
    trial.setup(point, worth=table.precision, settings=SETTINGS)
    expected = (table.precision[1, 0] + table.precision[7, 1]) / 2
    assert trial.step() == {"tight": pytest.approx(expected), "done": True}
    assert trial.reset_config(point | {"window_0": 0})
    assert trial.step()["tight"] == pytest.approx(
        (table.precision[0, 0] + table.precision[7, 1]) / 2
    )


@pytest.mark.ray
def test_a_study_is_never_above_the_exact_search_and_repeats(local_ray: str) -> None:
    tables = [random_table(seed) for seed in (1, 2)]
    ticks: list[None] = []
    lock = threading.RLock()  # cannot be pickled, as a progress bar

    def tick() -> None:
        with lock:
            ticks.append(None)

    found = search_windows(tables, trials=25, seed=5, on_trial=tick)
    assert len(ticks) == 50
    for table, sampled in zip(tables, found, strict=True):
        exact = fit_exact(table)
        assert worth(table, sampled) <= worth(table, exact) + 1e-12
        assert worth(table, sampled) > borrowed_precision(table).mean(), "better than any draw"
    assert search_windows(tables[:1], trials=25, seed=5) == found[:1]


@pytest.mark.ray
def test_enough_trials_find_the_best_of_a_small_space(local_ray: str) -> None:
    table = random_table(3, num_actions=1)  # 8 points
    (sampled,) = search_windows([table], trials=40)
    assert worth(table, sampled) == pytest.approx(worth(table, fit_exact(table)))
    assert worth(table, sampled) >= worth(table, fit_global(table))


@pytest.mark.ray
def test_the_study_gives_windows_to_every_fold(local_ray: str) -> None:
    generator = np.random.default_rng(0)
    halves, events = {}, {}
    for game in "abc":
        half = HalfId(game, 1)
        values = generator.random((60, 2)).astype(np.float32)
        halves[half] = Probabilities(half=half, values=values)
        events[half] = Events(
            half=half,
            time_s=np.array([10.0, 30.0]),
            action=np.array([0, 1]),
            visible=np.ones(2, bool),
        )
    fitted = cross_fit(
        halves,
        events,
        ("Goal", "Foul"),
        split="valid",
        method="optuna",
        choose=lambda tables: search_windows(tables, trials=3),
        settings=SETTINGS,
    )
    assert fitted.method == "optuna"
    assert len(fitted.folds) == 3
    for found in (fitted, *fitted.folds):
        for action, kind in found.kinds.items():
            assert Setting(kind, found.windows_s[action]) in SETTINGS
