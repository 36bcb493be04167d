"""No game is suppressed with windows that were fitted on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.records import HalfId, Probabilities, Spots
from hmtas.spotting.spots import (
    FittedWindows,
    read_windows,
    spot,
    spot_fitted,
)

ACTIONS = ("Goal", "Foul")
HALVES = [HalfId(game, half) for game in ("a", "b", "c") for half in (1, 2)]
HARD = {"Goal": "hard", "Foul": "hard"}
FITTED: dict[str, Any] = {
    "method": "exact",
    "split": "valid",
    "threshold": 0.1,
    "windows_s": {"Goal": 2, "Foul": 2},
    "kinds": HARD,
    "folds": [
        {"games": ["a", "c"], "windows_s": {"Goal": 4, "Foul": 2}, "kinds": HARD},
        {"games": ["b"], "windows_s": {"Goal": 6, "Foul": 2}, "kinds": HARD},
    ],
}


def stored() -> dict[HalfId, Probabilities]:
    """Falling probabilities: a window of w seconds keeps every (w / 2 + 1)-th row."""
    falling = np.linspace(1, 0.5, 24, dtype=np.float32)
    return {
        half: Probabilities(half=half, values=np.stack([falling, falling], axis=1))
        for half in HALVES
    }


def num_goals(spots: dict[HalfId, Spots], game: str) -> int:
    return int((spots[HalfId(game, 1)].action == 0).sum())


def test_spot_takes_the_window_of_each_action_and_the_default_for_others() -> None:
    config = SpottingConfig(windows_s={"Goal": 4}, default_window_s=10)
    spots = spot(stored(), ACTIONS, config)
    assert spots.keys() == set(HALVES)
    first = spots[HALVES[0]]
    assert first.time_s[first.action == 0].tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert first.time_s[first.action == 1].tolist() == [0, 6, 12, 18]


def test_spot_applies_threshold_and_rule() -> None:
    strict = spot(stored(), ACTIONS, SpottingConfig(threshold=0.9, windows_s={"Goal": 2}))
    assert strict[HALVES[0]].confidence.min() >= 0.9
    lopsided = spot(stored(), ("Goal", "Foul"), SpottingConfig(nms="thesis", windows_s={"Goal": 4}))
    assert num_goals(lopsided, "a") == 12  # one row after each kept one, not two


def test_spot_takes_the_rule_of_each_action_and_hard_for_others() -> None:
    config = SpottingConfig(nms={"Goal": "linear"}, windows_s={"Goal": 4, "Foul": 4})
    first = spot(stored(), ACTIONS, config)[HALVES[0]]
    assert (first.action == 0).sum() == 24, "a soft rule keeps every row"
    assert (first.action == 1).sum() == 8
    assert config.kind_of("Foul") == "hard"


def test_rules_fitted_by_action_reach_the_spots_of_their_fold() -> None:
    folds = [{**FITTED["folds"][0], "kinds": HARD | {"Goal": "squared"}}, FITTED["folds"][1]]
    fitted = FittedWindows.model_validate(FITTED | {"threshold": 0.0, "folds": folds})
    spots = spot_fitted(stored(), ACTIONS, fitted, "valid")
    assert [num_goals(spots, game) for game in "abc"] == [24, 6, 24]


def test_windows_of_an_earlier_version_are_to_be_fitted_again(tmp_path: Path) -> None:
    earlier = {"method": "exact", "split": "valid", "kind": "hard", "windows_s": {"Goal": 2}}
    (tmp_path / "windows.json").write_text(json.dumps(earlier))
    with pytest.raises(InputError, match=r"version's `hmtas tune windows`\? Run it again"):
        read_windows(tmp_path / "windows.json")


def test_each_game_of_the_fitted_split_takes_the_windows_of_its_fold() -> None:
    spots = spot_fitted(stored(), ACTIONS, FittedWindows.model_validate(FITTED), "valid")
    assert spots.keys() == set(HALVES)
    assert [num_goals(spots, game) for game in "abc"] == [8, 6, 8]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_windows_of_an_action_that_is_not_there_are_refused(split: str) -> None:
    """They would leave the misspelt action with the default window, in silence."""
    windows_s = {**FITTED["windows_s"], "Gaol": 5.0}
    fitted = FittedWindows.model_validate({**FITTED, "windows_s": windows_s})
    with pytest.raises(InputError, match="one for 'Gaol', did you mean 'Goal'"):
        spot_fitted(stored(), ACTIONS, fitted, split)


def test_other_splits_take_the_windows_of_the_whole_split() -> None:
    spots = spot_fitted(stored(), ACTIONS, FittedWindows.model_validate(FITTED), "test")
    assert [num_goals(spots, game) for game in "abc"] == [12, 12, 12]


def test_a_game_in_no_fold_is_refused() -> None:
    fitted = FittedWindows.model_validate(FITTED | {"folds": FITTED["folds"][:1]})
    with pytest.raises(
        InputError, match=r"split 'valid', but 1 game \(the first 'b'\) in none of its folds"
    ):
        spot_fitted(stored(), ACTIONS, fitted, "valid")


def test_windows_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "windows.json").write_text(json.dumps(FITTED))
    fitted = read_windows(tmp_path / "windows.json")
    assert fitted == FittedWindows.model_validate(FITTED)
    assert fitted.spotting() == SpottingConfig(
        nms={"Goal": "hard", "Foul": "hard"},
        threshold=0.1,
        default_window_s=9,
        windows_s={"Goal": 2, "Foul": 2},
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows_s": {"Goal": 0}}, r"windows_s\.Goal: Input should be greater than 0, got 0"),
        (
            {"folds": [{"games": ["a"], "windows_s": {"Goal": -1}, "kinds": HARD}]},
            r"folds\.0\.windows_s\.Goal: Input should be greater than 0, got -1",
        ),
        ({"kinds": {"Goal": "soft"}}, "kinds.Goal: Input should be 'hard', 'thesis', 'linear'"),
        ({"threshold": 2}, "threshold: Input should be less than or equal to 1"),
        ({"windows": {}}, "windows: Extra inputs are not permitted"),
    ],
)
def test_malformed_windows_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (tmp_path / "windows.json").write_text(json.dumps(FITTED | change))
    with pytest.raises(InputError, match=message) as caught:
        read_windows(tmp_path / "windows.json")
    assert "\n" not in str(caught.value)
