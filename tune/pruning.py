"""What ends a weak trial early.

`asha`      compares the best score so far with that of the other trials at the same epoch
            (L. Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020).
`wilcoxon`  tests, game by game, whether a trial is worse than the best one was at that epoch.
`none`      nothing; trials end by their own early stopping.

No pruner stops a trial at its last epoch: there it ends, and predicts, by itself.
"""

from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from tune.record import StudySettings

REDUCTION = 3  # of the trials at a rung, ASHA lets this share of one go on


class Halving(ASHAScheduler):
    """ASHA that never stops a trial at its last epoch."""

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Compare a trial with the others at its rung."""
        decision = super().on_trial_result(tune_controller, trial, result)
        is_last = result[self._time_attr] >= self._max_t
        return TrialScheduler.CONTINUE if is_last else decision


def make_pruner(settings: StudySettings) -> TrialScheduler:
    """The scheduler of a study; it knows its metric, so that Tune need not be told of one."""
    max_epochs = settings.base.train.max_epochs
    grace = min(settings.grace_epochs, max_epochs)
    metric = settings.options.metrics[0]
    if settings.options.pruner == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return Halving(
        time_attr="epoch",
        metric=metric,
        mode="max",
        max_t=max_epochs,
        grace_period=grace,
        reduction_factor=REDUCTION,
    )
