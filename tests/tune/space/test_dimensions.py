"""A point of the space is a set of settings: whatever is sampled makes a valid configuration."""

import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.presets import PRESETS, preset
from hmtas.validation import one_of
from tune.space.default import Weights, build_space, space_document
from tune.space.dimensions import (
    BY_ACTION,
    POWER,
    SCALE,
    Choice,
    Range,
    Space,
    first_points,
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


@pytest.mark.parametrize("weights", ["rate", "group", "per_action", "fixed"])
@pytest.mark.parametrize("search_windows", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_any_point_is_a_valid_configuration(name: str, weights: str, search_windows: bool) -> None:
    base = preset(name)
    space = build_space(
        base, ACTIONS, weights=one_of("weights", weights, Weights), search_windows=search_windows
    )
    config = base.updated(settings_of(sample(space), space))
    assert 2 <= config.train.seq_len <= 7
    assert config.model.stream_dropout == config.model.fusion_dropout == config.model.head_dropout


def test_the_first_point_of_a_search_over_17_weights_is_the_preset() -> None:
    space = build_space(M7, ACTIONS, weights="per_action", search_windows=True)
    params = sample(space, first_points(M7, space)[0])
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
    settings = settings_of(first_points(M7, space)[0], space)
    assert (settings[SCALE], settings[POWER]) == (10.0, 0.0)
    assert settings["train.seq_len"] == 3
    assert settings["train.gamma"] == 0.7
    assert settings["model.width"] == 512


def test_the_first_point_lies_inside_a_narrowed_range() -> None:
    space = build_space(
        M7, ACTIONS, overrides={"seq_len": {"low": 4, "high": 6}, "width": [64, 96]}
    )
    settings = settings_of(first_points(M7, space)[0], space)
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
        "train.seq_len: low (5.0) must not exceed high (2.0)",
        "train.gamma: Input should be less than or equal to 1, got 1.5",
        "width (500) must be a multiple of num_heads (8)",
    ):
        assert part in text


def test_an_unknown_form_of_weights_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--weights must be one of rate, group, per_action, fixed"):
        one_of("weights", "both", Weights)


@given(st.text(alphabet="a/%2F->. ", min_size=1))
def test_any_action_name_survives_the_way_through_ray(action: str) -> None:
    space = build_space(M7, [action], weights="per_action")
    names = sample(space)
    assert not any("/" in name for name in names), "Ray nests names at a slash"
    assert f"{BY_ACTION}.{action}" in settings_of(names, space)


def test_heads_divide_the_width_in_every_sample() -> None:
    space = build_space(M7, ACTIONS, overrides={"width": [48, 64, 96], "num_heads": [2, 3, 8]})
    seen = set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(60):
        trial = study.ask()
        suggest(trial, space=space)
        config = M7.updated(settings_of(trial.params, space))
        seen.add((config.model.width, config.model.num_heads))
        study.tell(trial, 0.0)
    assert seen == {(48, 2), (48, 3), (48, 8), (64, 2), (64, 8), (96, 2), (96, 3), (96, 8)}
    assert settings_of(first_points(M7, space)[0], space)["model.num_heads"] == 8


def test_heads_that_divide_no_width_are_an_error_at_once() -> None:
    with pytest.raises(InputError, match="no num_heads of 3, 5 divides 64"):
        build_space(M7, ACTIONS, overrides={"width": [60, 64], "num_heads": [3, 5]})
    with pytest.raises(InputError, match=r"width \(512\) must be a multiple of num_heads \(6\)"):
        build_space(M7, ACTIONS, overrides={"width": 512, "num_heads": [2, 6]})


def test_a_condition_leaves_a_dimension_out_of_the_other_points() -> None:
    overrides = {
        "weight_decay": {"low": 1e-6, "high": 1e-3, "log": True, "when": {"mixup_alpha": 0.2}},
        "mixup_alpha": [0.0, 0.2],
    }
    space = build_space(M7, ACTIONS, overrides=overrides)
    decay, mixed = "train.weight_decay", "train.mixup_alpha"
    assert list(space.dimensions).index(mixed) < list(space.dimensions).index(decay)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    both = set()
    for _ in range(20):
        trial = study.ask()
        suggest(trial, space=space)
        assert (decay in trial.params) == (trial.params[mixed] == 0.2)
        both.add(trial.params[mixed])
    assert both == {0.0, 0.2}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"gamma": {"low": 0.5, "high": 1, "when": {"patience": 2}}}, "'patience', which is not"),
        ({"gamma": {"low": 0.5, "high": 1, "when": {"learning_rate": 1e-3}}}, "no values to tell"),
        ({"gamma": {"low": 0.5, "high": 1, "when": {"seq_len": 9}}}, "which it cannot have"),
        ({"gamma": {"low": 0.5, "high": 1, "when": [2]}}, "a condition is an object"),
        ({"points": [{"patience": 3}]}, "point 1: train.patience is not searched"),
        ({"points": [{}, {"gamma": 0.2}]}, "point 2: train.gamma is 0.2, outside"),
        ({"points": {"gamma": 0.6}}, "points must be a list"),
        ({"dimensions": {}, "width": 64}, "a whole space has dimensions"),
    ],
)
def test_bad_conditions_and_points_are_named(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        build_space(M7, ACTIONS, overrides=overrides)
    assert "\n" not in str(error.value)


def test_the_preset_is_tried_first_then_the_points_of_the_file() -> None:
    space = build_space(M7, ACTIONS, overrides={"points": [{"seq_len": 5, "gamma": 0.6}, {}]})
    points = [settings_of(point, space) for point in first_points(M7, space)]
    assert [(p["train.seq_len"], p["train.gamma"]) for p in points] == [(3, 0.7), (5, 0.6)]


@pytest.mark.parametrize("weights", ["rate", "group", "per_action"])
def test_a_printed_space_reads_back_as_itself(weights: str) -> None:
    overrides = {
        "width": [48, 64],
        "num_heads": [3, 8],
        "weight_decay": {"low": 1e-6, "high": 1e-3, "when": {"seq_len": [2, 3]}},
        "patience": 4,
        "fusion_dropout": [0.1, 0.2],
        "points": [{"seq_len": 5}],
    }
    space = build_space(
        M7, ACTIONS, weights=one_of("weights", weights, Weights), overrides=overrides
    )
    printed = json.loads(json.dumps(space_document(space)))
    assert build_space(M7, ACTIONS, overrides=printed) == space


def test_a_whole_space_has_nothing_of_the_default_one() -> None:
    space = build_space(M7, ACTIONS, overrides={"dimensions": {"seq_len": [3, 4]}})
    assert set(space.dimensions) == {"train.seq_len"}


def test_a_group_of_actions_shares_one_weight() -> None:
    space = build_space(M7, ACTIONS, weights="group")
    weights = {
        k: v for k, v in settings_of(sample(space), space).items() if k.startswith(BY_ACTION)
    }
    assert len(weights) == len(ACTIONS)
    assert len(set(weights.values())) == 4
    assert weights[f"{BY_ACTION}.Red card"] == weights[f"{BY_ACTION}.Penalty"]
