"""What ends a weak trial early.

`asha`      compares the best score so far with that of the other trials at the same epoch
            (L. Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020),
            of those that were there last: a sampler that learns proposes better points as the
            study goes on, and compared with the random ones of its beginning nearly all go on.
`wilcoxon`  tests, game by game, whether a trial is worse than the best one was at that epoch
            (the signed-rank test, as Optuna's WilcoxonPruner). Scores are tight Average-mAP of
            single games: a loss would not do, as gamma and the class weights are part of it and
            differ from trial to trial.
`none`      nothing; trials end by their own early stopping.

No pruner stops a trial at its last epoch: there it ends, and predicts, by itself. When the hours
of a study are spent every one of them stops what runs. Tune forgets what a scheduler knows when a
driver dies, so it is read again from the run folders of the trials that have ended; a trial that
is started again reports its epochs again.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from hmtas.errors import InputError
from hmtas.runs.record import RECORD, read_run
from tune.search.trial import BestEpoch
from tune.study.budget import out_of_time
from tune.study.options import GAMES, Objective, Options
from tune.study.record import RECORD as STUDY
from tune.study.record import read_study
from tune.study.settings import StudySettings

REDUCTION_FACTOR = 4  # of the trials at a rung, ASHA lets this share of one go on
RECENT_TRIALS = 12  # trials at a rung that the next one is compared with (docs/search.md)
P_VALUE = 0.01  # of one test; a trial is tested after every epoch, and always against the best
MIN_GAMES = 7  # of six, even the clearest difference has a p-value above that

_Reports = dict[str, list[dict[str, Any]]]


def make_pruner(settings: StudySettings, folder: Path) -> TrialScheduler:
    """The scheduler of a study; it knows its metric, so that Tune need not be told of one."""
    max_epochs = settings.base.train.max_epochs
    grace = min(settings.grace_epochs, max_epochs)
    options = settings.options
    if options.pruner == "none":
        return NoPruning(folder)
    if options.pruner == "wilcoxon":
        return WilcoxonPruner(
            folder,
            objective=options.objective,
            metric=options.metrics[0],
            max_epochs=max_epochs,
            grace=grace,
        )
    return ResumableASHA(
        folder,
        objective=options.objective,
        time_attr="epoch",
        metric=options.metrics[0],
        mode="max",
        max_t=max_epochs,
        grace_period=grace,
        reduction_factor=REDUCTION_FACTOR,
    )


def check_pruner(options: Options, num_games: int) -> list[str]:
    """What a pruner cannot do on so many games, one line each.

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


class NoPruning(FIFOScheduler):
    """Stops trials only when the hours of the study are spent."""

    def __init__(self, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder = folder

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Look at the clock."""
        return TrialScheduler.STOP if out_of_time(self.folder) else TrialScheduler.CONTINUE


class ResumableASHA(ASHAScheduler):
    """ASHA that never stops a trial at its last epoch and survives its driver.

    Args:
        folder: Of the study.
        objective: What its trials report.
        asha: As of `ASHAScheduler`.
    """

    def __init__(self, folder: Path, *, objective: Objective = "tight", **asha: Any) -> None:
        super().__init__(**asha)
        self.folder, self.objective, self.score = folder, objective, str(asha["metric"])
        self._recalled = False
        self._brackets = [
            RecentBracket(asha["grace_period"], asha["max_t"], asha["reduction_factor"], 0)
        ]

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Take a trial; before the first one, those that ended under an earlier driver."""
        if not self._recalled:
            self._recalled = True
            bracket = self._brackets[0]
            for name, reports in ended_reports(self.folder, self.objective).items():
                stand_in = cast(Trial, SimpleNamespace(trial_id=name))
                for report in reports:
                    bracket.on_result(stand_in, report[self._time_attr], report[self.score])
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Compare a trial with the others at its rung."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if result[self._time_attr] >= self._max_t:
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP if out_of_time(self.folder) else decision


class RecentBracket(_Bracket):
    """The rungs of ASHA, each with the trials that came to it last."""

    def cutoff(self, recorded: dict[str, float]) -> float | None:
        """What the next trial at a rung must reach; None for the first one."""
        last = list(recorded.values())[-RECENT_TRIALS:]
        return float(np.percentile(last, 100 * (1 - 1 / self.rf))) if last else None


class WilcoxonPruner(FIFOScheduler):
    """Stops a trial that is worse than the best one, by a signed-rank test over games.

    Args:
        folder: Of the study.
        objective: What its trials report.
        metric: The number that says which trial is the best.
        max_epochs: Of a trial.
        grace: No trial is stopped before this epoch.
    """

    def __init__(
        self, folder: Path, *, objective: Objective, metric: str, max_epochs: int, grace: int
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder, self.objective, self.score = folder, objective, metric
        self._metric = metric
        self.max_epochs, self.grace = max_epochs, grace
        self._reports: _Reports | None = None

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Compare a trial with the best of the others, at the same epoch."""
        if self._reports is None:
            self._reports = ended_reports(self.folder, self.objective)
        epoch = result["epoch"]
        own = self._reports.setdefault(trial.trial_id, [])
        if not own or own[-1]["epoch"] < epoch:
            own.append({name: result.get(name) for name in ("epoch", self.score, GAMES)})
        if epoch >= self.max_epochs:
            return TrialScheduler.CONTINUE
        if out_of_time(self.folder):
            return TrialScheduler.STOP
        best = self._best_other(trial.trial_id)
        if epoch < self.grace or best is None:
            return TrialScheduler.CONTINUE
        then = [report for report in best if report["epoch"] <= epoch][-1]
        behind = result[self.score] < then[self.score]
        worse = behind and is_worse(result.get(GAMES), then[GAMES])
        return TrialScheduler.STOP if worse else TrialScheduler.CONTINUE

    def _best_other(self, name: str) -> list[dict[str, Any]] | None:
        others = [reports for trial, reports in (self._reports or {}).items() if trial != name]
        return max(others, key=lambda reports: reports[-1][self.score], default=None)


def is_worse(games: list[float] | None, best: list[float] | None) -> bool:
    """Are the scores of these games lower, beyond what games differ by?"""
    from scipy.stats import wilcoxon

    if games is None or best is None or len(games) != len(best) or len(games) < MIN_GAMES:
        return False
    difference = np.subtract(games, best)
    # zsplit: games of equal score count half to each side, and all of them may be equal.
    found = wilcoxon(difference, alternative="less", zero_method="zsplit")
    return bool(found.pvalue < P_VALUE)


def ended_reports(folder: Path, objective: Objective) -> _Reports:
    """What the trials that have ended reported, by the epoch, from their run folders."""
    if not (folder / STUDY).is_file():
        return {}
    reports: _Reports = {}
    for row in read_study(folder).trials:
        run = folder / row.run
        if row.status in ("waiting", "running") or not (run / RECORD).is_file():
            continue
        best = BestEpoch(objective)
        # One that was stopped may have trained a little more before it heard of it.
        heard = read_run(run).history[: row.epochs]
        found = [best.metrics(epoch) for epoch in heard]
        if found:
            reports[row.id] = found
    return reports
