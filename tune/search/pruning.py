"""What ends a weak trial early.

`asha`      compares the best score so far with those of the trials that last reached the same epoch
            (L. Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020): a
            sampler that learns proposes better points as the study proceeds, and nearly all of them
            would beat the random ones that it began with.
`wilcoxon`  tests, game by game, whether a trial is worse than the best one was at that epoch
            (the signed-rank test, as Optuna's WilcoxonPruner). Scores are tight Average-mAP of
            single games: a loss would not do, as gamma and the class weights are part of it and
            differ from trial to trial.
`none`      nothing; trials end by their own early stopping.

No pruner stops a trial at its last epoch: there it ends, and predicts, by itself. When the hours
of a study are spent, every pruner stops the trials that run. Tune forgets what a scheduler knows
when a driver dies, so it is read again from the run folders of the trials that have ended; a trial
that is started again reports its epochs again.
"""

from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from scipy.stats import wilcoxon

from hmtas.errors import InputError
from hmtas.runs.record import history_of
from tune.search.trial import BestEpoch
from tune.study.budget import out_of_time
from tune.study.options import GAMES, Objective, Options
from tune.study.record import RECORD, read_study
from tune.study.settings import StudySettings

REDUCTION_FACTOR = 4  # ASHA lets one in this many of the trials at a rung continue
RECENT_TRIALS = 12  # trials at a rung that the next one is compared with (docs/search.md)
P_VALUE = 0.01  # of one test; a trial is tested after every epoch, and always against the best
MIN_GAMES = 7  # with six, even the clearest difference has a p-value above that

Report = dict[str, Any]  # what a trial reports after an epoch (tune.search.trial.BestEpoch)


def make_pruner(settings: StudySettings, folder: Path) -> TrialScheduler:
    """The scheduler of a study; it knows its metric, so that Tune need not be told of one."""
    pruners = {"none": Pruner, "asha": AshaPruner, "wilcoxon": WilcoxonPruner}
    return pruners[settings.options.pruner](settings, folder)


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

    def __init__(self, settings: StudySettings, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder = folder
        self.objective, self.score = settings.options.objective, settings.options.metrics[0]
        self.max_epochs = settings.base.train.max_epochs
        self.grace_epochs = min(settings.grace_epochs, self.max_epochs)
        self._knows_ended = False

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Decide whether a trial continues after an epoch."""
        if not self._knows_ended:
            for name, reports in ended_reports(self.folder, self.objective).items():
                self.recall(name, reports)
            self._knows_ended = True
        weak = self.is_weak(trial.trial_id, result)
        if result["epoch"] >= self.max_epochs:
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
    """Stops a trial that is not among the best quarter of those that reached a rung before it."""

    def __init__(self, settings: StudySettings, folder: Path) -> None:
        super().__init__(settings, folder)
        self._rungs: dict[int, dict[str, float]] = {}  # epoch to trial to score, in order
        rung = self.grace_epochs
        while rung <= self.max_epochs:
            self._rungs = {rung: {}, **self._rungs}
            rung *= REDUCTION_FACTOR

    def is_weak(self, name: str, report: Report) -> bool:
        """Compare a trial with those that came last to the highest rung that is new to it."""
        for epoch, scores in self._rungs.items():
            if report["epoch"] >= epoch and name not in scores:
                recent = list(scores.values())[-RECENT_TRIALS:]
                score = scores[name] = report[self.score]
                share = 100 * (1 - 1 / REDUCTION_FACTOR)
                return bool(recent) and bool(score < np.percentile(recent, share))
        return False


class WilcoxonPruner(Pruner):
    """Stops a trial that is worse than the best one, by a signed-rank test over games."""

    def __init__(self, settings: StudySettings, folder: Path) -> None:
        super().__init__(settings, folder)
        self._reports: dict[str, list[Report]] = {}

    def recall(self, name: str, reports: list[Report]) -> None:
        """Keep the epochs of a trial that ended."""
        self._reports[name] = reports

    def is_weak(self, name: str, report: Report) -> bool:
        """Compare a trial with the best of the others, at the same epoch."""
        epoch = report["epoch"]
        own = self._reports.setdefault(name, [])
        if not own or own[-1]["epoch"] < epoch:
            own.append({key: report.get(key) for key in ("epoch", self.score, GAMES)})
        others = [reports for trial, reports in self._reports.items() if trial != name]
        best = max(others, key=lambda reports: reports[-1][self.score], default=None)
        if epoch < self.grace_epochs or epoch >= self.max_epochs or best is None:
            return False
        then = [report for report in best if report["epoch"] <= epoch][-1]
        behind = report[self.score] < then[self.score]
        return bool(behind and is_worse(report.get(GAMES), then[GAMES]))


def is_worse(games: list[float] | None, best: list[float] | None) -> bool:
    """Are the scores of these games lower, beyond what games differ by?"""
    if games is None or best is None or len(games) != len(best) or len(games) < MIN_GAMES:
        return False
    difference = np.subtract(games, best)
    # zsplit: games of equal score count half to each side, and all of them may be equal.
    found = wilcoxon(difference, alternative="less", zero_method="zsplit")
    return bool(found.pvalue < P_VALUE)


def ended_reports(folder: Path, objective: Objective) -> dict[str, list[Report]]:
    """What the trials that have ended reported, by the epoch, from their run folders."""
    if not (folder / RECORD).is_file():
        return {}
    reports: dict[str, list[Report]] = {}
    for row in read_study(folder).trials:
        best = BestEpoch(objective)
        # One that was stopped may have trained a little more before it heard of it.
        heard = () if row.is_open else history_of(folder / row.run)[: row.epochs]
        if heard:
            reports[row.id] = [best.metrics(epoch) for epoch in heard]
    return reports
