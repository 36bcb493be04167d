"""Batches of windows or chunks, cut on the fly from the memory-mapped store.

Nothing is written per window. Halves are read in random order, a block of them at a time, and
the samples of a block are shuffled: the disk is read in long runs, memory holds one block. A
season whose rows all fit on a GPU stays there, and nothing crosses to it in an epoch but which
samples are in a batch; the batches are the same, bit for bit and in the same order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.training.batches import Batch, join_batches, move
from hmtas.training.chunks import SampleLayout
from hmtas.training.rows import Buffers, Rows, read_rows

BLOCK_BYTES = 256 * 2**20
FREE_SHARE = 0.8  # of a GPU's free memory, for rows; the rest is for gradients and activations


class WindowDataset:
    """Every window of some halves, alone or in chunks, in a new random order each epoch.

    All rows stay on `device`, read there once; None reads blocks of them in every epoch.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        halves: Sequence[HalfId],
        *,
        streams: Sequence[str],
        seq_len: int,
        chunk_windows: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        self.store = store
        self.halves = tuple(halves)
        self.streams = tuple(streams)
        self.cut = SampleLayout(seq_len, chunk_windows)
        self.rows: Rows | None = None
        if device is not None:
            self.rows, bases = self._read(self.halves, device=device)
            self._base = dict(zip(self.halves, bases, strict=True))

    def __len__(self) -> int:
        return sum(self._num_rows(self.halves))

    def batches(
        self, batch_size: int, rng: np.random.Generator, share: float = 1.0
    ) -> Iterator[Batch]:
        """One epoch. The last batch of a block joins the next block, so all but the last are full.

        The windows of a batch are a multiple of those of a chunk. The share of the samples is drawn
        anew for each epoch.
        """
        num_samples = batch_size // self.cut.num_windows
        memory: Buffers = {}  # of this epoch alone: two may be under way
        left: list[Batch] = []
        held = 0
        for halves in self._blocks(rng):
            rows, bases = self._open(halves, memory)
            spans, present = self._samples(halves, bases, rng)
            chosen = rng.permutation(len(spans))
            if share < 1:
                chosen = chosen[: max(1, round(share * len(chosen)))]
            on_device = move(torch.from_numpy(spans[chosen]), rows.target_RC.device)
            ends = [*range(num_samples - held, len(chosen), num_samples), len(chosen)]
            for start, end in zip([0, *ends], ends, strict=False):
                left.append(rows.cut(self.cut, on_device[start:end], present[chosen[start:end]]))
                held += end - start
                if held == num_samples:
                    yield join_batches(left)
                    left, held = [], 0
        if left:
            yield join_batches(left)

    def _open(self, halves: Sequence[HalfId], memory: Buffers) -> tuple[Rows, Sequence[int]]:
        """The rows of a block, and where each of its halves begins among them."""
        if self.rows is None:
            return self._read(halves, memory=memory)
        return self.rows, [self._base[half] for half in halves]

    def _read(self, halves: Sequence[HalfId], **where: Any) -> tuple[Rows, list[int]]:
        return read_rows(
            self.store, halves, streams=self.streams, seq_len=self.cut.seq_len, **where
        )

    def _blocks(self, rng: np.random.Generator) -> Iterator[list[HalfId]]:
        row_bytes = 2 * sum(self.store.streams[name] for name in self.streams)
        halves: list[HalfId] = []
        num_bytes = 0
        for i in rng.permutation(len(self.halves)):
            half = self.halves[i]
            halves.append(half)
            num_bytes += row_bytes * self.store.halves[half].num_rows
            if num_bytes >= BLOCK_BYTES:
                yield halves
                halves, num_bytes = [], 0
        if halves:
            yield halves

    def _samples(
        self, halves: Sequence[HalfId], bases: Sequence[int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spans (K, 3) and streams (K, E) of all samples of a block."""
        spans = [
            self.cut.spans(self.cut.starts(num_rows, rng), base, num_rows)
            for num_rows, base in zip(self._num_rows(halves), bases, strict=True)
        ]
        present = [
            [name in self.store.halves[half].streams for name in self.streams] for half in halves
        ]
        counts = [len(part) for part in spans]
        return np.concatenate(spans), np.repeat(np.array(present), counts, axis=0)

    def _num_rows(self, halves: Sequence[HalfId]) -> list[int]:
        return [self.store.halves[half].num_rows for half in halves]


def resident_bytes(store: EmbeddingStore, halves: Sequence[HalfId], streams: Sequence[str]) -> int:
    """Memory that the rows of some halves take on a device, targets included."""
    row_bytes = 2 * sum(store.streams[name] for name in streams) + len(store.actions) + 1
    return row_bytes * sum(store.halves[half].num_rows for half in halves)


def resident_device(
    store: EmbeddingStore, halves: Sequence[HalfId], streams: Sequence[str], device: torch.device
) -> torch.device | None:
    """The device, if it is a GPU with room for all rows; None where blocks are read."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return device if resident_bytes(store, halves, streams) <= FREE_SHARE * free else None
