"""SoccerNet's other label files: three classes of version 1, and twelve of the ball."""

import json
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.formats.actions import BALL_ACTIONS, V1_ACTIONS, Naming
from hmtas.formats.labels import to_events
from hmtas.formats.recognise import LabelOptions, open_labels

GAME = "l/s/a"


def put(root: Path, name: str, *annotations: dict[str, Any]) -> Path:
    path = root / GAME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"UrlLocal": GAME, "annotations": annotations}))
    return root


def test_version_1_finds_its_words_in_labels_and_leaves_the_rest_out(tmp_path: Path) -> None:
    put(tmp_path, "Labels.json",
        {"gameTime": "1 - 12:34", "label": "soccer-ball"},
        {"gameTime": "2 - 00:10", "label": "soccer-ball-own"},
        {"gameTime": "1 - 20:00", "label": "y-card"},
        {"gameTime": "1 - 21:00", "label": "yr-card"},
        {"gameTime": "2 - 30:00", "label": "substitution-in"},
        {"gameTime": "1 - 00:00", "label": "corner"})  # fmt: skip
    source = open_labels(tmp_path)
    assert (source.format, source.actions) == ("soccernet-v1", V1_ACTIONS)
    found = source.read(GAME)
    assert [(one.half, one.time_s, one.name) for one in found.labels] == [
        (1, 754.0, "Goal"), (2, 10.0, "Goal"), (1, 1200.0, "Card"), (1, 1260.0, "Card"),
        (2, 1800.0, "Substitution"),
    ]  # fmt: skip
    [oddity] = found.oddities
    assert (oddity.num_labels, "left out" in oddity.what) == (1, True)
    events = to_events(GAME, found.labels, source.actions)
    assert events[1].time_s.tolist() == [754.0, 1200.0, 1260.0]
    assert events[1].action.tolist() == [2, 0, 0]


def test_labels_of_the_ball_have_a_team_and_one_half(tmp_path: Path) -> None:
    put(tmp_path, "Labels-ball.json",
        {"gameTime": "1 - 00:12", "label": "PASS", "position": "12480", "team": "left",
         "visibility": "visible"},
        {"gameTime": "1 - 00:20", "label": "HIGH PASS", "position": 20040, "team": "right"},
        {"gameTime": "1 - 00:21", "label": "DRIVE", "position": "21000", "team": 3})  # fmt: skip
    source = open_labels(tmp_path)
    assert (source.format, source.actions) == ("soccernet-ball", BALL_ACTIONS)
    labels = source.read(GAME).labels
    assert [(one.half, one.time_s, one.name, one.team) for one in labels] == [
        (1, 12.48, "PASS", "left"), (1, 20.04, "HIGH PASS", "right"), (1, 21.0, "DRIVE", ""),
    ]  # fmt: skip
    naming = Naming(by_team=True)
    events = to_events(GAME, labels[:2], ["left PASS", "right HIGH PASS"], naming, [1])
    assert {half: item.action.tolist() for half, item in events.items()} == {1: [0, 1]}


@pytest.mark.parametrize("name", ["Labels-v2.json", "Labels-ball.json"])
@pytest.mark.parametrize("label", ["", None, 3, ["PASS"]])
def test_a_label_without_a_name_is_refused(tmp_path: Path, name: str, label: Any) -> None:
    put(tmp_path, name, {"gameTime": "1 - 00:12", "label": label})
    with pytest.raises(InputError, match="annotation 0: label must be the name of an action, got"):
        open_labels(tmp_path).read(GAME)


def test_extra_time_is_parts_3_and_4(tmp_path: Path) -> None:
    put(tmp_path, "Labels-v2.json",
        {"gameTime": "3 - 02:10", "label": "Goal", "position": "130250"},
        {"gameTime": "4 - 00:05", "label": "Foul"})  # fmt: skip
    source = open_labels(tmp_path)
    events = to_events(GAME, source.read(GAME).labels, source.actions)
    assert {half: item.time_s.tolist() for half, item in events.items()} == {
        1: [], 2: [], 3: [130.25], 4: [5.0],
    }  # fmt: skip


def test_a_tree_of_several_label_files_is_read_as_the_first_or_as_asked(tmp_path: Path) -> None:
    for name, label in (("Labels.json", "y-card"), ("Labels-ball.json", "PASS")):
        put(tmp_path, name, {"gameTime": "1 - 00:12", "label": label})
    assert open_labels(tmp_path).format == "soccernet-ball"
    other = open_labels(tmp_path, LabelOptions(format="soccernet-v1"))
    assert [one.name for one in other.read(GAME).labels] == ["Card"]
