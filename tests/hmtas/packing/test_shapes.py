"""Defends: arrays that are no (rows, width), or the wrong way round, are told with their cure."""

from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest

from hmtas.formats.embeddings import BAIDU
from hmtas.packing.pack import pack
from hmtas.packing.shapes import why_another_width, why_no_rows, why_transposed
from tests.support.store_tree import SMALL, label, refused, rows, save, save_labels, tree


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return tree(tmp_path / "games", SMALL)


@pytest.mark.parametrize(
    ("shape", "cure"),
    [
        ((30, 1, 8), "axis 1 holds nothing: save np.squeeze(array, 1)"),
        ((1, 30, 8), "axis 0 holds nothing: save np.squeeze(array, 0)"),
        ((30, 8, 1), "axis 2 holds nothing: save np.squeeze(array, 2)"),
        ((30, 8, 1, 1), "axes (2, 3) hold nothing: save np.squeeze(array, (2, 3))"),
    ],
)
def test_an_axis_too_many_is_named(
    games: Path, tmp_path: Path, shape: tuple[int, ...], cure: str
) -> None:
    array = np.zeros(shape, np.float32)
    why = why_no_rows(array)
    assert why == (f"embeddings must be floating-point (rows, width), got float32 {shape}; {cure}")
    save(games, "l/s/a", 1, "tpn", array)
    refused(games, tmp_path / "store", r"1_tpn.npy: embeddings must be .*: save np.squeeze\(array")
    axes = literal_eval(cure.rpartition("array, ")[2][:-1])
    assert np.squeeze(array, axes).shape == (30, 8)


def test_shapes_that_have_no_cure_are_refused_without_one() -> None:
    for shape in ((30,), (30, 8, 2), (1, 1, 8), (30, 512, 7, 7), ()):
        assert why_no_rows(np.zeros(shape, np.float32)).endswith(f"got float32 {shape}")
    assert why_no_rows(np.zeros((30, 8), np.float16)) == ""


@pytest.mark.parametrize(
    ("dtype", "cause"),
    [
        ("uint8", "quantised? Save"),
        ("int16", "quantised? Save"),
        ("int64", "quantised, or token ids? Save"),
    ],
)
def test_integers_are_refused_with_the_conversion(
    games: Path, tmp_path: Path, dtype: str, cause: str
) -> None:
    save(games, "l/s/a", 1, "tpn", np.zeros((30, 8), dtype))
    refused(
        games,
        tmp_path / "store",
        rf"1_tpn.npy: .* got {dtype} \(30, 8\); are they {cause.replace('?', '.')} what they stand "
        r"for: \(array \* scale\).astype\(np.float32\)",
    )


@pytest.mark.parametrize(
    ("num_rows", "width", "expected"),
    [
        (512, 2700, True),
        (128, 2812, True),
        (2048, 5400, True),
        (8576, 2700, True),
        (2700, 512, False),
        (512, 512, False),
        (512, 2048, False),
        (512, 24, False),  # a short video and a narrow stream
        (511, 2700, False),
    ],
)
def test_what_looks_transposed(num_rows: int, width: int, expected: bool) -> None:
    assert bool(why_transposed(num_rows, width)) == expected


def test_a_file_of_another_width_than_the_others_is_transposed_or_they_are() -> None:
    assert why_another_width(512, 2700, 512) == (
        "is it transposed, (512, 2700) for (2700, 512)? Save array.T"
    )
    assert why_another_width(512, 2700, 2690).startswith("is it transposed")
    assert why_another_width(2700, 512, 2690) == ("are the others transposed? Save array.T of them")
    assert why_another_width(2700, 512, 768) == "was it made with another extractor?"


def test_one_transposed_file_among_others_is_said_to_be_that(games: Path, tmp_path: Path) -> None:
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            for stream in ("tpn", "vggish"):
                (games / game / f"{half}_{stream}.npy").unlink()
            save(games, game, half, "clip", np.zeros((300 + half, 512), np.float32))
    pack(games, tmp_path / "sound")
    save(games, "l/s/a", 1, "clip", np.zeros((512, 301), np.float32))
    refused(
        games,
        tmp_path / "store",
        r"1_clip.npy: stream 'clip' is 301 wide here, but 512 in 3 other halves; is it transposed, "
        r"\(512, 301\) for \(301, 512\)\? Save array.T",
    )


def test_a_transposed_file_is_the_cause_of_late_labels_and_of_other_lengths(
    games: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            save(games, game, half, "clip", np.zeros((128, 2700), np.float32))
    lengths = (
        r"l/s/a, half 1: stream 'tpn' has 30 rows but 'clip' has 128, more than 5 s apart; "
        r"1_clip.npy: is it transposed, \(128, 2700\) for \(2700, 128\)\? Save array.T"
    )
    refused(games, store, lengths)
    save_labels(games, "l/s/a", [label(1, 2600)])
    late = (
        r"label 'Goal' at 2600 s lies past the end of the half, 128 s, by more than 5 s; 1_clip.npy"
        r": is it transposed, \(128, 2700\) for \(2700, 128\)"
    )
    refused(games, store, late, streams=["clip"])


def test_the_file_of_five_streams_transposed(games: Path, tmp_path: Path) -> None:
    save(games, "l/s/a", 1, BAIDU, np.zeros((8576, 300), np.float16))
    refused(
        games, tmp_path / "store", r"must be 8576 wide .*, got 300; is it transposed, \(8576, 3"
    )


def test_a_season_that_is_transposed_and_fits_is_a_warning(games: Path, tmp_path: Path) -> None:
    values = rows("l/s/a", 1, "tpn", 128).repeat(25, axis=1)  # (128, 200)
    for game in ("l/s/a", "l/s/c"):
        for half in (1, 2):
            for stream in ("tpn", "vggish"):
                (games / game / f"{half}_{stream}.npy").unlink()
            save(games, game, half, "clip", values)
    (warning,) = pack(games, tmp_path / "store").warnings
    assert warning == (
        f"4 files of 4 of stream 'clip' may be transposed; the first is {games}/l/s/a/1_clip.npy: "
        "is it transposed, (128, 200) for (200, 128)? Save array.T"
    )
    # Two of four that have as many rows by chance are no news.
    for half in (1, 2):
        save(games, "l/s/c", half, "clip", np.concatenate([values, values[:1]]))
    assert pack(games, tmp_path / "store").warnings == ()


def test_bytes_after_the_array_are_a_warning(games: Path, tmp_path: Path) -> None:
    path = games / "l/s/a/1_tpn.npy"
    with path.open("ab") as file:
        np.save(file, np.zeros((1, 8), np.float32))
    report = pack(games, tmp_path / "store")
    assert report.warnings == (
        f"{path}: goes on after its array, by 160 bytes that are left out; were two arrays saved "
        "to one file?",
    )
