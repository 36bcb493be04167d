"""`hmtas spot` and `hmtas score` give the official numbers for spots, probabilities and runs."""

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hmtas.cli import build
from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.formats.actions import ACTIONS
from hmtas.formats.submission import read_submission
from hmtas.packing.pack import pack
from hmtas.records import HalfId, Probabilities
from hmtas.runs.probabilities import Provenance, write_probabilities
from hmtas.runs.record import RunRecord, predictions_path, write_run
from hmtas.store.local import EmbeddingStore
from tests.support.archives import extract
from tests.support.store_tree import label as annotation
from tests.support.store_tree import rows, save, save_labels, save_splits

SPLITS = {
    "train": ["l/s/a"],
    "valid": ["l/s/b", "l/s/c"],
    "test": ["l/s/d"],
    "challenge": ["l/s/e"],
}
PERFECT = 3 / 17  # three of the 17 actions occur
REAL = os.environ.get("HMTAS_REAL")


class World(NamedTuple):
    """A packed season whose labels the run predicts perfectly."""

    root: Path
    games: Path
    store: Path
    run: Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    games, store, run = tmp_path / "games", tmp_path / "store", tmp_path / "run"
    for game in (game for names in SPLITS.values() for game in names):
        for half in (1, 2):
            save(games, game, half, "vggish", rows(game, half, "vggish"))
        if game not in SPLITS["challenge"]:
            hidden = annotation(1, 3.4, "Foul", visibility="not shown")
            save_labels(games, game, [annotation(1, 12.5), hidden, annotation(2, 7, "Corner")])
    save_splits(games, SPLITS)
    pack(games, store)
    checksum = EmbeddingStore.open(store).checksum
    record = RunRecord(
        name="run", version="0", created="2026-01-01T00:00:00+00:00", config=Config(),
        store=str(store), store_checksum=checksum, streams={"vggish": 4}, actions=ACTIONS,
        rate_hz=1.0, fitted_games=("l/s/a",),
    )  # fmt: skip
    write_run(run, record)
    for split, names in SPLITS.items():
        predict(run, store, split, names)
    return World(tmp_path, games, store, run)


def predict(run: Path, store: Path, split: str, games: list[str], **changes: Any) -> None:
    halves = []
    for game in games:
        for number in (1, 2):
            values = np.zeros((30, 17), dtype=np.float32)
            events = [(12, "Goal"), (3, "Foul")] if number == 1 else [(7, "Corner")]
            for row, action in events:
                values[row, ACTIONS.index(action)] = 0.9
            halves.append(Probabilities(half=HalfId(game, number), values=values))
    about: dict[str, Any] = {
        "run": "run", "split": split, "store": str(store),
        "store_checksum": EmbeddingStore.open(store).checksum,
        "actions": ACTIONS, "rate_hz": 1.0, "fitted_games": ("l/s/a",), "created": "now",
    }  # fmt: skip
    write_probabilities(predictions_path(run, split), halves, Provenance(**(about | changes)))


def hmtas(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build(), [str(argument) for argument in arguments])


def document(*arguments: str | Path) -> dict[str, Any]:
    result = hmtas("score", *arguments, "--bootstrap", "20", "--json")
    if result.exception:
        raise result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: str | Path) -> str:
    result = hmtas(*arguments)
    assert isinstance(result.exception, InputError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_games_without_any_event_have_no_score(world: World) -> None:
    for game in SPLITS["valid"]:
        save_labels(world.games, game, [])
    store = world.root / "empty"
    pack(world.games, store)
    asked = ("score", world.run, "--split", "valid", "--games")
    for labels in (world.games, store):
        assert "the labels of 2 games to score hold no event" in refused(*asked, labels)
    asked = ("tune", "windows", world.run, "--split", "valid", "--store")
    assert "hold no event" in refused(*asked, store)
    assert (
        hmtas("spot", world.run, "--split", "valid", "--out", world.root / "spots").exit_code == 0
    )
    assert not (world.run / "scores").exists()
    assert document(world.run, "--split", "test")["tight"]["average_map"] > 0


def test_no_unshown_event_is_a_dash_and_null(world: World) -> None:
    for game in SPLITS["valid"]:
        save_labels(world.games, game, [annotation(1, 12.5), annotation(2, 7, "Corner")])
    asked = ("score", world.run, "--split", "valid", "--games", world.games)
    found = document(*asked[1:])
    assert found["tight"]["unshown"] is None
    assert found["tight"]["visible"] > 0
    tight = next(line for line in hmtas(*asked).stdout.splitlines() if " tight " in line)
    assert tight.split()[-1] == "-"


def test_one_game_has_no_interval(world: World) -> None:
    asked = ("score", world.run, "--split", "test", "--games", world.games)
    assert document(*asked[1:])["loose"]["interval"] is None
    assert " to " not in hmtas(*asked).stdout


def write_windows(run: Path, window_s: float = 8, games: tuple[str, ...] = ("l/s/b",)) -> None:
    """Fitted on valid; the fold of `games` and the fold of the other valid games."""
    others = [game for game in SPLITS["valid"] if game not in games]
    kinds = {"kinds": {"Goal": "hard"}}
    folds = [
        {"games": list(names), "windows_s": {"Goal": window_s}, **kinds}
        for names in (games, others)
    ]
    write_json(
        run / "windows.json",
        {"method": "exact", "split": "valid", "windows_s": {"Goal": 5.0}, **kinds, "folds": folds},
    )


def test_a_run_is_scored_on_the_labels_of_its_store_and_remembers(world: World) -> None:
    found = document(world.run, "--split", "valid")
    assert found["tight"]["average_map"] == pytest.approx(PERFECT)
    assert found["num_games"] == 2
    assert found["num_events"]["Goal"] == 2
    assert found["tight"]["per_action"]["Goal"] == 1
    assert found["tight"]["per_action"]["Penalty"] is None
    stored = json.loads((world.run / "scores" / "valid.json").read_text())
    assert {name: stored[name] for name in found} == found
    assert stored["split"] == "valid"
    assert stored["cross_fitted"] is False
    assert stored["spotting"] == Config().spotting.model_dump(mode="json")


def test_games_may_be_the_tree_or_the_store(world: World) -> None:
    by_store = document(world.run, "--split", "test")
    assert document(world.run, "--split", "test", "--games", world.games) == by_store
    assert document(world.run, "--split", "test", "--games", world.store) == by_store
    file = predictions_path(world.run, "test")
    assert document(file) == by_store
    assert not (file.parent / "scores").exists()


def test_spots_written_by_spot_score_as_the_run_does(world: World) -> None:
    for name in ("spots", "spots.zip"):
        out = world.root / name
        written = hmtas("spot", world.run, "--split", "valid", "--out", out, "--json")
        about = json.loads(written.stdout)
        assert (about["split"], about["num_games"]) == ("valid", 2)
        assert about["num_spots"] == sum(
            len(spots.time_s) for spots in read_submission(out, ACTIONS).values()
        )
        for games in (world.games, world.store):
            assert document(out, "--games", games) == document(world.run, "--split", "valid")


def test_a_split_file_chooses_the_games(world: World) -> None:
    hmtas("spot", world.run, "--split", "valid", "--out", world.root / "spots")
    chosen = world.root / "half.json"
    save_splits_as(chosen, {"half": ["l/s/b"]})
    games = ("--games", world.games)
    found = document(world.root / "spots", *games, "--splits", chosen, "--split", "half")
    assert found["num_games"] == 1
    assert document(world.root / "spots", *games, "--split", "valid")["num_games"] == 2


def save_splits_as(path: Path, splits: dict[str, list[str]]) -> None:
    path.write_text(json.dumps(splits))


def test_windows_of_the_run_are_cross_fitted_on_their_own_split(world: World) -> None:
    write_windows(world.run)
    document(world.run, "--split", "valid")
    document(world.run, "--split", "test")
    valid, test = (
        json.loads((world.run / "scores" / f"{split}.json").read_text())
        for split in ("valid", "test")
    )
    assert (valid["cross_fitted"], test["cross_fitted"]) == (True, False)
    assert test["spotting"]["windows_s"] == {"Goal": 5.0}
    hmtas("spot", world.run, "--split", "valid", "--out", world.root / "v")
    hmtas("spot", world.run, "--split", "test", "--out", world.root / "t")
    goals = [
        int((read_submission(world.root / name, ACTIONS)[HalfId(game, 1)].action == 2).sum())
        for name, game in (("v", "l/s/b"), ("t", "l/s/d"))
    ]
    # Row 12 of 30 and, as rows of 0 count, 0 5 17 22 27 (reach 4) or every third row (reach 2).
    assert goals == [6, 10]


def test_windows_can_be_named(world: World) -> None:
    file = predictions_path(world.run, "valid")
    write_windows(world.root, window_s=1)
    plain, named = world.root / "plain", world.root / "named"
    hmtas("spot", file, "--out", plain)
    hmtas("spot", file, "--out", named, "--windows", world.root / "windows.json")
    half = HalfId("l/s/b", 1)
    counts = [
        int((read_submission(out, ACTIONS)[half].action == 2).sum()) for out in (plain, named)
    ]
    assert counts[0] < counts[1] == 30


def test_a_tracked_run_is_synced(
    world: World, monkeypatch: pytest.MonkeyPatch, mlflow_store: str
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("hmtas.tracking.run.sync_run", lambda run, **_: synced.append(run))
    document(world.run, "--split", "valid")
    assert synced == []
    write_json(world.run / "mlflow.json", {})
    document(world.run, "--split", "valid")
    assert synced == [world.run]


def test_a_score_on_fitted_games_says_so(world: World) -> None:
    result = hmtas("score", world.run, "--split", "train")
    assert "was fitted on 1 game of the 1 scored" in result.stderr
    assert "fitted" not in hmtas("score", world.run, "--split", "test").stderr


def test_the_table_shows_totals_intervals_and_every_action(world: World) -> None:
    out = hmtas("score", world.run, "--split", "valid").stdout
    assert "2 games, 6 events, in percent" in out
    assert "17.65" in out
    for action in ACTIONS:
        assert action in out
    assert "100.00" in next(line for line in out.splitlines() if "Goal" in line)
    penalty = next(line for line in out.splitlines() if "Penalty" in line)
    assert penalty.split() == ["Penalty", "0", "-", "-"]


def test_several_inputs_end_in_a_summary(world: World) -> None:
    file = predictions_path(world.run, "valid")
    found = document(world.run, file, "--split", "valid")
    assert list(found) == [str(world.run), str(file)]
    table = hmtas("score", world.run, file, "--split", "valid").stdout
    assert table.count("17.65 to 17.65") >= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["run"], "has predictions of challenge, test, train, valid; choose one",
                     id="which split"),
        pytest.param(["run", "--split", "vald"], "no predictions of split 'vald'", id="no split"),
        pytest.param(["run", "--split", "challenge"],
                     "no labels of 1 of 1 games (the first 'l/s/e')",
                     id="challenge"),
        pytest.param(["run", "--split", "valid", "--splits", "nowhere.json"], "no such file",
                     id="no split file"),
        pytest.param(["run", "--splits", "games/splits.json"], "needs --split", id="which"),
        pytest.param(["run", "--split", "valid", "--games", "nowhere"], "no such folder of games",
                     id="no labels"),
        pytest.param(["spots"], "spots do not say where their labels are", id="no --games"),
        pytest.param(["spots", "--games", "games", "--split", "test"],
                     "no spots of 1 of 1 games (the first 'l/s/d')", id="other split"),
        pytest.param(["spots", "--games", "games", "--split", "tset"], "no split 'tset'",
                     id="typo"),
        pytest.param(["spots", "--games", "games", "--windows", "w.json"], "spots already",
                     id="windows for spots"),
        pytest.param(["nowhere.zip"], "no such run, file or folder of spots", id="no spots"),
        pytest.param(["nowhere.arrow"], "no such file of probabilities", id="no probabilities"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    world: World, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(world.root)
    hmtas("spot", "run", "--split", "valid", "--out", "spots")
    assert message in refused("score", *arguments)
    assert hmtas("score", *arguments).stderr == ""  # no empty progress bar before the line
    assert not (world.run / "scores").exists()


def test_one_bad_input_of_several_does_not_stop_the_others(world: World) -> None:
    nowhere = world.root / "nowhere.arrow"
    result = hmtas("score", nowhere, world.run, "--split", "valid", "--json")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"1 of 2 runs failed: {nowhere}: ")
    assert list(json.loads(result.stdout)) == [str(world.run)]
    assert (world.run / "scores" / "valid.json").is_file()
    assert refused("score", nowhere, "--split", "valid").startswith(f"{nowhere}: ")


@pytest.mark.parametrize("file", ["run.json", "mlflow.json", "scores/valid.json"])
def test_a_damaged_run_does_not_stop_the_others(world: World, file: str) -> None:
    damaged = world.root / "damaged"
    shutil.copytree(world.run, damaged)
    if file.startswith("scores"):
        (damaged / file).mkdir(parents=True)  # where the score is to be written
    else:
        (damaged / file).write_text("[" if file == "mlflow.json" else "[]")
    result = hmtas("score", damaged, world.run, "--split", "valid", "--json")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"1 of 2 runs failed: {damaged}")
    assert str(world.run) in json.loads(result.stdout)
    assert (world.run / "scores" / "valid.json").is_file()


def test_a_game_without_predictions_is_refused(world: World) -> None:
    predict(world.run, world.store, "valid", ["l/s/c"])
    assert "no spots of 1 of 2 games (the first 'l/s/b')" in refused(
        "score", world.run, "--split", "valid"
    )


def test_other_actions_than_the_stores_are_refused(world: World) -> None:
    file = predictions_path(world.run, "valid")
    swapped = ("Goal", *(action for action in ACTIONS if action != "Goal"))
    predict(world.run, world.store, "valid", SPLITS["valid"], actions=swapped)
    assert "its 17 actions are not the 17 that were predicted" in refused("score", file)


def test_a_store_that_is_gone_is_named(world: World) -> None:
    world.store.rename(world.root / "elsewhere")
    said = refused("score", world.run, "--split", "valid")
    assert f"its store is not at {world.store}" in said
    assert "name where it lies now with --games" in said


def test_a_split_of_a_tree_without_split_file_is_refused(world: World) -> None:
    hmtas("spot", world.run, "--split", "valid", "--out", world.root / "spots")
    (world.games / "splits.json").unlink()
    message = refused("score", world.root / "spots", "--games", world.games, "--split", "valid")
    assert "which games are split 'valid'?" in message


def test_spot_refuses_what_holds_no_probabilities(world: World) -> None:
    out = world.root / "out"
    assert "neither a run folder nor" in refused("spot", world.games, "--out", out)
    assert not out.exists()


@pytest.mark.real
@pytest.mark.skipif(REAL is None, reason="HMTAS_REAL is not set")
def test_real_predictions_score_what_the_official_evaluator_gives(tmp_path: Path) -> None:
    real = Path(REAL or "")
    with tarfile.open(real / "games.tar.xz") as archive:
        labels = (member for member in archive if member.name.endswith("Labels-v2.json"))
        extract(archive, tmp_path, labels)
    found = document(
        real / "netvlad_v2_results_spotting_test.zip",
        "--games", tmp_path, "--splits", real / "splits.json", "--split", "test",
    )  # fmt: skip
    assert found["num_games"] == 100
    expected = {
        "loose": (0.31384963480035305, 0.3426738505746807, 0.2323460276274531),
        "tight": (0.04222342982740121, 0.043811338286210325, 0.06984656237453092),
    }
    for name, values in expected.items():
        mine = [found[name][key] for key in ("average_map", "visible", "unshown")]
        assert mine == pytest.approx(values, rel=0, abs=1e-12)
