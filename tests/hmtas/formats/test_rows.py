"""Tables of labels: a line is a label, by whatever program the table was written."""

from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.formats.labels import LabelSource
from hmtas.formats.recognise import LabelOptions, open_labels
from hmtas.records import HalfId

HEAD = "game,half,time_s,label\n"


def opened(tmp_path: Path, text: str | bytes, fps: float | None = None) -> LabelSource:
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_labels(tmp_path, LabelOptions(fps=fps))


def test_a_line_is_a_label(tmp_path: Path) -> None:
    source = opened(tmp_path, HEAD + "l/a,2,754.2,Goal\nl/a,1,3,Card\nl/b,1,0,Goal\n")
    assert (source.format, source.games, source.actions) == ("csv", ["l/a", "l/b"], ())
    labels = source.read("l/a").labels
    assert sorted((one.half, one.time_s, one.name) for one in labels) == [
        (1, 3.0, "Card"), (2, 754.2, "Goal"),
    ]  # fmt: skip
    assert set(source.recordings) == {HalfId("l/a", 1), HalfId("l/a", 2), HalfId("l/b", 1)}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffgame;half;time_s;label\r\na;1;1.5;Goal\r\n",  # a spreadsheet
        "game\ttime_s\tlabel\tnote\na\t1.5\tGoal\tx\n",
        '"game","time_s","label"\n"a","1.5","Goal"\n',  # R
        " game , half , time_s , label\na, , 1.5 , Goal\n\n",
        "label,position_ms,game\nGoal,1500,a\n",
    ],
)
def test_dividers_quotes_blanks_and_the_order_of_columns_do_not_matter(
    tmp_path: Path, text: str
) -> None:
    [label] = opened(tmp_path, text).read("a").labels
    assert (label.half, label.time_s, label.name) == (1, 1.5, "Goal")


def test_frames_need_a_rate(tmp_path: Path) -> None:
    text = "game,frame,label\na,112,Goal\n"
    assert opened(tmp_path, text, fps=25).read("a").labels[0].time_s == 4.48
    with pytest.raises(InputError, match=r"line 2: a frame has no time.*--fps"):
        opened(tmp_path, text)


def test_team_visibility_and_split_are_read_where_they_are(tmp_path: Path) -> None:
    text = "game,time_s,label,team,visibility,split\na,1,Goal,left,not shown,val\nb,1,Goal,,,\n"
    source = opened(tmp_path, text)
    label = source.read("a").labels[0]
    assert (label.team, label.visible) == ("left", False)
    assert source.read("b").labels[0].visible
    assert source.splits == {"valid": ("a",)}


@pytest.mark.parametrize("second", ["1", "2"])
def test_a_game_in_two_splits_is_refused(tmp_path: Path, second: str) -> None:
    text = f"game,half,time_s,label,split\na,1,1,Goal,train\na,{second},2,Goal,test\n"
    with pytest.raises(InputError, match=r"is in split '(train|test)'"):
        opened(tmp_path, text)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,0,1,Goal\n", "line 2: half must be a number from 1, got '0'"),
        ("a,1.5,1,Goal\n", "line 2: half must be a number from 1"),
        ("a,100,1,Goal\n", "line 2: half must be a number from 1"),
        ("a,1,-1,Goal\n", "line 2: a time must not be negative"),
        ("a,1,inf,Goal\n", "line 2: time_s must be seconds, got 'inf'"),
        ("a,1,12:30,Goal\n", "line 2: time_s must be seconds, got '12:30'"),
        ("a,1,1,\n", "line 2: label must be the name of an action"),
        (",1,1,Goal\n", "line 2: game must be the path of a video, got ''"),
        ("a,1,1,Goal\nMilan, Inter,1,1,Goal\n", "line 3: has 5 columns, the head 4; is a name"),
        ('a,1,1,"Goal\n', "no CSV"),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path, HEAD + lines)
    assert "\n" not in str(caught.value)


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels.csv: not a table \(CSV\) but UTF-16"):
        opened(tmp_path, (HEAD + "a,1,1,Goal\n").encode("utf-16"))
    with pytest.raises(InputError, match="must name the columns, game, label, time_s; got 'game"):
        opened(tmp_path, "game,label\na,Goal\n")


def test_an_empty_half_among_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3: half must be a number, 1 or more, got ''"):
        opened(tmp_path, HEAD + "a,2,1,Goal\na,,2,Goal\n")


def test_a_head_of_a_spreadsheet(tmp_path: Path) -> None:
    text = "Game;Half;Time_s;Label;;\na;1;1.5;Goal;;\n"
    assert opened(tmp_path, text).read("a").labels[0].time_s == 1.5


def test_splits_are_called_as_the_column_says(tmp_path: Path) -> None:
    lines = "a,test_seen,1,Goal\nb,test_unseen,1,Goal\nc,Validation,1,Goal\n"
    splits = opened(tmp_path, "game,split,time_s,label\n" + lines).splits
    assert splits == {"valid": ("c",), "test_seen": ("a",), "test_unseen": ("b",)}


def test_predictions_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: has a confidence.*are these predictions"):
        opened(tmp_path, "game,time_s,label,confidence\na,1,Goal,0.5\n")
