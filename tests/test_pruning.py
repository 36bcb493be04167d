"""A pruner ends weak trials, and never one at its last epoch."""

import pytest
from ray.tune.schedulers import TrialScheduler

from tune import pruning
from tune.options import TIGHT


def test_no_trial_is_stopped_at_its_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = pruning.Halving(time_attr="epoch", metric=TIGHT, mode="max", max_t=3)
    stop = TrialScheduler.STOP
    monkeypatch.setattr(pruning.ASHAScheduler, "on_trial_result", lambda *_: stop)
    decisions = [scheduler.on_trial_result(None, None, {"epoch": e}) for e in (2, 3)]  # type: ignore[arg-type]
    assert decisions == [stop, TrialScheduler.CONTINUE]
