"""The default space of a store: models of windows and of long contexts, each with its own."""

from typing import Any

import optuna
import pytest

from hmtas.formats.actions import ACTIONS
from hmtas.presets import PRESETS, preset
from tune.space.contexts import PORTFOLIO, Season
from tune.space.default import build_space, space_document
from tune.space.dimensions import (
    Choice,
    Space,
    first_points,
    setting_of,
    settings_of,
    settings_of_point,
    suggest,
)
from tune.space.file import KIND

SEASON = Season(rate_hz=1.0, longest_half_s=2700.0, train_s=1e6)


def space_of(name: str = "m7", season: Season | None = SEASON, **overrides: Any) -> Space:
    return build_space(preset(name), ACTIONS, season=season, overrides=overrides)


def paths(space: Space, kind: str) -> set[str]:
    """What is searched for a kind."""
    point = {KIND: kind, "model.displacement": True}
    found = space.point(lambda key, dimension: point.get(key, dimension.nearest(0)))
    return {setting_of(key) for key in found}


@pytest.mark.parametrize("name", PRESETS)
def test_any_point_of_any_preset_is_a_valid_configuration(name: str) -> None:
    base, space = preset(name), space_of(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(40):
        trial = study.ask()
        suggest(trial, space=space)
        seen.add(base.updated(settings_of(trial.params, space)).model.kind)
    searches = base.model.kind not in ("fcnn", "encoder")
    assert seen == ({"hierarchy", "dense", "conv"} if searches else {base.model.kind})
    for params in first_points(base, space):
        base.updated(settings_of(params, space))


def test_each_kind_has_the_dimensions_that_it_uses() -> None:
    space = space_of()
    assert next(iter(space.dimensions)) == KIND
    windows, dense, conv = (paths(space, kind) for kind in ("hierarchy", "dense", "conv"))
    assert "train.seq_len" in windows
    assert "train.seq_len" not in dense | conv
    assert {"train.context.context_s", "model.reach_s", "train.schedule"} <= dense & conv
    assert not {"train.context.context_s", "model.reach_s", "train.schedule"} & windows
    assert {"train.learning_rate", "train.gamma"} <= windows & dense & conv


def test_the_preset_comes_first_then_a_point_of_each_kind() -> None:
    for name in ("m7", "conv"):
        base, space = preset(name), space_of(name)
        settings = [settings_of(params, space) for params in first_points(base, space)]
        assert settings[0][KIND] == base.model.kind
        assert {found[KIND] for found in settings} == {"hierarchy", "dense", "conv"}
        assert len(settings) <= 6
    reached = settings_of_point({}, space) | dict(PORTFOLIO[0])
    assert reached["train.context.context_s"] == 256.0


@pytest.mark.parametrize(
    ("games", "half_s", "contexts_s", "batch_sizes"),
    [
        (300, 2700.0, (64.0, 128.0, 256.0), (8, 16, 32)),
        (40, 1200.0, (64.0, 128.0, 256.0), (2, 4, 8)),
        (12, 1320.0, (64.0, 128.0, 256.0), (2,)),
        (6, 600.0, (64.0,), (2,)),
        (1, 130.0, (64.0,), (2,)),
    ],
)
def test_a_small_season_has_shorter_contexts_and_smaller_batches(
    games: int, half_s: float, contexts_s: tuple[float, ...], batch_sizes: tuple[int, ...]
) -> None:
    """An epoch of ten steps teaches little: contexts of 256 s in batches of 16 need 150 games."""
    season = Season(1.0, half_s, 2 * half_s * games)
    assert season.contexts_s == contexts_s
    assert season.batch_sizes == batch_sizes
    assert space_of("conv", season=season).points


def test_halves_and_rates_that_contexts_do_not_fit() -> None:
    assert KIND not in space_of(season=Season(1.0, 60.0, 1e6)).dimensions
    two_minutes = space_of(season=Season(1.0, 130.0, 1e6)).dimensions["train.context.context_s"]
    assert two_minutes == Choice(choices=(64.0, 128.0), when={KIND: ("dense", "conv")})
    odd = space_of(season=Season(25 / 12, 2700.0, 1e6))
    assert "model.output_rate_hz" not in odd.dimensions
    assert Season(2.0, 2700.0, 1e6).output_rates == (2, 1), (
        "the first is that of a preset without one"
    )


def test_a_fixed_kind_takes_the_conditions_with_it() -> None:
    space = space_of(kind="conv")
    assert space.fixed[KIND] == "conv"
    assert "train.seq_len" not in space.dimensions
    assert "model.reach_s@dense" not in space.dimensions
    assert space.dimensions["model.reach_s@conv"].when == {}
    assert space.points == ()
    two = space_of(kind=["conv", "dense"])
    assert "train.seq_len" not in two.dimensions
    assert all(point[KIND] in ("conv", "dense") for point in two.points)
    assert two.points


def test_a_range_of_a_user_holds_for_every_kind() -> None:
    space = space_of(learning_rate={"low": 1e-3, "high": 2e-3}, windows_share=0.5)
    keys = [key for key in space.dimensions if setting_of(key) == "train.learning_rate"]
    assert keys == ["train.learning_rate"]
    assert space.dimensions[keys[0]].when == {}
    apart = space_of(**{"windows_share@windows": {"choices": [0.1], "when": {"kind": "hierarchy"}}})
    assert apart.dimensions["train.windows_share@windows"].when == {KIND: ("hierarchy",)}


def test_what_is_printed_is_read_back() -> None:
    base, space = preset("conv"), space_of("conv")
    assert build_space(base, ACTIONS, season=SEASON, overrides=space_document(space)) == space
