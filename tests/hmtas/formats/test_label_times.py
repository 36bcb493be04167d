"""The time of a label: its position, or its gameTime as in the evaluator of 2021."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.formats.labels import Oddity
from hmtas.formats.soccernet import find_games, read_events
from hmtas.formats.submission import read_submission, write_submission
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map
from hmtas.records import Events, HalfId, Spots
from tests.support.archives import extract
from tests.support.official import NAMES, assert_official, evaluate, needs_soccernet
from tests.support.store_tree import label, packed, save_labels

GAME = "league/season/game"
REAL = os.environ.get("HMTAS_REAL")
real = pytest.mark.skipif(REAL is None, reason="HMTAS_REAL is not set")


def hmtas(*arguments: object) -> Any:
    """The document that a verb prints."""
    result = CliRunner().invoke(build(), [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def times(root: Path, **options: Any) -> list[float]:
    times_s: list[float] = read_events(root, GAME, **options)[1].time_s.tolist()
    return times_s


def test_a_label_is_at_its_position_or_at_its_whole_second(tmp_path: Path) -> None:
    early = {"gameTime": "1 - 06:45", "label": "Foul", "position": "373560"}
    save_labels(tmp_path, GAME, [label(1, 12.9), early, {"gameTime": "1 - 99:59", "label": "Goal"}])
    assert times(tmp_path) == [12.9, 373.56, 5999]
    assert times(tmp_path, times="position") == [12.9, 373.56, 5999]
    assert times(tmp_path, times="game_time") == [12, 405, 5999]


def test_game_times_are_put_in_order(tmp_path: Path) -> None:
    swapped = [
        {"gameTime": "1 - 00:10", "label": "Foul", "position": "1000"},
        {"gameTime": "1 - 00:05", "label": "Goal", "position": "2000"},
    ]
    save_labels(tmp_path, GAME, swapped)
    events = read_events(tmp_path, GAME, times="game_time")[1]
    assert events.time_s.tolist() == [5, 10]
    assert [ACTIONS[action] for action in events.action] == ["Goal", "Foul"]


def at(clock: str, position: object, **more: object) -> dict[str, Any]:
    return {"gameTime": f"1 - {clock}", "label": "Foul", "position": position, **more}


@pytest.mark.parametrize("position", ["2400", "0", 2400.0])
def test_positions_that_are_not_their_game_times_are_told_or_refused(
    tmp_path: Path, position: object
) -> None:
    found: list[Oddity] = []
    right, wrong = at("10:00", "600900"), at("40:00", position)
    save_labels(tmp_path, GAME, [right, wrong])
    assert times(tmp_path, on_oddity=found.append)[1] == 600.9
    assert [(odd.game, odd.num_labels) for odd in found] == [(GAME, 1)]
    assert "gameTime '1 - 40:00'" in found[0].what
    save_labels(tmp_path, GAME, [right, wrong, wrong])
    with pytest.raises(InputError, match="must be the same moment, but are not in 2 of 3 labels"):
        times(tmp_path)
    assert times(tmp_path, times="game_time") == [600, 2400, 2400]


def test_a_game_time_of_zero_names_no_more_than_the_half(tmp_path: Path) -> None:
    found: list[Oddity] = []
    save_labels(tmp_path, GAME, [at("00:00", "600900"), at("00:00", "12000")])
    assert times(tmp_path, on_oddity=found.append) == [12, 600.9]
    assert found == []


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (at("45:60", "2760000"), "must read like"),
        ({"gameTime": "0 - 10:00", "label": "Foul"}, "must read like"),
        ({"gameTime": "10:00", "label": "Foul"}, "must read like"),
        ({"gameTime": f"1 - {'9' * 5000}:00", "label": "Foul"}, "must read like.*cut"),
        (at("40:00", "9" * 400), "is past the end of any half, got '99.*cut"),
        (at("40:00", float("inf")), "must be milliseconds, got inf"),
        (at("40:00", float("nan")), "must be milliseconds, got nan"),
        (at("40:00", "abc"), "must be milliseconds, got 'abc'"),
        (at("40:00", [1]), "must be milliseconds"),
        (at("40:00", -1), "must not be negative"),
        (at("40:00", None, visibility="maybe"), "must be 'visible' or 'not shown', got 'maybe'"),
    ],
)
def test_a_label_that_cannot_be_is_one_line(
    tmp_path: Path, annotation: dict[str, Any], message: str
) -> None:
    save_labels(tmp_path, GAME, [annotation])
    with pytest.raises(InputError, match=message) as caught:
        times(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "visible"),
    [("visible", True), (None, True), ("", True), ("Visible ", True), (True, True),
     ("not shown", False), ("Not Shown", False), ("not_shown", False), ("NOT-SHOWN", False),
     ("unshown", False), (False, False)],
)  # fmt: skip
def test_a_clear_visibility_may_be_spelt_in_any_way(
    tmp_path: Path, value: object, *, visible: bool
) -> None:
    save_labels(tmp_path, GAME, [at("00:10", "10000", visibility=value)])
    assert read_events(tmp_path, GAME)[1].visible.tolist() == [visible]


def test_labels_of_another_game_or_doubled_are_told(tmp_path: Path) -> None:
    found: list[Oddity] = []
    several = [label(2, 10 * n) for n in range(21)]
    save_labels(tmp_path, GAME, several + several[:10])
    path = tmp_path / GAME / "Labels-v2.json"
    path.write_text(json.dumps({"UrlLocal": "l/s/b/", **json.loads(path.read_text())}))
    read_events(tmp_path, GAME, on_oddity=found.append)
    assert [(odd.what, odd.num_labels) for odd in found] == [
        ("UrlLocal is another game, 'l/s/b/'", 31),
        ("the same label twice or more", 10),
    ]


def test_score_tells_what_contradicts_itself(tmp_path: Path) -> None:
    save_labels(tmp_path / "games", GAME, [label(1, 12.5), label(1, 30), at("40:00", "2400")])
    spot = Spots(half=HalfId(GAME, 1), time_s=np.array([13.0]), action=np.array([2]),
                 confidence=np.array([0.9]))  # fmt: skip
    write_submission(tmp_path / "spots", {spot.half: spot}, ACTIONS)
    found = hmtas("score", tmp_path / "spots", "--games", tmp_path / "games")
    assert f"{GAME}: 1 label: position and gameTime differ" in found["notes"][0]


def test_score_takes_either_time(tmp_path: Path) -> None:
    # The spot is 0.5 s from the position, and 1 s from the whole second.
    save_labels(tmp_path / "games", GAME, [label(1, 12.5)])
    spot = Spots(half=HalfId(GAME, 1), time_s=np.array([13.0]), action=np.array([2]),
                 confidence=np.array([0.9]))  # fmt: skip
    write_submission(tmp_path / "spots", {spot.half: spot}, ACTIONS)
    asked = ("score", tmp_path / "spots", "--games", tmp_path / "games")
    found = {
        name: hmtas(*asked, *option)["tight"]["per_tolerance"]["1"] * 17
        for name, option in {
            "default": (),
            "position": ("--label-times", "position"),
            "game_time": ("--label-times", "game_time"),
        }.items()
    }
    assert found == pytest.approx({"default": 1, "position": 1, "game_time": 0})


def test_a_store_has_no_game_times(tmp_path: Path) -> None:
    store, _ = packed(tmp_path)
    write_submission(tmp_path / "spots", {HalfId("l/s/a", 1): Spots.empty(HalfId("l/s/a", 1))},
                     ACTIONS)  # fmt: skip
    with pytest.raises(InputError, match="a store keeps the position of a label"):
        hmtas("score", tmp_path / "spots", "--games", store, "--label-times", "game_time")


# Real predictions of a published model, and what was published of it.


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of the 100 test games."""
    root = tmp_path_factory.mktemp("games")
    test = set(json.loads((Path(REAL or "") / "splits.json").read_text())["test"])
    with tarfile.open(Path(REAL or "") / "games.tar.xz") as archive:
        labels = (
            member
            for member in archive
            if member.name.endswith("Labels-v2.json")
            and member.name.removeprefix("./").rpartition("/")[0] in test
        )
        extract(archive, root, labels)
    return root


def submission() -> Path:
    return Path(REAL or "") / "netvlad_v2_results_spotting_test.zip"


def real_events(games: Path, spots: dict[HalfId, Spots], **options: Any) -> dict[HalfId, Events]:
    return {
        HalfId(game, n): events
        for game in {half.game for half in spots}
        for n, events in read_events(games, game, **options).items()
    }


@pytest.mark.real
@real
def test_one_real_label_of_all_contradicts_itself(tmp_path: Path) -> None:
    found: list[Oddity] = []
    with tarfile.open(Path(REAL or "") / "games.tar.xz") as archive:
        extract(archive, tmp_path, (m for m in archive if m.name.endswith("Labels-v2.json")))
    games = find_games(tmp_path)
    number = sum(
        len(events.time_s)
        for game in games
        for events in read_events(tmp_path, game, on_oddity=found.append).values()
    )
    assert (len(games), number) == (500, 110_458)
    assert [(odd.game.rpartition(" - ")[2], odd.num_labels) for odd in found] == [("1 Empoli", 1)]


@pytest.mark.real
@real
@pytest.mark.slow
@needs_soccernet
@pytest.mark.parametrize(("metric", "tolerances_s"), [("tight", TIGHT_S), ("loose", LOOSE_S)])
def test_real_outputs_equal_the_official_evaluators(
    games: Path, metric: str, tolerances_s: tuple[float, ...]
) -> None:
    spots = read_submission(submission(), ACTIONS)
    assert len(spots) == 200
    assert sum(len(spot.time_s) for spot in spots.values()) == 27_678
    ours = average_map(spots, real_events(games, spots), len(ACTIONS), tolerances_s)
    expected = evaluate(games, submission(), ACTIONS, metric)
    assert [np.size(expected[name]) for name in NAMES] == [1, 17, 1, 17, 1, 17]
    assert_official(ours, expected)


@pytest.mark.real
@real
@pytest.mark.slow
@needs_soccernet
def test_game_times_are_what_the_evaluator_takes_without_positions(
    games: Path, tmp_path: Path
) -> None:
    spots = read_submission(submission(), ACTIONS)
    for game in {half.game for half in spots}:
        annotations = json.loads((games / game / "Labels-v2.json").read_text())["annotations"]
        save_labels(tmp_path, game, [without_position(row) for row in annotations])
    events = real_events(games, spots, times="game_time")
    expected = evaluate(tmp_path, submission(), ACTIONS, "loose")
    assert_official(average_map(spots, events, len(ACTIONS), LOOSE_S), expected)


def without_position(row: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in row.items() if key != "position"}


@pytest.mark.real
@real
def test_game_times_give_the_published_scores(games: Path) -> None:
    published = json.loads((Path(REAL or "") / "netvlad_v2_published.json").read_text())
    assert tuple(published["actions"]) == ACTIONS
    found = hmtas("score", submission(), "--games", games, "--label-times", "game_time")
    loose, tight = found["loose"], found["tight"]
    assert round(100 * loose["average_map"], 3) == 31.365
    assert round(100 * loose["visible"], 3) == 34.296  # 34.295 was published
    assert round(100 * tight["average_map"], 3) == 4.203
    assert loose["average_map"] == pytest.approx(published["all"], abs=1e-4)
    per_action = {action: round(value, 4) for action, value in loose["per_action"].items()}
    different = {
        action: (per_action[action], round(value, 4))
        for action, value in zip(ACTIONS, published["all_per_class"], strict=True)
        if per_action[action] != round(value, 4)
    }
    assert different == {"Shots on target": (0.2134, 0.2142)}
