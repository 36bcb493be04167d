"""Defends: a season is packed whole or refused whole, and packing survives being killed."""

import dataclasses
import json
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
from hmtas.packing.pack import LOCK_FILE, pack
from hmtas.packing.sources import BAIDU_WIDTH
from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.store.verify import verify
from tests.support.store_tree import (
    GAMES,
    NUM_ROWS,
    SMALL,
    label,
    packed,
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
    monkeypatch.setattr("hmtas.packing.sources._CHUNK_BYTES", 100)
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
from hmtas.packing.pack import pack
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
    monkeypatch.setattr("hmtas.packing.pack._remove_stale", lambda *_: None)
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
