"""The games of a run are divided as its protocol says, and no worker shares one."""

from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.packing.pack import pack
from hmtas.store.local import EmbeddingStore
from hmtas.training.games import begin_run, plan_games, shard
from tests.support.small import make_config, make_store
from tests.support.store_tree import GAMES, save_labels, tree


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("begin"), train=12)


def test_p1_stops_on_valid(store: EmbeddingStore) -> None:
    games = plan_games(store, make_config().train)
    assert games == (store.games("train"), store.games("valid"))


def test_held_out_games_are_train_games_that_are_not_fitted(store: EmbeddingStore) -> None:
    games = plan_games(store, make_config(stop_games="held_out").train)
    assert len(games.stopped) == 1
    assert sorted(games.fitted + games.stopped) == sorted(store.games("train"))


def test_models_of_different_seeds_stop_on_the_same_games(store: EmbeddingStore) -> None:
    plans = {
        plan_games(store, make_config(stop_games="held_out", seed=seed).train) for seed in range(5)
    }
    assert len(plans) == 1


def test_p2_fits_on_every_labelled_game_and_stops_on_none(store: EmbeddingStore) -> None:
    games = plan_games(store, make_config(protocol="p2").train)
    assert games.stopped == ()
    assert set(games.fitted) == {g for s in ("train", "valid", "test") for g in store.games(s)}


@pytest.mark.parametrize("empty", ["train", "valid"])
def test_a_training_needs_events_to_fit_and_to_stop_on(tmp_path: Path, empty: str) -> None:
    games = tree(tmp_path / "games")
    for game in GAMES[empty]:
        save_labels(games, game, [])
    pack(games, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    with pytest.raises(InputError, match=f"the labels of all . {empty} games are empty"):
        plan_games(store, make_config().train)


def test_shards_cover_every_game_once() -> None:
    games = [f"game {i}" for i in range(7)]
    shards = [shard(games, rank, 3) for rank in range(3)]
    assert sorted(sum(shards, ())) == games
    with pytest.raises(InputError, match="3 workers cannot share 2 games"):
        shard(games[:2], 0, 3)


def test_a_folder_keeps_to_its_configuration(store: EmbeddingStore, tmp_path: Path) -> None:
    from hmtas.runs.record import write_run

    config = make_config()
    games = plan_games(store, config.train)
    write_run(tmp_path, begin_run(store, config, games, tmp_path, name="run"))
    assert begin_run(store, config, games, tmp_path, name="run").status == "running"
    with pytest.raises(InputError, match=r"another configuration \(train.seed 0, not 1\)"):
        begin_run(store, make_config(seed=1), games, tmp_path, name="run")


def test_a_model_needs_a_stream(store: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config(exclude_streams=["vtn", "vggish"])
    with pytest.raises(InputError, match="exclude_streams leaves no stream of vtn, vggish"):
        begin_run(store, config, plan_games(store, config.train), tmp_path, name="run")


def test_a_half_without_any_of_the_streams_is_named(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    (games / "l/s/b" / "2_vggish.npy").unlink()
    pack(games, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    both, alone = make_config(), make_config(exclude_streams=["tpn"])
    plan = plan_games(store, both.train)
    assert begin_run(store, both, plan, tmp_path / "run", name="run").streams == store.streams
    with pytest.raises(InputError, match=r"l/s/b.*2.* have none of the streams vggish; use"):
        begin_run(store, alone, plan, tmp_path / "run", name="run")
