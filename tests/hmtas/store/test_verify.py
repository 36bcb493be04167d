"""Defends: one flipped byte anywhere in a store is found, and so is a game under two names."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import sha256_file
from hmtas.packing.pack import pack
from hmtas.records import Events, HalfId
from hmtas.store.halves import labels_bytes
from hmtas.store.index import Index, read_index, write_index
from hmtas.store.local import EmbeddingStore
from hmtas.store.verify import verify
from tests.support.store_tree import NUM_ROWS, WIDTHS, label, packed, rows, save, save_labels, tree


def rewrite(path: Path, **changes: object) -> None:
    """An index with other content and a checksum that fits."""
    index = read_index(path)
    write_index(path, Index.model_validate({**index.model_dump(), **changes}))


def test_a_sound_store_has_no_problem_and_every_half_counts(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    steps: list[None] = []
    assert verify(path, on_half=lambda: steps.append(None)) == []
    assert len(steps) == 10


@pytest.mark.parametrize("games", [["l/s/a", "l/s/b", "l/s/c", "l/s/d"], ["l/s/b"]])
def test_games_whose_labels_are_empty_are_sound(tmp_path: Path, games: list[str]) -> None:
    root = tree(tmp_path / "games")
    for game in games:
        save_labels(root, game, [])
    pack(root, tmp_path / "store")
    assert verify(tmp_path / "store") == []
    store = EmbeddingStore.open(tmp_path / "store")
    for game in ("l/s/a", "l/s/b"):
        assert store.has_labels(game)
        assert store.has_events([game]) is (game not in games)


@pytest.mark.parametrize(
    "name", ["store.json", "labels.arrow", "halves/l/s/b/2.arrow", "pack.journal"]
)
def test_one_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path, _ = packed(tmp_path)
    file = path / name
    sound = file.read_bytes()
    rng = np.random.default_rng(len(sound))
    for position in rng.choice(len(sound), 100, replace=False):
        flipped = bytearray(sound)
        flipped[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(flipped)
        problems = verify(path)
        assert len(problems) >= 1, f"{name}, byte {position}"
        assert str(file) in problems[0]
        assert "\n" not in problems[0]
    file.write_bytes(sound)
    assert verify(path) == []


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that every test leaves as it was."""
    path, _ = packed(tmp_path_factory.mktemp("sound"))
    assert verify(path) == []
    return path


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_anywhere_in_any_file_is_found(sound: Path, data: st.DataObject) -> None:
    files = sorted(path for path in sound.rglob("*") if path.is_file())
    assert len(files) == 13
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    # The ends hold magic bytes, schema, padding and footer, of which rows would hide the share.
    last = len(content) - 1
    near = st.integers(0, 300).map(lambda i: min(i, last))
    position = data.draw(near | near.map(lambda i: last - i) | st.integers(0, last))
    flipped = bytearray(content)
    flipped[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(flipped)
    try:
        problems = verify(sound)
    finally:
        file.write_bytes(content)
    assert problems
    assert str(file) in problems[0]
    assert not any("\n" in problem for problem in problems)


def test_a_file_cut_short_or_grown_anywhere_is_found(sound: Path) -> None:
    for file in [path for path in sound.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        for other in (b"", content[:1], content[: len(content) // 2], content[:-1], content + b"?"):
            file.write_bytes(other)
            problems = verify(sound)
            file.write_bytes(content)
            assert problems, f"{file}, {len(other)} bytes"
            assert str(file) in problems[0]
        assert verify(sound) == []


def test_white_space_in_the_index_is_a_change_too(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    index = path / "store.json"
    index.write_text(index.read_text() + "\n")
    assert "not as it was written" in verify(path)[0]


def test_several_problems_are_all_told(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    (path / "halves/l/s/a/1.arrow").unlink()
    (path / "halves/l/s/a/2.arrow").write_bytes(b"")
    (path / "halves/notes.txt").write_text("?")
    problems = verify(path)
    assert len(problems) == 3
    assert "1.arrow: missing" in problems[0]
    assert "2.arrow: not the half that was packed (0 bytes instead" in problems[1]
    assert "notes.txt: does not belong to the store" in problems[2]


def test_a_half_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    shutil.copy(path / "halves/l/s/b/1.arrow", path / "halves/l/s/a/1.arrow")
    assert "checksum does not match" in verify(path)[0]


def test_an_index_that_fits_its_checksum_but_not_the_files(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    rewrite(path, rate_hz=2.0)
    assert "rate_hz is 1.0 here but 2.0 in the index" in verify(path)[0]
    rewrite(path, rate_hz=1.0, streams=(("tpn", 4), ("vggish", 8)))
    assert "its columns are tpn" in verify(path)[0]
    rewrite(path, streams=(("tpn", 8), ("vggish", 4)))
    assert verify(path) == []


def test_labels_outside_their_half(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    index = read_index(path)
    half = HalfId("l/s/e", 2)  # a challenge game
    late = Events(
        half=half,
        time_s=np.array([1.0, 36.0]),
        action=np.array([0, 17]),
        visible=np.array([True, True]),
    )
    content = labels_bytes([item.half for item in index.halves], {half: late})
    (path / "labels.arrow").write_bytes(content)
    rewrite(path, labels_sha256=hashlib.sha256(content).hexdigest())
    assert [problem.removeprefix("l/s/e, half 2: ") for problem in verify(path)] == [
        "has annotations, but its game is listed as not annotated",
        "an annotation at 36 s lies past the end of the half, 30 s",
        "an annotation's action is not among the actions",
    ]


@pytest.mark.parametrize(
    ("half", "time_s", "problem"),
    [
        ([0, 0], [-1.0, 3.0], "a time is negative or not finite"),
        ([0, 0], [3.0, np.nan], "a time is negative or not finite"),
        ([0, 0], [3.0, 2.0], "events must be in order of time"),
        ([9, 10], [3.0, 2.0], "they name a half that the index does not"),
        ([-1, 0], [3.0, 2.0], "they name a half that the index does not"),
        ([1, 0], [3.0, 2.0], "they are not in the order of halves"),
    ],
)
def test_labels_that_no_half_can_have(
    half: list[int], time_s: list[float], problem: str, tmp_path: Path
) -> None:
    path, _ = packed(tmp_path)
    columns = {
        "half": np.array(half, np.int32),
        "time_s": np.array(time_s),
        "action": np.array([0, 1]),
        "visible": np.array([True, True]),
    }
    table = pa.table(columns)
    with pa.ipc.new_file(str(path / "labels.arrow"), table.schema) as writer:
        writer.write_table(table)
    rewrite(path, labels_sha256=sha256_file(path / "labels.arrow"))
    (found,) = verify(path)
    assert found.startswith(f"{path / 'labels.arrow'}: not the labels that were packed")
    assert problem in found


def test_a_game_in_two_splits_and_splits_that_do_not_fit_the_halves(tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    splits = dict(EmbeddingStore.open(path).splits)
    rewrite(path, splits={**splits, "valid": ("l/s/a", "l/s/c")})
    assert "'l/s/a' is in split 'train' and in split 'valid'" in verify(path)[0]
    rewrite(path, splits={**splits, "valid": ("l/s/c", "l/s/x")})
    assert verify(path)[0] == "l/s/x: in a split, but not in the store"
    rewrite(path, splits={**splits, "valid": ()})
    assert verify(path) == [f"l/s/c, half {half}: in the store, but in no split" for half in (1, 2)]


def test_one_game_under_two_names_in_two_splits(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    for stream in ("tpn", "vggish"):
        save(games, "l/s/d", 2, stream, rows("l/s/a", 1, stream))  # test now holds a train half
        save(games, "l/s/b", 1, stream, rows("l/s/a", 2, stream))  # within train it leaks nothing
    pack(games, tmp_path / "store")
    problems = verify(tmp_path / "store")
    assert len(problems) == 1
    assert "l/s/a, half 1 (train) and l/s/d, half 2 (test) are byte for byte" in problems[0]


def test_halves_without_content_are_not_one_game_under_two_names(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    for game in ("l/s/a", "l/s/d"):
        for stream, width in WIDTHS.items():
            save(games, game, 1, stream, np.zeros((NUM_ROWS, width), np.float16))
    pack(games, tmp_path / "store")
    assert verify(tmp_path / "store") == []


def test_the_command_says_sound_or_lists_problems_and_exits_with_2(tmp_path: Path) -> None:
    games, path = str(tree(tmp_path / "games")), tmp_path / "store"
    app, run = build(), CliRunner().invoke
    done = run(app, ["pack", games, str(path), "--json"])
    assert json.loads(done.stdout)["num_packed"] == 10
    again = run(app, ["pack", games, str(path)])
    assert "is complete; nothing has changed" in again.stderr
    assert "10 halves" in again.stdout
    assert json.loads(run(app, ["verify", str(path), "--json"]).stdout)["sound"] is True
    (path / "labels.arrow").unlink()
    found = run(app, ["verify", str(path)])
    assert found.exit_code == 2
    assert "labels.arrow: missing" in found.stdout
    assert "1 problem" in found.stderr
    refused = run(app, ["pack", games, str(path), "--only-splits", "train, tset"])
    assert isinstance(refused.exception, InputError)
    assert "no split 'tset'; it has train, valid, test, challenge" in str(refused.exception)


def test_the_report_lists_what_was_not_as_it_should_be(tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    save(games, "l/s/a", 1, "tpn", rows("l/s/a", 1, "tpn")[:27])
    (games / "l/s/a/2_vggish.npy").unlink()
    save_labels(games, "l/s/c", [label(1, 31.5, "Foul")])
    command = ["pack", str(games), str(tmp_path / "store"), "--only-splits", "train,valid"]
    shown = CliRunner().invoke(build(), command).stdout
    for what, where, details in [
        ("last row repeated", "l/s/a, half 1", "tpn, 3 rows"),
        ("stream missing", "l/s/a, half 2", "vggish"),
        ("label past the end, kept", "l/s/c, half 1", "Foul at 31.5 s of 30 s"),
        ("game left out, in no packed split", "l/s/d", ""),
    ]:
        (row,) = [line for line in shown.splitlines() if what in line and where in line]
        assert details in row
