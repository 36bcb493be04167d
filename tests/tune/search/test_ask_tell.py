"""A study trains no point twice, and asks the same points again when another driver resumes it."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.swept import search_settings
from tune.search.ask_tell import AskTell
from tune.space.dimensions import Choice, Range, Space, settings_of
from tune.study.record import StudyRecord
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings

FINITE = {
    "dimensions": {"seq_len": [2, 3], "gamma": {"low": 0.5, "high": 1, "step": 0.25}},
}


def make_settings(overrides: dict[str, Any], num_trials: int = 12, **options: Any) -> StudySettings:
    return search_settings(overrides, ("Goal",), num_trials, **options)


def play(
    settings: StudySettings, rows: Sequence[TrialRow] = (), *, until: int, at_once: int = 1
) -> list[TrialRow]:
    """Drive a study that has some rows, some trials at a time; the sooner begun end sooner."""
    ask_tell, found = AskTell(settings), list(rows)
    assert ask_tell.replay(found) == 0
    while len(found) < until:
        running = [i for i, row in enumerate(found) if row.is_open]
        if len(running) == at_once:
            end(found, running[0], ask_tell)
        repeats = ask_tell.num_repeats
        params = ask_tell.ask(name := f"t{len(found)}")
        found.append(
            TrialRow(
                id=name, status="running", run=name, settings=settings_of(params, settings.space),
                asked_after=sum(row.told is not None for row in found),
                repeats=ask_tell.num_repeats - repeats,
            )
        )  # fmt: skip
    return found


def end(rows: list[TrialRow], i: int, ask_tell: AskTell) -> None:
    settings = rows[i].settings
    score = settings["train.seq_len"] / 10 + settings.get("train.gamma", 0) / 20
    told = 1 + sum(row.told is not None for row in rows)
    update = {"status": "done", "best_tight": score, "best_loose": score, "told": told}
    rows[i] = rows[i].model_copy(update=update)
    ask_tell.tell_row(rows[i])


def points(rows: Sequence[TrialRow]) -> list[tuple[Any, ...]]:
    return [tuple(sorted(row.settings.items())) for row in rows]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
@pytest.mark.parametrize("at_once", [1, 2])
def test_every_point_of_a_finite_space_is_asked_for_once(sampler: Any, at_once: int) -> None:
    settings = make_settings(FINITE, sampler=sampler)
    rows = play(settings, until=6, at_once=at_once)
    assert len(set(points(rows))) == 6 == settings.space.num_points
    assert sum(row.repeats for row in rows) > 0, "the sampler met no point that it knew"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_a_study_killed_and_resumed_asks_for_the_same_points(
    sampler: Any, killed_after: int
) -> None:
    settings = make_settings(FINITE, sampler=sampler)
    whole = play(settings, until=6, at_once=2)
    part = play(settings, until=killed_after, at_once=2)
    resumed = play(settings, part, until=6, at_once=2)
    assert points(resumed) == points(whole)
    assert [row.repeats for row in resumed] == [row.repeats for row in whole]


def test_a_sampler_that_insists_on_one_point_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from optuna.samplers import RandomSampler

    settings = make_settings({"dimensions": {"seq_len": list(range(2, 40))}}, sampler="tpe")

    class Stubborn(RandomSampler):
        def sample_independent(self, study: Any, trial: Any, *about: Any) -> Any:
            super().sample_independent(study, trial, *about)
            return 5

    monkeypatch.setattr("tune.search.ask_tell.make_sampler", lambda *_, **__: Stubborn(seed=0))
    rows = play(settings, until=12)
    assert len(set(points(rows))) == 12


def test_what_an_older_version_trained_again_is_asked_for_as_it_was() -> None:
    settings = make_settings({"dimensions": {"seq_len": [2, 3]}}, sampler="random")
    old = AskTell(settings)
    old._tried = Forgetful()  # what older versions knew of the points before
    rows = []
    for i in range(8):
        params = old.ask(f"t{i}")
        row = TrialRow(id=f"t{i}", status="running", run="r", asked_after=i,
                       settings=settings_of(params, settings.space))  # fmt: skip
        rows.append(row)
        end(rows, i, old)
    assert len(set(points(rows))) == 2
    assert AskTell(settings).replay(rows) == 0
    record = StudyRecord(
        name="s", version="0", created="", settings=settings, trials=tuple(rows[:5])
    )
    assert record.is_exhausted
    assert record.num_trials == 5, "no more of the same"


class Forgetful(dict[str, str]):
    def get(self, *_: Any) -> Any:
        return None


def test_a_study_that_meets_no_point_again_draws_the_same_random_numbers() -> None:
    """The points of a sweep as every version before drew them."""
    rates = {"low": 1e-4, "high": 1e-2, "log": True}
    overrides = {"dimensions": {"seq_len": [2, 3, 4], "learning_rate": rates}}
    settings = make_settings(overrides, sampler="tpe")
    rows = play(settings, until=5)
    assert [row.settings["train.seq_len"] for row in rows] == [3, 3, 3, 2, 4]
    drawn = [row.settings["train.learning_rate"] for row in rows]
    assert drawn == pytest.approx([0.002, 0.00122961, 0.006075, 0.00114233, 0.0001599976], rel=1e-5)


def test_points_are_counted() -> None:
    seq_len = Range(low=2, high=7, integer=True)
    gamma = Range(low=0.5, high=1.0)
    step = Range(low=0.0, high=0.5, step=0.1)
    for dimensions, number in (
        ({"train.seq_len": seq_len}, 6),
        ({"train.gamma": gamma}, float("inf")),
        ({"train.gamma": Range(low=0.7, high=0.7)}, 1),
        ({"train.gamma": step}, 6),
        ({"train.seq_len": Range(low=2, high=7, integer=True, step=2)}, 3),
        ({"model.width": Choice(choices=(8, 16, 16)), "train.seq_len": seq_len}, 12),
        (
            {
                "train.seq_len": seq_len,
                "model.num_heads": Choice(choices=(1, 2, 4), when={"train.seq_len": (2, 3)}),
            },
            2 * 3 + 4,
        ),
        (
            {
                "train.seq_len": seq_len,
                "train.gamma": gamma.model_copy(update={"when": {"train.seq_len": (2,)}}),
            },
            float("inf"),
        ),
    ):
        assert Space(dimensions=dimensions).num_points == number, dimensions


@pytest.mark.parametrize(
    ("sampler", "killed_after"),
    [("tpe", 7), ("tpe", 11), ("tpe", 12), ("tpe", 13), ("random", 21), ("gp", 13), ("cmaes", 13)],
)
def test_a_long_study_resumes_where_its_sampler_started_afresh(
    sampler: Any, killed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"MEMORY": 8, "RENEWED": 4, "BEST": 3}
    for name, size in sizes.items():
        monkeypatch.setattr(f"tune.search.ask_tell.{name}", size)
    settings = make_settings({}, num_trials=24, sampler=sampler)
    whole = play(settings, until=24, at_once=3)
    part = play(settings, until=killed_after, at_once=3)
    asked: list[str] = []
    ask = AskTell.ask
    monkeypatch.setattr(AskTell, "ask", lambda self, name: (asked.append(name), ask(self, name))[1])
    resumed = play(settings, part, until=24, at_once=3)
    assert points(resumed) == points(whole)
    assert len(set(points(whole))) == 24
    if sampler != "cmaes" and killed_after >= 8:
        assert len(asked) == 24 - killed_after // 4 * 4, "only what came since was asked again"


def test_a_sampler_that_starts_afresh_knows_the_best_the_latest_and_what_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, size in {"MEMORY": 8, "RENEWED": 4, "BEST": 3}.items():
        monkeypatch.setattr(f"tune.search.ask_tell.{name}", size)
    settings = make_settings({"dimensions": {"seq_len": list(range(2, 60))}})
    ask_tell = AskTell(settings)
    values = [0.5, 0.1, 0.9, 0.8, 0.2, 0.1, 0.3, 0.1, 0.2, 0.6, 0.1]
    for i, value in enumerate(values):
        ask_tell.ask(f"t{i}")
        ask_tell.tell(f"t{i}", [value], {})
    runs = ask_tell.ask("runs")
    ask_tell.ask("new")
    trials = ask_tell.study.trials
    assert [trial.values[0] for trial in trials if trial.values] == [0.9, 0.8, *values[-5:]]
    assert trials[7].params == runs
    ask_tell.tell("runs", [0.7], {})
    assert ask_tell.study.trials[7].values == [0.7]
