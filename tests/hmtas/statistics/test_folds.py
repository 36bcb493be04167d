"""Games go into folds whole, evenly, and the same way each time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtas.errors import InputError
from hmtas.statistics.folds import game_folds


def test_folds_divide_the_games_evenly_and_the_same_way_each_time() -> None:
    games = [f"game {i}" for i in range(11)]
    folds = game_folds(games, 3, seed=4)
    assert sorted(len(fold) for fold in folds) == [3, 4, 4]
    assert sorted(game for fold in folds for game in fold) == sorted(games)
    assert game_folds(reversed(games), 3, seed=4) == folds
    assert game_folds(games, 3, seed=5) != folds


def test_with_few_games_every_game_is_a_fold() -> None:
    assert sorted(game_folds(["a", "b", "c"], 5)) == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    ("games", "num_folds", "message"),
    [
        pytest.param(["a"], 5, "at least 2 of them, got 1", id="one game"),
        pytest.param(["a", "b"], 1, "folds must be at least 2, got 1", id="one fold"),
    ],
)
def test_nothing_to_cross_fit(games: list[str], num_folds: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        game_folds(games, num_folds)


@given(num_games=st.integers(2, 23), seed=st.integers(0, 99))
def test_folds_hold_every_game_once(num_games: int, seed: int) -> None:
    games = [f"g{i}" for i in range(num_games)]
    folds = game_folds(games, seed=seed)
    assert sorted(game for fold in folds for game in fold) == sorted(games)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    assert len(folds) == min(5, num_games)
