"""Defends: what is read is what was written, bit for bit, or one line that says why not."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hmtas.errors import InputError
from hmtas.records import HalfId, Probabilities
from hmtas.runs.probabilities import (
    Provenance,
    read_probabilities,
    write_probabilities,
)

ACTIONS = ("Goal", "Foul", "Corner")


def provenance(**changes: object) -> Provenance:
    values: dict[str, object] = {
        "run": "m7",
        "split": "valid",
        "store": "/data/store",
        "store_checksum": "ab" * 32,
        "actions": ACTIONS,
        "rate_hz": 1.0,
        "seq_len": 4,
        "fitted_games": ("a/b/Éire 1 - 0 x",),
        "stopped_games": ("g9",),
        "created": "2024-01-01T00:00:00+00:00",
    }
    return Provenance.model_validate(values | changes)


def some(game: str, half: int, rows: int, seed: int = 0) -> Probabilities:
    values = np.random.default_rng([seed, half, rows]).random((rows, 3), dtype=np.float32)
    return Probabilities(half=HalfId(game, half), values=values)


def test_round_trip_is_exact_and_keeps_the_order(tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "valid.arrow"
    written = [some("z", 1, 7), some("z", 2, 0), some("a", 1, 12)]
    write_probabilities(path, iter(written), provenance())
    stored = read_probabilities(path)
    assert stored.provenance == provenance()
    assert stored.games == ("z", "a")
    assert list(stored.halves) == [item.half for item in written]
    for item in written:
        np.testing.assert_array_equal(stored.halves[item.half].values, item.values)
        assert stored.halves[item.half].rate_hz == 1.0


def test_a_column_sliced_or_transposed_array_is_written_by_its_values(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    strided = Probabilities(half=HalfId("g", 1), values=rows[:, ::2])
    write_probabilities(tmp_path / "p.arrow", [strided], provenance())
    back = read_probabilities(tmp_path / "p.arrow").halves[HalfId("g", 1)].values
    np.testing.assert_array_equal(back, rows[:, ::2])


def test_values_are_read_only_views_and_outlive_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "p.arrow"
    write_probabilities(path, [some("g", 1, 9)], provenance())
    before = pa.total_allocated_bytes()
    values = read_probabilities(path).halves[HalfId("g", 1)].values
    assert pa.total_allocated_bytes() == before
    path.unlink()
    assert values.sum() == some("g", 1, 9).values.sum()
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 0.5


def test_a_changed_value_or_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.arrow"
    write_probabilities(path, [some("game-one", 1, 50)], provenance())
    sound = path.read_bytes()
    value = some("game-one", 1, 50).values[20].tobytes()
    for old in (value, b"game-one", b"Corner"):
        changed = bytes([old[0] ^ 1]) + old[1:]
        path.write_bytes(sound.replace(old, changed))
        with pytest.raises(InputError, match=r"not a sound file.*checksum"):
            read_probabilities(path)


def test_no_flipped_byte_gives_other_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "p.arrow"
    write_probabilities(path, [some("g", 1, 20), some("g", 2, 20)], provenance())
    sound = path.read_bytes()
    expected = read_probabilities(path)
    rng = np.random.default_rng(1)
    for position in rng.choice(len(sound), 300, replace=False):
        flipped = bytearray(sound)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            got = read_probabilities(path)
        except InputError:
            continue
        assert got.provenance == expected.provenance  # padding between buffers carries nothing
        for half, item in expected.halves.items():
            np.testing.assert_array_equal(got.halves[half].values, item.values)


@pytest.mark.parametrize("size", [0, 10, 500, -20])
def test_a_file_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "p.arrow"
    write_probabilities(path, [some("g", 1, 50)], provenance())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="cut short"):
        read_probabilities(path)


def test_other_files_and_versions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_probabilities(tmp_path / "missing.arrow")
    other = tmp_path / "other.arrow"
    table = pa.table({"x": [1]})
    with pa.ipc.new_file(str(other), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="not a sound file"):
        read_probabilities(other)
    newer = table.replace_schema_metadata({"hmtas.probabilities": json.dumps({"version": 99})})
    with pa.ipc.new_file(str(other), newer.schema) as writer:
        writer.write_table(newer)
    with pytest.raises(InputError, match="version 99, this program reads 1"):
        read_probabilities(other)


def test_halves_that_do_not_fit_are_our_mistake_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.arrow"
    with pytest.raises(ValueError, match="given twice"):
        write_probabilities(path, [some("g", 1, 5), some("g", 1, 5)], provenance())
    with pytest.raises(ValueError, match=re.escape("3 columns at 1.0 Hz do not fit 2 actions")):
        write_probabilities(path, [some("g", 1, 5)], provenance(actions=("Goal", "Foul")))
    with pytest.raises(ValueError, match=re.escape("do not fit 3 actions at 2.0 Hz")):
        write_probabilities(path, [some("g", 1, 5)], provenance(rate_hz=2.0))
    assert list(tmp_path.iterdir()) == []


def test_provenance_is_frozen_and_knows_its_fields() -> None:
    with pytest.raises(ValueError, match="frozen"):
        provenance().run = "other"
    with pytest.raises(ValueError, match="Extra inputs"):
        provenance(surprise=1)


def test_a_hundred_games_are_read_in_well_under_a_second(tmp_path: Path) -> None:
    actions = tuple("abcdefghijklmnopq")
    values = np.random.default_rng(0).random((2700, 17), dtype=np.float32)
    path = tmp_path / "p.arrow"
    write_probabilities(
        path,
        (Probabilities(half=HalfId(f"g{i // 2}", i % 2 + 1), values=values) for i in range(200)),
        provenance(actions=actions),
    )
    started = time.perf_counter()
    assert len(read_probabilities(path).halves) == 200
    assert time.perf_counter() - started < 1.0
