"""What a training step works on: windows or chunks with their targets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Batch(NamedTuple):
    """Samples with their targets: windows (n is 1, S is L), chunks of n windows, or contexts."""

    x: dict[str, Tensor]  # stream to (K, S, F) float16
    present_BE: Tensor | None  # (K, E) bool; None where every stream is present
    target_BC: Tensor  # (K * n, C) float32, sample by sample; n labels each
    shift_BA: Tensor | None = None  # (K * n, A) float32, seconds to an event; nan far from any
    partner: "Batch | None" = None  # as many samples, to be blended with these

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
            move(self.target_BC, device).float(),
            None if self.shift_BA is None else move(self.shift_BA, device).float(),
            None if self.partner is None else self.partner.to(device),
        )

    def at(self, chosen: Tensor) -> "Batch":
        """Some of the samples, without their partners."""

        def pick(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            return values.view(self.num_samples, -1, values.shape[-1])[chosen].flatten(0, 1)

        target_BC = pick(self.target_BC)
        assert target_BC is not None
        return Batch(
            {name: x[chosen] for name, x in self.x.items()},
            None if self.present_BE is None else self.present_BE[chosen],
            target_BC,
            pick(self.shift_BA),
        )


def mix_up(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Blend every sample with its partner, or another of the batch (Zhang et al. 2018).

    A blend has the streams that both have; two that share none are not blended. A displacement that
    only one of the two has is kept as it is.
    """
    share = float(rng.beta(alpha, alpha))
    other = batch.partner
    if other is None:
        order = torch.from_numpy(rng.permutation(batch.num_samples))
        other = batch.at(move(order, batch.target_BC.device))
    other = _with_common_streams(batch, other)

    def blend(first: Tensor, second: Tensor) -> Tensor:
        return share * first + (1 - share) * second

    shift_BA = batch.shift_BA
    if shift_BA is not None:
        assert other.shift_BA is not None
        both = blend(shift_BA, other.shift_BA)
        either = torch.where(shift_BA.isfinite(), shift_BA, other.shift_BA)
        shift_BA = torch.where(both.isfinite(), both, either)
    present = [part.present_BE for part in (batch, other) if part.present_BE is not None]
    return Batch(
        {name: blend(x, other.x[name]) for name, x in batch.x.items()},
        torch.stack(present).all(dim=0) if present else None,
        blend(batch.target_BC, other.target_BC),
        shift_BA,
    )


def _with_common_streams(batch: Batch, other: Batch) -> Batch:
    """The other samples, but the batch's own where the two have no stream in common."""
    if batch.present_BE is None or other.present_BE is None:
        return other
    common_K = (batch.present_BE & other.present_BE).any(dim=1)

    def choose(own: Tensor, others: Tensor) -> Tensor:
        common = common_K.repeat_interleave(len(own) // len(common_K))
        return torch.where(common.view(-1, *[1] * (own.dim() - 1)), others, own)

    shift_BA = None
    if batch.shift_BA is not None and other.shift_BA is not None:
        shift_BA = choose(batch.shift_BA, other.shift_BA)
    return Batch(
        {name: choose(x, other.x[name]) for name, x in batch.x.items()},
        choose(batch.present_BE, other.present_BE),
        choose(batch.target_BC, other.target_BC),
        shift_BA,
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
    shifts = [batch.shift_BA for batch in batches if batch.shift_BA is not None]
    partners = [batch.partner for batch in batches if batch.partner is not None]
    return Batch(
        {name: torch.cat([batch.x[name] for batch in batches]) for name in batches[0].x},
        present,
        torch.cat([batch.target_BC for batch in batches]),
        torch.cat(shifts) if shifts else None,
        join_batches(partners) if partners else None,
    )
