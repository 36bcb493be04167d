"""Label files of OSL, versions 1 and 2: times, halves, actions and splits as their words say."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.formats.labels import LabelSource
from hmtas.formats.recognise import open_labels
from hmtas.records import HalfId


def opened(tmp_path: Path, document: Any, name: str = "labels.json") -> LabelSource:
    path = tmp_path / name
    path.write_text(json.dumps(document))
    return open_labels(path)


def refused(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path, document)
    assert "\n" not in str(caught.value)


def v1(*videos: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": 1, "labels": ["Goal", "Card"], "videos": list(videos), **more}


def v2(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"action": {"type": "single_label", "labels": ["pass", "shot"]}}
    return {"version": "2.0", "labels": head, "data": [{"id": "m/a", "events": events}], **more}


def test_videos_of_version_1_are_halves_of_games_by_the_names_of_their_features(
    tmp_path: Path,
) -> None:
    source = opened(tmp_path, v1(
        {"path_video": "l/s/a/1_224p.mkv", "path_features": "l/s/a/1_ResNET_TF2_PCA512.npy",
         "fps": 2.0833, "annotations": [
             {"gameTime": "1 - 00:40", "label": "Goal", "position": "40500"},
             {"gameTime": "1 - 01:10", "label": "Card", "position": 70000}]},
        {"path_video": "l/s/a/2_224p.mkv", "path_features": "l/s/a/2_ResNET_TF2_PCA512.npy",
         "fps": -1, "annotations": [{"gameTime": "2 - 00:07", "label": "Goal"}]},
    ))  # fmt: skip
    assert source.format == "osl-v1"
    assert source.games == ["l/s/a"]
    assert source.actions == ("Goal", "Card")
    labels = source.read("l/s/a").labels
    assert [(one.half, one.time_s, one.name) for one in labels] == [
        (1, 40.5, "Goal"), (1, 70.0, "Card"), (2, 7.0, "Goal"),
    ]  # fmt: skip
    first = source.recordings[HalfId("l/s/a", 1)]
    assert first.features == ("l/s/a/1_ResNET_TF2_PCA512.npy",)
    assert (first.video, first.fps) == ("l/s/a/1_224p.mkv", 2.0833)
    assert source.recordings[HalfId("l/s/a", 2)].fps is None


def test_a_position_that_counts_through_the_match_is_the_time_whatever_the_half(
    tmp_path: Path,
) -> None:
    source = opened(tmp_path, v1({"path_video": "clip.mp4", "annotations": [
        {"gameTime": "2 - 00:40", "label": "Goal", "position": "2741240"},
    ]}))  # fmt: skip
    assert [(one.half, one.time_s) for one in source.read("clip").labels] == [(1, 2741.24)]


@pytest.mark.parametrize("more", [{}, {"position": "40500"}])
def test_a_label_that_counts_from_another_half_than_its_video_is_refused(
    tmp_path: Path, more: dict[str, str]
) -> None:
    label = {"gameTime": "2 - 00:40", "label": "Goal", **more}
    document = v1({"path_video": "clip.mp4", "annotations": [label]})
    refused(tmp_path, document, "annotation 0: counts from the start of half 2 by its gameTime")


def test_visibility_is_a_key_or_a_word_of_the_comment(tmp_path: Path) -> None:
    source = opened(tmp_path, v1({"path_video": "clip.mp4", "annotations": [
        {"label": "Goal", "position": 0, "comment": "away; not shown"},
        {"label": "Goal", "position": 0, "comment": "home; visible"},
        {"label": "Goal", "position": 0, "comment": "not shown", "visibility": "visible"},
        {"label": "Goal", "position": 0, "comment": None},
    ]}))  # fmt: skip
    visible = [one.visible for one in source.read("clip").labels]
    assert visible == [False, True, True, True]


def test_a_video_without_annotations_is_not_labelled(tmp_path: Path) -> None:
    source = opened(
        tmp_path, v1({"path_video": "a.mp4"}, {"path_video": "b.mp4", "annotations": []})
    )
    assert source.games == ["a", "b"]
    assert [source.is_labelled(game) for game in source.games] == [False, True]


def test_positions_of_version_2_may_be_text(tmp_path: Path) -> None:
    source = opened(tmp_path, v2(
        {"head": "action", "label": "pass", "position_ms": "1240", "team": "left"},
        {"label": "shot", "position_ms": 2000},
        {"head": "action", "label": "shot", "gameTime": "1 - 00:09", "position_ms": ""},
    ))  # fmt: skip
    assert source.format == "osl-v2"
    assert source.actions == ("pass", "shot")
    labels = source.read("m/a").labels
    assert [(one.time_s, one.name, one.team) for one in labels] == [
        (1.24, "pass", "left"), (2.0, "shot", ""), (9.0, "shot", ""),
    ]  # fmt: skip


def test_inputs_of_version_2_are_features_or_videos(tmp_path: Path) -> None:
    document = v2()
    document["data"][0]["inputs"] = [
        {"type": "video", "path": "m/a.mp4", "fps": 25.0},
        {"type": "features", "path": "m/a/1_resnet.npy", "fps": 2.0},
        {"type": "frames_npy", "path": "m/a_frames.npy", "fps": 25.0},
    ]
    found = opened(tmp_path, document).recordings[HalfId("m/a", 1)]
    assert (found.video, found.features) == ("m/a", ("m/a/1_resnet.npy",))
    assert (found.fps, found.rates_hz) == (25.0, (2.0,))


@pytest.mark.parametrize("position", ["0", "100", 100, "100.0"])
def test_positions_in_seconds_or_all_0_are_refused(tmp_path: Path, position: object) -> None:
    document = v2()
    document["data"][0]["events"] = [
        {"label": "shot", "position_ms": position, "gameTime": "1 - 01:40"},
        {"label": "shot", "position_ms": 1000, "gameTime": "1 - 00:01"},
    ]
    with pytest.raises(
        InputError, match=r"must be milliseconds, but 1 of 1 label have (0|100).* at 100 s"
    ):
        opened(tmp_path, document)


@pytest.mark.parametrize(
    ("labels", "heads", "names"),
    [
        ({"action": {"labels": ["pass"]}, "foul": {"labels": ["yes"]}},
         ["action", "foul", None], ["l0", "l2"]),
        ({"ball": {"labels": ["pass"]}}, ["ball", None], ["l0", "l1"]),
        (None, ["ball", "ball"], ["l0", "l1"]),
        (None, ["action", "foul"], ["l0"]),
        (None, [None], ["l0"]),
    ],
)  # fmt: skip
def test_the_actions_are_those_of_the_head_called_so_or_of_the_only_one(
    tmp_path: Path, labels: Any, heads: list[str | None], names: list[str]
) -> None:
    events = [{"head": head, "label": f"l{n}", "position_ms": n} for n, head in enumerate(heads)]
    source = opened(tmp_path, v2(*events, labels=labels))
    assert [one.name for one in source.read("m/a").labels] == names
    assert source.actions == (("pass",) if labels else ())


def test_heads_that_do_not_tell_are_refused_and_no_event_is_dropped(tmp_path: Path) -> None:
    event = {"head": "x", "label": "pass", "position_ms": 1}
    refused(tmp_path, v2(event), "event 0: head 'x' is none of the file, 'action'")
    refused(tmp_path, v2(event, {**event, "head": "y"}, labels=None), "'x', 'y', none is 'action'")


@pytest.mark.parametrize(
    ("name", "split", "games"),
    [
        ("labels.json", "train", {"train": ("m/a",)}),
        ("labels.json", "validation", {"valid": ("m/a",)}),
        ("annotations_val.json", None, {"valid": ("m/a",)}),
        ("annotations_val.json", "test", {"test": ("m/a",)}),
        ("labels.json", "fold 3", {"fold 3": ("m/a",)}),
        ("labels.json", None, None),
    ],
)
def test_a_split_is_in_the_metadata_or_in_the_name_of_the_file(
    tmp_path: Path, name: str, split: str | None, games: Any
) -> None:
    more = {} if split is None else {"metadata": {"split": split}}
    assert opened(tmp_path, v2(**more), name).splits == games


def test_files_of_several_splits_are_one_data_set(tmp_path: Path) -> None:
    for split in ("test", "train"):
        document = v2({"label": "pass", "position_ms": 1})
        document["data"][0]["id"] = f"m/{split}"
        (tmp_path / f"{split}.json").write_text(json.dumps(document))
    source = open_labels(tmp_path)
    assert source.splits == {"train": ("m/train",), "test": ("m/test",)}
    assert list(source.splits) == ["train", "test"]  # in the usual order
    assert source.place == str(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_ms": -1}, "event 0: position_ms must not be negative, got -1 ms"),
        ({"position_ms": "soon"}, "event 0: position_ms must be milliseconds, got 'soon'"),
        ({"position_ms": True}, "position_ms must be milliseconds"),
        ({"position_ms": 2**60}, "past the end of any half"),
        ({"position_ms": None}, "has neither position_ms nor gameTime"),
        ({"label": None}, "event 0: label must be the name of an action, got None"),
        ({"visibility": "maybe"}, "visibility must be"),
    ],
)
def test_an_event_that_cannot_be_is_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    refused(tmp_path, v2({"label": "pass", "position_ms": 1, **change}), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "../up"}, "id must lie below the data"),
        ({"id": "a\nb"}, "id must be the path of a video, got 'a.nb'"),
        ({"id": "x" * 300}, "id must be the path of a video"),
        ({"id": None, "inputs": []}, "id must be the path of a video, got None"),
        ({"inputs": {}}, "inputs must be a list, got {}"),
        ({"inputs": "a.npy"}, "inputs must be a list"),
        ({"inputs": [{"path": "a.npy", "fps": -3}]}, "fps must be positive, got -3"),
        ({"events": {"a": 1}}, "events must be a list"),
        ({"events": ["pass"]}, "events 0 must be an object, got 'pass'"),
    ],
)
def test_a_sample_that_cannot_be_is_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    document = v2()
    document["data"][0] |= change
    refused(tmp_path, document, message)


def test_a_video_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    document = v2()
    document["data"] += copy.deepcopy(document["data"])
    refused(tmp_path, document, r"data 1: 'm/a' is in .*data 0 as well; which of the two counts")
