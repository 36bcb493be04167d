"""A pruner ends weak trials, never one at its last epoch, and remembers what its driver knew."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from hmtas.errors import InputError
from hmtas.runs.record import EpochRecord
from tests.support.tracked import make_run
from tests.tune.search.test_samplers import make_settings
from tune.search.pruning import RECENT_TRIALS, check_pruner, ended_reports, is_worse, make_pruner
from tune.study.budget import start_budget, stop_budget
from tune.study.options import GAMES, TIGHT, Options, PrunerName
from tune.study.record import StudyRecord, TrialRow, write_study

EPOCHS = 10
GAMES_OF = {"strong": 0.5, "weak": 0.3, "middle": 0.4}


def make(folder: Path, pruner: PrunerName) -> TrialScheduler:
    settings = make_settings(pruner=pruner)
    base = settings.base.updated({"max_epochs": EPOCHS})
    return make_pruner(settings.model_copy(update={"base": base, "grace_epochs": 2}), folder)


def games_of(name: str, epoch: int) -> tuple[float, ...]:
    rng = np.random.default_rng(sum(map(ord, name)))
    return tuple((GAMES_OF[name] + 0.01 * epoch + rng.normal(0, 0.02, 30)).tolist())


def run_through(scheduler: TrialScheduler, name: str, first: int = 1) -> int:
    """Report a trial until it is stopped; its last epoch."""
    trial: Any = SimpleNamespace(trial_id=name)
    controller: Any = None
    scheduler.on_trial_add(controller, trial)
    for epoch in range(first, EPOCHS + 1):
        games = games_of(name, epoch)
        result = {"epoch": epoch, TIGHT: float(np.mean(games)), GAMES: list(games)}
        if scheduler.on_trial_result(controller, trial, result) == TrialScheduler.STOP:
            return epoch
    return EPOCHS


@pytest.mark.parametrize(("pruner", "weak"), [("asha", 2), ("wilcoxon", 2), ("none", EPOCHS)])
def test_a_weak_trial_is_stopped_after_the_grace_epochs(
    tmp_path: Path, pruner: PrunerName, weak: int
) -> None:
    scheduler = make(tmp_path, pruner)
    assert run_through(scheduler, "strong") == EPOCHS
    assert run_through(scheduler, "weak") == weak


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_a_better_trial_is_never_stopped(tmp_path: Path, pruner: PrunerName) -> None:
    scheduler = make(tmp_path, pruner)
    for name in ("weak", "middle", "strong"):
        assert run_through(scheduler, name) == EPOCHS


def reaches(scheduler: TrialScheduler, score: float) -> bool:
    """Does a trial with this score at epoch 2 go on?"""
    trial: Any = SimpleNamespace(trial_id=f"{score} {np.random.default_rng().random()}")
    controller: Any = None
    scheduler.on_trial_add(controller, trial)
    decision = scheduler.on_trial_result(controller, trial, {"epoch": 2, TIGHT: score})
    return decision == TrialScheduler.CONTINUE


def test_a_trial_is_compared_with_those_that_were_there_last(tmp_path: Path) -> None:
    scheduler = make(tmp_path, "asha")
    for _ in range(40):  # a sampler that knows nothing yet
        reaches(scheduler, 0.1)
    for n in range(RECENT_TRIALS):  # and one that does
        reaches(scheduler, 0.2 + 0.01 * n)
    # 0.20 to 0.31, of which a quarter are above 0.2825: far more than of all 52.
    assert not reaches(scheduler, 0.28)
    assert reaches(scheduler, 0.29)


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_no_trial_is_stopped_at_its_last_epoch(tmp_path: Path, pruner: PrunerName) -> None:
    scheduler = make(tmp_path, pruner)
    run_through(scheduler, "strong")
    assert run_through(scheduler, "weak", first=EPOCHS) == EPOCHS
    trial: Any = SimpleNamespace(trial_id="last")
    scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
    result = {"epoch": EPOCHS, TIGHT: 0.0, GAMES: [0.0] * 30}
    assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE  # type: ignore[arg-type]


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_a_pruner_of_a_new_driver_knows_the_trials_that_ended(
    tmp_path: Path, pruner: PrunerName
) -> None:
    history = tuple(
        EpochRecord(
            epoch=e,
            train_loss=1.0,
            tight=float(np.mean(games_of("strong", e))),
            loose=0.9,
            game_tight=games_of("strong", e),
            seconds=1.0,
            windows=1,
        )
        for e in range(1, EPOCHS + 1)
    )
    rows = []
    for name, status in (("strong", "done"), ("other", "running")):
        make_run(tmp_path / "trials" / name, history=history)
        row: dict[str, Any] = {
            "id": name,
            "status": status,
            "settings": {},
            "run": f"trials/{name}",
        }
        row["epochs"] = EPOCHS
        rows.append(TrialRow.model_validate(row))
    record = StudyRecord(
        name="s", version="0", created="now", settings=make_settings(), trials=tuple(rows)
    )
    assert ended_reports(tmp_path, "tight") == {}, "no study yet"
    write_study(tmp_path, record)
    assert list(ended_reports(tmp_path, "tight")) == ["strong"]
    assert run_through(make(tmp_path, pruner), "weak") == 2


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon", "none"])
def test_whatever_runs_is_stopped_when_time_is_out(tmp_path: Path, pruner: PrunerName) -> None:
    start_budget(tmp_path, hours=1e-9)
    try:
        assert run_through(make(tmp_path, pruner), "strong") == 1
    finally:
        stop_budget(tmp_path)


def test_chance_alone_seldom_looks_worse() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal(0.4, 0.1, (2000, 2, 30))
    found = [is_worse(list(one), list(other)) for one, other in pairs]
    assert 0.003 < np.mean(found) < 0.02
    assert not is_worse([0.1] * 6, [0.9] * 6), "six games cannot tell"
    assert not is_worse([0.5] * 30, [0.5] * 30)
    assert not is_worse(None, [0.5] * 30)


def test_a_pruner_says_what_it_cannot_do() -> None:
    assert check_pruner(Options(), 1) == []
    assert check_pruner(Options(pruner="wilcoxon"), 30) == []
    assert "needs 7 games" in check_pruner(Options(pruner="wilcoxon"), 6)[0]
    with pytest.raises(InputError, match="tests tight scores of single games"):
        check_pruner(Options(pruner="wilcoxon", objective="loose"), 30)
