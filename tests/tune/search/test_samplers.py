"""Every sampler proposes points of the space, the same for the same seed, and says its limits."""

from typing import Any

import pytest

from hmtas.cli import build
from hmtas.errors import InputError
from tests.support.swept import search_settings
from tune.search.ask_tell import AskTell
from tune.search.samplers import check_sampler
from tune.space.dimensions import settings_of
from tune.study.options import KnownTrial, Options, WarmStart
from tune.study.settings import StudySettings

OVERRIDES: dict[str, Any] = {
    "width": [8, 12],
    "num_heads": [2, 3, 4],
    "weight_decay": {"low": 1e-6, "high": 1e-3, "log": True, "when": {"seq_len": [2, 3, 4]}},
}


def make_settings(overrides: dict[str, Any] | None = None, **options: Any) -> StudySettings:
    return search_settings(OVERRIDES if overrides is None else overrides, **options)


def play(settings: StudySettings, num: int = 12) -> list[dict[str, Any]]:
    """The settings of the first trials, where longer windows and a higher rate score better."""
    ask_tell = AskTell(settings)
    found = []
    for i in range(num):
        params = ask_tell.ask(str(i))
        found.append(settings_of(params, settings.space))
        settings.base.updated(found[-1])  # a valid configuration, or an error
        score = found[-1]["train.seq_len"] / 10 + found[-1]["train.learning_rate"]
        values = {"best_tight": score, "best_loose": 1 - score}
        ask_tell.tell(str(i), [values[name] for name in settings.options.metrics], {})
    return found


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp", "random"])
def test_a_sampler_proposes_points_of_a_space_with_conditions(sampler: Any) -> None:
    settings = make_settings(sampler=sampler)
    first = play(settings)
    assert first == play(settings), "the same seed, the same points"
    assert first[0]["train.seq_len"] == 3, "the preset comes first"
    other = settings.model_copy(update={"seed": 1})
    assert play(other)[1:] != first[1:]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_sampler_maximises_two_numbers(sampler: Any) -> None:
    assert len(play(make_settings(sampler=sampler, objective="both"))) == 12


def test_samplers_say_what_they_cannot_do() -> None:
    settings = make_settings()
    assert check_sampler(Options(), settings.space) == []
    gp = check_sampler(Options(sampler="gp"), settings.space)
    assert len(gp) == 1
    assert "conditions and draws them at random: train.weight_decay" in gp[0]
    cmaes = check_sampler(Options(sampler="cmaes"), settings.space)
    assert "choices and draws them at random: model.width" in cmaes[0]
    assert "conditions and draws them at random: train.weight_decay" in cmaes[1]


def test_what_a_sampler_cannot_do_at_all_is_an_error_before_the_sweep() -> None:
    space = make_settings().space
    with pytest.raises(InputError, match="cmaes maximises one number"):
        check_sampler(Options(sampler="cmaes", objective="both"), space)
    few = make_settings({"dimensions": {"seq_len": [2, 3], "gamma": {"low": 0.5, "high": 1}}}).space
    with pytest.raises(InputError, match="at least 2 ranges without a condition"):
        check_sampler(Options(sampler="cmaes"), few)
    with pytest.raises(InputError, match="no dimension left"):
        check_sampler(Options(), make_settings({"dimensions": {}}).space)


def test_unknown_words_are_input_errors() -> None:
    words = ["tune", "model", "store", "--name", "s", "--out", "studies"]
    for option, known in (("sampler", "tpe, cmaes"), ("objective", "tight"), ("pruner", "asha")):
        with pytest.raises(InputError, match=f"--{option} must be one of {known}.*got 'x'"):
            build()([*words, f"--{option}", "x"], standalone_mode=False)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sampler_learns_from_trials_it_is_told_of(sampler: Any) -> None:
    rates = {"low": 1e-4, "high": 1e-2, "log": True}
    overrides = {"dimensions": {"seq_len": {"low": 2, "high": 7}, "learning_rate": rates}}
    told = tuple(
        KnownTrial(
            trial=str(i),
            point={"train.seq_len": 2 + i % 6, "train.learning_rate": 1e-4 * 1.2**i},
            values=(0.1 * (i % 6),),
        )
        for i in range(24)
    )
    warm = WarmStart(study="earlier", told=told)
    cold, warmed = (
        play(make_settings(overrides, sampler=sampler, warm=one))[1:9] for one in (None, warm)
    )
    long_windows = [sum(p["train.seq_len"] >= 6 for p in points) for points in (cold, warmed)]
    assert long_windows[1] > long_windows[0]
