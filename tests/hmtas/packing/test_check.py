"""What a season must be to be packed: the refusals, what is left out, and what is told of it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.packing.pack import pack
from hmtas.packing.sources import BAIDU_WIDTH
from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import (
    NUM_ROWS,
    SMALL,
    label,
    refused,
    rows,
    save,
    save_labels,
    save_splits,
    tree,
)

A1 = HalfId("l/s/a", 1)


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return tree(tmp_path / "games", SMALL)


# What is packed


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1_i3d.rgb.npy", "rename it to 1_i3d_rgb.npy"),
        ("2_a b.npy", "rename it to 2_a_b.npy"),
        ("1_a+b.npy", "rename it to 1_a_b.npy"),
        ("1_clip.NPY", "rename it to 1_clip.npy"),
        ("1_clip (1).npy", "rename it to 1_clip.npy"),
        ("1_ségo\u0301.npy", "rename it to 1_ségó.npy"),
        ("1_tpn (1).npy", "a second copy of 1_tpn.npy? Remove it"),
        ("1_tpn - Copy.npy", "a second copy of 1_tpn.npy"),
        ("1_tpn.NPY", "a second copy of 1_tpn.npy"),
        ("3_tpn.npy", "of part 3, in which no game has a label; --parts 3 packs it"),
        ("1tpn.npy", "not named <half>_<stream>.npy"),
        ("1_.npy", "not named <half>_<stream>.npy"),
        ("1_clip.npy.gz", "its name goes on after .npy"),
        ("1_clip.npy.crdownload", "its name goes on after .npy"),
        ("1_clip.npy (1)", "its name goes on after .npy"),
        ("._1_tpn.npy", "hidden"),
        (".1_tpn.npy.0a1b2c3d.part", "hidden"),
        ("1_clip.npz", "not an .npy file; save its array as <half>_<stream>.npy"),
        ("1_clip.PT", "not an .npy file"),
        ("features.h5", "not an .npy file"),
        ("1.pkl", "not an .npy file"),
    ],
)
def test_a_file_that_looks_like_data_is_packed_or_named_as_left_out(
    games: Path, tmp_path: Path, name: str, reason: str
) -> None:
    shutil.copy(games / "l/s/a/1_tpn.npy", games / "l/s/a" / name)
    report = pack(games, tmp_path / "store")
    assert [item.file for item in report.files_left_out] == [f"l/s/a/{name}"]
    assert reason in report.files_left_out[0].reason
    # A link to nothing under such a name, too.
    (games / "l/s/a" / name).unlink()
    (games / "l/s/a" / name).symlink_to(tmp_path / "unplugged")
    again = pack(games, tmp_path / "store")
    assert again.complete
    assert again.files_left_out == report.files_left_out


def test_files_of_other_kinds_and_streams_not_asked_for_are_no_news(
    games: Path, tmp_path: Path
) -> None:
    folder = games / "l/s/a"
    for name in ("1_asr.json", "1_224p.mkv", "Labels-cameras.json", "notes.txt", ".DS_Store"):
        (folder / name).write_text("{}")
    shutil.copy(folder / "1_vggish.npy", folder / "1_vggish.v2.npy")
    shutil.copy(folder / "1_vggish.npy", folder / "1_tpn.v2.npy")
    report = pack(games, tmp_path / "all")
    assert [item.file[6:] for item in report.files_left_out] == ["1_tpn.v2.npy", "1_vggish.v2.npy"]
    some = pack(games, tmp_path / "some", streams=["tpn"])
    assert [item.file[6:] for item in some.files_left_out] == ["1_tpn.v2.npy"]


def test_where_no_file_of_a_game_can_be_packed_the_first_is_named(
    games: Path, tmp_path: Path
) -> None:
    for half in (1, 2):
        for stream in ("tpn", "vggish"):
            path = games / f"l/s/a/{half}_{stream}.npy"
            path.rename(path.with_suffix(".NPY"))
    refused(
        games,
        tmp_path / "store",
        r"l/s/a: it has labels but no embeddings .*; 1_tpn.NPY is left out: .* to 1_tpn.npy",
    )


# What is refused


def test_values_that_float16_cannot_hold(games: Path, tmp_path: Path) -> None:
    values = rows("l/s/a", 1, "tpn")
    for value, message in [
        (np.nan, r"row 17, column 3 \(stream 'tpn'\) is nan; embeddings must be finite"),
        (-np.inf, r"row 17, column 3 .* is -inf"),
        (70000, r"is 70000, beyond the largest float16, 65504"),
    ]:
        values[17, 3] = value
        path = save(games, "l/s/a", 1, "tpn", values)
        with pytest.raises(InputError, match=re.escape(str(path)) + ".*" + message):
            pack(games, tmp_path / "store")
        assert not (tmp_path / "store/store.json").exists()
        assert not list((tmp_path / "store").rglob("*.arrow"))
    values[17, 3] = 65504
    save(games, "l/s/a", 1, "tpn", values)
    pack(games, tmp_path / "store")
    assert EmbeddingStore.open(tmp_path / "store").open_half(A1).streams["tpn"][17, 3] == 65504


def test_the_column_of_a_bad_value_is_that_of_the_file(games: Path, tmp_path: Path) -> None:
    values = np.zeros((NUM_ROWS, BAIDU_WIDTH), np.float32)
    values[29, 4100] = np.nan
    (games / "l/s/a/1_tpn.npy").unlink()
    save(games, "l/s/a", 1, "baidu_soccer_embeddings", values)
    only = ["vtn"]  # columns 4096 to 4479
    for half in (("l/s/a", 2), ("l/s/c", 1), ("l/s/c", 2)):
        save(games, *half, "vtn", np.zeros((NUM_ROWS, 384), np.float32))
    with pytest.raises(InputError, match=r"row 29, column 4100 \(stream 'vtn'\) is nan"):
        pack(games, tmp_path / "store", streams=only)


@pytest.mark.parametrize("size", [0, 5, 60, 200])
def test_a_file_cut_short(games: Path, tmp_path: Path, size: int) -> None:
    path = games / "l/s/a/1_tpn.npy"
    path.write_bytes(path.read_bytes()[:size])
    refused(games, tmp_path / "store", r"1_tpn.npy: not a(n| whole) .npy file")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "run `git lfs pull`"),
        (b"<!DOCTYPE html>\n<html><title>Sign in", "but an HTML page, such as one that asks to"),
        (b"", "but empty"),
        (bytes(500), "but empty"),
        (b"PK\x03\x04 cut short", "but a zip archive, such as .npz: unpack it"),
        (b"\x1f\x8b\x08\x00" * 9, "but compressed with gzip: unpack it"),
        (b"0.1 0.2 0.3\n" * 9, "but something that begins b'0.1 0.2 0.3"),
        (b"\x80\x04\x95" * 9, "it holds pickled objects, which are never loaded"),
    ],
)
def test_a_file_of_another_kind_is_said_to_be_that(
    games: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    (games / "l/s/a/1_tpn.npy").write_bytes(content)
    refused(games, tmp_path / "store", f"1_tpn.npy: not an .npy file .*{re.escape(said)}")


def test_streams_that_are_links_to_nothing_or_folders(games: Path, tmp_path: Path) -> None:
    path = games / "l/s/a/1_tpn.npy"
    path.unlink()
    path.symlink_to(tmp_path / "unplugged")
    refused(games, tmp_path / "store", "1_tpn.npy: a link to nothing; was its target moved?")
    path.unlink()
    path.mkdir()
    refused(games, tmp_path / "store", "1_tpn.npy: is a directory")


def test_files_that_are_no_rows_of_numbers(games: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    path = save(games, "l/s/a", 1, "tpn", np.array([{"a": 1}, None], dtype=object))
    refused(games, store, "1_tpn.npy.*pickled objects, which are never loaded")
    save(games, "l/s/a", 1, "tpn", np.zeros(NUM_ROWS, np.float32))
    refused(games, store, r"must be floating-point \(rows, width\), got float32 \(30,\)")
    save(games, "l/s/a", 1, "tpn", np.zeros((NUM_ROWS, 8), np.int64))
    refused(games, store, r"must be floating-point .*, got int64 \(30, 8\)")
    save(games, "l/s/a", 1, "tpn", np.zeros((0, 8), np.float32))
    refused(games, store, r"no embeddings in it, its shape is \(0, 8\)")
    with path.open("wb") as file:
        np.savez(file, rows=np.zeros((NUM_ROWS, 8)))
    refused(games, store, "not an .npy file but a zip archive, such as .npz: unpack it")


def test_widths_that_are_none_of_the_known(games: Path, tmp_path: Path) -> None:
    save(games, "l/s/a", 2, "vggish", np.zeros((NUM_ROWS, 128), np.float32))
    refused(
        games,
        tmp_path / "store",
        r"2_vggish.npy: stream 'vggish' is 128 wide here, but 4 in 3 other halves",
    )
    save(games, "l/s/a", 2, "vggish", rows("l/s/a", 2, "vggish"))
    save(games, "l/s/a", 2, "baidu_soccer_embeddings", np.zeros((NUM_ROWS, 512), np.float32))
    refused(games, tmp_path / "store", r"must be 8576 wide \(tpn 2048 \+ .*\), got 512")


def test_a_stream_from_two_files(games: Path, tmp_path: Path) -> None:
    values = np.zeros((NUM_ROWS, BAIDU_WIDTH), np.float32)
    save(games, "l/s/a", 1, "baidu_soccer_embeddings", values)
    refused(games, tmp_path / "store", "l/s/a, half 1: stream 'tpn' comes from two files")


def test_streams_that_differ_by_more_than_the_slack(games: Path, tmp_path: Path) -> None:
    save(games, "l/s/a", 1, "vggish", rows("l/s/a", 1, "vggish")[:24])
    message = "l/s/a, half 1: stream 'vggish' has 24 rows but 'tpn' has 30, more than 5 s apart"
    refused(games, tmp_path / "store", message)
    pack(games, tmp_path / "store", slack_s=6)


def test_labels_that_cannot_be(games: Path, tmp_path: Path) -> None:
    save_labels(games, "l/s/a", [label(2, 36, "Foul")])
    message = "l/s/a, half 2: label 'Foul' at 36 s lies past the end of the half, 30 s"
    refused(games, tmp_path / "store", message)
    save_labels(games, "l/s/a", [label(2, 3, "Goall")])
    refused(games, tmp_path / "store", "unknown action 'Goall'.*the closest is 'Goal'")


def test_games_without_embeddings_or_labels(games: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (games / "l/s/a/Labels-v2.json").rename(tmp_path / "labels")
    refused(games, store, "l/s/a: no Labels-v2.json, but split 'train' has labels")
    (tmp_path / "labels").rename(games / "l/s/a/Labels-v2.json")
    for path in (games / "l/s/a").glob("2_*.npy"):
        path.unlink()
    refused(games, store, "l/s/a, half 2: no embeddings")
    for path in (games / "l/s/a").glob("1_*.npy"):
        path.unlink()
    refused(games, store, "l/s/a: it has labels but no embeddings")


def test_splits_that_cannot_be(games: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    refused(games, store, "no split 'tset'; it has train, valid", only_splits=["tset"])
    save_splits(games, {"train": ["l/s/a", "x", "y"], "valid": ["l/s/c"]})
    refused(games, store, "split 'train' names 2 of 3 games that are not there: 'x', 'y'")
    save_splits(games, {"train": ["l/s/a"], "valid": ["l/s/a"]})
    refused(games, store, "'l/s/a' is in split 'train' and in split 'valid'")
    save_splits(games, {"train": []})
    refused(games, store, "no game to pack in splits train")
    (games / "splits.json").unlink()
    refused(games, store, "splits.json: no split file; put one there or name it with --splits")
    refused(tmp_path / "none", store, "no such folder of games", splits=games / "x")


def test_unknown_streams_and_numbers_out_of_range(games: Path, tmp_path: Path) -> None:
    message = "no half has stream 'clip'; found are tpn"
    refused(games, tmp_path / "store", message, streams=["tpn", "clip"])
    refused(games, tmp_path / "store", "rate must be positive", rate_hz=0)
    refused(games, tmp_path / "store", "slack not negative", slack_s=-1)


def test_all_mistakes_of_a_season_are_told_at_once(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    for game in "abcd":
        save_labels(games, f"l/s/{game}", [label(1, 99)])
        save(games, f"l/s/{game}", 1, "tpn", np.zeros(3, np.float32))
    with pytest.raises(InputError, match=r"8 problems: .*; and 3 more$") as caught:
        pack(games, tmp_path / "store")
    assert "l/s/a, half 1: label 'Goal' at 99 s" in str(caught.value)
    assert "l/s/b/1_tpn.npy" in str(caught.value)


# Writing


def test_labels_that_contradict_themselves_are_in_the_report(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    late = {**label(1, 20), "gameTime": "1 - 40:00"}
    save_labels(games, "l/s/b", [label(1, 12.5), label(2, 7), late])
    report = pack(games, tmp_path / "store")
    assert [(odd.game, odd.num_labels) for odd in report.odd_labels] == [("l/s/b", 1)]
    save_labels(games, "l/s/b", [late, late, label(2, 7)])
    with pytest.raises(InputError, match="must be the same moment, but are not in 2 of 3 labels"):
        pack(games, tmp_path / "store")
