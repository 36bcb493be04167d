"""What ends a weak trial early.

`asha`      compares the best score so far with those of the trials that last reached the same rung
            (L. Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020): a
            sampler that learns proposes better points as the study proceeds, and nearly all of them
            would beat the random ones that it began with.
`wilcoxon`  tests, game by game, whether a trial is worse than the best one was for the same work
            (the signed-rank test, as Optuna's WilcoxonPruner). Scores are tight Average-mAP of
            single games: a loss would not do, as gamma and the class weights are part of it and
            differ from trial to trial.
`none`      nothing; trials end by their own early stopping.

Both compare trials by what they have spent: an epoch of one kind of model may be ten times the work
of another's. The unit is an epoch of the study's base configuration, so that trials of its kind are
compared by the epoch (docs/search.md has why their sizes do not count). Work follows from the
configuration (hmtas.model.work), not from a clock: a study that is resumed decides as it would
have. What is asked after each epoch is asked after the first at the earliest, however much it
costs; a cheap trial may end before it has spent its grace.

No pruner stops a trial at its last epoch: there it ends, and predicts, by itself. When the hours
of a study are spent, every pruner stops the trials that run. Tune forgets what a scheduler knows
when a driver dies, so it is read again from the run folders of the trials that have ended; a trial
that is started again reports its epochs again.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from scipy.stats import wilcoxon

from hmtas.config import Config, StopOn
from hmtas.errors import InputError
from hmtas.model.work import DataShape, epoch_flop
from hmtas.runs.record import history_of
from tune.search.trial import BestEpoch
from tune.space.dimensions import settings_of
from tune.space.file import GAMMA, KIND
from tune.study.budget import out_of_time
from tune.study.ledger import study_now
from tune.study.options import GAMES, Options
from tune.study.record import RECORD
from tune.study.settings import StudySettings

REDUCTION_FACTOR = 4  # the work between two rungs; one in this many of the trials there continue
RECENT_TRIALS = 12  # trials at a rung that the next one is compared with (docs/search.md)
P_VALUE = 0.01  # of one test; a trial is tested after every epoch, and always against the best
MIN_GAMES = 7  # with six, even the clearest difference has a p-value above that

SHARE = "train.windows_share"
COUNTS = (KIND, SHARE, "model.num_layers")  # settings that decide what an epoch costs

Report = dict[str, Any]  # what a trial reports after an epoch (tune.search.trial.BestEpoch)
SPENT = "spent"  # in a report here: the work so far, in epochs of the base configuration


def make_pruner(settings: StudySettings, folder: Path, shape: DataShape) -> TrialScheduler:
    """The scheduler of a study; it knows its metric, so that Tune need not be told of one."""
    pruners = {"none": Pruner, "asha": AshaPruner, "wilcoxon": WilcoxonPruner}
    return pruners[settings.options.pruner](settings, folder, shape)


def check_pruner(options: Options, num_games: int) -> list[str]:
    """What a pruner cannot do on this number of games, one line each.

    Raises:
        InputError: If it cannot work for this objective.
    """
    if options.pruner != "wilcoxon":
        return []
    if options.objective == "loose":
        raise InputError(
            "--pruner wilcoxon tests tight scores of single games, and --objective loose "
            "maximises another one; use asha"
        )
    if num_games < MIN_GAMES:
        return [
            f"wilcoxon stops no trial here: it needs {MIN_GAMES} games to compare trials on, "
            f"and there are {num_games}"
        ]
    return []


class Pruner(FIFOScheduler):
    """Stops trials when the hours of the study are spent; its subclasses also stop weak ones."""

    def __init__(self, settings: StudySettings, folder: Path, shape: DataShape) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder, self.settings, self.shape = folder, settings, shape
        self.stop_on, self.score = settings.base.train.stop_on, settings.options.metrics[0]
        self.max_epochs = settings.base.train.max_epochs
        self.grace = min(settings.grace_epochs, self.max_epochs)  # in the unit of what is spent
        self._knows_ended = False
        self._costs: dict[str, float] = {}  # of an epoch, by trial
        self._cost_of: dict[tuple[Any, ...], float] = {}  # and by what decides it

    def cost(self, point: Mapping[str, Any]) -> float:
        """Work of an epoch of such a trial, in epochs of the base configuration."""
        key = tuple(point.get(path) for path in COUNTS)
        if key not in self._cost_of:  # a configuration takes a millisecond to make
            self._cost_of[key] = relative_cost(self.settings.base, point, self.shape)
        return self._cost_of[key]

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Decide whether a trial continues after an epoch."""
        if not self._knows_ended:
            for name, reports in ended_reports(self.folder, self.stop_on, self.cost).items():
                self.recall(name, reports)
            self._knows_ended = True
        epoch, weak = result["epoch"], False
        if epoch:  # a point that is no valid configuration fails before its first, and has no cost
            name = trial.trial_id
            if name not in self._costs:
                self._costs[name] = self.cost(settings_of(trial.config, self.settings.space))
            weak = self.is_weak(name, {**result, SPENT: epoch * self._costs[name]})
        if epoch >= self.max_epochs:
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP if weak or out_of_time(self.folder) else TrialScheduler.CONTINUE

    def recall(self, name: str, reports: list[Report]) -> None:
        """Take note of a trial that ended under an earlier driver."""
        for report in reports:
            self.is_weak(name, report)

    def is_weak(self, name: str, report: Report) -> bool:
        """Take note of an epoch of a trial; is the trial not worth continuing?"""
        return False


class AshaPruner(Pruner):
    """Stops a trial that is not among the best quarter of those that came last to its rung.

    The first rung is the grace, and each further one is four times the work of the one before. A
    trial is compared at the highest rung that it has reached, once. One whose epoch is so much
    work that it skips rungs has spent less than four times the rung's; it is not held against
    those that come to the lower ones.
    """

    def __init__(self, settings: StudySettings, folder: Path, shape: DataShape) -> None:
        super().__init__(settings, folder, shape)
        # Number of the rung, from 1, to trial to score, in order
        self._rungs: dict[int, dict[str, float]] = defaultdict(dict)
        self._reached: dict[str, int] = {}  # how many rungs a trial has come to

    def is_weak(self, name: str, report: Report) -> bool:
        """Compare a trial with those that came last to the highest rung that is new to it."""
        number = self._reached.get(name, 0)
        while report[SPENT] >= self.grace * REDUCTION_FACTOR**number:
            number += 1
        if number == self._reached.get(name, 0):
            return False
        self._reached[name] = number
        recent = list(self._rungs[number].values())[-RECENT_TRIALS:]
        score = self._rungs[number][name] = report[self.score]
        share = 100 * (1 - 1 / REDUCTION_FACTOR)
        return bool(recent) and bool(score < np.percentile(recent, share))


class WilcoxonPruner(Pruner):
    """Stops a trial that is worse than the best one, by a signed-rank test over games."""

    def __init__(self, settings: StudySettings, folder: Path, shape: DataShape) -> None:
        super().__init__(settings, folder, shape)
        self._reports: dict[str, list[Report]] = {}

    def recall(self, name: str, reports: list[Report]) -> None:
        """Keep the epochs of a trial that ended."""
        self._reports[name] = reports

    def is_weak(self, name: str, report: Report) -> bool:
        """Compare a trial with the best of the others, when that had spent as much."""
        epoch, spent = report["epoch"], report[SPENT]
        own = self._reports.setdefault(name, [])
        if not own or own[-1]["epoch"] < epoch:
            own.append({key: report.get(key) for key in ("epoch", SPENT, self.score, GAMES)})
        others = [reports for trial, reports in self._reports.items() if trial != name]
        best = max(others, key=lambda reports: reports[-1][self.score], default=[])
        then = [report for report in best if report[SPENT] <= spent]
        if spent < self.grace or epoch >= self.max_epochs or not then:
            return False
        behind = report[self.score] < then[-1][self.score]
        return bool(behind and is_worse(report.get(GAMES), then[-1][GAMES]))


def relative_cost(base: Config, point: Mapping[str, Any], shape: DataShape) -> float:
    """Work of an epoch of the kind of model of a trial, in epochs of the base configuration.

    Its kind counts, with its layers where it is another than the base's, and its share of the
    windows; width, L and the like do not: compared at the work of its own size a large model, which
    is often a good one, would be held to what small ones had learned from more of the data.
    """
    kind = point.get(KIND, base.model.kind)
    counts = COUNTS[:2] if kind == base.model.kind else COUNTS
    changed = {path: point[path] for path in counts if path in point}
    return epoch_flop(base.updated({**changed, GAMMA: 1.0}), shape) / epoch_flop(base, shape)


def is_worse(games: list[float] | None, best: list[float] | None) -> bool:
    """Are the scores of these games lower, beyond what games differ by?"""
    if games is None or best is None or len(games) != len(best) or len(games) < MIN_GAMES:
        return False
    difference = np.subtract(games, best)
    # zsplit: games of equal score count half to each side, and all of them may be equal.
    found = wilcoxon(difference, alternative="less", zero_method="zsplit")
    return bool(found.pvalue < P_VALUE)


def ended_reports(
    folder: Path, stop_on: StopOn, cost: Callable[[Mapping[str, Any]], float]
) -> dict[str, list[Report]]:
    """What the trials that have ended reported, by the epoch, from their run folders.

    `cost` is that of an epoch of a trial, by its settings.
    """
    if not (folder / RECORD).is_file():
        return {}
    reports: dict[str, list[Report]] = {}
    for row in study_now(folder).trials:
        best = BestEpoch(stop_on)
        # One that was stopped may have trained a little more before it heard of it.
        heard = () if row.is_open else history_of(folder / row.run)[: row.epochs]
        if heard:
            each = cost(row.settings)
            reports[row.id] = [
                {**best.metrics(epoch), SPENT: epoch.epoch * each} for epoch in heard
            ]
    return reports
