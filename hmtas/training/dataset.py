"""Batches of samples (windows, chunks, contexts), cut on the fly from the memory-mapped store.

Nothing is written per sample. Halves are read in random order, a block of them at a time, and
the samples of a block are shuffled: the disk is read in long runs, memory holds one block. A
season whose rows all fit on a GPU stays there, and nothing crosses to it in an epoch but which
samples are in a batch; the batches are the same, bit for bit and in the same order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from hmtas.records import Events, HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.training.batches import Batch, join_batches, move
from hmtas.training.labels import Labels
from hmtas.training.rows import Buffers, Rows, read_rows

BLOCK_BYTES = 256 * 2**20
FREE_SHARE = 0.8  # of a GPU's free memory, for rows; the rest is for gradients and activations


class SampleDataset:
    """Every sample of some halves, in a new random order each epoch.

    All rows stay on `device`, read there once; None reads blocks of them in every epoch.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        halves: Sequence[HalfId],
        *,
        streams: Sequence[str],
        labels: Labels,
        device: torch.device | str | None = None,
    ) -> None:
        self.store = store
        self.halves = tuple(halves)
        self.streams = tuple(streams)
        self.labels, self.cut = labels, labels.layout
        self.rows: Rows | None = None
        if device is not None:
            self.rows, bases = self._read(self.halves, device=device)
            self._base = dict(zip(self.halves, bases, strict=True))

    def __len__(self) -> int:
        return sum(self._num_rows(self.halves))

    def batches(
        self,
        batch_size: int,
        rng: np.random.Generator,
        share: float = 1.0,
        *,
        balanced: bool = False,
    ) -> Iterator[Batch]:
        """One epoch. The last batch of a block joins the next block, so all but the last are full.

        Args:
            batch_size: As `hmtas.config.TrainConfig.batch_size`.
            rng: Draws everything random of the epoch.
            share: Of the samples that the epoch has, drawn anew for each.
            balanced: Give every sample a partner from its block with an event of an action that
                was drawn uniformly, so that rare actions are met as often as common ones.
        """
        num_samples = self.labels.num_samples(batch_size)
        memory: Buffers = {}  # of this epoch alone: two may be under way
        left: list[Batch] = []
        held = 0
        for halves in self._blocks(rng):
            rows, bases = self._open(halves, memory)
            spans, present = self._samples(halves, bases, rng)
            chosen = rng.permutation(len(spans))
            if share < 1:
                chosen = chosen[: max(1, round(share * len(chosen)))]
            spans, present = spans[chosen], present[chosen]
            on_device = move(torch.from_numpy(spans), rows.target_RC.device)
            if balanced:
                partners, theirs = self._partners(halves, bases, spans, present, rng)
                partners_on_device = move(torch.from_numpy(partners), rows.target_RC.device)
            ends = [*range(num_samples - held, len(chosen), num_samples), len(chosen)]
            for start, end in zip([0, *ends], ends, strict=False):
                batch = rows.cut(self.cut, on_device[start:end], present[start:end])
                if balanced:
                    partner = rows.cut(self.cut, partners_on_device[start:end], theirs[start:end])
                    batch = batch._replace(partner=partner)
                left.append(batch)
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
        return read_rows(self.store, halves, streams=self.streams, labels=self.labels, **where)

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
        counts = [len(part) for part in spans]
        return np.concatenate(spans), np.repeat(self._present(halves), counts, axis=0)

    def _partners(
        self,
        halves: Sequence[HalfId],
        bases: Sequence[int],
        spans: np.ndarray,
        present: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As many samples that label an event each, its action drawn uniformly of those there are.

        A block without events has none: there each sample is its own partner.
        """
        events = [self.store.events(half) for half in halves]
        num_rows = self._num_rows(halves)
        action = np.concatenate([found.action for found in events])
        if not len(action):
            return spans, present
        row = np.concatenate(
            [
                np.minimum((found.time_s * self.store.rate_hz).astype(np.int64), count - 1)
                for found, count in zip(events, num_rows, strict=True)
            ]
        )
        of_half = np.repeat(np.arange(len(halves)), [len(found.action) for found in events])
        order = np.argsort(action, kind="stable")
        _, first, count = np.unique(action[order], return_index=True, return_counts=True)
        drawn = rng.integers(len(first), size=len(spans))
        event = order[first[drawn] + rng.integers(count[drawn])]
        half, room = of_half[event], np.array(num_rows)[of_half[event]]
        inner = self.cut.num_windows
        start = np.clip(row[event] - rng.integers(inner, size=len(spans)), 0, None)
        start = np.minimum(start, np.maximum(room - inner, 0))
        base = np.array(bases)[half]
        chosen = np.stack([base + start, base, base + room - 1], axis=1)
        return chosen, self._present(halves)[half]

    def _present(self, halves: Sequence[HalfId]) -> np.ndarray:
        """(halves, E): which streams each of them has."""
        return np.array(
            [[name in self.store.halves[half].streams for name in self.streams] for half in halves]
        )

    def _num_rows(self, halves: Sequence[HalfId]) -> list[int]:
        return [self.store.halves[half].num_rows for half in halves]


def resident_bytes(
    store: EmbeddingStore, halves: Sequence[HalfId], streams: Sequence[str], labels: Labels
) -> int:
    """Memory that the rows of some halves take on a device, targets included."""
    found = labels.targets(Events.empty(halves[0]), 1, len(store.actions))
    row_bytes = 2 * sum(store.streams[name] for name in streams) + found.num_bytes
    return row_bytes * sum(store.halves[half].num_rows for half in halves)


def resident_device(
    store: EmbeddingStore,
    halves: Sequence[HalfId],
    streams: Sequence[str],
    labels: Labels,
    device: torch.device,
) -> torch.device | None:
    """The device, if it is a GPU with room for all rows; None where blocks are read."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return device if resident_bytes(store, halves, streams, labels) <= FREE_SHARE * free else None
