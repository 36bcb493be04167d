"""Batches of windows or chunks, cut on the fly from the memory-mapped store.

Nothing is written per window. Halves are read in random order, a block of them at a time, and
the samples of a block are shuffled: the disk is read in long runs, memory holds one block.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmtas.chunks import Cut
from hmtas.records import HalfId
from hmtas.store import EmbeddingStore
from hmtas.windows import window_targets

BLOCK_BYTES = 256 * 2**20


class Batch(NamedTuple):
    """Samples with their targets: windows (n is 1, S is L) or chunks of n windows."""

    x: dict[str, Tensor]  # stream to (K, S, F) float16
    present_BE: Tensor | None  # (K, E) bool; None where every stream is present
    target_BC: Tensor  # (K * n, C) float32, sample by sample

    @property
    def num_samples(self) -> int:
        """K."""
        return len(next(iter(self.x.values())))

    @property
    def present_by_window(self) -> Tensor | None:
        """(K * n, E) bool: the streams of every window, not of every sample."""
        if self.present_BE is None:
            return None
        repeats = len(self.target_BC) // self.num_samples
        return self.present_BE.repeat_interleave(repeats, dim=0)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on another device, embeddings in float32 there; nobody waits for the copy."""
        return Batch(
            {name: move(x, device).float() for name, x in self.x.items()},
            None if self.present_BE is None else move(self.present_BE, device),
            move(self.target_BC, device),
        )


class Rows(NamedTuple):
    """The rows of some halves, one after the other, all on one device."""

    streams: dict[str, Tensor]  # stream to (R, F) float16
    target_RC: Tensor  # (R, C) bool

    def cut(self, cut: Cut, spans_K3: Tensor, present_KE: np.ndarray) -> Batch:
        """The samples at some spans (`hmtas.chunks.Cut.spans`)."""
        first, low, high = (column.unsqueeze(1) for column in spans_K3.unbind(dim=1))

        def at(length: int, before: int) -> Tensor:
            steps = torch.arange(-before, length - before, device=first.device)
            return (first + steps).clamp(low, high).flatten()

        rows = at(cut.num_rows, cut.seq_len // 2)
        target_BC = self.target_RC.index_select(0, at(cut.num_windows, 0))
        return Batch(
            {
                name: values.index_select(0, rows).view(-1, cut.num_rows, values.shape[1])
                for name, values in self.streams.items()
            },
            None if present_KE.all() else move(torch.from_numpy(present_KE), rows.device),
            target_BC.float(),
        )


class WindowDataset:
    """Every window of some halves, alone or in chunks, in a new random order each epoch.

    Args:
        store: Where the embeddings and labels are.
        halves: Halves to cut windows from.
        streams: Streams that the model uses, in its order.
        seq_len: L, rows of a window.
        chunk_windows: Windows of a chunk; 0 for single windows.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        halves: Sequence[HalfId],
        *,
        streams: Sequence[str],
        seq_len: int,
        chunk_windows: int = 0,
    ) -> None:
        self.store = store
        self.halves = tuple(halves)
        self.streams = tuple(streams)
        self.cut = Cut(seq_len, chunk_windows)

    def __len__(self) -> int:
        return sum(self._num_rows(self.halves))

    def batches(
        self, batch_size: int, rng: np.random.Generator, share: float = 1.0
    ) -> Iterator[Batch]:
        """One epoch. The last batch of a block joins the next block, so all but the last are full.

        Args:
            batch_size: Windows of a batch, a multiple of those of a chunk.
            rng: Decides the order, and where chunks begin.
            share: Share of the samples, drawn anew for each epoch.
        """
        num_samples, rest = divmod(batch_size, self.cut.num_windows)
        if rest:
            raise ValueError(f"{batch_size} is not a multiple of {self.cut.num_windows}")
        left: list[Batch] = []
        held = 0
        for halves in self._blocks(rng):
            rows, bases = self._open(halves)
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
                    yield _join(left)
                    left, held = [], 0
            del rows  # before the next block is read
        if left:
            yield _join(left)

    def _open(self, halves: Sequence[HalfId]) -> tuple[Rows, Sequence[int]]:
        """The rows of a block, and where each of its halves begins among them."""
        return read_rows(self.store, halves, self.streams, self.cut.seq_len)

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


def read_rows(
    store: EmbeddingStore,
    halves: Sequence[HalfId],
    streams: Sequence[str],
    seq_len: int,
    device: torch.device | str = "cpu",
) -> tuple[Rows, list[int]]:
    """Copy some halves out of the mapped store, one after the other.

    Returns:
        The rows, zeros where a stream is missing, with the target of the window of each; and the
        first row of every half among them.
    """
    num_rows = [store.halves[half].num_rows for half in halves]
    *bases, total = np.cumsum([0, *num_rows]).tolist()
    num_outputs = len(store.actions) + 1
    rows = Rows(
        {
            name: torch.zeros(total, store.streams[name], dtype=torch.float16, device=device)
            for name in streams
        },
        torch.zeros(total, num_outputs, dtype=torch.bool, device=device),
    )
    for half, base, count in zip(halves, bases, num_rows, strict=True):
        part = slice(base, base + count)
        found = store.open_half(half).streams
        for name in streams:
            if name in found:
                _copy(rows.streams[name][part], found[name])
        target = window_targets(
            store.events(half), count, seq_len, len(store.actions), store.rate_hz
        )
        _copy(rows.target_RC[part], target.astype(np.bool_))
    return rows, bases


def mix_up(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Blend every window, or chunk, with another one (mix-up, Zhang et al. 2018)."""
    share = float(rng.beta(alpha, alpha))
    device = batch.target_BC.device
    other = move(torch.from_numpy(rng.permutation(batch.num_samples)), device)
    present_BE = batch.present_BE
    target_KNC = batch.target_BC.view(batch.num_samples, -1, batch.target_BC.shape[-1])
    return Batch(
        {name: share * x + (1 - share) * x[other] for name, x in batch.x.items()},
        None if present_BE is None else present_BE & present_BE[other],
        (share * target_KNC + (1 - share) * target_KNC[other]).flatten(0, 1),
    )


def move(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Send a tensor to a device without waiting: a copy from ordinary memory would wait."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _copy(to: Tensor, values: np.ndarray) -> None:
    """Fill a tensor from a mapped, read-only array, which torch must not be shown."""
    if to.device.type == "cpu":
        to.numpy()[...] = values
    else:
        to.copy_(torch.from_numpy(values.copy()))


def _join(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    present = None
    if any(batch.present_BE is not None for batch in batches):
        present = torch.cat(
            [
                batch.target_BC.new_ones(batch.num_samples, len(batch.x), dtype=torch.bool)
                if batch.present_BE is None
                else batch.present_BE
                for batch in batches
            ]
        )
    x = {name: torch.cat([batch.x[name] for batch in batches]) for name in batches[0].x}
    return Batch(x, present, torch.cat([batch.target_BC for batch in batches]))
