"""A season of every sport is written as that sport's data are, alike each time, and resumes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import read_json, sha256_file
from hmtas.season.sports import BALL, HANDBALL, TENNIS, SportName
from hmtas.season.write import SEASON_FILE, SeasonConfig, write_season

STREAMS = {"vtn": 6, "vggish": 4}
SMALL: dict[str, Any] = {
    "train": 3, "valid": 1, "test": 1, "challenge": 1, "minutes": 3, "seed": 5, "streams": STREAMS
}  # fmt: skip
SPORTS: tuple[SportName, ...] = ("football-extra-time", "ball", "tennis", "handball")
NUM_GAMES = {"train": 3, "valid": 1, "test": 1, "challenge": 1}


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> dict[SportName, Path]:
    roots = {sport: tmp_path_factory.mktemp(sport) for sport in SPORTS}
    for sport, root in roots.items():
        write_season(root, SeasonConfig(**SMALL, sport=sport))
    return roots


@pytest.mark.parametrize("sport", SPORTS)
def test_the_same_seed_gives_the_same_bytes_after_an_interruption_too(
    seasons: dict[SportName, Path], tmp_path: Path, sport: SportName
) -> None:
    games = []

    def stop() -> None:
        games.append(1)
        if len(games) == 2:
            raise KeyboardInterrupt

    config = SeasonConfig(**SMALL, sport=sport)
    with pytest.raises(KeyboardInterrupt):
        write_season(tmp_path, config, stop)
    there = hashes(seasons[sport])
    part = hashes(tmp_path)
    assert 1 < len(part) < len(there)
    written_at = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    write_season(tmp_path, config)
    assert hashes(tmp_path) == there
    assert all(path.stat().st_mtime_ns == then for path, then in written_at.items())


@pytest.mark.parametrize("sport", SPORTS)
def test_another_seed_gives_other_embeddings(
    seasons: dict[SportName, Path], tmp_path: Path, sport: SportName
) -> None:
    write_season(tmp_path, SeasonConfig(**SMALL | {"seed": 6}, sport=sport))
    npy = {digest for name, digest in hashes(tmp_path).items() if name.endswith(".npy")}
    assert len(npy) >= 12
    assert not npy & set(hashes(seasons[sport]).values())


def test_a_season_of_another_sport_or_rate_is_refused(seasons: dict[SportName, Path]) -> None:
    before = hashes(seasons["tennis"])
    for options, changed in (({"sport": "handball"}, "sport"), ({"rate_hz": 1}, "rate_hz")):
        config = SeasonConfig.model_validate({**SMALL, "sport": "tennis", "rate_hz": 2, **options})
        with pytest.raises(InputError, match=rf"it differs in .*\b{changed}\b.*\)"):
            write_season(seasons["tennis"], config)
    assert hashes(seasons["tennis"]) == before


def rows_of(path: Path, stream: str) -> int:
    """The rows of a file of a stream, whose values are checked."""
    values = np.load(path)
    assert values.dtype == np.float16
    assert values.shape[1] == STREAMS[stream]
    assert np.isfinite(values).all()
    assert np.abs(values).max() > 1
    return len(values)


def test_extra_time_is_parts_3_and_4_of_every_third_game(
    seasons: dict[SportName, Path], tmp_path: Path
) -> None:
    write_season(tmp_path, SeasonConfig(**SMALL))
    ordinary = [game for games in read_json(tmp_path / "splits.json").values() for game in games]
    root = seasons["football-extra-time"]
    splits = read_json(root / "splits.json")
    assert {split: len(games) for split, games in splits.items()} == NUM_GAMES
    for number, game in enumerate(game for games in splits.values() for game in games):
        parts = (1, 2, 3, 4) if number % 3 == 0 else (1, 2)
        files = {f"{part}_{stream}.npy" for part in parts for stream in STREAMS}
        assert {path.name for path in (root / game).glob("*.npy")} == files
        for name in files:
            if name[0] in "12":  # the halves are those of the ordinary season
                there = tmp_path / ordinary[number] / name
                assert sha256_file(root / game / name) == sha256_file(there)
            else:
                assert 60 <= rows_of(root / game / name, name[2:-4]) + 2 < 90
        if game in splits["challenge"]:
            assert not (root / game / "Labels-v2.json").exists()
            continue
        annotations = read_json(root / game / "Labels-v2.json")["annotations"]
        assert {note["gameTime"].split(" - ")[0] for note in annotations} == set(map(str, parts))
        goals = [note["team"] for note in annotations if note["label"] == "Goal"]
        assert f" {goals.count('home')} - {goals.count('away')} " in game


def test_ball_actions_are_one_part_labelled_on_frames(seasons: dict[SportName, Path]) -> None:
    root = seasons["ball"]
    splits = read_json(root / "splits.json")
    assert {split: len(games) for split, games in splits.items()} == NUM_GAMES
    seen = set()
    for split, games in splits.items():
        for game in games:
            names = {"1_vtn.npy", "1_vggish.npy"}
            if split != "challenge":
                names.add("Labels-ball.json")
                document = read_json(root / game / "Labels-ball.json")
                assert document["UrlLocal"] == game
                assert 25 < len(document["annotations"]) < 80  # some 15 a minute
                for note in document["annotations"]:
                    assert note.keys() == {"gameTime", "label", "position", "team", "visibility"}
                    position_ms = int(note["position"])
                    assert position_ms % 40 == 0
                    minutes, seconds = divmod(position_ms // 1000, 60)
                    assert note["gameTime"] == f"1 - {minutes:02d}:{seconds:02d}"
                    assert position_ms / 1000 <= rows_of(root / game / "1_vtn.npy", "vtn") + 2
                    assert note["team"] in ("left", "right")
                    assert note["visibility"] == "visible"
                    seen.add(note["label"])
            assert {path.name for path in (root / game).iterdir()} == names
    assert len(BALL.actions) == 12
    assert {"PASS", "DRIVE", "OUT"} <= seen <= set(BALL.actions)


def test_tennis_is_lists_of_frames(seasons: dict[SportName, Path]) -> None:
    root = seasons["tennis"]
    assert {path.name for path in root.iterdir()} == {
        "train.json", "val.json", "test.json", "challenge.json", "class.txt", SEASON_FILE, *STREAMS
    }  # fmt: skip
    assert (root / "class.txt").read_text().splitlines() == list(TENNIS.actions)
    assert len(TENNIS.actions) == 6
    videos = []
    for name, num_videos in zip(("train", "val", "test"), (3, 1, 1), strict=True):
        listed = read_json(root / f"{name}.json")
        assert len(listed) == num_videos
        videos += listed
        for video in listed:
            frames = [event["frame"] for event in video["events"]]
            assert frames == sorted(frames)
            assert len(frames) == video["num_events"] > 15
            assert 0 <= frames[0] < frames[-1] < video["num_frames"]
            for event in video["events"]:
                assert event.keys() == {"frame", "label", "comment"}
                assert isinstance(event["frame"], int)
                assert event["label"] in TENNIS.actions
                assert not event["comment"]
    (unlabelled,) = read_json(root / "challenge.json")
    assert unlabelled.keys() == {"video", "num_frames", "fps", "width", "height"}
    for video in (*videos, unlabelled):
        assert video["fps"] == 25
        assert 25 * 180 <= video["num_frames"] <= 25 * 198
        for stream in STREAMS:  # two rows a second, up to two fewer
            missing = 2 * video["num_frames"] / 25 - rows_of(
                root / stream / f"{video['video']}.npy", stream
            )
            assert 0 <= missing <= 2
    names = [video["video"] for video in (*videos, unlabelled)]
    assert len(set(names)) == 6
    assert len(list(root.rglob("*.npy"))) == 6 * len(STREAMS)


def test_handball_is_osl_version_2(seasons: dict[SportName, Path]) -> None:
    root = seasons["handball"]
    lists = {f"annotations_{split}.json" for split in NUM_GAMES}
    assert {path.name for path in root.iterdir()} == {*lists, SEASON_FILE, *STREAMS}
    ids = []
    for split, num_games in NUM_GAMES.items():
        document = read_json(root / f"annotations_{split}.json")
        data = document.pop("data")
        assert document == {
            "version": "2.0",
            "date": "2026-01-01",
            "task": "action_spotting",
            "dataset_name": "hmtas-season-handball",
            "modalities": ["features"],
            "metadata": {"sport": "handball", "split": split},
            "labels": {"action": {"type": "single_label", "labels": list(HANDBALL.actions)}},
        }
        assert len(data) == num_games
        for sample in data:
            ids.append(sample["id"])
            assert [Path(part["path"]).parts for part in sample["inputs"]] == [
                (stream, f"{sample['id']}.npy") for stream in STREAMS
            ]
            for part, stream in zip(sample["inputs"], STREAMS, strict=True):
                assert (part["type"], part["fps"]) == ("features", 1)
                assert 178 <= rows_of(root / part["path"], stream) <= 198
            if split == "challenge":
                assert sample.keys() == {"id", "inputs"}
                continue
            assert sample["events"][0]["label"] == "throw-off"
            for event in sample["events"]:
                assert event.keys() == {"head", "label", "position_ms", "gameTime"}
                assert event["head"] == "action"
                assert event["label"] in HANDBALL.actions
                minutes, seconds = divmod(int(event["position_ms"]) // 1000, 60)
                assert event["gameTime"] == f"1 - {minutes:02d}:{seconds:02d}"
                assert isinstance(event["position_ms"], str)
    assert len(set(ids)) == 6


def test_splits_without_games_have_no_list(tmp_path: Path) -> None:
    few = SMALL | {"train": 0, "valid": 1, "test": 0, "challenge": 0, "minutes": 1}
    write_season(tmp_path / "a", SeasonConfig(**few, sport="tennis"))
    assert sorted(path.name for path in (tmp_path / "a").glob("*.json")) == [
        "season.json", "val.json"
    ]  # fmt: skip
    write_season(tmp_path / "b", SeasonConfig(**few, sport="handball"))
    assert [path.name for path in (tmp_path / "b").glob("a*.json")] == ["annotations_valid.json"]


def verb(*words: str) -> Any:
    result = CliRunner().invoke(build(), ["season", *words])
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)


def test_the_verb_knows_what_is_usual_in_a_sport(tmp_path: Path) -> None:
    few = ["--train", "1", "--valid", "0", "--test", "0", "--streams", "vtn=3", "--json"]
    document = verb(str(tmp_path / "a"), "--sport", "tennis", *few)
    assert (document["sport"], document["minutes"], document["rate_hz"]) == ("tennis", 5, 2)
    (path,) = (tmp_path / "a").rglob("*.npy")
    assert 2 * 300 - 2 <= len(np.load(path)) <= 2 * 330
    fast = verb(str(tmp_path / "b"), "--minutes", "1", "--rate-hz", "2", *few)
    assert "sport" not in read_json(tmp_path / "b" / SEASON_FILE)
    assert fast["rate_hz"] == 2
    once = verb(str(tmp_path / "c"), "--minutes", "1", "--rate-hz", "1", "--no-ragged", *few)
    # As in every season that was written before there was the option.
    assert "rate_hz" not in once
    slow, quick = (next((tmp_path / name).rglob("1_vtn.npy")) for name in "cb")
    assert 0 <= 2 * len(np.load(slow)) - len(np.load(quick)) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--sport", "ball", "--context"], "only football .*got sport 'ball'", id="ball"
        ),
        pytest.param(
            ["--sport", "football-extra-time", "--context"], "only football has", id="extra time"
        ),
        pytest.param(
            ["--sport", "golf"], "^bad season: sport: .*'tennis'[^;]*, got 'golf'$", id="no sport"
        ),
        pytest.param(["--rate-hz", "0.1"], r"bad season: rate_hz: .*0\.5, got 0\.1$", id="slow"),
        pytest.param(["--rate-hz", "50"], "bad season: rate_hz: .*25, got 50", id="fast"),
    ],
)
def test_bad_options_leave_nothing(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        verb(str(tmp_path / "new"), *options)
    assert not (tmp_path / "new").exists()
