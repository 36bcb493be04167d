"""Games are found wherever links lead, and told apart by letters, not by how these are encoded."""

import json
import shutil
import zipfile
from pathlib import Path
from unicodedata import normalize

import pytest

from hmtas.embed.commentary import embed_games
from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.formats.soccernet import find_games
from hmtas.formats.splits import read_splits
from hmtas.formats.submission import holds_spots, read_submission
from hmtas.packing.pack import pack
from hmtas.scoring.inputs import load
from hmtas.store.verify import verify
from tests.support.store_tree import save_splits, tree

ATLETICO = "liga/s/Atlético 1 - 0 Leganés"
ON_A_MAC = normalize("NFD", ATLETICO)


def submission(root: Path, *games: str) -> Path:
    for game in games:
        (root / game).mkdir(parents=True)
        document = {"UrlLocal": game, "predictions": []}
        (root / game / "results_spotting.json").write_text(json.dumps(document))
    return root


def test_leagues_and_games_that_are_links_to_folders_are_followed(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    expected = pack(games, tmp_path / "one").checksum
    (games / "l").rename(tmp_path / "elsewhere")
    (games / "l").symlink_to(tmp_path / "elsewhere")
    (games / "l/s/a").rename(tmp_path / "a game")
    (games / "l/s/a").symlink_to(tmp_path / "a game")
    assert find_games(games) == [f"l/s/{game}" for game in "abcde"]
    assert pack(games, tmp_path / "two").checksum == expected
    assert verify(tmp_path / "two") == []


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"train": ["l/s/a"]})
    (games / "l/s/up").symlink_to(games)
    (games / "l/s/a/here").symlink_to(games / "l/s/a")
    (games / "l/itself").symlink_to("itself")
    (games / "m/to").mkdir(parents=True)
    (games / "m/to/l").symlink_to(games / "l")  # a second way to a game is a second name of it
    assert find_games(games) == ["l/s/a", "m/to/l/s/a"]


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"train": ["l/s/a", "m/s/b"]})
    (games / "m").rename(tmp_path / "disk")
    (games / "m").symlink_to(tmp_path / "unplugged")
    with pytest.raises(InputError, match=r"not there: 'm/s/b'; \S+/games/m is a link to nothing"):
        pack(games, tmp_path / "store")
    (games / "m").unlink()
    (tmp_path / "disk").rename(games / "m")
    label_file = games / "m/s/b/Labels-v2.json"
    label_file.unlink()
    label_file.symlink_to(tmp_path / "unplugged")
    with pytest.raises(InputError, match=r"no Labels-v2.json, .*; it is a link to nothing"):
        pack(games, tmp_path / "store")


def test_a_link_to_nothing_that_no_split_names_is_in_the_report(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"train": ["l/s/a"]})
    (games / "m").symlink_to(tmp_path / "unplugged")
    report = pack(games, tmp_path / "store")
    assert report.files_left_out == (("m", "a link to nothing; was its target moved?"),)


def test_a_folder_that_is_there_but_holds_nothing_to_pack_is_named(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"challenge": ["l/s/a", "l/s/b"]})
    for path in (games / "l/s/b").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"/l/s/b has neither Labels-v2\.json nor any"):
        pack(games, tmp_path / "store")


def test_spots_in_a_linked_folder_are_read(tmp_path: Path) -> None:
    submission(tmp_path / "disk", "l/s/a")
    (tmp_path / "spots").mkdir()
    (tmp_path / "spots/l").symlink_to(tmp_path / "disk/l")
    assert holds_spots(tmp_path / "spots")
    found = read_submission(tmp_path / "spots", ACTIONS)
    assert {half.game for half in found} == {"l/s/a"}


def test_names_that_differ_in_their_unicode_form_alone_are_said_to(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"train": [ON_A_MAC]})
    save_splits(games, {"train": [ATLETICO]})
    said = r"the same letters in another Unicode form \(NFD; .* `convmv "
    with pytest.raises(InputError, match=said):
        pack(games, tmp_path / "store")
    with pytest.raises(InputError, match="a train game is not in the tree, but .*" + said):
        embed_games(games)
    spots = submission(tmp_path / "spots", ATLETICO)
    with pytest.raises(InputError, match="no labels of 1 of 1 games .*" + said):
        load(spots, games=str(games), split=None, splits=None)
    shutil.rmtree(games)
    tree(games, {"train": [ATLETICO]})
    (games / "half_seconds.json").write_text(json.dumps({ON_A_MAC: {"1": 30, "2": 30}}))
    with pytest.raises(InputError, match="the length of a game is not there, but .*" + said):
        embed_games(games)


def test_a_zip_of_a_mac_has_its_accents_whether_it_says_utf_8_or_not(tmp_path: Path) -> None:
    zipped = tmp_path / "spots.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(f"{ATLETICO}/results_spotting.json", '{"predictions": []}')
    assert {half.game for half in read_submission(zipped, ACTIONS)} == {ATLETICO}
    content = bytearray(zipped.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + flags + 1
        assert content[at] == 0x08  # says UTF-8
        content[at] = 0
    zipped.write_bytes(content)
    assert {half.game for half in read_submission(zipped, ACTIONS)} == {ATLETICO}


def test_a_game_in_two_splits_is_found_out_in_any_unicode_form(tmp_path: Path) -> None:
    save_splits(tmp_path, {"train": [ATLETICO], "test": [ON_A_MAC]})
    with pytest.raises(InputError, match="is in split 'train' and in split 'test'"):
        read_splits(tmp_path / "splits.json")
