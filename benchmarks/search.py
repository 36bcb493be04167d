"""What a search finds, and at what cost: tabulated learning curves replayed with many workers.

    python benchmarks/search.py [--curves benchmarks/curves.json] [--json] [--quick]

The curves are of real trials (`benchmarks/curves.py`). Between the tabulated points a random
forest, fitted to the mean curve of every point, says how a point learns; a trial adds what one
real training of a tabulated point near by differs from that point's mean. So the landscape is
smoother than the real one, and its noise is real. The samplers and pruners are the ones that
`hmtas tune model` uses; workers, their speed and the order in which they report are simulated. An
epoch takes as long as it is work (hmtas.model.work): wide models and long windows take thirty times
what the smallest do.

A method picks by the held-out games, as a sweep does. `default` trains its best three again with
two seeds each and picks by one half of the valid games. The truth is the mean curve on the other
half. `full` is the default with every trial trained to its last epoch; the rivals (`random` search,
`tpe` as Optuna has it, `asha` over random points) get as much work as `default` took.

Keys: `work_share` and `epochs_share` (of `default` over those of `full`, the second trainings
included on both sides) and `regret_points` (true quality of `full` minus that of `default`, in
points of Average-mAP); the same for each rival under its name.
"""

import argparse
import heapq
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import optuna
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from sklearn.ensemble import RandomForestRegressor

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.model.work import DataShape, epoch_flop
from tune.search.pruning import make_pruner
from tune.search.samplers import make_sampler
from tune.space.default import build_space
from tune.space.dimensions import Choice, first_points, nearest_point, settings_of, suggest
from tune.study.options import FINAL_SEEDS, TIGHT, TOP, Options
from tune.study.settings import StudySettings, grace_of

FILE = Path(__file__).parent / "curves.json"
WORKERS = (4, 8, 16, 32, 64)
NEAR = 4  # tabulated points whose noise a point may have: one alone has but a few trainings
NOWHERE = Path("/nonexistent")
CURVES = ("held_out", "picked", "judged")


class Learner:
    """How any point of the space learns: (3, E) curves, as in CURVES."""

    def __init__(self, table: Mapping[str, Any], seed: int = 0) -> None:
        self.base = Config.model_validate(table["base"])
        actions = [f"action {i}" for i in range(17)]
        self.space = build_space(self.base, actions, overrides=table["space"])
        self.epochs = self.base.train.max_epochs
        self.shape = DataShape(table["streams"], len(actions))
        trials = table["trials"]
        points = {trial["point"]: trial["params"] for trial in trials}
        self.features = np.array([self._place(params) for params in points.values()])
        curves = {
            point: np.array([[t[name] for name in CURVES] for t in trials if t["point"] == point])
            for point in points
        }
        self.means = np.array([found.mean(axis=0) for found in curves.values()])
        # The mean is of as many trainings: what one differs from it is that much too small.
        several = {i: found for i, found in enumerate(curves.values()) if len(found) > 1}
        if not several:
            raise InputError("the curves have one training of each point: train a second --seeds")
        self.noisy = self.features[list(several)]
        self.noise = [
            (found - found.mean(axis=0)) * np.sqrt(len(found) / (len(found) - 1))
            for found in several.values()
        ]
        self.forest = self._fit(self.features, self.means, seed)
        self.explained = self._explained(seed)
        self._known: dict[tuple[float, ...], np.ndarray] = {}

    def mean(self, params: Mapping[str, Any]) -> np.ndarray:
        """(3, E) what the trainings of a point do on average."""
        place = self._place(params)
        key = tuple(place)
        if key not in self._known:
            # As forest.predict, which takes twenty times as long over one point.
            row = place[None].astype(np.float32)
            found = np.mean([tree.tree_.predict(row) for tree in self.forest.estimators_], axis=0)
            self._known[key] = found.reshape(len(CURVES), self.epochs)
        return self._known[key]

    def train(self, params: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
        """(3, E) of one training."""
        distance = np.abs(self.noisy - self._place(params)).sum(axis=1)
        noise = self.noise[int(distance.argsort()[rng.integers(min(NEAR, len(distance)))])]
        curves = self.mean(params) + noise[rng.integers(len(noise))]
        curves[0] = np.maximum.accumulate(curves[0])  # the best so far
        return curves

    def cost(self, params: Mapping[str, Any]) -> float:
        """Work of an epoch of a point, in epochs of the base configuration."""
        config = self.base.updated(settings_of(params, self.space))
        return epoch_flop(config, self.shape) / epoch_flop(self.base, self.shape)

    def _place(self, params: Mapping[str, Any]) -> np.ndarray:
        """A point as numbers from 0 to 1."""
        place = []
        for key, dimension in self.space.dimensions.items():
            value = params[key]
            if isinstance(dimension, Choice):
                place.append(dimension.choices.index(value) / max(len(dimension.choices) - 1, 1))
                continue
            low, high = dimension.low, dimension.high
            if dimension.log:
                low, high, value = np.log(low), np.log(high), np.log(value)
            place.append((value - low) / (high - low))
        return np.array(place)

    @staticmethod
    def _fit(features: np.ndarray, means: np.ndarray, seed: int) -> RandomForestRegressor:
        forest = RandomForestRegressor(100, max_features=0.7, random_state=seed)
        return forest.fit(features, means.reshape(len(means), -1))

    def _explained(self, seed: int) -> float:
        """R2 of the last judged value at points the forest has not seen, of ten folds."""
        last = self.means[:, 2, -1]
        fold = np.random.default_rng(seed).permutation(len(last)) % 10
        predicted = np.empty(len(last))
        for k in range(10):
            out = fold == k
            if out.any() and not out.all():
                forest = self._fit(self.features[~out], self.means[~out], seed)
                predicted[out] = forest.predict(self.features[out])[:, -1]
        return float(
            1 - ((last - predicted) ** 2).sum() / max(((last - last.mean()) ** 2).sum(), 1e-12)
        )


class Found(NamedTuple):
    """What a search came to."""

    quality: float  # true, in points
    epochs: int
    work: float  # in epochs of the base configuration


class Row(NamedTuple):
    """A search beside full evaluation."""

    work_share: float
    epochs_share: float
    regret: float  # points that it is behind


@dataclass
class Method:
    """A way to search: a sampler, a pruner, and whether the best are trained again."""

    options: Options
    plain: bool = False  # Optuna's own TPE as it comes
    again: bool = False


@dataclass
class Running:
    """A trial of the simulation."""

    number: int
    trial: optuna.Trial
    params: dict[str, Any]
    curves: np.ndarray
    cost: float  # of an epoch, in epochs of the base configuration
    slowness: float  # of its worker
    epochs: int = 0
    stand_in: Trial = field(init=False)

    def __post_init__(self) -> None:
        named = SimpleNamespace(trial_id=str(self.number), config=self.params)
        self.stand_in = cast(Trial, named)

    @property
    def shown(self) -> float:
        """The best on the held-out games so far."""
        return float(self.curves[0, self.epochs - 1])


DEFAULT = Method(Options(), again=True)
FULL = Method(Options(pruner="none"), again=True)
RIVALS = {
    "random": Method(Options(sampler="random", pruner="none")),
    "tpe": Method(Options(pruner="none"), plain=True),
    "asha": Method(Options(sampler="random")),
}


def search(
    learner: Learner,
    method: Method,
    *,
    seed: int,
    workers: int,
    num_trials: int,
    most_work: float | None = None,
) -> Found:
    """One simulated study.

    Args:
        learner: How points learn.
        method: How to search.
        seed: Of the sampler, the trainings and the speed of the workers.
        workers: Trials at once.
        num_trials: Points of the study, where its work is not given.
        most_work: Points are tried until this much is spent in all.
    """
    rng = np.random.default_rng([seed, workers])
    settings = make_settings(learner, method.options, num_trials, seed)
    sampler = (
        optuna.samplers.TPESampler(seed=seed)
        if method.plain
        else make_sampler(method.options, learner.space, num_trials=num_trials, seed=seed)
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(first_points(learner.base, learner.space)[0])
    pruner = make_pruner(settings, NOWHERE, learner.shape)
    trials: list[Running] = []
    waiting: list[tuple[float, int]] = []
    clock, epochs, work = 0.0, 0, 0.0

    def start() -> None:
        trial = study.ask()
        suggest(trial, space=learner.space)
        params = dict(trial.params)
        curves, cost = learner.train(params, rng), learner.cost(params)
        one = Running(len(trials), trial, params, curves, cost, rng.lognormal(0, 0.2))
        trials.append(one)
        pruner.on_trial_add(cast(Any, None), one.stand_in)
        train_on(one)

    def train_on(one: Running) -> None:
        heapq.heappush(waiting, (clock + one.cost * one.slowness, one.number))

    def may_start() -> bool:
        return len(trials) < num_trials if most_work is None else work < most_work

    while True:
        while len(waiting) < workers and may_start():
            start()
        if not waiting or (most_work is not None and work >= most_work):
            break
        clock, number = heapq.heappop(waiting)
        one = trials[number]
        one.epochs += 1
        epochs, work = epochs + 1, work + one.cost
        decision = pruner.on_trial_result(
            cast(Any, None), one.stand_in, {"epoch": one.epochs, TIGHT: one.shown}
        )
        if decision == TrialScheduler.STOP or one.epochs == learner.epochs:
            study.tell(one.trial, one.shown)
        else:
            train_on(one)
    ended = sorted((one for one in trials if one.epochs), key=lambda one: -one.shown)
    if not method.again:
        best = ended[0]
        return Found(100 * float(learner.mean(best.params)[2, best.epochs - 1]), epochs, work)
    again = train_again(learner, [one.params for one in ended], rng)
    return Found(again.quality, epochs + again.epochs, work + again.work)


def train_again(
    learner: Learner, ranked: Sequence[dict[str, Any]], rng: np.random.Generator
) -> Found:
    """Train the best with fresh seeds and pick by one half of the valid games."""
    finalists: list[dict[str, Any]] = []
    for params in ranked:
        if params not in finalists:
            finalists.append(params)
    finalists = finalists[:TOP]
    scores = [
        np.mean([learner.train(params, rng)[1, -1] for _ in range(FINAL_SEEDS)])
        for params in finalists
    ]
    picked = finalists[int(np.argmax(scores))]
    each = FINAL_SEEDS * learner.epochs
    return Found(
        100 * float(learner.mean(picked)[2, -1]),
        each * len(finalists),
        each * sum(learner.cost(params) for params in finalists),
    )


def make_settings(learner: Learner, options: Options, num_trials: int, seed: int) -> StudySettings:
    """The settings that `hmtas tune model` would have."""
    return StudySettings(
        store="",
        store_checksum="",
        preset="m7",
        base=learner.base,
        space=learner.space,
        num_trials=num_trials,
        grace_epochs=grace_of(learner.epochs),
        seed=seed,
        options=options,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, default=FILE)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0, help="others to choose a default on")
    parser.add_argument("--trials", type=int, default=100, help="points of `default` and `full`")
    parser.add_argument("--quick", action="store_true", help="a seed each: within a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    seeds = len(WORKERS) if arguments.quick else arguments.seeds
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    try:
        table = read_json(arguments.curves)
        learner = Learner(table)
    except (InputError, OSError) as error:
        sys.stderr.write(f"error: {arguments.curves}: {error}\n")
        sys.exit(2)
    describe(learner, table)
    rows: dict[str, list[Row]] = {name: [] for name in ("default", *RIVALS)}
    full_quality = []
    for number in range(seeds):
        seed, workers = arguments.first_seed + number, WORKERS[number % len(WORKERS)]
        how = {"seed": seed, "workers": workers, "num_trials": arguments.trials}
        full = search(learner, FULL, **how)
        ours = search(learner, DEFAULT, **how)
        full_quality.append(full.quality)
        found = {"default": ours} | {
            name: search(learner, rival, **how, most_work=ours.work)
            for name, rival in RIVALS.items()
        }
        for name, one in found.items():
            shares = one.work / full.work, one.epochs / full.epochs
            rows[name].append(Row(*shares, full.quality - one.quality))
    result = show(rows, full_quality, arguments.trials)
    if arguments.json:
        print(json.dumps(result))


def describe(learner: Learner, table: Mapping[str, Any]) -> None:
    last = 100 * learner.means[:, 2, -1]
    preset = 100 * learner.mean(nearest_point(learner.base, learner.space))[2, -1]
    noise = 100 * np.sqrt(np.mean([(found[:, 0, -1] ** 2).mean() for found in learner.noise]))
    print(
        f"{len(table['trials'])} real trainings of {len(last)} points, {learner.epochs} epochs: "
        f"true quality {last.min():.2f} to {last.max():.2f} points, the preset {preset:.2f};\n"
        f"a training differs from its point's mean by {noise:.2f} on the held-out games;\n"
        f"the forest explains {100 * learner.explained:.0f} % of the variance of unseen points"
    )


def show(
    rows: Mapping[str, Sequence[Row]], full: Sequence[float], num_trials: int
) -> dict[str, float]:
    """Print every method; the flat JSON of the benchmark."""
    print(
        f"\n{num_trials} trials, {min(WORKERS)} to {max(WORKERS)} workers, {len(full)} seeds; "
        f"full evaluation: {np.mean(full):.2f} points; regret by the number of workers"
    )
    print(
        f"{'':8}{'work, %':>8}{'epochs, %':>11}"
        f"{'regret':>8}{'+-':>6}{'behind default':>16}{'+-':>6} |"
        + "".join(f"{workers:7}" for workers in WORKERS)
    )
    result = {}
    ours = np.array([row.regret for row in rows["default"]])
    for name, found in rows.items():
        work, epochs, regret = np.array(found).T
        # The same seeds, so the same points to begin with: differences vary less than regrets.
        behind = f"{(regret - ours).mean():16.2f}{_error(regret - ours):6.2f}"
        by_workers = [regret[i :: len(WORKERS)] for i in range(len(WORKERS))]
        print(
            f"{name:8}{100 * work.mean():8.1f}{100 * epochs.mean():11.1f}"
            f"{regret.mean():8.2f}{_error(regret):6.2f}"
            f"{' ' * 22 if name == 'default' else behind} |"
            + "".join(f"{some.mean():7.2f}" if len(some) else f"{'-':>7}" for some in by_workers)
        )
        prefix = "" if name == "default" else f"{name}_"
        result[f"{prefix}work_share"] = round(float(work.mean()), 4)
        result[f"{prefix}epochs_share"] = round(float(epochs.mean()), 4)
        result[f"{prefix}regret_points"] = round(float(regret.mean()), 4)
    return result


def _error(values: np.ndarray) -> float:
    """Standard error of the mean; 0 of one value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
