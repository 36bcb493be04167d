"""Chunks hold every window of an epoch, each with the rows and the target it has alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hmtas.errors import InputError
from hmtas.model.network import unfold_windows
from hmtas.model.windows import window_rows
from hmtas.runs.record import WEIGHTS
from hmtas.store.local import EmbeddingStore
from hmtas.training import dataset
from hmtas.training.batches import Batch, mix_up
from hmtas.training.chunks import SampleLayout
from hmtas.training.dataset import SampleDataset
from hmtas.training.labels import WindowLabels
from hmtas.training.loop import fit
from tests.support.small import make_config, make_counting_store, make_store

NUM_ROWS = (23, 9, 3, 16)  # of the halves of two games; the third is shorter than a chunk


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_counting_store(tmp_path_factory.mktemp("chunks"), NUM_ROWS, goals_s=(0, 2))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("small"))


def open_data(store: EmbeddingStore, seq_len: int = 3, chunk_windows: int = 4) -> SampleDataset:
    return SampleDataset(
        store,
        store.halves_of(store.games("train")),
        streams=("row", "audio"),
        labels=WindowLabels(seq_len, chunk_windows),
    )


def windows_of(batches: list[Batch], seq_len: int) -> list[tuple[object, ...]]:
    """Rows, target and presence of every window of some batches."""
    found = []
    for batch in batches:
        rows = unfold_windows(batch.x["row"], seq_len)[:, :, 0].tolist()
        presence = batch.present_by_window
        streams = (
            torch.ones(len(rows), 2, dtype=torch.bool) if presence is None else presence
        ).tolist()
        targets = batch.target_BC.tolist()
        found += [
            (tuple(r), tuple(t), tuple(p)) for r, t, p in zip(rows, targets, streams, strict=True)
        ]
    return found


@pytest.mark.parametrize("block_bytes", [1, 60, 10**9])
@pytest.mark.parametrize("seq_len", [1, 3, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_epoch_of_chunks_has_the_windows_of_an_epoch_of_windows(
    seed: int,
    seq_len: int,
    block_bytes: int,
    store: EmbeddingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(seed)
    alone = windows_of(list(open_data(store, seq_len, 0).batches(8, rng)), seq_len)
    chunks = list(open_data(store, seq_len).batches(8, rng))
    found = Counter(windows_of(chunks, seq_len))
    assert len(set(alone)) == len(alone) == sum(NUM_ROWS)
    of_long = {window for window in alone if window[0][0] // 100 != 2}  # type: ignore[index]
    assert {window for window in found if window[0][0] // 100 != 2} == of_long  # type: ignore[index]
    assert set(alone) <= set(found)
    assert max(found[window] for window in of_long) <= 2
    assert all(batch.num_samples == 2 for batch in chunks[:-1])
    assert all(batch.x["row"].shape[1] == 3 + seq_len for batch in chunks)


def test_a_half_shorter_than_a_chunk_repeats_its_last_window_and_target(
    store: EmbeddingStore,
) -> None:
    half = store.halves_of(store.games("train"))[2]
    data = SampleDataset(store, [half], streams=("row",), labels=WindowLabels(3, 8))
    (batch,) = data.batches(8, np.random.default_rng(0))
    assert batch.x["row"][0, :, 0].tolist() == [200, 200, 201, *[202] * 7]
    assert batch.target_BC.tolist() == [[0.0, 1.0]] * 8  # goals in seconds 0 and 2


def test_chunks_begin_anywhere_and_windows_near_the_ends_are_not_rarer() -> None:
    cut = SampleLayout(seq_len=3, chunk_windows=8)
    rng = np.random.default_rng(0)
    epochs = [cut.starts(100, rng) for _ in range(400)]
    counts = np.zeros(100)
    for starts in epochs:
        for start in starts:
            counts[start : start + 8] += 1
    assert counts.min() == len(epochs) == counts[8:-8].min()
    assert {int(start) for starts in epochs for start in starts} == set(range(93))


@pytest.mark.parametrize("num_rows", [1, 5, 6, 7, 20, 23, 24])
@pytest.mark.parametrize("chunk_windows", [0, 1, 6])
def test_an_epoch_has_as_many_samples_as_cover_the_halves(
    num_rows: int, chunk_windows: int
) -> None:
    layout, rng = SampleLayout(3, chunk_windows), np.random.default_rng(0)
    counts = [len(layout.starts(num_rows, rng)) for _ in range(2000)]
    assert np.mean(counts) == pytest.approx(layout.num_samples(num_rows), abs=0.05)


def test_an_epoch_of_a_training_is_one_pass(small: EmbeddingStore, tmp_path: Path) -> None:
    chunk, per_batch = 16, 2
    config = make_config(seq_len=3, chunk_windows=chunk, batch_size=chunk * per_batch, max_epochs=1)
    seen = fit(small, config, tmp_path, name="run").history[0].windows // chunk
    layout, rng = SampleLayout(3, chunk), np.random.default_rng(0)
    halves = [small.halves[half].num_rows for half in small.halves_of(small.games("train"))]
    passes = [sum(len(layout.starts(rows, rng)) for rows in halves) for _ in range(200)]
    assert np.mean(passes) - per_batch < seen <= np.mean(passes) + 0.5


def test_rows_past_an_end_repeat_as_in_single_windows() -> None:
    cut = SampleLayout(seq_len=4, chunk_windows=5)
    starts = cut.starts(11, np.random.default_rng(3))
    first, low, high = (cut.spans(starts, 50, 11)[:, [i]] for i in range(3))
    rows = np.clip(first + np.arange(-2, cut.num_rows - 2), low, high)
    alone = window_rows(11, 4)
    for start, chunk in zip(starts, rows, strict=True):
        for i in range(5):
            assert (chunk[i : i + 4] == 50 + alone[start + i]).all()


def test_the_same_seed_gives_the_same_chunks_and_another_seed_others(
    store: EmbeddingStore,
) -> None:
    data = open_data(store)
    runs = [
        [b.x["row"][:, :, 0].tolist() for b in data.batches(8, np.random.default_rng(seed))]
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_share_of_the_chunks(store: EmbeddingStore) -> None:
    data, rng = open_data(store), np.random.default_rng(0)
    whole = sum(batch.num_samples for batch in data.batches(8, rng))
    half = sum(batch.num_samples for batch in data.batches(8, rng, 0.5))
    assert whole / 2 - 2 <= half <= whole / 2 + 2


def test_a_batch_that_holds_no_whole_chunks() -> None:
    message = r"batch_size \(64\) must be a multiple of chunk_windows \(48\)"
    with pytest.raises(InputError, match=message):
        make_config(chunk_windows=48)


def test_mix_up_blends_whole_chunks_and_their_targets_alike() -> None:
    x = torch.arange(12.0).view(3, 4, 1)  # three chunks of two windows of three rows
    targets = unfold_windows(x, 3)[:, 1]  # the target of a window is its centre
    mixed = mix_up(Batch({"row": x}, None, targets), 1.0, np.random.default_rng(1))
    torch.testing.assert_close(unfold_windows(mixed.x["row"], 3)[:, 1], mixed.target_BC)
    assert not torch.equal(mixed.target_BC, targets)


def test_training_with_chunks_learns(small: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config(max_epochs=3, learning_rate=5e-3, chunk_windows=16)
    losses = [e.val_loss for e in fit(small, config, tmp_path, name="run").history]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0]


def test_a_killed_training_with_chunks_goes_on_bit_for_bit(
    small: EmbeddingStore, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    config = make_config(chunk_windows=8, mixup_alpha=0.2)
    fit(small, config, tmp_path / "whole", name="run")
    with pytest.raises(KilledError):
        fit(small, config, tmp_path / "killed", name="run", report=kill)
    fit(small, config, tmp_path / "killed", name="run")
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_streams_that_are_missing_are_missing_in_their_chunks(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    config = make_config(
        max_epochs=2, batch_size=16, chunk_windows=8, protocol="p2", learning_rate=1e-2
    )
    record = fit(store, config, tmp_path, name="run")
    assert record.history[1].train_loss < record.history[0].train_loss
