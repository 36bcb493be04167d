"""Every sport of `hmtas season` goes the whole way through the command line, to a submission."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import read_json, write_text
from hmtas.formats.actions import ACTIONS
from hmtas.runs.record import read_run
from hmtas.season.sports import BALL, HANDBALL, TENNIS
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore
from tests.test_other_actions import no_number_of_the_thesis

Hmtas = Callable[..., Any]

SEASON = ("--train", "4", "--valid", "4", "--test", "2", "--streams", "vtn=6,vggish=3")
TINY = ("--preset", "smoke", "--set", "width=8", "--set", "max_epochs=2",
        "--set", "batch_size=64", "--set", "learning_rate=0.005")  # fmt: skip
WINDOWS = ("--set", "num_heads=2", "--set", "seq_len=3")
LONG_WINDOWS = ("--set", "num_heads=2", "--set", "seq_len=5")
CONTEXTS = ("--set", "gamma=1", "--set", "context_s=32", "--set", "margin_s=4",
            "--set", "reach_s=4")  # fmt: skip
CONV = ("--set", "kind=conv", *CONTEXTS, "--set", "output_rate_hz=2")
DENSE = ("--set", "kind=dense", *CONTEXTS, "--set", "num_heads=2", "--set", "output_rate_hz=2")
MAP_AT_1 = ("--tolerance-s", "1", "--grid-hz", "25")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What differs from sport to sport on the same way."""

    sport: str
    actions: tuple[str, ...]
    minutes: float
    second: tuple[str, ...]  # settings of the second model
    pack: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # how the label files are read again, to score a submission
    metric: tuple[str, ...] = ()
    submission: str
    parts: tuple[int, ...] = (1,)


CASES = (
    Case(
        sport="tennis",
        actions=TENNIS.actions,
        minutes=2,
        second=CONV,
        pack=("--rate-hz", "2"),
        metric=("--tolerance-frames", "1", "--fps", "25"),
        submission="predictions.json",
    ),
    Case(
        sport="ball",
        actions=tuple(f"{team} {action}" for action in BALL.actions for team in ("left", "right")),
        minutes=2,
        second=DENSE,
        pack=("--by-team",),
        labels=("--by-team",),
        metric=MAP_AT_1,
        submission="submission.zip",
    ),
    Case(
        sport="football-extra-time",
        actions=ACTIONS,
        minutes=2,
        second=LONG_WINDOWS,
        submission="submission.zip",
        parts=(1, 2, 3, 4),
    ),
    Case(
        sport="handball",
        actions=HANDBALL.actions,
        minutes=3,
        second=LONG_WINDOWS,
        metric=("--tolerance-s", "5"),
        submission="predictions.json",
    ),
)


@pytest.fixture
def hmtas(mlflow_store: str, capsys: pytest.CaptureFixture[str]) -> Hmtas:
    """The program; returns the JSON that it prints."""

    def call(*words: object) -> Any:
        build()([*map(str, words), "--json"], prog_name="hmtas", standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return call


def assert_same_numbers(found: Any, expected: Any, place: str = "") -> None:
    """The same documents, but for what rounding to frames and milliseconds may do."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), place
        for key, value in expected.items():
            assert_same_numbers(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for i, value in enumerate(expected):
            assert_same_numbers(found[i], value, f"{place}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6, nan_ok=True), place
    else:
        assert found == expected, place


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sport)
def test_from_a_season_to_a_submission(case: Case, hmtas: Hmtas, tmp_path: Path) -> None:
    games, store = tmp_path / "games", tmp_path / "store"
    hmtas("season", games, "--sport", case.sport, "--minutes", case.minutes, *SEASON)
    hmtas("pack", games, store, *case.pack)
    packed = EmbeddingStore.open(store)
    for split in ("valid", "test"):
        halves = packed.halves_of(packed.games(split))
        assert tuple(sorted({half.half for half in halves})) == case.parts
    runs = [tmp_path / "windows", tmp_path / "second"]
    for run, settings in zip(runs, (WINDOWS, case.second), strict=True):
        hmtas("train", store, "--out", run, *TINY, *settings)
        assert read_run(run).actions == case.actions
    for split in ("valid", "test"):
        hmtas("predict", *runs, "--split", split)
    hmtas("tune", "windows", *runs, *case.metric)

    mean = tmp_path / "fitted" / "mean"
    hmtas("ensemble", "fit", *runs, "--out", mean.parent, "--combiner", "mean", "--folds", "2")
    hmtas("ensemble", "select", *runs, "--out", tmp_path / "chosen", "--folds", "2",
          "--combiner", "mean", "--combiner", "weighted")  # fmt: skip
    selected = tmp_path / "chosen" / "selected"
    hmtas("ensemble", "apply", mean, selected, "--split", "test")

    scored = {}
    for run in (*runs, mean, selected):
        scored[run] = hmtas("score", run, "--split", "test", *case.metric)
        assert set(scored[run]["tight"]["per_action"]) == set(case.actions)
        assert ("chosen" in scored[run]) == bool(case.metric)
    if case.actions is not ACTIONS:
        for run in (*runs, mean):
            assert no_number_of_the_thesis((run / "run.json").read_text())

    written = []
    for run in (runs[0], mean):
        spots = tmp_path / run.name / case.submission
        hmtas("spot", run, "--split", "test", "--out", spots)
        of_file = hmtas("score", spots, "--games", games, "--split", "test", *case.labels,
                        *case.metric)  # fmt: skip
        assert_same_numbers(of_file, scored[run])
        written.append(spots)
    compared = hmtas("compare", *written, "--games", games, "--split", "test", *case.labels)
    tight = {row["run_dir"]: row["tight"] for row in compared["paired"]["runs"]}
    for run, spots in zip((runs[0], mean), written, strict=True):
        expected = scored[run]["tight"]["average_map"]
        assert tight[str(spots)] == pytest.approx(expected, abs=1e-6)


def test_a_baseline_of_team_actions_knows_its_teams(hmtas: Hmtas, tmp_path: Path) -> None:
    games, store, run = tmp_path / "games", tmp_path / "store", tmp_path / "run"
    hmtas("season", games, "--sport", "ball", "--minutes", "1", *SEASON)
    hmtas("pack", games, store, "--by-team")
    hmtas("baseline", store, "--out", run, "--split", "test")
    scored = hmtas("score", run, "--split", "test", *MAP_AT_1)
    assert scored["tight"]["team_map"] > 0, "the store was packed so; nothing need be asked"
    spots = tmp_path / "submission.zip"
    hmtas("spot", run, "--split", "test", "--out", spots)
    for labels in ((games, "--by-team"), (store,)):
        found = hmtas("score", spots, "--games", *labels, "--split", "test", *MAP_AT_1)
        assert_same_numbers(found, scored)
    with pytest.raises(InputError, match="do the actions have their team in their name"):
        hmtas("score", run, "--split", "test", "--games", games)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_study_its_page_and_the_runs_after_it(hmtas: Hmtas, tmp_path: Path) -> None:
    games, store = tmp_path / "games", tmp_path / "store"
    hmtas("season", games, "--sport", "tennis", "--minutes", "1", *SEASON)
    hmtas("pack", games, store, "--rate-hz", "2")
    hmtas("tune", "model", store, "--out", tmp_path, "--name", "s", "--trials", "2",
          "--preset", "smoke", "--max-epochs", "1", "--set", "width=8", "--set", "num_heads=2",
          "--top", "1", "--final-seeds", "1")  # fmt: skip
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert all(action in page for action in TENNIS.actions)
    assert not [name for name in ("Throw-in", "Kick-off", "Ball out of play") if name in page]

    trials = sorted((tmp_path / "s" / "trials").glob("[!.]*"))
    again = hmtas("reproduce", trials[0], "--out", tmp_path / "again")
    assert again["verdict"] == "the same, bit for bit"
    hmtas("ensemble", "fit", *trials, "--out", tmp_path, "--combiner", "mean", "--folds", "2")
    promoted = hmtas("ensemble", "promote", tmp_path / "mean", "--name", "tennis")
    assert promoted["alias"] == "champion"
    assert promoted["inputs"] == {"vggish": 3, "vtn": 6}


@pytest.fixture(scope="module")
def tennis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A season of tennis, of which each label is told in another format."""
    games = tmp_path_factory.mktemp("tennis") / "games"
    write_season(
        games,
        SeasonConfig(
            sport="tennis", train=2, valid=1, test=1, minutes=1, streams={"vtn": 6, "vggish": 3}
        ),
    )
    return games


def videos_of(games: Path) -> Iterator[tuple[str, Any]]:
    """Every video of lists of frames, with its split."""
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        for video in read_json(games / f"{name}.json"):
            yield split, video


def as_table(games: Path) -> dict[str, str]:
    """A CSV of seconds."""
    lines = ["game,split,time_s,label"]
    for split, video in videos_of(games):
        lines += [
            f"{video['video']},{split},{event['frame'] / video['fps']},{event['label']}"
            for event in video["events"]
        ]
    return {"labels.csv": "\n".join(lines)}


def as_segments(games: Path) -> dict[str, str]:
    """Segments of ActivityNet that end where something happens."""
    database = {
        video["video"]: {
            "subset": split,
            "duration": video["num_frames"] / video["fps"],
            "annotations": [
                {
                    "segment": [max(event["frame"] / video["fps"] - 1, 0.0),
                                event["frame"] / video["fps"]],
                    "label": event["label"],
                }
                for event in video["events"]
            ],
        }
        for split, video in videos_of(games)
    }  # fmt: skip
    return {"segments.json": json.dumps({"database": database})}


def as_they_are(games: Path) -> dict[str, str]:
    names = ("train.json", "val.json", "test.json", "class.txt")
    return {name: (games / name).read_text() for name in names}


@pytest.mark.parametrize(
    ("told", "options"),
    [
        (as_they_are, ()),
        (as_table, ()),
        (as_segments, ("--spot-at", "end")),
    ],
)
def test_labels_of_another_format_beside_embeddings_elsewhere(
    tennis: Path,
    hmtas: Hmtas,
    tmp_path: Path,
    told: Callable[[Path], dict[str, str]],
    options: tuple[str, ...],
) -> None:
    labels = tmp_path / "labels"
    for name, text in told(tennis).items():
        write_text(labels / name, text)
    actions = tmp_path / "actions.txt"  # a table has no order of them
    write_text(actions, "\n".join(TENNIS.actions))
    hmtas("pack", tennis, tmp_path / "plain", "--rate-hz", "2")
    hmtas("pack", labels, tmp_path / "told", "--features", tennis, "--rate-hz", "2",
          "--actions", actions, *options)  # fmt: skip
    plain, ours = (EmbeddingStore.open(tmp_path / name) for name in ("plain", "told"))
    assert ours.actions == plain.actions
    assert ours.splits == plain.splits
    for split in plain.splits:
        expected, found = (one.events_of(one.games(split)) for one in (plain, ours))
        assert found.keys() == expected.keys()
        for half, events in expected.items():
            np.testing.assert_allclose(found[half].time_s, events.time_s, atol=1e-9)
            np.testing.assert_array_equal(found[half].action, events.action)
            assert ours.halves[half].num_rows == plain.halves[half].num_rows


def test_soccernets_features_of_two_rows_a_second_beside_those_of_one(
    hmtas: Hmtas, tmp_path: Path
) -> None:
    games, store = tmp_path / "games", tmp_path / "store"
    hmtas("season", games, "--sport", "football-extra-time", "--minutes", "1", *SEASON)
    for file in games.rglob("*_vtn.npy"):
        rows = np.load(file)
        np.save(file.with_name(f"{file.name[0]}_ResNET_TF2_PCA512.npy"), np.repeat(rows, 2, 0))
    hmtas("pack", games, store)
    packed = EmbeddingStore.open(store)
    assert packed.rate_hz == 1
    assert {half.half for half in packed.halves} == {1, 2, 3, 4}
    assert dict(packed.streams)["ResNET_TF2_PCA512"] == 6
