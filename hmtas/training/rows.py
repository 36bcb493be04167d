"""The rows of some halves on one device, from which batches are cut by index."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.training.batches import Batch, move
from hmtas.training.chunks import SampleLayout
from hmtas.training.labels import Labels

Buffers = dict[str, Tensor]  # that one block after the other uses
_TARGETS, _SHIFTS = "", " "  # no stream is called so
_TYPES = {"bool": torch.bool, "float16": torch.float16}


class Rows(NamedTuple):
    """The rows of some halves, one after the other, all on one device."""

    streams: dict[str, Tensor]  # stream to (R, F) float16
    target_RC: Tensor  # (R, k * C), as in `hmtas.training.labels.Targets`
    shift_RA: Tensor | None  # (R, k * A)
    num_outputs: int  # C

    def cut(self, cut: SampleLayout, spans_K3: Tensor, present_KE: np.ndarray) -> Batch:
        """The samples at some spans (`hmtas.training.chunks.SampleLayout.spans`)."""
        first, low, high = (column.unsqueeze(1) for column in spans_K3.unbind(dim=1))

        def at(length: int, before: int) -> Tensor:
            steps = torch.arange(-before, length - before, device=first.device)
            return (first + steps).clamp(low, high).flatten()

        rows, labelled = at(cut.num_rows, cut.seq_len // 2), at(cut.num_windows, 0)
        shift_RA = self.shift_RA
        return Batch(
            {
                name: _take(values, rows).view(-1, cut.num_rows, values.shape[1])
                for name, values in self.streams.items()
            },
            None if present_KE.all() else move(torch.from_numpy(present_KE), rows.device),
            _take(self.target_RC, labelled).view(-1, self.num_outputs).float(),
            None
            if shift_RA is None
            else _take(shift_RA, labelled).view(-1, self.num_outputs - 1).float(),
        )


def read_rows(
    store: EmbeddingStore,
    halves: Sequence[HalfId],
    *,
    streams: Sequence[str],
    labels: Labels,
    device: torch.device | str = "cpu",
    memory: Buffers | None = None,
) -> tuple[Rows, list[int]]:
    """Copy some halves out of the mapped store, one after the other.

    `memory` is what an earlier call used and nobody reads any more: this one uses it again, as new
    pages of the system cost more than the copy.

    Returns:
        The rows, zeros where a stream is missing, with the targets of each; and the first row of
        every half among them.
    """
    num_rows = [store.halves[half].num_rows for half in halves]
    *bases, total = np.cumsum([0, *num_rows]).tolist()
    memory = {} if memory is None else memory

    def room(name: str, width: int, dtype: torch.dtype) -> Tensor:
        if name not in memory or len(memory[name]) < total:
            memory[name] = torch.empty(total, width, dtype=dtype, device=device)
        return memory[name][:total]

    num_actions = len(store.actions)
    targets = [
        labels.targets(store.events(half), count, num_actions)
        for half, count in zip(halves, num_rows, strict=True)
    ]
    classes, shift_s = targets[0]
    rows = Rows(
        {name: room(name, store.streams[name], torch.float16) for name in streams},
        room(_TARGETS, classes.shape[1], _TYPES[classes.dtype.name]),
        None if shift_s is None else room(_SHIFTS, shift_s.shape[1], _TYPES[shift_s.dtype.name]),
        num_actions + 1,
    )
    for half, base, count, target in zip(halves, bases, num_rows, targets, strict=True):
        part = slice(base, base + count)
        found = store.open_half(half).streams
        for name in streams:
            if name in found:
                _copy(rows.streams[name][part], found[name])
            else:
                rows.streams[name][part] = 0
        _copy(rows.target_RC[part], target.classes)
        if rows.shift_RA is not None and target.shift_s is not None:
            _copy(rows.shift_RA[part], target.shift_s)
    return rows, bases


def _take(values: Tensor, rows: Tensor) -> Tensor:
    if values.device.type == "cpu":
        # Three times as fast as torch: numpy keeps the memory of the batch before, torch asks the
        # system for new pages.
        return torch.from_numpy(np.take(values.numpy(), rows.numpy(), axis=0))
    return values.index_select(0, rows)


def _copy(to: Tensor, values: np.ndarray) -> None:
    """Fill a tensor from a mapped, read-only array, which torch must not be shown."""
    if to.device.type == "cpu":
        to.numpy()[...] = values
    else:
        to.copy_(torch.from_numpy(values.copy()))
