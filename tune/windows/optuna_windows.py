"""The NMS settings of all actions as one Ray Tune study: Optuna samples, a trial looks them up.

The probabilities are stored and the average precision of every action under every setting is in a
table, so that a trial is a sum of 17 of its entries. What a trial takes is the bookkeeping of Ray
Tune; one actor serves all of them. `hmtas.spotting.windows.fit_exact` maximises the same number and
is never below it: this is the study for those who want one, and the check on the other.
"""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from ray.tune import (
    Callback,
    CheckpointConfig,
    RunConfig,
    Trainable,
    TuneConfig,
    Tuner,
    with_parameters,
)
from ray.tune.experiment import Trial
from ray.tune.search.optuna import OptunaSearch

from hmtas.cluster.session import ray_session
from hmtas.spotting.table import Setting, Table
from hmtas.spotting.windows import borrowed_precision
from tune.space.dimensions import Suggests

METRIC = "tight"
NUM_TRIALS = 200


class Lookup(Trainable):
    """A trial of one step. The actor stays for the next trial, and the table with it."""

    def setup(
        self,
        config: dict[str, Any],
        worth: np.ndarray | None = None,
        settings: tuple[Setting, ...] = (),
    ) -> None:
        """Take the table and the first point."""
        assert worth is not None
        self.worth, self.settings = worth, settings
        self.point = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next point."""
        self.point = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Look the point up."""
        chosen = settings_of(self.point, self.settings, self.worth.shape[1])
        rows = [self.settings.index(setting) for setting in chosen]
        value = float(self.worth[rows, np.arange(len(rows))].mean())
        return {METRIC: value, "done": True}


class _Ticks(Callback):
    """Tells progress of every finished trial."""

    def __init__(self, on_trial: Callable[[], None]) -> None:
        self.on_trial = on_trial

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks to go on after a crash, and a listener cannot be."""
        return {}

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """One more."""
        self.on_trial()


def search_windows(
    tables: Sequence[Table],
    *,
    trials: int = NUM_TRIALS,
    seed: int = 0,
    on_trial: Callable[[], None] = lambda: None,
) -> list[list[Setting]]:
    """A study per table, one after another: the best setting of each action that it came across.

    The settings of a table must be every kind with every window. The same seed samples the same
    points.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings(), ray_session():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return [_search(table, trials, seed, on_trial) for table in tables]


def settings_of(
    point: Mapping[str, Any], settings: Sequence[Setting], num_actions: int
) -> list[Setting]:
    """The setting of each action that a sampled point stands for."""
    widths = _widths(settings)
    return [Setting(point[f"kind_{a}"], widths[point[f"window_{a}"]]) for a in range(num_actions)]


def suggest(trial: Suggests, *, settings: Sequence[Setting], num_actions: int) -> None:
    """Sample a rule and the number of a window for each action, define-by-run."""
    kinds = list(dict.fromkeys(setting.kind for setting in settings))
    last = len(_widths(settings)) - 1
    for a in range(num_actions):
        trial.suggest_categorical(f"kind_{a}", kinds)
        trial.suggest_int(f"window_{a}", 0, last, step=1, log=False)


def _widths(settings: Sequence[Setting]) -> list[float]:
    return sorted({setting.window_s for setting in settings})


def _search(table: Table, trials: int, seed: int, on_trial: Callable[[], None]) -> list[Setting]:
    num_actions = len(table.num_events)
    with tempfile.TemporaryDirectory(prefix="hmtas-windows-") as scratch:
        results = Tuner(
            with_parameters(Lookup, worth=borrowed_precision(table), settings=table.settings),
            tune_config=TuneConfig(
                metric=METRIC,
                mode="max",
                search_alg=OptunaSearch(
                    space=partial(suggest, settings=table.settings, num_actions=num_actions),
                    metric=METRIC,
                    mode="max",
                    sampler=optuna.samplers.TPESampler(seed=seed),
                ),
                num_samples=trials,
                max_concurrent_trials=1,  # the same points for the same seed
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name="windows",
                storage_path=scratch,
                callbacks=[_Ticks(on_trial)],
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # nothing to keep
                verbose=0,
            ),
        ).fit()
        if results.errors:
            raise RuntimeError(f"a trial of the windows failed: {results.errors[0]}")
        best = results.get_best_result()
        assert best.config is not None
        return settings_of(best.config, table.settings, num_actions)
