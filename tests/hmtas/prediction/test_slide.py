"""Prediction scores every second, as the windows of the training would, and says what it knows."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.model.checkpoint import load_model
from hmtas.model.windows import window_rows
from hmtas.prediction.slide import Predictor, predict_run, predicted
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RECORD, predictions_path, read_run
from hmtas.store.halves import Half
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.paths import ROOT
from tests.support.small import make_config


@pytest.fixture(scope="module")
def run(store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    fit(store, make_config(max_epochs=1, seq_len=4), out, name="run")
    return out


def first_half(store: EmbeddingStore) -> Half:
    return store.open_half(store.halves_of(store.games("valid"))[0])


def test_sharing_rows_changes_nothing(store: EmbeddingStore, run: Path) -> None:
    model, half = load_model(run), first_half(store)
    index = window_rows(half.num_rows, 4)
    x = {k: torch.from_numpy(v.astype(np.float32)[index]) for k, v in half.streams.items()}
    with torch.no_grad():
        naive = model(x).fused_BC
    shared = Predictor(model, store.streams, read_run(run).config).logits(half).fused_BC
    torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)


def test_a_half_without_a_stream_is_predicted(store: EmbeddingStore, run: Path) -> None:
    model, half = load_model(run), first_half(store)
    deaf = half._replace(streams={"vtn": half.streams["vtn"]})
    predictor = Predictor(model, store.streams, read_run(run).config)
    values = predictor.predict(deaf).values
    assert np.isfinite(values).all()
    assert not np.allclose(values, predictor.predict(half).values)


def test_every_second_of_the_split_is_stored_with_its_provenance(
    store: EmbeddingStore, run: Path, tmp_path: Path
) -> None:
    stored = read_probabilities(predict_run(run, store, "test"))
    assert list(stored.halves) == store.halves_of(store.games("test"))
    for half, found in stored.halves.items():
        assert found.values.shape == (store.halves[half].num_rows, 17)
    assert stored.provenance.fitted_games == store.games("train")
    assert stored.provenance.stopped_games == store.games("valid")
    assert stored.provenance.store_checksum == store.checksum
    assert stored.provenance.seq_len == 4


def test_what_is_predicted_is_found_again(store: EmbeddingStore, run: Path) -> None:
    assert predicted(run, store, "train") is None
    path = predict_run(run, store, "train")
    assert predicted(run, store, "train") == path


def test_a_prediction_says_its_precision(store: EmbeddingStore, run: Path) -> None:
    fp32 = read_probabilities(predict_run(run, store, "valid"))
    rounded = read_probabilities(predict_run(run, store, "valid", precision="bf16"))
    assert (fp32.provenance.precision, rounded.provenance.precision) == ("fp32", "bf16")
    assert predicted(run, store, "valid") is None
    assert predicted(run, store, "valid", "bf16") is not None
    half = store.halves_of(store.games("valid"))[0]
    difference = np.abs(fp32.halves[half].values - rounded.halves[half].values)
    assert 0 < difference.max() < 0.02


@pytest.mark.skipif(platform.machine() != "x86_64", reason="limits oneDNN's x86 instructions")
def test_a_processor_without_bf16_predicts_in_bf16_and_says_so(
    store: EmbeddingStore, run: Path
) -> None:
    fp32 = read_probabilities(predict_run(run, store, "test"))
    words = ["predict", str(run), "--split", "test", "--device", "cpu", "--precision", "bf16"]
    done = subprocess.run(
        [sys.executable, "-m", "hmtas", *words],
        cwd=ROOT,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},  # oneDNN has no bfloat16 there
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "note: this device has no fast bf16 products" in done.stderr
    rounded = read_probabilities(predictions_path(run, "test"))
    assert rounded.provenance.precision == "bf16"
    for half, found in rounded.halves.items():
        difference = np.abs(fp32.halves[half].values - found.values)
        assert 0 < difference.max() < 0.02


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("streams", {"vtn": 4, "audio2": 2}, "stream 'audio2' is not in the store"),
        ("streams", {"vtn": 5}, "stream 'vtn' is 5 wide, 4 in the store"),
        ("actions", ["Goal"], r"the actions differ \("),
        ("rate_hz", 2.0, "it expects 2.0 rows per second, not 1.0"),
    ],
)
def test_a_model_for_another_store(
    key: str, value: object, message: str, *, store: EmbeddingStore, run: Path, tmp_path: Path
) -> None:
    write_json(tmp_path / RECORD, {**read_json(run / RECORD), key: value})
    with pytest.raises(InputError, match=message):
        predict_run(tmp_path, store, "valid")


def test_an_unknown_split(store: EmbeddingStore, run: Path) -> None:
    with pytest.raises(InputError, match="'tset'"):
        predict_run(run, store, "tset")
