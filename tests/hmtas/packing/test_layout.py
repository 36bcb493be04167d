"""Embeddings are found wherever they may lie, once, and what is not there is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.formats.recognise import open_labels
from hmtas.packing.layout import Layout
from hmtas.packing.pack import pack
from tests.support.store_tree import refused


def put(*paths: Path, num_rows: int = 30) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.ones((num_rows, 4), np.float32) * np.arange(num_rows)[:, None])


def osl(tmp_path: Path, *samples: dict[str, Any], folder: str = "labels") -> Path:
    """A file of OSL v2, each of its videos with one label."""
    path = tmp_path / folder / "train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    event = {"label": "pass", "position_ms": 12000}
    path.write_text(json.dumps({"data": [{"events": [event], **one} for one in samples]}))
    return path


def inputs(*paths: str) -> list[dict[str, str]]:
    return [{"type": "features", "path": path} for path in paths]


def found(root: Path, labels: Path, game: str) -> dict[int, dict[str, str]]:
    """Streams of each half, and where they were found."""
    files = Layout(root, open_labels(labels)).files_of(game)
    return {
        half: {file.stem: file.path.relative_to(root).as_posix() for file in of_half}
        for half, of_half in files.items()
    }


def test_in_the_folder_of_the_game_by_half(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "l/a"})
    root = tmp_path / "features"
    put(root / "l/a/1_tpn.npy", root / "l/a/2_tpn.npy", root / "l/a/12_x-y.npy", root / "l/a/z.npy")
    assert found(root, labels, "l/a") == {
        1: {"tpn": "l/a/1_tpn.npy"}, 2: {"tpn": "l/a/2_tpn.npy"}, 12: {"x-y": "l/a/12_x-y.npy"},
    }  # fmt: skip


def test_in_the_folder_of_a_game_without_parts(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "l/a"})
    root = tmp_path / "features"
    put(root / "l/a/tpn.npy", root / "l/a/vggish.npy")
    assert found(root, labels, "l/a") == {1: {"tpn": "l/a/tpn.npy", "vggish": "l/a/vggish.npy"}}


def test_in_a_folder_for_each_stream(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "a"}, {"id": "sub/b.mp4"})
    root = tmp_path / "features"
    put(root / "tpn/a.npy", root / "vggish/a.npy", root / "tpn/sub/b.npy")
    assert found(root, labels, "a") == {1: {"tpn": "tpn/a.npy", "vggish": "vggish/a.npy"}}
    assert found(root, labels, "sub/b") == {1: {"tpn": "tpn/sub/b.npy"}}


def test_one_stream_is_called_like_its_folder(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "a"})
    root = tmp_path / "resnet"
    put(root / "a.npy")
    assert found(root, labels, "a") == {1: {"resnet": "a.npy"}}


def test_halves_of_a_game_by_the_names_of_their_videos(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "l/a/half1"}, {"id": "l/a/half2"})
    root = tmp_path / "features"
    put(root / "tpn/l/a/half1.npy", root / "tpn/l/a/half2.npy")
    assert found(root, labels, "l/a") == {
        1: {"tpn": "tpn/l/a/half1.npy"}, 2: {"tpn": "tpn/l/a/half2.npy"},
    }  # fmt: skip


@pytest.mark.parametrize("base", ["features", "labels"])
def test_where_the_label_file_says_below_the_embeddings_or_beside_it(
    tmp_path: Path, base: str
) -> None:
    labels = osl(tmp_path, {"id": "clip", "inputs": inputs("x/1_tpn.npy", "y/clip.npy", "z.npy")})
    (tmp_path / "features").mkdir()
    put(*(tmp_path / base / name for name in ("x/1_tpn.npy", "y/clip.npy", "z.npy")))
    files = Layout(tmp_path / "features", open_labels(labels)).files_of("clip")[1]
    assert {file.stem for file in files} == {"tpn", "y", "z"}  # by number, by folder, by its name
    assert {file.path.relative_to(tmp_path).parts[0] for file in files} == {base}


def test_a_file_that_is_found_twice_is_one(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "a", "inputs": inputs("tpn/a.npy")})
    put(tmp_path / "features/tpn/a.npy")
    files = Layout(tmp_path / "features", open_labels(labels)).files_of("a")
    assert [file.path.name for file in files[1]] == ["a.npy"]


def test_a_new_match_that_no_label_file_has_is_found_by_its_name(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "a"})
    put(tmp_path / "features/tpn/new.npy")
    assert found(tmp_path / "features", labels, "new") == {1: {"tpn": "tpn/new.npy"}}


def test_files_that_a_label_file_names_and_that_are_not_there(tmp_path: Path) -> None:
    samples = [
        {"id": "l/a", "inputs": inputs("l/a/1_tpn.npy", "l/a/1_x.npy")},
        {"id": "b", "inputs": inputs("b.npy")},
    ]
    labels = osl(tmp_path, *samples)
    root = tmp_path / "features"
    put(root / "l/a/1_tpn.npy")
    layout = Layout(root, open_labels(labels))
    assert layout.absent("l/a") == ["l/a/1_x.npy"]
    assert layout.absent("b") == ["b.npy"]
    refused(
        labels,
        tmp_path / "store",
        r"b: it has labels but no embeddings; .*train.json names b.npy, which is not below "
        r".*features \(--features FOLDER\)",
        features=root,
    )


@pytest.mark.parametrize("name", ["../../secret.npy", "x" * 300 + ".npy", "a\0b.npy", "a\nb.npy"])
def test_a_path_that_can_be_none_is_no_error_of_the_system(tmp_path: Path, name: str) -> None:
    labels = osl(tmp_path, {"id": "a", "inputs": inputs(name)})
    (tmp_path / "features").mkdir()
    refused(labels, tmp_path / "store", "train.json", features=tmp_path / "features")


def test_strays_in_the_folders_of_streams_are_told(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "a"})
    root = tmp_path / "features"
    put(root / "tpn/a.npy", root / "tpn/b.npy", root / "unused/c.npy")
    report = pack(labels, tmp_path / "store", features=root)
    assert [(item.file, item.reason) for item in report.files_left_out] == [
        ("tpn/b.npy", "no label file names its video")
    ]


def test_a_name_with_a_dot_is_that_of_another_game(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "final"}, {"id": "final.2"})
    root = tmp_path / "features"
    put(root / "resnet/final.npy")
    assert found(root, labels, "final.2") == {}
    put(root / "resnet/final.2.npy")
    assert found(root, labels, "final.2") == {1: {"resnet": "resnet/final.2.npy"}}
    assert found(root, labels, "final") == {1: {"resnet": "resnet/final.npy"}}


def test_the_videos_of_two_halves_are_no_streams(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "l/a/half1"}, {"id": "l/a/half2"})
    root = tmp_path / "features"
    put(root / "l/a/half1.npy", root / "l/a/half2.npy")
    assert found(root, labels, "l/a") == {
        1: {"features": "l/a/half1.npy"}, 2: {"features": "l/a/half2.npy"},
    }  # fmt: skip


def test_inputs_that_are_not_called_like_the_sample_are_streams_by_folder(tmp_path: Path) -> None:
    labels = osl(tmp_path, *({"id": f"clip_{n}", "inputs": inputs(f"f/x{n}.npy", f"aud/x{n}.npy")}
                             for n in range(2)))  # fmt: skip
    root = tmp_path / "features"
    for n in range(2):
        put(root / f"f/x{n}.npy", root / f"aud/x{n}.npy")
        expected = {1: {"f": f"f/x{n}.npy", "aud": f"aud/x{n}.npy"}}
        assert found(root, labels, f"clip_{n}") == expected


def test_a_video_with_a_number_in_front_is_found_by_its_whole_name(tmp_path: Path) -> None:
    labels = osl(tmp_path, {"id": "1_final"})
    put(tmp_path / "features/resnet/1_final.npy")
    assert found(tmp_path / "features", labels, "1_final") == {
        1: {"resnet": "resnet/1_final.npy"}
    }  # fmt: skip


def rated(*rates_hz: float) -> list[dict[str, Any]]:
    return [
        {"id": f"c{n}", "inputs": [
            {"type": "features", "path": f"f/c{n}.npy", "fps": rate_hz},
            {"type": "features", "path": f"aud/c{n}.npy", "fps": 1.0},
        ]}
        for n, rate_hz in enumerate(rates_hz)
    ]  # fmt: skip


def test_each_stream_has_the_rate_that_the_label_file_says(tmp_path: Path) -> None:
    labels = osl(tmp_path, *rated(2.0, 2.0))
    for n in range(2):
        put(tmp_path / f"labels/f/c{n}.npy", num_rows=60)
        put(tmp_path / f"labels/aud/c{n}.npy")
    (item,) = pack(labels.parent, tmp_path / "store").resampled
    assert str(item) == "f: 2 Hz (as the label files say), brought to 1 Hz by mean"


def test_a_stream_of_two_rates_is_refused(tmp_path: Path) -> None:
    labels = osl(tmp_path, *rated(2.0, 4.0))
    for n in range(2):
        put(tmp_path / f"labels/f/c{n}.npy", num_rows=60)
        put(tmp_path / f"labels/aud/c{n}.npy")
    refused(labels.parent, tmp_path / "store", "stream 'f' has 2, 4 rows a second by its label")
