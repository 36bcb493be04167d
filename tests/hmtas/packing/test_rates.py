"""Defends: streams of another rate become rows of the store's rate, the same however it is done."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtas.errors import InputError
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.packing.check import plan_pack
from hmtas.packing.layout import FoundFile
from hmtas.packing.pack import pack
from hmtas.packing.rates import METHODS, Method, Rates, Resampling
from hmtas.packing.sources import BAIDU_WIDTH, SourceHalf, at_rates, read_header, read_streams
from hmtas.records import HalfId
from hmtas.store.journal import read_journal
from hmtas.store.local import EmbeddingStore
from hmtas.store.verify import verify
from tests.support.store_tree import (
    NUM_ROWS,
    SMALL,
    label,
    refused,
    rows,
    save,
    save_labels,
    tree,
)

A1 = HalfId("l/s/a", 1)
# Of this season, by the version before there were rates.
SETTINGS_BEFORE_RATES = "81dd81e0ccacad12151d4cd9cd66799845823b8af8f3ff0553888544cc38b8f4"
RATES = st.sampled_from([0.5, 1.0, 1.0417, 25 / 24, 2.0, 3.0, 5.0, 12.5, 25.0, 29.97])


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return tree(tmp_path / "games", SMALL)


def way(rate_hz: float, store_hz: float, method: Method = "mean") -> Resampling:
    return Resampling(stream="x", rate_hz=rate_hz, store_hz=store_hz, method=method)


def half_of(path: Path) -> SourceHalf:
    """A half of one file."""
    return SourceHalf(HalfId("g", 1), (read_header(FoundFile(path, "x", path.name), None),))


def brought(values: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Rows of the store as its definition gives them: a matrix of weights times the rows."""
    num_rows = resampling.num_rows(len(values))
    first, weights = resampling.weights(0, num_rows, len(values))
    matrix = np.zeros((num_rows, len(values) + weights.shape[1]))
    for row in range(num_rows):
        matrix[row, first[row] : first[row] + weights.shape[1]] += weights[row]
    assert not matrix[:, len(values) :].any()
    return matrix[:, : len(values)] @ values


def packed_rows(games: Path, store: Path, stream: str, **options: object) -> np.ndarray:
    pack(games, store, **options)
    return EmbeddingStore.open(store).open_half(A1).streams[stream]


# What the rows are


@pytest.mark.parametrize(
    ("resampling", "values", "expected"),
    [
        (way(2, 1), [1, 3, 5, 9], [2, 7]),
        (way(2, 1), [1, 3, 5], [2, 5]),  # the last second holds one row
        (way(2, 1, "linear"), [1, 3, 5, 9, 4], [1, 5, 4]),
        (way(2, 1, "nearest"), [1, 3, 5, 9, 4], [1, 5, 4]),
        (way(1, 2, "linear"), [0, 4, 2], [0, 2, 4, 3, 2, 2]),
        (way(1, 2, "nearest"), [0, 4, 2], [0, 0, 4, 4, 2, 2]),
        (way(1, 2, "mean"), [0, 4, 2], [0, 0, 4, 4, 2, 2]),
        # 1.25 rows a second: row 0 and a quarter of row 1, the rest of it and half of row 2 ...
        (way(1.25, 1), [4, 8, 12, 16, 20], [4.8, 9.6, 14.4, 19.2]),
        (way(1.25, 1, "linear"), [4, 8, 12, 16, 20], [4, 9, 14, 19]),
        (way(1.25, 1, "nearest"), [4, 8, 12, 16, 20], [4, 8, 12, 20]),  # moments 0 1.25 2.5 3.75
        (way(1.4, 1), [0, 0, 7, 14, 28, 0, 0], [0, 4, 15, 16, 0]),  # second 2 holds parts of three
        (way(0.5, 1, "nearest"), [0, 4], [0, 0, 4, 4]),  # second 1 is as near to 0 as to 2
        (way(3, 2), [2, 4, 6], [8 / 3, 16 / 3]),
        (way(2, 1), [7], [7]),
        (way(25, 1), [3], [3]),
    ],
)
def test_hand_worked_rows(
    resampling: Resampling, values: list[float], expected: list[float]
) -> None:
    found = brought(np.array(values, dtype=float), resampling)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_of_25_hz_become_half_seconds() -> None:
    values = np.arange(50.0)
    # Half a second is 12.5 rows: rows 0 to 11 and half of row 12, whose number is their value.
    first = (sum(range(12)) + 12 / 2) / 12.5
    second = (12 / 2 + sum(range(13, 25))) / 12.5
    np.testing.assert_allclose(
        brought(values, way(25, 2)), [first, second, first + 25, second + 25], rtol=1e-6
    )
    assert brought(values, way(25, 2, "nearest")).tolist() == [0, 12, 25, 37]
    np.testing.assert_allclose(brought(values, way(25, 2, "linear")), [0, 12.5, 25, 37.5])


def test_examples_of_vggish_become_seconds() -> None:
    # Example j begins at 0.96 j s; second 24 begins where example 25 does.
    found = brought(np.arange(50.0), way(25 / 24, 1, "linear"))
    np.testing.assert_allclose(found, np.minimum(np.arange(48) * 25 / 24, 49), rtol=1e-6)
    assert found[24] == 25
    assert way(1.0417, 1).num_rows(2812) == 2700  # 2812 examples are 2699.5 s


@pytest.mark.parametrize(
    ("rate_hz", "store_hz", "num_rows", "expected"),
    [
        (2, 1, 5400, 2700),
        (2, 1, 5401, 2701),
        (1, 2, 2700, 5400),
        (25, 1, 1, 1),
        (25, 2, 67500, 5400),
        (25 / 24, 1, 25, 24),
        (0.6, 0.2, 3, 1),  # the computer's 0.6 / 0.2 is less than 3
        (1, 0.001, 5, 1),
    ],
)
def test_a_row_for_every_interval_that_holds_data(
    rate_hz: float, store_hz: float, num_rows: int, expected: int
) -> None:
    assert way(rate_hz, store_hz).num_rows(num_rows) == expected


@given(rate_hz=RATES, store_hz=RATES, method=st.sampled_from(METHODS), num_rows=st.integers(1, 200))
def test_weights_are_a_mean_of_rows_that_are_there(
    rate_hz: float, store_hz: float, method: Method, num_rows: int
) -> None:
    resampling = way(rate_hz, store_hz, method)
    first, weights = resampling.weights(0, resampling.num_rows(num_rows), num_rows)
    assert (first >= 0).all()
    assert (first < num_rows).all()
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    constant = brought(np.full(num_rows, 3.0), resampling)
    np.testing.assert_allclose(constant, 3.0, rtol=1e-6)


@given(rate_hz=RATES, store_hz=RATES, num_rows=st.integers(2, 200))
def test_a_ramp_stays_a_ramp_between_rows(rate_hz: float, store_hz: float, num_rows: int) -> None:
    found = brought(np.arange(num_rows) / rate_hz, way(rate_hz, store_hz, "linear"))
    moments = np.arange(len(found)) / store_hz
    np.testing.assert_allclose(found, np.minimum(moments, (num_rows - 1) / rate_hz), atol=1e-4)


@given(rate_hz=RATES, store_hz=RATES, num_rows=st.integers(1, 80), seed=st.integers(0, 9))
def test_the_mean_is_the_integral_over_the_interval(
    rate_hz: float, store_hz: float, num_rows: int, seed: int
) -> None:
    values = np.random.default_rng(seed).standard_normal(num_rows)
    found = brought(values, way(rate_hz, store_hz))
    ends_s = np.minimum(np.arange(len(found) + 1) / store_hz, num_rows / rate_hz)
    integral = np.interp(ends_s * rate_hz, np.arange(num_rows + 1), [0, *np.cumsum(values)])
    lengths = np.diff(ends_s) * rate_hz
    np.testing.assert_allclose(found * lengths, np.diff(integral), atol=1e-5)


@given(times=st.integers(2, 25), num_rows=st.integers(1, 20), seed=st.integers(0, 9))
def test_the_mean_of_whole_multiples_keeps_the_integral(
    times: int, num_rows: int, seed: int
) -> None:
    values = np.random.default_rng(seed).standard_normal(times * num_rows)
    found = brought(values, way(2.0 * times, 2.0))
    assert len(found) == num_rows
    np.testing.assert_allclose(found.sum() * times, values.sum(), atol=1e-5)


@given(rate_hz=RATES, store_hz=RATES, cut=st.integers(1, 50), num_rows=st.integers(2, 60))
def test_the_nearest_row_is_the_earlier_of_two(
    rate_hz: float, store_hz: float, cut: int, num_rows: int
) -> None:
    resampling = way(rate_hz, store_hz, "nearest")
    k = min(cut, resampling.num_rows(num_rows) - 1)
    first, _ = resampling.weights(k, k + 1, num_rows)
    apart = np.abs(np.arange(num_rows) / rate_hz - k / store_hz)
    assert first[0] == np.flatnonzero(apart <= apart.min() + 1e-6)[0]


# Which rate, and which method


def test_the_method_suits_the_rate_unless_it_is_named() -> None:
    rates = Rates(
        by_stream_hz={"a": 1.4, "b": 1.5, "c": 25, "d": 0.5, "e": 1},
        method_by_stream={"c": "nearest"},
    )
    methods = {name: rates.resampling(name) for name in "abcde"}
    assert {name: item and item.method for name, item in methods.items()} == {
        "a": "linear", "b": "mean", "c": "nearest", "d": "linear", "e": None,
    }  # fmt: skip
    plain = Rates(by_stream_hz={"a": 2}, plain_method="nearest")
    assert str(plain.resampling("a")) == "a: 2 Hz, brought to 1 Hz by nearest"


def test_the_streams_of_soccernet_have_their_rates_unless_an_option_says_otherwise() -> None:
    name = "ResNET_TF2_PCA512"
    said = "ResNET_TF2_PCA512: 2 Hz (as SoccerNet's are), brought to 1 Hz by mean"
    assert str(Rates().resampling(name)) == said
    assert str(Rates().resampling("ResNET_25fps_TF2")).startswith("ResNET_25fps_TF2: 25 Hz (as")
    assert Rates(plain_hz=1).resampling(name) is None
    assert Rates(plain_hz=2).resampling(name) is None
    other = Rates(by_stream_hz={name: 4}).resampling(name)
    assert str(other) == "ResNET_TF2_PCA512: 4 Hz, brought to 1 Hz by mean"
    assert Rates(by_stream_hz={name: 1}).resampling(name) is None
    assert Rates(plain_hz=2, by_stream_hz={"vggish": 1.0417}).resampling(name) is None
    assert Rates().resampling("vggish") is None


# Packed


def test_resnet_of_soccernet_is_packed_at_once(games: Path, tmp_path: Path) -> None:
    fine = {}
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            values = rows(game, half, "ResNET_TF2_PCA512", 2 * NUM_ROWS)
            fine[game, half] = values
            save(games, game, half, "ResNET_TF2_PCA512", values)
    report = pack(games, tmp_path / "store")
    assert [str(item) for item in report.resampled] == [
        "ResNET_TF2_PCA512: 2 Hz (as SoccerNet's are), brought to 1 Hz by mean"
    ]
    assert report.extended == report.warnings == ()
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.rate_hz == 1
    half = store.open_half(A1)
    assert {len(values) for values in half.streams.values()} == {NUM_ROWS}
    expected = fine["l/s/a", 1].reshape(NUM_ROWS, 2, -1).mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(half.streams["ResNET_TF2_PCA512"], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(half.streams["tpn"], rows(*A1, "tpn").astype(np.float16))
    assert verify(tmp_path / "store") == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rates_hz", [(2.0, 1.0), (25.0, 2.0), (25 / 24, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8"])
def test_pieces_do_not_change_the_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: Method,
    rates_hz: tuple[float, float],
    dtype: str,
) -> None:
    values = np.random.default_rng(0).standard_normal((311, 5)).astype(dtype)
    path = save(tmp_path, "g", 1, "x", values)
    rates = Rates(plain_hz=rates_hz[1], by_stream_hz={"x": rates_hz[0]}, plain_method=method)
    source = at_rates(half_of(path), rates, [])
    whole = read_streams(source)["x"]
    expected = brought(values.astype(np.float64), source.resampled["x"])
    np.testing.assert_allclose(whole, expected, rtol=2e-3, atol=1e-3)
    for size in (1, 100, 1000, 3000):
        monkeypatch.setattr("hmtas.packing.sources._CHUNK_BYTES", size)
        np.testing.assert_array_equal(read_streams(source)["x"], whole)


def test_memory_holds_the_rows_of_a_half_and_a_few_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = 1 << 16
    monkeypatch.setattr("hmtas.packing.sources._CHUNK_BYTES", piece)
    path = save(tmp_path, "g", 1, "x", np.zeros((20_000, 64), np.float32))  # 80 pieces
    for rate_hz in (2.0, 25.0, 0.5):
        rates = Rates(by_stream_hz={"x": rate_hz})
        source = at_rates(half_of(path), rates, [])
        tracemalloc.start()
        found = read_streams(source)["x"]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < found.nbytes + 10 * piece


@pytest.mark.parametrize("chunk", [1 << 24, 64])
def test_a_bad_value_is_named_by_its_place_in_the_file(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("hmtas.packing.sources._CHUNK_BYTES", chunk)
    values = rows(*A1, "tpn", 25 * NUM_ROWS)
    for value, row in ((np.nan, 707), (np.inf, 749), (70000, 3)):
        spoiled = values.copy()
        spoiled[row, 3] = value
        save(games, *A1, "tpn", spoiled)
        # By nearest most rows are not used, and all are looked at.
        for method in METHODS:
            with pytest.raises(InputError, match=rf"1_tpn.npy: row {row}, column 3 \(stream 'tpn'"):
                pack(
                    games, tmp_path / "store", method=method,
                    stream_rates_hz={"tpn": 25}, slack_s=60,
                )  # fmt: skip
        assert not (tmp_path / "store/store.json").exists()


def test_two_rates_in_one_season(games: Path, tmp_path: Path) -> None:
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            save(games, game, half, "vggish", rows(game, half, "vggish", 31))  # 29.76 s
    report = pack(
        games, tmp_path / "store", rate_hz=2, stream_rates_hz={"vggish": 1.0417, "tpn": 1}
    )
    assert [str(item) for item in report.resampled] == [
        "tpn: 1 Hz, brought to 2 Hz by linear",
        "vggish: 1.0417 Hz, brought to 2 Hz by linear",
    ]
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.rate_hz == 2
    assert {len(values) for values in store.open_half(A1).streams.values()} == {60}
    # A label at 34.5 s is 4.5 s past the end of 30 s, one at 35.5 s too far.
    save_labels(games, "l/s/a", [label(1, 34.5)])
    options = {"rate_hz": 2, "stream_rates_hz": {"vggish": 1.0417, "tpn": 1}}
    late = pack(games, tmp_path / "store", **options).late_labels
    assert [(item.time_s, item.length_s) for item in late] == [(34.5, 30)]
    save_labels(games, "l/s/a", [label(1, 35.5)])
    refused(games, tmp_path / "other", "lies past the end of the half, 30 s", **options)


def test_the_rate_of_the_file_of_five_streams(games: Path, tmp_path: Path) -> None:
    fine = np.zeros((2 * NUM_ROWS, BAIDU_WIDTH), np.float32)
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            (games / game / f"{half}_tpn.npy").unlink()
            save(games, game, half, BAIDU, fine)
    refused(
        games,
        tmp_path / "store",
        r"1_baidu_soccer_embeddings.npy: the streams of one file have one rate, got tpn 2, gta 1, "
        r".*: --rate-hz baidu_soccer_embeddings=HZ",
        stream_rates_hz={"tpn": 2},
    )
    report = pack(games, tmp_path / "store", stream_rates_hz=dict.fromkeys(BAIDU_BLOCKS, 2))
    assert len(report.resampled) == 5
    assert EmbeddingStore.open(tmp_path / "store").halves[A1].num_rows == NUM_ROWS


# Packed again


def test_another_method_packs_anew_and_the_same_keeps_all(games: Path, tmp_path: Path) -> None:
    def again(**options: object) -> tuple[int, int]:
        report = pack(games, tmp_path / "store", **options)
        return report.num_packed, report.num_kept

    half = {"stream_rates_hz": {"tpn": 2}, "slack_s": 20}
    assert again(**half) == (4, 0)
    assert again(**half) == (0, 4)
    assert again(**half, method="mean") == (0, 4)  # what it was by default
    assert again(**half, method="linear") == (4, 0)
    assert again(**half, stream_methods={"tpn": "linear"}) == (0, 4)
    assert again(stream_rates_hz={"tpn": 4}, slack_s=25, method="linear") == (4, 0)
    assert again() == (4, 0)
    assert again(stream_rates_hz={"tpn": 1}) == (0, 4)


def test_stores_without_other_rates_are_kept_from_the_time_before_rates(
    games: Path, tmp_path: Path
) -> None:
    pack(games, tmp_path / "store")
    entries, _ = read_journal(tmp_path / "store/pack.journal")
    assert {entry.settings for entry in entries.values()} == {SETTINGS_BEFORE_RATES}


# Refused


def test_a_stream_that_no_half_has(games: Path, tmp_path: Path) -> None:
    message = "no half has stream 'vgish', did you mean 'vggish'\\?; found are tpn, vggish"
    refused(games, tmp_path / "store", message, stream_rates_hz={"vgish": 2})
    refused(games, tmp_path / "store", message, stream_methods={"vgish": "mean"})


def test_rates_and_methods_that_cannot_be(games: Path, tmp_path: Path) -> None:
    for rate_hz in (0, -1, np.nan, np.inf):
        refused(
            games,
            tmp_path / "store",
            "rate of stream 'tpn' must be positive and finite",
            stream_rates_hz={"tpn": rate_hz},
        )
    refused(
        games,
        tmp_path / "store",
        "no method 'men' to bring rows to another rate, did you mean 'mean'\\?; there are nearest",
        method="men",
    )


def test_the_plan_holds_what_is_done(games: Path) -> None:
    plan = plan_pack(games, stream_rates_hz={"vggish": 2}, slack_s=20)
    (item,) = plan.resampled
    assert (item.stream, item.rate_hz, item.store_hz, item.method, item.known) == (
        "vggish", 2, 1, "mean", "",
    )  # fmt: skip
    assert json.dumps(plan.halves[0].added_rows) == '{"vggish": 15}'
