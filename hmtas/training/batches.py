"""What a training step works on: windows or chunks with their targets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


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


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, in their order; on one device."""
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
