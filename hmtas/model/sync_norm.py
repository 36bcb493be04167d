"""BatchNorm over the batches of all workers, on CPUs as well as on GPUs.

torch's own SyncBatchNorm refuses tensors on CPUs. Without it, each worker would normalise by its
own part of a batch, and N workers would train another model than one worker with the whole batch.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SyncedBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d`; where several processes train together, over the rows of all of them.

    Every process must call it equally often and in the same order, with no rows if it has none:
    each call waits for all of them.
    """

    @property
    def is_synced(self) -> bool:
        """Do the rows of other processes count?"""
        together = distributed.is_available() and distributed.is_initialized()
        return self.training and together and distributed.get_world_size() > 1

    def forward(self, x: Tensor, present_R: Tensor | None = None) -> Tensor:
        """Normalise (R, D); R may be 0 where other processes have rows.

        Rows that are not present stay out of the statistics of a batch.
        """
        if not self.is_synced and (present_R is None or not self.training):
            return super().forward(x)
        rows = x.float()
        seen = rows.new_ones(len(rows)) if present_R is None else present_R.to(rows.dtype)
        seen = seen.unsqueeze(1)
        total = _all_reduce_sum if self.is_synced else _as_it_is
        totals = total(torch.cat([(seen * rows).sum(dim=0), seen.sum(dim=0)]))
        count = totals[-1].clamp(min=1)
        mean = totals[:-1] / count
        # Around the mean, in a second reduction: differences of large sums would lose the variance.
        variance = total((seen * (rows - mean).square()).sum(dim=0)) / count
        self._update_running_stats(mean.detach(), variance.detach(), count.detach())
        normed = (rows - mean) * (variance + self.eps).rsqrt()
        return (normed * self.weight + self.bias).to(x.dtype)

    @torch.no_grad()
    def _update_running_stats(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Running statistics as torch keeps them: of the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        # Fewer than two rows in all have no variance.
        share = self.momentum * (count > 1)
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(unbiased, share)
        self.num_batches_tracked.add_(1)


class _AllReduceSum(torch.autograd.Function):
    """The sum over all processes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _all_reduce_sum(x: Tensor) -> Tensor:
    total: Tensor = _AllReduceSum.apply(x)  # type: ignore[no-untyped-call]
    return total
