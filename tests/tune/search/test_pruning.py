"""A pruner ends weak trials, never one at its last epoch, and remembers what its driver knew.

It compares trials that spent the same work. Here an epoch of a trial costs by its share of the
windows: the base configuration sees a tenth, so an epoch of a trial that sees all costs ten of it.
"""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from hmtas.errors import InputError
from hmtas.model.work import DataShape
from hmtas.runs.record import EpochRecord
from tests.support.tracked import make_run
from tests.tune.search.test_samplers import make_settings
from tune.search.pruning import (
    RECENT_TRIALS,
    REDUCTION_FACTOR,
    SPENT,
    check_pruner,
    ended_reports,
    is_worse,
    make_pruner,
)
from tune.study.budget import start_budget, stop_budget
from tune.study.options import GAMES, TIGHT, Options, PrunerName
from tune.study.record import StudyRecord, write_study
from tune.study.rows import TrialRow

EPOCHS = 10
SHAPE = DataShape({"vtn": 4, "vggish": 2}, 17)
BASE_SHARE = 0.1
GAMES_OF = {"strong": 0.5, "weak": 0.3, "middle": 0.4}
GAMES_OF |= {f"trial {n}": 0.3 + 0.04 * (7 * n % 10) for n in range(10)}
COSTS = {f"trial {n}": (1.0, 6.0, 0.25, 10.0)[n % 4] for n in range(10)}


def make(
    folder: Path, pruner: PrunerName, *, grace: int = 2, max_epochs: int = EPOCHS
) -> TrialScheduler:
    settings = make_settings(pruner=pruner)
    base = settings.base.updated({"max_epochs": max_epochs, "windows_share": BASE_SHARE})
    changes = {"base": base, "grace_epochs": grace}
    return make_pruner(settings.model_copy(update=changes), folder, SHAPE)


def trial_of(name: str, cost: float = 1) -> Any:
    """A trial whose epochs cost as much as so many of the base configuration."""
    config = {} if cost == 1 else {"train.windows_share": cost * BASE_SHARE}
    return SimpleNamespace(trial_id=name, config=config)


def goes_on(
    scheduler: TrialScheduler, name: str, epoch: int, score: float, cost: float = 1
) -> bool:
    """Does a trial with this score at this epoch continue?"""
    controller: Any = None
    result = {"epoch": epoch, TIGHT: score}
    decision = scheduler.on_trial_result(controller, trial_of(name, cost), result)
    return decision == TrialScheduler.CONTINUE


def games_of(name: str, epoch: int) -> tuple[float, ...]:
    rng = np.random.default_rng(sum(map(ord, name)))
    return tuple((GAMES_OF[name] + 0.01 * epoch + rng.normal(0, 0.02, 30)).tolist())


def run_through(scheduler: TrialScheduler, name: str, first: int = 1, *, cost: float = 1) -> int:
    """Report a trial until it is stopped; its last epoch."""
    trial = trial_of(name, cost)
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


def test_a_trial_is_compared_with_those_that_were_there_last(tmp_path: Path) -> None:
    scheduler = make(tmp_path, "asha")
    for n in range(40):  # a sampler that knows nothing yet
        goes_on(scheduler, f"ignorant {n}", 2, 0.1)
    for n in range(RECENT_TRIALS):  # and one that does
        goes_on(scheduler, f"knowing {n}", 2, 0.2 + 0.01 * n)
    # 0.20 to 0.31, of which a quarter are above 0.2825: far more than of all 52.
    assert not goes_on(scheduler, "weaker", 2, 0.28)
    assert goes_on(scheduler, "better", 2, 0.29)


def compared_by_epoch(
    reports: list[tuple[str, int, float]], grace: int, max_epochs: int
) -> list[bool]:
    """What ASHA decides of each report where all trials cost the same: who goes on?"""
    rungs: dict[int, list[float]] = {}
    found = []
    for _, epoch, score in reports:
        weak = False
        if epoch in [grace * REDUCTION_FACTOR**k for k in range(4)]:
            others = rungs.setdefault(epoch, [])
            recent = others[-RECENT_TRIALS:]
            weak = bool(recent) and bool(score < np.percentile(recent, 75))
            others.append(score)
        found.append(not weak or epoch >= max_epochs)
    return found


@pytest.mark.parametrize(("grace", "max_epochs"), [(1, 10), (2, 10), (3, 30), (2, 8), (10, 10)])
def test_trials_of_equal_cost_are_compared_by_the_epoch(
    tmp_path: Path, grace: int, max_epochs: int
) -> None:
    scheduler = make(tmp_path, "asha", grace=grace, max_epochs=max_epochs)
    rng = np.random.default_rng(0)
    running = {f"trial {n}": 0 for n in range(60)}
    reports, decisions = [], []
    while running:  # eight at a time, in any order
        name = list(running)[:8][int(rng.integers(min(8, len(running))))]
        running[name] += 1
        report = (name, running[name], float(rng.normal(0.3 + 0.01 * running[name], 0.1)))
        reports.append(report)
        decisions.append(goes_on(scheduler, *report))
        if not decisions[-1] or running[name] == max_epochs:
            del running[name]
    assert decisions == compared_by_epoch(reports, grace, max_epochs)
    assert all(decisions) == (grace == max_epochs), "else some are stopped"


def test_a_trial_is_compared_after_its_first_epoch_if_that_is_the_work_of_the_grace(
    tmp_path: Path,
) -> None:
    scheduler = make(tmp_path, "asha")
    for epoch in (1, 2, 3):
        assert goes_on(scheduler, "base", epoch, 0.1 * epoch)
    # The rungs are 2, 8 and 32 epochs of the base.
    assert not goes_on(scheduler, "dear and weak", 1, 0.19, cost=3)
    assert goes_on(scheduler, "dear and strong", 1, 0.21, cost=3)


def test_a_cheap_trial_has_more_epochs_before_it_is_compared(tmp_path: Path) -> None:
    scheduler = make(tmp_path, "asha")
    run_through(scheduler, "strong")
    assert run_through(scheduler, "weak", cost=0.25) == 8, "the work of two"
    assert run_through(make(tmp_path, "asha"), "weak", cost=0.1) == EPOCHS
    scheduler = make(tmp_path, "asha")
    run_through(scheduler, "strong")
    assert run_through(scheduler, "weak", cost=0.1) == EPOCHS, "it never spends its grace"


def test_a_trial_that_skips_rungs_is_compared_at_the_highest_alone(tmp_path: Path) -> None:
    scheduler = make(tmp_path, "asha")
    for epoch in range(1, EPOCHS):
        assert goes_on(scheduler, "base", epoch, 0.1 * epoch)  # 0.2 at rung 2, 0.8 at rung 8
    assert not goes_on(scheduler, "between", 1, 0.5, cost=10), "weak beside 0.8"
    assert goes_on(scheduler, "dear", 1, 0.9, cost=10)
    for n in range(3):
        assert goes_on(scheduler, f"star {n}", 1, 0.99, cost=10)
    assert goes_on(scheduler, "dear", 2, 0.9, cost=10), "it was compared once, with those then"
    # The second rung knows all of them by now, the first one none.
    assert goes_on(scheduler, "new", 2, 0.21)
    # Dear trials go on to rungs that no cheap one can reach.
    assert goes_on(scheduler, "dear", 4, 0.9, cost=10)
    assert goes_on(scheduler, "dearer", 2, 0.995, cost=10)
    assert not goes_on(scheduler, "dearer", 4, 0.85, cost=10)


def test_the_work_of_a_trial_follows_from_its_model(tmp_path: Path) -> None:
    scheduler: Any = make(tmp_path, "asha")
    assert scheduler.cost({}) == 1.0
    assert scheduler.cost({"model.width": 16, "train.seq_len": 7}) == 1.0, "its kind is the same"
    conv, dense = (scheduler.cost({"model.kind": kind}) for kind in ("conv", "dense"))
    assert conv < dense
    few = scheduler.cost({"model.kind": "conv", "model.num_layers": 1})
    assert few < scheduler.cost({"model.kind": "conv", "model.num_layers": 3}) / 2
    assert scheduler.cost({"train.windows_share": 1.0}) == pytest.approx(10)


def test_wilcoxon_compares_with_the_best_for_the_same_work(tmp_path: Path) -> None:
    scheduler = make(tmp_path, "wilcoxon")
    assert run_through(scheduler, "strong", cost=10) == EPOCHS
    assert run_through(scheduler, "weak") == EPOCHS, "the strong one had no score so early"
    scheduler = make(tmp_path, "wilcoxon")
    assert run_through(scheduler, "strong", cost=4) == EPOCHS
    assert run_through(scheduler, "weak") == 4, "as much as the first epoch of the strong one"
    assert run_through(scheduler, "middle", cost=4) == 1


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_no_trial_is_stopped_at_its_last_epoch(tmp_path: Path, pruner: PrunerName) -> None:
    scheduler = make(tmp_path, pruner)
    run_through(scheduler, "strong")
    assert run_through(scheduler, "weak", first=EPOCHS) == EPOCHS
    trial = trial_of("last")
    scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
    result = {"epoch": EPOCHS, TIGHT: 0.0, GAMES: [0.0] * 30}
    assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE  # type: ignore[arg-type]


def write_trials(folder: Path, epochs: dict[str, int], ended: Sequence[str]) -> None:
    """A study of trials with so many epochs; those that have not ended run."""
    rows = []
    for name, num in epochs.items():
        history = tuple(
            EpochRecord(
                epoch=e,
                train_loss=1.0,
                tight=float(np.mean(games_of(name, e))),
                loose=0.9,
                game_tight=games_of(name, e),
                seconds=1.0,
                windows=1,
            )
            for e in range(1, num + 1)
        )
        make_run(folder / "trials" / name, history=history)
        row: dict[str, Any] = {"id": name, "status": "done" if name in ended else "running"}
        settings = trial_of(name, COSTS.get(name, 1.0)).config
        row |= {"settings": settings, "run": f"trials/{name}", "epochs": num}
        rows.append(TrialRow.model_validate(row))
    record = StudyRecord(
        name="s", version="0", created="now", settings=make_settings(), trials=tuple(rows)
    )
    write_study(folder, record)


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_a_pruner_of_a_new_driver_knows_the_trials_that_ended(
    tmp_path: Path, pruner: PrunerName
) -> None:
    assert ended_reports(tmp_path, "tight", lambda settings: 1.0) == {}, "no study yet"
    write_trials(tmp_path, {"strong": EPOCHS, "middle": EPOCHS}, ended=["strong"])
    reports = ended_reports(tmp_path, "tight", lambda settings: 2.5)
    assert list(reports) == ["strong"]
    assert [report[SPENT] for report in reports["strong"]][:3] == [2.5, 5.0, 7.5]
    assert run_through(make(tmp_path, pruner), "weak") == 2


@pytest.mark.parametrize("pruner", ["asha", "wilcoxon"])
def test_a_new_driver_decides_as_the_one_that_died_would_have(
    tmp_path: Path, pruner: PrunerName
) -> None:
    one = make(tmp_path / "one", pruner)
    epochs = {name: run_through(one, name, cost=cost) for name, cost in COSTS.items()}
    assert len(set(epochs.values())) > 1, "of those that are stopped the dear ones sooner"
    for died in range(1, len(COSTS)):
        before, after = list(COSTS)[:died], list(COSTS)[died:]
        folder = tmp_path / str(died)
        write_trials(folder, epochs, ended=before)
        other = make(folder, pruner)
        found = {name: run_through(other, name, cost=COSTS[name]) for name in after}
        assert found == {name: epochs[name] for name in after}


def test_a_point_that_is_no_configuration_ends_no_study(tmp_path: Path) -> None:
    scheduler = make(tmp_path, "asha")
    trial = SimpleNamespace(trial_id="bad", config={"model.width": 7})  # and two heads
    result = {"epoch": 0, TIGHT: 0.0, "failed": "width (7) must be a multiple of num_heads (2)"}
    controller: Any = None
    assert scheduler.on_trial_result(controller, trial, result) == TrialScheduler.CONTINUE  # type: ignore[arg-type]


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
