"""Segments with a start and an end: the moment that is asked for is spotted, and no other."""

import json
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.formats.labels import LabelSource
from hmtas.formats.recognise import LabelOptions, open_labels
from hmtas.records import HalfId


def opened(tmp_path: Path, spot_at: str | None, *segments: Any, **more: Any) -> LabelSource:
    annotations = [{"segment": ends, "label": "jump"} for ends in segments]
    video = {"subset": "training", "duration": 120.5, "annotations": annotations, **more}
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"version": "1", "database": {"v_1.mp4": video}}))
    return open_labels(path, LabelOptions(spot_at=spot_at))


@pytest.mark.parametrize(
    ("spot_at", "times_s"),
    [("start", [12.0, 0.0]), ("middle", [13.5, 4.0]), ("end", [15.0, 8.0])],
)
def test_the_moment_that_is_asked_for(tmp_path: Path, spot_at: str, times_s: list[float]) -> None:
    source = opened(tmp_path, spot_at, [12.0, 15.0], [0, "8"])
    assert (source.format, source.games) == ("segments", ["v_1"])
    assert [one.time_s for one in source.read("v_1").labels] == times_s
    assert source.recordings[HalfId("v_1", 1)].duration_s == 120.5
    assert source.splits == {"train": ("v_1",)}


def test_no_moment_is_chosen_for_the_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--spot-at start, middle or end"):
        opened(tmp_path, None, [12.0, 15.0])


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ([15, 12], "segment must begin at 0 or later and end after it began"),
        ([-1, 2], "segment must begin at 0"),
        ([0, 1e300], "segment must begin at 0"),
        ([1], r"segment must be \[start, end\] in seconds, got \[1\]"),
        ("12-15", r"segment must be \[start, end\]"),
        ([None, 2], "segment must be two numbers of seconds, got None"),
    ],
)
def test_a_segment_that_cannot_be_is_one_line(tmp_path: Path, ends: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"video 'v_1.mp4', annotation 0: {message}"):
        opened(tmp_path, "start", ends)


@pytest.mark.parametrize(
    ("subset", "split"), [("validation", "valid"), ("testing", "test"), ("Val", "valid")]
)
def test_subsets_are_splits(tmp_path: Path, subset: str, split: str) -> None:
    assert opened(tmp_path, "end", subset=subset).splits == {split: ("v_1",)}


def test_a_video_without_annotations_is_not_labelled(tmp_path: Path) -> None:
    assert not opened(tmp_path, "end", annotations=None).is_labelled("v_1")
    assert opened(tmp_path, "end").is_labelled("v_1")
