"""Windows are never scored on games they were fitted on, and the score document is complete."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map
from hmtas.records import Events, HalfId, Probabilities, Spots
from hmtas.spotting.evaluate import (
    FittedWindows,
    check_games,
    read_windows,
    score_document,
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


def test_other_splits_take_the_windows_of_the_whole_split() -> None:
    spots = spot_fitted(stored(), ACTIONS, FittedWindows.model_validate(FITTED), "test")
    assert [num_goals(spots, game) for game in "abc"] == [12, 12, 12]


def test_a_game_in_no_fold_is_refused() -> None:
    fitted = FittedWindows.model_validate(FITTED | {"folds": FITTED["folds"][:1]})
    with pytest.raises(InputError, match="split 'valid', but 1 game, 'b', is in none of its folds"):
        spot_fitted(stored(), ACTIONS, fitted, "valid")


def test_windows_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "windows.json").write_text(json.dumps(FITTED))
    fitted = read_windows(tmp_path / "windows.json")
    assert fitted == FittedWindows.model_validate(FITTED)
    assert fitted.spotting() == SpottingConfig(
        nms={"Goal": "hard", "Foul": "hard"}, threshold=0.1, windows_s={"Goal": 2, "Foul": 2}
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


def test_games_without_spots_or_labels_are_counted_and_the_first_named() -> None:
    check_games("here", "abc", "abc", "ab")
    with pytest.raises(InputError, match="here: 2 games, the first 'b', are without spots, of 3"):
        check_games("here", "a", "abc", "cab")
    with pytest.raises(InputError, match="here: 1 game, 'c', is without labels, of 2"):
        check_games("here", "abc", "ab", "bc")
    with pytest.raises(InputError, match="here: there is no game to score"):
        check_games("here", "abc", "ab", "")


def case() -> tuple[dict[HalfId, Spots], dict[HalfId, Events]]:
    generator = np.random.default_rng(5)
    spots, events = {}, {}
    for half in HALVES:
        time_s = np.sort(generator.integers(0, 2700, 30)).astype(float)
        none = np.zeros(30, dtype=np.int64)
        spots[half] = Spots(half=half, time_s=time_s, action=none, confidence=generator.random(30))
        late_s = time_s[::2] + generator.integers(0, 5, 15)
        events[half] = Events(
            half=half,
            time_s=np.sort(late_s),
            action=none[::2],
            visible=generator.random(15) < 0.5,
        )
    return spots, events


def test_the_document_has_every_official_number() -> None:
    spots, events = case()
    document = score_document(spots, events, ACTIONS, bootstrap=50)
    assert list(document) == ["tight", "loose", "num_games", "num_events"]
    assert document["num_games"] == 3
    for name, tolerances_s in (("tight", TIGHT_S), ("loose", LOOSE_S)):
        expected = average_map(spots, events, 2, tolerances_s)
        part = document[name]
        assert list(part) == [
            "average_map", "visible", "unshown", "per_action", "per_tolerance", "interval",
        ]  # fmt: skip
        assert part["average_map"] == expected.average_map > 0
        assert (part["visible"], part["unshown"]) == (expected.visible, expected.unshown)
        assert part["per_action"] == {"Goal": expected.per_action[0], "Foul": None}
        assert part["per_tolerance"] == dict(
            zip(map(str, tolerances_s), expected.per_tolerance.tolist(), strict=True)
        )
        low, high = part["interval"]
        assert low < high
        assert not math.isnan(low + high)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_seed_decides_the_intervals_and_they_can_be_left_out() -> None:
    spots, events = case()

    def interval(**options: int) -> Any:
        return score_document(spots, events, ACTIONS, **options)["tight"]["interval"]

    assert interval(bootstrap=50, seed=1) == interval(bootstrap=50, seed=1)
    assert interval(bootstrap=50, seed=1) != interval(bootstrap=50, seed=2)
    assert interval(bootstrap=0) is None
