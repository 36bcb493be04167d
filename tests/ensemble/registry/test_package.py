"""A packaged ensemble spots what predict, apply and spot do, and refuses what it cannot hold."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ensemble.build.build import apply_ensemble
from ensemble.registry.loaded import GIVEN, Packaged
from ensemble.registry.package import MANIFEST, write_package
from ensemble.registry.scored import score_ensemble
from hmtas.errors import InputError
from hmtas.files import read_json, sha256_json, write_json
from hmtas.records import HalfId
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RECORD, WEIGHTS, WINDOWS, predictions_path
from hmtas.scoring.inputs import load_probabilities
from hmtas.spotting.spots import FittedFold, FittedWindows
from hmtas.store.index import INDEX_FILE
from hmtas.store.local import EmbeddingStore
from hmtas.training.linear import run_baseline
from tests.support.promoted import (
    at_twice_the_rate,
    change_provenance,
    combine,
    set_weights,
    streams_of,
    train,
)
from tests.support.small import make_store

SLOW, FAST = "vtn (4 wide, 1 Hz)", "vtn (4 wide, 2 Hz)"


class Season(NamedTuple):
    """One season at 1 and at 2 rows per second, and models of both."""

    store: EmbeddingStore
    fast: EmbeddingStore
    runs: dict[str, Path]

    @property
    def test_game(self) -> str:
        return self.store.games("test")[0]


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Season:
    root = tmp_path_factory.mktemp("season")
    store = make_store(root, train=3, valid=3, test=1)
    fast = at_twice_the_rate(root / "games", store, root / "fast")
    runs = {
        "both": train(store, root / "both", seq_len=3),
        "blind": train(store, root / "blind", seq_len=4, exclude_streams=("vtn",)),
        "deaf": train(fast, root / "deaf", seq_len=2, exclude_streams=("vggish",)),
    }
    return Season(store, fast, runs)


@pytest.fixture
def ensemble(season: Season, tmp_path: Path) -> Path:
    return combine(list(season.runs.values()), season.store, tmp_path / "ensembles")


@pytest.fixture
def pair(season: Season, tmp_path: Path) -> Path:
    """Two models of one store."""
    runs = [season.runs["both"], season.runs["blind"]]
    return combine(runs, season.store, tmp_path / "ensembles")


def package(run: Path, folder: Path) -> Packaged:
    write_package(score_ensemble(run), folder)
    return Packaged.load(folder)


def given(season: Season, half: int) -> dict[str, np.ndarray]:
    slow, fast = (streams_of(s, season.test_game, half) for s in (season.store, season.fast))
    return {SLOW: slow["vtn"], FAST: fast["vtn"], "vggish": slow["vggish"]}


def same_spots(packaged: Packaged, run: Path, season: Season) -> int:
    """Compare both halves of the test game; returns how many spots were compared."""
    expected = load_probabilities(run, "test", None).spots
    num_spots = 0
    for half in (1, 2):
        wanted = {item.name for item in packaged.package.inputs}
        streams = {name: rows for name, rows in given(season, half).items() if name in wanted}
        found = packaged.spots(streams)
        theirs = expected[HalfId(season.test_game, half)]
        np.testing.assert_array_equal(found.time_s, theirs.time_s)
        np.testing.assert_array_equal(found.action, theirs.action)
        np.testing.assert_array_equal(found.confidence, theirs.confidence)
        num_spots += len(found.time_s)
    return num_spots


@pytest.mark.parametrize("method", ["mean", "squared-per-action-logit", "greedy", "learned"])
def test_it_spots_what_predict_and_apply_and_spot_do(
    method: str, season: Season, tmp_path: Path
) -> None:
    run = combine(list(season.runs.values()), season.store, tmp_path / "ensembles", method)
    apply_ensemble(run, "test")
    assert same_spots(package(run, tmp_path / "package"), run, season) > 50


def test_windows_of_all_games_are_its_own(season: Season, ensemble: Path, tmp_path: Path) -> None:
    apply_ensemble(ensemble, "test")
    before = load_probabilities(ensemble, "test", None).spots
    actions = season.store.actions
    kinds = dict.fromkeys(actions, "hard")
    games = season.store.games("valid")
    windows = FittedWindows(
        method="exact", split="valid", windows_s=dict.fromkeys(actions, 61.0), kinds=kinds,
        folds=(FittedFold(games=games, windows_s=dict.fromkeys(actions, 3.0), kinds=kinds),),
    )  # fmt: skip
    write_json(ensemble / WINDOWS, windows.model_dump(mode="json"))
    found = same_spots(package(ensemble, tmp_path / "package"), ensemble, season)
    assert found < sum(len(spots.time_s) for spots in before.values())


def test_a_member_without_weight_is_left_out_and_changes_nothing(
    season: Season, ensemble: Path, tmp_path: Path
) -> None:
    set_weights(ensemble, [0.4, 0.6, 0.0])  # the last one has the finest rate
    packaged = package(ensemble, tmp_path / "package")
    assert [member.folder for member in packaged.package.members] == [
        "members/0",
        "members/1",
        None,
    ]
    assert {item.name for item in packaged.package.inputs} == {"vtn", "vggish"}
    assert not (tmp_path / "package" / "members" / "2").exists()
    expected = read_probabilities(predictions_path(ensemble, "test"))
    assert expected.provenance.rate_hz == 2
    for half in (1, 2):
        found = packaged.probabilities(streams_of(season.store, season.test_game, half))
        theirs = expected.halves[HalfId(season.test_game, half)]
        num_rows = min(len(found.values), len(theirs.values))
        assert abs(len(found.values) - len(theirs.values)) <= 2  # ends of halves are ragged
        np.testing.assert_array_equal(found.values[:num_rows], theirs.values[:num_rows])


def test_a_stream_without_rows_is_masked(season: Season, pair: Path, tmp_path: Path) -> None:
    packaged = package(pair, tmp_path / "package")
    streams = streams_of(season.store, season.test_game, 1)
    without = packaged.probabilities({**streams, "vtn": np.empty((0, 4), np.float32)})
    half = season.store.open_half(HalfId(season.test_game, 1))
    lacking = half._replace(half=GIVEN, streams={"vggish": half.streams["vggish"]})
    each = [p.predict(lacking).values for p in packaged.predictors if p is not None]
    np.testing.assert_array_equal(without.values, packaged.fitted.combine(np.stack(each)))
    assert not np.allclose(without.values, packaged.probabilities(streams).values)
    with pytest.raises(InputError, match=r"none of the streams of blind \(vggish\)"):
        packaged.probabilities({**streams, "vggish": np.empty((0, 2), np.float32)})


def test_rows_are_rounded_as_in_a_store_and_a_short_stream_is_extended(
    season: Season, pair: Path, tmp_path: Path
) -> None:
    packaged = package(pair, tmp_path / "package")
    streams = streams_of(season.store, season.test_game, 1)
    expected = packaged.probabilities(streams).values
    nearly = {name: np.nextafter(rows, np.float32(9)) for name, rows in streams.items()}
    np.testing.assert_array_equal(packaged.probabilities(nearly).values, expected)
    streams["vggish"][-3:] = streams["vggish"][-4]
    extended = packaged.probabilities(streams).values
    shorter = {**streams, "vggish": streams["vggish"][:-3]}
    np.testing.assert_array_equal(packaged.probabilities(shorter).values, extended)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vtn", lambda rows: None, r"'vtn' is not among those .* array of shape \(0, 4\)"),
        ("vtn", lambda rows: rows[:, :3], r"'vtn' has shape \(\d+, 3\), not \(T, 4\)"),
        ("vtn", lambda rows: rows * np.nan, "'vtn', row 0, column 0 is nan"),
        ("vggish", lambda rows: rows + 1e6, "must be finite and within 65504"),
        ("vggish", lambda rows: rows[:-6], "more than 5 s apart"),
    ],
)
def test_bad_streams(
    name: str,
    change: Callable[[np.ndarray], np.ndarray | None],
    message: str,
    *,
    season: Season,
    pair: Path,
    tmp_path: Path,
) -> None:
    packaged = package(pair, tmp_path / "package")
    streams = streams_of(season.store, season.test_game, 1)
    changed = {**streams, name: change(streams[name])}
    with pytest.raises(InputError, match=message):
        packaged.spots({name: rows for name, rows in changed.items() if rows is not None})
    with pytest.raises(InputError, match="without any row in any stream"):
        packaged.spots({name: rows[:0] for name, rows in streams.items()})


def test_a_changed_file_is_found(pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    package(pair, folder)
    damaged = folder / "ensemble" / RECORD
    original = damaged.read_bytes()
    damaged.write_bytes(original.replace(b"0.5", b"0.4"))
    with pytest.raises(InputError, match=r"run.json: missing, or its checksum"):
        Packaged.load(folder)
    damaged.write_bytes(original)
    Packaged.load(folder)
    write_json(folder / MANIFEST, {**read_json(folder / MANIFEST), "version": 9})
    with pytest.raises(InputError, match="version 9, this program reads 1"):
        Packaged.load(folder)


def test_the_same_ensemble_has_the_same_checksum(pair: Path, tmp_path: Path) -> None:
    one, two = (write_package(score_ensemble(pair), tmp_path / name) for name in "ab")
    assert one.checksum == two.checksum
    set_weights(pair, [0.4, 0.6])
    assert write_package(score_ensemble(pair), tmp_path / "c").checksum != one.checksum


def test_members_that_cannot_be_packaged(season: Season, tmp_path: Path) -> None:
    both = season.runs["both"]
    linear = tmp_path / "linear"
    run_baseline(season.store, linear, ("valid", "test"))
    run = combine([both, linear], season.store, tmp_path / "linears")
    with pytest.raises(InputError, match="a linear baseline keeps no weights"):
        package(run, tmp_path / "package")
    set_weights(run, [1.0, 0.0])  # without weight it is in nobody's way
    package(run, tmp_path / "package")

    inner = combine([both], season.store, tmp_path / "inner")
    outer = combine([inner, season.runs["blind"]], season.store, tmp_path / "outer")
    with pytest.raises(InputError, match="is an ensemble itself"):
        package(outer, tmp_path / "nested")

    copied = tmp_path / "copied"
    shutil.copytree(both, copied)
    run = combine([copied], season.store, tmp_path / "damaged")
    shutil.copy(season.runs["blind"] / WEIGHTS, copied / WEIGHTS)
    with pytest.raises(InputError, match=r"checksum is not the one in run\.json"):
        package(run, tmp_path / "other")


def test_scores_that_say_nothing_are_refused(season: Season, tmp_path: Path) -> None:
    runs = [season.runs["both"], season.runs["blind"]]
    with pytest.raises(InputError, match="of kind 'model', not an ensemble"):
        score_ensemble(runs[0])
    fitted = combine(runs, season.store, tmp_path / "a", "weighted")
    score_ensemble(fitted)
    change_provenance(fitted, "valid", cross_fitted=False)
    with pytest.raises(InputError, match=r"was fitted on 3 of 3 games .*are not cross-fitted"):
        score_ensemble(fitted)

    seen = tmp_path / "seen"
    shutil.copytree(runs[0], seen)
    leaking = combine([seen], season.store, tmp_path / "b")
    games = season.store.games("valid")
    write_json(seen / RECORD, {**read_json(seen / RECORD), "fitted_games": [games[1]]})
    with pytest.raises(InputError, match="member both was fitted on 1 of 3 games"):
        score_ensemble(leaking)


def test_windows_that_their_own_game_chose_are_refused(season: Season, pair: Path) -> None:
    actions = season.store.actions
    windows = FittedWindows(
        method="exact", split="valid", windows_s=dict.fromkeys(actions, 9.0),
        kinds=dict.fromkeys(actions, "hard"),
    )  # fmt: skip
    write_json(pair / WINDOWS, windows.model_dump(mode="json"))
    with pytest.raises(InputError, match="in none of its folds"):
        score_ensemble(pair)


def test_games_of_another_kind_are_refused(season: Season, pair: Path, tmp_path: Path) -> None:
    moved = tmp_path / "store"
    shutil.copytree(season.store.path, moved)
    document = read_json(moved / INDEX_FILE)
    splits = document["splits"]
    splits["test"], splits["valid"] = splits["valid"], splits["test"]
    del document["checksum"]
    write_json(moved / INDEX_FILE, {**document, "checksum": sha256_json(document)})
    with pytest.raises(InputError, match=r"its checksum is .* is it another store\?"):
        score_ensemble(pair, moved)


def test_games_that_stopped_a_member_are_said(season: Season, tmp_path: Path) -> None:
    stopped = train(season.store, tmp_path / "stopped", stop_games="valid")
    run = combine([stopped], season.store, tmp_path / "a")
    assert "3 of these 3 games stopped the training" in score_ensemble(run).notes[0]
    assert score_ensemble(combine([season.runs["both"]], season.store, tmp_path / "b")).notes == ()
