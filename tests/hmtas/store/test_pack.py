"""Defends: a season is packed whole or refused whole, and packing survives being killed."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import locked
from hmtas.formats.embeddings import BAIDU_BLOCKS
from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.store.pack import LOCK_FILE, pack
from hmtas.store.sources import BAIDU_WIDTH
from hmtas.store.verify import verify
from tests.support.store_tree import (
    GAMES,
    NUM_ROWS,
    label,
    packed,
    rows,
    save,
    save_labels,
    save_splits,
    tree,
)

A1 = HalfId("l/s/a", 1)
SMALL = {"train": ["l/s/a"], "valid": ["l/s/c"]}


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return tree(tmp_path / "games", SMALL)


def refused(games: Path, store: Path, message: str, **options: object) -> None:
    """Packing is refused with one line that matches, and leaves nothing behind."""
    with pytest.raises(InputError, match=message) as caught:
        pack(games, store, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not store.exists()


# What is packed


def test_a_sound_season_has_nothing_to_report(tmp_path: Path) -> None:
    path, report = packed(tmp_path)
    assert (report.num_packed, report.num_kept, report.complete) == (10, 0, False)
    assert report.extended == report.missing == report.late_labels == report.left_out == ()
    assert report.files_left_out == report.warnings == ()
    assert report.num_games == {name: len(games) for name, games in GAMES.items()}
    assert report.checksum == EmbeddingStore.open(path).checksum
    assert json.loads(json.dumps(dataclasses.asdict(report)))["num_packed"] == 10
    assert verify(path) == []


def test_the_same_season_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = packed(tmp_path / "1")[0], packed(tmp_path / "2")[0]
    for path in one.rglob("*"):
        if path.is_file() and path.name != "pack.journal":
            assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_the_baidu_file_is_split_into_five_streams_in_their_order(
    games: Path, tmp_path: Path
) -> None:
    column = np.arange(BAIDU_WIDTH, dtype=np.float32)[None] + np.zeros((NUM_ROWS, 1), np.float32)
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            (games / game / f"{half}_tpn.npy").unlink()
            save(games, game, half, "baidu_soccer_embeddings", column)
    pack(games, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    assert list(store.streams.items()) == [*BAIDU_BLOCKS.items(), ("vggish", 4)]
    start = 0
    for name, values in list(store.open_half(A1).streams.items())[:5]:
        width = BAIDU_BLOCKS[name]
        expected = np.arange(start, start + width).astype(np.float16)
        np.testing.assert_array_equal(values, np.tile(expected, (NUM_ROWS, 1)))
        start += width
    assert start == BAIDU_WIDTH


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_every_float_and_both_orders_of_memory_are_read(
    games: Path, tmp_path: Path, dtype: str
) -> None:
    values = rows("l/s/a", 1, "tpn")
    save(games, "l/s/a", 1, "tpn", np.asfortranarray(values.astype(dtype)))
    pack(games, tmp_path / "store")
    got = EmbeddingStore.open(tmp_path / "store").open_half(A1).streams["tpn"]
    np.testing.assert_array_equal(got, values.astype(np.float16))


def test_a_long_half_is_read_in_pieces(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmtas.store.sources._CHUNK_BYTES", 100)
    pack(games, tmp_path / "store")
    got = EmbeddingStore.open(tmp_path / "store").open_half(A1).streams["tpn"]
    np.testing.assert_array_equal(got, rows("l/s/a", 1, "tpn").astype(np.float16))


def test_a_shorter_stream_repeats_its_last_row_and_is_reported(games: Path, tmp_path: Path) -> None:
    save(games, "l/s/a", 1, "vggish", rows("l/s/a", 1, "vggish")[:25])
    report = pack(games, tmp_path / "store")
    assert report.extended == ((A1, "vggish", 5),)
    values = EmbeddingStore.open(tmp_path / "store").open_half(A1).streams["vggish"]
    assert values.shape == (NUM_ROWS, 4)
    np.testing.assert_array_equal(values[25:], np.tile(values[24], (5, 1)))
    np.testing.assert_array_equal(values[:25], rows("l/s/a", 1, "vggish")[:25].astype(np.float16))


def test_a_missing_stream_is_recorded_and_reported(games: Path, tmp_path: Path) -> None:
    (games / "l/s/a/1_vggish.npy").unlink()
    report = pack(games, tmp_path / "store")
    assert report.missing == ((A1, "vggish"),)
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.halves[A1].streams == ("tpn",)
    assert list(store.open_half(A1).streams) == ["tpn"]
    assert store.streams == {"tpn": 8, "vggish": 4}


def test_a_label_within_the_slack_past_the_end_is_kept_and_reported(
    games: Path, tmp_path: Path
) -> None:
    save_labels(games, "l/s/a", [label(1, 30), label(1, 34.5), label(2, 1)])
    report = pack(games, tmp_path / "store")
    assert [(item.half, item.action, item.time_s) for item in report.late_labels] == [
        (A1, "Goal", 34.5)  # a label at the length itself is not late
    ]
    assert EmbeddingStore.open(tmp_path / "store").events(A1).time_s.tolist() == [30, 34.5]
    assert verify(tmp_path / "store") == []


def test_the_rate_turns_rows_into_seconds(games: Path, tmp_path: Path) -> None:
    # 30 rows at 2 Hz are 15 s: the label at 12.5 s is inside, at 21 s it is 6 s past the end.
    pack(games, tmp_path / "store", rate_hz=2.0)
    save_labels(games, "l/s/a", [label(1, 21)])
    refused(
        games, tmp_path / "other", "'Goal' at 21 s lies past the end of the half, 15 s", rate_hz=2
    )
    save(games, "l/s/a", 1, "tpn", rows("l/s/a", 1, "tpn")[:20])  # 10 rows are 5 s
    save_labels(games, "l/s/a", [label(1, 1)])
    assert pack(games, tmp_path / "third", rate_hz=2.0).extended == ((A1, "tpn", 10),)


def test_only_some_splits_and_streams(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    for path in (games / "l/s/d").glob("*.npy"):
        path.unlink()  # labels but no embeddings, as after a partial download
    report = pack(games, tmp_path / "store", only_splits=["train", "valid"], streams=["tpn"])
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.splits == {"train": ("l/s/a", "l/s/b"), "valid": ("l/s/c",)}
    assert store.streams == {"tpn": 8}
    assert report.left_out == ("l/s/d", "l/s/e")
    assert len(store.halves) == 6


def test_another_split_file_and_a_game_in_no_split(games: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"new": ["l/s/c"]}))
    report = pack(games, tmp_path / "store", splits=other)
    assert report.left_out == ("l/s/a",)
    assert EmbeddingStore.open(tmp_path / "store").splits == {"new": ("l/s/c",)}


def test_a_split_of_new_matches_needs_no_labels(games: Path, tmp_path: Path) -> None:
    (games / "l/s/c/Labels-v2.json").unlink()
    save_splits(games, {"train": ["l/s/a"], "new": ["l/s/c"]})
    pack(games, tmp_path / "store")
    assert not EmbeddingStore.open(tmp_path / "store").has_labels("l/s/c")


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
        ("3_tpn.npy", "not named {1,2}_<stream>.npy"),
        ("1tpn.npy", "not named {1,2}_<stream>.npy"),
        ("1_.npy", "not named {1,2}_<stream>.npy"),
        ("1_clip.npy.gz", "its name goes on after .npy"),
        ("1_clip.npy.crdownload", "its name goes on after .npy"),
        ("1_clip.npy (1)", "its name goes on after .npy"),
        ("._1_tpn.npy", "hidden"),
        (".1_tpn.npy.0a1b2c3d.part", "hidden"),
        ("1_clip.npz", "not an .npy file; save its array as {1,2}_<stream>.npy"),
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


def test_a_folder_of_something_else_is_left_alone(games: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.pdf").write_text("dear to me")
    with pytest.raises(InputError, match=r"holds other files \('thesis.pdf'\) and no store"):
        pack(games, other)
    with pytest.raises(InputError, match="is a file; a store is a folder"):
        pack(games, other / "thesis.pdf")
    assert [path.name for path in other.iterdir()] == ["thesis.pdf"]


def test_packing_again_packs_only_what_changed(tmp_path: Path) -> None:
    path, first = packed(tmp_path)
    games = tmp_path / "games"
    again = pack(games, path)
    assert (again.complete, again.num_packed, again.num_kept) == (True, 0, 10)
    assert again.checksum == first.checksum
    assert (first.replaced, again.replaced) == (None, None)
    save(games, "l/s/a", 1, "tpn", 2 * rows("l/s/a", 1, "tpn"))
    changed = pack(games, path)
    assert (changed.complete, changed.num_packed, changed.num_kept) == (False, 1, 9)
    assert changed.checksum != first.checksum
    assert changed.replaced == first.checksum
    assert verify(path) == []
    save_labels(games, "l/s/a", [label(1, 2)])
    relabelled = pack(games, path)
    assert (relabelled.complete, relabelled.num_packed) == (False, 0)
    assert EmbeddingStore.open(path).events(A1).time_s.tolist() == [2]
    widened = pack(games, path, rate_hz=0.5, slack_s=30)
    assert widened.num_packed == 10  # the rate stands in every file
    assert verify(path) == []


def test_a_store_of_other_data_is_said_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, first = packed(tmp_path)
    other = tree(tmp_path / "other", SMALL)
    build()(["pack", str(other), str(path)], standalone_mode=False)
    now = EmbeddingStore.open(path).checksum
    said = " ".join(capsys.readouterr().err.split())
    assert f"held other data before (checksum {first.checksum[:12]}, now {now[:12]})" in said
    assert "what was made on it is refused from now on" in said
    build()(["pack", str(tmp_path / "games"), str(path), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["replaced"] == now


def test_halves_that_are_no_longer_wanted_go(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    report = pack(tmp_path / "games", path, only_splits=["valid"])
    assert (report.num_packed, report.num_kept) == (0, 2)
    assert [file.parent.name for file in path.rglob("[12].arrow")] == ["c", "c"]
    assert verify(path) == []


def test_a_damaged_half_is_packed_again(tmp_path: Path) -> None:
    path, first = packed(tmp_path)
    file = path / "halves/l/s/a/1.arrow"
    file.write_bytes(file.read_bytes()[:-8] + b"damaged!")
    (path / "halves/l/s/a/2.arrow").unlink()
    report = pack(tmp_path / "games", path)
    assert (report.num_packed, report.checksum) == (2, first.checksum)
    assert verify(path) == []


def test_a_copied_store_is_not_packed_again(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    shutil.copytree(path, tmp_path / "copy", copy_function=shutil.copyfile)
    assert pack(tmp_path / "games", tmp_path / "copy").complete


def test_two_packings_at_once_are_refused(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    refused = pytest.raises(InputError, match="another `hmtas pack` is writing this store")
    with locked(path / LOCK_FILE), refused:
        pack(tmp_path / "games", path)
    assert pack(tmp_path / "games", path).complete


SLOW_PACK = """
import sys, time
from pathlib import Path
from hmtas.store.pack import pack
pack(Path(sys.argv[1]), Path(sys.argv[2]), on_half=lambda: time.sleep(0.2))
"""


def test_a_killed_packing_goes_on_where_it_stopped(tmp_path: Path) -> None:
    expected = packed(tmp_path / "other")[1].checksum
    games, path = tree(tmp_path / "games"), tmp_path / "store"
    process = subprocess.Popen([sys.executable, "-c", SLOW_PACK, str(games), str(path)])
    deadline = time.monotonic() + 30
    while len(list(path.rglob("[12].arrow"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(InputError, match="packing was not finished"):
        EmbeddingStore.open(path)
    # As if the kill had come while a line and a half were being written.
    with (path / "pack.journal").open("a") as journal:
        journal.write("0123 [")
    (path / "halves/l/s/.1.arrow.00000000.part").write_bytes(b"half a half")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("[12].arrow")}
    report = pack(games, path)
    assert 2 <= report.num_kept <= len(before) < 10
    assert report.num_packed == 10 - report.num_kept
    kept = [file for file, changed in before.items() if file.stat().st_mtime_ns == changed]
    assert len(kept) == report.num_kept
    assert report.checksum == expected
    assert verify(path) == []


def test_no_room_is_told_before_anything_is_written(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    needed = 4 * (2 * NUM_ROWS * 12 + 8192)
    refused(
        games,
        tmp_path / "store",
        f"4 of 4 halves need {needed:,} bytes more, but the disk has 1,000 free",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_leaves_only_whole_halves(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    (store / "halves/l/s/c").mkdir(parents=True)
    (store / "pack.journal").touch()
    # The scratch file of one half lies on a device that is always full.
    monkeypatch.setattr(uuid, "uuid4", lambda: SimpleNamespace(hex="0" * 32))
    monkeypatch.setattr("hmtas.store.pack._remove_stale", lambda *_: None)
    (store / "halves/l/s/c/.1.arrow.00000000.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"c/1.arrow: no space left on the disk while writing"):
        pack(games, store)
    files = sorted(path.relative_to(store).as_posix() for path in store.rglob("*.*"))
    assert files == ["halves/l/s/a/1.arrow", "halves/l/s/a/2.arrow", "pack.journal"]
    assert pack(games, store).num_kept == 2
    assert verify(store) == []


def test_memory_holds_one_half_not_the_season(games: Path, tmp_path: Path) -> None:
    sizes = []
    pack(games, tmp_path / "store", on_half=lambda: sizes.append(pa.total_allocated_bytes()))
    assert len(sizes) == 4
    assert len(set(sizes)) == 1


def test_labels_that_contradict_themselves_are_in_the_report(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    late = {**label(1, 20), "gameTime": "1 - 40:00"}
    save_labels(games, "l/s/b", [label(1, 12.5), label(2, 7), late])
    report = pack(games, tmp_path / "store")
    assert [(odd.game, odd.num_labels) for odd in report.odd_labels] == [("l/s/b", 1)]
    save_labels(games, "l/s/b", [late, late, label(2, 7)])
    with pytest.raises(InputError, match="must be the same moment, but are not in 2 of 3 labels"):
        pack(games, tmp_path / "store")
