"""Defends: a store gives back what was packed, as read-only views, or says why it cannot."""

import json
import pickle
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hmtas.errors import InputError, TransientError
from hmtas.files import sha256_json
from hmtas.formats.actions import ACTIONS
from hmtas.packing.pack import pack
from hmtas.records import HalfId
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore
from tests.support.small import STREAMS, make_store
from tests.support.store_tree import GAMES, NUM_ROWS, WIDTHS, packed, rows

A1 = HalfId("l/s/a", 1)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.open(packed(tmp_path)[0])


def test_every_row_comes_back_as_its_float16(store: EmbeddingStore) -> None:
    assert store.streams == WIDTHS
    assert store.rate_hz == 1.0
    assert store.actions == ACTIONS
    for half in store.halves_of(game for games in GAMES.values() for game in games):
        opened = store.open_half(half)
        assert (opened.half, opened.num_rows) == (half, NUM_ROWS)
        assert list(opened.streams) == list(WIDTHS)
        for stream, values in opened.streams.items():
            assert values.dtype == np.float16
            expected = rows(half.game, half.half, stream).astype(np.float16)
            np.testing.assert_array_equal(values, expected)


def test_arrays_are_read_only_views_of_the_file_that_outlive_the_store(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    before = pa.total_allocated_bytes()
    values = EmbeddingStore.open(path).open_half(A1).streams["tpn"]
    assert pa.total_allocated_bytes() == before  # nothing of the rows was copied
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        values.flags.writeable = True
    np.testing.assert_array_equal(values, rows("l/s/a", 1, "tpn").astype(np.float16))


def test_a_view_shows_the_bytes_of_the_file_itself(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    values = EmbeddingStore.open(path).open_half(A1).streams["tpn"]
    file = path / "halves/l/s/a/1.arrow"
    position = file.read_bytes().index(values.tobytes())
    with file.open("r+b") as stream:
        stream.seek(position)
        stream.write(np.float16(42).tobytes())
    assert values[0, 0] == 42


def test_splits_games_and_halves(store: EmbeddingStore) -> None:
    assert store.games("train") == ("l/s/a", "l/s/b")
    assert store.halves_of(["l/s/c", "l/s/a"]) == [
        HalfId("l/s/c", 1),
        HalfId("l/s/c", 2),
        HalfId("l/s/a", 1),
        HalfId("l/s/a", 2),
    ]
    with pytest.raises(InputError, match=r"no split 'tset'; this store has train, valid, test"):
        store.games("tset")
    with pytest.raises(InputError, match=r"l/s/z, half 1 is not in this store of 10 halves"):
        store.halves_of(["l/s/z"])
    with pytest.raises(InputError, match="l/s/a, half 3 is not in this store"):
        store.open_half(HalfId("l/s/a", 3))


def test_events_are_those_of_the_label_files(store: EmbeddingStore) -> None:
    events = store.events(A1)
    assert events.half == A1
    assert events.time_s.tolist() == [3.4, 12.5]
    assert [ACTIONS[action] for action in events.action] == ["Foul", "Goal"]
    assert events.visible.tolist() == [False, True]
    assert events.time_s.dtype == np.float64
    assert events.action.dtype == np.int64
    second = store.events(HalfId("l/s/c", 2))
    assert [ACTIONS[action] for action in second.action] == ["Corner"]


def test_a_challenge_game_has_rows_but_no_labels(store: EmbeddingStore) -> None:
    assert store.has_labels("l/s/a")
    assert not store.has_labels("l/s/e")
    assert len(store.events(HalfId("l/s/e", 1)).time_s) == 0
    every = store.events_of(["l/s/d", "l/s/e"])
    assert [len(events.time_s) for events in every.values()] == [2, 1, 0, 0]


def test_a_store_travels_by_its_path_and_notices_a_repack(store: EmbeddingStore) -> None:
    text = pickle.dumps(store)
    assert len(text) < 1000
    again = pickle.loads(text)
    assert again.checksum == store.checksum
    assert again.path == store.path
    index = store.path / "store.json"
    document = json.loads(index.read_text())
    del document["checksum"]
    document["slack_s"] = 4.0
    index.write_text(json.dumps({**document, "checksum": sha256_json(document)}))
    with pytest.raises(InputError, match="was packed again while it was in use"):
        pickle.loads(text)


def test_a_store_that_is_packed_again_in_use_mixes_no_halves(tmp_path: Path) -> None:
    opened = make_store(tmp_path)
    first, second = opened.halves_of(opened.games("valid"))[:2]
    before = opened.open_half(first).streams["vtn"].copy()
    write_season(
        tmp_path / "others",
        SeasonConfig(train=4, valid=2, test=2, minutes=2, streams=STREAMS, seed=1),
    )
    shutil.rmtree(opened.path)
    pack(tmp_path / "others", opened.path)
    assert np.array_equal(opened.open_half(first).streams["vtn"], before), "mapped before"
    with pytest.raises(TransientError, match="was packed again while it was in use"):
        opened.open_half(second)
    shutil.rmtree(opened.path)
    with pytest.raises(TransientError, match="or is gone"):
        opened.open_half(second)


def test_opening_is_cheap_and_a_half_is_mapped_once(store: EmbeddingStore) -> None:
    assert store.open_half(A1) is store.open_half(A1)
    started = time.perf_counter()
    for _ in range(1000):
        store.open_half(A1)
    assert time.perf_counter() - started < 0.1


def test_no_store_and_an_unfinished_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no store here \(store.json is missing\)"):
        EmbeddingStore.open(tmp_path / "nothing")
    path, _ = packed(tmp_path)
    (path / "store.json").unlink()
    with pytest.raises(InputError, match=r"packing was not finished; run the same `hmtas pack`"):
        EmbeddingStore.open(path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    index = path / "store.json"
    index.write_text(index.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    expected = "schema version 7, but this program reads 1; pack again"
    with pytest.raises(InputError, match=expected):
        EmbeddingStore.open(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"l/s/a"', '"l/s/A"', "checksum does not match"),
        ('"Goal"', '"Coal"', "checksum does not match"),
        ('"checksum": "', '"checksum": "0', "checksum does not match"),
        ("{", "", "not JSON"),
        ('"schema_version"', '"schema"', "no schema version"),
    ],
)
def test_a_changed_index_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path, _ = packed(tmp_path)
    index = path / "store.json"
    index.write_text(index.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        EmbeddingStore.open(path)


def test_a_half_that_is_not_what_was_packed_is_refused(store: EmbeddingStore) -> None:
    file = store.path / "halves/l/s/a/1.arrow"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    size = re.escape(f"{len(content) - 1} bytes instead of {len(content)}")
    with pytest.raises(InputError, match=rf"not the half that was packed \({size}\)"):
        store.open_half(A1)
    file.write_bytes(b"\0" * len(content))
    with pytest.raises(InputError, match="not the half that was packed"):
        store.open_half(A1)
    file.unlink()
    with pytest.raises(InputError, match="missing; the index lists it"):
        store.open_half(A1)


def test_changed_labels_are_refused(store: EmbeddingStore) -> None:
    file = store.path / "labels.arrow"
    content = file.read_bytes()
    file.write_bytes(content.replace(np.float64(12.5).tobytes(), np.float64(12.6).tobytes()))
    with pytest.raises(InputError, match=r"labels that were packed \(its checksum does not match"):
        store.events(A1)
    file.unlink()
    with pytest.raises(InputError, match=r"labels.arrow: missing; pack again"):
        store.events(A1)
