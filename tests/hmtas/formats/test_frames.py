"""Lists of frames: a frame is at frame / fps seconds, whatever the rate, and none is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.formats.labels import LabelSource
from hmtas.formats.recognise import LabelOptions, open_labels
from hmtas.records import HalfId


def opened(tmp_path: Path, *videos: Any, fps: float | None = None) -> LabelSource:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(videos))
    return open_labels(path, LabelOptions(fps=fps))


def video(*events: dict[str, Any], fps: float | None = 25, **more: Any) -> dict[str, Any]:
    return {"video": "us_open_1", "num_frames": 7500, "fps": fps, "events": list(events), **more}


@pytest.mark.parametrize(
    ("fps", "time_s"), [(25, 4.48), (29.97, 112 / 29.97), (2.0833, 112 / 2.0833)]
)
def test_a_frame_is_at_frame_over_fps(tmp_path: Path, fps: float, time_s: float) -> None:
    source = opened(tmp_path, video({"frame": 112, "label": "serve"}, fps=fps))
    assert (source.format, source.games) == ("frames", ["us_open_1"])
    [label] = source.read("us_open_1").labels
    assert (label.half, label.time_s, label.name) == (1, time_s, "serve")
    found = source.recordings[HalfId("us_open_1", 1)]
    assert (found.fps, found.duration_s) == (fps, 7500 / fps)
    assert source.splits == {"train": ("us_open_1",)}


@pytest.mark.parametrize("fps", [-1, -1.0, None, 0])
def test_a_rate_that_is_not_known_is_asked_for(tmp_path: Path, fps: float | None) -> None:
    event = {"frame": 50, "label": "serve"}
    with pytest.raises(InputError, match=r"video 0: fps is .*--fps"):
        opened(tmp_path, video(event, fps=fps))
    assert opened(tmp_path, video(event, fps=fps), fps=25).read("us_open_1").labels[0].time_s == 2
    assert opened(tmp_path, video(fps=fps)).is_labelled("us_open_1")  # no frame needs a time


def test_a_rate_of_the_file_counts_more_than_one_that_is_given(tmp_path: Path) -> None:
    source = opened(tmp_path, video({"frame": 50, "label": "serve"}, fps=25), fps=50)
    assert source.read("us_open_1").labels[0].time_s == 2
    assert source.recordings[HalfId("us_open_1", 1)].fps == 25


def test_a_comment_says_team_and_visibility(tmp_path: Path) -> None:
    source = opened(tmp_path, video(
        {"frame": 1, "label": "pass", "comment": "home; visible"},
        {"frame": 2, "label": "pass", "comment": "away; not shown"},
        {"frame": 3, "label": "pass", "comment": "not shown"},
        {"frame": 4, "label": "pass", "comment": "", "team": "left"},
        {"frame": 5, "label": "pass"},
    ))  # fmt: skip
    labels = source.read("us_open_1").labels
    assert [one.team for one in labels] == ["home", "away", "", "left", ""]
    assert [one.visible for one in labels] == [True, False, False, True, True]


def test_the_actions_lie_beside_the_files_or_a_folder_up(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for folder, names in ((tmp_path, "serve\nbounce\n"), (tmp_path / "data", "\ufeffswing\n")):
        (folder / "class.txt").write_text(names)
        assert opened(tmp_path / "data", video()).actions == tuple(names.strip("\ufeff").split())
    assert opened(tmp_path / "data", video()).actions_from == "class.txt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": -1}, "video 0, event 0: frame must not be negative"),
        ({"frame": 1e300}, "past the end of any video"),
        ({"frame": None}, "frame must be the number of a frame, got None"),
        ({"frame": True}, "frame must be the number of a frame, got True"),
        ({"frame": "nan"}, "frame must be the number of a frame, got 'nan'"),
        ({"label": 3}, "label must be the name of an action, got 3"),
    ],
)
def test_an_event_that_cannot_be_is_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opened(tmp_path, video({"frame": 1, "label": "serve", **change}))


def test_a_rate_of_next_to_nothing_makes_no_infinite_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="past the end of any video"):
        opened(tmp_path, video({"frame": 1e9, "label": "serve"}, fps=1e-308))


def test_numbered_clips_are_games_of_their_own(tmp_path: Path) -> None:
    one = video({"frame": 1, "label": "start"})
    clips = [one | {"video": f"clips/{n}_race"} for n in (1, 2)]
    assert opened(tmp_path, *clips).games == ["clips/1_race", "clips/2_race"]
