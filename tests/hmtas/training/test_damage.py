"""A row that a damaged disk made infinite is blamed on the store, not on the learning rate."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hmtas.errors import DivergedError, InputError
from hmtas.prediction.slide import predict_run
from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.store.verify import verify
from hmtas.training.linear import run_baseline
from hmtas.training.loop import fit
from tests.support.small import make_config, make_store

ROW = 17


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("sound")).path


def damage(store: Path, half: HalfId, value: float) -> None:
    """Overwrite a number of row `ROW` of stream vtn, as a failing disk may."""
    opened = EmbeddingStore.open(store)
    file = store / opened.halves[half].file
    row = opened.open_half(half).streams["vtn"][ROW].copy()
    before = row.tobytes()
    row[2] = value
    content = file.read_bytes()
    assert content.count(before) == 1
    file.write_bytes(content.replace(before, row.tobytes()))


def half_of(store: Path, split: str) -> HalfId:
    return HalfId(EmbeddingStore.open(store).games(split)[0], 2)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_row_that_is_not_finite_is_named_and_verify_finds_its_file(
    sound: Path, tmp_path: Path, split: str, value: float
) -> None:
    path = shutil.copytree(sound, tmp_path / "store")
    half = half_of(path, split)
    damage(path, half, value)
    said = re.escape(f"{half}: row {ROW} of stream 'vtn' is not finite, as no packed row is")
    store = EmbeddingStore.open(path)
    with pytest.raises(InputError, match=said + ".* run `hmtas verify`"):
        fit(store, make_config(), tmp_path / "run", name="run")
    with pytest.raises(InputError, match=said):
        run_baseline(store, tmp_path / "linear", ["valid"])
    assert not (tmp_path / "linear").exists()
    (problem,) = verify(path)
    assert f"{EmbeddingStore.open(path).halves[half].file}: its checksum does not match" in problem


def test_predicting_a_damaged_half_names_it(sound: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(EmbeddingStore.open(sound), make_config(max_epochs=1), run, name="run")
    path = shutil.copytree(sound, tmp_path / "store")
    damage(path, half_of(path, "test"), np.inf)
    with pytest.raises(InputError, match=f"row {ROW} of stream 'vtn' is not finite"):
        predict_run(run, EmbeddingStore.open(path), "test")
    assert not list(run.glob("predictions/*.arrow"))


def test_where_the_rows_are_sound_the_learning_rate_is_asked_about(
    sound: Path, tmp_path: Path
) -> None:
    with pytest.raises(DivergedError, match=r"is learning_rate 1e\+30 too high\?"):
        fit(
            EmbeddingStore.open(sound),
            make_config(learning_rate=1e30),
            tmp_path / "run",
            name="run",
        )
