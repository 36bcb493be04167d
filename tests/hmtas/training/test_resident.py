"""Rows that stay on the device make the batches that rows read in blocks make."""

import numpy as np
import pytest
import torch

from hmtas.store.local import EmbeddingStore
from hmtas.training import dataset
from hmtas.training.batches import Batch
from hmtas.training.dataset import SampleDataset, resident_bytes, resident_device
from hmtas.training.labels import WindowLabels
from tests.support.small import STREAMS, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("resident"), valid=0, test=0)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(first.x[name], second.x[name]) for name in first.x) and torch.equal(
        first.target_BC, second.target_BC
    )


@pytest.mark.parametrize("block_bytes", [3000, 10**9])
@pytest.mark.parametrize("chunk_windows", [0, 8])
def test_the_batches_are_those_of_blocks(
    chunk_windows: int, block_bytes: int, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", block_bytes)
    halves = store.halves_of(store.games("train"))
    settings = {"streams": tuple(STREAMS), "labels": WindowLabels(3, chunk_windows)}
    blocks = SampleDataset(store, halves, **settings)  # type: ignore[arg-type]
    resident = SampleDataset(store, halves, device="cpu", **settings)  # type: ignore[arg-type]
    for share in (1.0, 0.3):
        pairs = [
            list(data.batches(32, np.random.default_rng(5), share)) for data in (blocks, resident)
        ]
        assert len(pairs[0]) == len(pairs[1]) > 3
        assert all(same(*pair) for pair in zip(*pairs, strict=True))


def test_a_processor_reads_blocks_and_the_memory_is_counted(store: EmbeddingStore) -> None:
    halves = store.halves_of(store.games("train"))
    assert (
        resident_device(store, halves, tuple(STREAMS), WindowLabels(3), torch.device("cpu")) is None
    )
    rows = SampleDataset(
        store, halves, streams=tuple(STREAMS), labels=WindowLabels(3), device="cpu"
    ).rows
    assert rows is not None
    tensors = (*rows.streams.values(), rows.target_RC)
    assert resident_bytes(store, halves, tuple(STREAMS), WindowLabels(3)) == sum(
        t.nbytes for t in tensors
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_with_room_keeps_the_rows(store: EmbeddingStore) -> None:
    halves = store.halves_of(store.games("train"))
    labels = WindowLabels(3)
    device = resident_device(store, halves, tuple(STREAMS), labels, torch.device("cuda"))
    assert device is not None
    data = SampleDataset(
        store, halves, streams=tuple(STREAMS), labels=WindowLabels(3), device=device
    )
    batch = next(data.batches(32, np.random.default_rng(5)))
    blocks = SampleDataset(store, halves, streams=tuple(STREAMS), labels=labels)
    expected = next(blocks.batches(32, np.random.default_rng(5)))
    assert batch.target_BC.device.type == "cuda"
    assert same(batch.to("cpu"), expected.to("cpu"))
