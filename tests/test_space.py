"""A point of the space is a set of settings: whatever is sampled makes a valid configuration."""

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtas.errors import InputError
from hmtas.labels import ACTIONS
from hmtas.presets import PRESETS, preset
from tune.default_space import build_space, parse_weights
from tune.space import (
    BY_ACTION,
    POWER,
    SCALE,
    Choice,
    Range,
    Space,
    first_point,
    settings_of,
    suggest,
)

M7 = preset("m7")


def sample(space: Space, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """What one trial of a study gets; `params` are enqueued first, as Tune does it."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    if params is not None:
        study.enqueue_trial(params)
    trial = study.ask()
    suggest(trial, space=space)
    return dict(trial.params)


@pytest.mark.parametrize("weights", ["rate", "per_action", "fixed"])
@pytest.mark.parametrize("search_windows", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_any_point_is_a_valid_configuration(name: str, weights: str, search_windows: bool) -> None:
    base = preset(name)
    space = build_space(
        base, ACTIONS, weights=parse_weights(weights), search_windows=search_windows
    )
    config = base.updated(settings_of(sample(space), space))
    assert 2 <= config.train.seq_len <= 7
    assert config.model.stream_dropout == config.model.fusion_dropout == config.model.head_dropout


def test_the_first_point_of_a_search_over_17_weights_is_the_preset() -> None:
    space = build_space(M7, ACTIONS, weights="per_action", search_windows=True)
    params = sample(space, first_point(M7, space))
    config = M7.updated(settings_of(params, space))
    assert {
        a: config.train.class_weights.by_action[a] for a in ("Goal", "Penalty", "Red card")
    } == {
        "Goal": 10.0,  # the default weight
        "Penalty": 20.0,
        "Red card": 30.0,
    }
    same = {"train": {"class_weights": {"by_action"}}}
    assert config.model_dump(exclude=same) == M7.model_dump(exclude=same)


def test_the_first_point_in_the_form_of_rates_is_the_default_weight_for_all() -> None:
    space = build_space(M7, ACTIONS)
    settings = settings_of(first_point(M7, space), space)
    assert (settings[SCALE], settings[POWER]) == (10.0, 0.0)
    assert settings["train.seq_len"] == 3
    assert settings["train.gamma"] == 0.7
    assert settings["model.width"] == 512


def test_the_first_point_lies_inside_a_narrowed_range() -> None:
    space = build_space(
        M7, ACTIONS, overrides={"seq_len": {"low": 4, "high": 6}, "width": [64, 96]}
    )
    settings = settings_of(first_point(M7, space), space)
    assert (settings["train.seq_len"], settings["model.width"]) == (4, 96)


def test_class_weights_are_two_numbers_or_one_for_each_action() -> None:
    two = build_space(M7, ACTIONS, weights="rate").dimensions
    many = build_space(M7, ACTIONS, weights="per_action").dimensions
    assert {SCALE, POWER} <= set(two)
    assert {p for p in many if p.startswith(BY_ACTION)} == {f"{BY_ACTION}.{a}" for a in ACTIONS}
    assert len(many) == len(two) - 2 + 17


def test_searched_windows_are_whole_seconds_from_7_to_20() -> None:
    space = build_space(M7, ACTIONS, search_windows=True)
    config = M7.updated(settings_of(sample(space), space))
    assert all(7 <= w <= 20 and w == int(w) for w in config.spotting.windows_s.values())
    assert 0 <= config.spotting.threshold <= 0.5


def test_overrides_fix_choose_and_add() -> None:
    space = build_space(
        M7,
        ACTIONS,
        overrides={
            "gamma": 0.6,
            "model.width": [64, 128],
            "weight_decay": {"low": 1e-6, "high": 1e-3, "log": True},
            "learning_rate": {"low": 1e-4, "high": 1e-3},
            "by_action.Goal": {"low": 5, "high": 6},
        },
    )
    assert space.fixed["train.gamma"] == 0.6
    assert "train.gamma" not in space.dimensions
    assert space.dimensions["model.width"] == Choice(choices=(64, 128))
    rate = space.dimensions["train.learning_rate"]
    assert isinstance(rate, Range)
    assert rate.log, "a narrower range keeps the scale of the default one"
    assert space.dimensions["train.weight_decay"] == Range(low=1e-6, high=1e-3, log=True)
    assert sample(space).keys() == space.dimensions.keys()


def test_a_dropout_of_its_own_is_untied_and_a_fixed_one_fixes_all_three() -> None:
    own = build_space(M7, ACTIONS, overrides={"fusion_dropout": 0.2})
    settings = settings_of({"model.stream_dropout": 0.5}, own)
    assert settings["model.fusion_dropout"] == 0.2
    assert settings["model.head_dropout"] == 0.5
    fixed = build_space(M7, ACTIONS, overrides={"stream_dropout": 0.1})
    assert fixed.fixed["model.head_dropout"] == fixed.fixed["model.fusion_dropout"] == 0.1


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(InputError) as error:
        build_space(
            M7,
            ACTIONS,
            overrides={
                "gama": 0.5,
                "by_action.Gaol": 3,
                "dropout": 0.5,
                "seq_len": {"low": 5, "high": 2},
                "gamma": {"low": 0.5, "high": 1.5},
                "width": [500],
            },
        )
    text = str(error.value)
    assert "\n" not in text
    for part in (
        "unknown setting 'gama', did you mean 'gamma'?",
        "unknown action 'Gaol' in 'by_action.Gaol', did you mean 'Goal'?",
        "unknown setting 'dropout'",
        "train.seq_len: Value error, low (5.0) must not exceed high (2.0)",
        "train.gamma: Input should be less than or equal to 1, got 1.5",
        "width (500) must be a multiple of num_heads (8)",
    ):
        assert part in text


def test_an_unknown_form_of_weights_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--weights must be one of rate, per_action, fixed"):
        parse_weights("both")


@given(st.text(alphabet="a/%2F->. ", min_size=1))
def test_any_action_name_survives_the_way_through_ray(action: str) -> None:
    space = build_space(M7, [action], weights="per_action")
    names = sample(space)
    assert not any("/" in name for name in names), "Ray nests names at a slash"
    assert f"{BY_ACTION}.{action}" in settings_of(names, space)
