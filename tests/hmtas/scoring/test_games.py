"""Games that may not be scored or fitted on are refused, with their number and the first one."""

from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.scoring.games import (
    check_complete,
    refuse_seen,
    refuse_test_games,
    refuse_test_split,
    refuse_unlabelled,
)
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import packed


def test_games_without_spots_or_labels_are_counted_and_the_first_named() -> None:
    check_complete("here", "abc", "abc", "ab")
    with pytest.raises(InputError, match=r"here: no spots of 2 of 3 games \(the first 'b'\) to"):
        check_complete("here", "a", "abc", "cab")
    with pytest.raises(InputError, match=r"here: no labels of 1 of 2 games \(the first 'c'\) to"):
        check_complete("here", "abc", "ab", "bc")
    with pytest.raises(InputError, match="here: there is no game to score"):
        check_complete("here", "abc", "ab", "")


def test_a_model_is_not_judged_by_games_that_shaped_it() -> None:
    refuse_seen("m7", "abc", "de", advice="leave it out")
    with pytest.raises(
        InputError, match=r"^m7 was fitted on 2 of 3 games \(the first 'b'\).*; leave it out$"
    ):
        refuse_seen("m7", "cab", "dbc", advice="leave it out")
    with pytest.raises(InputError, match="m7 would stop on 1 of 1 games"):
        refuse_seen("m7", "a", "a", did="would stop on", advice="")


def test_test_games_are_refused_under_any_name(tmp_path: Path) -> None:
    store = EmbeddingStore.open(packed(tmp_path)[0])
    refuse_test_split("valid")
    with pytest.raises(InputError, match="--split test: nothing is fitted on test games"):
        refuse_test_split("test")
    refuse_test_games("m7", store.games("valid"), store)
    games = (*store.games("valid"), *store.games("test"))
    with pytest.raises(InputError, match=r"m7: has test games of .*, 1 of 2 games \(the first"):
        refuse_test_games("m7", games, store)


def test_games_without_labels_are_refused(tmp_path: Path) -> None:
    store = EmbeddingStore.open(packed(tmp_path)[0])
    refuse_unlabelled(store.games("valid"), store)
    with pytest.raises(InputError, match=r"has no labels of 1 of 2 games .*challenge split"):
        refuse_unlabelled([*store.games("valid"), "no such game"], store)
