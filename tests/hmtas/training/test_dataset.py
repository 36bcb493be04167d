"""Training sees every window once an epoch, with its own targets, whatever the blocks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hmtas.store.local import EmbeddingStore
from hmtas.training import dataset
from hmtas.training.batches import Batch, mix_up
from hmtas.training.dataset import SampleDataset
from hmtas.training.labels import WindowLabels
from tests.support.small import make_counting_store, make_store

NUM_ROWS = (7, 5, 9, 6)  # of the halves of two games
NUM_WINDOWS = sum(NUM_ROWS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_counting_store(tmp_path_factory.mktemp("dataset"), NUM_ROWS, goals_s=(3,))


def make_dataset(store: EmbeddingStore, seq_len: int = 3) -> SampleDataset:
    halves = store.halves_of(store.games("train"))
    return SampleDataset(store, halves, streams=("row", "audio"), labels=WindowLabels(seq_len))


def centres(batches: list[Batch]) -> list[float]:
    return [float(row) for batch in batches for row in batch.x["row"][:, 1, 0]]


@pytest.mark.parametrize("block_bytes", [1, 40, 10**9])
def test_an_epoch_has_every_window_once_in_full_batches(
    block_bytes: int, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", block_bytes)
    batches = list(make_dataset(store).batches(4, np.random.default_rng(0)))
    expected = [100.0 * i + t for i, n in enumerate(NUM_ROWS) for t in range(n)]
    assert sorted(centres(batches)) == expected
    assert [len(batch.target_BC) for batch in batches] == [4, 4, 4, 4, 4, 4, 3]


def test_a_window_has_its_neighbours_and_its_target(store: EmbeddingStore) -> None:
    for batch in make_dataset(store).batches(4, np.random.default_rng(0)):
        for window, target in zip(batch.x["row"][:, :, 0], batch.target_BC, strict=True):
            half, t = divmod(int(window[1]), 100)
            last = NUM_ROWS[half] - 1
            near = [max(t - 1, 0), t, min(t + 1, last)]
            assert window.tolist() == [100.0 * half + row for row in near]
            # The event lies in second 3: windows of seconds 2 to 4 hold it.
            assert target.tolist() == ([0.0, 1.0] if 2 <= t <= 4 else [1.0, 0.0])


@pytest.mark.parametrize("block_bytes", [1, 10**9])
def test_a_missing_stream_is_marked_and_zero_in_its_windows_only(
    block_bytes: int, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", block_bytes)
    for batch in make_dataset(store).batches(NUM_WINDOWS, np.random.default_rng(0)):
        assert batch.present_BE is not None
        odd = (batch.x["row"][:, 1, 0] // 100) % 2 == 1
        assert torch.equal(batch.present_BE[:, 1], ~odd)
        assert batch.present_BE[:, 0].all()
        # One block after the other uses the same memory, which must not show.
        assert torch.equal(batch.x["audio"][:, 1, 0] == 1, ~odd)
        assert torch.equal(batch.x["audio"][:, 1, 0] == 0, odd)


def test_another_seed_is_another_order_and_the_same_seed_the_same(
    store: EmbeddingStore,
) -> None:
    data = make_dataset(store)
    runs = [centres(list(data.batches(4, np.random.default_rng(seed)))) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_share_of_the_windows_changes_from_epoch_to_epoch(store: EmbeddingStore) -> None:
    data = make_dataset(store)
    rng = np.random.default_rng(0)
    first, second = (set(centres(list(data.batches(4, rng, 0.5)))) for _ in range(2))
    assert 12 <= len(first) <= 15
    assert first != second


def test_mix_up_blends_windows_and_targets_alike() -> None:
    x = torch.arange(4.0).view(4, 1, 1)
    batch = Batch({"row": x}, None, torch.arange(4.0).view(4, 1))
    mixed = mix_up(batch, 1.0, np.random.default_rng(3))
    torch.testing.assert_close(mixed.x["row"][:, 0], mixed.target_BC)
    assert not torch.equal(mixed.target_BC, batch.target_BC)


def test_windows_of_a_real_store_are_its_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path, train=1, valid=0, test=0)
    half = store.halves_of(store.games("train"))[0]
    data = SampleDataset(store, [half], streams=("vtn",), labels=WindowLabels(1))
    batch = next(data.batches(10**6, np.random.default_rng(0)))
    ours = np.sort(batch.x["vtn"][:, 0].numpy(), axis=0)
    np.testing.assert_array_equal(ours, np.sort(store.open_half(half).streams["vtn"], axis=0))
    assert len(data) == store.halves[half].num_rows
