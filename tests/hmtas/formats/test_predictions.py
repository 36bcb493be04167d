"""Predictions of any format come back as they were written, and what is none is said."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.formats.actions import Naming
from hmtas.formats.labels import Recording
from hmtas.formats.predictions import Target, read_spots, write_spots
from hmtas.formats.recognise import LabelOptions
from hmtas.formats.submission import write_submission
from hmtas.records import HalfId, Spots
from tests.support.label_files import ACTIONS, PREDICTIONS, text_of

GAMES = ("l/s/a", "l/s/b")
FILES = ["osl-v1", "osl-v2", "frames", "segments", "csv"]


def some_spots(halves: tuple[int, ...], actions: tuple[str, ...] = ACTIONS) -> dict[HalfId, Spots]:
    generator = np.random.default_rng(3)
    return {
        HalfId(game, number): Spots(
            half=HalfId(game, number),
            time_s=np.sort(generator.choice(75000, 40, replace=False)) / 25.0,
            action=generator.integers(0, len(actions), 40),
            confidence=generator.random(40),
        )
        for game in GAMES
        for number in halves
    }


def target(kind: str, halves: tuple[int, ...], *, by_team: bool = False) -> Target:
    recordings = {
        HalfId(game, half): Recording(
            f"{game}/half{half}.mp4" if len(halves) > 1 else f"{game}.mp4", fps=25.0
        )
        for game in GAMES
        for half in halves
    }
    return Target(kind, recordings, by_team)


def read(path: Path, **options: Any) -> dict[HalfId, Spots]:
    return read_spots(path, ACTIONS, games=options.pop("games", GAMES), **options)


def refused(path: Path, message: str, **options: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def same(back: dict[HalfId, Spots], spots: dict[HalfId, Spots]) -> None:
    assert back.keys() == spots.keys()
    for half, expected in spots.items():
        assert np.abs(back[half].time_s - expected.time_s).max() < 1e-9
        assert back[half].action.tolist() == expected.action.tolist()
        assert back[half].confidence.tolist() == expected.confidence.tolist()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("halves", [(1,), (1, 2, 3)])
def test_what_is_written_comes_back(tmp_path: Path, kind: str, halves: tuple[int, ...]) -> None:
    spots = some_spots(halves)
    path = tmp_path / ("spots.csv" if kind == "csv" else "spots.json")
    write_spots(path, spots, ACTIONS, target(kind, halves))
    same(read(path), spots)


@pytest.mark.parametrize("kind", FILES)
def test_teams_that_are_a_part_of_the_action_come_back(tmp_path: Path, kind: str) -> None:
    actions = ("left pass", "right pass", "left shot")
    spots = some_spots((1,), actions)
    path = tmp_path / ("spots.csv" if kind == "csv" else "spots.json")
    write_spots(path, spots, actions, target(kind, (1,), by_team=True))
    assert '"left pass"' not in path.read_text()
    same(read_spots(path, actions, games=GAMES, naming=Naming(by_team=True)), spots)


def test_a_file_has_the_ending_of_its_format(tmp_path: Path) -> None:
    spots = some_spots((1,))
    for kind, name, message in (
        ("csv", "a.json", "ends in .csv"),
        ("frames", "a.csv", "ends in .json"),
        ("soccernet-ball", "a.json", "are a file for each game; name a folder"),
    ):
        with pytest.raises(InputError, match=message):
            write_spots(tmp_path / name, spots, ACTIONS, target(kind, (1,)))
    with pytest.raises(InputError, match="says no frames a second"):
        write_spots(tmp_path / "a.json", spots, ACTIONS, Target("frames", {}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_each_format_by_hand(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("spots.csv" if kind == "csv" else "spots.json")
    path.write_text(text_of(PREDICTIONS[kind], kind))
    spots = read(path, options=LabelOptions(fps=25))
    first = spots[HalfId("l/s/a", 1)]
    at_s = 4.48 if kind in ("frames", "rows") else 12.5  # frame 112
    assert at_s in first.time_s.tolist()
    at = first.time_s.tolist().index(at_s)
    assert (ACTIONS[first.action[at]], first.confidence[at]) == ("Goal", 0.91)


def test_one_file_of_one_game_keeps_its_halves(tmp_path: Path) -> None:
    """A results_spotting.json outside of the folder of its game is of both halves all the same."""
    path = tmp_path / "spots.json"
    document = PREDICTIONS["results"]
    path.write_text(json.dumps(document))
    spots = read(path)
    assert {half: item.confidence.tolist() for half, item in spots.items()} == {
        HalfId("l/s/a", 1): [0.91], HalfId("l/s/a", 2): [0.5],
    }  # fmt: skip
    path.write_text(json.dumps({**document, "UrlLocal": "elsewhere"}))
    refused(path, "UrlLocal does not say which of 2 games, got 'elsewhere'; put it into the folder")
    assert {half.game for half in read(path, games=["l/s/b"])} == {"l/s/b"}


def test_rows_need_a_rate_and_know_team_and_game(tmp_path: Path) -> None:
    path = tmp_path / "spots.json"
    path.write_text(json.dumps({"l/s/a": [[50, "left", 7, "pass", 0.5], [25, "shot", 1]]}))
    refused(path, r"rows of frames have no time; say how many a second with --fps")
    options = LabelOptions(fps=25)
    spots = read_spots(path, ["pass", "shot"], games=GAMES, options=options)
    found = spots[HalfId("l/s/a", 1)]
    assert (found.time_s.tolist(), found.action.tolist()) == ([2.0, 1.0], [0, 1])
    assert found.confidence.tolist() == [0.5, 1.0]
    path.write_text(json.dumps({"l/s/a": [[50, "left", 7, "pass", 0.5]]}))
    naming = Naming(by_team=True)
    by_team = read_spots(path, ["left pass"], games=GAMES, options=options, naming=naming)
    assert by_team[HalfId("l/s/a", 1)].action.tolist() == [0]
    for row, message in (
        ([50, 0.5], r"row 0: must be \[frame, ..., label, score\], got \[50, 0.5\]"),
        ([-1, "pass", 0.5], "row 0: frame must not be negative"),
        ([1e308, "pass", 0.5], "row 0: frame must not be negative or past the end"),
        ([1, "pass", 50], "row 0: confidence must be in"),
        ([1, 5, 0.5], r"row 0: must be \[frame"),
    ):
        path.write_text(json.dumps({"l/s/a": [row]}))
        refused(path, message, options=options)
    path.write_text(json.dumps({"a\nb": [[1, "pass", 0.5]]}))
    refused(path, r"no game 'a.nb'", options=options)
    with pytest.raises(InputError, match="'pass' and 'PASS' differ") as caught:  # of the only game
        read(path, games=["l/s/a"], options=options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("above", ["results_test/", "a/b/"])
def test_a_zip_below_an_extra_folder_made_on_a_mac(tmp_path: Path, above: str) -> None:
    spots = some_spots((1, 2))
    write_submission(tmp_path / "plain.zip", spots, ACTIONS)
    path = tmp_path / "spots.zip"
    with zipfile.ZipFile(tmp_path / "plain.zip") as plain, zipfile.ZipFile(path, "w") as archive:
        for name in plain.namelist():
            archive.writestr(above + name, plain.read(name))
            folder, _, file = name.rpartition("/")
            archive.writestr(f"__MACOSX/{above}{folder}/._{file}", b"\x00\x05\x16\x07")
    notes: list[str] = []
    same(read(path, on_note=notes.append), spots)
    assert [f"below {above.rstrip('/')!r}, which is left out" in note for note in notes] == [True]


@pytest.mark.parametrize("kind", ["osl-v2", "csv"])
def test_a_zip_or_folder_of_one_file(tmp_path: Path, kind: str) -> None:
    name = "spots.csv" if kind == "csv" else "predictions.json"
    text = text_of(PREDICTIONS[kind], kind)
    path = tmp_path / "spots.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"out/{name}", text)
        archive.writestr(f"__MACOSX/out/._{name}", b"\x00\x05\x16\x07")
        archive.writestr("out/readme.txt", "mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_text(text)
    assert read(path).keys() == read(folder).keys() != set()
    (folder / "other.json").write_text(text)
    refused(folder, f"but 2 files: other.json, {name}; is it a submission|but 2 files: {name}")


def test_what_is_no_file_of_predictions_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "spots.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.txt", "b.npy", "c/d.txt", "e\nf.txt"):
            archive.writestr(name, "")
    refused(path, "holds no results_spotting.json, .* but 4 files: a.txt, b.npy, c/d.txt, ...;")
    path.write_bytes(path.read_bytes()[:-10])
    refused(path, "not a sound zip")
    other = tmp_path / "spots.json"
    for document, message in (
        ({"annotations": []}, "its format is not known, an object of 'annotations'; looked for"),
        ([], "its format is not known, a list"),
        (3, "its format is not known, 3"),
        ({"a\nb": 1}, "an object of 'a.nb'|an object of 'a..nb'"),
    ):
        other.write_text(json.dumps(document))
        refused(other, message)


@pytest.mark.parametrize("value", [-0.1, 1.5, "nan", None, True, [], "high"])
def test_a_confidence_is_in_0_to_1(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "spots.json"
    event = {"label": "Goal", "position_ms": 1, "confidence": value}
    path.write_text(json.dumps({"data": [{"id": "l/s/a", "events": [event]}]}))
    refused(path, "data 0, event 0: (confidence must be|has no confidence)")


def test_labels_are_no_predictions(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    event = {"label": "Goal", "position_ms": 1}
    path.write_text(json.dumps({"data": [{"id": "l/s/a", "events": [event]}]}))
    refused(path, "has no confidence; are these labels, and not predictions")


def test_a_game_without_a_list_has_no_spots_and_one_with_an_empty_list_has_none(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spots.json"
    path.write_text(json.dumps({"data": [{"id": "l/s/a"}, {"id": "l/s/b", "events": []}]}))
    assert {half: len(item.time_s) for half, item in read(path).items()} == {HalfId("l/s/b", 1): 0}


def test_equal_predictions_with_odd_confidences_are_read_like_any(tmp_path: Path) -> None:
    path = tmp_path / "spots.json"
    events = [{"frame": 1, "label": "Goal", "score": {}}] * 2
    path.write_text(json.dumps([{"video": "l/s/a", "fps": 25, "events": events}]))
    refused(path, "confidence must be a number in .0, 1., got {}")


@pytest.mark.parametrize("kind", ["osl-v1", "osl-v2", "frames", "segments"])
def test_a_half_that_no_label_file_has_comes_back(tmp_path: Path, kind: str) -> None:
    spots = some_spots((1, 2))
    first = {half: one for half, one in target(kind, (1, 2)).recordings.items() if half.half == 1}
    path = tmp_path / "out.json"
    write_spots(path, spots, ACTIONS, Target(kind, first))
    same(read(path), spots)


def test_predicted_segments_are_spotted_where_labels_are(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    found = [{"segment": [2.0, 6.0], "label": ACTIONS[0], "score": 0.5}]
    path.write_text(json.dumps({"results": {GAMES[0]: found}}))
    [at_start] = read(path)[HalfId(GAMES[0], 1)].time_s
    [in_middle] = read(path, options=LabelOptions(spot_at="middle"))[HalfId(GAMES[0], 1)].time_s
    assert (at_start, in_middle) == (2.0, 4.0)
