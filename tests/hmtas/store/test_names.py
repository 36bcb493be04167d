"""Streams and actions that settings name are those of the store, misspelt ones are refused."""

from typing import Any

import pytest

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.presets import PRESETS
from hmtas.store.local import EmbeddingStore
from hmtas.store.names import check_names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"exclude_streams": ["vtm"]},
            "model.exclude_streams: no stream 'vtm', did you mean 'vtn'",
        ),
        ({"by_action.Gaol": 3}, "by_action: no action 'Gaol', did you mean 'Goal'"),
        ({"by_action": {"Gaol": 3}}, "by_action: no action 'Gaol'"),
        ({"windows_s.Gaol": 3}, "spotting.windows_s: no action 'Gaol', did you mean 'Goal'"),
        ({"nms": {"Gaol": "hard"}}, "spotting.nms: no action 'Gaol', did you mean 'Goal'"),
        ({"exclude_streams": ["x"], "by_action.Y": 1}, "stream 'x'.*action 'Y'.*the streams vtn"),
    ],
)
def test_a_misspelt_name_is_refused(
    settings: dict[str, Any], message: str, store: EmbeddingStore
) -> None:
    with pytest.raises(InputError, match=message):
        check_names(Config().updated(settings), store)


def test_names_of_the_store_and_of_the_presets_are_taken(store: EmbeddingStore) -> None:
    for preset in PRESETS.values():  # the thesis's streams and actions, which a store may lack
        check_names(preset.config, store)
    action, stream = store.actions[0], next(iter(store.streams))
    settings = {f"by_action.{action}": 2, f"windows_s.{action}": 3, "exclude_streams": [stream]}
    check_names(Config().updated({**settings, "nms": {action: "hard"}}), store)


def test_a_weight_of_the_thesis_that_is_changed_must_have_its_action(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    handball = store.index.model_copy(update={"actions": ("Throw", "Save")})
    other = EmbeddingStore(store.path, handball)
    check_names(Config(), other)
    with pytest.raises(InputError, match=r"no action 'Penalty'.*has the actions Throw, Save"):
        check_names(Config().updated({"by_action.Penalty": 2}), other)
