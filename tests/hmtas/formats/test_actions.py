"""Names of actions are compared exactly; what is nearly one is an error with the way to mend it."""

import json
from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.formats.actions import (
    ACTIONS,
    BALL_ACTIONS,
    LEFT_OUT,
    V1_ACTIONS,
    Naming,
    check_names,
    find_action,
    parse_renames,
    read_actions,
    with_teams,
)
from hmtas.formats.labels import AS_LABELLED, Label, to_events

INDEX = {action: i for i, action in enumerate(ACTIONS)}


def test_the_lists_of_soccernet() -> None:
    assert [len(names) for names in (ACTIONS, V1_ACTIONS, BALL_ACTIONS)] == [17, 3, 12]
    for names in (ACTIONS, V1_ACTIONS, BALL_ACTIONS):
        assert check_names(names, "a list") == names


def test_an_exact_name_is_found() -> None:
    assert [find_action(action, INDEX, "here") for action in ACTIONS] == list(range(17))


@pytest.mark.parametrize(
    ("label", "action"),
    [
        ("goal", "Goal"),
        ("Kick off", "Kick-off"),
        ("Yellow-red card", "Yellow->red card"),
        ("Throw_in", "Throw-in"),
        (" Corner ", "Corner"),
    ],
)
def test_a_look_alike_shows_both_and_the_option_that_mends_it(label: str, action: str) -> None:
    with pytest.raises(InputError) as caught:
        find_action(label, INDEX, "file, annotation 3")
    line = str(caught.value)
    assert line.startswith(f"file, annotation 3: {label!r} and {action!r} differ in case, spaces")
    option = line.partition("--rename ")[2].rpartition(" makes")[0]
    renames = parse_renames([option.strip("'")])
    assert renames == {label: action}
    events = to_events("g", [Label(1, 2.0, label, "file")], ACTIONS, Naming(renames))
    assert events[1].action.tolist() == [INDEX[action]]


@pytest.mark.parametrize("label", ["Gaol", 5, None, [], {}, "x" * 10000])
def test_another_name_shows_the_closest(label: object) -> None:
    with pytest.raises(InputError, match=r"unknown action .*, the closest is '") as caught:
        find_action(label, INDEX, "file")
    assert len(str(caught.value)) < 400
    if label == "Gaol":
        assert "the closest is 'Goal'" in str(caught.value)


def test_renames_are_read_and_refused() -> None:
    words = ["y-card=Yellow card", "corner=", "a=b=c"]
    assert parse_renames(words) == {"y-card": "Yellow card", "corner": LEFT_OUT, "a": "b=c"}
    for word in ("Goal", "=Goal", ""):
        with pytest.raises(InputError, match="must read like OLD=NEW"):
            parse_renames([word])
    with pytest.raises(InputError, match="'a' is given twice"):
        parse_renames(["a=b", "a=c"])


def test_a_rename_that_no_label_has_is_misspelt() -> None:
    naming = Naming({"Gaol": "Goal"})
    naming.check_used(["Gaol"], "games")
    with pytest.raises(InputError, match="no label of games is called so, did you mean 'Goal'"):
        naming.check_used(["Goal", "Foul"], "games")


def test_a_label_that_is_left_out_is_no_event() -> None:
    labels = [Label(1, 1.0, "Goal", "f"), Label(1, 2.0, "noise", "f")]
    events = to_events("g", labels, ACTIONS, Naming({"noise": LEFT_OUT}))
    assert events[1].time_s.tolist() == [1.0]
    with pytest.raises(InputError, match="unknown action 'noise'"):
        to_events("g", labels, ACTIONS)


def test_the_team_is_a_part_of_the_action_by_request_alone() -> None:
    naming = Naming({"pass": "PASS"}, by_team=True)
    assert AS_LABELLED.action_of("PASS", "left", "f") == "PASS"
    assert naming.action_of("pass", "left", "f") == "left PASS"
    assert naming.action_of("left PASS", "", "f", ["left PASS"]) == "left PASS"
    with pytest.raises(InputError, match="f: 'pass' has no team, and --by-team"):
        naming.action_of("pass", "", "f")
    assert Naming({"x": LEFT_OUT}, by_team=True).action_of("x", "", "f") == LEFT_OUT
    assert with_teams(["A", "B"], ["left", "right"]) == ("left A", "right A", "left B", "right B")


def test_a_list_is_a_name_a_line_or_json(tmp_path: Path) -> None:
    path = tmp_path / "class.txt"
    for text in ("\ufeffserve\r\n  swing \n\nbounce\n", json.dumps(["serve", "swing", "bounce"])):
        path.write_text(text)
        assert read_actions(path) == ("serve", "swing", "bounce")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no action in it"),
        (b"[]", "no action in it"),
        (b'{"a": 1}', "a JSON file of actions is a list of names"),
        (b'["a", 3]', "an action must be a name, got 3"),
        (b'["a", " "]', "an action must be a name, got ' '"),
        (b'["a\\nb"]', "an action must be a name, got 'a"),
        (b"a\nb\na\n", "action 'a' is there twice"),
        (b"Free kick\nFREE-KICK\n", "'FREE-KICK' and 'Free kick' differ in case"),
        (b"\xff\xfea\x00", "not a list of actions but UTF-16"),
        (b"a\xe9", "not a list of actions but no text of UTF-8"),
        (b'["a"', "not JSON"),
    ],
)
def test_a_list_that_cannot_be_is_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "class.txt"
    path.write_bytes(text)
    with pytest.raises(InputError, match=message) as caught:
        read_actions(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file of actions"):
        read_actions(tmp_path / "clas.txt")


def test_a_rename_may_name_the_action_with_its_team() -> None:
    naming = Naming({"Left p": "left p"}, by_team=True)
    assert naming.action_of("p", "Left", "here") == "left p"
