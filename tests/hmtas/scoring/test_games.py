"""Games that may not be scored or fitted on are refused, with their number and the first one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.records import Probabilities
from hmtas.runs.probabilities import Provenance, StoredProbabilities
from hmtas.scoring.games import (
    check_complete,
    check_fitting,
    refuse_seen,
    refuse_test_split,
    refuse_unlabelled,
)
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import packed


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.open(packed(tmp_path)[0])


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


def stored(store: EmbeddingStore, split: str, **changes: Any) -> StoredProbabilities:
    """Probabilities of a split, by a model that was fitted on the train games."""
    about = {
        "run": "m7", "split": split, "store": store.place, "store_checksum": store.checksum,
        "actions": store.actions, "rate_hz": 1.0, "fitted_games": store.games("train"),
        "created": "now",
    }  # fmt: skip
    values = np.zeros((3, len(store.actions)), dtype=np.float32)
    halves = {
        half: Probabilities(half=half, values=values)
        for half in store.halves_of(store.games(split))
    }
    return StoredProbabilities(Provenance(**(about | changes)), halves)


def test_nothing_is_fitted_on_test_games_under_any_name(store: EmbeddingStore) -> None:
    refuse_test_split("valid")
    with pytest.raises(InputError, match="--split test: nothing is fitted on test games"):
        refuse_test_split("test")
    check_fitting("m7", stored(store, "valid"), store, advice="")
    with pytest.raises(InputError, match=r"m7: has test games of .*, 1 of 1 games \(the first"):
        check_fitting("m7", stored(store, "test"), store, advice="")


def test_nothing_is_fitted_on_games_that_the_model_was_fitted_on(store: EmbeddingStore) -> None:
    with pytest.raises(InputError, match=r"m7 was fitted on \d of \d games .*; leave it out"):
        check_fitting("m7", stored(store, "train"), store, advice="leave it out")
    cross_fitted = stored(store, "train", cross_fitted=True)
    check_fitting("m7", cross_fitted, store, advice="")
    with pytest.raises(InputError, match="m7 was fitted on"):
        check_fitting("m7", cross_fitted, store, advice="", even_cross_fitted=True)


def test_a_store_of_other_actions_is_refused(store: EmbeddingStore) -> None:
    fewer = stored(store, "valid", actions=store.actions[:3])
    with pytest.raises(InputError, match="its 17 actions are not the 3 of m7; name the store"):
        check_fitting("m7", fewer, store, advice="")


def test_games_without_labels_are_refused(store: EmbeddingStore) -> None:
    refuse_unlabelled(store.games("valid"), store)
    with pytest.raises(InputError, match=r"has no labels of 1 of 2 games .*challenge split"):
        refuse_unlabelled([*store.games("valid"), "no such game"], store)
