"""A season is reproducible bit by bit, resumes, and carries evidence of many strengths."""

import json
import tracemalloc
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import sha256_file
from hmtas.formats.actions import ACTIONS
from hmtas.formats.embeddings import THESIS_STREAMS
from hmtas.formats.soccernet import LABEL_FILE, read_events
from hmtas.formats.splits import read_splits
from hmtas.season.chains import SimulatedHalf
from hmtas.season.evidence import draw_marks, embed
from hmtas.season.match import HALF_MINUTES, simulate_match
from hmtas.season.profiles import DEFAULT_PROFILE, PROFILES
from hmtas.season.sports import SPORTS
from hmtas.season.write import (
    SMALL_STREAMS,
    SeasonConfig,
    parse_streams,
    write_season,
)

name_of = SPORTS["football"].form.name_of
TINY: dict[str, Any] = {"train": 3, "valid": 1, "test": 1, "minutes": 4, "seed": 5}


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    write_season(root, SeasonConfig(**TINY, challenge=1))
    return root


def test_the_same_seed_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    write_season(tmp_path, SeasonConfig(**TINY, challenge=1))
    assert hashes(tmp_path) == hashes(tiny)
    assert len(hashes(tiny)) == 6 * 12 + 5 + 2  # streams, labels of 5 games, season and splits


def test_the_default_season_is_the_one_it_always_was(tiny: Path) -> None:
    lines = "".join(f"{digest}  {name}\n" for name, digest in hashes(tiny).items())
    assert sha256(lines.encode()).hexdigest() == (
        "56d98be7e8b4ab15e398b12b22942fe9d210ca5f319a4953bc346aaee6d8cc47"
    )


def test_another_seed_gives_other_games(tiny: Path, tmp_path: Path) -> None:
    write_season(tmp_path, SeasonConfig(**TINY | {"seed": 6}, challenge=1))
    files = {name for name in hashes(tmp_path) if name.endswith(".npy")}
    there = hashes(tiny)
    assert not any(there.get(name) == digest for name, digest in hashes(tmp_path).items()
                   if name in files)  # fmt: skip


def test_a_game_does_not_depend_on_how_many_there_are(tiny: Path, tmp_path: Path) -> None:
    write_season(tmp_path, SeasonConfig(**TINY | {"train": 2, "valid": 0, "test": 0}))
    few, many = hashes(tmp_path), hashes(tiny)
    games = [name for name in few if name not in ("season.json", "splits.json")]
    assert len(games) == 2 * 13
    assert all(few[name] == many[name] for name in games)


def test_a_stream_does_not_depend_on_the_others(tiny: Path, tmp_path: Path) -> None:
    write_season(tmp_path, SeasonConfig(**TINY, challenge=1, streams={"vtn": 12}))
    alone, together = hashes(tmp_path), hashes(tiny)
    names = [name for name in alone if name.endswith("_vtn.npy")]
    assert len(names) == 12
    assert all(alone[name] == together[name] for name in names)


def test_a_second_run_writes_only_what_is_missing(tmp_path: Path) -> None:
    config = SeasonConfig(**TINY)
    write_season(tmp_path, config)
    before = hashes(tmp_path)
    npy = sorted(tmp_path.rglob("*.npy"))
    npy[3].unlink()
    next(tmp_path.rglob(LABEL_FILE)).unlink()
    written_at = {path: path.stat().st_mtime_ns for path in npy if path.exists()}
    games = []
    write_season(tmp_path, config, lambda: games.append(1))
    assert hashes(tmp_path) == before
    assert len(games) == config.num_games
    assert all(path.stat().st_mtime_ns == then for path, then in written_at.items())


def test_another_configuration_is_refused(tiny: Path) -> None:
    before = hashes(tiny)
    with pytest.raises(InputError, match=r"another configuration \(it differs in test\)"):
        write_season(tiny, SeasonConfig(**TINY | {"test": 2}, challenge=1))
    assert hashes(tiny) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text("mine")
    with pytest.raises(InputError, match="needs an empty folder"):
        write_season(tmp_path, SeasonConfig(**TINY))
    assert [path.name for path in tmp_path.iterdir()] == ["splits.json"]


def test_the_tree_is_soccernets(tiny: Path) -> None:
    splits = read_splits(tiny / "splits.json")
    assert {name: len(games) for name, games in splits.items()} == {
        "train": 3, "valid": 1, "test": 1, "challenge": 1,
    }  # fmt: skip
    for game in (game for games in splits.values() for game in games):
        assert len(game.split("/")) == 3
        assert {path.name for path in (tiny / game).glob("*.npy")} == {
            f"{half}_{stream}.npy" for half in (1, 2) for stream in SMALL_STREAMS
        }
        for stream, width in SMALL_STREAMS.items():
            values = np.load(tiny / game / f"1_{stream}.npy")
            assert values.dtype == np.float16
            assert values.shape[1] == width
            assert np.isfinite(values).all()
            assert np.abs(values).max() > 1
    assert not (tiny / splits["challenge"][0] / LABEL_FILE).exists()


def test_labels_read_like_soccernets_and_the_name_tells_the_score(tiny: Path) -> None:
    for game in read_splits(tiny / "splits.json")["train"]:
        document = json.loads((tiny / game / LABEL_FILE).read_text())
        assert document["UrlLocal"] == game
        score = {"home": 0, "away": 0}
        for annotation in document["annotations"]:
            half, _, clock = annotation["gameTime"].partition(" - ")
            minutes, seconds = clock.split(":")
            assert int(minutes) * 60 + int(seconds) == int(annotation["position"]) // 1000
            assert half in ("1", "2")
            assert annotation["visibility"] in ("visible", "not shown")
            score[annotation["team"]] += annotation["label"] == "Goal"
        assert f" {score['home']} - {score['away']} " in game
        for half_number, events in read_events(tiny, game).items():
            rows = [
                len(np.load(tiny / game / f"{half_number}_{name}.npy")) for name in SMALL_STREAMS
            ]
            assert events.time_s.max() <= max(rows)
            assert max(rows) - min(rows) <= 2


def test_goals_of_whole_matches_stand_in_the_name() -> None:
    for number in range(30):
        halves = simulate_match(np.random.default_rng(number), HALF_MINUTES)
        goal = ACTIONS.index("Goal")
        home = sum(int((half.action[half.home] == goal).sum()) for half in halves)
        away = sum(int((half.action[~half.home] == goal).sum()) for half in halves)
        assert f" {home} - {away} " in name_of(number, halves)


def test_no_team_meets_itself_and_no_fixture_comes_twice() -> None:
    halves = simulate_match(np.random.default_rng(0), 1)
    names = [name_of(number, halves) for number in range(2 * 4 * 306)]
    assert len(set(names)) == len(names)
    for name in names:
        home, away = name.split("-00 ", 1)[1].split(" 0 - 0 ")
        assert home != away


def test_files_of_a_half_differ_only_when_asked(tmp_path: Path) -> None:
    for ragged in (False, True):
        root = tmp_path / str(ragged)
        config = SeasonConfig(train=10, valid=0, test=0, minutes=1, ragged=ragged)
        write_season(root, config)
        spread = set()
        for game in read_splits(root / "splits.json")["train"]:
            rows = [len(np.load(path)) for path in (root / game).glob("1_*.npy")]
            spread.add(max(rows) - min(rows))
        assert spread == ({0, 1, 2} if ragged else {0})


def test_thesis_streams_stand_side_by_side_in_one_file(tmp_path: Path) -> None:
    config = SeasonConfig(train=1, valid=0, test=0, minutes=1, streams=THESIS_STREAMS, ragged=False)
    write_season(tmp_path / "all", config)
    (visual_path,) = (tmp_path / "all").rglob("1_*baidu*.npy")
    assert visual_path.name == "1_baidu_soccer_embeddings.npy"
    visual = np.load(visual_path)
    assert visual.shape[1] == 8576
    assert visual.dtype == np.float32
    assert np.load(visual_path.with_name("1_vggish.npy")).shape == (len(visual), 128)
    assert len(list((tmp_path / "all").rglob("*.npy"))) == 4
    vtn = config.model_copy(update={"streams": {"vtn": 384}, "dtype": "float32"})
    write_season(tmp_path / "vtn", vtn)
    (alone,) = (tmp_path / "vtn").rglob("1_vtn.npy")
    np.testing.assert_array_equal(visual[:, 4096 : 4096 + 384], np.load(alone))


def test_memory_holds_one_half_whatever_the_number_of_games(tmp_path: Path) -> None:
    peaks = []
    for num_games in (1, 3):
        config = SeasonConfig(
            train=num_games, valid=0, test=0, minutes=1, streams=THESIS_STREAMS, ragged=False
        )
        tracemalloc.start()
        write_season(tmp_path / str(num_games), config)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    largest = max(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert max(peaks) < 2.5 * largest  # a file and two of its five blocks at a time
    assert peaks[1] < 1.3 * peaks[0]


def seconds(stream: str, first_match: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight halves of one stream, (T, F), and the action of every second or -1, (T,)."""
    embeddings, actions = [], []
    for k in range(first_match, first_match + 4):
        for number, half in enumerate(simulate_match(np.random.default_rng(k), HALF_MINUTES)):
            marks = draw_marks(np.random.default_rng([k, number]), half)
            rng = np.random.default_rng([k, number, 1])
            embeddings.append(
                embed(rng, marks, stream=stream, width=16, num_rows=half.duration_s, seed=0)
            )
            action = np.full(half.duration_s, -1)
            action[half.time_s.astype(int)] = half.action
            actions.append(action)
    return np.concatenate(embeddings), np.concatenate(actions)


def ranking_quality(stream: str, action: str) -> float:
    """Area under the ROC curve of a discriminant fitted on four matches, scored on four others.

    A second's score may come from it or from one of the three behind it, so that late streams
    have their chance.
    """
    index = ACTIONS.index(action)
    x, y = seconds(stream, 0)
    x = np.concatenate([np.roll(x, -shift, axis=0) for shift in range(4)], axis=1)
    weights = np.linalg.solve(
        np.cov(x, rowvar=False) + 0.1 * np.eye(x.shape[1]), x[y == index].mean(0) - x.mean(0)
    )
    x, y = seconds(stream, 100)
    x = np.concatenate([np.roll(x, -shift, axis=0) for shift in range(4)], axis=1)
    rank = np.argsort(np.argsort(x @ weights))
    return float(rank[y == index].mean() / len(rank))


def test_streams_tell_goals_and_vtn_tells_more_than_audio() -> None:
    for stream in ("vtn", "vggish"):
        assert ranking_quality(stream, "Goal") > 0.8
    # Nobody hears a throw-in.
    assert ranking_quality("vtn", "Throw-in") > 0.85
    assert ranking_quality("vtn", "Throw-in") > ranking_quality("vggish", "Throw-in") + 0.1


def mean_response(stream: str, *, visible: bool) -> np.ndarray:
    """Mean size of a stream's deviation in the seconds -5 to 5 around a lone goal, (11,)."""
    size = np.zeros(11)
    for k in range(200):
        half = SimulatedHalf(
            duration_s=41,
            time_s=np.array([20.0]),
            action=np.array([ACTIONS.index("Goal")]),
            home=np.array([True]),
            visible=np.array([visible]),
            label_s=np.array([20.0]),
        )
        marks = draw_marks(np.random.default_rng([k, 0]), half)
        rng = np.random.default_rng([k, 1])
        x = embed(rng, marks, stream=stream, width=32, num_rows=41, seed=0)
        size += (x[15:26] ** 2).sum(axis=1) - 32
    return size / 200


def test_audio_comes_late_and_an_unshown_action_is_faint() -> None:
    assert mean_response("vggish", visible=True).argmax() - 5 in (2, 3, 4)
    assert mean_response("vtn", visible=True).argmax() - 5 in (-1, 0, 1)
    faint = mean_response("vtn", visible=False).max()
    assert faint < 0.4 * mean_response("vtn", visible=True).max()


def test_strengths_follow_the_table() -> None:
    # Validation losses of thesis Table 5.6: the lower the loss, the stronger the stream.
    loss = {"tpn": 0.0926, "gta": 0.0870, "vtn": 0.0797, "ircsn": 0.1100, "i3d_slow": 0.0976,
            "vggish": 0.1372}  # fmt: skip
    by_strength = sorted(PROFILES, key=lambda name: -PROFILES[name].strength)
    assert by_strength == sorted(loss, key=loss.__getitem__)
    assert DEFAULT_PROFILE.strength < PROFILES["vtn"].strength


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("vtn", "'vtn' must read like vtn=12", id="no width"),
        pytest.param("vtn=-3", "'vtn=-3' must read", id="a negative width"),
        pytest.param("vtn=1,vtn=2", "'vtn' is named twice", id="a name twice"),
        pytest.param("a=x,=3", "'a=x' must read .*; '=3' must", id="all mistakes at once"),
    ],
)
def test_bad_streams(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_streams(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--train", "-1"], "bad season: train: .*got -1", id="a negative count"),
        pytest.param(["--train", "0", "--valid", "0", "--test", "0"], "one game", id="no game"),
        pytest.param(["--streams", "vtn=0"], r"width of at least 1, got \{'vtn': 0\}", id="width"),
        pytest.param(["--streams", "../x=3"], "letters, digits", id="a name that is a path"),
        pytest.param(["--dtype", "int8"], "bad season: dtype: .*got 'int8'", id="a number format"),
        pytest.param(["--minutes", "0"], "bad season: minutes: .*got 0", id="no minutes"),
        pytest.param(["--thesis-streams", "--streams", "a=1"], "exclude each other", id="both"),
    ],
)
def test_bad_options_leave_nothing(tmp_path: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(build(), ["season", str(tmp_path / "new"), *options])
    assert isinstance(result.exception, InputError)
    assert result.exception.args
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert not (tmp_path / "new").exists()


def test_the_verb_writes_the_season_and_says_so(tmp_path: Path) -> None:
    options = ["--train", "1", "--valid", "0", "--test", "0", "--minutes", "1", "--json"]
    streams = ["--streams", "eyes=6, ears=2", "--seed", "3"]
    result = CliRunner().invoke(build(), ["season", str(tmp_path), *options, *streams])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["num_games"] == 1
    assert document["streams"] == {"eyes": 6, "ears": 2}
    assert len(list(tmp_path.rglob("*_eyes.npy"))) == 2
