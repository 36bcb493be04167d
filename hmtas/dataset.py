"""Batches of windows, cut on the fly from the memory-mapped store.

Nothing is written per window. Halves are read in random order, a block of them at a time, and
the windows of a block are shuffled: the disk is read in long runs, memory holds one block.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmtas.records import HalfId
from hmtas.store import EmbeddingStore
from hmtas.windows import window_rows, window_targets

BLOCK_BYTES = 256 * 2**20


class Batch(NamedTuple):
    """Windows with their targets."""

    x: dict[str, Tensor]  # stream to (B, L, F) float16
    present_BE: Tensor | None  # (B, E) bool; None where every stream is present
    target_BC: Tensor  # (B, C) float32

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on another device, embeddings in float32."""
        return Batch(
            {k: v.to(device, non_blocking=True).float() for k, v in self.x.items()},
            None if self.present_BE is None else self.present_BE.to(device, non_blocking=True),
            self.target_BC.to(device, non_blocking=True),
        )


class _Block(NamedTuple):
    """Some halves, one after the other."""

    streams: dict[str, np.ndarray]  # stream to (R, F) float16
    rows: np.ndarray  # (R, L) rows of the window of every row
    present: np.ndarray  # (R, E) bool
    target: np.ndarray  # (R, C) bool


class WindowDataset:
    """Every window of some halves, stride 1, in a new random order each epoch.

    Args:
        store: Where the embeddings and labels are.
        halves: Halves to cut windows from.
        streams: Streams that the model uses, in its order.
        seq_len: L, rows of a window.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        halves: Sequence[HalfId],
        *,
        streams: Sequence[str],
        seq_len: int,
    ) -> None:
        self.store = store
        self.halves = tuple(halves)
        self.streams = tuple(streams)
        self.seq_len = seq_len
        # One byte per target, not four: 500 games keep within 100 MB.
        self.targets: dict[HalfId, np.ndarray] = {
            half: self._targets(half).astype(np.bool_) for half in self.halves
        }

    def __len__(self) -> int:
        return sum(len(target) for target in self.targets.values())

    def batches(
        self, batch_size: int, rng: np.random.Generator, share: float = 1.0
    ) -> Iterator[Batch]:
        """One epoch. The last batch of a block joins the next block, so all but the last are full.

        Args:
            batch_size: B.
            rng: Decides the order.
            share: Share of the windows, drawn anew for each epoch.
        """
        left: list[Batch] = []
        for block in self._blocks(rng):
            chosen = rng.permutation(len(block.rows))
            if share < 1:
                chosen = chosen[: max(1, round(share * len(chosen)))]
            held = sum(len(batch.target_BC) for batch in left)
            for part in np.split(chosen, range(batch_size - held, len(chosen), batch_size)):
                left.append(_gather(block, part))
                if sum(len(batch.target_BC) for batch in left) == batch_size:
                    yield _join(left)
                    left = []
        if left:
            yield _join(left)

    def _blocks(self, rng: np.random.Generator) -> Iterator[_Block]:
        row_bytes = 2 * sum(self.store.streams[name] for name in self.streams)
        halves: list[HalfId] = []
        num_bytes = 0
        for i in rng.permutation(len(self.halves)):
            half = self.halves[i]
            halves.append(half)
            num_bytes += row_bytes * self.store.halves[half].num_rows
            if num_bytes >= BLOCK_BYTES:
                yield self._read(halves)
                halves, num_bytes = [], 0
        if halves:
            yield self._read(halves)

    def _read(self, halves: Sequence[HalfId]) -> _Block:
        num_rows = [self.store.halves[half].num_rows for half in halves]
        starts = np.concatenate([[0], np.cumsum(num_rows)])
        streams = {
            name: np.zeros((starts[-1], self.store.streams[name]), np.float16)
            for name in self.streams
        }
        present = np.zeros((starts[-1], len(self.streams)), np.bool_)
        for half, start, count in zip(halves, starts, num_rows, strict=False):
            found = self.store.open_half(half).streams
            for i, name in enumerate(self.streams):
                if name in found:
                    streams[name][start : start + count] = found[name]
                    present[start : start + count, i] = True
        rows = [
            start + window_rows(count, self.seq_len)
            for start, count in zip(starts, num_rows, strict=False)
        ]
        target = np.concatenate([self.targets[half] for half in halves])
        return _Block(streams, np.concatenate(rows), present, target)

    def _targets(self, half: HalfId) -> np.ndarray:
        return window_targets(
            self.store.events(half),
            self.store.halves[half].num_rows,
            self.seq_len,
            len(self.store.actions),
            self.store.rate_hz,
        )


def mix_up(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Blend every window with another one (mix-up, Zhang et al. 2018)."""
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(batch.target_BC))).to(batch.target_BC.device)
    present_BE = batch.present_BE
    return Batch(
        {name: share * x + (1 - share) * x[other] for name, x in batch.x.items()},
        None if present_BE is None else present_BE & present_BE[other],
        share * batch.target_BC + (1 - share) * batch.target_BC[other],
    )


def _gather(block: _Block, chosen: np.ndarray) -> Batch:
    rows = block.rows[chosen]
    present = block.present[chosen]
    return Batch(
        {name: torch.from_numpy(values[rows]) for name, values in block.streams.items()},
        None if present.all() else torch.from_numpy(present),
        torch.from_numpy(block.target[chosen].astype(np.float32)),
    )


def _join(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    present = None
    if any(batch.present_BE is not None for batch in batches):
        num_streams = len(batches[0].x)
        present = torch.cat(
            [
                torch.ones(len(batch.target_BC), num_streams, dtype=torch.bool)
                if batch.present_BE is None
                else batch.present_BE
                for batch in batches
            ]
        )
    x = {name: torch.cat([batch.x[name] for batch in batches]) for name in batches[0].x}
    return Batch(x, present, torch.cat([batch.target_BC for batch in batches]))
