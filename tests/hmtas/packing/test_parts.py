"""Games have any number of parts; a part is packed, missing or left out, and never in silence."""

import json
from pathlib import Path
from typing import Any

import pytest

from hmtas.formats.actions import Naming
from hmtas.packing.pack import PackReport, pack
from hmtas.packing.parts import season_parts
from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import WIDTHS, label, refused, rows, save, save_labels, tree

A, C, E = "l/s/a", "l/s/c", "l/s/e"


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return tree(tmp_path / "games", {"train": [A, "l/s/b"], "valid": [C], "challenge": [E]})


def add(games: Path, game: str, part: int) -> None:
    for stream in WIDTHS:
        save(games, game, part, stream, rows(game, part, stream))


def remove(games: Path, game: str, part: int) -> None:
    for stream in WIDTHS:
        (games / game / f"{part}_{stream}.npy").unlink()


def packed(games: Path, **options: Any) -> tuple[PackReport, dict[str, list[int]]]:
    """The report, and the parts of each game in the store."""
    store = games.parent / "store"
    report = pack(games, store, **options)
    parts: dict[str, list[int]] = {}
    for half in EmbeddingStore.open(store).index.halves:
        parts.setdefault(half.half.game, []).append(half.half.half)
    return report, parts


def reasons(report: PackReport) -> dict[str, str]:
    return {item.file: item.reason for item in report.files_left_out}


def test_extra_time_with_a_label_is_packed_wherever_it_lies(games: Path) -> None:
    for part in (3, 4):
        add(games, A, part)
        add(games, E, part)
    save_labels(games, A, [label(1, 12.5), label(3, 10.25), label(4, 3)])
    report, parts = packed(games)
    assert parts == {A: [1, 2, 3, 4], "l/s/b": [1, 2], C: [1, 2], E: [1, 2, 3, 4]}
    assert reasons(report) == {}
    store = EmbeddingStore.open(games.parent / "store")
    assert store.events(HalfId(A, 3)).time_s.tolist() == [10.25]


def test_a_part_that_no_label_knows_is_left_out_aloud_or_asked_for(games: Path) -> None:
    add(games, C, 3)
    report, parts = packed(games)
    assert parts[C] == [1, 2]
    assert reasons(report)[f"{C}/3_tpn.npy"] == (
        "of part 3, in which no game has a label; --parts 3 packs it"
    )
    report, parts = packed(games, parts=(3,))
    assert parts[C] == [1, 2, 3]
    assert reasons(report) == {}


def test_games_of_one_part(tmp_path: Path) -> None:
    games = tmp_path / "games"
    for game in (A, C):
        for stream in WIDTHS:
            path = save(games, game, 1, stream, rows(game, 1, stream))
            path.rename(path.with_name(f"{stream}.npy"))
        save_labels(games, game, [label(1, 12.5)])
    (games / "splits.json").write_text(json.dumps({"train": [A], "valid": [C]}))
    report, parts = packed(games)
    assert parts == {A: [1], C: [1]}
    assert report.missing_halves == ()


@pytest.mark.parametrize("part", [1, 2])
def test_a_half_that_most_games_have_may_be_missing_by_request_alone(
    games: Path, part: int
) -> None:
    remove(games, A, part)
    refused(
        games, games.parent / "store", f"{A}, half {part}: no embeddings .*--allow-missing-halves"
    )
    report, parts = packed(games, allow_missing_halves=True)
    assert parts[A] == [3 - part]
    assert report.missing_halves == ((HalfId(A, part), 2 if part == 1 else 1),)


def test_a_labelled_part_without_embeddings_is_missing(games: Path) -> None:
    save_labels(games, A, [label(1, 12.5), label(3, 10)])
    refused(games, games.parent / "store", f"{A}, half 3: no embeddings")
    report, parts = packed(games, allow_missing_halves=True)
    assert parts[A] == [1, 2]
    assert report.missing_halves == ((HalfId(A, 3), 1),)


def test_challenge_games_know_no_parts_and_lack_what_the_others_have(games: Path) -> None:
    add(games, E, 3)
    remove(games, E, 2)
    refused(games, games.parent / "store", f"{E}, half 2: no embeddings")
    report, parts = packed(games, allow_missing_halves=True)
    assert parts[E] == [1]
    assert f"{E}/3_tpn.npy" in reasons(report)
    assert report.missing_halves == ((HalfId(E, 2), 0),)


def test_a_season_without_any_label_has_the_parts_that_it_has() -> None:
    found = {"a": [1, 3], "b": [1], "c": [1, 2]}
    parts = season_parts(found, [])
    assert (parts.known, parts.usual) == ({1, 2, 3}, {1})
    labelled = season_parts(found, [{1}, {5}], [7])
    assert (labelled.known, labelled.usual) == ({1, 2, 5, 7}, {1})
    half = season_parts({"a": [1, 2], "b": [1]}, [])  # half of the games is not most of them
    assert half.usual == {1}


def test_a_half_without_a_label_is_odd_where_the_other_has_them_all(games: Path) -> None:
    save_labels(games, A, [label(2, 1 + n) for n in range(21)])
    save_labels(games, "l/s/b", [label(2, 1 + n) for n in range(20)])  # few: may be chance
    report, _ = packed(games)
    assert [(odd.game, odd.what, odd.num_labels) for odd in report.odd_labels] == [
        (A, "no label in half 1, all in half 2", 21)
    ]


def test_teams_that_no_label_has_are_no_part_of_actions(games: Path) -> None:
    store = games.parent / "store"
    refused(games, store, "--by-team, but no label of the train split says its team",
            naming=Naming(by_team=True))  # fmt: skip
