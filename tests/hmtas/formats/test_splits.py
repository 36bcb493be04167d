"""Splits by any of their usual names and forms, and never a game in two of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.formats.splits import read_splits, split_named

EXPECTED = {"train": ("a", "b"), "valid": ("c",)}


def written(tmp_path: Path, document: Any, name: str = "splits.json") -> Path:
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize("name", ["valid", "val", "validation", "Val", "VALID"])
def test_valid_has_many_names(tmp_path: Path, name: str) -> None:
    assert read_splits(written(tmp_path, {"Train": ["a", "b"], name: ["c"]})) == EXPECTED


def test_a_split_for_each_game(tmp_path: Path) -> None:
    by_game = {"a": "training", "b": "train", "c": "val"}
    with pytest.raises(InputError, match="split 'train' is there under two names; 'train' is one"):
        read_splits(written(tmp_path, by_game))
    assert read_splits(written(tmp_path, {**by_game, "a": "train"})) == EXPECTED


@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_a_table(tmp_path: Path, divider: str) -> None:
    lines = ["split,game,note", "train,a,", "train,b,x", "validation,c,"]
    text = "\n".join(lines).replace(",", divider)
    assert read_splits(written(tmp_path, text, "splits.csv")) == EXPECTED


def test_other_names_stand(tmp_path: Path) -> None:
    assert read_splits(written(tmp_path, {"Fold 3": ["a"]})) == {"Fold 3": ("a",)}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"val": ["c"], "valid": ["d"]}, "split 'valid' is there under two names; 'valid' is one"),
        ({"train": ["a"], "test": ["a"]}, "'a' is in split 'train' and in split 'test'"),
        ({"train": ["a", "a"]}, "'a' is in split 'train' and in split 'train'"),
        ({"train": ["é"], "test": ["e\u0301"]}, "is in split 'train' and in split 'test'"),
        ({"train": "a", "test": ["b"]}, "splits are an object"),
        ({"train": [1]}, "train.0: Input should be a valid string"),
        ([["a"]], "splits are an object of lists of games"),
        ({"": ["a"]}, "a split must have a name such as 'train', got ''"),
        ({"a\nb": ["a"]}, "a split must have a name"),
        ({"../x": ["a"]}, "a split must have a name"),
        ({"\ud800": ["a"]}, "a split must have a name"),
    ],
)
def test_splits_that_cannot_be_are_one_line(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_splits(written(tmp_path, document))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_table_without_its_columns_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must name the columns, game, split; got 'match,split'"):
        read_splits(written(tmp_path, "match,split\na,train\n", "splits.csv"))
    with pytest.raises(InputError, match="a split must have a name"):
        read_splits(written(tmp_path, "game,split\na,\n", "splits.csv"))
    with pytest.raises(InputError, match="no such file"):
        read_splits(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("text", "split"),
    [("annotations_train", "train"), ("Val", "valid"), ("challenge2024", "challenge"),
     ("train_and_test", None), ("labels", None), ("training", "train"), ("", None)],
)  # fmt: skip
def test_the_split_in_the_name_of_a_file(text: str, split: str | None) -> None:
    assert split_named(text) == split
