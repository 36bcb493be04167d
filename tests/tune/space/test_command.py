"""`hmtas tune space` shows what a sweep would search, and prints what `--space` takes."""

import json
from pathlib import Path

import pytest

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.store.local import EmbeddingStore
from tests.support.small import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("season"), train=2, valid=1, test=1)


def space(store: EmbeddingStore, *words: str) -> None:
    build()(["tune", "space", str(store.path), *words], standalone_mode=False)


def test_a_space_is_shown_as_a_table(
    store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.json"
    wanted = {
        "width": [48, 64],
        "num_heads": [3, 4],
        "patience": 5,
        "points": [{"seq_len": 5}],
    }
    file.write_text(json.dumps(wanted))
    space(store, "--space", str(file))
    found = capsys.readouterr()
    for part in ("2 to 7, whole", "one of 3, 4", "one of 4", "width is 64", "fusion_dropout"):
        assert part in found.out
    (fixed,) = (line for line in found.out.splitlines() if "train.patience" in line)
    assert "fixed: 5" in fixed
    assert "point 1: seq_len 5" in found.err


def test_the_json_of_a_space_is_a_space_file(
    store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space(store, "--weights", "group", "--json")
    first = capsys.readouterr().out
    file = tmp_path / "space.json"
    file.write_text(first)
    space(store, "--space", str(file), "--json")
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert "by_action.Penalty" in first


def test_a_bad_space_file_is_named(store: EmbeddingStore, tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text('{"dimensions": {"seq_len": [2, 3], "gama": [1]}}')
    with pytest.raises(InputError, match=r"space\.json: bad space: unknown setting 'gama'"):
        space(store, "--space", str(file))


@pytest.mark.parametrize("choices", [[["vtn"]], [8, None], [{"low": 1}]])
def test_choices_of_another_kind_are_one_clause(
    choices: list[object], store: EmbeddingStore, tmp_path: Path
) -> None:
    file = tmp_path / "space.json"
    file.write_text(json.dumps({"exclude_streams": choices}))
    with pytest.raises(InputError, match="choices: must be numbers, words or booleans, got") as no:
        space(store, "--space", str(file))
    assert ";" not in str(no.value)
