"""The linear baseline finds planted evidence, sees train games alone, and is an ordinary run."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.model.windows import near_events
from hmtas.packing.pack import pack
from hmtas.records import Events, HalfId
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import read_run
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.table import read_table
from hmtas.training.linear import fit_linear, run_baseline

NUM_ROWS = 300
GAMES = {"train": ["l/s/a", "l/s/b", "l/s/c"], "valid": ["l/s/v"]}
GOAL, CORNER = ACTIONS.index("Goal"), ACTIONS.index("Corner")


def write_game(root: Path, game: str, seed: int) -> None:
    """Stream `sign` carries one number per action near each event; stream `noise` nothing."""
    rng = np.random.default_rng(seed)
    folder = root / game
    folder.mkdir(parents=True)
    annotations = []
    for half in (1, 2):
        sign = rng.normal(0, 0.1, (NUM_ROWS, 2)).astype(np.float16)
        for column, label in enumerate(("Goal", "Corner")):
            for second in rng.choice(np.arange(10, NUM_ROWS - 10), 3, replace=False).tolist():
                sign[second - 1 : second + 2, column] += 2
                annotations.append(
                    {"gameTime": f"{half} - 00:00", "label": label, "position": 1000 * second}
                )
        np.save(folder / f"{half}_sign.npy", sign)
        noise = rng.normal(size=(NUM_ROWS, 3)).astype(np.float16)
        noise[:, 2] = 7  # never changes
        np.save(folder / f"{half}_noise.npy", noise)
    (folder / "Labels-v2.json").write_text(json.dumps({"annotations": annotations}))


@pytest.fixture
def games(tmp_path: Path) -> Path:
    root = tmp_path / "games"
    for seed, game in enumerate(game for split in GAMES.values() for game in split):
        write_game(root, game, seed)
    (root / "splits.json").write_text(json.dumps(GAMES))
    return root


def packed(games: Path, name: str = "store") -> EmbeddingStore:
    path = games.parent / name
    pack(games, path, on_half=lambda: None)
    return EmbeddingStore.open(path)


def test_rows_near_an_event_by_hand() -> None:
    events = Events(
        half=HalfId("g", 1),
        time_s=np.array([0.9, 5.0]),
        action=np.array([1, 0]),
        visible=np.array([True, True]),
    )
    near = near_events(events, 7, 1, 2)
    assert near[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert near[:, 1].tolist() == [1, 1, 0, 0, 0, 0, 0]  # no row before the first


def test_planted_evidence_is_found_in_games_not_seen(games: Path, tmp_path: Path) -> None:
    store = packed(games)
    (path,) = run_baseline(store, tmp_path / "run", ["valid"], radius_s=1)
    stored = read_probabilities(path)
    for half, probabilities in stored.halves.items():
        events = store.events(half)
        for action in (GOAL, CORNER):
            of_action = events.time_s[events.action == action].astype(int)
            values = probabilities.values[:, action]
            rest = np.delete(values, [s + k for s in of_action for k in (-1, 0, 1)])
            assert values[of_action].min() > rest.max()


def test_it_equals_ridge_regression_of_scikit_learn(games: Path) -> None:
    from sklearn.linear_model import Ridge

    from hmtas.training.linear import RIDGE

    store = packed(games)
    model = fit_linear(store, store.games("train"), {"sign": 2}, radius_s=1)
    halves = store.halves_of(store.games("train"))
    x = np.concatenate([store.open_half(h).streams["sign"].astype(np.float64) for h in halves])
    y = np.concatenate([near_events(store.events(h), NUM_ROWS, 1, 17) for h in halves])
    ridge = Ridge(alpha=RIDGE * len(x)).fit((x - x.mean(axis=0)) / x.std(axis=0), y)
    expected = ridge.coef_.T / x.std(axis=0)[:, None]
    np.testing.assert_allclose(model.weight[:2], expected, rtol=1e-3, atol=1e-6)
    assert (model.weight[2] == 0).all()  # the stream is never missing: that feature is constant


def test_valid_games_do_not_shape_the_model(games: Path) -> None:
    one = packed(games, "one")
    for half in (1, 2):
        np.save(games / "l/s/v" / f"{half}_sign.npy", np.full((NUM_ROWS, 2), 9, np.float16))
    two = packed(games, "two")
    weights = [fit_linear(s, s.games("train"), s.streams).weight for s in (one, two)]
    np.testing.assert_array_equal(*weights)


def test_a_missing_stream_is_no_obstacle(games: Path, tmp_path: Path) -> None:
    for game in ("l/s/a", "l/s/v"):
        (games / game / "1_noise.npy").unlink()
    store = packed(games)
    (path,) = run_baseline(store, tmp_path / "run", ["valid"])
    values = read_probabilities(path).halves[HalfId("l/s/v", 1)].values
    assert values.shape == (NUM_ROWS, len(ACTIONS))


def test_confidences_fill_the_range_of_the_thresholds(games: Path, tmp_path: Path) -> None:
    store = packed(games)
    (path,) = run_baseline(store, tmp_path / "run", ["train"])
    goal = np.concatenate([p.values[:, GOAL] for p in read_probabilities(path).halves.values()])
    assert goal.max() == pytest.approx(1, abs=1e-5)
    # The median row of N has rank N / 2: 1 - log(N / 2) / log(N) = log(2) / log(N).
    assert np.median(goal) == pytest.approx(np.log(2) / np.log(len(goal)), abs=0.01)


def test_the_verb_writes_an_ordinary_run(games: Path, tmp_path: Path, mlflow_store: str) -> None:
    store, run = packed(games), tmp_path / "run"
    words = ["baseline", str(store.path), "--out", str(run), "--split", "valid", "--json"]
    result = CliRunner().invoke(build(), [*words, "--streams", "sign"])
    assert result.exit_code == 0, result.output
    record = read_run(run)
    assert (record.kind, record.name, record.config.train.seq_len) == ("model", "linear", 1)
    assert record.streams == {"sign": 2}
    assert record.config.model.exclude_streams == ("noise",)
    stored = read_probabilities(run / "predictions" / "valid.arrow")
    assert stored.provenance.fitted_games == record.fitted_games == tuple(GAMES["train"])
    (row,) = read_table("hmtas")
    assert (row.name, row.seq_len) == ("linear", 1)
    assert (row.gamma, row.best_epoch) == (None, None), "it has no auxiliary losses, no epochs"


def test_the_run_asks_for_the_window_given(games: Path, tmp_path: Path) -> None:
    run_baseline(packed(games), tmp_path / "run", ["valid"], nms_window_s=60)
    spotting = read_run(tmp_path / "run").config.spotting
    assert {spotting.window_of(action) for action in ACTIONS} == {60}


def test_a_folder_with_another_run_is_refused_and_the_same_one_goes_on(
    games: Path, tmp_path: Path
) -> None:
    """Its windows and scores would pass for those of the new one."""
    store, run = packed(games), tmp_path / "run"
    run_baseline(store, run, ["valid"])
    before = (run / "run.json").read_bytes()
    for flags in ({"radius_s": 1.0}, {"nms_window_s": 60.0}, {"streams": ["sign"]}):
        with pytest.raises(InputError, match="run: holds a run of other flags"):
            run_baseline(store, run, ["valid"], **flags)  # type: ignore[arg-type]
    write_game(games, "l/s/c2", seed=9)
    (games / "splits.json").write_text(json.dumps({**GAMES, "train": ["l/s/a", "l/s/c2"]}))
    with pytest.raises(InputError, match="run: holds a run of another store"):
        run_baseline(packed(games, "other"), run, ["valid"])
    assert (run / "run.json").read_bytes() == before
    run_baseline(store, run, ["train"])
    assert (run / "predictions/valid.arrow").is_file()


@pytest.mark.parametrize(
    ("splits", "streams", "error"),
    [
        pytest.param(["tset"], None, "no split 'tset'", id="split"),
        pytest.param(["valid"], ["sing"], "no stream sing; this store has", id="stream"),
    ],
)
def test_bad_names_leave_nothing(
    games: Path, tmp_path: Path, splits: list[str], streams: list[str] | None, error: str
) -> None:
    with pytest.raises(InputError, match=error):
        run_baseline(packed(games), tmp_path / "run", splits, streams=streams)
    assert not (tmp_path / "run").exists()


def test_streams_too_wide_for_the_sums_are_refused(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmtas.training.linear.MAX_FEATURES", 4)
    with pytest.raises(InputError, match=r"at most 4 features.*choose some with --streams"):
        run_baseline(packed(games), tmp_path / "run", ["valid"])


def test_a_season_whose_labels_are_empty_cannot_be_fitted(games: Path) -> None:
    for game in GAMES["train"]:
        (games / game / "Labels-v2.json").write_text('{"annotations": []}')
    store = packed(games)
    with pytest.raises(InputError, match="the labels of split 'train' hold no event"):
        run_baseline(store, games.parent / "run", ["valid"])
    assert not (games.parent / "run").exists()
