"""What made the difference is found, chance is told from it, and what cannot be said is not."""

import numpy as np

from tests.tune.search.test_samplers import make_settings
from tune.report.importance import FEWEST, importances
from tune.search.samplers import make_sampler
from tune.space.dimensions import settings_of, suggest
from tune.study.record import StudyRecord
from tune.study.rows import TrialRow


def make_record(num: int, score_of: object, **options: str) -> StudyRecord:
    """Random points with scores that a function makes of their settings."""
    import optuna

    settings = make_settings(sampler="random", **options)
    sampler = make_sampler(settings.options, settings.space, num_trials=num, seed=3)
    study = optuna.create_study(sampler=sampler, directions=["maximize"])
    rows = []
    for n in range(num):
        trial = study.ask()
        suggest(trial, space=settings.space)
        point = settings_of(trial.params, settings.space)
        score = score_of(point)  # type: ignore[operator]
        row = {"id": str(n), "status": "stopped" if n % 3 else "done", "run": f"trials/{n}"}
        values = {"best_tight": score, "best_loose": score}
        rows.append(TrialRow.model_validate({**row, **values, "settings": point}))
    return StudyRecord(name="s", version="0", created="now", settings=settings, trials=tuple(rows))


def by_gamma(point: dict[str, float]) -> float:
    return point["train.gamma"] / 2


def test_what_decides_the_score_is_found_and_the_rest_is_chance() -> None:
    found = importances(make_record(60, by_gamma)).found
    assert found[0].key == "train.gamma"
    assert found[0].share > 2 * found[0].chance
    assert sum(one.share for one in found) == 1 or abs(sum(one.share for one in found) - 1) < 1e-9
    others = [one for one in found[1:] if one.share > one.chance]
    assert len(others) <= 2


def test_the_front_counts_where_two_numbers_are_maximised() -> None:
    found = importances(make_record(60, by_gamma, objective="both")).found
    assert found[0].key == "train.gamma"


def test_conditional_dimensions_are_compared_and_few_trials_say_nothing() -> None:
    record = make_record(30, by_gamma)
    keys = {one.key for one in importances(record).found}
    assert "train.weight_decay" in keys
    few = record.model_copy(update={"trials": record.trials[: FEWEST - 1]})
    assert importances(few).found == ()
    assert importances(few).num_trials == FEWEST - 1


def test_a_dimension_that_took_one_value_is_left_out() -> None:
    record = make_record(20, by_gamma)
    same = tuple(
        row.model_copy(update={"settings": row.settings | {"train.gamma": 0.7}})
        for row in record.trials
    )
    found = importances(record.model_copy(update={"trials": same}))
    assert "train.gamma" in found.left_out
    assert "train.gamma" not in {one.key for one in found.found}


def test_trials_without_a_score_do_not_count_and_a_seed_repeats_it() -> None:
    record = make_record(20, by_gamma)
    more = record.trials[0].model_copy(update={"id": "x", "status": "failed"})
    with_failed = record.model_copy(update={"trials": (*record.trials, more)})
    first, second = importances(record), importances(with_failed)
    assert first == second
    assert np.isfinite([one.chance for one in first.found]).all()
