"""A season whose rows all fit on the device stays there, and batches are cut there by index.

Nothing crosses to the device in an epoch but which samples are in a batch. The batches are those
of `WindowDataset`, bit for bit and in the same order: where the rows lie decides nothing.
"""

from collections.abc import Sequence

import torch

from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.training.dataset import WindowDataset
from hmtas.training.rows import Buffers, Rows, read_rows

FREE_SHARE = 0.8  # of the device's free memory; the rest is for gradients and activations


class ResidentDataset(WindowDataset):
    """A `WindowDataset` with all its rows on one device, in float16.

    Args:
        store: Where the embeddings and labels are; read once, here.
        halves: Halves to cut windows from.
        streams: Streams that the model uses, in its order.
        seq_len: L, rows of a window.
        chunk_windows: Windows of a chunk; 0 for single windows.
        device: Where the rows stay.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        halves: Sequence[HalfId],
        *,
        streams: Sequence[str],
        seq_len: int,
        chunk_windows: int = 0,
        device: torch.device | str,
    ) -> None:
        super().__init__(
            store, halves, streams=streams, seq_len=seq_len, chunk_windows=chunk_windows
        )
        self.rows, bases = read_rows(
            store, self.halves, streams=self.streams, seq_len=seq_len, device=device
        )
        self._base = dict(zip(self.halves, bases, strict=True))

    def _open(self, halves: Sequence[HalfId], memory: Buffers) -> tuple[Rows, Sequence[int]]:
        return self.rows, [self._base[half] for half in halves]


def resident_bytes(store: EmbeddingStore, halves: Sequence[HalfId], streams: Sequence[str]) -> int:
    """Memory that the rows of some halves take on a device, targets included."""
    row_bytes = 2 * sum(store.streams[name] for name in streams) + len(store.actions) + 1
    return row_bytes * sum(store.halves[half].num_rows for half in halves)


def open_dataset(
    store: EmbeddingStore,
    halves: Sequence[HalfId],
    *,
    streams: Sequence[str],
    seq_len: int,
    chunk_windows: int = 0,
    device: torch.device | str = "cpu",
) -> WindowDataset:
    """The fastest data set for a device: resident on a GPU that has room, else in blocks."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if resident_bytes(store, halves, streams) <= FREE_SHARE * free:
            return ResidentDataset(
                store,
                halves,
                streams=streams,
                seq_len=seq_len,
                chunk_windows=chunk_windows,
                device=device,
            )
    return WindowDataset(
        store, halves, streams=streams, seq_len=seq_len, chunk_windows=chunk_windows
    )
